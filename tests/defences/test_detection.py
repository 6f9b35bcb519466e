"""Detectors of trap weights: each score against an independent oracle, and what it says of honest models and traps."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from privlab import models
from privlab.attacks import transmission, trap_weights
from privlab.defences import detection
from privlab.studies.curious import detection as curious_detection

INITIALISATIONS = ("xavier_normal", "xavier_uniform", "gaussian:0.01", "gaussian:2")
CPU = torch.device("cpu")


def honest(init="xavier_uniform", seed=0, neurons=200, inputs=784):
    return models.fully_connected((inputs,), 3, widths=(neurons,), init=init, seed=seed).fc1.weight.detach()


def trap(s, seed=0, neurons=200, inputs=784):
    return trap_weights.draw(neurons, inputs, seed=seed).weights(s)


def test_the_surplus_of_negative_weights_is_counted_right(seeded):
    weight = torch.randn(7, 30, generator=seeded) - 0.3
    values = [value for row in weight.tolist() for value in row]
    negative, positive = -sum(v for v in values if v < 0), sum(v for v in values if v > 0)
    score = detection.sign_imbalance(weight)
    assert score == pytest.approx((negative - positive) / (negative + positive), rel=1e-5)
    assert detection.sign_imbalance(-weight) == pytest.approx(-score)
    assert detection.sign_imbalance(-weight.abs()) == 1
    assert detection.sign_imbalance(torch.zeros(3, 4)) == 0


@pytest.mark.parametrize("s", [0.5, 0.7, 0.95, 1.0])
def test_algorithm_1_has_the_surplus_that_its_s_gives(s):
    assert detection.sign_imbalance(trap(s)) == pytest.approx((1 - s) / (1 + s), abs=1e-6)


@pytest.mark.parametrize("init", INITIALISATIONS)
def test_honest_initialisations_score_nothing(init):
    for seed in range(4):
        weight = honest(init, seed)
        assert abs(detection.sign_imbalance(weight)) < 5 / math.sqrt(weight.numel())
        assert abs(detection.pinned_rows(weight)) < 5 / math.sqrt(2 * len(weight))  # the error of a deviation
        assert detection.paired_magnitudes(weight) < 0.1
        assert detection.kolmogorov_smirnov(weight) < 2 / math.sqrt(weight.numel())


def test_how_alike_row_sums_are_is_that_of_the_slow_loop(seeded):
    weight = torch.randn(12, 25, generator=seeded) * torch.rand(12, 1, generator=seeded) + 0.1
    ratios = []
    for row in weight.double().tolist():
        ratios.append(sum(row) / math.sqrt(sum(value**2 for value in row)))
    assert detection.pinned_rows(weight) == pytest.approx(1 - np.std(ratios, ddof=1))


def test_traps_pin_their_row_sums_and_balanced_ones_do_not():
    for s in (0.7, 0.95):
        assert detection.pinned_rows(trap(s)) > 0.9
        assert detection.pinned_rows(trap_weights.hide(honest(), s)) > 0.999
        balanced = detection.pinned_rows(trap_weights.hide(honest(), s, balanced=True))
        move = 0.4 * (1 - s) * 28  # 28: the root of the length; rows sum to plus or minus as many standard deviations
        assert balanced == pytest.approx(1 - move, rel=0.01)


def slow_pairs(weight):
    """Row by row: the k-th most negative against the k-th most positive weight."""
    hits = total = 0
    for row in weight.double().numpy():
        negative, positive = np.sort(row), np.sort(row)[::-1]
        pairs = [(positive[k], -negative[k]) for k in range(len(row) // 2)]
        ratio = np.array([plus / minus if minus > 0 else np.inf for plus, minus in pairs])  # inf: no partner
        middle = np.sort(ratio)[(len(ratio) - 1) // 2]  # torch's median: the lower of two
        hits += int((np.abs(ratio / middle - 1) < 1e-3).sum())
        total += len(ratio)
    return hits / total


@pytest.mark.parametrize("inputs", [100, 101])
def test_pairs_of_magnitudes_are_counted_as_in_the_slow_loop(inputs):
    for weight in (honest(neurons=20, inputs=inputs), trap(0.8, neurons=20, inputs=inputs)):
        assert detection.paired_magnitudes(weight) == pytest.approx(slow_pairs(weight))


def test_algorithm_1_pairs_its_magnitudes_and_hidden_traps_do_not():
    assert detection.paired_magnitudes(trap(0.95)) > 0.999
    assert detection.paired_magnitudes(trap_weights.hide(honest(), 0.95)) < 0.1


def test_the_kolmogorov_smirnov_distance_is_that_of_scipy(seeded):
    weight, other = torch.randn(40, 50, generator=seeded) ** 3, 7 * torch.rand(30, 20, generator=seeded)
    flat, second = (w.double().flatten().numpy() for w in (weight, other))
    flat, second = flat / np.sqrt((flat**2).mean()), second / np.sqrt((second**2).mean())
    expected = min(stats.kstest(flat, "norm").statistic, stats.kstest(flat, "uniform", (-(3**0.5), 12**0.5)).statistic)
    assert detection.kolmogorov_smirnov(weight) == pytest.approx(expected)
    assert detection.kolmogorov_smirnov(weight, other) == pytest.approx(stats.ks_2samp(flat, second).statistic)


def test_the_distribution_test_asks_for_a_shape_and_not_for_a_scale():
    for init in ("xavier_uniform", "xavier_normal"):
        weight = honest(init)
        assert detection.kolmogorov_smirnov(37 * weight) == pytest.approx(
            detection.kolmogorov_smirnov(weight), abs=1e-6
        )
        assert detection.kolmogorov_smirnov(0.1 * weight, weight) < 1e-3
    assert detection.kolmogorov_smirnov(honest("xavier_normal"), honest("xavier_uniform")) > 0.05
    assert detection.kolmogorov_smirnov(trap(0.5)) > 0.05


def test_a_large_layer_is_looked_at_in_part(monkeypatch):
    whole = detection.kolmogorov_smirnov(trap(0.7))
    monkeypatch.setattr(detection, "_MOST", 20_000)
    assert detection.kolmogorov_smirnov(trap(0.7)) == pytest.approx(whole, abs=0.015)
    looked = detection._standard(trap(0.7))
    assert 10_000 <= len(looked) <= 20_000
    assert np.sqrt((looked**2).mean()) == pytest.approx(1)


def test_filters_that_pass_the_image_on_are_seen():
    network = models.vgg_inspired((3, 6, 6), 3, filters=(8, 12), neurons=5, seed=0)
    carried = transmission.transmit(network, (3, 6, 6)).model
    assert detection.one_hot_filters(network.conv1.weight) == 0
    by_hand = np.mean([np.count_nonzero(f) == 1 for f in carried.conv2.weight.detach().numpy()])
    assert detection.one_hot_filters(carried.conv2.weight) == pytest.approx(by_hand)
    assert by_hand >= 0.25
    weight = torch.zeros(4, 3, 3, 3)
    weight[0, 1, 1, 1], weight[1, :, 0, 0], weight[2, 2, 0, 1] = 1, 2, -3
    assert detection.one_hot_filters(weight) == 0.5


def test_a_jump_is_relative_to_the_weights_before(seeded):
    before, step = torch.randn(2, 6, 9, generator=seeded)
    expected = np.linalg.norm(step.numpy()) / np.linalg.norm(before.numpy())
    assert detection.jump(before, before + step) == pytest.approx(expected, rel=1e-5)
    assert detection.jump(before, before) == 0
    assert detection.jump(before, 3 * before) == pytest.approx(2)
    assert detection.jump(before, torch.zeros_like(before)) == pytest.approx(1)


def test_a_rise_is_measured_from_the_lowest_loss_before():
    assert detection.loss_rise([2.0, 0.5, 0.7, 1.9]) == pytest.approx(1.4)
    assert detection.loss_rise([2.0, 1.0, 0.25]) == pytest.approx(-0.75)
    assert detection.loss_rise([1.0, 3.0]) == pytest.approx(2)


@settings(max_examples=200, deadline=None)
@given(
    scores=st.lists(st.one_of(st.floats(-5, 5), st.sampled_from([0.0, 1.0, 2.0])), min_size=1, max_size=40),
    rate=st.one_of(st.floats(0, 1), st.sampled_from([0.05, 0.1, 0.29, 1 / 3])),
)
def test_at_most_the_rate_of_honest_scores_lies_above_the_threshold(scores, rate):
    limit = detection.threshold(scores, rate)
    assert sum(score > limit for score in scores) <= rate * len(scores) + 1e-6
    lower = [score for score in scores if score < limit]
    if lower and rate < 1:  # and no lower threshold would do
        assert sum(score > max(lower) for score in scores) > rate * len(scores) - 1e-6


@pytest.mark.parametrize(("rate", "flagged"), [(0, 0), (0.05, 5), (0.29, 29), (0.295, 29), (0.5, 50), (1, 99)])
def test_without_ties_the_threshold_uses_up_its_rate(rate, flagged):
    scores = torch.rand(100, generator=torch.Generator().manual_seed(0)).tolist()
    assert sum(score > detection.threshold(scores, rate) for score in scores) == flagged
    assert detection.threshold(scores) == detection.threshold(scores, 0.05)


def test_scores_need_no_gradient_and_follow_the_device_of_the_weights():
    weight = trap(0.9).requires_grad_()
    plain = [score(weight.detach()) for score in SCORES]
    with torch.device("meta"):  # what is made on another device than the weights' cannot be used with it
        assert [score(weight) for score in SCORES] == plain
    assert [score(weight.detach().half().float()) for score in SCORES] == pytest.approx(plain, abs=0.2)


SCORES = (
    detection.sign_imbalance,
    detection.pinned_rows,
    detection.kolmogorov_smirnov,
    detection.one_hot_filters,
)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: detection.sign_imbalance(torch.rand(5)),
            r"weight is \(5,\); expected that of a dense layer, \(N, L\)",
        ),
        (lambda: detection.pinned_rows(torch.rand(0, 5)), r"weight is \(0, 5\)"),
        (lambda: detection.pinned_rows(torch.rand(1, 5)), "one row"),
        (lambda: detection.kolmogorov_smirnov(torch.rand(3, 3), torch.rand(3)), r"weight is \(3,\)"),
        (lambda: detection.jump(torch.rand(2, 3), torch.rand(3, 2)), r"before is \(2, 3\) and after \(3, 2\); give"),
        (lambda: detection.loss_rise([1.0]), "losses has 1 rounds; give two or more"),
        (lambda: detection.threshold([], 0.1), "honest is empty; give the scores"),
        (lambda: detection.threshold([1.0], 1.1), r"rate=1.1 is out of range; give a number in \[0, 1\]"),
    ],
)
def test_bad_calls_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.fixture(scope="module")
def zoo():
    return curious_detection.Zoo("digits", 0, CPU)


def pixels(images):
    return [bytes((image * 255).round().byte().numpy()) for image in images]


def test_a_detector_is_judged_on_models_that_it_was_not_tuned_on(zoo):
    """Other images, other initial weights, other weights after training: no model stands on both sides."""
    tuning, judged = zoo.halves[True], zoo.halves[False]
    assert len(tuning) == len(judged) > 500
    assert not set(pixels(tuning.images)) & set(pixels(judged.images))
    both = range(2)
    first = [[curious_detection.first(zoo.initial(n, tuning=side)) for n in both] for side in (True, False)]
    last = [[zoo.weight("trained", n, tuning=side) for n in both] for side in (True, False)]
    for group in (first, last):
        weights = [*group[0], *group[1]]
        assert all(not torch.equal(a, b) for i, a in enumerate(weights) for b in weights[:i])
        for a in group[0]:
            for b in group[1]:
                assert abs(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]) < 0.1


def test_received_models_are_of_the_kind_that_they_are_called(zoo):
    start, trained = curious_detection.first(zoo.initial(1)), zoo.weight("trained", 1)
    assert torch.equal(zoo.weight("initial", 1), start)
    assert detection.jump(start, trained) > 0
    assert torch.equal(trained, zoo.weight("trained", 1))  # made once
    pruned = [(zoo.weight("pruned", n) == 0).double().mean().item() for n in range(2)]
    assert pruned == pytest.approx([0.5, 0.8], abs=1e-3)
    kept = zoo.weight("pruned", 1) != 0
    assert trained[kept].abs().min() > trained[~kept].abs().max()
    thin = zoo.weight("sparse", 1)
    soft = torch.nn.functional.softshrink(trained, 0.5 * trained.std().item())
    torch.testing.assert_close(thin, soft)
    assert detection.pinned_rows(zoo.weight("hidden_trained", 1)) > 0.99
    assert torch.equal(zoo.weight("hidden_initial", 1), trap_weights.hide(start, 0.9))
    assert torch.equal(zoo.weight("balanced_trained", 1), trap_weights.hide(trained, 0.9, balanced=True))
    assert detection.sign_imbalance(zoo.weight("trap", 1)) == pytest.approx(0.1 / 1.9, abs=1e-6)


def test_the_threshold_stands_above_the_tuning_models_and_rates_are_counted_on_the_judged(monkeypatch):
    asked = []

    def scores(found, detector, tuned_on, kind, *, tuning=False):
        asked.append((kind, tuning))
        return [0.1, 0.2, 0.3] if tuning else [0.0, 0.25, 0.3, 0.31, 9.0]

    monkeypatch.setattr(curious_detection, "scores", scores)
    monkeypatch.setattr(curious_detection, "zoo", lambda *arguments: None)
    cell = {"data": "digits", "detector": "pinned_rows", "tuned_on": "initial", "received": "pruned"}
    assert curious_detection.run(cell, 0, CPU) == {"false_positive_rate": 0.4, "score": pytest.approx(1.972)}
    cell = {"data": "digits", "detector": "jump", "tuned_on": "rounds", "received": "trap"}
    assert curious_detection.run(cell, 0, CPU)["true_positive_rate"] == 0.4
    assert asked == [("initial", True), ("pruned", False), ("trained", True), ("trap", False)]
