"""The engine against the plain loop: one trial at a time, by torch's own autograd, in double precision.

Both of its ways are held against it: layer by layer, and the way for networks of any make.
"""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity, cross_entropy

from privlab import models
from privlab.attacks import LocalTraining, Reconstruction, _layerwise, _matching
from privlab.attacks._distances import clipped, cosine, squared
from privlab.attacks._matching import Matcher
from privlab.sharing import federated
from privlab.sharing.federated import Client, Gradient

SHAPE, CLASSES = (2, 8, 8), 3
BOUND = 0.05  # below the length of every gradient here
WAYS = ("layer by layer", "any network")


def drawn(network, seed=0):
    """The network with weights, and running averages, that are not those that it began with."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in [*network.parameters(), *network.buffers()]:
            if value.is_floating_point():
                value.uniform_(0.2, 1.5, generator=random)
        for layer in network.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.weight.normal_(0, 0.3, generator=random)
    return network


def normed(norm):
    return drawn(nn.Sequential(nn.Conv2d(2, 4, 3, stride=2), norm, nn.Tanh(), nn.Flatten(), nn.Linear(36, CLASSES)))


def convolved(convolution, *others):
    body = nn.Sequential(convolution, nn.Tanh(), *others, nn.Flatten())
    return drawn(nn.Sequential(body, nn.Linear(body(torch.zeros(1, *SHAPE)).shape[1], CLASSES)))


def frozen(network, name):
    network.get_submodule(name).requires_grad_(False)
    return network


def attended():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layer = nn.TransformerEncoderLayer(64, 4, 8, dropout=0.0, batch_first=True)
        return nn.Sequential(nn.Flatten(2), layer, nn.Flatten(), nn.Linear(128, CLASSES))


SHORT = {
    "sigmoid": lambda: models.lenet(SHAPE, CLASSES, filters=(3, 4), fc=(5,), pool="stride", activation="sigmoid"),
    "relu": lambda: models.lenet(SHAPE, CLASSES, filters=(3,), fc=(7,), pool="average", pooled=1),
    "max pooling": lambda: models.lenet(SHAPE, CLASSES, filters=(3,), fc=(), pooled=1, activation="tanh"),
    "group norm": lambda: normed(nn.GroupNorm(2, 4)),
    "batch norm, eval": lambda: normed(nn.BatchNorm2d(4)).eval(),
    "batch norm, train": lambda: normed(nn.BatchNorm2d(4)).train(),
    "batch norm of no averages": lambda: normed(nn.BatchNorm2d(4, track_running_stats=False)).eval(),
    "batch norm of no weights": lambda: normed(nn.BatchNorm2d(4, affine=False)).train(),
    "instance norm": lambda: normed(nn.InstanceNorm2d(4, affine=True)),
    "instance norm, eval": lambda: normed(nn.InstanceNorm2d(4, affine=True, track_running_stats=True)).eval(),
    "dilation": lambda: convolved(nn.Conv2d(2, 3, 3, dilation=2, padding=1)),
    "stride three": lambda: convolved(nn.Conv2d(2, 3, (3, 2), stride=3, padding=(0, 1))),
    "no bias": lambda: convolved(nn.Conv2d(2, 3, 3, bias=False)),
    "single pixels": lambda: convolved(nn.Conv2d(2, 3, 1), nn.Conv2d(3, 2, 1, stride=2)),
    "average pooling": lambda: convolved(nn.Conv2d(2, 3, 3), nn.AvgPool2d(2), nn.Conv2d(3, 4, 2)),
    "a frozen layer": lambda: frozen(convolved(nn.Conv2d(2, 3, 3), nn.Conv2d(3, 4, 2)), "0.0"),
    "wide": lambda: drawn(nn.Sequential(nn.Flatten(), nn.Linear(128, 40), nn.Sigmoid(), nn.Linear(40, CLASSES))),
    "resnet, eval": lambda: models.resnet18(SHAPE, CLASSES, width=2).eval(),
    "resnet, train": lambda: models.resnet18(SHAPE, CLASSES, width=2).train(),
}
LONG = {
    "groups of channels": lambda: convolved(nn.Conv2d(2, 4, 3, groups=2)),
    "circular padding": lambda: convolved(nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular")),
    "padding in a word": lambda: convolved(nn.Conv2d(2, 3, 3, padding="same")),
    "layer norm": lambda: normed(nn.LayerNorm([4, 3, 3])),
    "a transformer": attended,
}
NETWORKS = SHORT | LONG


def matcher_of(model, sent, objective=squared, way=WAYS[0]):
    matcher = Matcher(model, sent, objective)
    if way != WAYS[0]:
        matcher._layers = None
    return matcher


def batch(size, seed, dtype=torch.float64):
    random = torch.Generator().manual_seed(seed)
    images = torch.rand(size, *SHAPE, generator=random, dtype=dtype)
    return images, torch.randint(CLASSES, (size,), generator=random)


def soft(labels):
    return nn.functional.one_hot(labels, CLASSES).double()


def trials(number, size, seed=7):
    """Images and labels of some trials, of which we want the slopes."""
    random = torch.Generator().manual_seed(seed)
    images = torch.rand(number, size, *SHAPE, generator=random, dtype=torch.float64, requires_grad=True)
    labels = torch.rand(number, size, CLASSES, generator=random, dtype=torch.float64).softmax(2)
    return images, labels.requires_grad_()


def flat(gradient):
    return torch.cat([gradient[name].flatten() for name in gradient])


def plain_gradient(model, images, labels, names, loss=cross_entropy):
    """What a client with these images would send, by torch's own backward pass, still differentiable."""
    twin = copy.deepcopy(model)
    weights = dict(twin.named_parameters())
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        value = loss(twin(images), labels)
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, [weights[n] for n in names], create_graph=True)])


def plain(objective, found, sent):
    if objective is squared:
        return (found - sent).square().sum() / sent.square().sum()
    if objective is cosine:
        return 1 - cosine_similarity(found, sent, dim=0)
    return (found * (BOUND / found.norm()).clamp(max=1) - sent).square().sum() / sent.square().sum()


def objective_of(name):
    return {"squared": squared, "cosine": cosine, "clipped": clipped(BOUND)}[name]


def assert_same(values, slopes, exact, exact_slopes):
    torch.testing.assert_close(values, exact, rtol=1e-9, atol=1e-12)
    for found, true in zip(slopes, exact_slopes, strict=True):
        torch.testing.assert_close(found, true, rtol=1e-6, atol=1e-9 * true.abs().max().item())


@pytest.mark.parametrize("name", ["squared", "cosine", "clipped"])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("kind", NETWORKS)
def test_the_distance_and_its_slope_are_those_of_one_trial_at_a_time(kind, size, name):
    """By either way, for trials together and for each alone."""
    model, objective = NETWORKS[kind]().double(), objective_of(name)
    size += kind == "resnet, train"  # whose last maps are single pixels: BatchNorm needs two
    sent = [federated.gradient(model, *batch(size, seed)) for seed in (1, 2)]
    images, labels = trials(4, size)
    victim, scales = torch.tensor([0, 1, 1, 0]), torch.arange(1, 5)
    exact, exact_slopes = [], []
    for trial in range(4):
        image, label = images[trial].detach().requires_grad_(), labels[trial].detach().requires_grad_()
        slow = plain(objective, plain_gradient(model, image, label, list(sent[0])), flat(sent[victim[trial]]))
        exact.append(slow.detach())
        exact_slopes.append(torch.autograd.grad((trial + 1) * slow, (image, label)))
    exact, exact_slopes = torch.stack(exact), [torch.stack(each) for each in zip(*exact_slopes, strict=True)]
    assert exact.min() > 1e-4
    for way in WAYS[: 1 + (kind in SHORT)]:
        matcher = matcher_of(model, sent, objective, way)
        values = matcher(images, labels, victim)
        assert (matcher._layers is not None) == (kind in SHORT and way == "layer by layer")
        slopes = torch.autograd.grad((values * scales).sum(), (images, labels))
        assert_same(values, slopes, exact, exact_slopes)
        values = torch.cat([matcher(images[i : i + 1], labels[i : i + 1], victim[i : i + 1]) for i in range(4)])
        slopes = torch.autograd.grad((values * scales).sum(), (images, labels))
        assert_same(values, slopes, exact, exact_slopes)


@pytest.mark.parametrize("objective", [squared, cosine])
@pytest.mark.parametrize("kind", NETWORKS)
def test_the_true_images_match_what_was_sent_and_another_victims_do_not(kind, objective):
    model = NETWORKS[kind]().double()
    victims = [batch(2, seed) for seed in (1, 2)]
    matcher = Matcher(model, [federated.gradient(model, *each) for each in victims], objective)
    images = torch.stack([images for images, _ in victims])
    labels = soft(torch.stack([labels for _, labels in victims]))
    assert matcher(images, labels, torch.tensor([0, 1])).abs().max() < 1e-12
    assert matcher(images, labels, torch.tensor([1, 0])).min() > 1e-4


@pytest.mark.parametrize("kind", ["sigmoid", "batch norm, train", "wide"])
def test_in_single_precision_the_true_images_match_as_closely_as_it_allows(kind):
    model = NETWORKS[kind]()
    images, labels = batch(3, 1, torch.float32)
    sent = [federated.gradient(model, images, labels)]
    for way in WAYS:
        value = matcher_of(model, sent, way=way)(images[None], soft(labels).float()[None], torch.tensor([0]))
        assert value.dtype == torch.float32
        assert abs(value.item()) < 1e-12


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["sigmoid", "wide", "batch norm, train"])
def test_trials_in_several_parts_are_those_of_one_part(kind, way, monkeypatch):
    model = NETWORKS[kind]().double()
    sent = [federated.gradient(model, *batch(3, seed)) for seed in (1, 2)]
    images, labels = trials(5, 3)
    victim = torch.tensor([0, 1, 1, 0, 0])
    matcher = matcher_of(model, sent, way=way)
    whole = matcher(images, labels, victim)
    parts, asked = matcher._parts, []
    matcher._parts = lambda x, y, v: asked.append(len(x)) or parts(x, y, v)
    for most, sizes in ((2 * matcher._each + 1, [2, 2, 1]), (1, [1] * 5), (5 * matcher._each, [5])):
        monkeypatch.setattr(_matching, "_ARRAY" if way == "layer by layer" else "_MOST", most)
        values = matcher(images, labels, victim)
        torch.testing.assert_close(values, whole, rtol=1e-9, atol=1e-12)
        for found, true in zip(
            torch.autograd.grad(values.sum(), (images, labels)),
            torch.autograd.grad(whole.sum(), (images, labels), retain_graph=True),
            strict=True,
        ):
            torch.testing.assert_close(found, true, rtol=1e-6, atol=1e-9 * true.abs().max().item())
        assert asked == sizes
        asked.clear()


def test_the_numbers_of_a_trial_are_those_of_an_average_array_layer_by_layer_and_else_of_its_weights():
    model = NETWORKS["wide"]().double()
    sent, (images, labels) = [federated.gradient(model, *batch(3, 1))], trials(2, 3)
    for way, numbers in (
        ("layer by layer", math.ceil(3 * (128 + 40 + 40 + 3) / 4)),
        ("any network", 129 * 40 + 41 * 3),
    ):
        matcher = matcher_of(model, sent, way=way)
        matcher(images, labels, torch.tensor([0, 0]))
        assert matcher._each == numbers


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("kind", "layers"),
    [("sigmoid", ["conv1"]), ("sigmoid", ["conv2", "fc1"]), ("batch norm, train", ["1"]), ("wide", ["3"])],
)
def test_a_gradient_of_some_layers_is_compared_in_those(kind, layers, way):
    model = NETWORKS[kind]().double()
    images, labels = batch(2, 1)
    sent = federated.gradient(model, images, labels, layers=layers)
    assert 0 < len(list(sent)) < len(list(model.parameters()))
    matcher = matcher_of(model, [sent], way=way)
    images, targets = trials(3, 2)
    values = matcher(images, targets, torch.zeros(3, dtype=torch.long))
    assert (matcher._layers is not None) == (way == "layer by layer")
    for trial in range(3):
        slow = plain(squared, plain_gradient(model, images[trial], targets[trial], list(sent)), flat(sent))
        torch.testing.assert_close(values[trial], slow, rtol=1e-9, atol=0)
        exact = torch.autograd.grad(slow, images)[0][trial]
        found = torch.autograd.grad(values[trial], images, retain_graph=True)[0][trial]
        torch.testing.assert_close(found, exact, rtol=1e-6, atol=1e-9 * exact.abs().max().item())


@pytest.mark.parametrize("way", WAYS)
def test_a_loss_of_ones_own_is_what_the_trials_minimise(way):
    """One that is no mean over the images of a batch, either."""

    def loss(logits, labels):
        return (logits.sigmoid() - labels).square().mean() + logits[0].sin().sum()

    model = NETWORKS["sigmoid"]().double()
    images, targets = trials(4, 3)
    sent = federated.gradient(model, images[3].detach(), targets[3].detach(), loss=loss)
    matcher = Matcher(model, [sent], squared, loss=loss)
    if way != "layer by layer":
        matcher._layers = None
    values = matcher(images, targets, torch.zeros(4, dtype=torch.long))
    assert (matcher._layers is not None) == (way == "layer by layer")
    assert values[3].abs().item() < 1e-20
    for trial in range(3):
        slow = plain(squared, plain_gradient(model, images[trial], targets[trial], list(sent), loss), flat(sent))
        torch.testing.assert_close(values[trial], slow, rtol=1e-9, atol=0)


@pytest.mark.parametrize("kind", ["sigmoid", "group norm", "wide"])
def test_a_short_cut_that_is_wrong_is_noticed_and_not_taken(kind, monkeypatch):
    """By one in a hundred, of one layer's weights."""
    model = NETWORKS[kind]().double()
    sent, (images, labels) = [federated.gradient(model, *batch(2, 1))], trials(3, 2)
    victim = torch.zeros(3, dtype=torch.long)
    true = matcher_of(model, sent, way="any network")(images, labels, victim)
    right, last = _layerwise._weight_gradient, list(model.modules())[-1].weight.shape

    def wrong(layer, *others):
        return (1.01 if layer.weight.shape == last else 1) * right(layer, *others)

    monkeypatch.setattr(_layerwise, "_weight_gradient", wrong)
    matcher = Matcher(model, sent, squared)
    assert matcher._layers is not None
    found = matcher(images, labels, victim)
    assert matcher._layers is None
    assert torch.equal(found, true)


@pytest.mark.parametrize("factor", [0.99, 1.01])
def test_a_short_cut_that_is_wrong_in_a_bias_is_noticed_too(factor, monkeypatch):
    model = NETWORKS["sigmoid"]().double()
    sent, (images, labels) = [federated.gradient(model, *batch(1, 1))], trials(1, 1)
    right = _layerwise._bias_gradient
    monkeypatch.setattr(_layerwise, "_bias_gradient", lambda *given: factor * right(*given))
    matcher = Matcher(model, sent, squared)
    found = matcher(images, labels, torch.tensor([0]))
    assert matcher._layers is None
    assert torch.equal(found, matcher_of(model, sent, way="any network")(images, labels, torch.tensor([0])))


def test_the_short_cut_is_proven_at_the_first_call_and_at_a_later_one(monkeypatch):
    model = NETWORKS["sigmoid"]().double()
    matcher, asked = Matcher(model, [federated.gradient(model, *batch(1, 1))], squared), []
    proof, short = matcher._prove, matcher._layers.parts
    matcher._prove = lambda *given: asked.append(matcher._calls) or proof(*given)
    monkeypatch.setattr(matcher._layers, "parts", lambda *given: asked.append("short") or short(*given))
    for seed in range(31):
        matcher(*trials(2, 1, seed), torch.tensor([0, 0]))
    assert asked == [1, *["short"] * 29, 30, "short", "short"]


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
    targets = soft(labels)
    matcher = Matcher(model, [sent], squared, local)
    assert matcher(images[order[0]][None], targets[order[0]][None], torch.tensor([0])).item() < 1e-20
    as_if_one = Matcher(model, [sent], squared)(images[None], targets[None], torch.tensor([0]))
    assert as_if_one.item() > 1e-6
    other = batch(4, 2)[0].requires_grad_()
    value = matcher(other[None], targets[None], torch.tensor([0]))
    slow = plain(squared, slow_path(copy.deepcopy(model), other, targets, local), flat(sent))
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
    targets = soft(labels)
    for objective in (squared, cosine):
        matcher = Matcher(model, [sent], objective, LocalTraining(4, 3, 0.1))
        assert matcher(images[None], targets[None], torch.tensor([0])).abs().item() < 1e-12


@pytest.mark.parametrize("kind", ["batch norm, train", "batch norm, eval", "resnet, train"])
def test_matching_leaves_the_model_and_its_running_averages_as_they_were(kind):
    model = NETWORKS[kind]()
    images, labels = batch(2, 1, torch.float32)
    sent = federated.gradient(copy.deepcopy(model), images, labels)
    before = copy.deepcopy(model.state_dict())
    mode = model.training
    matcher = Matcher(model, [sent], squared)
    matcher(images[None], nn.functional.one_hot(labels, CLASSES).float()[None], torch.tensor([0]))
    assert _matching.number_of_classes(model, SHAPE, images) == CLASSES
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


def test_soft_labels_and_those_of_other_losses_are_taken_as_they_are():
    soft_ones, numbers = torch.rand(1, 2, 3), torch.tensor([[7, 0]])
    decisions, binary = soft_ones[..., 0], federated.binary_cross_entropy
    assert torch.equal(_matching.known_labels(soft_ones, (1, 2), 3, cross_entropy), soft_ones)
    assert torch.equal(_matching.known_labels(decisions, (1, 2), 3, binary), decisions)
    assert torch.equal(_matching.known_labels(numbers, (1, 2), 3, nn.functional.nll_loss), numbers)


def test_the_labels_that_an_attack_gives_are_the_likeliest_class_or_the_decisions():
    likely = torch.tensor([[[0.1, 0.7, 0.2], [0.6, 0.55, 0.0]]])
    assert _matching.as_labels(likely, cross_entropy).tolist() == [[1, 0]]
    assert _matching.as_labels(likely, federated.binary_cross_entropy).tolist() == [[[0, 1, 0], [1, 1, 0]]]
    assert _matching.as_labels(likely[..., :1], federated.binary_cross_entropy).tolist() == [[0, 1]]
    assert _matching.as_labels(torch.tensor([[4, 2]]), nn.functional.nll_loss).tolist() == [[4, 2]]


def test_labels_become_probabilities_and_others_are_refused():
    found = _matching.known_labels(torch.tensor([[2, 0]]), (1, 2), 3, cross_entropy)
    assert torch.equal(found, torch.tensor([[[0.0, 0, 1], [1, 0, 0]]]))
    with pytest.raises(ValueError, match=r"labels are \(2,\); expected \(1, 2\): one row a victim"):
        _matching.known_labels(torch.tensor([2, 0]), (1, 2), 3, cross_entropy)
    with pytest.raises(ValueError, match="the largest label=3 is out of range"):
        _matching.known_labels(torch.tensor([[3, 0]]), (1, 2), 3, cross_entropy)
    with pytest.raises(ValueError, match="negative label -1"):
        _matching.known_labels(torch.tensor([[-1, 0]]), (1, 2), 3, cross_entropy)
    with pytest.raises(ValueError, match=r"labels are \(1, 3, 3\); expected \(1, 2\).* or \(1, 2, 3\)"):
        _matching.known_labels(torch.rand(1, 3, 3), (1, 2), 3, cross_entropy)
    with pytest.raises(ValueError, match=r"labels are \(2, 4\), and the model has 3 logits"):
        _matching.fitting(torch.rand(1, 2, 4), 3, cross_entropy)
    with pytest.raises(TypeError, match="int64"):
        _matching.known_labels(torch.tensor([[2, 0]], dtype=torch.int32), (1, 2), 3, cross_entropy)


def test_a_shape_that_the_model_does_not_take_is_refused():
    single = torch.empty(0)
    with pytest.raises(ValueError, match=r"shape=\(2, 9, 12\) does not fit the model in float32 .* give that of one"):
        _matching.number_of_classes(NETWORKS["relu"](), (2, 9, 12), single)
    with pytest.raises(ValueError, match="shape=0 is out of range"):
        _matching.number_of_classes(NETWORKS["relu"](), (2, 0, 8), single)


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
