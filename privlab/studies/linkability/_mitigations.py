"""Mitigations by name: what a cell's clients do to their examples, or to their updates, before anyone sees them.

`alpha` is what the paper varies: a share of the examples, the variance of the noise. All clients use the mitigation, in
the rounds that the adversary learns from and in those that it is asked about (section 9, AM3 to AM5).
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from privlab import runtime
from privlab.defences import client_dp, crowd, dp_sgd
from privlab.sharing.federated import Client, Update

CLIP = 0.2  # of an update's norm
MODES = 2.0  # how often a cluster has as many examples as a client, where the background is too small for more
Protect = Callable[[int, int, Update], Update]


def changed(cell: dict[str, Any], clients: Sequence[Client], background: Client, seed: int) -> Sequence[Client]:
    """The clients with the examples that they train on."""
    kind, alpha = cell["mitigation"], cell["alpha"]
    if kind == "mm-aug":
        groups = modes(background.images, clients, seed)
        return crowd.augment_by_mode(clients, background, groups, alpha, seed=runtime.derive(seed, kind))
    change = {"bkg-repl": crowd.replace, "rand-aug": crowd.augment}.get(kind)
    if change is None:
        return clients
    return [change(each, background, alpha, seed=runtime.derive(seed, kind, n)) for n, each in enumerate(clients)]


def modes(features: Tensor, clients: Sequence[Client], seed: int) -> Tensor:
    """The background's clusters: as many as clients, as the paper has about, or so few that each is twice a client."""
    mean = sum(len(each.labels) for each in clients) / len(clients)
    count = min(len(clients), max(2, int(len(features) / (MODES * mean))))
    return crowd.clusters(features, count, seed=runtime.derive(seed, "modes"))


def protection(cell: dict[str, Any], clients: int, seed: int) -> Protect | None:
    """What a client does to its update of a round; None for nothing.

    Of differential privacy: each update is clipped, and the clients of a round add Gaussian noise so that their sum has
    sigma x the bound. That clients count equally belongs to it.
    """
    kind, alpha = cell["mitigation"], cell["alpha"]
    if kind == "dp":
        sigma = multiplier(cell["epsilon"], cell["delta"], cell["fraction"], cell["rounds"])
        share = sigma * CLIP / math.sqrt(max(1, round(cell["fraction"] * clients)))
    changes: dict[str, Callable[[Update, int], Update]] = {
        "dp": lambda update, own: crowd.noise(client_dp.clip_update(update, CLIP), share, seed=own),
        "noise": lambda update, own: crowd.noise(update, math.sqrt(alpha), seed=own),
        "relative noise": lambda update, own: crowd.noise(update, alpha * spread(update), seed=own),
        "top-k": lambda update, _: crowd.top_k(update, alpha),
        "signs": lambda update, _: crowd.signs(update),
        "only output": lambda update, _: crowd.only(update, "output"),
        "only fc1": lambda update, _: crowd.only(update, "fc1"),
    }
    if kind not in changes:
        return None
    return lambda number, client, update: changes[kind](update, runtime.derive(seed, kind, number, client))


def spread(update: Update) -> float:
    """The root mean square of an update's numbers: noise of so much has its own norm. 0 where not finite."""
    found = math.sqrt(torch.cat([each.double().flatten() for each in update.values()]).square().mean().item())
    return found if math.isfinite(found) else 0.0


@functools.lru_cache(maxsize=8)
def multiplier(epsilon: float, delta: float, fraction: float, rounds: int) -> float:
    """The noise of a round with which all rounds spend epsilon, counted as if each client took part by that chance."""
    return dp_sgd.noise_multiplier(epsilon, delta, sample_rate=fraction, steps=rounds)


def grouped(numbers: Tensor, rounds: Tensor, most: int, seed: int) -> list[Tensor]:
    """Places of the updates that are summed: those of one round, first devices with first, second ones with second.

    `most` in a sum; what is left over of a round, fewer, is not summed, but where all of it are.
    """
    random = runtime.generator(runtime.derive(seed, "sums"))
    found = []
    for number in range(int(rounds.max()) + 1):
        for device in (0, 1):
            own = ((rounds == number) & (numbers == device)).nonzero().flatten()
            parts = own[torch.randperm(len(own), generator=random)].split(most)
            found += [part for part in parts if len(part) == min(most, len(own)) > 0]
    return found
