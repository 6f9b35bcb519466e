"""Membership metrics against the loop over pairs and thresholds."""

import pytest
import torch

from privlab.metrics import membership


def drawn(targets=1, examples=60, seed=0, ties=False):
    random = torch.Generator().manual_seed(seed)
    members = torch.stack([torch.randperm(examples, generator=random) < examples // 3 for _ in range(targets)])
    scores = torch.randn(targets, examples, generator=random) + members
    return (scores.round() if ties else scores), members


@pytest.mark.parametrize("ties", [False, True])
def test_auc_is_the_share_of_pairs(ties):
    scores, members = drawn(ties=ties)
    inside, outside = scores[members], scores[~members]
    pairs = [(a > b).double() + 0.5 * (a == b) for a in inside for b in outside]
    assert membership.auc(scores[0], members[0]) == pytest.approx(float(torch.stack(pairs).mean()))


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("fpr", [0.0, 0.01, 0.1, 0.5, 1.0])
def test_tpr_at_fpr_tries_every_threshold(ties, fpr):
    scores, members = drawn(ties=ties)
    best = 0.0
    for threshold in [*scores[0].tolist(), float("inf")]:
        called = scores[0] >= threshold
        if called[~members[0]].double().mean() <= fpr:
            best = max(best, called[members[0]].double().mean().item())
    assert membership.tpr_at_fpr(scores[0], members[0], fpr) == pytest.approx(best)


def test_several_targets_are_averaged_one_by_one():
    scores, members = drawn(3)
    scores[1] += 100  # each target has a threshold of its own
    each = [membership.auc(row, used) for row, used in zip(scores, members, strict=True)]
    assert membership.auc(scores, members) == pytest.approx(sum(each) / 3)
    assert membership.score(scores, members).auc == pytest.approx(sum(each) / 3)


def test_one_in_a_thousand_needs_ten_thousand_others():
    scores, members = drawn()
    assert membership.score(scores, members).tpr_at_fpr_01pct != membership.score(scores, members).tpr_at_fpr_01pct
    random = torch.Generator().manual_seed(0)
    many = torch.arange(10_100) < 100
    found = membership.score(torch.randn(10_100, generator=random) + 3 * many, many)
    assert 0.2 < found.tpr_at_fpr_01pct < found.tpr_at_fpr_1pct < 1


def test_accuracy_is_balanced():
    members = torch.tensor([True, False, False, False])
    assert membership.accuracy(torch.tensor([True, False, False, True]), members) == pytest.approx((1 + 2 / 3) / 2)
    assert membership.accuracy(torch.ones(4, dtype=torch.bool), members) == 0.5


def test_roc_goes_from_nobody_to_everybody():
    scores, members = drawn()
    false, true = membership.roc(scores[0], members[0])
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert float(torch.trapezoid(true, false)) == pytest.approx(membership.auc(scores[0], members[0]))


def test_the_interval_over_targets_is_wider_where_targets_differ():
    """Five targets, of which some leak much and some nothing: as one long list they look far surer than they are."""
    random = torch.Generator().manual_seed(1)
    members = torch.stack([torch.randperm(400, generator=random) < 200 for _ in range(5)])
    strength = torch.tensor([0.0, 0.0, 1.0, 2.0, 3.0])[:, None]
    scores = torch.randn(5, 400, generator=random) + strength * members
    low, high = membership.bootstrap(membership.auc, scores, members, seed=0)
    flat = membership.bootstrap(
        lambda s, m: membership.auc(s[0], m[0]), scores.reshape(1, -1), members.reshape(1, -1), seed=0
    )
    assert low < membership.auc(scores, members) < high
    assert high - low > 3 * (flat[1] - flat[0])


def test_the_interval_covers_as_often_as_it_says():
    """One target, the area known: 1/2 + Φ(1/√2)... by a large sample."""
    truth = torch.special.ndtr(torch.tensor(1 / 2**0.5)).item()
    inside = 0
    for seed in range(100):
        scores, members = drawn(1, 200, seed=seed)
        low, high = membership.bootstrap(membership.auc, scores, members, draws=100, seed=seed)
        inside += low <= truth <= high
    assert inside >= 86  # fewer has a chance of 1 in 1000 at 95 %


@pytest.mark.parametrize(
    ("scores", "members", "words"),
    [
        (torch.zeros(3), torch.zeros(4, dtype=torch.bool), "give both as"),
        (torch.zeros(2, 3, 4), torch.zeros(2, 3, 4, dtype=torch.bool), "give both as"),
        (torch.zeros(3), torch.zeros(3, dtype=torch.bool), "no member"),
        (torch.zeros(3), torch.ones(3, dtype=torch.bool), "members only"),
        (torch.tensor([0.0, float("nan"), 1]), torch.tensor([True, False, True]), "1 of 3 scores are not finite"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(scores, members, words):
    with pytest.raises(ValueError, match=words):
        membership.score(scores, members)


def test_memberships_are_booleans():
    with pytest.raises(TypeError, match="True for what the target was trained on"):
        membership.auc(torch.zeros(3), torch.tensor([0, 1, 0]))
    with pytest.raises(TypeError, match="booleans"):
        membership.accuracy(torch.zeros(3), torch.tensor([True, False, True]))
