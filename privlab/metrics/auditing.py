"""Auditing: the ε of differential privacy that an attack *shows*, a lower bound with a stated confidence.

For each of some *canaries* a fair coin says whether it is trained on. An adversary then guesses the coins. If it is
right more often than differential privacy allows, the training's ε is larger than claimed. Everything here works on
counts of guesses; who guesses, and by what, is `privlab.attacks.membership`.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import expit, log_ndtr, ndtr, ndtri
from scipy.stats import binom, binomtest
from torch import Tensor

from privlab import checks

_MOST = 100.0  # no bound is above: such an ε promises nothing


def clopper_pearson(successes: int, trials: int, *, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval of a binomial probability. Source: Clopper and Pearson 1934."""
    checks.whole("trials", trials)
    checks.whole("successes", successes, 0, trials)
    _check(0.0, confidence)
    found = binomtest(int(successes), int(trials)).proportion_ci(confidence_level=confidence, method="exact")
    return float(found.low), float(found.high)


def from_rates(
    caught: int, members: int, accused: int, others: int, *, delta: float = 0.0, confidence: float = 0.95
) -> float:
    """The ε shown by an attack with one threshold that was fixed beforehand, each example from a training of its own.

    caught: how many of `members` it calls members; accused: how many of `others` it calls so too.
    (ε, δ)-differential privacy demands TPR <= e^ε FPR + δ, and the same of true and false negatives. The rates enter by
    their Clopper–Pearson bounds, which together err no more often than 1 - `confidence`. From 0 to 100.
    Examples of one training are not independent: for those see `one_run`.
    Source: Kairouz et al. 2015, Theorem 2.1; Nasr et al. 2021, section III.
    """
    _check(delta, confidence)
    low, _ = clopper_pearson(caught, members, confidence=confidence)
    _, high = clopper_pearson(accused, others, confidence=confidence)
    shown = 0.0
    for right, wrong in ((low, high), (1 - high, 1 - low)):
        if right > delta:
            shown = max(shown, math.log((right - delta) / wrong))
    return min(shown, _MOST)


def right_guesses(scores: Tensor, members: Tensor, guesses: int) -> int:
    """How many guesses are right of an adversary that guesses the `guesses` most extreme of its scores.

    scores `(N,)`, larger for members; members: bool `(N,)`. The upper half of the guesses (rounded up) are called
    members, the lower half not, and of the rest nothing is said. How many guesses to make is to be fixed before one
    looks.
    Source: Steinke et al. 2023, Algorithm 1 (there k+ and k-).
    """
    if scores.dim() != 1 or scores.shape != members.shape or members.dtype != torch.bool:
        raise ValueError(f"scores {tuple(scores.shape)} and members {tuple(members.shape)} must be (N,), members bool")
    if not scores.isfinite().all():
        given = f"{int((~scores.isfinite()).sum())} of the scores are not finite"
        raise ValueError(f"{given}; the training diverged, or leave them out")
    checks.whole("guesses", guesses, 1, len(scores))
    order = scores.argsort(descending=True, stable=True)
    upper = (guesses + 1) // 2
    lower = guesses - upper
    right = members[order[:upper]].sum() + (~members[order[len(order) - lower :]]).sum()
    return int(right)


def one_run(
    right: int, guesses: int, *, delta: float = 0.0, confidence: float = 0.95, canaries: int | None = None
) -> float:
    """The ε that `right` of `guesses` right guesses about the canaries of a single training show.

    canaries: how many coins there were, guessed or not (default: all were guessed); counts where delta > 0.
    From 0 to 100. With δ = 0 and every guess right it is logit((1 - confidence)^(1/guesses)): 3.49 for 100 guesses.
    Source: Steinke et al. 2023, Theorem 5.2.
    """
    coins = _check_guesses(right, guesses, delta, confidence, canaries)
    return _largest(lambda epsilon: 1 - confidence - _p_value(right, guesses, coins, epsilon, delta))


def one_run_gaussian(
    right: int, guesses: int, *, delta: float, confidence: float = 0.95, canaries: int | None = None
) -> float:
    """As `one_run`, for a mechanism that is at least as private as a Gaussian one (f-DP), which shows more.

    The bound holds where the training's trade-off is that of Gaussian noise (DP-SGD nearly so), and is given as the ε
    at `delta` of the smallest such noise that the guesses rule out. From 0 to 100.
    Source: Mahloujifar et al. 2024, Algorithm 3 and Theorem 3.2 with k = 2.
    """
    checks.number("delta", delta, 0, 1, open_low=True)
    coins = _check_guesses(right, guesses, delta, confidence, canaries)
    return _largest(lambda epsilon: _excess(right, guesses, coins, 1 - confidence, gaussian_mu(epsilon, delta)))


def gaussian_mu(epsilon: float, delta: float) -> float:
    """How far apart two unit Gaussians may be to be (ε, δ)-close: sensitivity divided by noise.

    Source: Balle and Wang 2018, Theorem 8; Dong et al. 2022, Corollary 2.13 (there μ).
    """
    checks.number("epsilon", epsilon, 0)
    checks.number("delta", delta, 0, 1, open_low=True)
    most = 1.0
    while _delta(most, epsilon) < delta and most < 1e6:
        most *= 2
    return float(brentq(lambda mu: _delta(mu, epsilon) - delta, 1e-12, most, xtol=1e-14)) if most < 1e6 else most


def gaussian_epsilon(mu: float, delta: float) -> float:
    """The ε at `delta` of a Gaussian mechanism whose sensitivity is `mu` times its noise; 0 where δ alone covers it."""
    checks.number("mu", mu, 0)
    checks.number("delta", delta, 0, 1, open_low=True)
    if _delta(mu, 0.0) <= delta:
        return 0.0
    most = 1.0
    while _delta(mu, most) > delta:
        most *= 2
    return float(brentq(lambda epsilon: _delta(mu, epsilon) - delta, 0.0, most, xtol=1e-12))


def _delta(mu: float, epsilon: float) -> float:
    if mu <= 0:
        return 0.0
    first = log_ndtr(mu / 2 - epsilon / mu)
    second = epsilon + log_ndtr(-mu / 2 - epsilon / mu)
    return float(math.exp(first) - math.exp(second))


def _p_value(right: int, guesses: int, canaries: int, epsilon: float, delta: float) -> float:
    """How likely that many right guesses are at most, under (ε, δ)-differential privacy."""
    chance = float(expit(epsilon))
    tail = float(binom.sf(right - 1, guesses, chance))
    if delta == 0 or right == 0:
        return min(tail, 1.0)
    fewer = np.arange(1, right + 1)
    between = binom.sf(right - fewer - 1, guesses, chance) - tail
    return min(1.0, tail + 2 * canaries * delta * float((between / fewer).max()))


def _excess(right: int, guesses: int, canaries: int, level: float, mu: float) -> float:
    """Above 0 where so many right guesses are less likely than `level` for Gaussian noise of that μ."""
    share = level * right / canaries
    rest = level * (guesses - right) / canaries
    for count in range(right - 1, -1, -1):
        wanted = float(ndtr(ndtri(share) - mu))
        if wanted <= rest:
            break
        share, rest = min(1.0, share + count / (guesses - count) * (wanted - rest)), wanted
    return share + rest - guesses / canaries


def _largest(ruled_out: Callable[[float], float]) -> float:
    """The largest ε for which `ruled_out` is above 0; it falls as ε grows."""
    if ruled_out(0.0) <= 0:
        return 0.0
    most = 1.0
    while ruled_out(most) > 0:
        if most >= _MOST:
            return _MOST
        most = min(2 * most, _MOST)
    return float(brentq(ruled_out, 0.0 if most == 1.0 else most / 2, most, xtol=1e-9))


def _check(delta: float, confidence: float) -> None:
    checks.number("delta", delta, 0, 1)
    checks.number("confidence", confidence, 0, 1, open_low=True)
    if confidence == 1:
        raise ValueError("confidence=1 is certainty, which no count gives; give a number below 1")


def _check_guesses(right: int, guesses: int, delta: float, confidence: float, canaries: int | None) -> int:
    checks.whole("guesses", guesses)
    checks.whole("right", right, 0, guesses)
    checks.if_given(checks.whole, "canaries", canaries, guesses)
    _check(delta, confidence)
    return guesses if canaries is None else canaries
