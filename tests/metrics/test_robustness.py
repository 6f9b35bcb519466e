"""The rate of a backdoor, counted by hand."""

import pytest
import torch

from privlab.metrics import robustness


@pytest.mark.parametrize("seed", range(3))
def test_the_rate_counts_those_of_other_classes_alone(seed):
    random = torch.Generator().manual_seed(seed)
    logits, labels = torch.randn(50, 4, generator=random), torch.randint(4, (50,), generator=random)
    asked = taken = 0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        if label != 2:
            asked += 1
            taken += row.index(max(row)) == 2
    assert 0 < taken < asked < 50
    assert robustness.backdoor_rate(logits, labels, 2) == pytest.approx(taken / asked)


def test_a_model_that_answers_with_nan_is_taken_for_nothing():
    logits = torch.tensor([[float("nan"), 0.0], [3.0, 0.0], [0.0, 3.0], [float("nan"), float("nan")]])
    assert robustness.backdoor_rate(logits, torch.ones(4, dtype=torch.int64), 0) == 0.25


@pytest.mark.parametrize(
    ("logits", "labels", "target", "words"),
    [
        (torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64), 0, "all inputs are of class 0; give some of other"),
        (torch.zeros(3, 4), torch.zeros(3, dtype=torch.int64), 4, "target=4 is out of range"),
        (torch.zeros(3), torch.zeros(3, dtype=torch.int64), 0, r"logits have shape \(3,\); give \(N, K\)"),
        (torch.zeros(3, 4), torch.zeros(2, dtype=torch.int64), 0, "labels holds 2 labels for 3 images"),
        (torch.zeros(3, 4), torch.zeros(3, 4), 0, "give an int64 tensor"),
        (torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 0, "give some of other classes"),
    ],
)
def test_what_has_no_rate_is_refused(logits, labels, target, words):
    with pytest.raises((ValueError, TypeError), match=words):
        robustness.backdoor_rate(logits, labels, target)
