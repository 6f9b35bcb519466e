"""Linkability metrics: how well scores name the user behind an update, or tell whether two updates are of one user."""

from dataclasses import dataclass

import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from privlab import checks, runtime

_AT_ONCE = 512  # updates compared with all others
_AT_RANDOM = 400  # users whose average precision at random is averaged: draws are repeated until there are as many


@dataclass(frozen=True)
class LinkabilityScore:
    """How well updates are attributed to users. All but `times_*` are in [0, 1].

    ap: the mean over users of their average precision. top1, top5: the share of updates whose user has the largest
    score, or one of the five largest. times_chance: ap over 1 / users, as the paper divides. times_random: ap over what
    uniform random scores have on the same updates, which is more than 1 / users where a user has few of them.
    times_strangers: ap over `stranger_precision`; of two users or more, else NaN.
    """

    ap: float
    top1: float
    top5: float
    times_chance: float
    times_random: float
    times_strangers: float


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
        times_strangers=ap / stranger_precision(scores, users),
    )


def _equals_before(scores: Tensor, users: Tensor) -> Tensor:
    """How many other users with the same score come first, of two that are equal half the time each: by place."""
    equal = scores == scores.gather(1, users[:, None])
    return (equal & (torch.arange(scores.shape[1], device=scores.device) < users[:, None])).sum(1)


def average_precision(scores: Tensor, users: Tensor) -> Tensor:
    """Of each user the area under the precision-recall curve, float64 `(U,)`; NaN for one without an update.

    scores `(N, U)`, users int64 `(N,)`, or bool `(N, U)` where a row is a sum of several users' updates. Source:
    linkability, section 8.2, which takes scikit-learn's `average_precision_score`: of each update of a user, the share
    of its own among those with as large a score.
    """
    present = _present(scores, users)
    rows, owners = present.nonzero().unbind(1)
    shares = torch.empty(len(rows), dtype=torch.float64, device=scores.device)
    for part in torch.arange(len(rows), device=scores.device).split(_AT_ONCE):
        above = scores[:, owners[part]] >= scores[rows[part], owners[part]]
        shares[part] = (above & present[:, owners[part]]).sum(0) / above.sum(0).double()
    counts = present.sum(0)
    return (torch.zeros_like(counts, dtype=torch.float64).index_add(0, owners, shares) / counts).cpu()


def random_precision(users: Tensor, count: int, *, seed: int = 0) -> float:
    """The mean average precision of uniform random scores on updates of these users, of `count` there are.

    users: as in `average_precision`.
    """
    checks.whole("count", count)
    some = int(_present(torch.zeros(len(users), count, device=users.device), users).any(0).sum())
    random = runtime.generator(runtime.derive(seed, "random scores"))
    draws = max(1, -(-_AT_RANDOM // some))
    drawn = (torch.rand(len(users), count, generator=random) for _ in range(draws))
    found = [average_precision(each, users.cpu()).nanmean() for each in drawn]
    return torch.stack(found).mean().item()


def stranger_precision(scores: Tensor, users: Tensor) -> float:
    """The mean average precision of each user's scores for another user's updates: what is had without recognition.

    A client's updates are alike. Scores therefore put them side by side, wherever that is, and so have more than random
    ones, although they tell nothing. scores `(N, U)` and users `(N,)` as in `score`; NaN for one user alone.
    """
    count = scores.shape[1]
    shifts = range(1, min(count, 1 - (-_AT_RANDOM // count)))
    found = [average_precision(scores.roll(shift, 1), users).nanmean().item() for shift in shifts]
    return sum(found) / len(found) if found else float("nan")


def interval(scores: Tensor, users: Tensor, *, level: float = 0.95, draws: int = 2000, seed: int = 0) -> tuple:
    """An interval of the mean average precision, by a bootstrap over users: (low, high)."""
    checks.number("level", level, 0, 1, open_low=True)
    checks.whole("draws", draws)
    each = average_precision(scores, users)
    each = each[~each.isnan()]
    random = runtime.generator(runtime.derive(seed, "bootstrap"))
    means = each[torch.randint(len(each), (draws, len(each)), generator=random)].mean(1)
    low, high = means.quantile(means.new_tensor([(1 - level) / 2, (1 + level) / 2])).tolist()
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
        given = f"scores are {tuple(scores.shape)} and users bool {tuple(users.shape)}"
        raise ValueError(f"{given}; give two (N, U), finite")
    return users


def _check(scores: Tensor, users: Tensor) -> None:
    if scores.dim() != 2 or not len(scores) or not scores.isfinite().all():
        raise ValueError(f"scores are {tuple(scores.shape)}; give finite numbers (N, U), a row for each update")
    checks.labels("users", users, len(scores))
    if users.max() >= scores.shape[1]:
        raise ValueError(f"users hold {int(users.max())}, and scores have {scores.shape[1]} columns, from 0")
