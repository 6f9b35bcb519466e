"""Linkability metrics against scikit-learn, slow loops, and simulation."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, top_k_accuracy_score

from privlab.metrics import linkability


def drawn(asked=40, count=7, seed=0, ties=False, gain=1.0):
    """Scores with a hint, and the users of whom something is asked; the last user never is."""
    random = torch.Generator().manual_seed(seed)
    users = torch.cat([torch.arange(count - 1), torch.randint(count - 1, (asked - count + 1,), generator=random)])
    scores = torch.randn(asked, count, generator=random) + gain * torch.nn.functional.one_hot(users, count)
    return (scores.round() if ties else scores), users


def slow_precision(scores, positive):
    """One threshold after the other: the recall that it adds, times its precision."""
    found, before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        called = scores >= threshold
        recall = (called & positive).sum().item() / positive.sum().item()
        found += (recall - before) * (called & positive).sum().item() / called.sum().item()
        before = recall
    return found


@pytest.mark.parametrize("ties", [False, True])
def test_average_precision_of_each_user_is_that_of_a_loop_and_of_scikit_learn(ties):
    scores, users = drawn(ties=ties)
    found = linkability.average_precision(scores, users)
    assert found.dtype == torch.float64
    assert found[-1].isnan()  # of whom nothing is asked
    for user in range(6):
        assert found[user].item() == pytest.approx(slow_precision(scores[:, user], users == user))
        assert found[user].item() == pytest.approx(average_precision_score(users == user, scores[:, user]))


@pytest.mark.parametrize("ties", [False, True])
def test_a_score_is_the_mean_over_users_and_its_multiples(ties):
    scores, users = drawn(ties=ties)
    found = linkability.score(scores, users, seed=3)
    each = [average_precision_score(users == user, scores[:, user]) for user in range(6)]
    assert found.ap == pytest.approx(np.mean(each))
    assert found.times_chance == pytest.approx(found.ap * 7)
    assert found.times_random == pytest.approx(found.ap / linkability.random_precision(users, 7, seed=3))


def test_a_row_may_be_of_several_users():
    """A sum of updates: each user's average precision is scikit-learn's of the rows that hold them."""
    scores, users = drawn(60, 5, ties=True)
    both = torch.nn.functional.one_hot(users, 5).bool() | torch.nn.functional.one_hot(users.roll(1), 5).bool()
    found = linkability.average_precision(scores, both)
    wanted = [average_precision_score(both[:, user], scores[:, user]) for user in range(4)]
    assert found[:4].tolist() == pytest.approx(wanted)
    assert linkability.random_precision(both, 5) > linkability.random_precision(users, 5)
    alone = torch.nn.functional.one_hot(users, 5).bool()
    single = linkability.average_precision(scores, users)
    assert torch.equal(linkability.average_precision(scores, alone).nan_to_num(), single.nan_to_num())
    for wrong in (both[:9], torch.zeros_like(both)):
        with pytest.raises(ValueError, match=r"users bool .*give two \(N, U\), finite"):
            linkability.average_precision(scores, wrong)


def test_many_updates_are_compared_part_by_part(monkeypatch):
    scores, users = drawn(100, ties=True)
    whole = linkability.average_precision(scores, users)
    monkeypatch.setattr(linkability, "_AT_ONCE", 7)
    assert torch.allclose(linkability.average_precision(scores, users), whole, equal_nan=True)


def test_top_shares_are_those_of_scikit_learn():
    scores, users = drawn(200, 12, gain=1.5)
    found = linkability.score(scores, users)
    for k, share in ((1, found.top1), (5, found.top5)):
        assert share == pytest.approx(top_k_accuracy_score(users, scores, k=k, labels=range(12)))
    assert 0 < found.top1 < found.top5 < 1


def test_of_equal_scores_the_first_is_named():
    """As a stable sort has them: each of seven equal users is right for its own updates alone."""
    scores, users = drawn(300, 9, ties=True)
    found = linkability.score(scores, users)
    order = np.argsort(-scores.numpy(), axis=1, kind="stable")
    for k, share in ((1, found.top1), (5, found.top5)):
        assert share == pytest.approx(
            np.mean([user in row[:k] for user, row in zip(users.tolist(), order, strict=True)])
        )
    level = linkability.score(torch.zeros(70, 7), torch.arange(7).repeat(10))
    assert (level.top1, level.top5) == pytest.approx((1 / 7, 5 / 7))
    assert level.ap == pytest.approx(1 / 7)


def test_who_knows_all_and_who_knows_the_opposite():
    users = torch.arange(5).repeat(4)
    best = linkability.score(torch.nn.functional.one_hot(users, 5).float(), users)
    assert (best.ap, best.top1, best.top5, best.times_chance) == (1.0, 1.0, 1.0, 5.0)
    worst = linkability.score(-torch.nn.functional.one_hot(users, 5).float(), users)
    assert worst.top1 == 0.0
    assert worst.ap == pytest.approx(4 / 20)


@pytest.mark.parametrize(("own", "count"), [(1, 30), (4, 10), (10, 5)])
def test_precision_at_random_is_what_theory_says(own, count):
    """(P - 1)/(N - 1) + (N - P)/(N - 1) x H_N / N: more than 1/users, much more where each has one update."""
    users, total = torch.arange(count).repeat_interleave(own), own * count
    harmonic = sum(1 / rank for rank in range(1, total + 1))
    exact = (own - 1) / (total - 1) + (total - own) / (total - 1) * harmonic / total
    found = [linkability.random_precision(users, count, seed=seed) for seed in range(30)]
    error = np.std(found) / math.sqrt(len(found))
    assert np.mean(found) == pytest.approx(exact, abs=4 * error)
    assert error < 0.02 * exact
    assert exact > 1 / count


def test_precision_at_random_is_the_same_with_the_same_seed_and_whatever_else_is_drawn():
    users = torch.arange(6).repeat(3)
    state = torch.get_rng_state()
    assert linkability.random_precision(users, 6) == linkability.random_precision(users, 6)
    assert linkability.random_precision(users, 6) != linkability.random_precision(users, 6, seed=1)
    assert torch.equal(state, torch.get_rng_state())
    unheard = linkability.random_precision(users, 60)  # of users of whom nothing is asked nothing is averaged
    assert unheard == pytest.approx(linkability.random_precision(users, 6), rel=0.2)


def test_at_random_a_score_is_one_times_random():
    found = [linkability.score(*drawn(60, 7, seed=seed, gain=0.0)).times_random for seed in range(40)]
    assert np.mean(found) == pytest.approx(1, abs=4 * np.std(found) / math.sqrt(40))


def test_the_interval_covers_as_often_as_it_says():
    """Users of whom each is either well or hardly known: the mean precision of all users there could be is known."""

    def made(seed, count=60):
        random = torch.Generator().manual_seed(seed)
        users = torch.arange(count)
        known = torch.rand(count, generator=random) < 0.5
        scores = torch.zeros(count, count)
        scores[users, users] = torch.where(known, 1.0, -1.0)
        return scores, users

    truth = 0.5 * 1 + 0.5 / 60
    intervals = [linkability.interval(*made(seed), draws=300, seed=seed) for seed in range(100)]
    inside = sum(low <= truth <= high for low, high in intervals)
    assert 87 <= inside <= 99  # 94 expected of a bootstrap over 60
    narrow = [linkability.interval(*made(seed), level=0.5, draws=300, seed=seed) for seed in range(100)]
    assert 35 <= sum(low <= truth <= high for low, high in narrow) <= 65


def test_the_interval_is_about_users_and_not_about_updates():
    """Ten times as many updates of the same users make it no narrower."""
    scores, users = drawn(60, 7)
    low, high = linkability.interval(scores, users)
    many_low, many_high = linkability.interval(scores.repeat(10, 1), users.repeat(10))
    assert (many_high - many_low) == pytest.approx(high - low, rel=0.1)
    assert low < linkability.score(scores, users).ap < high


def test_precision_of_pairs_is_scikit_learns():
    random = torch.Generator().manual_seed(0)
    same = torch.rand(50, generator=random) < 0.4
    scores = torch.randn(50, generator=random) + same
    assert linkability.matching_precision(scores, same) == pytest.approx(slow_precision(scores, same))
    assert linkability.matching_precision(scores, same) == pytest.approx(average_precision_score(same, scores))
    assert linkability.matching_precision(torch.zeros(50), same) == pytest.approx(same.float().mean().item())


def test_a_score_can_be_written_down():
    found = dataclasses.asdict(linkability.score(*drawn()))
    assert set(found) == {"ap", "top1", "top5", "times_chance", "times_random", "times_strangers"}
    assert all(isinstance(value, float) and math.isfinite(value) for value in found.values())


SCORES, USERS = drawn()


@pytest.mark.parametrize(
    ("scores", "users", "words"),
    [
        (SCORES[:, 0], USERS, r"scores are \(40,\); give finite numbers \(N, U\)"),
        (SCORES[:0], USERS[:0], r"scores are \(0, 7\)"),
        (SCORES.log(), USERS, "give finite numbers"),
        (SCORES, USERS[:9], "users holds 9 labels for 40"),
        (SCORES, USERS + 3, "users hold 8, and scores have 7 columns"),
        (SCORES, USERS - 1, "negative"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(scores, users, words):
    for call in (linkability.score, linkability.average_precision, linkability.interval):
        with pytest.raises(ValueError, match=words):
            call(scores, users)


def test_other_dtypes_and_settings_are_refused_in_words():
    with pytest.raises(TypeError, match=r"users is torch\.float32"):
        linkability.score(SCORES, USERS.float())
    with pytest.raises(ValueError, match=r"scores are \(0, 3\)"):
        linkability.random_precision(torch.zeros(0).long(), 3)
    with pytest.raises(ValueError, match="users hold 5, and scores have 3 columns"):
        linkability.random_precision(USERS, 3)
    with pytest.raises(ValueError, match=r"level=1\.5"):
        linkability.interval(SCORES, USERS, level=1.5)
    with pytest.raises(ValueError, match="draws=0"):
        linkability.interval(SCORES, USERS, draws=0)


@pytest.mark.parametrize(
    ("scores", "same", "words"),
    [
        (torch.zeros(4), torch.tensor([True, False, True]), r"give two \(P,\)"),
        (torch.zeros(3), torch.tensor([1, 0, 1]), "same torch.int64"),
        (torch.zeros(3, 1), torch.ones(3, 1).bool(), r"give two \(P,\)"),
        (torch.tensor([0.0, math.nan, 1]), torch.tensor([True, False, True]), "not finite"),
        (torch.zeros(3), torch.zeros(3).bool(), "of 3 pairs 0 are of one user; give pairs of both kinds"),
        (torch.zeros(2), torch.ones(2).bool(), "of 2 pairs 2 are"),
    ],
)
def test_pairs_that_do_not_fit_are_refused_in_words(scores, same, words):
    with pytest.raises(ValueError, match=words):
        linkability.matching_precision(scores, same)
