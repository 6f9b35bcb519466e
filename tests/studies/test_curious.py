"""The studies of "Curious": they read the paper's numbers right, and their stored rows can be recomputed."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from privlab import data, studies
from privlab.attacks import gradient_extraction, trap_weights
from privlab.metrics import extraction
from privlab.sharing import federated
from privlab.studies import curious, curious_text
from privlab.studies.store import Store
from privlab.studies.study import Table, cell_key

# Studies whose rows of the paper profile are not all measured, and why; of these the `real` rows have to be there.
SECOND = "the second draw of the networks: hours of a CPU"
STILL_TO_RUN = {
    "curious/table-4": "ten trainings on the whole of MNIST and CIFAR-10 need a GPU",
    "curious/section-8.5": "ten thousand iterations need a GPU, and more draws a night",
    "zen/case-study": "more draws of the network: hours of a CPU",
    "splitnn/table-1": "more draws of the paper's 40,000 images and ten epochs: three hours of a CPU each",
    **{f"splitnn/figure-{number}": "more draws" for number in (1, 2, 3, 4)},
    **{f"zen/table-{number}": "more draws" for number in (4, 5, 6)},
    **{f"zen/figure-{number}": "more draws" for number in (1, 2, 3, 4, 5, 6)},
    "zen/section-5.2": "more draws",
    **dict.fromkeys(("zen/table-1", "zen/table-2", "zen/table-3", "zen/section-5.1"), SECOND),
}
# How far a number may lie from the stored one on another processor, where it is more than 0.02: some three times the
# most that was seen with the instructions of an older one (ATEN_CPU_CAPABILITY=default), of an image found to 60 dB
# or to 66 (psnr), and of a decoder, whose last step may be a good or a bad one (mse_255 70, two images of a hundred).
ELSEWHERE = {"adversary_count": 1.0, "psnr": 8.0, "iterations": 1.0, "pixel_l2": 0.5, "mse_255": 300.0}
ELSEWHERE |= {"ssim": 0.05, "class_accuracy": 0.05, "accuracy": 0.03}
RESULTS = Path(__file__).resolve().parents[2] / "results"
CPU = torch.device("cpu")


def reported(study, dataset, metric, **cell):
    found = [
        r.value for r in studies.get(study).reported if r.dataset == dataset and r.metric == metric and r.cell == cell
    ]
    assert len(found) == 1
    return found[0]


def test_the_papers_numbers_are_read_right():
    assert reported("curious/table-2", "CIFAR-10", "recall", init="gaussian:0.5", batch=100, neurons=1000) == 0.255
    assert reported("curious/table-2", "MNIST", "precision", init="xavier_normal", batch=100, neurons=1000) == 0.004
    assert reported("curious/table-5", "MNIST", "recall", s=0.7, batch=100, neurons=1000) == 0.54
    assert reported("curious/table-5", "ImageNet", "active", s=0.99, batch=100, neurons=1000) == 0.655
    assert reported("curious/table-6", "CIFAR-10", "precision", batch=20, neurons=3000) == 0.696
    assert reported("curious/table-9", "MNIST", "recall", s=0.7, batch=20, neurons=1000, averaged=5) == 0.19
    assert reported("curious/table-4", "MNIST", "loss", epoch=0, batch=100, neurons=1000) == 0.526
    assert reported("curious/table-4", "CIFAR-10", "recall", epoch=5, batch=100, neurons=1000) == 0.195
    assert reported("curious/table-5-cnn", "CIFAR-10", "recall", s=0.95, batch=100, neurons=1000) == 0.54


@pytest.mark.parametrize(
    ("study", "count"),
    [
        ("curious/table-2", 42),
        ("curious/table-3", 24),
        ("curious/table-4", 56),
        ("curious/table-5", 117),
        ("curious/table-5-cnn", 15),
        ("curious/table-6", 144),
        ("curious/table-9", 36),
        ("curious/figure-4", 0),
        ("curious/detection", 0),
        ("curious/section-10.2", 0),
        ("curious/section-8.5", 3),
        ("zen/table-1", 16),
        ("zen/table-2", 10),
        ("zen/table-3", 11),
        ("zen/section-5.1", 0),
        ("zen/case-study", 0),
    ],
)
def test_no_printed_number_is_missing_and_each_has_a_cell(study, count):
    study = studies.get(study)
    assert len(study.reported) == count
    names = {"MNIST": "mnist", "CIFAR-10": "cifar10", "ImageNet": "photos", "IMDB": "imdb"}
    for item in study.reported:
        cells = study.cells(names[item.dataset])
        assert any(item.cell.items() <= cell.items() for cell in cells), item


@pytest.mark.parametrize("study", studies.STUDIES)
@pytest.mark.parametrize("profile", ["fast", "real", "paper"])
def test_grids_have_no_cell_twice(study, profile):
    study = studies.get(study)
    cells = [cell_key(cell) for name in study.data[profile] for cell in study.cells(name)]
    assert len(cells) == len(set(cells))
    assert cells or not study.data[profile]


def embedded_rows(study):
    return [row for row in Store(study, RESULTS).rows() if row["provenance"]["data_source"] == "embedded"]


@pytest.mark.parametrize("study", studies.STUDIES)
def test_every_study_has_rows_on_embedded_data(study):
    study = studies.get(study)
    assert embedded_rows(study), f"no fast rows in results/; run `privlab run {study.id} --profile fast`"


RUNS = {
    study.run: f"{study.run.__module__.rpartition('.')[2]}.{study.run.__name__}" for study in studies.STUDIES.values()
}


@pytest.mark.parametrize("run", RUNS, ids=RUNS.values())
def test_a_stored_row_is_recomputed(run):
    """The cheapest cell of the studies that share a function, against the committed row."""
    rows = [row for study in studies.STUDIES.values() if study.run is run for row in embedded_rows(study)]
    row = min(rows, key=lambda r: (r["seed"], r["seconds"], cell_key(r["cell"])))
    again = run(row["cell"], row["seed"], CPU)
    assert again.keys() == row["metrics"].keys()
    for name, value in row["metrics"].items():
        if name == "seconds":
            continue
        # it may round a neuron on or off, or end an optimisation a little elsewhere
        allowed = ELSEWHERE.get(name, 0.02)
        assert again[name] == pytest.approx(value, abs=allowed), (row["cell"], name)


@pytest.mark.parametrize("study", studies.STUDIES)
def test_the_paper_profile_is_stored_whole_for_the_papers_data(study):
    study = studies.get(study)
    stored = {(cell_key(row["cell"]), row["seed"]) for row in Store(study, RESULTS).rows()}
    profile = "real" if study.id in STILL_TO_RUN else "paper"
    for name in study.data[profile]:
        cells = [cell_key(cell) for cell in study.cells(name) if not study.large(cell)]
        wanted = set(itertools.product(cells, range(study.seeds[profile])))
        assert wanted
        assert wanted <= stored, f"{study.id} on {name}: {len(wanted - stored)} rows are missing"


@pytest.mark.parametrize("dataset", ["mnist", "cifar10"])
def test_table_5_agrees_with_the_paper(dataset):
    """At least 37 of the 39 printed numbers; those at s = 0.999 on MNIST are explained in the chapter."""
    compared = studies.compare("curious/table-5", Store(studies.get("curious/table-5"), RESULTS))
    found = [row["verdict"] for row in compared.rows if row["cell"]["data"] == dataset and row["verdict"]]
    assert len(found) == 39
    assert found.count("agrees") >= 37
    assert "differs" not in found


def test_trapped_cells_agree_with_counting_activations():
    """Extraction through the gradient against the neurons that exactly one example switches on."""
    cell = {"data": "patches", "s": 0.95, "batch": 40, "neurons": 300}
    metrics = curious.run_trapped(cell, 0, CPU)
    (batch,) = curious._batches(cell, 0, CPU)
    _, drawn = curious._trapped("patches", 300, 0, CPU)
    on = batch.images.flatten(1) @ drawn.weights(0.95).T > 0
    single = on.sum(0) == 1
    assert metrics["active"] == pytest.approx(on.any(0).float().mean().item(), abs=0.01)
    assert metrics["precision_all"] == pytest.approx(single.float().mean().item(), abs=0.01)
    assert metrics["recall"] == pytest.approx(on[:, single].any(1).float().mean().item(), abs=0.03)
    assert metrics["precision"] == pytest.approx(metrics["precision_all"] / metrics["active"])
    assert metrics["adversary_count"] == pytest.approx(40 * metrics["recall"], abs=1)


def test_a_true_average_equals_one_large_batch():
    averaged = {"data": "digits", "s": 0.9, "batch": 20, "neurons": 1000, "averaged": 5, "reading": "average"}
    whole = {**averaged, "batch": 100, "averaged": 1}
    one, other = (curious.run_trapped(cell, 0, CPU) for cell in (averaged, whole))
    assert one == pytest.approx(other, abs=0.011)


def test_the_other_reading_divides_one_batchs_recall():
    cell = {"data": "digits", "s": 0.9, "batch": 20, "neurons": 1000, "averaged": 1, "reading": "one batch"}
    single = curious.run_trapped(cell, 0, CPU)
    many = curious.run_trapped({**cell, "averaged": 10}, 0, CPU)
    assert many["recall"] < single["recall"]
    assert many["recall"] * 10 == pytest.approx(_first_batch_recall(cell), abs=1e-6)


def _first_batch_recall(cell):
    """The recall of the first of ten mini-batches, which `averaged: 10` draws."""
    (first, *_) = curious._batches({**cell, "averaged": 10}, 0, CPU)
    model, drawn = curious._trapped(cell["data"], cell["neurons"], 0, CPU)
    shared = federated.gradient(trap_weights.plant(model, cell["s"], drawn=drawn), first.images, first.labels)
    return extraction.score(gradient_extraction.candidates(shared), first.images, neurons=cell["neurons"]).recall


def test_passive_cells_differ_by_seed_and_not_by_run():
    cell = {"data": "digits", "init": "gaussian:0.5", "batch": 30, "neurons": 100}
    first, again, other = (curious.run_passive(cell, seed, CPU) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_planting_in_place_gives_what_plant_gives():
    model, drawn = curious._trapped("digits", 200, 0, CPU)
    planted = trap_weights.plant(model, 0.8, drawn=drawn)
    curious.run_trapped({"data": "digits", "s": 0.8, "batch": 5, "neurons": 200}, 0, CPU)
    assert torch.equal(model.fc1.weight, planted.fc1.weight)
    assert not model.fc1.bias.any()


def test_data_of_ones_own_get_an_s_from_the_adversarys_own_count(tmp_path):
    patches = data.load("patches").pixels[:150].permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "own.npz", train_images=patches, train_labels=np.arange(150) % 3)
    name = str(tmp_path / "own.npz")
    cells = studies.get("curious/table-6").cells(name)
    assert {cell["s"] for cell in cells} <= set(curious.SCALES)
    small = [cell for cell in cells if cell["batch"] == 20 and cell["neurons"] == 200]
    assert math.isfinite(curious.run_trapped(small[0], 0, CPU)["recall"])


@pytest.mark.parametrize("study", studies.STUDIES)
def test_numbers_are_printed_with_three_digits(study):
    if study.startswith("zen/") or study == "curious/section-8.5":
        return  # seconds, iterations and sums of squares have digits of their own
    study = studies.get(study)
    in_percent = {1e-4} if study.id == "splitnn/table-1" else set()  # 97.46 % is .9746
    assert {item.step for item in study.reported} == ({0.001} | in_percent if study.reported else set())


def table(metric, knob, values, **rest):
    """values: setting -> one value, or one a seed."""
    rows = []
    for setting, numbers in values.items():
        for seed, value in enumerate(numbers if isinstance(numbers, list) else [numbers]):
            rows.append({"cell": {"data": "mnist", knob: setting, **rest}, "seed": seed, "metrics": {metric: value}})
    return Table(rows)


def both(active, passive):
    """Recall under trap weights and of a passive server, batch -> value."""
    trapped, honest = (
        table("recall", "batch", active, s=0.99),
        table("recall", "batch", passive, **curious_text.PASSIVE),
    )
    return Table([*trapped.rows, *honest.rows])


def through(recall):
    """Recall behind convolutions, beside 0.5 on flat pixels at the same s."""
    flat = table("recall", "s", {0.9: 0.1, 0.95: 0.5}, **FULL)
    return Table([*table("recall", "s", {0.95: recall}, **FULL, filters=[8]).rows, *flat.rows])


def clipped(*recalls, batch=20):
    """Recall at rising bounds on the gradient's norm without noise; 0.9 for the other sizes of a mini-batch."""
    fixed = {"noise": 0.0, "sigma": 0.5, "adversary": "single_row"}
    curves = [table("recall", "clip", {0.1: 0.9, 1.0: 0.9}, batch=size, **fixed) for size in {1, 20, 100} - {batch}]
    curves.append(table("recall", "clip", dict(enumerate(recalls)), batch=batch, **fixed))
    return Table([row for curve in curves for row in curve.rows])


def many(*rows, **fixed):
    """Rows of several metrics or settings each: (settings, metrics)."""
    return Table(
        [{"cell": {"data": "mnist", **fixed, **cell}, "seed": 0, "metrics": numbers} for cell, numbers in rows]
    )


def guessed(psnr, identified, **cell):
    return cell, {"psnr": psnr, "psnr_blind": 8.0, "identified": identified, "identified_blind": 0.02}


def flagged(true, false, detector="pinned_rows"):
    """One detector's rates: of balanced traps, and of three kinds of honest models."""
    honest = [({"received": kind}, {"false_positive_rate": false}) for kind in ("trained", "pruned", "sparse")]
    return many(
        ({"received": "balanced_trained"}, {"true_positive_rate": true}), *honest, detector=detector, tuned_on="initial"
    )


def compressed(pruned, sparse):
    rates = {"pruned": pruned, "sparse": sparse}
    trained = [({"received": kind, "tuned_on": "trained"}, rate) for kind, rate in rates.items()]
    fresh = [({"received": kind, "tuned_on": "initial"}, 1.0) for kind in rates]
    rows = [(cell, {"false_positive_rate": rate}) for cell, rate in trained + fresh]
    return many(*rows, detector="kolmogorov_smirnov")


def strategies(**found):
    """strategy -> (accuracy, recall)."""
    return many(*(({"strategy": way}, {"accuracy": a, "recall": r}) for way, (a, r) in found.items()))


CLAIMS = {claim.text.split(" (")[0]: claim for study in studies.STUDIES.values() for claim in study.claims}
FULL = {"batch": 100, "neurons": 1000}
AT_ONE = {"noise": 1.0, "clip": 1.0, "sigma": 0.5, "adversary": "combined"}
SUBSET = {"optimiser": "sgd", "examples": 5000}
ALL_SEVEN = dict.fromkeys(curious.INITIALISATIONS, 0.1)
PASSIVE = table("recall", "init", {"gaussian:0.5": 0.2}, **FULL).rows


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        (
            "Wider Gaussian weights increase recall",
            table("recall", "init", {"gaussian:0.01": [0.1, 0.2], "gaussian:2": [0.3, 0.41]}),
            table("recall", "init", {"gaussian:0.01": [0.1, 0.2], "gaussian:2": [0.4, 0.0]}),
        ),
        (
            "A passive server reads some images exactly, whatever the initialisation",
            table("recall", "init", ALL_SEVEN),
            table("recall", "init", {**ALL_SEVEN, "gaussian:2": 0.0}),
        ),
        (
            "Recall peaks strictly inside the range of s",
            table("recall", "s", {0.5: 0.1, 0.7: 0.5, 0.9: 0.2}, **FULL),
            table("recall", "s", {0.5: 0.1, 0.7: 0.2, 0.9: 0.5}, **FULL),
        ),
        (
            "More neurons are active the larger s is",
            table("active", "s", {0.5: 0.1, 0.7: 0.5, 0.9: 0.5}, **FULL),
            table("active", "s", {0.5: 0.1, 0.7: 0.5, 0.9: 0.4}, **FULL),
        ),
        (
            "At its best s the active attack reads over twice what the passive one does",
            Table([*PASSIVE, *table("recall", "s", {0.5: 0.41, 0.7: 0.1}, **FULL).rows]),
            Table([*PASSIVE, *table("recall", "s", {0.5: 0.39, 0.7: 0.1}, **FULL).rows]),
        ),
        (
            "Larger mini-batches lower recall",
            table("recall", "batch", {20: 0.9, 50: 0.5}, neurons=200, s=0.7),
            table("recall", "batch", {20: 0.5, 50: 0.9}, neurons=200, s=0.7),
        ),
        (
            "More neurons raise recall",
            table("recall", "neurons", {200: 0.1, 500: 0.5}, batch=20, s=0.7),
            table("recall", "neurons", {200: 0.5, 500: 0.1}, batch=20, s=0.7),
        ),
        (
            "3000 neurons read a mini-batch of 20 whole",
            table("recall", "batch", {20: 0.99}, neurons=3000),
            table("recall", "batch", {20: 0.9}, neurons=3000),
        ),
        (
            "Trap weights read more sentences than a passive server, at every batch size",
            both({20: 0.9, 50: 0.5}, {20: 0.8, 50: 0.4}),
            both({20: 0.9, 50: 0.5}, {20: 0.8, 50: 0.6}),
        ),
        (
            "At batches of 100 trap weights read over twice as many sentences",
            both({100: 0.5}, {100: 0.2}),
            both({100: 0.5}, {100: 0.3}),
        ),
        (
            "Averaging over more mini-batches lowers recall",
            table("recall", "averaged", {1: 0.9, 5: 0.5}, batch=20, reading="average"),
            table("recall", "averaged", {1: 0.5, 5: 0.9}, batch=20, reading="average"),
        ),
        ("Convolutions hand the image on unaltered", through(0.52), through(0.53)),
        ("Clipping alone does not yield privacy", clipped(0.7, 0.71), clipped(0.7, 0.72, 0.7, batch=100)),
        (
            "Noise at the client prevents perfect extraction",
            table("recall", "noise", {0.0: 0.9, 1e-4: 0.0, 1e-3: 0.0, 1.0: 0.0}, clip=1.0, sigma=0.5),
            table("recall", "noise", {0.0: 0.9, 1e-4: 0.01, 1e-2: 0.0}, clip=1.0, sigma=0.5),
        ),
        (
            "An adequate noise is above 1",
            many(guessed(9, 0.05), noise=0.1, clip=1.0, sigma=0.5, adversary="combined"),
            many(guessed(9, 0.03), noise=0.1, clip=1.0, sigma=0.5, adversary="combined"),
        ),
        (
            "A noise of 1 after clipping at 1 leaves the adversary guessing",
            many(guessed(8.9, 0.06, batch=20), **AT_ONE),
            many(guessed(9.1, 0.06, batch=20), **AT_ONE),
        ),
        (
            "A noise of 1 after clipping at 1 leaves the adversary guessing",
            many(guessed(8.9, 0.06, batch=1), guessed(8, 0.02, batch=20), **AT_ONE),
            many(guessed(12, 0.02, batch=1), guessed(4, 0.02, batch=20), **AT_ONE),
        ),
        (
            "Training alone leaves a surplus of negative weights",
            table("false_positive_rate", "received", {"trained": 0.6}, detector="sign_imbalance", tuned_on="initial"),
            table("false_positive_rate", "received", {"trained": 0.5}, detector="sign_imbalance", tuned_on="initial"),
        ),
        ("Compressed models raise false alarms", compressed(0.6, 0.9), compressed(0.9, 0.4)),
        ("A user cannot detect the adversarial weights", flagged(0.9, 0.1), flagged(0.51, 0.09)),
        ("A user cannot detect the adversarial weights", flagged(0.5, 0.0), flagged(1.0, 0.0)),
        (
            "Trap weights in every round leave little to no gain in accuracy",
            strategies(every_round=(0.19, 0.9), honest=(0.9, 0)),
            strategies(every_round=(0.21, 0.9), honest=(0.9, 0)),
        ),
        (
            "Few rounds or few users still give a useful model, and images",
            strategies(honest=(0.9, 0), first_rounds=(0.86, 0.2), few_users=(0.87, 0.11)),
            strategies(honest=(0.9, 0), first_rounds=(0.86, 0.2), few_users=(0.84, 0.11)),
        ),
        (
            "Recall increases over the training epochs",
            table("recall", "epoch", {0: [0.1, 0.2], 30: [0.3, 0.41]}, **SUBSET),
            table("recall", "epoch", {0: [0.1, 0.2], 30: [0.3, 0.1]}, **SUBSET),
        ),
        (
            "Precision within a loose tolerance increases over the training epochs",
            table("precision_loose", "epoch", {0: [0.1, 0.2], 30: [0.3, 0.41]}, **SUBSET),
            table("precision_loose", "epoch", {0: [0.3, 0.41], 30: [0.1, 0.2]}, **SUBSET),
        ),
        (
            "Uniform weights come to resemble a normal distribution",
            table("weight_kurtosis", "epoch", {0: 1.8, 30: 2.5}, optimiser="sgd"),
            table("weight_kurtosis", "epoch", {0: 3.0, 30: 2.3}, optimiser="sgd"),
        ),
    ],
)
def test_claims_hold_and_fail_where_they_should(text, good, bad):
    assert CLAIMS[text].test(good) is True
    assert CLAIMS[text].test(bad) is False
    assert CLAIMS[text].test(Table([])) is None


def test_no_two_claims_are_one_sentence():
    """A test that looks a claim up by its words would find one of them alone."""
    assert len(CLAIMS) == sum(len(study.claims) for study in studies.STUDIES.values())


def test_every_claim_is_tested():
    source = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert not [text for text in CLAIMS if f'"{text}"' not in source]


@pytest.mark.parametrize(
    ("run", "cell"),
    [
        (curious.run_passive, {"data": "digits", "init": "gaussian:0.5", "batch": 5, "neurons": 20}),
        (curious.run_trapped, {"data": "digits", "s": 0.9, "batch": 5, "neurons": 20}),
    ],
)
def test_the_seed_draws_the_weights(run, cell, monkeypatch):
    sent, honest = [], federated.gradient

    def spy(model, *arguments, **options):
        sent.append(model.fc1.weight.detach().clone())
        return honest(model, *arguments, **options)

    monkeypatch.setattr(curious.federated, "gradient", spy)
    for seed in (0, 1):
        run(cell, seed, CPU)
    assert not torch.equal(*sent)
