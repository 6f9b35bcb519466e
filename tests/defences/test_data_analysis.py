"""Label sanitisation against its slow definition and scikit-learn's own vote."""

from collections import Counter

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from privlab import data
from privlab.attacks import poisoning
from privlab.defences import data_analysis
from privlab.sharing.federated import Client

DIGITS = data.load("digits")
CLEAN = DIGITS[60:1060]
CLIENT = Client(DIGITS.images[:60], DIGITS.labels[:60])


@pytest.mark.parametrize("neighbours", [1, 3, 5])
def test_each_label_is_that_of_most_of_its_nearest_clean_examples(neighbours):
    """By sorted distances; where classes have as many votes, the smaller number wins."""
    made, changed = data_analysis.sanitise(CLIENT, CLEAN.images, CLEAN.labels, neighbours=neighbours)
    for image, label in zip(CLIENT.images, made.labels.tolist(), strict=True):
        away = ((image - CLEAN.images).double() ** 2).sum((1, 2, 3)).tolist()
        nearest = sorted(range(len(away)), key=away.__getitem__)[:neighbours]
        votes = Counter(CLEAN.labels[nearest].tolist())
        assert label == min(votes, key=lambda each: (-votes[each], each))
    assert torch.equal(changed, made.labels != CLIENT.labels)
    assert made.images is CLIENT.images
    by_sklearn = KNeighborsClassifier(neighbours).fit(CLEAN.images.flatten(1).numpy(), CLEAN.labels.numpy())
    assert made.labels.tolist() == by_sklearn.predict(CLIENT.images.flatten(1).numpy()).tolist()


@pytest.mark.parametrize("seed", range(3))
def test_flipped_labels_are_found_and_put_right(seed):
    lying = poisoning.flip_labels(CLIENT, 10, share=0.5, seed=seed)
    wrong = lying.labels != CLIENT.labels
    made, changed = data_analysis.sanitise(lying, CLEAN.images, CLEAN.labels)
    assert changed[wrong].double().mean() > 0.95
    assert changed[~wrong].double().mean() < 0.15
    assert (made.labels == CLIENT.labels).double().mean() > 0.85
    assert torch.equal(lying.labels != CLIENT.labels, wrong), "the client that is given stays as it is"


def test_records_have_distances_too():
    some = Client(torch.tensor([[[0.1, 0.2]], [[0.9, 0.8]]]), torch.tensor([1, 1]))
    clean = torch.tensor([[[0.0, 0.0]], [[1.0, 1.0]]])
    made, changed = data_analysis.sanitise(some, clean, torch.tensor([0, 1]), neighbours=1)
    assert made.labels.tolist() == [0, 1]
    assert changed.tolist() == [True, False]


TOKENS = Client(torch.ones(3, 7, dtype=torch.int64), torch.tensor([0, 1, 0]))
SEVERAL = Client(CLIENT.images, torch.zeros(60, 10))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((CLIENT, CLEAN.images[:4], CLEAN.labels[:4]), "neighbours=5 is out of range; give a whole number from 1 to 4"),
        ((CLIENT, CLEAN.images[:9], CLEAN.labels[:8]), "labels holds 8 labels for 9 images"),
        (
            (CLIENT, CLEAN.images[..., :9], CLEAN.labels),
            r"clean examples are \(1, 28, 9\) and the client's \(1, 28, 28\)",
        ),
        ((SEVERAL, CLEAN.images, CLEAN.labels), "the client's labels is torch.float32"),
        ((CLIENT, CLEAN.images, torch.zeros(1000, 10)), "labels is torch.float32 of shape"),
        ((TOKENS, TOKENS.images, TOKENS.labels), "tokens, of which none is nearer to another"),
        ((CLIENT, TOKENS.images, TOKENS.labels), "tokens"),
        ((TOKENS, CLEAN.images, CLEAN.labels), r"clean examples are \(1, 28, 28\) and the client's \(7,\)"),
        ((CLIENT, CLEAN.images / 0, CLEAN.labels), r"images has values in \[nan, nan\]"),
        ((CLIENT, CLEAN.images[:0], CLEAN.labels[:0]), "with at least one image"),
        ((CLIENT, CLEAN.images.numpy(), CLEAN.labels), "give a torch tensor"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments, words):
    with pytest.raises((ValueError, TypeError), match=words):
        data_analysis.sanitise(*arguments)
