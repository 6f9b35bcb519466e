"""Robust aggregation: of clients' updates a middle that a few of them cannot move far. Acts at the server.

Each function takes the updates of one round and gives one. Clients count alike: their numbers of examples, by which
FedAvg weights them, are their own word. f is how many of the n clients may lie. All raise ValueError for no updates,
for those of different models, for numbers that are not finite, with the client, and for an f that n does not bear.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from privlab import checks
from privlab.sharing.messages import Update, mean_by_examples


def median(updates: Sequence[Update]) -> Update:
    """The median of each weight; of an even number the mean of the middle two. Source: Yin et al. 2018, def. 1."""
    return _split(_middle(_stacked(updates)), updates)


def trimmed_mean(updates: Sequence[Update], f: int) -> Update:
    """Of each weight the mean without the f largest and the f smallest; n > 2f. Source: Yin et al. 2018, def. 2."""
    _bears(updates, f, 2 * f + 1)
    return _split(_stacked(updates).sort(0).values[f : len(updates) - f].mean(0), updates)


def krum(updates: Sequence[Update], f: int) -> Update:
    """The one update that is nearest to its n - f - 2 nearest others; n > 2f + 2. Source: Blanchard et al. 2017, 4."""
    return multi_krum(updates, f, 1)


def multi_krum(updates: Sequence[Update], f: int, keep: int) -> Update:
    """The mean of the `keep` updates whose sums of squared distances to their n - f - 2 nearest others are least.

    Source: Blanchard et al. 2017, section 4 (Krum), and their full paper (Multi-Krum).
    """
    _bears(updates, f, 2 * f + 3)
    checks.whole("keep", keep, 1, len(updates))
    stacked = _stacked(updates)
    return _split(stacked[_scores(_distances(stacked), f).argsort()[:keep]].mean(0), updates)


def bulyan(updates: Sequence[Update], f: int) -> Update:
    """Krum takes n - 2f updates, one after the other; of each weight the n - 4f nearest to their median are averaged.

    n > 4f + 2. Source: El Mhamdi et al. 2018, section 4. (Flower takes its n - 2f by one run of Multi-Krum.)
    """
    _bears(updates, f, 4 * f + 3)
    stacked = _stacked(updates)
    chosen = stacked[krum_by_turns(stacked, f, len(updates) - 2 * f)]
    nearest = (chosen - _middle(chosen)).abs().argsort(0)[: len(updates) - 4 * f]
    return _split(chosen.gather(0, nearest).mean(0), updates)


def krum_by_turns(stacked: Tensor, f: int, keep: int) -> list[int]:
    """Which of the vectors `(n, D)` Krum takes, `keep` times, each time of those that it has not taken yet."""
    left, taken = list(range(len(stacked))), []
    between = _distances(stacked)
    for _ in range(keep):
        best = int(_scores(between[left][:, left], f).argmin())
        taken.append(left.pop(best))
    return taken


def _middle(stacked: Tensor) -> Tensor:
    count, ordered = len(stacked), stacked.sort(0).values
    return (ordered[(count - 1) // 2] + ordered[count // 2]) / 2


def _scores(between: Tensor, f: int) -> Tensor:
    """Of each vector the sum of its squared distances to the nearest others, by all squared distances `(n, n)`."""
    nearest = max(1, len(between) - f - 2)
    return between.sort(1).values[:, 1 : nearest + 1].sum(1)


def _distances(stacked: Tensor) -> Tensor:
    """Squared l2 distances; centred first, so that the short way by products keeps its digits."""
    centred = (stacked - stacked.mean(0)).double()
    norms = centred.square().sum(1)
    return (norms[:, None] + norms - 2 * centred @ centred.T).clamp_min(0).fill_diagonal_(-1)  # the nearest is oneself


def _stacked(updates: Sequence[Update]) -> Tensor:
    """`(n, D)`."""
    if not updates:
        raise ValueError("there are no updates; give at least one")
    shapes = [{name: each.shape for name, each in update.items()} for update in updates]
    for client, (update, mine) in enumerate(zip(updates, shapes, strict=True)):
        if mine != shapes[0]:
            raise ValueError(
                f"update {client} is of another model than update 0; leave it out, or give those of one model"
            )
        if not all(torch.isfinite(each).all() for each in update.values()):
            raise ValueError(f"update {client} has numbers that are not finite; leave it out")
    return torch.stack([torch.cat([update[name].flatten() for name in shapes[0]]) for update in updates])


def _split(flat: Tensor, updates: Sequence[Update]) -> Update:
    first = updates[0]
    parts = flat.split([each.numel() for each in first.values()])
    changes = {name: part.view_as(first[name]) for name, part in zip(first, parts, strict=True)}
    return Update(changes, mean_by_examples([(update.buffers, 1) for update in updates]))


def _bears(updates: Sequence[Update], f: int, least: int) -> None:
    checks.whole("f", f, 0)
    if len(updates) < least:
        raise ValueError(
            f"f={f} needs {least} updates or more, and there are {len(updates)}; lower f, or ask more clients"
        )
