"""Membership metrics: how well scores tell examples that a model was trained on from others.

Scores are larger for members. A matrix `(T, N)` has a row for each target model, with memberships of its own: an
average over rows is an average over targets, and so are the intervals.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor

from privlab import checks, runtime

# Below so many others a false-positive rate of 1 in 1000 is a matter of a few examples.
LEAST_FOR_ONE_IN_A_THOUSAND = 10_000


@dataclass(frozen=True)
class MembershipScore:
    """Area under the ROC curve, and true-positive rates at false-positive rates of 1 % and 0.1 %; all in [0, 1].

    Means over the targets. The last is NaN where a target has fewer than 10,000 non-members.
    """

    auc: float
    tpr_at_fpr_1pct: float
    tpr_at_fpr_01pct: float


def score(scores: Tensor, members: Tensor) -> MembershipScore:
    """The score of `(N,)` or `(T, N)` scores, larger for members, against memberships, bool of the same shape.

    Raises ValueError where a target has no members or no others, and for scores that are not finite.
    """
    pairs = _targets(scores, members)
    others = min(int((~used).sum()) for _, used in pairs)
    enough = others >= LEAST_FOR_ONE_IN_A_THOUSAND
    return MembershipScore(
        auc=float(np.mean([roc_auc_score(used, row) for row, used in pairs])),
        tpr_at_fpr_1pct=float(np.mean([_rate(row, used, 0.01) for row, used in pairs])),
        tpr_at_fpr_01pct=float(np.mean([_rate(row, used, 0.001) for row, used in pairs])) if enough else float("nan"),
    )


def auc(scores: Tensor, members: Tensor) -> float:
    """How often a member's score is above another's, ties counting half; the mean over targets. Chance is 0.5."""
    return float(np.mean([roc_auc_score(used, row) for row, used in _targets(scores, members)]))


def tpr_at_fpr(scores: Tensor, members: Tensor, fpr: float) -> float:
    """The largest share of members that a threshold catches while it accuses at most `fpr` of the others.

    Mean over targets, each with a threshold of its own. An attack that guesses has `fpr`.
    Source: Carlini et al. 2022, section III-C.
    """
    checks.number("fpr", fpr, 0, 1)
    return float(np.mean([_rate(row, used, fpr) for row, used in _targets(scores, members)]))


def roc(scores: Tensor, members: Tensor) -> tuple[Tensor, Tensor]:
    """False- and true-positive rates, float64 `(K,)`, of a target's scores `(N,)`, the strictest threshold first."""
    pairs = _targets(scores, members)
    if len(pairs) > 1:
        raise ValueError(f"scores have shape {tuple(scores.shape)}; a curve is of one target, give scores[i]")
    row, used = pairs[0]
    false, true, _ = roc_curve(used, row, drop_intermediate=False)
    return torch.from_numpy(false), torch.from_numpy(true)


def accuracy(called: Tensor, members: Tensor) -> float:
    """The share of right calls on a balanced set: the mean of what is right of members, and of others. Chance is 0.5.

    called: bool `(N,)` or `(T, N)`, who is called a member. Source: "Zen", section 4.2, on as many others as members.
    """
    if called.dtype != torch.bool:
        raise TypeError(f"called is {called.dtype}; give booleans, such as scores > threshold")
    pairs = _targets(called, members)
    return float(np.mean([(row[used].mean() + 1 - row[~used].mean()) / 2 for row, used in pairs]))


def bootstrap(
    statistic: Callable[[Tensor, Tensor], float],
    scores: Tensor,
    members: Tensor,
    *,
    draws: int = 200,
    confidence: float = 0.95,
    seed: int | torch.Generator = 0,
) -> tuple[float, float]:
    """A percentile interval of `statistic(scores, members)` for scores `(T, N)`.

    Targets are drawn with replacement, and within each its members and its others: trainings differ, and an interval
    over examples alone is too narrow. With one target (T = 1, or scores `(N,)`) only the examples are drawn.
    Source: Efron and Tibshirani 1993, chapters 8 and 13.
    """
    checks.whole("draws", draws, 2)
    checks.number("confidence", confidence, 0, 1, open_low=True)
    _targets(scores, members)
    scores, members = scores.reshape(-1, scores.shape[-1]).cpu(), members.reshape(-1, members.shape[-1]).cpu()
    random = runtime.generator(seed)
    found = []
    for _ in range(draws):
        targets = torch.randint(len(scores), (len(scores),), generator=random).tolist()
        places = [_again(members[target], random) for target in targets]
        drawn = torch.stack([scores[target][place] for target, place in zip(targets, places, strict=True)])
        used = torch.stack([members[target][place] for target, place in zip(targets, places, strict=True)])
        found.append(statistic(drawn, used))
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def _again(used: Tensor, random: torch.Generator) -> Tensor:
    """The numbers of as many members and others, drawn with replacement."""
    groups = used.nonzero()[:, 0], (~used).nonzero()[:, 0]
    return torch.cat([group[torch.randint(len(group), (len(group),), generator=random)] for group in groups])


def _rate(row: np.ndarray, used: np.ndarray, fpr: float) -> float:
    false, true, _ = roc_curve(used, row, drop_intermediate=False)
    return float(true[false <= fpr].max())


def _targets(scores: Tensor, members: Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each target's scores and memberships, checked."""
    if scores.dim() not in (1, 2) or scores.shape != members.shape or not scores.numel():
        shapes = f"scores have shape {tuple(scores.shape)} and members {tuple(members.shape)}"
        raise ValueError(f"{shapes}; give both as (N,), or (T, N) for T targets")
    if members.dtype != torch.bool:
        raise TypeError(f"members is {members.dtype}; give booleans, True for what the target was trained on")
    if not scores.isfinite().all():
        count = int((~scores.isfinite()).sum())
        raise ValueError(f"{count} of {scores.numel()} scores are not finite; did the training diverge? Leave them out")
    rows = scores.detach().reshape(-1, scores.shape[-1]).double().cpu().numpy()
    used = members.reshape(-1, members.shape[-1]).cpu().numpy()
    for number, each in enumerate(used):
        if each.all() or not each.any():
            what = "members only" if each.all() else "no member"
            raise ValueError(f"target {number} has {what} among its {len(each)} examples; a score needs both")
    return list(zip(rows, used, strict=True))
