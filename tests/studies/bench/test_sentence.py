"""When a sentence may be said to hold: the rule, case by case."""

import pytest
from scipy.stats import binomtest

from privlab.studies.bench import sentence
from privlab.studies.bench.sentence import (
    UNDECIDED,
    about,
    alike,
    both,
    either,
    hindered,
    ratio,
    stopped,
    told,
    verdict,
)


@pytest.mark.parametrize(
    ("differences", "options", "said"),
    [
        ([], {}, None),
        ([1.0], {}, UNDECIDED),  # one draw never holds
        ([1.0, 1.0], {}, UNDECIDED),
        ([1.0, 1.0, 1.0], {}, True),
        ([-1.0, -1.0, -1.0], {}, False),
        ([0.0, 0.0, 0.0], {}, UNDECIDED),
        ([1.0, 2.0, 3.0], {}, True),  # 2 +- 1 / sqrt(3)
        ([1.0, 2.0, 3.0], {"by": 0.8}, True),  # 1.2 is over two standard errors of .577
        ([1.0, 2.0, 3.0], {"by": 0.9}, UNDECIDED),
        ([1.0, 2.0, 3.0], {"by": 3.2}, False),
        ([0.4, 0.4, 0.4], {"margin": 0.5}, UNDECIDED),
        ([0.6, 0.6, 0.6], {"margin": 0.5}, True),
        ([-0.6, -0.6, -0.6], {"margin": 0.5}, False),
    ],
)
def test_a_difference_takes_three_draws_two_standard_errors_and_a_margin(differences, options, said):
    assert told(differences, **options) == said


def test_two_things_are_alike_where_their_difference_is_small_for_sure():
    assert alike([0.1, 0.0, -0.1], 0.5) is True
    assert alike([0.6, 0.7, 0.8], 0.5) is False
    assert alike([0.3, 0.5, 0.9], 0.5) == UNDECIDED
    assert alike([], 0.5) is None


def test_a_ratio_takes_both_spreads():
    assert ratio([2.2] * 3, [1.0] * 3, 2) is True
    assert ratio([1.8] * 3, [1.0] * 3, 2) is False
    assert ratio([1.6, 2.2, 2.8], [1.0] * 3, 2) == UNDECIDED
    assert ratio([2.2] * 3, [0.8, 1.0, 1.2], 2) == UNDECIDED
    assert ratio([2.2] * 2, [1.0] * 3, 2) == UNDECIDED
    assert ratio([], [1.0], 2) is None
    assert ratio([0.1] * 3, [0.0] * 3, 2) is True


def test_around_nine_is_nine_give_or_take_fifteen_per_cent():
    assert about([9.9] * 3, [1.0] * 3, 9) is True
    assert about([10.5] * 3, [1.0] * 3, 9) is False
    assert about([7.5] * 3, [1.0] * 3, 9) is False
    assert about([6, 12, 15], [1.0] * 3, 9) == UNDECIDED
    assert about([9.0] * 3, [0.0] * 3, 9) is False
    assert about([], [1.0], 9) is None


@pytest.mark.parametrize(
    ("bad", "good", "said"),
    [
        ((0, 16), (16, 16), True),
        ((16, 16), (16, 16), False),  # fewer by less than a quarter, for sure
        ((14, 16), (16, 16), UNDECIDED),
        ((8, 8), (8, 8), UNDECIDED),  # eight victims cannot tell a quarter
        ((16, 16), (0, 16), False),
        ((0, 24), (0, 24), UNDECIDED),  # where nothing succeeds there is nothing to lose
        ((2, 24), (3, 24), UNDECIDED),
        ((0, 0), (16, 16), None),
        ((4, 16), (0, 0), None),
    ],
)
def test_success_is_hindered_by_newcombes_interval(bad, good, said):
    assert hindered(bad, good) == said


def test_the_interval_is_wilsons():
    found = binomtest(5, 16).proportion_ci(method="wilson")
    assert sentence.interval(5, 16) == (found.low, found.high)


@pytest.mark.parametrize(
    ("bad", "good", "said"),
    [
        ((0, 16), (16, 16), True),
        ((1, 16), (16, 16), False),  # one success is enough to say no
        ((0, 2), (1, 16), UNDECIDED),  # what hardly succeeds elsewhere is not seen to be stopped
        ((0, 0), (16, 16), None),
        ((0, 16), (0, 0), None),
    ],
)
def test_an_attack_is_stopped_where_nothing_succeeds_that_would_be_seen(bad, good, said):
    assert stopped(bad, good) == said


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({"a": True, "b": True}, "holds"),
        ({"a": False, "b": False}, "does not hold"),
        ({"a": True, "b": False}, "depends"),
        ({"a": True, "b": False, "c": UNDECIDED}, "depends"),
        ({"a": True, "b": UNDECIDED}, "cannot tell"),
        ({"a": True, "b": None}, "cannot tell"),
        ({"a": False, "b": UNDECIDED}, "does not hold"),
        ({"a": None, "b": UNDECIDED}, "cannot tell"),
        ({"a": None, "b": None}, "not run"),
        ({}, "not run"),
    ],
)
def test_one_word_for_all_settings(found, said):
    assert verdict(found) == said


def test_of_several_parts_one_that_fails_says_no():
    assert both(True, UNDECIDED, None, False) is False
    assert both(True, UNDECIDED, None) is None
    assert both(True, UNDECIDED) == UNDECIDED
    assert both(True, True) is True


def test_of_several_ways_one_that_works_says_yes():
    assert either(False, UNDECIDED, None, True) is True
    assert either(False, UNDECIDED, None) is None
    assert either(False, UNDECIDED) == UNDECIDED
    assert either(False, False) is False
