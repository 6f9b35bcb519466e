"""Labels off the last layer's gradient: right for every class, and refused where the equation does not hold."""

import pytest
import torch

from privlab import data, defences, models
from privlab.attacks import label_inference
from privlab.sharing import federated
from privlab.sharing.federated import Gradient


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
@pytest.mark.parametrize("init", ["framework", "uniform:0.5"])
def test_the_label_of_one_image_is_right_for_every_class(digits, activation, init):
    for seed in range(3):
        model = models.lenet(digits.shape, 10, activation=activation, init=init, seed=seed)
        for label in range(10):
            image = digits[digits.labels == label][seed : seed + 1]
            sent = federated.gradient(model, image.images, image.labels, layers=("output",))
            if not (sent["output.bias"] < 0).any():  # large weights and ReLU: a loss of zero tells nothing
                assert init == "uniform:0.5"
                assert model(image.images).softmax(1)[0, label] == 1
                continue
            assert label_inference.single(sent) == label


@pytest.mark.parametrize("batch", [1, 2, 8, 32])
def test_counts_of_a_mini_batch_are_those_of_its_labels(digits, batch):
    """With the model's own mean prediction on noise, at PyTorch's initialisation; repeated labels included."""
    for seed in range(5):
        model = models.lenet(digits.shape, 10, activation="tanh", seed=seed)
        part = digits.sample(batch, seed)
        with torch.no_grad():
            noise = torch.rand(64, *digits.shape, generator=torch.Generator().manual_seed(seed))
            guess = model(noise).softmax(1).mean(0)
        sent = federated.gradient(model, part.images, part.labels, layers=("output",))
        found = label_inference.label_counts(sent, guess)
        assert found.sum() == batch
        assert torch.equal(found, part.labels.bincount(minlength=10))


def test_counts_are_exact_given_the_true_predictions_however_far_the_training(digits):
    part = digits.sample(64, 0)
    model = models.lenet(digits.shape, 10, init="uniform:0.5")
    with torch.no_grad():
        truth = model(part.images).softmax(1).mean(0)
    sent = federated.gradient(model, part.images, part.labels, layers=("output",))
    assert torch.equal(label_inference.label_counts(sent, truth), part.labels.bincount(minlength=10))


def made(*bias, examples=1):
    return Gradient({"output.weight": torch.zeros(len(bias), 1), "output.bias": torch.tensor(bias)}, examples)


def test_counts_add_up_by_the_largest_remainders():
    even = torch.full((4,), 0.25)
    # expected counts 1.4, 0.9, 0.6, 0.1
    assert label_inference.label_counts(made(-0.1, 0.025, 0.1, 0.225, examples=4), even).tolist() == [2, 1, 1, 0]
    # noise that asks for more than there are: never below zero
    found = label_inference.label_counts(made(-2.0, -2.0, 2.0, 2.0, examples=4), even)
    assert found.sum() == 4
    assert found.min() >= 0


def test_strong_noise_hides_labels(digits):
    right = total = 0
    for seed in range(20):
        model = models.lenet(digits.shape, 10, seed=0)
        part = digits.sample(16, seed)
        sent = defences.clip_and_noise(federated.gradient(model, part.images, part.labels), 1, 20, seed)
        found = label_inference.label_counts(sent, torch.full((10,), 0.1))
        right += int(torch.minimum(found, part.labels.bincount(minlength=10)).sum())
        total += 16
    assert right < 0.6 * total


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: label_inference.single(made(-0.5, 0.5, examples=2)), "of 2 examples; for more than one use"),
        (lambda: label_inference.single(made(-0.5, -0.1, 0.6)), "2 classes of 'output' have a negative gradient"),
        (lambda: label_inference.single(made(0.5, 0.5)), "0 classes"),
        (lambda: label_inference.label_counts(made(-0.5, 0.5), torch.ones(3) / 3), "expected \\(2,\\), one a class"),
        (lambda: label_inference.label_counts(made(-0.5, 0.5), torch.ones(2)), "the sum of probabilities"),
    ],
)
def test_what_the_equation_does_not_cover_is_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_label_smoothing_breaks_the_sign_of_no_label_but_its_own(digits):
    """With smoothing the wrong classes' gradients are p_k - e/K, which may be negative too: refused, not guessed."""
    model = models.lenet(digits.shape, 10, init="uniform:0.5", seed=0)
    image = digits.sample(1, 0)

    def smooth(logits, labels):
        return torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.5)

    sent = federated.gradient(model, image.images, image.labels, loss=smooth, layers=("output",))
    with pytest.raises(ValueError, match="one-hot"):
        label_inference.single(sent)
