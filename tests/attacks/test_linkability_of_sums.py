"""Who is among those whose updates were summed: the attack, and its score against chance."""

import pytest
import torch
from torch import nn

from privlab.attacks import linkability
from privlab.metrics import linkability as metrics

USERS, SIZE = 8, 30


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch):
    monkeypatch.setattr(linkability, "STEPS", 600)
    monkeypatch.setattr(linkability, "EPOCHS", 1)


def sums(count, summed, alike=0.0, seed=0):
    """Normalised sums of `summed` users' updates, each of an own direction (all of one, where `alike` is 1)."""
    own = torch.randn(USERS, SIZE, generator=torch.Generator().manual_seed(5))
    random = torch.Generator().manual_seed(seed)
    chosen = torch.rand(count, USERS, generator=random).argsort(1)[:, :summed]
    present = torch.zeros(count, USERS, dtype=torch.bool).scatter(1, chosen, True)
    signatures = alike * own.mean(0) + (1 - alike) * own
    noise = torch.randn(count, SIZE, generator=random)
    return nn.functional.normalize(present.float() @ signatures + 0.3 * noise, dim=1), present


@pytest.mark.parametrize("attack", linkability.AMONG)
@pytest.mark.parametrize("summed", [1, 3])
def test_those_who_are_in_a_sum_are_found(attack, summed):
    known, present = sums(200, summed)
    asked, truth = sums(100, summed, seed=1)
    scores = linkability.among(known, present, asked, attack=attack, seed=0)
    found = metrics.average_precision(scores, truth).mean().item()
    assert found > 0.85 > metrics.random_precision(truth, USERS) + 0.2
    assert torch.equal(scores, linkability.among(known, present, asked, attack=attack, seed=0))


@pytest.mark.parametrize("attack", linkability.AMONG)
def test_among_users_who_are_all_alike_it_is_at_chance(attack):
    (known, present), (asked, truth) = sums(200, 3, alike=1.0), sums(400, 3, alike=1.0, seed=1)
    scores = linkability.among(known, present, asked, attack=attack)
    random = metrics.random_precision(truth, USERS)
    assert metrics.average_precision(scores, truth).mean().item() == pytest.approx(random, abs=0.05)


def test_sums_of_one_are_identification():
    known, present = sums(100, 1)
    asked, _ = sums(50, 1, seed=1)
    single = linkability.identify(known, present.int().argmax(1), asked, attack="mlp", seed=4)
    torch.testing.assert_close(linkability.among(known, present, asked, seed=4), single)


def test_the_regression_is_that_of_the_normal_equations():
    known, present = sums(40, 2)
    asked, _ = sums(10, 2, seed=1)
    x, y = known.double(), present.double()
    weights = torch.linalg.inv(x.T @ x + linkability.RIDGE * torch.eye(SIZE)) @ x.T @ (y - y.mean(0))
    found = linkability.among(known, present, asked, attack="ridge")
    torch.testing.assert_close(found, (asked.double() @ weights + y.mean(0)).float())


@pytest.mark.parametrize(
    ("present", "words"),
    [
        (torch.ones(9, USERS).bool(), "a row with one user or more for each of 10 sums"),
        (torch.ones(10, USERS), "present is torch.float32"),
        (torch.zeros(10, USERS).bool(), "a row with one user or more"),
    ],
)
def test_who_was_in_the_sums_has_to_fit(present, words):
    known, _ = sums(10, 2)
    with pytest.raises(ValueError, match=words):
        linkability.among(known, present, known)


def test_of_single_users_both_forms_of_the_truth_say_the_same():
    users = torch.arange(60) % 7  # of eight: the last has no update
    scores = torch.rand(60, USERS, generator=torch.Generator().manual_seed(0))
    several = torch.arange(USERS) == users[:, None]
    one, other = metrics.average_precision(scores, users), metrics.average_precision(scores, several)
    assert torch.equal(one[:7], other[:7])
    assert one[7].isnan()
    assert other[7].isnan()
    assert metrics.random_precision(users, USERS) == metrics.random_precision(several, USERS)


def test_the_more_are_summed_the_more_is_right_by_chance():
    found = [metrics.random_precision(sums(300, summed)[1], USERS) for summed in (1, 2, 4)]
    assert found == sorted(found)
    for summed, value in zip((1, 2, 4), found, strict=True):
        assert value == pytest.approx(summed / USERS, abs=0.03)  # and a little above


@pytest.mark.parametrize("users", [torch.ones(5, 3).bool(), torch.zeros(5, USERS).bool()])
def test_a_truth_that_does_not_fit_is_refused(users):
    with pytest.raises(ValueError, match="users bool"):
        metrics.average_precision(torch.rand(5, USERS), users)
