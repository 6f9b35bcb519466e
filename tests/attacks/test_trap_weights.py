import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from privlab import data, models
from privlab.attacks import gradient_extraction, trap_weights
from privlab.defences import detection
from privlab.metrics import extraction
from privlab.sharing import federated


def slow_algorithm_1(length, sigma, s, random):
    """The paper's Algorithm 1, line by line."""
    order = torch.randperm(length, generator=random)
    negative, positive = order[: length // 2], order[length // 2 :]
    z_minus = -torch.empty(length // 2).normal_(0, sigma, generator=random).abs()
    z_plus = -s * z_minus
    row = torch.zeros(length)
    row[negative] = z_minus[torch.randperm(length // 2, generator=random)]
    row[positive] = z_plus[torch.randperm(length // 2, generator=random)]
    return row


@settings(max_examples=30, deadline=None)
@given(neurons=st.integers(1, 20), inputs=st.integers(2, 200), s=st.floats(0.05, 1), seed=st.integers(0, 999))
def test_each_row_has_the_same_magnitudes_on_both_sides(neurons, inputs, s, seed):
    weights = trap_weights.draw(neurons, inputs, seed=seed).weights(s)
    for row in weights:
        negative, positive = -row[row < 0], row[row > 0]
        assert len(negative) == inputs - inputs // 2
        assert len(positive) == inputs // 2
        smallest_missing = negative.sort().values if inputs % 2 == 0 else None
        if smallest_missing is not None:
            torch.testing.assert_close(positive.sort().values, s * smallest_missing)


def test_rows_are_distributed_as_by_algorithm_1(seeded):
    """Sums of weights times a fixed image have the same mean and spread as those of the slow way."""
    image = data.load("patches")[100:101].images.flatten()
    fast = trap_weights.draw(800, 3072, sigma=0.5, seed=0).weights(0.95) @ image
    slow = torch.stack([slow_algorithm_1(3072, 0.5, 0.95, seeded) for _ in range(800)]) @ image
    error = (slow.std() ** 2 / 800 + fast.std() ** 2 / 800).sqrt()
    assert (fast.mean() - slow.mean()).abs() < 4 * error
    assert fast.std().item() == pytest.approx(slow.std().item(), rel=0.1)


def test_negative_weights_are_in_random_places():
    share = (trap_weights.draw(400, 100, seed=0).minus != 0).float().mean(0)
    assert share.min() > 0.35
    assert share.max() < 0.65


def test_sigma_scales_the_weights_and_nothing_else():
    narrow, wide = (trap_weights.draw(5, 40, sigma=sigma, seed=0).weights(0.9) for sigma in (0.5, 2.0))
    torch.testing.assert_close(wide, 4 * narrow)


def test_planting_changes_one_layer_of_a_copy():
    model = models.fully_connected((1, 28, 28), 10, widths=(30, 20), seed=0)
    before = copy.deepcopy(model)
    planted = trap_weights.plant(model, 0.7, seed=1)
    for name, value in model.named_parameters():
        assert torch.equal(value, before.get_parameter(name))
        same = torch.equal(planted.get_parameter(name), value)
        assert same == (name not in ("fc1.weight",))  # honest biases are zero already
        assert planted.get_parameter(name).data_ptr() != value.data_ptr()
    torch.testing.assert_close(planted.fc1.weight, trap_weights.draw(30, 784, seed=1).weights(0.7))


def test_planting_zeroes_the_biases_and_keeps_dtype():
    model = models.fully_connected((1, 4, 4), 3, widths=(5,), seed=0).double()
    torch.nn.init.ones_(model.fc1.bias)
    planted = trap_weights.plant(model, 0.7)
    assert planted.fc1.weight.dtype == torch.float64
    assert not planted.fc1.bias.any()


def test_other_layers_can_be_trapped():
    model = models.fully_connected((1, 4, 4), 3, widths=(8, 6), seed=0)
    planted = trap_weights.plant(model, 0.7, layer="fc2")
    assert torch.equal(planted.fc1.weight, model.fc1.weight)
    assert not torch.equal(planted.fc2.weight, model.fc2.weight)


def test_trap_weights_steal_several_times_what_a_passive_server_reads():
    passive, active = [], []
    for seed in range(3):
        part = data.load("patches").sample(100, seed)
        model = models.fully_connected(part.shape, 7, widths=(1000,), seed=seed)
        for scores, sent in ((passive, model), (active, trap_weights.plant(model, 0.95, seed=seed))):
            shared = federated.gradient(sent, part.images, part.labels)
            rows = gradient_extraction.candidates(shared)
            scores.append(extraction.score(rows, part.images, neurons=1000).recall)
    assert sum(active) > 1.5 * sum(passive)


def test_fewer_neurons_fire_the_smaller_s_is():
    part = data.load("patches").sample(50, 0)
    model = models.fully_connected(part.shape, 7, widths=(300,), seed=0)
    drawn = trap_weights.draw(300, 3072, seed=0)
    active = []
    for s in (0.9, 0.95, 0.98, 1.0):
        planted = trap_weights.plant(model, s, drawn=drawn)
        active.append(len(gradient_extraction.active_neurons(federated.gradient(planted, part.images, part.labels))))
    assert active == sorted(active)
    assert active[0] < active[-1]


def test_a_constant_image_is_never_stolen():
    flat = torch.full((1, 3, 8, 8), 0.5)
    model = trap_weights.plant(models.fully_connected((3, 8, 8), 3, widths=(100,), seed=0), 0.9)
    shared = federated.gradient(model, flat, torch.tensor([0]))
    assert len(gradient_extraction.active_neurons(shared)) == 0


def test_tuning_finds_the_s_that_the_truth_prefers_without_seeing_it():
    part = data.load("patches").sample(60, 0)
    model = models.fully_connected(part.shape, 7, widths=(500,), seed=0)
    rounds = []

    def answer(sent):
        rounds.append(federated.gradient(sent, part.images, part.labels))
        return rounds[-1]

    values = (0.85, 0.9, 0.95, 0.97, 0.99)
    best, counts = trap_weights.tune(model, answer, values, shape=part.shape)
    recalls = [extraction.score(gradient_extraction.candidates(g), part.images, neurons=500).recall for g in rounds]
    assert best == values[recalls.index(max(recalls))]
    assert counts[values.index(best)] == max(counts)


@pytest.mark.parametrize("s", [0, -0.5, 1.2, float("nan")])
def test_a_scaling_factor_out_of_range_is_refused(s):
    with pytest.raises(ValueError, match=r"s=.* out of range; give a number in \(0, 1\]"):
        trap_weights.plant(models.fully_connected((4,), 2, widths=(3,)), s)


def test_other_bad_calls_are_refused():
    model = models.fully_connected((4,), 2, widths=(3,))
    with pytest.raises(ValueError, match="choose one of fc1, output"):
        trap_weights.plant(model, layer="relu1")
    with pytest.raises(ValueError, match=r"needs \(3, 4\)"):
        trap_weights.plant(model, drawn=trap_weights.draw(3, 5))
    with pytest.raises(ValueError, match="at least one s"):
        trap_weights.tune(model, lambda sent: None, (), shape=(4,))
    with pytest.raises(ValueError, match="inputs=1"):
        trap_weights.draw(3, 1)
    with pytest.raises(ValueError, match="sigma=0"):
        trap_weights.draw(3, 4, sigma=0)
    unbiased = torch.nn.Sequential()
    unbiased.add_module("fc1", torch.nn.Linear(4, 3, bias=False))
    with pytest.raises(ValueError, match="has no bias"):
        trap_weights.plant(unbiased)


def test_tuning_draws_by_its_seed_and_of_equal_counts_the_first_wins():
    model = models.fully_connected((3, 8, 8), 2, widths=(6,), seed=0)
    flat, sent = torch.full((1, 3, 8, 8), 0.5), []

    def answer(planted):
        sent.append(planted.fc1.weight.detach().clone())
        return federated.gradient(planted, flat, torch.tensor([0]))

    for seed in (0, 0, 1):
        assert trap_weights.tune(model, answer, (0.3, 0.5), shape=(3, 8, 8), seed=seed) == (0.3, [0, 0])
    assert torch.equal(sent[0], sent[2])
    assert not torch.equal(sent[0], sent[4])


@pytest.mark.parametrize("s", [0.5, 0.9, 0.95, 1.0])
def test_hidden_weights_are_the_honest_ones_but_for_one_constant_a_row(s, seeded):
    honest = torch.randn(30, 500, generator=seeded) * torch.rand(30, 1, generator=seeded) + 0.3
    moved = trap_weights.hide(honest, s) - honest
    assert moved.std(1).max() < 1e-6
    spread = honest.std(1)
    # Algorithm 1 pins a row's sum at -(1 - s) times half its length of magnitudes, E|N(0, 1)| = 0.798 each
    torch.testing.assert_close(
        trap_weights.hide(honest, s).mean(1), -(1 - s) / 2 * 0.79788 * spread, rtol=1e-4, atol=1e-6
    )


def test_hidden_rows_have_the_sum_of_algorithm_1():
    for s in (0.7, 0.95):
        drawn = trap_weights.draw(200, 784, sigma=0.5, seed=0).weights(s)
        hidden = trap_weights.hide(torch.randn(200, 784, generator=torch.Generator().manual_seed(0)) * 0.5, s)
        assert hidden.sum(1).mean().item() == pytest.approx(drawn.sum(1).mean().item(), rel=0.03)


def test_balanced_weights_move_every_other_row_the_other_way(seeded):
    honest = torch.randn(7, 90, generator=seeded)
    down, both = (trap_weights.hide(honest, 0.8, balanced=balanced) for balanced in (False, True))
    torch.testing.assert_close(both[::2], down[::2])
    torch.testing.assert_close(both.mean(1)[1::2], -down.mean(1)[1::2])
    torch.testing.assert_close(both - both.mean(1, keepdim=True), down - down.mean(1, keepdim=True))
    assert detection.sign_imbalance(trap_weights.hide(honest.repeat(4, 1)[:28], 0.8)) > 0.05


def test_planting_hidden_weights_keeps_the_layers_own():
    model = models.fully_connected((1, 10, 10), 3, widths=(40, 20), seed=0)
    torch.nn.init.ones_(model.fc1.bias)
    planted = trap_weights.plant(model, 0.9, hidden=True)
    torch.testing.assert_close(planted.fc1.weight, trap_weights.hide(model.fc1.weight.detach(), 0.9))
    assert not planted.fc1.bias.any()
    assert planted.fc1.weight.requires_grad
    assert torch.equal(planted.fc2.weight, model.fc2.weight)
    assert torch.equal(planted.fc1.weight, trap_weights.plant(model, 0.9, hidden=True, seed=5).fc1.weight)
    assert torch.equal(model.fc1.bias, torch.ones(40))
    later = trap_weights.plant(model, 0.9, hidden=True, layer="fc2")
    torch.testing.assert_close(later.fc2.weight, trap_weights.hide(model.fc2.weight.detach(), 0.9))


@pytest.mark.parametrize(("name", "s"), [("digits", 0.9), ("patches", 0.95)])
def test_hidden_traps_steal_what_algorithm_1_steals_and_balanced_ones_with_half_the_neurons(name, s):
    total = {"algorithm 1": 0.0, "hidden": 0.0, "balanced": 0.0, "balanced rows": 0.0, "hidden rows": 0.0}
    for seed in range(3):
        part = data.load(name).sample(60, seed)
        model = models.fully_connected(part.shape, len(part.classes), widths=(600,), seed=seed)
        hidden = trap_weights.plant(model, s, hidden=True)
        balanced = copy.deepcopy(hidden)
        balanced.fc1.weight.data = trap_weights.hide(model.fc1.weight.detach(), s, balanced=True)
        assert abs(detection.sign_imbalance(balanced.fc1.weight)) < 1e-3 < detection.sign_imbalance(hidden.fc1.weight)
        kinds = (("algorithm 1", trap_weights.plant(model, s, seed=seed)), ("hidden", hidden), ("balanced", balanced))
        for kind, planted in kinds:
            sent = federated.gradient(planted, part.images, part.labels, layers=["fc1"])
            score = extraction.score(gradient_extraction.candidates(sent), part.images, neurons=600)
            total[kind] += score.recall / 3
            if kind != "algorithm 1":
                total[f"{kind} rows"] += score.precision_all / 3
    assert total["algorithm 1"] > 0.25
    assert total["hidden"] == pytest.approx(total["algorithm 1"], rel=0.25)
    # fewer neurons repeat each other less, so that recall falls by less than half
    assert 0.4 * total["hidden"] < total["balanced"] < 0.95 * total["hidden"]
    assert total["balanced rows"] == pytest.approx(0.5 * total["hidden rows"], rel=0.35)


@pytest.mark.parametrize("s", [0, 1.2, float("nan")])
def test_hiding_with_a_scaling_factor_out_of_range_is_refused(s):
    with pytest.raises(ValueError, match=r"s=.* out of range; give a number in \(0, 1\]"):
        trap_weights.hide(torch.rand(3, 4), s)


def test_hidden_weights_and_a_draw_at_once_are_refused():
    model = models.fully_connected((4,), 2, widths=(6,))
    with pytest.raises(ValueError, match="give one of them"):
        trap_weights.plant(model, 0.9, hidden=True, drawn=trap_weights.draw(6, 4))


def test_the_first_dense_layer_is_trapped_by_any_name():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5), torch.nn.ReLU(), torch.nn.Linear(5, 2))
    planted = trap_weights.plant(model, 0.5, seed=1)
    assert torch.equal(planted[1].weight, trap_weights.draw(5, 12, seed=1).weights(0.5))
    assert torch.equal(planted[3].weight, model[3].weight)


def test_a_frozen_layer_stays_frozen_when_it_is_trapped():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 5).requires_grad_(False))
    assert not any(each.requires_grad for each in trap_weights.plant(model, 0.5).parameters())


def test_a_weight_that_is_computed_cannot_be_trapped():
    dense = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(12, 5))
    with pytest.raises(ValueError, match="remove_parametrizations"):
        trap_weights.plant(torch.nn.Sequential(torch.nn.Flatten(), dense), 0.5)
