"""When inversion fails: the sentences, each by rows made for it, and the parts of a cell against the obvious way."""

import pytest
import torch

from privlab.sharing import federated
from privlab.studies import STUDIES
from privlab.studies.beyond import inversion
from tests.studies.sentences import badly_put, judged, made, wide
from tests.studies.talk.cases import about

STUDY, CPU = "beyond/inversion", torch.device("cpu")


def of_digits(model, **change):
    return {"data": "digits", "model": model, "knows": True, **inversion.PLAIN, **change}


def alone(model):
    names = set(inversion.changes(model)) - {"plain", "all together"}
    return {name: {"model": model, "changed": name} for name in sorted(names)}


USUAL = {
    f"{model}, {name}": {"model": model, "changed": name}
    for model in inversion.NETWORKS
    for name in inversion.USUAL
    if name in inversion.changes(model)
}
PLAIN = [({"model": model, "changed": "plain"}, {"identified": 0.9}) for model in inversion.NETWORKS]
EVERY = {name: {"model": "lenet", "changed": name, "knows": True} for name in inversion.changes("lenet")}
OFF = {"psnr": 10.0, "baseline_psnr": 13.0, "baseline": 0.1}
TENTH = ("identified", 0.15, 0.25, wide(0.19, 0.2))
CASES = [
    about(STUDY, "In general", USUAL, ("identified", 0.45, 0.55, wide(0.49, 0.5)), *PLAIN, baseline=0.1),
    about(STUDY, "One thing alone takes inverting", alone("lenet"), TENTH, baseline=0.1),
    about(STUDY, "One thing alone takes the reading", alone("dense"), TENTH, baseline=0.1),
    about(STUDY, "A picture that is farther off", EVERY, ("identified", 0.9, 0.15, wide(0.21, 0.2)), **OFF),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_sentence_holds_fails_or_cannot_be_told(case):
    assert not case.wrong()


def test_every_sentence_is_tried_once_for_each_verdict():
    assert judged(CASES) == sorted((STUDY, claim.text) for claim in STUDIES[STUDY].claims)
    assert not {case.text: case.untried() for case in CASES if case.untried()}
    assert not set(badly_put("beyond")) & {claim.text for claim in STUDIES[STUDY].claims}


def test_a_picture_that_is_nearer_than_an_average_image_is_not_farther_off():
    near = {**OFF, "psnr": 14.0, "identified": 0.9}
    assert set(CASES[3].outcomes(made(STUDY, "mnist", near)).values()) == {False}


def test_whichever_adversary_gets_most_counts():
    """Of those who know of the local steps and those who do not."""
    table = CASES[1].fails[0]
    for row in table.rows:
        if row["cell"]["changed"] == "20 local steps":
            row["metrics"]["identified"] = 0.8 if row["cell"]["knows"] == (row["seed"] == 1) else 0.3
    assert inversion.gains(table, "lenet", "20 local steps") == pytest.approx({0: 0.7, 1: 0.7, 2: 0.7}, abs=2e-3)


@pytest.mark.parametrize(
    ("change", "exact"),
    [
        ({}, 1),
        ({"normalised": True}, 1),
        ({"smoothing": 0.1}, 1),
        ({"steps": 5}, 1),
        ({"epochs": 1}, 1),
        ({"batch": 4, "norm": "train"}, 0),  # a bias before a normalisation has no gradient
    ],
    ids=str,
)
def test_a_division_is_exact_whatever_the_training_but_for_batch_norm(change, exact):
    assert inversion.run(of_digits("dense", **change), 101, CPU)["exact"] == exact


def test_what_is_sent_after_local_steps_is_the_way_of_plain_sgd():
    here = of_digits("lenet", steps=5, smoothing=0.1)
    world = inversion.drawn(here, 101, CPU)
    model = inversion.shared(here, world, 101)
    made = inversion.sent(here, model, world, 101)
    twin = inversion.shared(here, world, 101)
    before = twin.output.weight.detach().clone()
    for _ in range(5):
        twin.zero_grad()
        torch.nn.functional.cross_entropy(twin(world.images[3]), world.labels[3], label_smoothing=0.1).backward()
        with torch.no_grad():
            for weight in twin.parameters():
                weight -= inversion.LOCAL_LR * weight.grad
    way = (before - twin.output.weight) / (5 * inversion.LOCAL_LR)
    assert torch.allclose(made[3]["output.weight"], way, atol=1e-5)


def test_the_averages_are_of_public_images_of_each_label():
    world = inversion.drawn(of_digits("lenet"), 101, CPU)
    found = inversion.averages(world)
    for label in range(10):
        own = [x for x, y in zip(world.public.images, world.public.labels.tolist(), strict=True) if y == label]
        assert torch.allclose(found[label], sum(own) / len(own), atol=1e-5)


def test_nobody_is_in_two_places():
    world = inversion.drawn(of_digits("lenet", batch=64), 101, CPU)
    parts = (world.images.flatten(0, 1), world.decoys, world.public.images)
    every = torch.cat(parts).flatten(1)
    assert len(every.unique(dim=0)) == len(every) == inversion.MOST + inversion.DECOYS + inversion.PUBLIC


@pytest.mark.parametrize(("batch", "smoothing"), [(1, 0.0), (1, 0.1), (4, 0.1)])
def test_labels_are_read_off_a_fresh_network_though_they_are_smoothed(batch, smoothing):
    here = of_digits("lenet", batch=batch, smoothing=smoothing, labels="read")
    world = inversion.drawn(here, 101, CPU)
    model = inversion.shared(here, world, 101)
    read = inversion.believed(here, model, inversion.sent(here, model, world, 101), world, 101)
    assert (read == world.labels.sort(1).values).double().mean() > 0.9


def test_the_score_knows_a_copy_from_an_image_that_is_almost_one():
    world = inversion.drawn(of_digits("lenet"), 101, CPU)
    near = world.images + 0.6 / 255
    assert inversion.score(list(world.images), world) == (1, 1, 100)
    recognised, exact, quality = inversion.score(list(near), world)
    assert (recognised, exact) == (1, 0)
    assert quality == pytest.approx(20 * torch.tensor(255 / 0.6).log10().item(), abs=0.01)
    away = inversion.score([world.decoys[:1]] * len(world.images), world)
    assert away[:2] == (0, 0)


def test_batch_norm_is_where_and_as_it_says():
    image = torch.rand(12, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    for norm, mode in (("none", False), ("eval", False), ("train", True)):
        model = inversion.network(of_digits("lenet", norm=norm), image, 10, 0)
        norms = [each for each in model.modules() if isinstance(each, torch.nn.BatchNorm2d)]
        assert len(norms) == 2 * (norm != "none")
        assert model.training == mode
    fresh, by_averages = (inversion.network(of_digits("lenet", norm=norm), image, 10, 0) for norm in ("none", "eval"))
    assert torch.allclose(fresh(image), by_averages(image), atol=1e-4)
    standard = inversion.network(of_digits("dense", normalised=True), image, 10, 0)[0]
    assert standard(image).mean().abs() < 1e-5
    assert abs(standard(image).std() - 1) < 1e-5
    assert torch.allclose(standard.undone(standard(image)), image, atol=1e-6)
    assert federated.gradient(fresh, image, torch.zeros(12).long()).examples == 12
