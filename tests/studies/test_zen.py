"""The studies of "Zen" on gradients, and section 8.5 of "Curious": what a cell measures, and the claims."""

import math

import pytest
import torch

from privlab import data, studies
from privlab.attacks import Reconstruction
from privlab.defences import clip_and_noise
from privlab.sharing import federated
from privlab.studies import curious_optimisation, zen_adaptations, zen_case_study, zen_gradients
from privlab.studies.study import Table

CPU = torch.device("cpu")
CLAIMS = {claim.text.split(" (")[0]: claim for study in studies.STUDIES.values() for claim in study.claims}
PLAIN = zen_adaptations.plain_cell("mnist", 1, 28)
QUICK = {"data": "digits", **zen_gradients.BASE}


def rows(metric, base, *changes, **common):
    """One row a change of the base cell: (settings, value)."""
    return Table(
        [{"cell": {**base, **common, **change}, "seed": 0, "metrics": {metric: value}} for change, value in changes]
    )


def rates(*changes):
    return rows("success_rate", PLAIN, ({}, 1.0), *changes)


LENET = {"data": "mnist", "model": "lenet", "conv": 12, "fc": 0, **zen_gradients.READING, "batch": 1}
AS_WRITTEN = {**LENET, **zen_gradients.AS_WRITTEN, "conv": 64}
ALEXNET = {"data": "mnist", "model": "alexnet", **zen_gradients.READING, "batch": 1, "width": 0.125}
CASE = {"norm": "batch_eval", "batch": 1, "clients": 1, "width": 8, "protection": "none", "adversary": "plain"}
CASE = {"data": "pneumoniamnist", "model": "resnet18", **CASE}
FC = (16, 64, 128, 256)
CROWD = {"batch": 10, "clients": 3}


def against_guess(*changes):
    return rows("psnr", CASE, ({"adversary": "guess"}, 19.0), *changes)


def steps(metric, quick, slow):
    base = {"data": "mnist", "batch": 1, "model": "fc", "restarts": 1}
    one = ({"attack": "one_step", "iterations": 1}, quick)
    return rows(metric, base, one, ({"attack": "optimisation", "iterations": 300}, slow))


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        (
            "Models deeper than LeNet",
            rows("success_rate", {}, (AS_WRITTEN, 0.9), (ALEXNET, 0.0), ({**ALEXNET, **zen_gradients.AS_WRITTEN}, 0.0)),
            rows("success_rate", {}, (AS_WRITTEN, 0.9), (ALEXNET, 0.1)),
        ),
        (
            "ReLU hinders the attack; tanh and sigmoid do not",
            rows("success_rate", LENET, ({}, 1.0), ({"activation": "tanh"}, 0.9), ({"activation": "relu"}, 0.8)),
            rows("success_rate", LENET, ({}, 1.0), ({"activation": "tanh"}, 0.7), ({"activation": "relu"}, 0.8)),
        ),
        (
            "Max pooling hinders the attack",
            rows("success_rate", LENET, ({}, 1.0), ({"pool": "max"}, 0.9)),
            rows("success_rate", LENET, ({}, 0.9), ({"pool": "max"}, 0.9)),
        ),
        (
            "Too few filters and too many are not inverted",
            rows("success_rate", AS_WRITTEN, *(({"conv": c}, float(c in (64, 128))) for c in (16, 64, 128, 256))),
            rows("success_rate", AS_WRITTEN, *(({"conv": c}, float(c > 16)) for c in (16, 64, 128, 256))),
        ),
        (
            "More filters improve the attack up to 64",
            rows("success_rate", LENET, ({"conv": 4}, 0.1), ({"conv": 64}, 1.0)),
            rows("success_rate", LENET, ({"conv": 4}, 1.0), ({"conv": 64}, 1.0)),
        ),
        (
            "Wider dense layers reduce the effectiveness",
            rows("success_rate", {**LENET, "activation": "tanh"}, *(({"fc": f}, float(f < 256)) for f in FC)),
            rows("success_rate", {**LENET, "activation": "tanh"}, *(({"fc": f}, 1.0) for f in FC)),
        ),
        (
            "No reconstruction for batch sizes larger than two",
            rates(({"batch": 4}, 0.0), ({"batch": 8}, 0.0)),
            rates(({"batch": 4}, 0.1), ({"batch": 8}, 0.0)),
        ),
        (
            "No reconstruction of images larger than 32 x 32",
            rates(({"size": 16}, 0.5), ({"size": 48}, 0.0), ({"size": 64}, 0.0)),
            rates(({"size": 16}, 0.5), ({"size": 48}, 0.0), ({"size": 64}, 0.2)),
        ),
        ("Max-pooling layers are difficult to invert", rates(({"pool": "max"}, 0.4)), rates(({"pool": "max"}, 0.6))),
        (
            "Deeper models are not inverted",
            rates(({"depth": 5}, 0.0), ({"depth": 8}, 0.0)),
            rates(({"depth": 5}, 0.3), ({"depth": 8}, 0.0)),
        ),
        (
            "An untrained model reveals more than a trained one",
            rates(({"state": "trained_iid"}, 0.9)),
            rates(({"state": "trained_iid"}, 1.0)),
        ),
        (
            "IID or not makes no difference",
            rates(({"state": "trained_iid"}, 0.9), ({"state": "trained_non_iid"}, 1.0)),
            rates(({"state": "trained_iid"}, 0.5), ({"state": "trained_non_iid"}, 1.0)),
        ),
        (
            "Grey images are inverted better than coloured ones",
            rows("psnr", {**PLAIN, "size": 28}, ({"channels": 1}, 50.0), ({"channels": 3}, 40.0)),
            rows("psnr", {**PLAIN, "size": 28}, ({"channels": 1}, 40.0), ({"channels": 3}, 50.0)),
        ),
        ("More clients stop the attack", rates(({"clients": 4}, 0.0)), rates(({"clients": 4}, 0.1))),
        (
            "Client-level DP stops the attack even at epsilon above 5",
            rates(({"protection": "dp_client"}, 0.0)),
            rates(({"protection": "dp_client"}, 0.1)),
        ),
        (
            "DP on the aggregate alone does not stop a server",
            rates(({"protection": "dp_aggregate"}, 1.0)),
            rates(({"protection": "dp_aggregate"}, 0.0)),
        ),
        (
            "Secure aggregation stops the attack",
            rates(({"protection": "secure_aggregation"}, 0.0)),
            rates(({"protection": "secure_aggregation"}, 0.5)),
        ),
        (
            "Recovered radiographs are almost indistinguishable from the originals",
            rows("ssim", CASE, ({}, 0.5), ({"adversary": "mean"}, 0.5), ({"adversary": "components"}, 0.96)),
            rows("ssim", CASE, ({}, 0.5), ({"adversary": "mean"}, 0.5), ({"adversary": "components"}, 0.9)),
        ),
        (
            "An effective batch of 30 does not result in an accurate reconstruction",
            against_guess((CROWD, 18.0)),
            against_guess((CROWD, 20.0)),
        ),
        (
            "DP at epsilon 6 stops the reconstruction",
            against_guess(({"protection": "dp"}, 8.0), ({"protection": "dp", "adversary": "components"}, 12.0)),
            against_guess(({"protection": "dp"}, 8.0), ({"protection": "dp", "adversary": "components"}, 20.0)),
        ),
        ("One step extracts with an error of zero", steps("pixel_l2", 1e-6, 0.1), steps("pixel_l2", 0.1, 0.1)),
        ("Reconstruction by optimisation is not lossless", steps("pixel_l2", 0.0, 0.1), steps("pixel_l2", 0.0, 0.0)),
        (
            "Optimisation takes a thousand times as long as one step, or more",
            steps("seconds", 0.001, 2.0),
            steps("seconds", 0.001, 0.9),
        ),
    ],
)
def test_claims_hold_and_fail_where_they_should(text, good, bad):
    claim = CLAIMS[text]
    if claim.data:
        good, bad = (_on(claim.data[0], table) for table in (good, bad))
    assert claim.test(good) is True
    assert claim.test(bad) is False
    assert claim.test(Table([])) is None


def test_where_neither_model_leaks_the_distribution_cannot_be_judged():
    claim = CLAIMS["IID or not makes no difference"]
    none = rates(({"state": "trained_iid"}, 0.0), ({"state": "trained_non_iid"}, 0.0))
    assert claim.test(none) == "cannot tell"


def test_one_large_image_that_is_found_is_enough_to_say_no():
    claim = CLAIMS["No reconstruction of images larger than 32 x 32"]
    assert claim.test(_on("photos", rates(({"size": 16}, 0.5), ({"size": 48}, 0.2)))) is False
    assert claim.test(_on("photos", rates(({"size": 16}, 0.5), ({"size": 48}, 0.0)))) is None


def test_one_width_is_enough_to_say_no_and_all_are_needed_to_say_yes():
    claim = CLAIMS["Too few filters and too many are not inverted"]
    few = {16: 0.0, 64: 1.0, 128: 1.0}
    assert claim.test(rows("success_rate", AS_WRITTEN, *(({"conv": c}, v) for c, v in few.items()))) is None
    assert claim.test(rows("success_rate", AS_WRITTEN, ({"conv": 64}, 0.0))) is False


def test_alexnet_is_judged_by_both_readings_of_it():
    claim = CLAIMS["Models deeper than LeNet"]
    relu = {**ALEXNET, **zen_gradients.AS_WRITTEN}
    assert claim.test(rows("success_rate", {}, (AS_WRITTEN, 0.9), (ALEXNET, 0.0))) is None
    assert claim.test(rows("success_rate", {}, (AS_WRITTEN, 0.9), (ALEXNET, 0.0), (relu, 0.0))) is True
    assert claim.test(rows("success_rate", {}, (AS_WRITTEN, 0.9), (relu, 0.1))) is False


def test_seconds_of_another_machine_are_printed_and_not_judged():
    lines = [row for row in studies.compare("zen/table-1").rows if row["metric"] == "seconds" and row["reported"]]
    assert lines
    assert {row["verdict"] for row in lines} == {None}


def _on(name, table):
    """The same rows as measured on another data set, whose plain images may be larger."""
    form = {"photos": {"channels": 3}, "cifar10": {"size": 32}}[name]
    cells = [{**row["cell"], "data": name, **form, **_own(row["cell"], form)} for row in table.rows]
    plain = {"size": 32} if name == "photos" else {}
    return Table(
        [
            {**row, "cell": {**cell, **(plain if cell["size"] == 28 else {})}}
            for row, cell in zip(table.rows, cells, strict=True)
        ]
    )


def _own(cell, form):
    return {key: value for key, value in cell.items() if key in ("channels", "size") and key not in form}


def test_a_cell_of_table_1_recovers_and_one_with_relu_does_not(monkeypatch):
    monkeypatch.setattr(zen_gradients, "VICTIMS", 2)
    monkeypatch.setattr(zen_gradients, "MORE", 2)
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


def test_restarts_that_agree_spare_the_others():
    same = torch.rand(2, 1, 1, 8, 8)
    assert zen_gradients._agree(torch.cat([same[:1], torch.rand(2, 1, 1, 8, 8), same[:1]]))
    assert not zen_gradients._agree(torch.rand(4, 1, 1, 8, 8))
    pair = torch.rand(2, 1, 8, 8)
    assert zen_gradients._agree(torch.stack([pair, pair.flip(0)]))  # a mini-batch has no order


def test_two_waves_are_joined_victim_by_victim():
    def made(victims, restarts, value):
        shape = (victims, restarts)
        return Reconstruction(
            torch.full((*shape, 1, 1, 4, 4), value),
            torch.zeros(*shape, 1, dtype=torch.long),
            torch.full(shape, value),
            torch.zeros(shape),
        )

    joined = zen_gradients._joined(made(3, 4, 0.5), made(1, 12, 0.25), [1])
    assert joined.loss.shape == (3, 16)
    assert joined.chosen.tolist()[1] >= 4  # the second wave was better
    assert [joined.chosen.tolist()[v] < 4 for v in (0, 2)] == [True, True]
    assert joined.best()[1].unique().tolist() == [0.25]


def test_every_adaptation_changes_one_thing():
    cells = zen_adaptations.cells("mnist")
    for cell in cells[1:]:
        assert len([key for key in cell if cell[key] != cells[0][key]]) == 1
    assert {cell["size"] for cell in zen_adaptations.cells("photos")} == {16, 24, 32, 48, 64}


def test_images_are_resized_made_grey_and_stay_on_the_grid():
    images = data.load("patches").images[:2]
    small = zen_adaptations.resized(images, 16, 1)
    assert small.shape == (2, 1, 16, 16)
    assert torch.allclose(small * 255, (small * 255).round(), atol=1e-4)
    luma = (images[:, 0] * 0.299 + images[:, 1] * 0.587 + images[:, 2] * 0.114).mean()
    assert small.mean().item() == pytest.approx(luma.item(), abs=0.01)


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


def test_the_sentences_on_large_radiographs_are_about_the_network_of_full_width():
    wide = {**CASE, "data": zen_case_study.LARGE, "width": 64}
    table = rows("psnr", wide, ({"adversary": "guess"}, 19.0), (CROWD, 18.0))
    assert CLAIMS["An effective batch of 30 does not result in an accurate reconstruction"].test(table) is True


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
