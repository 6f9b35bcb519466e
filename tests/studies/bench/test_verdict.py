"""When a measured number may be said to agree with a printed one: the rule, case by case."""

import math

import numpy as np
import pytest
from scipy.stats import kendalltau

from privlab.studies.bench import verdict
from privlab.studies.bench.printed import PAPERS, Printed, Reading, Reported, printed
from privlab.studies.bench.verdict import AGREES, DIFFERS, UNDECIDED, judge, same_ordering, tolerance


def item(metric, value, step, spread=None):
    return Reported(
        Printed("made", "1", "MNIST", "", "", "", metric, value), metric, value, step, (Reading({}),), spread
    )


def around(mean, spread, draws):
    """So many draws of exactly this mean and standard deviation."""
    noise = np.random.default_rng(0).normal(size=draws)
    return list(mean + spread * (noise - noise.mean()) / noise.std(ddof=1))


@pytest.mark.parametrize(
    ("kind", "value", "step", "t"),
    [
        (verdict.SHARE, 0.5, 0.001, 0.02),
        (verdict.SHARE, 0.05, 0.001, 0.01),
        (verdict.SHARE, 0.98, 0.0001, 0.004),
        (verdict.SHARE, 0.002, 0.001, 0.001),  # never below one unit of the last digit
        (verdict.SHARE, 1.0, 0.001, 0.001),
        (verdict.DECIBEL, 22.1, 0.1, 0.5),
        (verdict.DECIBEL, 22.0, 1.0, 1.0),
        (verdict.SIZE, 464.1, 0.1, math.log(1.15)),
        (verdict.SIZE, 0.02, 0.01, math.log(1.5)),
        (verdict.COUNT, 84, 1, math.log(1.10)),
        (verdict.COUNT, 4, 1, math.log(1.25)),
    ],
)
def test_the_tolerance_of_each_kind(kind, value, step, t):
    assert tolerance(kind, value, step) == pytest.approx(t)


@pytest.mark.parametrize(
    ("metric", "value", "step", "ours", "runs", "said"),
    [
        # within the tolerance, whatever the spread
        ("recall", 0.5, 0.001, around(0.52, 0.001, 10), 10, AGREES),
        ("recall", 0.5, 0.001, around(0.521, 0.001, 10), 10, DIFFERS),
        ("accuracy", 0.98, 1e-4, around(0.976, 1e-4, 3), 1, AGREES),
        ("accuracy", 0.98, 1e-4, around(0.975, 1e-4, 3), 1, DIFFERS),  # five per cent of 98 % is no agreement
        # within two standard errors of the difference of means: here 2 * 0.03 * sqrt(1/10 + 1/10) = 0.0268
        ("recall", 0.5, 0.001, around(0.5265, 0.03, 10), 10, AGREES),
        ("recall", 0.5, 0.001, around(0.5275, 0.03, 10), 10, DIFFERS),
        ("recall", 0.5, 0.001, around(0.5265, 0.03, 10), 1, UNDECIDED),  # 0.063: wider than twice the tolerance
        # a wide spread must not buy agreement
        ("recall", 0.5, 0.001, around(0.56, 0.1, 3), 1, UNDECIDED),
        ("psnr", 22.1, 0.1, around(21.7, 0.1, 3), 1, AGREES),
        ("psnr", 22.1, 0.1, around(21.0, 0.1, 3), 1, DIFFERS),
        # sizes and counts by their ratio
        ("loss", 0.5, 0.001, around(0.57, 0.001, 3), 10, AGREES),
        ("loss", 0.5, 0.001, around(0.59, 0.001, 3), 10, DIFFERS),
        ("loss", 0.5, 0.001, around(0.43, 0.001, 3), 10, DIFFERS),
        ("loss", 0.002, 0.001, around(0.02, 0.001, 3), 10, DIFFERS),  # ten times off
        ("iterations_to_zero_mse", 31, 1.0, around(34, 0.1, 3), 1, AGREES),
        ("iterations_to_zero_mse", 31, 1.0, around(35, 0.1, 3), 1, DIFFERS),
        ("iterations_to_zero_mse", 31, 1.0, around(21.2, 4.3, 4), 1, UNDECIDED),
        # one draw: the tolerance, and three times it
        ("recall", 0.5, 0.001, [0.52], 10, AGREES),
        ("recall", 0.5, 0.001, [0.55], 10, UNDECIDED),
        ("recall", 0.5, 0.001, [0.561], 10, DIFFERS),
        # the paper prints nothing
        ("active", 0.0, 0.001, [0.0, 0.0, 0.0], 10, AGREES),
        ("active", 0.0, 0.001, [0.1, 0.1, 0.1], 10, DIFFERS),
        # yes or no, in every draw
        ("mitigates_dlg", 1.0, 1.0, [1.0, 1.0, 1.0], 1, AGREES),
        ("mitigates_dlg", 1.0, 1.0, [0.0, 0.0, 0.0], 1, DIFFERS),
        ("mitigates_dlg", 1.0, 1.0, [1.0, 0.0, 1.0], 1, verdict.DEPENDS),
        # one-sided
        ("times_chance_at_least", 18, 1.0, around(40, 1, 3), 1, AGREES),
        ("times_chance_at_least", 18, 1.0, around(9, 0.1, 3), 1, DIFFERS),
        # no verdict
        ("seconds", 45, 1.0, [3.0], 1, verdict.NOT_JUDGED),
        ("images", 33051, 1.0, [10.0], 1, verdict.NOT_JUDGED),
    ],
)
def test_the_rule_for_a_number(metric, value, step, ours, runs, said):
    assert judge(item(metric, value, step), ours, ran=True, runs=runs) == said


def test_a_printed_spread_is_the_papers_in_the_place_of_ours():
    ours = around(0.50, 0.03, 3)
    wide, narrow = item("distance_correlation", 0.472, 0.001, 0.004), item("distance_correlation", 0.472, 0.001)
    assert judge(wide, ours, ran=True) == AGREES  # 2 sqrt(.03²/3 + .004²) = .0356
    assert judge(narrow, ours, ran=True) == UNDECIDED  # 2 sqrt(.03²/3 + .03²) = .069


def test_never_is_a_value_like_others():
    never, number = item("iterations_to_zero_mse", None, 1.0), item("iterations_to_zero_mse", 31.0, 1.0)
    assert judge(never, [], ran=True) == AGREES
    assert judge(never, [20.0], ran=True) == DIFFERS
    assert judge(number, [], ran=True) == DIFFERS
    assert judge(number, [], ran=False) == judge(never, [], ran=False) == verdict.NOT_RUN


def test_every_printed_metric_has_a_kind():
    assert {row.metric for paper in PAPERS for row in printed(paper)} <= verdict.KINDS.keys()


def test_the_worse_of_two_forms_speaks():
    assert verdict.worse(AGREES, DIFFERS) == verdict.worse(DIFFERS, AGREES) == DIFFERS
    assert verdict.worse(AGREES, UNDECIDED) == UNDECIDED
    assert verdict.worse(verdict.NOT_RUN, AGREES) == verdict.NOT_RUN


def test_taus_are_kendalls():
    random = np.random.default_rng(1)
    reported, curves = random.integers(0, 5, 7).astype(float), random.integers(0, 5, (50, 7)).astype(float)
    expected = [kendalltau(reported, curve).statistic for curve in curves]
    assert verdict._taus(reported, curves) == pytest.approx(np.nan_to_num(expected))


def test_the_ordering_of_a_curve():
    rising = [[0.1] * 3, [0.2] * 3, [0.3] * 3, [0.4] * 3]
    assert same_ordering([1, 2, 3, 4], rising)
    assert not same_ordering([4, 3, 2, 1], rising)
    assert not same_ordering([2, 1, 3, 4], rising)  # a tau of 0.67
    assert same_ordering([2, 1, 3, 4, 5], [*rising, [0.5] * 3])  # 0.8
    assert not same_ordering([1, 2], rising[:2])  # two points show no ordering
    assert not same_ordering([1, 2, 3, 4], [each[:2] for each in rising])  # nor do two draws
    assert not same_ordering([1, 2, 3, 4], [[0.1] * 3] * 4)  # nor what does not move


def test_three_points_are_ordered_in_every_draw():
    assert same_ordering([1, 2, 3], [[0.1, 0.2, 0.3], [0.2, 0.3, 0.4], [0.3, 0.4, 0.5]])
    assert not same_ordering([1, 2, 3], [[0.1, 0.2, 0.3], [0.2, 0.3, 0.4], [0.3, 0.4, 0.35]])


def test_an_ordering_that_draws_reverse_is_none():
    random = np.random.default_rng(0)
    steps = np.arange(6)[:, None]
    assert same_ordering(range(6), list(steps + random.normal(0, 0.3, (6, 10))))
    assert not same_ordering(range(6), list(steps + random.normal(0, 6, (6, 10))))


def test_a_verdict_says_its_reading_scale_and_draws():
    said = str(verdict.Qualified(AGREES, "Adam", "a quarter", 2))
    assert said == "agrees (in another reading, reduced, two draws)"
    assert str(verdict.Qualified(AGREES)) == "agrees"
    assert str(verdict.Qualified(verdict.NOT_AT_SCALE, "Adam", "a quarter", 1)) == "not at scale"
