"""The studies of "Zen" on gradients: what a cell measures."""

import math

import pytest
import torch

from privlab import data, studies
from privlab.attacks import Reconstruction
from privlab.defences import clip_and_noise
from privlab.sharing import federated
from privlab.studies.curious import section_8_5 as curious_optimisation
from privlab.studies.zen import _gradients as zen_gradients
from privlab.studies.zen import case_study as zen_case_study
from privlab.studies.zen import section_5_1 as zen_adaptations

CPU = torch.device("cpu")
PLAIN = zen_adaptations.plain_cell("mnist", 1, 28)
QUICK = {"data": "digits", **zen_gradients.BASE}


def test_seconds_of_another_machine_are_printed_and_not_judged():
    lines = [row for row in studies.compare("zen/table-1").rows if row["metric"] == "seconds" and row["reported"]]
    assert lines
    assert {row["verdict"] for row in lines} <= {"not judged", "not run"}


def test_an_attack_that_the_paper_saw_converge_in_time_is_not_cut_short():
    printed = {(i.printed.dataset, i.printed.model, i.metric): i for i in studies.get("zen/table-1").reported}
    lenet, alexnet = {"model": "lenet"}, {"model": "alexnet", "width": 0.125}
    assert zen_gradients.scale(lenet, printed["MNIST", "LeNet", "iterations"]) == ""
    assert zen_gradients.scale(lenet, printed["MNIST", "LeNet", "gradient_mse"]) == "50 of 300 iterations"
    said = zen_gradients.scale(alexnet, printed["CIFAR-10", "AlexNet", "iterations"])
    assert said == "0.125 of AlexNet's width; 100 of 300 iterations"


def test_the_literal_reading_comes_first():
    for study in ("zen/table-1", "zen/table-2", "zen/table-3"):
        for item in studies.get(study).reported:
            assert {"activation": "relu", "pool": "max"}.items() <= item.readings[0].cell.items()


def test_a_cell_of_table_1_recovers_and_one_with_relu_does_not(monkeypatch):
    monkeypatch.setattr(zen_gradients, "VICTIMS", 2)
    monkeypatch.setattr(zen_gradients, "RESTARTS", 2)
    good = zen_gradients.run(QUICK, 0, CPU)
    assert good["success_rate"] == good["success_single"] == good["label_accuracy"] == 1.0
    assert good["psnr"] > 50
    assert good["ssim"] > 0.99
    assert good["mse"] < 1e-4
    assert 0 < good["iterations"] < 10
    assert good["gradient_mse"] < 5e-5
    bad = zen_gradients.run({**QUICK, "activation": "relu"}, 0, CPU)
    assert bad["success_rate"] == 0.0
    assert "iterations" not in bad


def test_a_mini_batch_is_scored_in_any_order():
    images = data.load("digits").images[:6].view(2, 3, 1, 28, 28)
    labels = torch.tensor([[0, 1, 2], [3, 4, 5]])
    turned, turned_labels = images.flip(1), labels.flip(1)
    found = Reconstruction(
        turned[:, None].repeat(1, 4, 1, 1, 1, 1),
        turned_labels[:, None].repeat(1, 4, 1),
        torch.rand(2, 4),
        torch.zeros(2, 4),
    )
    gradients = [federated.Gradient({"w": torch.ones(2)}, 3)] * 2
    done = zen_gradients.Attacked(images, labels, found, gradients, torch.full((2, 4), 40.0), 8.0)
    measured = zen_gradients.measure(done)
    assert measured["success_rate"] == measured["label_accuracy"] == 1.0
    assert measured["iterations"] == 2.0  # 40 of ours are two of DLG's
    assert measured["seconds"] == 1.0


def test_another_beginning_is_for_victims_who_are_not_matched_and_its_iterations_are_its_own(monkeypatch):
    asked = []

    def reconstruct(model, gradients, *, restarts, watch, **how):
        asked.append(restarts)
        losses = torch.full((2, restarts), torch.inf)
        losses[:, 0] = torch.tensor([1e-9, 0.5])  # the first victim is matched at once
        watch(7, torch.zeros(2, restarts, 1, 1, 28, 28), losses)
        losses[1, 1] = 1e-9  # the second one with its second beginning
        watch(3, torch.zeros(2, restarts, 1, 1, 28, 28), losses)
        images = torch.zeros(2, restarts, 1, 1, 28, 28)
        return Reconstruction(images, torch.zeros(2, restarts, 1, dtype=torch.long), losses, losses)

    monkeypatch.setattr(zen_gradients.deep_leakage, "reconstruct", reconstruct)
    gradients = [federated.Gradient({"w": torch.ones(4)}, 1)] * 2
    images = torch.zeros(2, 1, 1, 28, 28)
    done = zen_gradients.attack(torch.nn.Identity(), images, torch.zeros(2, 1, dtype=torch.long), gradients, 0)
    assert asked == [zen_gradients.RESTARTS]
    assert done.printed_zero[0, 0] == 7
    assert done.printed_zero[1, :2].tolist() == [pytest.approx(float("nan"), nan_ok=True), 3]
    assert zen_gradients.measure(done)["iterations"] == (7 + 3) / 2 / zen_gradients.INNER


def test_every_adaptation_changes_one_thing():
    cells = zen_adaptations.cells("mnist")
    for cell in cells[1:]:
        assert len([key for key in cell if cell[key] != cells[0][key]]) == 1
    assert {cell["size"] for cell in zen_adaptations.cells("photos")} == {16, 24, 32, 48, 64}


def test_the_server_reads_a_mean_a_noisy_gradient_or_the_gradient_itself():
    model = zen_adaptations._model(PLAIN, (1, 28, 28), 10, 0)
    part = data.load("digits").sample(2, 0)
    images, labels = part.images[:, None], part.labels[:, None]
    own = federated.gradient(model, images[0], labels[0])

    def seen(protection, count=1):
        cell = {**PLAIN, "data": "digits", "protection": protection}
        return zen_adaptations._seen(cell, model, images[:count], labels[:count], 0)["conv1.weight"]

    assert torch.equal(seen("dp_aggregate"), own["conv1.weight"])
    assert not torch.allclose(seen("dp_client"), own["conv1.weight"], atol=1e-2)
    other = federated.gradient(model, images[1], labels[1])["conv1.weight"]
    assert torch.allclose(seen("secure_aggregation", 2), (own["conv1.weight"] + other) / 2)


def test_a_federation_learns_from_iid_clients():
    fresh = zen_adaptations._model(PLAIN, (1, 28, 28), 10, 0)
    digits = data.load("digits", split="test")
    learned = zen_adaptations.trained(fresh, "digits", True, 0, (28, 1))
    before, after = (federated.accuracy(m, digits.images, digits.labels) for m in (fresh, learned))
    assert after > 0.8 > before


def test_a_code_of_zeros_is_the_mean_image_and_no_victim_made_it():
    known = zen_case_study.prior("digits")
    mean, size = known.mean, len(known.directions)
    assert torch.allclose(known.decode(torch.zeros(1, size))[0], mean)
    own, victims = zen_case_study._halves("digits")
    assert torch.allclose(mean, own.images.mean(0))
    assert len(own) + len(victims) == len(data.load("digits"))
    drawn = known.decode(torch.randn(2000, size, generator=torch.Generator().manual_seed(0)))
    assert drawn.var(0).sum().item() == pytest.approx(own.images.var(0).sum().item(), rel=0.1)


def test_radiographs_of_the_papers_size_go_through_the_case_study(monkeypatch):
    """Made-up images: the real ones take a GPU."""
    name, case = zen_case_study.LARGE, zen_case_study
    pixels = torch.randint(256, (30, 1, 224, 224), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    source = data.Dataset(name, "train", pixels, torch.arange(30) % 2, ("normal", "pneumonia"), "made up", "none")
    monkeypatch.setattr(case, "dataset", lambda _: source)
    monkeypatch.setattr(case, "ON_LARGE", 2)
    monkeypatch.setattr(case, "DECOYS", 5)
    cells = case.cells(name)
    assert {cell["width"] for cell in cells} == {64}
    assert {(cell["batch"], cell["protection"], cell["adversary"]) for cell in cells} >= {
        (1, "none", "plain"),
        (10, "none", "plain"),
        (1, "dp", "components"),
    }
    found = case.run({**cells[0], "width": 2}, 0, CPU)
    assert found["psnr"] < 20


def test_dp_of_a_single_image_is_a_clipped_and_noisy_gradient():
    cell = {**zen_case_study.cells("digits")[0], "protection": "dp"}
    model = zen_case_study.network(cell, 0)
    part = data.load("digits").sample(1, 0)
    got = zen_case_study.sent(cell, model, part.images, part.labels, 3)
    noise = zen_case_study.noise(len(data.load("digits")))
    expected = clip_and_noise(federated.gradient(model, part.images, part.labels), 1.0, noise, 3)
    assert torch.equal(got["output.weight"], expected["output.weight"])
    assert noise > 0.5


def test_who_guesses_the_mean_image_needs_no_gradient():
    cell = {**zen_case_study.cells("digits")[0], "adversary": "guess"}
    found, loss, _ = zen_case_study.attack(cell, torch.nn.Identity(), [], torch.zeros(2, 1, dtype=torch.long), 0)
    assert torch.equal(found[1, 0], zen_case_study.prior("digits").mean)
    assert math.isinf(loss)


def test_one_step_is_exact_and_optimisation_comes_near():
    one, fitted = curious_optimisation.cells("digits")[0], curious_optimisation.cells("digits")[2]
    exact = curious_optimisation.run(one, 0, CPU)
    assert exact["mse"] == exact["lowest_mse"] == 0.0
    near = curious_optimisation.run({**fitted, "iterations": 60}, 0, CPU)
    assert 0 < near["lowest_mse"] <= near["mse"] < 0.2
    assert near["seconds"] > exact["seconds"]
    far = curious_optimisation.run({**fitted, "iterations": 2}, 0, CPU)
    assert far["mse"] > near["mse"]
