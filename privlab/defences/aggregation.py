"""Robust aggregation: of clients' updates a middle that a few of them cannot move far. Acts at the server.

Each function takes the updates of one round and gives one. Clients count alike: their numbers of examples, by which
FedAvg weights them, are their own word. f is how many of the n clients may lie. All raise ValueError for no updates,
for those of different models, for numbers that are not finite, with the client, and for an f that n does not bear.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from privlab import checks
from privlab.sharing.messages import Update, mean_update, stack, unstack

_BLOCK = 8192  # columns at a time, in double


def mean(updates: Sequence[Update]) -> Update:
    """The mean, of which a single client can make whatever it likes. Source: Blanchard et al. 2017, lemma 1."""
    stack(updates)  # which refuses what is no number
    return mean_update(updates, [1] * len(updates))


def clipped_mean(updates: Sequence[Update], bound: float | None = None) -> Update:
    """The mean of the updates, each made as short as `bound` in l2 where it is longer; the median length if not given.

    Source: Sun et al. 2019, "Can you really backdoor federated learning?", section 4 (norm thresholding).
    """
    stacked = stack(updates)
    lengths = torch.linalg.vector_norm(stacked, dim=1, dtype=torch.float64)  # the square of 1e20 is no float32
    checks.if_given(checks.number, "bound", bound, 0, open_low=True)
    limit = _middle(lengths[:, None]) if bound is None else lengths.new_tensor([bound])
    return unstack(((limit / lengths).nan_to_num(1.0).clamp_max(1).to(stacked)[:, None] * stacked).mean(0), updates)


def geometric_median(updates: Sequence[Update], iterations: int = 100, smooth: float = 1e-6) -> Update:
    """The point whose distances to the updates have the least sum, by Weiszfeld's steps: no f is asked for.

    iterations: at most; it stops where a step moves less than 1e-6 of the median distance. smooth: distances count as
    no smaller than this part of the median one. It starts from the median of each weight: from the mean, which one
    client moves anywhere, the way back has no end. Source: Pillutla et al. 2022, "Robust aggregation", algorithm 2.
    """
    checks.whole("iterations", iterations)
    checks.number("smooth", smooth, 0)
    stacked = stack(updates)
    wide = stacked.double()
    middle = _middle(wide)
    for _ in range(iterations):
        away = (wide - middle).norm(dim=1)
        typical = away.median().item()
        near = 1 / away.clamp_min(max(smooth * typical, 1e-30))
        before, middle = middle, (near / near.sum()) @ wide
        if (middle - before).norm() <= 1e-6 * typical:
            break
    return unstack(middle.to(stacked.dtype), updates)


def median(updates: Sequence[Update]) -> Update:
    """The median of each weight; of an even number the mean of the middle two. Source: Yin et al. 2018, def. 1."""
    return unstack(_middle(stack(updates)), updates)


def trimmed_mean(updates: Sequence[Update], f: int) -> Update:
    """Of each weight the mean without the f largest and the f smallest; n > 2f. Source: Yin et al. 2018, def. 2."""
    _bears(updates, f, 2 * f + 1)
    return unstack(_sorted(stack(updates))[f : len(updates) - f].mean(0), updates)


def krum(updates: Sequence[Update], f: int) -> Update:
    """The one update that is nearest to its n - f - 2 nearest others; n > 2f + 2. Source: Blanchard et al. 2017, 4."""
    return multi_krum(updates, f, 1)


def multi_krum(updates: Sequence[Update], f: int, keep: int) -> Update:
    """The mean of the `keep` updates whose sums of squared distances to their n - f - 2 nearest others are least.

    Source: Blanchard et al. 2017, section 4 (Krum), and their full paper (Multi-Krum).
    """
    _bears(updates, f, 2 * f + 3)
    checks.whole("keep", keep, 1, len(updates))
    stacked = stack(updates)
    return unstack(stacked[_scores(_distances(stacked), f).argsort()[:keep]].mean(0), updates)


def bulyan(updates: Sequence[Update], f: int) -> Update:
    """Krum takes n - 2f updates, one after the other; of each weight the n - 4f nearest to their median are averaged.

    n > 4f + 2. Source: El Mhamdi et al. 2018, section 4. (Flower takes its n - 2f by one run of Multi-Krum.)
    """
    _bears(updates, f, 4 * f + 3)
    stacked = stack(updates)
    chosen = stacked[krum_by_turns(stacked, f, len(updates) - 2 * f)]
    nearest = (chosen - _middle(chosen)).abs().argsort(0)[: len(updates) - 4 * f]
    return unstack(chosen.gather(0, nearest).mean(0), updates)


def krum_by_turns(stacked: Tensor, f: int, keep: int) -> list[int]:
    """Which of the vectors `(n, D)` Krum takes, `keep` times, each time of those that it has not taken yet."""
    left, taken = list(range(len(stacked))), []
    between = _distances(stacked)
    for _ in range(keep):
        best = int(_scores(between[left][:, left], f).argmin())
        taken.append(left.pop(best))
    return taken


def _middle(stacked: Tensor) -> Tensor:
    count, ordered = len(stacked), _sorted(stacked)
    return (ordered[(count - 1) // 2] + ordered[count // 2]) / 2


def _sorted(stacked: Tensor) -> Tensor:
    """Each column in order; on a CPU by NumPy, which is ten times as fast there (and knows no bfloat16)."""
    by_numpy = stacked.device.type == "cpu" and stacked.dtype != torch.bfloat16
    return torch.from_numpy(np.sort(stacked.numpy(), 0)) if by_numpy else stacked.sort(0).values


def _scores(between: Tensor, f: int) -> Tensor:
    """Of each vector the sum of its squared distances to the nearest others, by all squared distances `(n, n)`."""
    nearest = max(1, len(between) - f - 2)
    return between.sort(1).values[:, 1 : nearest + 1].sum(1)


def _distances(stacked: Tensor) -> Tensor:
    """Squared l2 distances, by products in double, whose digits are twice those of float32.

    Nothing is centred: a client far enough away would move the centre, and blur the distances of all others.
    """
    products = stacked.new_zeros(len(stacked), len(stacked), dtype=torch.float64)
    for part in stacked.split(_BLOCK, dim=1):
        wide = part.double()
        products.addmm_(wide, wide.T)
    norms = products.diag()
    return (norms[:, None] + norms - 2 * products).clamp_min(0).fill_diagonal_(-1)  # the nearest is oneself


def _bears(updates: Sequence[Update], f: int, least: int) -> None:
    checks.whole("f", f, 0)
    if len(updates) < least:
        given = f"f={f} needs {least} updates or more, and there are {len(updates)}"
        raise ValueError(f"{given}; lower f, or ask more clients")
