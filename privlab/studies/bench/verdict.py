"""When we may say that a measured number agrees with a printed one. The rule stands here and nowhere else.

The printed number is r, h one unit of its last digit; ours are n draws of mean m. Each metric has a kind, and a kind a
tolerance t, never below h. The standard error is that of a difference of means, ours and the paper's.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from privlab.studies.bench.printed import Reported

AGREES, DIFFERS, UNDECIDED = "agrees", "differs", "cannot tell"
ORDERING, FITTED, NOT_AT_SCALE = "same ordering", "fitted", "not at scale"
STAND_IN, NOT_JUDGED, NOT_RUN, NO_STUDY = "stand-in only", "not judged", "not run", "no study yet"
DEPENDS = "depends"  # yes or no: some draws say the one, some the other
VERDICTS = (
    *(AGREES, ORDERING, DIFFERS, UNDECIDED, DEPENDS, FITTED),
    *(NOT_AT_SCALE, STAND_IN, NOT_JUDGED, NOT_RUN, NO_STUDY),
)
WORSE = (AGREES, UNDECIDED, DIFFERS)  # of two forms of one number the worse speaks

SHARE, DECIBEL, SIZE, COUNT, YES_NO, LEAST, DESCRIBED = (
    *("share", "decibel", "size", "count", "yes or no"),
    *("at least", "not judged"),
)
KINDS = {
    **dict.fromkeys(
        (
            *("accuracy", "model_accuracy", "attack_accuracy", "recall", "precision", "active", "ssim"),
            *("distance_correlation", "task_ap", "identification_ap", "matching_ap", "utility"),
            *("reduction_of_attack_ap", "effectiveness"),
        ),
        SHARE,
    ),
    "psnr": DECIBEL,
    **dict.fromkeys(
        ("mse_255", "loss", "gradient_mse", "pixel_l2", "times_chance", "times_chance_no_seen_user"),
        SIZE,
    ),
    "iterations_to_zero_mse": COUNT,
    **dict.fromkeys(("mitigates_decoder", "mitigates_dlg", "mitigates_membership"), YES_NO),
    **dict.fromkeys(("times_chance_at_least", "times_chance_min"), LEAST),
    "times_chance_max": SIZE,
    **dict.fromkeys(("seconds", "time_300_iterations", "images", "users", "labels"), DESCRIBED),
}
TWINS = {"psnr": "mse_255", "mse_255": "psnr"}  # two forms of one number
LOGARITHMIC = {SIZE: math.log(1.15), COUNT: math.log(1.10)}
TINY = 1e-12
DRAWS = 3  # from which on an agreement needs no qualifier
ERRORS = 2.0  # standard errors
ORDERED, POINTS, SURE, BOOTSTRAPS = 0.8, 4, 0.95, 400


def tolerance(kind: str, value: float, step: float) -> float:
    """t of a printed value, in its unit; for sizes and counts in units of the natural logarithm."""
    if kind == DECIBEL:
        return max(0.5, step)
    if kind in LOGARITHMIC:
        return max(LOGARITHMIC[kind], math.log1p(step / value)) if value > 0 else step
    return max(step, min(0.02, min(value, 1 - value) / 5))


def judge(item: Reported, values: Sequence[float], ran: bool, runs: int = 1) -> str:
    """What n draws say of a printed number: agrees, differs, cannot tell (and, of yes or no, depends).

    values: one number a draw; fewer than drawn, or none, where the draw never reached what the metric counts. runs: of
    how many the printed number is the mean. A number that is not judged, or not run, is said to be so.
    """
    kind = KINDS[item.printed.metric]
    if kind == DESCRIBED:
        return NOT_JUDGED
    if not ran:
        return NOT_RUN
    if kind == YES_NO and not values:
        return UNDECIDED  # a question that no draw could answer
    if item.value is None or not values:  # *never* is a value like others
        return AGREES if item.value is None and not values else DIFFERS
    if kind == YES_NO:
        same = [value == item.value for value in values]
        return AGREES if all(same) else DEPENDS if any(same) else DIFFERS
    t = tolerance(kind, item.value, item.step)
    difference, spread, theirs = _difference(kind, item, values)
    if kind == LEAST:
        difference = min(difference, 0.0)
    return _decide(difference, t, spread, len(values), theirs, runs)


def _difference(kind: str, item: Reported, values: Sequence[float]) -> tuple[float, float, float | None]:
    """Ours less the printed one, the standard deviation of ours, and the printed one; in logarithms where t is."""
    assert item.value is not None
    mean, spread = statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0
    if kind not in LOGARITHMIC or item.value <= 0:
        return mean - item.value, spread, item.spread
    logs = [math.log(max(value, TINY)) for value in values]
    spread = statistics.stdev(logs) if len(logs) > 1 else 0.0
    theirs = None if item.spread is None else item.spread / item.value
    return math.log(max(mean, TINY) / item.value), spread, theirs


def _decide(difference: float, t: float, spread: float, draws: int, theirs: float | None, runs: int) -> str:
    size = abs(difference) - 1e-9  # the print is decimal, ours binary
    if draws == 1:
        return AGREES if size <= t else DIFFERS if size > 3 * t else UNDECIDED
    error = math.sqrt(spread**2 / draws + (spread**2 / runs if theirs is None else theirs**2 / runs))
    if size <= t or (size <= ERRORS * error <= 2 * t):  # a wide spread must not buy agreement
        return AGREES
    return DIFFERS if size > ERRORS * error else UNDECIDED


def worse(one: str, other: str) -> str:
    """Of the verdicts on two forms of one number the one that speaks."""
    return max(one, other, key=WORSE.index) if {one, other} <= set(WORSE) else one


def same_ordering(reported: Sequence[float], draws: Sequence[Sequence[float]]) -> bool:
    """Whether two curves over a knob rise and fall alike.

    reported: one number a point; draws: one list a point, of three draws or more, a draw at the same place in each.
    Kendall's tau-b of at least 0.8 in 95 % of bootstraps over draws, from four points on; in every draw of three
    points. Fewer points, or fewer draws, show no ordering.
    """
    count = min((len(each) for each in draws), default=0)
    if len(reported) < POINTS - 1 or count < DRAWS:
        return False
    table = np.array([list(each)[:count] for each in draws])
    if len(reported) < POINTS:
        return bool((_taus(np.asarray(reported), table.T) >= ORDERED - 1e-9).all())
    chosen = np.random.default_rng(0).integers(count, size=(BOOTSTRAPS, count))
    means = table[:, chosen].mean(2).T
    return bool((_taus(np.asarray(reported), means) >= ORDERED - 1e-9).mean() >= SURE)


def _taus(reported: np.ndarray, curves: np.ndarray) -> np.ndarray:
    """Kendall's tau-b of one curve `(K,)` and each of several `(M, K)`; 0 for one that does not move."""
    first, second = np.triu_indices(len(reported), 1)
    theirs = np.sign(reported[second] - reported[first])
    ours = np.sign(curves[:, second] - curves[:, first])
    size = np.sqrt(np.abs(theirs).sum() * np.abs(ours).sum(1))
    return (ours @ theirs) / np.maximum(size, 1e-9)


@dataclass(frozen=True)
class Qualified:
    """A verdict and what has to be said with it: `agrees (reduced, two draws)`."""

    word: str
    reading: str = ""
    scale: str = ""
    draws: int = 0
    stand_in: bool = False

    def __str__(self) -> str:
        said = [
            *(["stand-in"] if self.stand_in else []),
            *(["in another reading"] if self.reading else []),
            *(["reduced"] if self.scale else []),
            *([("one draw", "two draws")[self.draws - 1]] if 0 < self.draws < DRAWS else []),
        ]
        plain = self.word in (NOT_RUN, NOT_JUDGED, NO_STUDY, STAND_IN, FITTED, NOT_AT_SCALE)
        return self.word if plain or not said else f"{self.word} ({', '.join(said)})"
