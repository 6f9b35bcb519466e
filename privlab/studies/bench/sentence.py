"""When we may say of a paper's sentence that it holds. The rule stands here and nowhere else.

A test answers for one setting, or for each of several: yes, no, `UNDECIDED` where the rows are there and show neither
the one nor the other, None where rows are missing. One draw never shows that something holds: an answer takes three
draws and a difference of two standard errors, or an interval of its own, and a margin stated beforehand.
"""

import math
import statistics
from collections.abc import Mapping, Sequence

from scipy.stats import binomtest

Outcome = bool | str | None
Found = Outcome | Mapping[str, Outcome]
UNDECIDED = "cannot tell"
HOLDS, FAILS, DEPENDS, NOT_RUN = "holds", "does not hold", "depends", "not run"
VERDICTS = (DEPENDS, FAILS, UNDECIDED, HOLDS, NOT_RUN)
DRAWS = 3  # at least
ERRORS = 2.0  # standard errors
MARGIN = 0.5  # dB: what two trainings alike but for the seed may differ by
POINT = 0.01  # of accuracy
QUARTER = 0.25  # of the victims: a difference in success that matters


def told(differences: Sequence[float], by: float = 0.0, margin: float = 0.0) -> Outcome:
    """Whether a difference is larger than `by`. One number a draw; None where there is none.

    UNDECIDED with fewer than three draws, and where their mean lies within two standard errors of `by`, or within
    `margin` of it.
    """
    if not differences:
        return None
    if len(differences) < DRAWS:
        return UNDECIDED
    gap = statistics.fmean(differences) - by
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return UNDECIDED if abs(gap) <= max(margin, ERRORS * error) else gap > 0


def alike(differences: Sequence[float], within: float) -> Outcome:
    """Whether a difference is smaller than `within`, in either direction; by two standard errors."""
    sides = told(differences, -within), told([-difference for difference in differences], -within)
    return both(*sides)


def ratio(high: Sequence[float], low: Sequence[float], factor: float) -> Outcome:
    """Whether the mean of one sample is more than `factor` times that of another.

    By two standard errors of the logarithm. UNDECIDED with fewer than three of either; None where one is empty.
    """
    if not high or not low:
        return None
    if min(len(high), len(low)) < DRAWS:
        return UNDECIDED
    top, bottom = statistics.fmean(high), statistics.fmean(low)
    if bottom <= 0 or top <= 0:
        return top > 0 if bottom <= 0 else False
    error = math.hypot(*(statistics.stdev(v) / statistics.fmean(v) / math.sqrt(len(v)) for v in (high, low)))
    gap = math.log(top / bottom / factor)
    return UNDECIDED if abs(gap) <= ERRORS * error else gap > 0


def about(high: Sequence[float], low: Sequence[float], factor: float, within: float = 0.15) -> Outcome:
    """Whether the mean of one sample is `factor` times that of another, give or take so much of it.

    As for a printed number: also within two standard errors, where those are no wider than twice that. None where one
    is empty, UNDECIDED with fewer than three draws.
    """
    if not high or not low:
        return None
    if min(len(high), len(low)) < DRAWS:
        return UNDECIDED
    if min(statistics.fmean(high), statistics.fmean(low)) <= 0:
        return False  # no ratio at all
    error = ERRORS * math.hypot(*(statistics.stdev(v) / statistics.fmean(v) / math.sqrt(len(v)) for v in (high, low)))
    gap, t = abs(math.log(statistics.fmean(high) / statistics.fmean(low) / factor)), math.log1p(within)
    if gap <= t or gap <= error <= 2 * t:
        return True
    return False if gap > error else UNDECIDED


def interval(hits: float, trials: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share of successes."""
    found = binomtest(round(hits), trials).proportion_ci(0.95, "wilson")
    return float(found.low), float(found.high)


def hindered(bad: tuple[float, int], good: tuple[float, int]) -> Outcome:
    """Whether successes (hits, trials) are fewer in one setting than in another, by Newcombe's interval.

    False where they are fewer by less than a quarter of the trials for sure, and there is as much to lose. None where
    one was not tried.
    """
    if not bad[1] or not good[1]:
        return None
    (low, high), (floor, ceiling) = interval(*bad), interval(*good)
    rates = bad[0] / bad[1], good[0] / good[1]
    least = rates[1] - rates[0] - math.hypot(rates[1] - floor, high - rates[0])
    most = rates[1] - rates[0] + math.hypot(ceiling - rates[1], rates[0] - low)
    if least > 0:
        return True
    return False if most < 0 or (most < QUARTER <= floor) else UNDECIDED


def stopped(bad: tuple[float, int], good: tuple[float, int]) -> Outcome:
    """Whether nothing at all succeeds in one setting (hits, trials), and so often in the other that it would be seen.

    One success is enough to say no. None where one was not tried.
    """
    if not bad[1] or not good[1]:
        return False if bad[0] > 0 else None
    if bad[0] > 0:
        return False
    return True if interval(*bad)[1] < interval(*good)[0] else UNDECIDED


def negated(found: Outcome) -> Outcome:
    """The opposite of what could be told."""
    return not found if isinstance(found, bool) else found


def both(*found: Outcome) -> Outcome:
    """Whether all of several hold: one that does not is enough to say no, then one that is missing or undecided."""
    return next((each for each in (False, None, UNDECIDED) if each in found), True)


def either(*found: Outcome) -> Outcome:
    """Whether one of several holds: one that does is enough to say yes, then one that is missing or undecided."""
    return next((each for each in (True, None, UNDECIDED) if each in found), False)


def settings(found: Found) -> dict[str, Outcome]:
    """One outcome a setting; of a test with one answer the setting has no name."""
    return dict(found) if isinstance(found, Mapping) else {"": found}


def verdict(outcomes: Mapping[str, Outcome]) -> str:
    """One word for the outcomes in all settings that a sentence covers.

    *depends*: it holds in some and not in others. It *holds* in every one, or one cannot tell; where it fails in some
    and holds in none, it does not hold.
    """
    found = list(outcomes.values())
    if True in found and False in found:
        return DEPENDS
    if False in found:
        return FAILS
    if all(each is None for each in found):
        return NOT_RUN
    return HOLDS if all(each is True for each in found) else UNDECIDED


def word(outcome: Outcome) -> str:
    """An outcome in one setting, as a word."""
    return {True: HOLDS, False: FAILS, None: NOT_RUN}.get(outcome, UNDECIDED)  # type: ignore[arg-type]
