"""The studies of "Curious" on extraction: what their cells measure."""

import math

import numpy as np
import pytest
import torch

from privlab import data, studies
from privlab.attacks import gradient_extraction, trap_weights
from privlab.metrics import extraction
from privlab.sharing import federated
from privlab.studies.curious import _extraction as curious
from privlab.studies.curious import figure_10, table_2

CPU = torch.device("cpu")


def test_trapped_cells_agree_with_counting_activations():
    """Extraction through the gradient against the neurons that exactly one example switches on."""
    cell = {"data": "patches", "s": 0.95, "batch": 40, "neurons": 300}
    metrics = curious.run_trapped(cell, 0, CPU)
    (batch,) = curious.batches(cell, 0, CPU)
    _, drawn = curious.trapped("patches", 300, 0, CPU)
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
    (first, *_) = curious.batches({**cell, "averaged": 10}, 0, CPU)
    model, drawn = curious.trapped(cell["data"], cell["neurons"], 0, CPU)
    shared = federated.gradient(trap_weights.plant(model, cell["s"], drawn=drawn), first.images, first.labels)
    return extraction.score(gradient_extraction.candidates(shared), first.images, neurons=cell["neurons"]).recall


def test_passive_cells_differ_by_seed_and_not_by_run():
    cell = {"data": "digits", "init": "gaussian:0.5", "batch": 30, "neurons": 100}
    first, again, other = (table_2.run(cell, seed, CPU) for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_planting_in_place_gives_what_plant_gives():
    model, drawn = curious.trapped("digits", 200, 0, CPU)
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


@pytest.mark.parametrize(
    ("run", "cell"),
    [
        (table_2.run, {"data": "digits", "init": "gaussian:0.5", "batch": 5, "neurons": 20}),
        (curious.run_trapped, {"data": "digits", "s": 0.9, "batch": 5, "neurons": 20}),
    ],
)
def test_the_seed_draws_the_weights(run, cell, monkeypatch):
    sent, honest = [], federated.gradient

    def spy(model, *arguments, **options):
        sent.append(model.fc1.weight.detach().clone())
        return honest(model, *arguments, **options)

    monkeypatch.setattr(federated, "gradient", spy)
    for seed in (0, 1):
        run(cell, seed, CPU)
    assert not torch.equal(*sent)


def test_a_mini_batch_of_one_class_holds_one_class(monkeypatch):
    seen, honest = [], federated.gradient

    def spy(model, images, labels, **options):
        seen.append(labels)
        return honest(model, images, labels, **options)

    monkeypatch.setattr(federated, "gradient", spy)
    cells = figure_10.cells("digits")
    for seed in (0, 1):
        for cell in cells:
            found = figure_10.run(cell, seed, CPU)
            assert 0 < found["recall"] <= 1
    kinds = [len(labels.unique()) for labels in seen]
    assert kinds[1] == kinds[3] == 1
    assert min(kinds[0], kinds[2]) > 5
    assert seen[1][0] != seen[3][0]  # the seed draws the class


def test_a_class_that_is_too_small_is_refused(monkeypatch):
    few = data.load("digits")[:120]
    monkeypatch.setattr(figure_10, "dataset", lambda name: few)
    cell = {**figure_10.cells("digits")[1]}
    with pytest.raises(ValueError, match="no class of 'digits' has 100 images"):
        figure_10.run(cell, 0, CPU)
