"""Gradients layer by layer: each trial's own, for every kind of layer, and no short-cut where it would be wrong."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from privlab.attacks import _convolutions, _layerwise
from privlab.attacks._distances import Flat, Outer, Victims, squared
from privlab.attacks._layerwise import Layers, Use
from privlab.attacks._matching import Matcher
from privlab.sharing import federated

CLASSES = 3
MAPS, SIGNAL, FLAT, VOLUME = (4, 9, 7), (4, 9), (8,), (4, 4, 3, 2)


def drawn(layer, seed=1):
    """With weights and running averages that are not those that it began with."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in [*layer.parameters(), *layer.buffers()]:
            if value.is_floating_point():
                value.uniform_(0.2, 1.5, generator=random)
        for part in layer.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                part.weight.normal_(0, 0.4, generator=random)
    return layer.double()


LAYERS = {
    "convolution": (nn.Conv2d(4, 5, 3), MAPS),
    "convolution, padded": (nn.Conv2d(4, 5, (3, 2), padding=(1, 0)), MAPS),
    "convolution of strides": (nn.Conv2d(4, 5, 3, stride=(3, 2), padding=1), MAPS),
    "convolution that leaves a rest": (nn.Conv2d(4, 5, 4, stride=3), MAPS),  # places that no window reaches
    "convolution of dilation": (nn.Conv2d(4, 5, (3, 2), dilation=(2, 3), padding=2), MAPS),
    "convolution, no bias": (nn.Conv2d(4, 5, 3, bias=False), MAPS),
    "convolution of single pixels": (nn.Conv2d(4, 5, 1), MAPS),
    "convolution of single pixels and strides": (nn.Conv2d(4, 5, 1, stride=2), MAPS),
    "convolution of wide margins": (nn.Conv2d(4, 5, 2, padding=2), MAPS),  # from which nothing flows back
    "convolution to one place": (nn.Conv2d(4, 5, (9, 7)), MAPS),
    "dense": (nn.Linear(8, 5), FLAT),
    "dense, no bias": (nn.Linear(8, 5, bias=False), FLAT),
    "dense at every place": (nn.Linear(9, 5), SIGNAL),
    "dense at every place of a map": (nn.Linear(7, 5), MAPS),
    "batch norm": (nn.BatchNorm2d(4), MAPS),
    "batch norm, eval": (nn.BatchNorm2d(4).eval(), MAPS),
    "batch norm of no averages, eval": (nn.BatchNorm2d(4, track_running_stats=False).eval(), MAPS),
    "batch norm of units": (nn.BatchNorm1d(8), FLAT),
    "batch norm of units, eval": (nn.BatchNorm1d(8).eval(), FLAT),
    "batch norm of signals": (nn.BatchNorm1d(4), SIGNAL),
    "batch norm of volumes": (nn.BatchNorm3d(4), VOLUME),
    "group norm": (nn.GroupNorm(2, 4), MAPS),
    "group norm of units": (nn.GroupNorm(2, 8), FLAT),
    "instance norm": (nn.InstanceNorm2d(4, affine=True), MAPS),
    "instance norm, eval": (nn.InstanceNorm2d(4, affine=True).eval(), MAPS),
    "instance norm of averages, eval": (nn.InstanceNorm2d(4, affine=True, track_running_stats=True).eval(), MAPS),
    "instance norm of signals": (nn.InstanceNorm1d(4, affine=True), SIGNAL),
}
CONVOLUTIONS = [kind for kind, (layer, _) in LAYERS.items() if isinstance(layer, nn.Conv2d)]


def around(layer, shape):
    """The layer between others, so that what comes in and out of it is not simple; in the layer's own mode."""
    body = nn.Sequential(nn.Tanh(), copy.deepcopy(layer), nn.Tanh(), nn.Flatten())
    width = copy.deepcopy(body).eval()(torch.zeros(2, *shape)).shape[1]
    return drawn(nn.Sequential(body, nn.Linear(width, CLASSES)))


def trials(number, size, shape, seed=0):
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(number, size, *shape, generator=random, dtype=torch.float64, requires_grad=True)
    return images, torch.rand(number, size, CLASSES, generator=random, dtype=torch.float64).softmax(2)


def slow(model, images, labels):
    """What each trial would send, one at a time, by torch's own backward pass."""
    twin, found = copy.deepcopy(model), []
    names = [name for name, _ in twin.named_parameters()]
    for x, y in zip(images, labels, strict=True):
        loss = F.cross_entropy(twin(x), y)
        found.append(torch.autograd.grad(loss, list(twin.parameters()), create_graph=True))
    return {name: torch.stack(each) for name, each in zip(names, zip(*found, strict=True), strict=True)}


def wanted(model):
    return {name: value.detach()[None] for name, value in model.named_parameters()}


def chosen(sent, number):
    """What one victim sent, for so many trials."""
    return Victims(sent).of(torch.zeros(number, dtype=torch.int64))


def bent(gradients):
    """A number that depends on every entry of every trial's gradient, each in its own way."""
    return sum(
        (value * torch.arange(1.0, 1 + value.numel()).view(value.shape).sin()).sum() for value in gradients.values()
    )


def assert_equal(found, exact):
    assert found.keys() == exact.keys()
    for name, value in exact.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=1e-12 * value.abs().max().item())


@pytest.mark.parametrize("few", [0, 1000])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("kind", LAYERS)
def test_what_a_layer_gets_is_what_it_gets_in_each_trial_by_itself(kind, number, size, few, monkeypatch):
    """And so is the slope of it at the images."""
    monkeypatch.setattr(_layerwise, "_FEW", few)
    layer, shape = LAYERS[kind]
    size += kind == "batch norm of units"  # of one image torch normalises no units
    model, (images, labels) = around(layer, shape), trials(number, size, shape)
    layers = Layers.of(model, wanted(model))
    found, exact = layers.gradients(F.cross_entropy, images, labels), slow(model, images, labels)
    assert_equal(found, exact)
    slopes = [torch.autograd.grad(bent(each), images)[0] for each in (found, exact)]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-8, atol=1e-10 * slopes[1].abs().max().item())
    assert slopes[1].abs().max() > 0


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_a_convolution_unfolded_and_in_groups_gives_the_same(kind, monkeypatch):
    """Either way is really taken: unfolded where there are few places, and in groups elsewhere."""
    taken, grouped = [], _convolutions.weight_gradient
    monkeypatch.setattr(_convolutions, "weight_gradient", lambda *given: taken.append(1) or grouped(*given))
    layer, shape = drawn(copy.deepcopy(LAYERS[kind][0])), LAYERS[kind][1]
    random = torch.Generator().manual_seed(3)
    inputs = torch.randn(6, *shape, generator=random, dtype=torch.float64)
    slope = torch.randn(layer(inputs).shape, generator=random, dtype=torch.float64)
    other = grouped(layer, inputs, slope, 3)
    for few in (0, 1000):
        taken.clear()
        monkeypatch.setattr(_layerwise, "_FEW", few)
        found = _layerwise._weight_gradient(layer, Use(inputs, slope), 3)
        assert found.shape == (3, *layer.weight.shape)
        torch.testing.assert_close(found, other, rtol=1e-9, atol=1e-12)
        assert bool(taken) == (few == 0 and layer.kernel_size != (1, 1))


@pytest.mark.parametrize("narrow", [0, 16])
@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_a_convolution_taken_apart_has_torchs_slopes_and_theirs(kind, narrow, monkeypatch):
    """Of the images, twice, as a convolution of the flipped weight and by torch's kernel; of the weight in a trial."""
    monkeypatch.setattr(_convolutions, "_NARROW", narrow)
    layer, shape = drawn(copy.deepcopy(LAYERS[kind][0])), LAYERS[kind][1]
    random = torch.Generator().manual_seed(4)
    images = torch.randn(2, *shape, generator=random, dtype=torch.float64, requires_grad=True)

    def bent_twice(outputs):
        (first,) = torch.autograd.grad(outputs.square().sum(), images, create_graph=True)
        return outputs.detach(), first.detach(), torch.autograd.grad(first.sin().sum(), images)[0]

    for found, exact in zip(bent_twice(_convolutions.convolve(layer, images)), bent_twice(layer(images)), strict=True):
        torch.testing.assert_close(found, exact, rtol=1e-9, atol=1e-12)
    slope = torch.randn(layer(images).shape, generator=random, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, y: _convolutions.weight_gradient(layer, x, y, 2), (images, slope))


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize("size", [1, 2])
def test_a_dense_layer_of_many_weights_is_not_written_out(number, size):
    model = drawn(nn.Sequential(nn.Flatten(), nn.Linear(40, 5), nn.Tanh(), nn.Linear(5, CLASSES)))
    images, labels = trials(number, size, (40,))
    exact = slow(model, images, labels)
    sent = {name: value.detach() for name, value in slow(model, *trials(1, size, (40,), 5)).items()}
    layers = Layers.of(model, wanted(model))
    parts = layers.parts(F.cross_entropy, images, labels, chosen(sent, number))
    assert [type(part) for part in parts] == [Outer, Flat]
    assert parts[1].found.shape == (number, 5 + (5 + 1) * CLASSES)
    for trial in range(number):
        apart = sum((exact[name][trial] - value).square().sum() for name, value in sent.items())
        expected = apart / sum(value.square().sum() for value in sent.values())
        torch.testing.assert_close(squared(parts)[trial], expected, rtol=1e-9, atol=0)


def test_a_dense_layer_is_written_out_where_that_is_less():
    """Its weights are 40 x 30; half as many numbers go in and come out for eight images."""
    model = drawn(nn.Sequential(nn.Flatten(), nn.Linear(40, 30), nn.Tanh(), nn.Linear(30, CLASSES)))
    layers, sent = Layers.of(model, wanted(model)), chosen(wanted(model), 2)
    for size, kinds in ((8, [Outer, Flat]), (9, [Flat])):
        parts = layers.parts(F.cross_entropy, *trials(2, size, (40,)), sent)
        assert [type(part) for part in parts] == kinds


@pytest.mark.parametrize("names", [["1.weight"], ["0.1.bias", "1.bias"], ["0.1.weight"]])
def test_only_the_weights_that_were_sent_are_worked_out(names):
    model = around(*LAYERS["group norm"])
    images, labels = trials(2, 3, MAPS)
    layers = Layers.of(model, {name: wanted(model)[name] for name in names})
    found, exact = layers.gradients(F.cross_entropy, images, labels), slow(model, images, labels)
    assert_equal(found, {name: value for name, value in exact.items() if name in names})


def test_a_layer_of_another_make_does_not_matter_where_its_weights_were_not_sent():
    model = drawn(nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.Tanh(), nn.Flatten(), nn.Linear(210, CLASSES)))
    last = {name: value for name, value in wanted(model).items() if name.startswith("3")}
    assert Layers.of(model, wanted(model)) is None
    layers, (images, labels) = Layers.of(model, last), trials(2, 3, MAPS)
    exact = slow(model, images, labels)
    assert_equal(layers.gradients(F.cross_entropy, images, labels), {name: exact[name] for name in last})


def test_the_numbers_that_one_trial_holds_in_an_average_array_are_counted():
    model = drawn(nn.Sequential(nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, CLASSES)))
    layers = Layers.of(model, wanted(model))
    for number in (1, 4):
        layers.gradients(F.cross_entropy, *trials(number, 3, FLAT))
        assert layers.numbers == math.ceil(3 * (8 + 5 + 5 + CLASSES) / 4)


def test_the_network_itself_is_left_as_it_was():
    model = around(*LAYERS["batch norm"])
    before, (images, labels) = copy.deepcopy(model.state_dict()), trials(2, 3, MAPS)
    Layers.of(model, wanted(model)).gradients(F.cross_entropy, images, labels)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    assert not any("forward" in vars(part) for part in model.modules())


class Restless(nn.Module):
    def forward(self, images):
        return images.relu_()


@pytest.mark.parametrize(("rectifier", "short"), [(nn.ReLU(inplace=True), True), (Restless(), False)])
def test_a_layer_is_not_misled_by_one_that_writes_over_what_it_gave(rectifier, short):
    """Not even by a rectifier that lets all pass where the short-cut is proven, and nothing elsewhere."""
    model = drawn(nn.Sequential(nn.Linear(8, 8), rectifier, nn.Linear(8, CLASSES)))
    with torch.no_grad():
        model[0].weight.abs_()
    there, classes = trials(1, 2, FLAT, 9)
    sent = federated.Gradient({name: value[0].detach() for name, value in slow(model, there.abs(), classes).items()}, 2)
    images, labels = trials(3, 2, FLAT)
    images = -8 * images.abs()
    assert model[0](images.detach()).max() < 0
    matcher = Matcher(model, [sent], squared)
    values = matcher(images, labels, torch.zeros(3, dtype=torch.long))
    assert (matcher._layers is not None) == short
    exact = slow(model, images, labels)
    apart = sum((exact[name] - sent[name]).square().flatten(1).sum(1) for name in sent)
    torch.testing.assert_close(values, apart / sum(sent[name].square().sum() for name in sent), rtol=1e-9, atol=0)
    assert rectifier is model[1]
    assert getattr(rectifier, "inplace", True)


class Own(nn.Linear):
    """A dense layer of one's own, which squares its weights."""

    def forward(self, inputs):
        return F.linear(inputs, self.weight.square(), self.bias)


class Odd(nn.Module):
    """Networks that use their dense layer otherwise than once."""

    def __init__(self, way):
        super().__init__()
        self.way, self.first, self.last = way, nn.Linear(8, 8), nn.Linear(8, CLASSES)

    def forward(self, images):
        hidden = self.first(images).tanh()
        if self.way == "twice":
            hidden = self.first(hidden).tanh()
        if self.way == "beside":
            hidden = hidden + F.linear(images, self.first.weight).sin()
        if self.way == "decay":
            hidden = hidden + self.first.bias.square()
        if self.way == "mixed":
            hidden = hidden - hidden.mean(0)
        if self.way == "not":
            hidden = images.tanh()
        if self.way == "in place":
            hidden = self.first(images).relu_()
        return self.last(hidden)


def tied():
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, CLASSES))
    model[2].weight = model[0].weight
    return model


def shared():
    layer = nn.Linear(8, 8)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), nn.Linear(8, CLASSES))


def changed(change):
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, CLASSES))
    change(model)
    return model


class Twice(nn.Module):
    def forward(self, weight):
        return 2 * weight


def with_forward_of_its_own(model):
    layer = model[0]
    layer.forward = lambda inputs: F.linear(inputs, layer.weight, layer.bias).sin()


REFUSED = {
    "a weight of two layers": tied,
    "a layer at two places": shared,
    "a parametrization": lambda: changed(
        lambda model: parametrize.register_parametrization(model[0], "weight", Twice())
    ),
    "a hook": lambda: changed(
        lambda model: model[0].register_forward_hook(lambda layer, inputs, outputs: outputs.sin())
    ),
    "a hook before": lambda: changed(
        lambda model: model[0].register_forward_pre_hook(lambda layer, inputs: inputs[0].sin())
    ),
    "a hook of the whole": lambda: changed(
        lambda model: model.register_forward_hook(lambda layer, inputs, out: out.sin())
    ),
    "a hook elsewhere": lambda: changed(
        lambda model: model[1].register_forward_pre_hook(lambda layer, inputs: 2 * inputs[0])
    ),
    "a layer of one's own": lambda: changed(lambda model: model.insert(0, Own(8, 8))),
}
NOTICED = {
    "a layer used twice": lambda: Odd("twice"),
    "a weight used beside its layer": lambda: Odd("beside"),
    "a bias used beside its layer": lambda: Odd("decay"),
    "a network that mixes the images of a batch": lambda: Odd("mixed"),
    "a layer that is not used": lambda: Odd("not"),
    "a layer whose outputs are changed in place": lambda: Odd("in place"),
}


@pytest.mark.parametrize("kind", REFUSED | NOTICED)
def test_a_network_that_does_not_fit_is_taken_the_other_way(kind):
    """And then gets the distance and the slopes of plain autograd."""
    model = drawn((REFUSED | NOTICED)[kind]())
    twin = copy.deepcopy(model)
    weights = dict(twin.named_parameters())

    def plain(images, labels):
        loss = F.cross_entropy(twin(images), labels)
        slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True, materialize_grads=True)
        return dict(zip(weights, slopes, strict=True))

    there, classes = trials(1, 2, FLAT, 9)
    sent = federated.Gradient({name: value.detach() for name, value in plain(there[0], classes[0]).items()}, 2)
    assert (Layers.of(model, {name: sent[name][None] for name in sent}) is None) == (kind in REFUSED)
    images, labels = trials(3, 2, FLAT)
    matcher = Matcher(model, [sent], squared)
    values = matcher(images, labels, torch.zeros(3, dtype=torch.long))
    assert matcher._layers is None
    for trial in range(3):
        apart = sum((g - sent[name]).square().sum() for name, g in plain(images[trial], labels[trial]).items())
        exact = apart / sum(sent[name].square().sum() for name in sent)
        torch.testing.assert_close(values[trial], exact, rtol=1e-9, atol=0)
        slopes = [torch.autograd.grad(each, images, retain_graph=True)[0][trial] for each in (values[trial], exact)]
        torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-7, atol=1e-10 * slopes[1].abs().max().item())
