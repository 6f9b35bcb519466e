"""The batched engine against the plain loop: one trial at a time, by torch's own autograd, in double precision."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity, cross_entropy

from privlab import models
from privlab.attacks import LocalTraining, Reconstruction, _matching
from privlab.attacks._matching import Matcher, cosine, squared
from privlab.sharing import federated
from privlab.sharing.federated import Client, Gradient

SHAPE, CLASSES = (2, 8, 8), 3


def normed(norm, seed=0):
    """A small network whose running averages are not those that it began with."""
    random = torch.Generator().manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(2, 4, 3, stride=2), norm, nn.Tanh(), nn.Flatten(), nn.Linear(36, CLASSES))
    with torch.no_grad():
        for value in [*network.parameters(), *network.buffers()]:
            if value.is_floating_point():
                value.uniform_(0.2, 1.5, generator=random)
        for layer in (network[0], network[4]):
            layer.weight.normal_(0, 0.3, generator=random)
    return network


NETWORKS = {
    "sigmoid": lambda: models.lenet(SHAPE, CLASSES, filters=(3, 4), fc=(5,), pool="stride", activation="sigmoid"),
    "relu": lambda: models.lenet(SHAPE, CLASSES, filters=(3,), fc=(7,), pool="average", pooled=1),
    "max pooling": lambda: models.lenet(SHAPE, CLASSES, filters=(3,), fc=(), pooled=1, activation="tanh"),
    "group norm": lambda: normed(nn.GroupNorm(2, 4)),
    "batch norm, eval": lambda: normed(nn.BatchNorm2d(4)).eval(),
    "batch norm, train": lambda: normed(nn.BatchNorm2d(4)).train(),
    "batch norm of no averages": lambda: normed(nn.BatchNorm2d(4, track_running_stats=False)).eval(),
    "batch norm of no weights": lambda: normed(nn.BatchNorm2d(4, affine=False)).train(),
    "instance norm": lambda: normed(nn.InstanceNorm2d(4, affine=True)),
    "resnet, eval": lambda: models.resnet18(SHAPE, CLASSES, width=2).eval(),
    "resnet, train": lambda: models.resnet18(SHAPE, CLASSES, width=2).train(),
}


def batch(size, seed, dtype=torch.float64):
    random = torch.Generator().manual_seed(seed)
    images = torch.rand(size, *SHAPE, generator=random, dtype=dtype)
    return images, torch.randint(CLASSES, (size,), generator=random)


def flat(gradient):
    return torch.cat([gradient[name].flatten() for name in gradient])


def plain_gradient(model, images, labels):
    """What a client with these images would send, by torch's own backward pass, still differentiable."""
    twin = copy.deepcopy(model)
    loss = cross_entropy(twin(images), labels)
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(twin.parameters()), create_graph=True)])


def plain(objective, found, sent):
    if objective is squared:
        return (found - sent).square().sum() / sent.square().sum()
    return 1 - cosine_similarity(found, sent, dim=0)


@pytest.mark.parametrize("objective", [squared, cosine])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("kind", NETWORKS)
def test_the_distance_and_its_slope_are_those_of_one_trial_at_a_time(kind, size, objective):
    model = NETWORKS[kind]().double()
    size += kind == "resnet, train"  # whose last maps are single pixels: BatchNorm needs two
    victims = [batch(size, seed) for seed in (1, 2)]
    sent = [federated.gradient(model, images, labels) for images, labels in victims]
    matcher = Matcher(model, sent, objective)
    random = torch.Generator().manual_seed(7)
    images = torch.rand(4, size, *SHAPE, generator=random, dtype=torch.float64, requires_grad=True)
    labels = torch.rand(4, size, CLASSES, generator=random, dtype=torch.float64).softmax(2).requires_grad_()
    victim = torch.tensor([0, 1, 1, 0])
    values = matcher(images, labels, victim)
    slopes = torch.autograd.grad((values * torch.arange(1, 5)).sum(), (images, labels))
    for trial in range(4):
        image, label = images[trial].detach().requires_grad_(), labels[trial].detach().requires_grad_()
        slow = plain(objective, plain_gradient(model, image, label), flat(sent[victim[trial]]))
        torch.testing.assert_close(values[trial], slow, rtol=1e-9, atol=1e-12)
        for fast, exact in zip(slopes, torch.autograd.grad((trial + 1) * slow, (image, label)), strict=True):
            torch.testing.assert_close(fast[trial], exact, rtol=1e-6, atol=1e-9 * exact.abs().max().item())
        assert values[trial] > 1e-4


@pytest.mark.parametrize("objective", [squared, cosine])
@pytest.mark.parametrize("kind", NETWORKS)
def test_the_true_images_match_what_was_sent_and_another_victims_do_not(kind, objective):
    model = NETWORKS[kind]().double()
    victims = [batch(2, seed) for seed in (1, 2)]
    matcher = Matcher(model, [federated.gradient(model, *each) for each in victims], objective)
    images = torch.stack([images for images, _ in victims])
    labels = nn.functional.one_hot(torch.stack([labels for _, labels in victims]), CLASSES).double()
    assert matcher(images, labels, torch.tensor([0, 1])).abs().max() < 1e-12
    assert matcher(images, labels, torch.tensor([1, 0])).min() > 1e-4


def test_trials_in_several_parts_are_those_of_one_part(monkeypatch):
    model = NETWORKS["sigmoid"]()
    images, labels = batch(1, 1, torch.float32)
    sent, asked = [federated.gradient(model, images, labels)], []
    starts, soft = torch.rand(5, 1, *SHAPE), torch.rand(5, 1, CLASSES)
    whole = Matcher(model, sent, squared)(starts, soft, torch.zeros(5, dtype=torch.long))
    monkeypatch.setattr(_matching, "_MOST", 2 * sum(p.numel() for p in model.parameters()) + 1)
    matcher = Matcher(model, sent, squared)
    batched = matcher._batched
    matcher._batched = lambda x, y, g: asked.append(len(x)) or batched(x, y, g)
    torch.testing.assert_close(matcher(starts, soft, torch.zeros(5, dtype=torch.long)), whole)
    assert asked == [2, 2, 1]


def test_a_gradient_of_some_layers_is_compared_in_those():
    model = NETWORKS["sigmoid"]().double()
    images, labels = batch(2, 1)
    sent = federated.gradient(model, images, labels, layers=("conv1",))
    other, soft = batch(2, 2)[0], nn.functional.one_hot(labels, CLASSES).double()
    value = Matcher(model, [sent], squared)(other[None], soft[None], torch.tensor([0]))
    found = flat(federated.gradient(model, other, labels, layers=("conv1",)))
    torch.testing.assert_close(value[0], plain(squared, found, flat(sent)))


@pytest.mark.parametrize("factor", [1e-14, 1e14])
def test_neither_distance_depends_on_the_unit_of_both_gradients(factor):
    random = torch.Generator().manual_seed(0)
    one, other = ({"a": torch.randn(3, 4, generator=random), "b": torch.randn(5, generator=random)} for _ in range(2))
    for objective in (squared, cosine):
        large = objective(*({k: factor * v for k, v in part.items()} for part in (one, other)))
        assert large.item() == pytest.approx(objective(one, other).item(), rel=1e-4)


def test_the_cosine_does_not_depend_on_the_length_of_either_and_the_squared_distance_does():
    sent = {"a": torch.tensor([3.0, 4.0])}
    assert cosine({"a": 7 * sent["a"]}, sent).item() == pytest.approx(0, abs=1e-6)
    assert cosine({"a": -sent["a"]}, sent).item() == pytest.approx(2)
    assert cosine({"a": torch.tensor([-4.0, 3.0])}, sent).item() == pytest.approx(1)
    assert squared({"a": 3 * sent["a"]}, sent).item() == pytest.approx(4)
    assert squared({"a": 0 * sent["a"]}, sent).item() == 1


def slow_path(model, images, labels, local):
    """The way of a client, with plain SGD that autograd can look through: the mean gradient on it."""
    weights = {name: value.detach().clone().requires_grad_() for name, value in model.named_parameters()}
    seen = []
    for _ in range(local.epochs):
        for first in range(0, len(images), local.batch):
            part = slice(first, first + local.batch)
            loss = cross_entropy(torch.func.functional_call(model, weights, (images[part],)), labels[part])
            step = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            seen.append(torch.cat([g.flatten() for g in step]))
            weights = {k: v - local.lr * g for (k, v), g in zip(weights.items(), step, strict=True)}
    return torch.stack(seen).mean(0)


@pytest.mark.parametrize("local", [LocalTraining(3, 4, 0.2), LocalTraining(1, 2, 0.3), LocalTraining(2, 3, 0.5)])
@pytest.mark.parametrize("kind", ["sigmoid", "group norm", "batch norm, train"])
def test_local_training_is_followed_step_by_step(kind, local):
    """Of four images in mini-batches of four, two, and three and one."""
    if kind == "batch norm, train" and local.batch == 3:
        local = LocalTraining(2, 2, 0.5)
    model = NETWORKS[kind]().double()
    images, labels = batch(4, 1)
    steps = local.epochs * -(-4 // local.batch)
    order = [torch.arange(4) for _ in range(local.epochs)]
    if local.epochs == 1:  # a client's own order, which is known here
        order = [torch.randperm(4, generator=torch.Generator().manual_seed(5))]
        random = torch.Generator().manual_seed(5)
        update = federated.local_update(model, Client(images, labels), epochs=1, batch=2, lr=0.3, random=random)
        sent = federated.update_as_gradient(update, 4, lr=local.lr, steps=steps)
    else:
        vector = slow_path(copy.deepcopy(model), images, labels, local).detach()
        parts = vector.split([p.numel() for p in model.parameters()])
        shaped = zip(model.named_parameters(), parts, strict=True)
        sent = Gradient({name: part.view(p.shape) for (name, p), part in shaped}, 4)
    soft = nn.functional.one_hot(labels, CLASSES).double()
    matcher = Matcher(model, [sent], squared, local)
    assert matcher(images[order[0]][None], soft[order[0]][None], torch.tensor([0])).item() < 1e-20
    as_if_one = Matcher(model, [sent], squared)(images[None], soft[None], torch.tensor([0]))
    assert as_if_one.item() > 1e-6
    other = batch(4, 2)[0].requires_grad_()
    value = matcher(other[None], soft[None], torch.tensor([0]))
    slow = plain(squared, slow_path(copy.deepcopy(model), other, soft, local), flat(sent))
    torch.testing.assert_close(value[0], slow, rtol=1e-9, atol=0)
    exact = torch.autograd.grad(slow, other)[0]
    fast = torch.autograd.grad(value.sum(), other)[0]
    torch.testing.assert_close(fast, exact, rtol=1e-6, atol=1e-9 * exact.abs().max().item())


def test_whole_batch_steps_of_a_client_match_whatever_its_order():
    model = NETWORKS["relu"]().double()
    images, labels = batch(3, 1)
    update = federated.local_update(
        model, Client(images, labels), epochs=4, batch=3, lr=0.1, random=torch.Generator().manual_seed(0)
    )
    sent = federated.update_as_gradient(update, 3, lr=0.1, steps=4)
    soft = nn.functional.one_hot(labels, CLASSES).double()
    for objective in (squared, cosine):
        matcher = Matcher(model, [sent], objective, LocalTraining(4, 3, 0.1))
        assert matcher(images[None], soft[None], torch.tensor([0])).abs().item() < 1e-12


@pytest.mark.parametrize("kind", ["batch norm, train", "batch norm, eval", "resnet, train"])
def test_matching_leaves_the_model_and_its_running_averages_as_they_were(kind):
    model = NETWORKS[kind]()
    images, labels = batch(2, 1, torch.float32)
    sent = federated.gradient(copy.deepcopy(model), images, labels)
    before = copy.deepcopy(model.state_dict())
    mode = model.training
    matcher = Matcher(model, [sent], squared)
    matcher(images[None], nn.functional.one_hot(labels, CLASSES).float()[None], torch.tensor([0]))
    assert _matching.number_of_classes(model, SHAPE, matcher.device) == CLASSES
    assert model.training == mode
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    model(images)
    moved = any(not torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert moved == mode  # who goes on training has averages that run


def test_dropout_at_work_is_refused_and_dropout_at_rest_is_not():
    model = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(128, 3))
    images, labels = batch(1, 1, torch.float32)
    sent = federated.gradient(model, images, labels)
    with pytest.raises(ValueError, match=r"layer '1' drops units at random.*put the model in eval mode"):
        Matcher(model, [sent], squared)
    Matcher(model.eval(), [sent], squared)
    model.train()[1].p = 0.0
    Matcher(model, [sent], squared)


def made(examples=1, **values):
    return Gradient({name.replace("_", "."): value for name, value in values.items()}, examples)


@pytest.mark.parametrize(
    ("gradients", "words"),
    [
        ([], "there are no gradients"),
        ([made(0, output_bias=torch.ones(3)), made(2, output_bias=torch.ones(3))], r"\[0, 2\]; attack one size"),
        ([made(output_bias=torch.ones(4))], r"'output.bias' is \(4,\), in this model: \(3,\)"),
        ([made(fc9_bias=torch.ones(4))], "'fc9.bias' is .* in this model: no such weight"),
        ([made(output_bias=torch.tensor([0, 1, torch.nan]))], "'output.bias' is not finite"),
        ([made(output_bias=torch.tensor([0, 1, torch.inf]))], "'output.bias' is not finite"),
        ([made(output_bias=torch.ones(3)), made(output_bias=torch.full((3,), torch.nan))], "is not finite"),
        ([made(output_bias=torch.ones(3)), made(fc1_bias=torch.ones(7))], "of different layers"),
        (
            [made(output_bias=torch.ones(3)), made(output_bias=torch.ones(3), fc1_bias=torch.ones(7))],
            "different layers",
        ),
    ],
)
def test_gradients_that_do_not_fit_the_model_or_one_another_are_refused(gradients, words):
    with pytest.raises(ValueError, match=words):
        Matcher(NETWORKS["relu"](), gradients, squared)


def test_labels_become_probabilities_and_others_are_refused():
    found = _matching.known_labels(torch.tensor([[2, 0]]), (1, 2), 3)
    assert torch.equal(found, torch.tensor([[[0.0, 0, 1], [1, 0, 0]]]))
    with pytest.raises(ValueError, match=r"labels are \(2,\); expected \(1, 2\): one row a victim"):
        _matching.known_labels(torch.tensor([2, 0]), (1, 2), 3)
    with pytest.raises(ValueError, match="the largest label=3 is out of range"):
        _matching.known_labels(torch.tensor([[3, 0]]), (1, 2), 3)
    with pytest.raises(ValueError, match="negative label -1"):
        _matching.known_labels(torch.tensor([[-1, 0]]), (1, 2), 3)
    with pytest.raises(TypeError, match="int64"):
        _matching.known_labels(torch.tensor([[0.5, 0]]), (1, 2), 3)


def test_a_shape_that_the_model_does_not_take_is_refused():
    cpu = torch.device("cpu")
    with pytest.raises(ValueError, match=r"shape=\(2, 9, 12\) does not fit the model .* give that of one image"):
        _matching.number_of_classes(NETWORKS["relu"](), (2, 9, 12), cpu)
    with pytest.raises(ValueError, match="shape=0 is out of range"):
        _matching.number_of_classes(NETWORKS["relu"](), (2, 0, 8), cpu)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [((0, 1, 0.1), "epochs=0"), ((1, 0, 0.1), "batch=0"), ((1, 1, 0.0), "lr=0.0"), ((1, 1, -0.1), "lr=-0.1")],
)
def test_local_training_that_is_none_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        LocalTraining(*arguments)


def test_the_adversary_believes_the_restart_of_lowest_loss():
    images = torch.arange(6.0).view(2, 3, 1, 1, 1, 1) / 3 - 0.5
    labels = torch.arange(6).view(2, 3, 1)
    loss = torch.tensor([[0.3, torch.inf, 0.1], [0.2, 0.5, 0.4]])
    found = Reconstruction(images, labels, loss, torch.full((2, 3), torch.nan))
    assert found.chosen.tolist() == [2, 0]
    assert found.best_labels().tolist() == [[2], [3]]
    torch.testing.assert_close(found.best().flatten(), torch.tensor([2 / 3 - 0.5, 0.5]))
    beyond = Reconstruction(4 * images, labels, loss, loss)
    assert beyond.best().flatten().tolist() == [pytest.approx(4 * (2 / 3 - 0.5)), 1.0]
    below = Reconstruction(-images, labels, loss, loss)
    assert below.best().flatten().tolist() == [0.0, 0.0]
