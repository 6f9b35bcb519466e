"""The studies of "Curious" on training, convolutions and defences: what their cells measure."""

import itertools

import pytest
import torch

from privlab import data, models, runtime, studies
from privlab.attacks import gradient_extraction, trap_weights
from privlab.defences import detection, perturbation
from privlab.metrics import extraction
from privlab.sharing import federated
from privlab.studies._data import dataset
from privlab.studies.curious import _extraction as curious
from privlab.studies.curious import detection as curious_detection
from privlab.studies.curious import figure_4 as curious_noise
from privlab.studies.curious import section_10_2 as rounds
from privlab.studies.curious import table_4 as training
from privlab.studies.curious import table_5_cnn as curious_convolutional

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _own_caches():
    """Some tests make studies smaller; what they leave in a cache is not for others."""
    cached = (curious_noise._clipped, curious_convolutional._transmitting, curious_detection.zoo, training._training)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


# Convolutions


def test_behind_convolutions_the_same_draw_reads_the_same_as_on_flat_pixels(monkeypatch):
    monkeypatch.setattr(curious_convolutional, "NEURONS", 300)
    for seed, s in ((0, 0.95), (0, 0.9), (1, 0.95)):
        cell = {"data": "patches", "s": s, "batch": 100, "neurons": 300}
        flat = curious.run_trapped(cell, seed, CPU)
        through = curious_convolutional.run({**cell, "filters": [4, 6]}, seed, CPU)
        assert flat["recall"] > 0.05
        for name in ("active", "precision", "recall", "precision_all"):
            assert through[name] == pytest.approx(flat[name], abs=0.0101), (seed, s, name)
        assert through["adversary_count"] == pytest.approx(flat["adversary_count"], abs=1)


def test_the_papers_filters_are_for_the_papers_data():
    study = studies.get("curious/table-5-cnn")
    assert {tuple(cell["filters"]) for cell in study.cells("cifar10")} == {(128, 256, 512)}
    assert {tuple(cell["filters"]) for cell in study.cells("patches")} == {(8, 16, 32)}
    assert study.workers == 1  # the network weighs 2.1 GB
    flat = [cell.items() for cell in studies.get("curious/table-5").cells("cifar10")]
    for cell in study.cells("cifar10"):
        bare = {key: value for key, value in cell.items() if key != "filters"}
        assert any(bare.items() == items for items in flat)


# Noise


def noise_cell(**changes):
    fixed = {"data": "digits", "s": 0.9, "neurons": 1000, "batch": 20, "clip": 1.0, "noise": 0.0, "sigma": 0.5}
    return {**fixed, "adversary": "combined", **changes}


def test_without_noise_a_bound_changes_nothing_and_noise_ends_exact_reading():
    rows = [curious_noise.run(noise_cell(clip=bound), 0, CPU) for bound in (0.1, 100.0)]
    assert rows[0] == pytest.approx(rows[1])
    assert rows[0]["identified"] >= rows[0]["recall"] > 0.6
    images, sent = curious_noise._gallery("digits", 0)[:20].images, curious_noise._clipped
    plain = sent("digits", 0.9, 20, 100.0, 0.5, 0, CPU)
    read = extraction.score(gradient_extraction.candidates(plain), images, neurons=1000)
    assert rows[0]["recall"] == pytest.approx(read.recall)
    noisy = curious_noise.run(noise_cell(noise=1e-3), 0, CPU)
    assert noisy["recall"] == 0
    assert noisy["psnr"] < rows[0]["psnr"] - 20


def test_the_whole_gradient_is_clipped_and_one_layer_of_it_read():
    sent = curious_noise._clipped("digits", 0.9, 20, 0.5, 0.5, 0, CPU)
    assert set(sent) == {"fc1.weight", "fc1.bias"}
    assert sent.examples == 20
    part = curious_noise._gallery("digits", 0)[:20]
    model = curious.network("digits", 1000, "xavier_uniform", runtime.derive(0, "network"))
    planted = trap_weights.plant(model, 0.9, seed=runtime.derive(0, "trap"))
    whole = federated.gradient(planted, part.images, part.labels)
    share = 0.5 / perturbation.norm(whole)
    assert share < 1
    torch.testing.assert_close(sent["fc1.weight"], whole["fc1.weight"] * share)


def test_a_blind_adversary_does_not_see_the_gradient():
    blind = [
        {key: value for key, value in curious_noise.run(noise_cell(**changes), 0, CPU).items() if "blind" in key}
        for changes in ({}, {"noise": 1e-3}, {"clip": 100.0, "noise": 1.0}, {"sigma": 0.005})
    ]
    assert all(found == blind[0] for found in blind)
    assert blind[0]["identified_blind"] <= 0.1
    assert 5 < blind[0]["psnr_blind"] < 14


def test_the_seed_draws_the_client_the_weights_and_the_noise():
    first, again, other = (curious_noise.run(noise_cell(noise=1e-3), seed, CPU) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_figure_4_covers_every_clip_and_noise_for_both_adversaries():
    cells = studies.get("curious/figure-4").cells("mnist")
    plain = {(c["batch"], c["clip"], c["noise"], c["adversary"]) for c in cells if c["sigma"] == 0.5}
    expected = itertools.product((1, 20, 100), curious_noise.CLIPS, curious_noise.NOISES, ("single_row", "combined"))
    assert plain == set(expected)
    quiet = [c for c in cells if c["sigma"] != 0.5]
    assert {c["clip"] for c in quiet} == {1.0}
    assert len(quiet) == 3 * 6 * 2


# Few rounds, few users


@pytest.mark.parametrize(
    ("strategy", "caught"),
    [
        ("honest", {(4, 1): False, (4, 2): False, (5, 1): False, (5, 2): False}),
        ("every_round", {(4, 1): True, (4, 2): True, (5, 1): True, (5, 2): True}),
        ("first_rounds", {(4, 1): True, (4, 2): True, (5, 1): False, (5, 2): False}),
        ("few_users", {(4, 1): True, (4, 2): False, (5, 1): True, (5, 2): False}),
        ("both", {(4, 1): True, (4, 2): False, (5, 1): False, (5, 2): False}),
    ],
)
def test_whom_each_strategy_traps_and_when(strategy, caught):
    assert {place: rounds.trapped(strategy, *place) for place in caught} == caught
    assert strategy in rounds.STRATEGIES


def few_rounds(monkeypatch, strategy, seed=0):
    for name, value in (("ROUNDS", 6), ("FEW_ROUNDS", 2), ("NEURONS", 300), ("EXAMPLES", 60)):
        monkeypatch.setattr(rounds, name, value)
    return rounds.run({"data": "digits", "strategy": strategy, "s": 0.9, "batch": 20}, seed, CPU)


def test_strategies_trade_accuracy_for_theft(monkeypatch):
    found = {strategy: few_rounds(monkeypatch, strategy) for strategy in rounds.STRATEGIES}
    assert found["honest"]["recall"] == 0
    recall = {strategy: metrics["recall"] for strategy, metrics in found.items()}
    assert 0 < recall["both"] < recall["few_users"] <= 0.2  # two of ten clients
    assert recall["few_users"] < recall["first_rounds"] < recall["every_round"]
    assert recall["both"] < 0.45 * recall["first_rounds"]
    loss = {strategy: metrics["loss"] for strategy, metrics in found.items()}
    assert loss["honest"] < loss["first_rounds"] < loss["every_round"]
    images = dataset("digits")
    mixed = images.sample(600 + min(1000, len(images) - 600), runtime.derive(0, "clients"))[600:]
    start = models.fully_connected(images.shape, 10, widths=(300,), seed=runtime.derive(0, "network"))
    assert found["every_round"]["accuracy"] == federated.accuracy(start, mixed.images, mixed.labels)
    with torch.no_grad():
        assert loss["every_round"] == pytest.approx(federated.cross_entropy(start(mixed.images), mixed.labels).item())


def test_an_image_stolen_twice_counts_once():
    images = data.load("digits")[:8].images
    stolen = [images[:3], images[1:4] + 1e-4, torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))]
    assert rounds._share(stolen, images) == 0.5
    assert rounds._share([], images) == 0


def test_traps_are_drawn_anew_in_every_round(monkeypatch):
    planted, honest = [], trap_weights.plant

    def spy(*arguments, **options):
        planted.append(honest(*arguments, **options))
        return planted[-1]

    monkeypatch.setattr(rounds.trap_weights, "plant", spy)
    few_rounds(monkeypatch, "first_rounds")
    assert len(planted) == 2  # one a round, for all clients
    assert not torch.equal(planted[0].fc1.weight, planted[1].fc1.weight)


# Detection


def test_a_detector_over_rounds_looks_at_the_last_model(monkeypatch):
    monkeypatch.setattr(curious_detection, "MODELS", 2)
    monkeypatch.setattr(curious_detection, "EXAMPLES", 200)
    found = curious_detection.zoo("digits", 0, CPU)
    first = curious_detection.first
    steps = [found.rounds(number) for number in range(2)]
    assert [len(part) for part in steps] == [5, 5]
    honest = curious_detection.scores(found, "jump", "rounds", "trained")
    assert honest == [detection.jump(first(part[3]), first(part[4])) for part in steps]
    trapped = curious_detection.scores(found, "jump", "rounds", "trap")
    assert trapped == [detection.jump(first(part[3]), found.weight("trap", n)) for n, part in enumerate(steps)]
    assert min(trapped) > max(honest)
    own = found.halves[False][:100]
    losses = [
        [federated.cross_entropy(m(own.images), own.labels).item() for m in steps[number][1:]] for number in range(2)
    ]
    rises = curious_detection.scores(found, "loss_rise", "rounds", "trained")
    assert rises == pytest.approx([part[-1] - min(part[:-1]) for part in losses])
    assert min(curious_detection.scores(found, "loss_rise", "rounds", "trap")) > max(rises)
    planted = trap_weights.plant(steps[0][4], drawn=trap_weights.Draw(found.weight("trap", 0), torch.zeros(300, 784)))
    loss = federated.cross_entropy(planted(own.images), own.labels).item()  # with zero biases
    trap_rises = curious_detection.scores(found, "loss_rise", "rounds", "trap")
    assert trap_rises[0] == pytest.approx(loss - min(losses[0][:-1]), rel=1e-4)
    before = first(steps[0][4]).clone()
    curious_detection.scores(found, "loss_rise", "rounds", "pruned")
    assert torch.equal(first(steps[0][4]), before)  # judged is a copy


def test_the_trusted_model_is_none_of_those_that_the_threshold_is_tuned_on(monkeypatch):
    monkeypatch.setattr(curious_detection, "MODELS", 2)
    monkeypatch.setattr(curious_detection, "EXAMPLES", 100)
    found = curious_detection.zoo("digits", 0, CPU)
    known = curious_detection.scores(found, "kolmogorov_smirnov", "trained", "trained", tuning=True)
    assert len(known) == 2
    assert min(known) > 0
    trusted = found.weight("trained", 2, tuning=True)
    assert known[1] == detection.kolmogorov_smirnov(found.weight("trained", 1, tuning=True), trusted)
    untuned = curious_detection.scores(found, "kolmogorov_smirnov", "initial", "initial", tuning=True)
    assert untuned[0] == detection.kolmogorov_smirnov(found.weight("initial", 0, tuning=True))


def test_every_detector_meets_every_kind_of_model():
    cells = studies.get("curious/detection").cells("mnist")
    one = {(c["detector"], c["tuned_on"], c["received"]) for c in cells if c["tuned_on"] != "rounds"}
    kinds = (*curious_detection.HONEST, *curious_detection.TRAPS)
    found = curious_detection.Zoo("digits", 0, CPU)
    detectors = curious_detection.one_round(found, "initial")
    assert one == set(itertools.product(detectors, ("initial", "trained"), kinds))
    many = {c["detector"] for c in cells if c["tuned_on"] == "rounds"}
    assert many == {"jump", "loss_rise"}


# Training


@pytest.fixture
def short(monkeypatch):
    """Three epochs of 200 examples, and a network of which a step is soon done."""
    monkeypatch.setattr(training, "EPOCHS", (0, 1, 3))
    make = models.fully_connected
    small = {"widths": (1000, 60)}
    monkeypatch.setattr(training.models, "fully_connected", lambda *a, **options: make(*a, **{**small, **options}))
    return lambda epoch, how="sgd", seed=0: training.run(
        {"data": "digits", "optimiser": how, "examples": 200, "epoch": epoch}, seed, CPU
    )


def test_epoch_0_is_the_untrained_network(short):
    found = short(0)
    own = models.fully_connected((1, 28, 28), 10, init="xavier_uniform", seed=runtime.derive(0, "network"))
    chosen = dataset("digits").sample(200, runtime.derive(0, "train"))
    batch = chosen.sample(100, runtime.derive(0, "batch"))
    sent = federated.gradient(own, batch.images, batch.labels, layers=("fc1",))
    rows = gradient_extraction.candidates(sent)
    for tolerance, ending in ((extraction.TOLERANCE, ""), (1.0, "_loose")):
        score = extraction.score(rows, batch.images, neurons=1000, tolerance=tolerance)
        assert found[f"precision{ending}"] == score.precision
        assert found[f"recall{ending}"] == score.recall
    on = own.fc1(batch.images.flatten(1)) > 0
    assert found["single"] == pytest.approx((on.sum(0) == 1).double().mean().item())
    loss = federated.cross_entropy(own(batch.images), batch.labels).item()
    assert found["batch_loss"] == pytest.approx(loss, rel=1e-4)
    assert found["weight_std"] == pytest.approx((2 / (784 + 1000)) ** 0.5, rel=0.01)
    assert found["weight_kurtosis"] == pytest.approx(1.8, abs=0.02)  # uniform


@pytest.mark.parametrize("how", ["sgd", "adam"])
def test_losses_fall_and_the_weights_move(short, how):
    found = [short(epoch, how) for epoch in (0, 1, 3)]
    losses = [metrics["loss"] for metrics in found]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]
    assert found[0]["batch_loss"] > found[2]["batch_loss"]
    assert len({metrics["weight_std"] for metrics in found}) == 3


def test_the_printed_loss_is_that_of_the_epoch_that_follows(short):
    own = training.Training("digits", "sgd", 200, 0, CPU)
    losses = [own.advance() for _ in range(4)]
    assert own.epoch == 4
    assert [short(epoch)["loss"] for epoch in (0, 1, 3)] == [losses[0], losses[1], losses[3]]


def test_an_epochs_loss_is_the_mean_over_its_examples_before_each_step(short, monkeypatch):
    monkeypatch.setattr(training, "BATCH", 150)  # the last mini-batch is smaller
    monkeypatch.setitem(training.OPTIMISERS, "sgd", {"lr": 1e-9})
    own = training.Training("digits", "sgd", 200, 0, CPU)
    with torch.no_grad():
        expected = federated.cross_entropy(own.model(own.images.images), own.images.labels).item()
    assert own.advance() == pytest.approx(expected, rel=1e-5)


def test_a_seed_is_one_training_for_all_its_cells(short, monkeypatch):
    made, honest = [], training.Training
    monkeypatch.setattr(training, "Training", lambda *a: made.append(a) or honest(*a))
    first = [short(epoch) for epoch in (0, 1, 3)]
    assert len(made) == 1
    assert [short(0, seed=1), short(0)] != [first[0], first[0]]
    assert short(0) == first[0]


def test_whole_sets_are_large_and_adam_is_for_grey_images():
    study = studies.get("curious/table-4")
    sizes = {name: {c["examples"] for c in study.cells(name)} for name in ("mnist", "cifar10", "digits")}
    assert sizes == {"mnist": {5000, 60_000}, "cifar10": {5000, 50_000}, "digits": {5000}}
    for name in sizes:
        for cell in study.cells(name):
            assert study.large(cell) == (cell["examples"] > 5000)
            assert cell["optimiser"] == "sgd" or (name != "cifar10" and cell["examples"] == 5000)
    assert {c["optimiser"] for c in study.cells("mnist")} == {"sgd", "adam"}
    assert {c["epoch"] for c in study.cells("digits")} == {0, 5, 10, 15, 20, 25, 30}
