"""Differential privacy whose unit is the client: no client's whole update can be told from none. Acts on the release.

Two choices are separate. The *unit*, an example or a client, is what the bound holds for: here each client's update is
clipped as a whole, `dp_sgd` clips each example's gradient. *Where* the noise is added decides who must be trusted: with
noise of the server it is the server, which has read every update before; with noise of the clients nobody, if their
sum is formed so that no part of it is seen, and else each part carries only a share of the noise.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from privlab import checks, runtime
from privlab.sharing.federated import Update

WHERE = ("server", "client")
LARGEST = torch.finfo(torch.float32).max  # a quotient beyond it would be zero in single precision


@dataclass(frozen=True)
class Aggregate:
    """The noisy mean of a round, which is released, and what arrived at the server from each client before it."""

    mean: Update
    arrived: tuple[Update, ...]


def norm(update: Update) -> float:
    """The l2 norm of all numbers of an update together; infinite where it is beyond every float."""
    _check(update)
    found = _plain_norm(update)
    if 0 < found < math.inf:
        return found
    largest, parts = _parts(update)  # the squares are beyond the floats, or there is nothing but zeros
    return largest * _plain_norm(parts)


def _plain_norm(update: Mapping[str, Tensor]) -> float:
    return torch.stack([each.double().norm() for each in update.values()]).norm().item()


def _parts(update: Update) -> tuple[float, dict[str, Tensor]]:
    """The largest number of an update, and all as parts of it."""
    largest = max((each.abs().max().item() for each in update.values() if each.numel()), default=0.0)
    return largest, {name: each.double() / (largest or 1.0) for name, each in update.items()}


def clip_update(update: Update, bound: float) -> Update:
    """Scale an update down to the l2 norm `bound`; a smaller one is left as it is. See `aggregate` for errors."""
    checks.number("bound", bound, 0, open_low=True)
    factor = max(1.0, norm(update) / bound)
    if factor <= LARGEST:
        return Update({name: each / factor for name, each in update.items()}, {})
    _, parts = _parts(update)
    factor = bound / _plain_norm(parts)
    return Update({name: (each * factor).to(update[name].dtype) for name, each in parts.items()}, {})


def aggregate(
    updates: Iterable[Update],
    *,
    clip: float,
    noise: float,
    where: str = "server",
    expected: int | None = None,
    seed: int | torch.Generator = 0,
) -> Aggregate:
    """The mean of clients' updates with client-level differential privacy.

    noise: the multiplier sigma. The sum gets noise of standard deviation sigma x clip: from the server, or from n
    clients, each of whom adds sigma x clip / sqrt(n). Every client counts the same, whatever it holds: with weights by
    numbers of examples a large client would move the sum by more than `clip`.
    expected: what the sum is divided by, in place of how many updates there are. A round in which each of m clients
    takes part with the chance q, divided by q x m, spends what a step of DP-SGD does: `dp_sgd.epsilon(noise, delta,
    sample_rate=q, steps=...)`; to divide by those who came would tell how many they were. A round in which nobody
    came is yours to make of noise alone.
    Raises ValueError for none at all, for updates of different models, with buffers (running averages, which are not
    clipped) or numbers that are not finite, for a clip that is not positive and a negative noise; TypeError for what
    are no updates, or updates of other numbers than floats.
    Source: McMahan et al. 2018, Algorithm 1 (with equal weights); "Zen", sections 3.1.2 and 7.
    """
    checks.number("clip", clip, 0, open_low=True)
    checks.number("noise", noise, 0)
    checks.one_of("where", where, WHERE)
    if isinstance(updates, Mapping | Tensor) or not isinstance(updates, Iterable):
        raise TypeError(f"updates is a {type(updates).__name__}; give a list of them, one of each client")
    updates = list(updates)
    checks.some("updates", updates)
    for update in updates:
        _check(update)
    shapes = [{name: tuple(each.shape) for name, each in update.items()} for update in updates]
    if any(each != shapes[0] for each in shapes):
        raise ValueError("the updates are of different models: names or shapes differ; give those of one round")
    random, count = runtime.generator(seed), len(updates)
    arrived = [clip_update(update, clip) for update in updates]
    if where == "client":
        arrived = [_noisy(update, noise * clip / math.sqrt(count), random) for update in arrived]
    divisor = count if expected is None else expected
    checks.whole("expected", divisor)
    mean = Update({name: torch.stack([each[name] for each in arrived]).sum(0) / divisor for name in shapes[0]}, {})
    if where == "server":
        mean = _noisy(mean, noise * clip / divisor, random)
    return Aggregate(mean, tuple(arrived))


def _noisy(update: Update, std: float, random: torch.Generator) -> Update:
    def draw(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=random, dtype=like.dtype).to(like.device)

    return Update({name: each + std * draw(each) for name, each in update.items()}, {})


def _check(update: Update) -> None:
    if not isinstance(update, Mapping):
        given = f"an update is a {type(update).__name__}"
        raise TypeError(f"{given}; give the changes of a model's parameters by name, as federated.local_update does")
    if not update:
        raise ValueError("an update is empty; give the changes of at least one parameter")
    if getattr(update, "buffers", None):
        given = f"an update carries buffers ({', '.join(update.buffers)}), which no clipping bounds"
        raise ValueError(f"{given}; train a model without running averages, such as resnet18 with norm='group'")
    for name, each in update.items():
        if not isinstance(each, Tensor) or not each.is_floating_point():
            what = each.dtype if isinstance(each, Tensor) else f"a {type(each).__name__}"
            raise TypeError(f"an update holds {what} in {name}; give torch tensors of floats")
    wrong = [name for name, each in update.items() if not each.isfinite().all()]
    if wrong:
        raise ValueError(f"an update is not finite in {', '.join(wrong)}; the training diverged: give a smaller lr")
