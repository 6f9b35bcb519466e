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


def test_labels_of_single_images_are_right_for_every_class(digits):
    model = models.lenet(digits.shape, 10, seed=0)
    firsts = [digits[digits.labels == label][:1] for label in range(10)]
    sent = [federated.gradient(model, each.images, each.labels) for each in firsts]
    assert label_inference.labels(model, sent, shape=digits.shape).tolist() == [[label] for label in range(10)]


def test_labels_of_mini_batches_come_in_rising_order_as_often_as_they_occur(digits):
    model = models.lenet(digits.shape, 10, activation="tanh", seed=0)
    parts = [digits.sample(8, seed) for seed in range(5)]
    sent = [federated.gradient(model, part.images, part.labels) for part in parts]
    found = label_inference.labels(model, sent, shape=digits.shape)
    assert torch.equal(found, torch.stack([part.labels.sort().values for part in parts]))
    assert torch.equal(label_inference.labels(model, sent, shape=digits.shape), found)


def test_the_labels_of_another_layers_name_are_read_there(digits):
    model = torch.nn.Sequential()
    model.add_module("flatten", torch.nn.Flatten())
    model.add_module("head", torch.nn.Linear(784, 10))
    part = digits.sample(1, 0)
    sent = federated.gradient(model, part.images, part.labels)
    assert label_inference.labels(model, [sent], shape=digits.shape, layer="head").tolist() == [part.labels.tolist()]
    two = federated.gradient(model, digits[:2].images, digits[:2].labels)
    assert label_inference.labels(model, [two], shape=digits.shape, layer="head").shape == (1, 2)
    assert label_inference.labels(model, [sent], shape=digits.shape).tolist() == [part.labels.tolist()]
    with pytest.raises(ValueError, match="'head' does"):
        label_inference.labels(model, [sent], shape=digits.shape, layer="output")


def test_asking_the_model_about_noise_leaves_its_running_averages_alone(digits):
    model = models.resnet18(digits.shape, 10, width=2).train()
    part = digits.sample(2, 0)
    sent = federated.gradient(model, part.images, part.labels)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = label_inference.labels(model, [sent], shape=digits.shape)
    assert found.shape == (1, 2)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_noise_that_stands_in_for_images_is_drawn_from_the_seed(digits):
    asked = []
    model = models.lenet(digits.shape, 10, seed=0)
    part = digits.sample(2, 0)
    sent = federated.gradient(model, part.images, part.labels)
    model.register_forward_pre_hook(lambda layer, inputs: asked.append(inputs[0]))
    for seed in (0, 0, 1):
        label_inference.labels(model, [sent], shape=digits.shape, seed=seed)
    whole = [each for each in asked if len(each) == 64]
    assert torch.equal(whole[0], whole[1])
    assert not torch.equal(whole[0], whole[2])
    assert asked[0].shape == (64, *digits.shape)
    assert asked[0].mean().item() == pytest.approx(0.5, abs=0.01)
    assert asked[0].std().item() == pytest.approx(12**-0.5, abs=0.01)


def test_labels_of_a_single_image_under_noise_are_refused_and_not_guessed(digits):
    model = models.lenet(digits.shape, 10, seed=0)
    part = digits.sample(1, 0)
    sent = defences.clip_and_noise(federated.gradient(model, part.images, part.labels), 1, 5)
    with pytest.raises(ValueError, match="the gradient is noisy"):
        label_inference.labels(model, [sent], shape=digits.shape)


def test_the_sign_of_one_logit_is_the_label(digits):
    model = models.fully_connected(digits.shape, 1, widths=(8,), seed=0)
    for index in range(6):
        image, label = digits.images[index : index + 1], digits.labels[index : index + 1] % 2
        sent = federated.gradient(model, image, label, loss=federated.binary_cross_entropy)
        found = label_inference.labels(model, [sent], shape=digits.shape, loss=federated.binary_cross_entropy)
        assert found.tolist() == [label.tolist()]


def test_a_mini_batch_of_one_logit_is_counted():
    sent = Gradient({"output.weight": torch.zeros(1, 2), "output.bias": torch.tensor([0.5 - 3 / 8])}, 8)
    even = torch.tensor([0.5, 0.5])
    assert label_inference.label_counts(sent, even, loss=federated.binary_cross_entropy).tolist() == [5, 3]


@pytest.mark.parametrize(
    ("classes", "loss", "words"),
    [
        (1, federated.cross_entropy, "name the client's own"),
        (3, federated.binary_cross_entropy, "binary_cross_entropy with 3 outputs are not read off a gradient"),
        (3, torch.nn.functional.multi_margin_loss, "multi_margin_loss with 3 outputs are not read off"),
    ],
)
def test_labels_that_a_loss_does_not_give_away_are_refused_at_once(classes, loss, words):
    sent = Gradient({"output.weight": torch.zeros(classes, 2), "output.bias": -torch.ones(classes)}, 1)
    with pytest.raises(ValueError, match=words):
        label_inference.single(sent, loss=loss)
    with pytest.raises(ValueError, match=words):
        label_inference.label_counts(sent, torch.full((classes,), 1 / classes), loss=loss)
