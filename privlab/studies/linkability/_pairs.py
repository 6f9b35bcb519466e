"""What the studies of matching share: which updates are asked about, and in which pairs."""

import torch
from torch import Tensor

from privlab import runtime
from privlab.attacks import linkability
from privlab.metrics import linkability as metrics
from privlab.studies.bench.study import Cell, Metrics
from privlab.studies.linkability._federation import Recorded

ASKED = 1000  # pairs of each kind at most
CHANCE = 0.5  # of balanced pairs


def heard_twice(log: Recorded) -> Tensor:
    """Users of whom both devices were heard, in rounds that are observed and in others, rising."""
    early = log.rounds % 2 == 0
    kinds = [(log.numbers == number) & (early == observed) for number in (0, 1) for observed in (True, False)]
    return torch.tensor(sorted(set.intersection(*(set(log.users[kind].tolist()) for kind in kinds))), dtype=torch.long)


def across(firsts: Tensor, seconds: Tensor, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Balanced pairs of an update of a first device and one of a second: their places among each `(P,)`, and whether
    of one user.

    firsts, seconds: whose the updates are, `(N,)` and `(M,)`. So two updates are always of different clients.
    """
    same = (firsts[:, None] == seconds).flatten()
    random = runtime.generator(runtime.derive(seed, "asked"))
    kinds = [each.nonzero().flatten() for each in (same, ~same)]
    most = min(count, *map(len, kinds))
    chosen = torch.cat([kind[torch.randperm(len(kind), generator=random)[:most]] for kind in kinds])
    return chosen // len(seconds), chosen % len(seconds), same[chosen]


def matched(cell: Cell, log: Recorded, known: Tensor, clients: Tensor, asked: Tensor, seed: int) -> Metrics:
    """The precision of an attack's pairs.

    known: which updates were observed, bool `(N,)`; clients: of which client each counts, `(N,)`; asked: of which users
    updates are asked about, in the rounds that are not observed.
    """
    rows = log.layers[cell["layer"]]
    late = (log.rounds % 2 == 1) & torch.isin(log.users, asked)
    ones, others = ((late & (log.numbers == number)).nonzero().flatten() for number in (0, 1))
    first, second, same = across(log.users[ones], log.users[others], ASKED, seed)
    one, other = ones[first], others[second]
    users = log.users[known].unique(return_inverse=True)[1]
    attack, device = cell["attack"], rows.device
    scores = linkability.match(
        rows[known], users.to(device), clients[known], rows[one], rows[other], attack=attack, seed=seed
    )
    ap = metrics.matching_precision(scores.cpu(), same)
    return {"ap": ap, "times_chance": ap / CHANCE}
