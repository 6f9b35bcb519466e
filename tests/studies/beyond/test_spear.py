"""What is said of rank inversion: each sentence can hold, fail and be left open; and one cell by hand."""

import pytest
import torch

from privlab import studies
from privlab.studies.beyond import spear
from tests.studies.sentences import Case, badly_put, judged, made, of, wide
from tests.studies.talk.cases import about

STUDY = "beyond/spear"
PLAIN = {"defence": "none", "width": spear.WIDTH}
CPU = torch.device("cpu")


def batches(*sizes):
    return {f"{size} images": {**PLAIN, "batch": size} for size in sizes}


def defended(*names):
    return {name: {"defence": name} for name in names}


def certificates(certified, *changes):
    return made(STUDY, "mnist", {"false_claims": 0.0, "certified": certified}, *changes)


def walls(share, foretold=1.0):
    """Up to eight images all come out and up to ten are foretold so; of ten such a share comes out. None of more."""
    changes = [({**PLAIN, "batch": size}, {"predicted": 0.0, "plain": 0.0}) for size in (12, 16, 24)]
    changes += [({**PLAIN, "batch": 10}, {"predicted": foretold, "plain": share})]
    return made(STUDY, "mnist", {"predicted": 1.0, "plain": 1.0}, *changes)


CASES = [
    about(
        STUDY,
        "When the inequality",
        batches(2, 4, 6, 8, 10, 12),
        ("alone", 0.85, 0.7, wide(0.81, 0.8)),
        exact=0.9,
    ),
    about(STUDY, "it recovers", batches(8, 12, 16, 24), ("certified", 0.9, 0.1, wide(0.55, 0.5))),
    Case(
        STUDY,
        "No certificate",
        holds=[certificates(0.9), certificates(0.0, ({"defence": "none"}, {"certified": 1.0}))],
        fails=[certificates(0.9, ({"defence": "trained"}, {"false_claims": (0.0, 0.0, 1.0)}))],
        unsure=[certificates(0.0)],
        too_few=0,
    ),
    Case(
        STUDY,
        "The plain way ends",
        holds=[walls(1.0), walls(0.9)],
        fails=[walls(0.0), walls(0.3), walls(1.0, foretold=0.1)],
        unsure=[walls(wide(0.49, 0.52))],
    ),
    about(STUDY, "Local steps", defended("local steps"), ("exact", 0.9, 0.1, wide(0.52, 0.5))),
    about(STUDY, "A sum over clients", defended("sum of 2", "sum of 6"), ("exact", 0.9, 0.1, wide(0.52, 0.5))),
    about(
        STUDY,
        "Pruning and noise",
        defended("prune half", "prune nine tenths", "DP-SGD"),
        ("seen", 0.02, 0.3, wide(0.09, 0.1)),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_sentence_holds_fails_and_is_left_open(case):
    assert case.wrong() == []
    assert case.untried() == []


def test_every_sentence_is_tried_and_short():
    assert judged(CASES) == sorted(each for each in of("beyond") if each[0] == STUDY)
    assert not badly_put("beyond")


def test_a_wall_stands_where_half_come_out():
    assert spear.wall({1: 1.0, 8: 1.0, 10: 0.0, 12: 0.0}) == 9
    assert spear.wall({8: 0.9, 10: 0.1}) == 9
    assert spear.wall({8: 1.0, 10: 0.75, 12: 0.25}) == 11
    assert (spear.wall({2: 0.0, 4: 0.0}), spear.wall({2: 1.0, 4: 1.0})) == (2, 4)


def test_the_chance_is_that_of_drawing_zeros_of_each_column():
    """Two images: a direction is hit by drawing any of its zeros; both have to be, in so many draws."""
    model = torch.nn.Sequential(torch.nn.Flatten())
    model.add_module("fc1", torch.nn.Linear(2, 4))
    with torch.no_grad():
        model.fc1.weight.copy_(torch.tensor([[1.0, 0], [0, 1], [1, 1], [-1, -1]]))
        model.fc1.bias.zero_()
    images = torch.eye(2).view(2, 1, 1, 2)
    chance = 1 - (1 - 1 / 3) ** spear.SAMPLES  # of three rows that are open, one is closed to the image
    assert spear._predicted(model, images) == pytest.approx(chance**2)
    assert spear._predicted(model, images[:1]) == 1
    assert spear._predicted(model, torch.ones(2, 1, 1, 2)) == 0  # equal columns have no zeros of their own


def test_a_sum_over_clients_has_the_images_of_all():
    cell = {"data": "digits", "batch": 2, "width": 400, "noise": 0.0, "defence": "sum of 2"}
    found = spear.run(cell, 0, CPU)
    assert found["rank"] == 4
    assert (found["exact"], found["certified"], found["false_claims"]) == (1, 1, 0)
    assert studies.get(STUDY).cells("digits")[0]["batch"] == 1


def test_noise_is_known_to_the_adversary_and_takes_the_certificate_first():
    cells = [each for each in spear.cells("digits") if each["defence"] == "noise"]
    exact, seen, nothing = (spear.run(cell, 0, CPU) for cell in cells)
    assert not any(found["certified"] for found in (exact, seen, nothing))
    assert exact["seen"] == seen["seen"] == 1
    assert seen["exact"] == nothing["seen"] == 0
