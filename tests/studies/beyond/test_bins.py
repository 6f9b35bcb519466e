"""Bins: the sentences can hold, fail and be left open; and what the study measures is what it says."""

import copy
import itertools

import pytest
import torch

from privlab.attacks import bins as attack
from privlab.attacks import gradient_extraction
from privlab.defences import perturbation
from privlab.sharing import federated
from privlab.studies._local import gradient_of_steps
from privlab.studies.beyond import bins
from tests.studies.sentences import Case, badly_put, judged, made, of, wide
from tests.studies.talk.cases import about

STUDY, CPU = "beyond/bins", torch.device("cpu")
SIZES = {
    f"{width} neurons, {batch} images": {"attack": "bins", "width": width, "batch": batch, "defence": "none"}
    for width, batch in itertools.product(bins.WIDTHS, bins.BATCHES)
}
STOPPED = {
    "noise of 0.0001": {"noise": 1e-4},
    "noise of 0.001": {"noise": 1e-3},
    "noise of 0.01": {"noise": 1e-2},
    "noise of 0.1": {"noise": 1e-1},
    "pruning 0.5": {"defence": "pruning 0.5"},
    "pruning 0.9": {"defence": "pruning 0.9"},
    "sum of 10": {"defence": "sum of 10"},
}


def flagged(*found, alarms=0.0):
    """What one detector flags of bins and of random ones; no other flags anything."""
    pairs = zip(("bins", "random bins", "passive"), (*found, alarms), strict=True)
    changes = [({"attack": each, "detector": "pinned_rows"}, {"flagged": rate}) for each, rate in pairs]
    return made(STUDY, "mnist", {"flagged": 0.0}, *changes)


CASES = [
    about(STUDY, "Bins read the share", SIZES, ("exact", 0.87, 0.83, wide(0.86, 0.85)), predicted=0.9),
    about(
        STUDY,
        "Bins read more",
        SIZES,
        ("exact", 0.62, 0.58, wide(0.61, 0.6)),
        ({"attack": "trap"}, {"exact": 0.5}),
    ),
    about(
        STUDY,
        "their active attack requires",
        {"": {"attack": "bins", "width": 1000, "batch": 100, "defence": "none"}},
        ("exact", 0.48, 0.52, wide(0.49, 0.5)),
    ),
    Case(
        STUDY,
        "this layer is inherently",
        holds=[flagged(0.6, 0.6), flagged(1.0, 1.0, alarms=0.05)],
        fails=[flagged(0.4, 0.4), flagged(1.0, 1.0, alarms=0.2)],
        unsure=[flagged(0.9, wide(0.52, 0.5)), flagged(wide(0.52, 0.5), 0.9)],
        depends=(flagged(0.9, 0.3), {"bins"}, {"random bins"}),
    ),
    about(
        STUDY,
        "Noise, pruning",
        {name: {"attack": "bins", **cell} for name, cell in STOPPED.items()},
        ("seen", 0.01, 0.03, wide(0.019, 0.02)),
    ),
    about(
        STUDY,
        "DP-SGD stops",
        {"DP-SGD": {"attack": "bins", "defence": "DP-SGD"}},
        ("seen", 0.01, 0.03, wide(0.019, 0.02)),
    ),
    about(
        STUDY,
        "Bins read over half",
        {bins.LOCAL: {"attack": "bins", "defence": bins.LOCAL}},
        ("exact", 0.6, 0.4, wide(0.51, 0.5)),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_sentence_holds_fails_or_cannot_be_told(case):
    assert not case.wrong()


def test_every_sentence_is_tried_once_for_each_verdict():
    assert judged(CASES) == sorted(each for each in of("beyond") if each[0] == STUDY)
    assert not {case.text: case.untried() for case in CASES if case.untried()}
    assert not {case.text for case in CASES} & set(badly_put("beyond"))


def test_a_cell_of_bins_is_what_a_loop_over_mini_batches_gives():
    cell = next(each for each in bins.cells("digits") if each["attack"] == "bins" and each["batch"] == 20)
    whole, public = bins._drawn("digits", 7, CPU)
    model = attack.plant(bins._honest(whole, cell["width"], 0), public, normal=True)
    got = 0
    for n in range(5):
        part = whole[20 * n : 20 * (n + 1)]
        sent = federated.gradient(model, part.images, part.labels)
        found = attack.extract(sent, shape=whole.shape)
        equal = (found.images[:, None] == part.images).flatten(2).all(2)
        got += int(equal.any(0).sum())
    assert bins.run(cell, 7, CPU)["exact"] == pytest.approx(got / 100, abs=0.02)


def test_clients_and_server_share_no_image_and_a_sum_is_of_ten():
    whole, public = bins._drawn("digits", 3, CPU)
    assert (len(whole), len(public)) == (1000, 100)
    cell = {"data": "digits", "attack": "bins", "width": 1000, "batch": 100, "defence": "sum of 10", "noise": 0.0}
    found = bins.run(cell, 3, CPU)
    assert found["predicted"] == pytest.approx((1 - 1 / 1000) ** 999)
    assert found["exact"] == pytest.approx(found["predicted"], abs=0.08)


def test_a_client_sends_what_its_defence_makes_and_the_server_takes_it_for_a_mean():
    """One step of local training is a gradient; five, and the clipped mean with noise, are not."""
    part, _ = bins._drawn("digits", 3, CPU)
    model, part = bins._honest(part, 100, 0), part[:20]
    honest = federated.gradient(model, part.images, part.labels)
    one = gradient_of_steps(model, part.images, part.labels, epochs=1, lr=0.1, seed=0)
    torch.testing.assert_close(one["fc1.weight"], honest["fc1.weight"], rtol=1e-4, atol=1e-6)
    update = {name: torch.zeros_like(each) for name, each in honest.tensors.items()}
    trained = copy.deepcopy(model)
    for _ in range(bins.STEPS):
        step = federated.gradient(trained, part.images, part.labels)
        for name, each in trained.named_parameters():
            each.data -= bins.LR * step[name]
            update[name] += step[name] / bins.STEPS
    sent = bins._sent({"defence": bins.LOCAL}, model, part, 0)
    torch.testing.assert_close(sent["fc1.weight"], update["fc1.weight"], rtol=1e-3, atol=1e-5)
    private = bins._sent({"defence": "DP-SGD"}, model, part, 0)
    noise = private["fc1.weight"] * len(part)
    assert noise.std().item() == pytest.approx(bins.CLIP * bins.MULTIPLIER, rel=0.05)


@pytest.mark.parametrize("attack", ["bins", "trap"])
def test_what_is_seen_under_noise_is_what_its_divisor_foretells(attack):
    """Two neurons of one image each, of whose divisors one is twenty times its noise and the other twice."""
    random = torch.Generator().manual_seed(0)
    images, slopes, noise = torch.rand(2, 400, generator=random), torch.tensor([1.0, 0.1]), 0.05
    rows, bias = slopes[:, None] * images, slopes.clone()
    if attack == "bins":  # each neuron has what its upper neighbour has, and an image more
        rows, bias, noise = rows.flip(0).cumsum(0).flip(0), bias.flip(0).cumsum(0).flip(0), 0.05 / 2**0.5
    sent = federated.Gradient({"fc1.weight": rows, "fc1.bias": bias}, 2)
    unit = torch.cat([rows.flatten(), bias]).square().mean().sqrt()
    noisy = perturbation.gaussian(sent, noise, seed=0)
    seen, right = bins._shown({"attack": attack, "noise": float(noise / unit)}, noisy, images)
    assert (seen, right) == (0.5, 1.0)
    assert bins._shown({"attack": attack, "noise": 0.0}, sent, images) == (1.0, 1.0)


def test_all_readers_round_alike():
    """A row within a tenth of a step counts as an image; what is twice there counts once."""
    image = torch.arange(4) / 255
    rows = torch.stack([image, image + 0.05 / 255, image + 0.2 / 255, image.flip(0)])
    shared = federated.Gradient({"fc1.weight": rows, "fc1.bias": torch.ones(4)}, examples=4)
    found = bins._images("passive", shared)
    torch.testing.assert_close(found, torch.stack([image, image.flip(0)]))
    assert len(gradient_extraction.candidates(shared)) == 4


def test_equal_rows_are_counted():
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(10, 50, generator=random)
    assert bins.equal_rows(weight) == 0
    weight[3:6] = weight[0] * torch.tensor([[1.0], [2.0], [0.5]])
    assert bins.equal_rows(weight) == pytest.approx(0.4)
