"""Linkability metrics: how well scores name the user behind an update, or tell whether two updates are of one user."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from privlab import checks, runtime

_AT_RANDOM = 400  # users whose average precision at random is averaged: draws are repeated until there are as many


@dataclass(frozen=True)
class LinkabilityScore:
    """How well updates are attributed to users. All but `times_*` are in [0, 1].

    ap: the mean over users of their average precision. top1, top5: the share of updates whose user has the largest
    score, or one of the five largest. times_chance: ap over 1 / users, as the paper divides. times_random: ap over what
    uniform random scores have on the same updates, which is more than 1 / users where a user has few of them.
    """

    ap: float
    top1: float
    top5: float
    times_chance: float
    times_random: float


def score(scores: Tensor, users: Tensor, *, seed: int = 0) -> LinkabilityScore:
    """Of scores `(N, U)`, larger for the likelier user, and whose each update is, int64 `(N,)` below U.

    A score is never NaN, and users of whom no update is asked about do not count. seed: of the random scores.
    Source: linkability, section 8.2.
    """
    each = average_precision(scores, users)
    ap = each.nanmean().item()
    ranks = (scores > scores.gather(1, users[:, None])).sum(1) + _equals_before(scores, users)
    return LinkabilityScore(
        ap=ap,
        top1=(ranks < 1).double().mean().item(),
        top5=(ranks < 5).double().mean().item(),
        times_chance=ap * scores.shape[1],
        times_random=ap / random_precision(users, scores.shape[1], seed=seed),
    )


def _equals_before(scores: Tensor, users: Tensor) -> Tensor:
    """How many other users with the same score come first, of two that are equal half the time each: by place."""
    equal = scores == scores.gather(1, users[:, None])
    return (equal & (torch.arange(scores.shape[1], device=scores.device) < users[:, None])).sum(1)


def average_precision(scores: Tensor, users: Tensor) -> Tensor:
    """Of each user the area under the precision-recall curve, float64 `(U,)`; NaN for one without an update.

    scores `(N, U)`, users int64 `(N,)`, or bool `(N, U)` where a row is a sum of several users' updates. Source:
    linkability, section 8.2, by scikit-learn's `average_precision_score`.
    """
    present = _present(scores, users).cpu()
    values, owners = scores.double().cpu().numpy(), present.numpy()
    found = np.full(scores.shape[1], np.nan)
    for user in present.any(0).nonzero().flatten().tolist():
        found[user] = average_precision_score(owners[:, user], values[:, user])
    return torch.from_numpy(found)


def random_precision(users: Tensor, count: int, *, seed: int = 0) -> float:
    """The mean average precision of uniform random scores on updates of these users, of `count` there are.

    users: as in `average_precision`.
    """
    random = runtime.generator(runtime.derive(seed, "random scores"))
    some = len(users.unique()) if users.dim() == 1 else int(users.any(0).sum())
    draws = max(1, -(-_AT_RANDOM // some))
    found = [
        average_precision(torch.rand(len(users), count, generator=random), users.cpu()).nanmean() for _ in range(draws)
    ]
    return torch.stack(found).mean().item()


def interval(scores: Tensor, users: Tensor, *, level: float = 0.95, draws: int = 2000, seed: int = 0) -> tuple:
    """An interval of the mean average precision, by a bootstrap over users: (low, high)."""
    checks.number("level", level, 0, 1, open_low=True)
    each = average_precision(scores, users)
    each = each[~each.isnan()]
    random = runtime.generator(runtime.derive(seed, "bootstrap"))
    means = each[torch.randint(len(each), (draws, len(each)), generator=random)].mean(1)
    low, high = means.quantile(torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=means.dtype)).tolist()
    return low, high


def matching_precision(scores: Tensor, same: Tensor) -> float:
    """The average precision of pairs: scores `(P,)`, larger where two updates are of one user, and bool `(P,)`."""
    if scores.shape != same.shape or same.dtype != torch.bool or scores.dim() != 1:
        raise ValueError(f"scores are {tuple(scores.shape)} and same {same.dtype} {tuple(same.shape)}; give two (P,)")
    if not scores.isfinite().all():
        raise ValueError("scores hold values that are not finite; give numbers")
    if not same.any() or same.all():
        raise ValueError(f"of {len(same)} pairs {int(same.sum())} are of one user; give pairs of both kinds")
    return float(average_precision_score(same.cpu().numpy(), scores.double().cpu().numpy()))


def _present(scores: Tensor, users: Tensor) -> Tensor:
    """Whose updates are in each row, bool `(N, U)`."""
    if not isinstance(users, Tensor) or users.dtype != torch.bool:
        _check(scores, users)
        return torch.arange(scores.shape[1], device=users.device) == users[:, None]
    if users.shape != scores.shape or not users.any() or not scores.isfinite().all():
        raise ValueError(
            f"scores are {tuple(scores.shape)} and users bool {tuple(users.shape)}; give two (N, U), finite"
        )
    return users


def _check(scores: Tensor, users: Tensor) -> None:
    if scores.dim() != 2 or not len(scores) or not scores.isfinite().all():
        raise ValueError(f"scores are {tuple(scores.shape)}; give finite numbers (N, U), a row for each update")
    checks.labels("users", users, len(scores))
    if users.max() >= scores.shape[1]:
        raise ValueError(f"users hold {int(users.max())}, and scores have {scores.shape[1]} columns, from 0")
