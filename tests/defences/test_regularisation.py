"""Cheap defences against membership inference: what they leave of an answer and of a network, counted by hand."""

import copy
import functools
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from privlab import data, models
from privlab.defences import regularisation
from privlab.sharing import federated, predictions


@pytest.fixture
def logits():
    return torch.randn(200, 6, generator=torch.Generator().manual_seed(0)) * 5


@pytest.mark.parametrize("kept", [1, 2, 6])
def test_a_masked_answer_is_the_order_of_the_likeliest_and_nothing_else(logits, kept):
    found = regularisation.mask(logits, kept)
    for row, masked in zip(logits.tolist(), found.tolist(), strict=True):
        order = sorted(range(6), key=lambda place: -row[place])
        wanted = [float(max(0, kept - order.index(place))) for place in range(6)]
        assert masked == wanted
    assert torch.equal(found.argmax(1), logits.argmax(1))


@pytest.mark.parametrize("kept", [1, 3])
def test_answers_of_one_order_are_equal_however_sure_they_are(logits, kept):
    """Stretched, shifted, and with the others in another order: all that confidence could have told."""
    order = logits.argsort(1, descending=True)
    shuffled = logits.clone()
    rest = order[:, kept:]
    shuffled.scatter_(1, rest, logits.gather(1, rest.flip(1)))
    assert not torch.equal(shuffled.argsort(1), logits.argsort(1))
    for other in (0.01 * logits, 40 * logits - 7, shuffled):
        assert torch.equal(regularisation.mask(other, kept), regularisation.mask(logits, kept))
    another = logits.flip(1)
    assert not torch.equal(regularisation.mask(another, kept), regularisation.mask(logits, kept))


@pytest.mark.parametrize(
    ("shape", "kept", "words"),
    [
        ((3,), 1, r"logits are \(3,\); give \(N, K\) with at least one answer"),
        ((0, 4), 1, r"logits are \(0, 4\)"),
        ((2, 4), 0, "kept=0 is out of range; give a whole number from 1 to 4"),
        ((2, 4), 5, "kept=5 is out of range"),
    ],
)
def test_what_cannot_be_masked_is_refused(shape, kept, words):
    with pytest.raises(ValueError, match=words):
        regularisation.mask(torch.zeros(shape), kept)


@pytest.mark.parametrize(
    ("logits", "error", "words"),
    [
        ([[1.0, 2.0]], TypeError, r"logits are a list; give a torch tensor of floats \(N, K\)"),
        (torch.ones(2, 3).long(), TypeError, "logits are torch.int64"),
        (torch.tensor([[1.0, 2.0], [float("nan"), 0.0]]), ValueError, "1 of 2 answers hold NaN, and have no order"),
        (torch.full((3, 1), float("nan")), ValueError, "3 of 3 answers hold NaN"),
    ],
)
def test_answers_without_an_order_are_refused(logits, error, words):
    with pytest.raises(error, match=words):
        regularisation.mask(logits)


def test_of_one_logit_the_sign_is_the_answer():
    masked = regularisation.mask(torch.tensor([[3.0], [0.1], [-0.1], [-9.0]]))
    assert masked.flatten().tolist() == [1.0, 1.0, -1.0, -1.0]
    everything = torch.tensor([[float("-inf"), 0.0, float("inf")]])
    assert regularisation.mask(everything, 2).tolist() == [[0.0, 1.0, 2.0]]


def network(seed, outputs=10, width=32):
    return models.fully_connected((1, 28, 28), outputs, widths=(width,), seed=seed)


@pytest.fixture(scope="module")
def teacher():
    """Trained on labels that are wrong: each class is called the next one."""
    part = data.load("digits").sample(400, 0)
    return predictions.fit(network(0), part.images, (part.labels + 1) % 10, epochs=15, lr=3e-3)


def agreement(one, other, images):
    asked = [predictions.predict(each, images).argmax(1) for each in (one, other)]
    return (asked[0] == asked[1]).float().mean().item()


def test_a_student_learns_its_teacher_and_never_the_labels(teacher):
    """From other images than the teacher's; on fresh ones it says what the teacher says, wrong as that is."""
    public, fresh = data.load("digits").sample(400, 7), data.load("digits", "test")
    untrained = network(1)
    before, taught = copy.deepcopy(untrained.state_dict()), copy.deepcopy(teacher.state_dict())
    student = regularisation.distil(teacher, untrained, public.images, epochs=15, lr=3e-3)
    assert agreement(student, teacher, fresh.images) > 0.75
    assert agreement(untrained, teacher, fresh.images) < 0.4
    assert federated.accuracy(student, fresh.images, fresh.labels) < 0.2
    assert federated.accuracy(student, fresh.images, (fresh.labels + 1) % 10) > 0.75
    for model, state in ((untrained, before), (teacher, taught)):
        assert all(torch.equal(each, state[name]) for name, each in model.state_dict().items())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_answers_are_softened_by_the_temperature(teacher, temperature):
    """One plain step towards exp(z / T) over its sum."""
    images = data.load("digits").sample(20, 7).images
    student = network(1)
    how = {"epochs": 1, "batch": 20, "lr": 0.5, "optimiser": "sgd"}
    found = regularisation.distil(teacher, student, images, temperature=temperature, **how)
    with torch.no_grad():
        told = (teacher(images) / temperature).exp()
    told /= told.sum(1, keepdim=True)
    (-(told * student(images).log_softmax(1)).sum(1).mean()).backward()
    for new, old in zip(found.parameters(), student.parameters(), strict=True):
        torch.testing.assert_close(new, old - 0.5 * old.grad, rtol=1e-3, atol=1e-6)


def test_yes_or_no_is_taught_as_a_chance():
    """One logit, and a loss for it: a student of softmax over one logit would always hear yes."""
    images = data.load("digits").sample(200, 7).images
    teacher, student = network(0, outputs=1), network(1, outputs=1)
    middle = predictions.predict(teacher, images).median()
    with torch.no_grad():
        list(teacher.parameters())[-1].sub_(middle)
        list(teacher.parameters())[-1].mul_(20)
        list(teacher.parameters())[-2].mul_(20)
    binary = nn.functional.binary_cross_entropy_with_logits
    for loss in (federated.binary_cross_entropy, binary, nn.BCEWithLogitsLoss(), functools.partial(binary)):
        learned = regularisation.distil(teacher, student, images, loss=loss, epochs=15, lr=3e-3)
        asked = [predictions.predict(each, images)[:, 0] > 0 for each in (teacher, learned)]
        assert 0.4 < asked[0].float().mean() < 0.6
        assert (asked[0] == asked[1]).float().mean() > 0.7
    for shares in ({}, {"loss": nn.CrossEntropyLoss()}, {"loss": federated.cross_entropy}):
        with pytest.raises(ValueError, match=r"give loss=federated\.binary_cross_entropy"):
            regularisation.distil(teacher, student, images, epochs=1, **shares)


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss(), functools.partial(nn.functional.cross_entropy)])
def test_a_cross_entropy_by_any_name_is_taught_the_same(teacher, loss):
    images = data.load("digits").sample(20, 7).images
    one, other = (regularisation.distil(teacher, network(1), images, epochs=1, **how) for how in ({}, {"loss": loss}))
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"temperature": 0}, "temperature=0 is out of range"),
        ({"epochs": 0}, "epochs=0"),
        ({"loss": nn.functional.mse_loss}, "is not known to distil: whether it compares with shares of classes or"),
        ({"student": network(1, outputs=4)}, "the model has 4 logits; give one column for each"),
        ({"inputs": torch.zeros(0, 1, 28, 28)}, "there are no inputs"),
    ],
)
def test_lessons_that_cannot_be_given_are_refused(teacher, settings, words):
    given = {"student": network(1), "inputs": torch.rand(3, 1, 28, 28), "epochs": 1, **settings}
    with pytest.raises(ValueError, match=words):
        regularisation.distil(teacher, given.pop("student"), given.pop("inputs"), **given)


def convolutional():
    """Layers whose weights are of very different sizes, so that a share of each layer is not a share of all."""
    model = models.lenet((1, 28, 28), 10, filters=(3, 4), fc=(8,), seed=0)
    with torch.no_grad():
        for number, each in enumerate(model.parameters()):
            each.mul_(1 + number)
    return model


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.97])
def test_the_smallest_share_of_all_weights_together_is_zero(share):
    """By a sort of all of them as numbers; biases, the order of parameters and the given model stay."""
    model = convolutional()
    before = {name: each.detach().clone() for name, each in model.named_parameters()}
    smaller = regularisation.prune_weights(model, share)
    weights = sorted(
        (abs(x), name, place)
        for name, each in before.items()
        if name.endswith("weight")
        for place, x in enumerate(each.flatten().tolist())
    )
    gone = {(name, place) for _, name, place in weights[: round(share * len(weights))]}
    assert [name for name, _ in smaller.named_parameters()] == list(before)
    for name, each in smaller.named_parameters():
        old = before[name].flatten().tolist()
        assert each.flatten().tolist() == [0 if (name, i) in gone else x for i, x in enumerate(old)]
        assert torch.equal(model.get_parameter(name), before[name])
    if share == 0.5:
        parts = [(each == 0).float().mean().item() for name, each in smaller.named_parameters() if "weight" in name]
        assert max(parts) - min(parts) > 0.1


def test_equal_weights_are_pruned_in_the_number_that_was_asked_for():
    model = nn.Sequential(nn.Flatten(), nn.Linear(20, 5))
    nn.init.constant_(model[1].weight, -0.3)
    assert (regularisation.prune_weights(model, 0.25)[1].weight == 0).sum() == 25


def test_a_weight_that_two_layers_share_counts_once_and_stays_shared():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    smaller = regularisation.prune_weights(model, 0.5)
    assert smaller[2].weight is smaller[0].weight
    assert (smaller[0].weight == 0).sum() == 8


def test_a_pruned_network_trains_on_and_frozen_weights_stay_frozen():
    part = data.load("digits").sample(50, 0)
    model = network(0)
    next(model.parameters()).requires_grad_(False)
    smaller = regularisation.prune_weights(model, 0.5)
    assert [each.requires_grad for each in smaller.parameters()] == [each.requires_grad for each in model.parameters()]
    trained = predictions.fit(smaller, part.images, part.labels, epochs=1, lr=1e-2)
    moved = [not torch.equal(a, b) for a, b in zip(trained.parameters(), smaller.parameters(), strict=True)]
    assert moved == [each.requires_grad for each in model.parameters()]
    assert any(((a != 0) & (b == 0)).any() for a, b in zip(trained.parameters(), smaller.parameters(), strict=True))


def old_norm():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        layer = nn.utils.weight_norm(nn.Linear(3, 2))
    layer(torch.zeros(1, 3))
    return nn.Sequential(layer)


@pytest.mark.parametrize(
    ("model", "share", "words"),
    [
        (lambda: network(0), 1, "share=1 leaves no weights; give less than 1"),
        (lambda: network(0), 1.5, r"share=1.5 is out of range; give a number in \[0, 1\]"),
        (lambda: network(0), -0.1, "share=-0.1 is out of range"),
        (lambda: nn.Embedding(3, 2), 0.5, "this Embedding has no dense or convolutional layer whose weights to prune"),
        (lambda: nn.Sequential(nn.ReLU()), 0.5, "this Sequential has no dense or convolutional layer"),
        (lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 2))), 0.5, "layer '0' computes its weight"),
        (lambda: nn.Sequential(nn.LazyLinear(3)), 0.5, "lazy layers, whose size is not known yet"),
        (old_norm, 0.5, "cannot be copied"),
    ],
)
def test_what_cannot_be_pruned_is_refused(model, share, words):
    with pytest.raises(ValueError, match=words):
        regularisation.prune_weights(model(), share)
