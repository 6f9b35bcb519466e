"""What an exercise says of an answer is true, and never an error, whatever the answer is."""

import math

import numpy as np
import pytest
import torch

from privlab.exercises import check

NOTHING = object()


def said(capsys, answer, **wanted):
    check(answer, **wanted)
    return capsys.readouterr().out.strip()


@pytest.mark.parametrize(
    "kind", [float, np.float32, torch.tensor, lambda n: torch.tensor([[n]]), lambda n: np.array(n)]
)
def test_a_number_of_any_kind_is_compared(capsys, kind):
    assert said(capsys, kind(31.25), above=30, unit="dB") == "✓ reached: 31.25 dB"
    assert said(capsys, kind(29.0), above=30, unit="dB") == "✗ not yet: got 29 dB; wanted: more than 30 dB"
    assert said(capsys, kind(3.0), below=3) == "✗ not yet: got 3; wanted: less than 3"
    assert said(capsys, kind(0.5), above=0.4, below=0.6) == "✓ reached: 0.5"
    assert said(capsys, kind(0.7), above=0.4, below=0.6).endswith("wanted: between 0.4 and 0.6")


@pytest.mark.parametrize("answer", [math.nan, torch.tensor(math.nan)])
def test_what_is_not_a_number_reaches_nothing(capsys, answer):
    for wanted in ({"above": -math.inf}, {"below": math.inf}, {"equal": 0.0}):
        assert said(capsys, answer, **wanted).startswith("✗ not yet: got nan")


def test_no_answer_is_no_mistake(capsys):
    assert said(capsys, ..., above=30, unit="dB") == "… nothing yet; wanted: more than 30 dB"
    assert said(capsys, ..., equal=24) == "… nothing yet; wanted: 24"


@pytest.mark.parametrize(
    ("answer", "equal", "reached"),
    [
        (24, 24, True),
        (24.0, 24, True),
        (torch.tensor(24), 24, True),
        (23, 24, False),
        (True, True, True),
        (1, True, False),
        ("relu", "relu", True),
        ("tanh", "relu", False),
        ([1, 2], (1, 2), True),
        ([1, 2, 3], (1, 2), False),
        (torch.eye(2), torch.eye(2), True),
        (torch.eye(3), torch.eye(2), False),
        (0.1 + 0.2, 0.3, True),
        (None, 3, False),
        (object(), 3, False),
        ({"a": 1}, 3, False),
    ],
)
def test_equal_is_equal(capsys, answer, equal, reached):
    assert said(capsys, answer, equal=equal).startswith("✓" if reached else "✗ not yet: got ")


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ("30", "'30'"),
        (None, "None"),
        (True, "True"),
        (1 + 2j, "(1+2j)"),
        ([1.0, 2.0], "[1.0, 2.0]"),
        (torch.zeros(3, 4), "a Tensor of shape (3, 4)"),
        (lambda: 3, "a function"),
        (list(range(100)), "a list ([0, 1, 2,"),
    ],
)
def test_an_answer_of_another_kind_is_named(capsys, answer, name):
    found = said(capsys, answer, above=30, unit="dB")
    assert found.startswith(f"✗ not yet: got {name}" if not callable(answer) else "✗ not yet: got ")
    assert found.endswith("wanted: a number, more than 30 dB")


def test_an_answer_that_cannot_even_be_read_is_not_yet_one(capsys):
    class Sour:
        def __array__(self):
            raise RuntimeError

    assert said(capsys, Sour(), above=1).startswith("✗ not yet")
    assert said(capsys, Sour(), equal=1).startswith("✗ not yet")


def test_a_check_that_asks_for_nothing_is_a_mistake_of_its_author():
    with pytest.raises(TypeError, match="needs above=, below= or equal="):
        check(3)
