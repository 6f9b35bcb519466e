"""Model poisoning: clients that lie, by their data or by their updates, so that the shared model serves nobody.

Lies about the data make another `Client`. Lies about updates are made by all who collude, together: `craft` functions
take the updates that they know of and give the one that each of them sends. `Colluders` has them lie inside `fed_avg`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import torch
from torch import Tensor

from privlab import checks, runtime
from privlab.attacks.threat import threats
from privlab.sharing import together
from privlab.sharing.federated import Client, Trainer
from privlab.sharing.messages import Update, stack, unstack, usable

THREATS = threats("poisoning")
FACTORS = tuple(2.0**power for power in range(-2, 8))  # how far `adaptive` tries to go: .25 to 128


def flip_labels(
    client: Client,
    classes: int,
    *,
    source: int | None = None,
    target: int | None = None,
    share: float = 1.0,
    seed: int = 0,
) -> Client:
    """The client with wrong labels: class k becomes classes - 1 - k, or only `source` becomes `target`.

    share: of the examples that would be changed, those that are, drawn by `seed`. Labels are class numbers `(N,)`.
    Source: Fang et al. 2020, section 5.1 (all classes); Tolpegin et al. 2020, section 3.2 (one).
    """
    checks.whole("classes", classes, 2)
    checks.labels("labels", client.labels, len(client.images))
    checks.number("share", share, 0, 1)
    checks.whole("the largest label", int(client.labels.max()), 0, classes - 1)
    wrong = classes - 1 - client.labels
    if source is not None or target is not None:
        checks.whole("source", source, 0, classes - 1)
        checks.whole("target", target, 0, classes - 1)
        wrong = client.labels.clone()
        wrong[client.labels == source] = torch.tensor(target)
    changed = (wrong != client.labels).nonzero()[:, 0]
    order = torch.randperm(len(changed), generator=runtime.generator(seed)).to(changed.device)
    chosen = changed[order[: round(share * len(changed))]]
    labels = client.labels.clone()
    labels[chosen] = wrong[chosen]
    return replace(client, labels=labels)


def perturb_images(client: Client, std: float, *, seed: int = 0) -> Client:
    """The client with Gaussian noise of `std` on its images, in [0, 1]; labels as they were.

    Source: the talk (model poisoning, "via input perturbations"); Li et al. 2022 (Gaussian data poisoning).
    """
    checks.number("std", std, 0)
    checks.images("images", client.images)
    noise = torch.randn(client.images.shape, generator=runtime.generator(seed), dtype=client.images.dtype)
    return replace(client, images=(client.images + std * noise.to(client.images.device)).clamp(0, 1))


def scale(known: Sequence[Update], factor: float) -> Update:
    """The mean of the known updates, `factor` times as long: below 0 the sign is flipped.

    Source: Blanchard et al. 2017, section 5 (omniscient); Bagdasaryan et al. 2020, eq. 3 (scaling).
    """
    checks.number("factor", factor, -float("inf"))
    return unstack(factor * stack(known).mean(0), known)


def ipm(known: Sequence[Update], epsilon: float = 0.5) -> Update:
    """Inner-product manipulation: the mean of the known updates times -epsilon, short enough to be taken for honest.

    Source: Xie et al. 2020, "Fall of empires", section 4.
    """
    checks.number("epsilon", epsilon, 0, open_low=True)
    return scale(known, -epsilon)


def alie(known: Sequence[Update], clients: int, malicious: int) -> Update:
    """A little is enough: the mean of the known updates less z standard deviations of each weight.

    z is as large as may be while half of all clients still lie farther off than the lie does.
    Source: Baruch et al. 2019, algorithm 3. Raises ValueError where the liars are half of the clients or more.
    """
    checks.whole("clients", clients, 3)
    checks.whole("malicious", malicious, 1, (clients - 1) // 2)
    honest = clients - malicious
    needed = clients // 2 + 1 - malicious
    z = NormalDist().inv_cdf(min(max((honest - needed) / honest, 1e-6), 1 - 1e-6))
    rows = stack(known)
    spread = rows.std(0) if len(rows) > 1 else torch.zeros_like(rows[0])
    return unstack(rows.mean(0) - z * spread, known)


def adaptive(
    known: Sequence[Update],
    aggregate: Callable[[Sequence[Update]], Update],
    malicious: int,
    direction: str = "mean",
    factors: Sequence[float] = FACTORS,
) -> Update:
    """The lie that moves what the server's own rule gives the farthest against the honest mean.

    The known updates stand for the honest ones. Of lies mean - factor x direction, for the `factors` from the least on,
    the one whose aggregate, with `malicious` copies of it, lies farthest against `direction`. direction: the `mean`
    itself (backwards), its `sign`, or the `spread` of each weight (as ALIE). Finer factors do more against a rule that
    chooses among updates: the best of them is the last that is chosen.
    Source: Shejwalkar and Houmansadr 2021, section IV-B (there the factor is found by halving steps).
    """
    checks.whole("malicious", malicious)
    rows = stack(known)
    mean = rows.mean(0)
    ways: dict[str, Callable[[], Tensor]] = {
        "mean": lambda: mean,
        "sign": lambda: mean.sign() * mean.norm() / max(len(mean), 1) ** 0.5,
        "spread": lambda: rows.std(0) * mean.sign() if len(rows) > 1 else mean,
    }
    checks.one_of("direction", direction, ways)
    checks.whole("the number of factors", len(factors))
    for factor in factors:
        checks.number("factors", factor, 0, open_low=True)
    away = ways[direction]()
    best, lie = -float("inf"), mean
    for factor in sorted(factors):
        tried = mean - factor * away
        if not tried.isfinite().all():  # longer than floats are
            break
        made = stack([aggregate([*known, *[unstack(tried, known)] * malicious])])[0]
        if (gain := float((mean - made) @ away)) > best:
            best, lie = gain, tried
    return unstack(lie, known)


@dataclass(frozen=True)
class Colluders:
    """What trains the clients of a round, as `fed_avg(train=…)` asks, when those in `who` send what `craft` makes.

    who: clients among those of `fed_avg`, the very objects. craft: from the known updates the one that each of them
    sends. omniscient: whether they know those of the honest; else they know their own alone, honestly trained.
    train: how everybody trains.
    """

    who: Sequence[Client]
    craft: Callable[[Sequence[Update]], Update]
    omniscient: bool = False
    train: Trainer = together.local_updates

    def __call__(self, model: torch.nn.Module, clients: Sequence[Client], **setting) -> Iterable[Update]:
        honest = list(self.train(model, clients, **setting))
        lies = [any(each is liar for liar in self.who) for each in clients]
        own = [update for update, liar in zip(honest, lies, strict=True) if liar]
        others = [update for update, liar in zip(honest, lies, strict=True) if not liar]
        parts = dict(model.named_parameters()), dict(model.named_buffers())
        known, _ = usable(others if self.omniscient and others else own, *parts)
        if not own or not known:  # nobody lies in this round, or the network has blown up already
            return honest
        lie = self.craft(known)
        return [lie if liar else update for update, liar in zip(honest, lies, strict=True)]
