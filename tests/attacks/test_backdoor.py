"""Backdoors: what is marked and labelled, and a model that does as it should but for the mark."""

import pytest
import torch

from privlab import data, models
from privlab.attacks import backdoor, poisoning
from privlab.defences import aggregation
from privlab.metrics import robustness
from privlab.sharing import federated, predictions, together
from privlab.sharing.federated import Client

DIGITS, TEST = data.load("digits"), data.load("digits", split="test")
CLIENT = Client(DIGITS.images[:100], DIGITS.labels[:100])


@pytest.mark.parametrize(("size", "value"), [(1, 1.0), (3, 0.5), (5, 0.0), (7, 1.0)])
def test_a_stamp_changes_exactly_the_pixels_of_its_corner(size, value):
    images = torch.rand(4, 3, 7, 9, generator=torch.Generator().manual_seed(0))
    before = images.clone()
    made = backdoor.stamp(images, size, value)
    for n in range(4):
        for c in range(3):
            for y in range(7):
                for x in range(9):
                    inside = y >= 7 - size and x >= 9 - size
                    assert made[n, c, y, x] == (value if inside else before[n, c, y, x])
    assert torch.equal(images, before)


@pytest.mark.parametrize(("share", "count"), [(0.001, 1), (0.02, 2), (0.3, 30), (1, 100)])
def test_exactly_the_share_is_marked_and_labelled(share, count):
    made = backdoor.poison(CLIENT, 4, share=share, seed=1)
    marked = (made.images != CLIENT.images).flatten(1).any(1)
    assert marked.sum() == count, "the stamp shows on every digit, whose corner is black"
    assert torch.equal(made.images[marked], backdoor.stamp(CLIENT.images[marked]))
    assert (made.labels[marked] == 4).all()
    assert torch.equal(made.labels[~marked], CLIENT.labels[~marked])


def test_which_are_marked_is_drawn_by_the_seed_and_the_trigger_is_the_attackers():
    made = [backdoor.poison(CLIENT, 4, share=0.5, seed=seed).images for seed in (0, 0, 1)]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    turned = backdoor.poison(CLIENT, 4, share=1, trigger=lambda images: 1 - images)
    assert torch.equal(turned.images, 1 - CLIENT.images)


@pytest.mark.parametrize("mask", [True, False])
def test_a_semantic_backdoor_changes_labels_alone(mask):
    kind = (CLIENT.labels == 1) & (CLIENT.images.mean((1, 2, 3)) > 0.28)
    assert 0 < kind.sum() < (CLIENT.labels == 1).sum()
    made = backdoor.relabel(CLIENT, kind if mask else kind.nonzero()[:, 0], 0)
    assert made.images is CLIENT.images
    assert torch.equal(made.labels != CLIENT.labels, kind)
    assert (made.labels[kind] == 0).all()
    nobody = backdoor.relabel(CLIENT, torch.zeros(100, dtype=torch.bool), 0)
    assert torch.equal(nobody.labels, CLIENT.labels)


TOKENS = Client(torch.ones(3, 7, dtype=torch.int64), torch.tensor([0, 1, 0]))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: backdoor.stamp(CLIENT.images, 29), "size=29 is out of range; give a whole number from 1 to 28"),
        (lambda: backdoor.stamp(CLIENT.images, 0), "size=0 is out of range"),
        (lambda: backdoor.stamp(CLIENT.images, value=1.5), "value=1.5 is out of range"),
        (lambda: backdoor.stamp(CLIENT.images * 255), r"scale images to \[0, 1\]"),
        (lambda: backdoor.stamp(CLIENT.images[0]), r"expected \(N, C, H, W\)"),
        (lambda: backdoor.stamp(CLIENT.images / 0), r"images has values in \[nan, nan\]"),
        (lambda: backdoor.poison(CLIENT, 4, share=0), "share=0 is out of range"),
        (lambda: backdoor.poison(CLIENT, 4, share=1.1), "share=1.1 is out of range"),
        (lambda: backdoor.poison(CLIENT, -1, share=0.5), "target=-1 is out of range"),
        (lambda: backdoor.poison(CLIENT, 1.0, share=0.5), "target=1.0 is a float"),
        (lambda: backdoor.poison(TOKENS, 0, share=0.5), r"expected \(N, C, H, W\)"),
        (lambda: backdoor.poison(Client(CLIENT.images, torch.zeros(100, 10)), 0, share=0.5), "give an int64 tensor"),
        (lambda: backdoor.poison(CLIENT, 4, share=0.5, trigger=lambda images: images[:1]), "keep the shape"),
        (lambda: backdoor.relabel(CLIENT, torch.tensor([100]), 0), "chosen does not name some of 100 examples"),
        (lambda: backdoor.relabel(CLIENT, torch.zeros(99, dtype=torch.bool), 0), "chosen does not name some of 100"),
        (lambda: backdoor.relabel(CLIENT, torch.tensor([0.5]), 0), "give int64 or bool"),
    ],
)
def test_what_cannot_be_is_refused_in_words(call, words):
    with pytest.raises((ValueError, TypeError), match=words):
        call()


@pytest.mark.parametrize("seed", range(3))
def test_one_of_ten_replaces_the_model_and_the_median_does_not_let_it(seed):
    """In the ninth round one liar with 30 % marked images trains for longer, and sends its update ten times as long."""
    parts = data.iid(DIGITS.labels, 10, seed=seed)
    honest = [Client(DIGITS[part].images, DIGITS[part].labels) for part in parts]
    blank = models.fully_connected(DIGITS.shape, 10, widths=(32,), seed=seed)
    how = {"epochs": 2, "batch": 8, "lr": 0.1, "seed": seed}
    begun = federated.fed_avg(blank, honest, rounds=8, **how, train=together.local_updates)
    liar = backdoor.poison(honest[0], 0, share=0.3, seed=seed)

    def longer(model, some, *, epochs, **more):
        return [federated.local_update(model, each, epochs=20 if each is liar else epochs, **more) for each in some]

    train = poisoning.Colluders([liar], lambda known: poisoning.scale(known, 10.0), train=longer)

    def outcome(model):
        rate = robustness.backdoor_rate(predictions.predict(model, backdoor.stamp(TEST.images)), TEST.labels, 0)
        return federated.accuracy(model, TEST.images, TEST.labels), rate

    clean, before = outcome(begun)
    taken = {
        rule: outcome(federated.fed_avg(begun, [liar, *honest[1:]], rounds=1, **how, train=train, aggregate=rule))
        for rule in (aggregation.mean, aggregation.median)
    }
    assert clean > 0.9
    assert before < 0.05
    assert taken[aggregation.mean][1] > 0.8
    assert taken[aggregation.mean][0] > clean - 0.1
    assert taken[aggregation.median][1] < 0.1
    assert taken[aggregation.median][0] > clean - 0.05
