"""Update analysis: which of a round's updates are unlike the others, before any is averaged. Acts at the server.

Each test names places in the list of updates; `without` makes of such tests what `fed_avg(aggregate=…)` takes.
All raise ValueError for what `aggregation` refuses.
"""

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.cluster import AgglomerativeClustering

from privlab import checks
from privlab.defences import aggregation
from privlab.sharing.messages import Update, stack

Test = Callable[[Sequence[Update]], list[int]]
_NORMAL = 0.6745  # of a normal variable the median distance from its median, in standard deviations
_ROUNDING = 1e-6  # differences of float32 that nobody made


def by_length(updates: Sequence[Update], limit: float = 3.5) -> list[int]:
    """Those whose l2 norm is an outlier: more than `limit` robust standard deviations from the median norm.

    Source: Iglewicz and Hoaglin 1993 (modified z-score); 3.5 is theirs.
    """
    checks.number("limit", limit, 0, open_low=True)
    lengths = stack(updates).double().norm(dim=1).cpu().numpy()
    away = np.abs(lengths - np.median(lengths))
    spread = np.median(away) / _NORMAL
    return np.flatnonzero(away > limit * max(spread, _ROUNDING * np.median(lengths))).tolist()


def by_direction(updates: Sequence[Update]) -> list[int]:
    """The smaller of two clusters by cosine distance, where there are two.

    Two clusters can always be made: none is named where they are as large, and where they lie apart no more than twice
    as far as what was joined just before (average linkage).
    Source: Nguyen et al. 2022, "FLAME", section 4.2; Shen et al. 2016, "Auror".
    """
    rows = stack(updates).double()
    if len(rows) < 3:
        return []
    units = rows / rows.norm(dim=1, keepdim=True).clamp_min(1e-30)
    apart = (1 - units @ units.T).clamp_min(0).fill_diagonal_(0).cpu().numpy()
    tree = AgglomerativeClustering(2, metric="precomputed", linkage="average", compute_distances=True).fit(apart)
    few = int(np.bincount(tree.labels_, minlength=2).argmin())
    chosen = np.flatnonzero(tree.labels_ == few)
    last, before = tree.distances_[-1], tree.distances_[-2]
    return chosen.tolist() if 2 * len(chosen) < len(rows) and last > max(2 * before, _ROUNDING) else []


def without(*tests: Test, rule: Callable[[Sequence[Update]], Update] = aggregation.mean) -> Callable[..., Update]:
    """An aggregation: what `rule` makes of the updates that no test names; of all, where the tests name each."""

    def aggregate(updates: Sequence[Update]) -> Update:
        named = {place for test in tests for place in test(updates)}
        kept = [update for place, update in enumerate(updates) if place not in named]
        return rule(kept or updates)

    return aggregate
