"""Membership inference: each attack against its formula, one by one; it finds what is there, and nothing else."""

import numpy as np
import pytest
import torch
from scipy.stats import norm
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from privlab.attacks import membership
from privlab.metrics import membership as metrics
from privlab.models.initialisation import draw_like_pytorch
from privlab.sharing import predictions


def signals(references=12, examples=9, seed=0):
    """Gaussian signals, their mean and spread another for each example; larger where a model was trained on it."""
    random = torch.Generator().manual_seed(seed)
    used = predictions.halves(references + 1, examples, random)
    centre = torch.randn(examples, generator=random, dtype=torch.float64)
    spread = torch.rand(examples, generator=random, dtype=torch.float64) + 0.5
    noise = torch.randn(references + 1, examples, generator=random, dtype=torch.float64)
    made = centre + spread * noise + 1.5 * used
    return made[0], made[1:], used[1:], used[0]


@pytest.fixture(scope="module")
def logits():
    random = torch.Generator().manual_seed(0)
    return torch.randn(3, 7, 5, generator=random) * 4, torch.randint(5, (7,), generator=random)


def test_signals_are_their_formulas(logits):
    made, labels = logits
    confidence = made.softmax(-1)[:, torch.arange(7), labels].double()
    assert torch.allclose(membership.negative_loss(made, labels).double(), confidence.log(), atol=1e-5)
    assert torch.allclose(
        membership.scaled_confidence(made, labels).double(), (confidence / (1 - confidence)).log(), atol=1e-3
    )


def test_scaled_confidence_stays_a_number_where_the_confidence_is_one():
    made = torch.tensor([[200.0, 0.0, 0.0]])
    assert membership.scaled_confidence(made, torch.tensor([0])).item() == pytest.approx(200 - np.log(2), abs=1e-3)


@pytest.mark.parametrize("shared", [False, True])
def test_lira_online_is_the_ratio_of_two_normal_densities(shared):
    target, references, used, _ = signals()
    found = membership.lira(target, references, used, shared=shared)
    inside = [references[used[:, n], n].numpy() for n in range(9)]
    outside = [references[~used[:, n], n].numpy() for n in range(9)]

    def pooled(groups):
        return sum(((g - g.mean()) ** 2).sum() for g in groups) / sum(len(g) - 1 for g in groups)

    for n in range(9):
        spreads = [pooled(groups) if shared else groups[n].var(ddof=1) for groups in (inside, outside)]
        means = inside[n].mean(), outside[n].mean()
        one, two = (norm.logpdf(target[n], m, s**0.5) for m, s in zip(means, spreads, strict=True))
        assert found[n].item() == pytest.approx(one - two)


def test_lira_offline_orders_as_the_tail_probability_does():
    target, references, used, _ = signals()
    found = membership.lira(target, references, used, online=False)
    for n in range(9):
        outside = references[~used[:, n], n].numpy()
        tail = norm.cdf(target[n], outside.mean(), outside.std(ddof=1))
        assert norm.cdf(found[n].item()) == pytest.approx(tail)


def test_bavaria_is_the_student_predictive():
    target, references, used, _ = signals()
    found = membership.bavaria(target, references, used, strength=3.0)
    pooled = []
    for chosen in (used, ~used):
        groups = [references[chosen[:, n], n].numpy() for n in range(9)]
        pooled.append(sum(((g - g.mean()) ** 2).sum() for g in groups) / sum(len(g) - 1 for g in groups))
    for n in range(9):
        logs = []
        for chosen, prior in zip((used, ~used), pooled, strict=True):
            group = references[chosen[:, n], n].numpy()
            # Normal-inverse-gamma, flat in the mean: a = (strength + n - 1)/2, b = (strength * prior + squares)/2.
            a, b = (3 + len(group) - 1) / 2, (3 * prior + ((group - group.mean()) ** 2).sum()) / 2
            logs.append(student.logpdf(target[n], 2 * a, group.mean(), (b / a * (1 + 1 / len(group))) ** 0.5))
        assert found[n].item() == pytest.approx(logs[0] - logs[1])


def test_bavaria_becomes_lira_with_shared_variance_for_a_strong_prior():
    """But for the 1 + 1/n of a mean that is estimated, which tends to one."""
    target, references, used, _ = signals(4000, 20)
    strong = membership.bavaria(target, references, used, strength=1e9)
    assert torch.allclose(strong, membership.lira(target, references, used, shared=True), atol=5e-3)
    weak = membership.bavaria(target, references, used, strength=1e-6)
    assert torch.allclose(weak, membership.lira(target, references, used), atol=5e-2)


def by_hand_rmia(target, references, used, population, online, gamma=1.0, slope=0.3):
    """Zarifzadeh et al. 2024, equation 10, one pair at a time."""
    of_target, of_references = population

    def any_model(inside, outside):
        if not online:
            return 0.5 * ((1 + slope) * outside.mean() + 1 - slope)
        return outside.mean() if inside is None else 0.5 * (inside.mean() + outside.mean())

    scores = []
    for n in range(len(target)):
        inside, outside = references[used[:, n], n].exp(), references[~used[:, n], n].exp()
        ratio = target[n].exp() / any_model(inside, outside)
        others = [of_target[z].exp() / any_model(None, of_references[:, z].exp()) for z in range(len(of_target))]
        scores.append(sum(float(ratio / other >= gamma) for other in others) / len(others))
    return torch.tensor(scores, dtype=torch.float64)


@pytest.mark.parametrize("online", [True, False])
def test_rmia_beats_as_many_of_the_population_as_one_counts(online):
    """The numbers of references that were not trained on an example differ: the mean goes by mask, over all of them."""
    random = torch.Generator().manual_seed(3)
    used = torch.rand(9, 12, generator=random) < 0.5
    used[0], used[1] = True, False
    references, target = (
        -torch.rand(9, 12, generator=random).double() * 3,
        -torch.rand(12, generator=random).double() * 3,
    )
    population = -torch.rand(40, generator=random).double() * 3, -torch.rand(9, 40, generator=random).double() * 3
    assert len((~used).sum(0).unique()) > 2
    found = membership.rmia(target, references, used, population=population, online=online)
    assert torch.allclose(found, by_hand_rmia(target, references, used, population, online))
    largest = references.exp().where(~used, 0).sort(0, descending=True).values[:4].mean(0)  # what public codes average
    masked = references.exp().where(~used, 0).sum(0) / (~used).sum(0)
    assert not torch.allclose(largest, masked)


def test_every_target_is_scored_as_if_alone():
    target, references, used, _ = signals()
    other = signals(seed=5)[0]
    population = -torch.rand(2, 30).double(), -torch.rand(12, 30).double()
    both = torch.stack([target, other])
    for attack in (membership.lira, membership.bavaria):
        together = attack(both, references, used)
        assert torch.allclose(together[1], attack(other, references, used))
    together = membership.rmia(-both.abs(), -references.abs(), used, population=population)
    alone = membership.rmia(-other.abs(), -references.abs(), used, population=(population[0][1], population[1]))
    assert torch.allclose(together[1], alone)


def trained(count, examples, epochs, seed=0):
    """Models on halves of some numbers with a tenth of the labels wrong, and what they say of all of these."""
    random = torch.Generator().manual_seed(seed)
    inputs = torch.rand(examples, 20, generator=random)
    labels = (inputs[:, :3].sum(1) > 1.5).long()
    wrong = torch.rand(examples, generator=random) < 0.2
    labels = torch.where(wrong, 1 - labels, labels)
    used = predictions.halves(count, examples, random)

    def make(seed):
        return draw_like_pytorch(
            torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2)), seed
        )

    answers = predictions.fit_and_ask(make, inputs, labels, used, epochs=epochs, lr=1e-2, progress=False, seed=seed)
    return answers, labels, used


@pytest.fixture(scope="module")
def overfitted():
    return trained(20, 200, 80)


@pytest.mark.parametrize(
    "attack", ["loss", "lira", "lira shared", "lira offline", "bavaria", "bavaria offline", "rmia", "rmia offline"]
)
def test_an_overfitted_model_is_attacked_well_above_chance(overfitted, attack):
    answers, labels, used = overfitted
    scaled, loss = membership.scaled_confidence(answers, labels), membership.negative_loss(answers, labels)
    mine, theirs, inside = slice(0, 4), slice(4, 20), used[4:]
    population = loss[mine][:, :40], loss[theirs][:, :40]
    scores = {
        "loss": lambda: loss[mine],
        "lira": lambda: membership.lira(scaled[mine], scaled[theirs], inside),
        "lira shared": lambda: membership.lira(scaled[mine], scaled[theirs], inside, shared=True),
        "lira offline": lambda: membership.lira(scaled[mine], scaled[theirs], inside, online=False),
        "bavaria": lambda: membership.bavaria(scaled[mine], scaled[theirs], inside),
        "bavaria offline": lambda: membership.bavaria(scaled[mine], scaled[theirs], inside, online=False),
        "rmia": lambda: membership.rmia(loss[mine], loss[theirs], inside, population=population),
        "rmia offline": lambda: membership.rmia(loss[mine], loss[theirs], inside, population=population, online=False),
    }[attack]()
    low, _ = metrics.bootstrap(metrics.auc, scores, used[mine], draws=50)
    assert low > 0.6


def test_what_was_never_trained_on_is_guessed_at_chance():
    """Targets that saw other examples: whatever one calls members of them, no attack tells them apart."""
    answers, labels, used = trained(20, 200, 80, seed=1)
    scaled = membership.scaled_confidence(answers, labels)
    made_up = predictions.halves(4, 200, 9)
    scores = membership.lira(scaled[:4], scaled[4:], used[4:], shared=True)
    low, high = metrics.bootstrap(metrics.auc, scores, made_up, draws=50)
    assert low < 0.5 < high


def test_a_model_of_one_pass_over_plenty_leaks_little():
    answers, labels, used = trained(6, 4000, 1)
    loss = membership.negative_loss(answers, labels)
    low, high = metrics.bootstrap(metrics.auc, loss, used, draws=50)
    assert low - 0.01 < 0.5
    assert 0.49 < high < 0.53


def test_the_threshold_is_the_best_of_all():
    random = torch.Generator().manual_seed(0)
    used = torch.rand(3, 50, generator=random) < 0.4
    references = torch.randn(3, 50, generator=random) + used
    threshold = membership.calibrated_threshold(references, used)

    def gain(at):
        return (references[used] >= at).double().mean() - (references[~used] >= at).double().mean()

    assert gain(threshold) == pytest.approx(max(gain(at) for at in references.flatten()))


@pytest.mark.parametrize("by_class", [True, False])
def test_shadow_training_finds_members_of_another_model(overfitted, by_class):
    answers, labels, used = overfitted
    scores = membership.shadow(answers[0], labels, answers[1:6], labels, used[1:6], by_class=by_class)
    assert roc_auc_score(used[0], scores) > 0.65
    assert metrics.accuracy(scores > 0, used[0]) > 0.55


def test_a_class_that_no_shadow_knows_gets_the_classifier_of_all(overfitted):
    answers, labels, used = overfitted
    other = labels.clone()
    other[:5] = 1 - other[:5]
    only = labels == 0
    scores = membership.shadow(answers[0], labels, answers[1:6][:, only], labels[only], used[1:6][:, only])
    plain = membership.shadow(
        answers[0], labels, answers[1:6][:, only], labels[only], used[1:6][:, only], by_class=False
    )
    assert torch.allclose(scores[labels == 1], plain[labels == 1])


def test_an_update_points_along_the_examples_that_made_it():
    random = torch.Generator().manual_seed(0)
    slopes = torch.randn(30, 200, generator=random)
    update = -0.1 * slopes[:10].mean(0)
    found = membership.update_alignment(update, slopes)
    assert found[:10].min() > found[10:].max()
    assert found[0].item() == pytest.approx(torch.nn.functional.cosine_similarity(-slopes[0], update, dim=0).item())


def refuse(**changes):
    target, references, used, _ = signals()
    given = {"target": target, "references": references, "used": used} | changes
    return membership.lira(given["target"], given["references"], given["used"], **given.get("how", {}))


def all_but_one_column(value):
    used = signals()[2].clone()
    used[:, 2] = value
    return used


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"used": torch.zeros(12, 8, dtype=torch.bool)}, "must both be"),
        ({"used": torch.zeros(12, 9)}, "bool"),
        ({"target": torch.zeros(8)}, r"expected \(T, 9\)"),
        ({"target": torch.full((9,), float("nan"))}, "diverge"),
        ({"references": torch.full((12, 9), float("inf"))}, "are not finite"),
        ({"used": all_but_one_column(True)}, "1 of 9 examples were used by every reference"),
        ({"used": all_but_one_column(False)}, "use online=False"),
        ({"references": signals()[1][:3], "used": signals()[2][:3]}, "shared=True|used by"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(changes, words):
    with pytest.raises(ValueError, match=words):
        refuse(**changes)


def test_logits_are_checked():
    with pytest.raises(ValueError, match="did the training diverge"):
        membership.negative_loss(torch.full((2, 3), float("nan")), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="labels reach 3"):
        membership.negative_loss(torch.zeros(2, 3), torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="K > 1"):
        membership.scaled_confidence(torch.zeros(2, 1), torch.tensor([0, 0]))
    with pytest.raises(ValueError, match="must be"):
        membership.update_alignment(torch.zeros(3), torch.zeros(2, 4))
