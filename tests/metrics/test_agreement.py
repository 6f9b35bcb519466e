"""Fidelity against the loop over inputs."""

import pytest
import torch

from privlab.metrics import agreement


def drawn(seed, count=50, classes=4):
    return torch.randn(count, classes, generator=torch.Generator().manual_seed(seed))


def test_fidelity_is_the_share_of_equal_decisions():
    one, other = drawn(0), drawn(0) + drawn(1) / 2
    same = [int(a.argmax()) == int(b.argmax()) for a, b in zip(one, other, strict=True)]
    assert 0 < sum(same) < 50
    assert agreement.fidelity(one, other) == pytest.approx(sum(same) / 50)
    assert agreement.fidelity(one.softmax(1), other.argmax(1)) == pytest.approx(sum(same) / 50)
    assert agreement.fidelity(one, 3 * one + 1) == 1


def test_one_logit_decides_by_its_sign():
    one, other = drawn(0, classes=1), drawn(1, classes=1)
    assert agreement.fidelity(one, other) == pytest.approx(sum((one > 0) == (other > 0)).item() / 50)


def test_it_says_nothing_of_who_is_right():
    """Two models that err alike agree in all, and are right in none."""
    labels = torch.arange(50) % 4
    assert agreement.fidelity((labels + 1) % 4, (labels + 1) % 4) == 1


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (torch.randn(49, 4), ValueError, "49 answers and other 50"),
        (torch.full((50, 4), torch.inf), ValueError, "200 numbers of one are not finite"),
        (torch.zeros(50, 4).long(), TypeError, "one is torch.int64"),
        (torch.zeros(50, 4, 1), ValueError, r"give \(N, K\)"),
        (torch.zeros(0).long(), TypeError, "one is torch.int64"),
        ([1, 2], TypeError, "one is list"),
    ],
)
def test_what_does_not_fit_is_said(given, error, words):
    with pytest.raises(error, match=words):
        agreement.fidelity(given, drawn(0))
