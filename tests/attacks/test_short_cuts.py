"""What is faster than a loop of plain autograd is taken only where it gives the same, whatever the network hides."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from privlab import networks
from privlab.attacks import LocalTraining, deep_leakage, gradient_extraction, inverting_gradients
from privlab.attacks._distances import squared
from privlab.attacks._matching import _PROVEN, Matcher
from privlab.sharing import federated
from tests.zoo import GREY, ZOO

PIXELS, CLASSES = 30, 4


class Dense(nn.Module):
    """Two layers, and between them whatever a subclass does."""

    def __init__(self):
        super().__init__()
        self.first, self.answer = nn.Linear(PIXELS, 8), nn.Linear(8, CLASSES)

    def forward(self, images):
        return self.answer(self.between(self.first(images.flatten(1)).tanh(), images))

    def between(self, values, images):
        return values


class UsedAside(Dense):
    """Its first weight has a second use, which is worth one per cent."""

    def between(self, values, images):
        return values + 0.01 * F.linear(images.flatten(1), self.first.weight)


class ScaledSlope(Dense):
    """What it answers is right, and one slope is one per cent too long: as a hook on a tensor makes it."""

    def between(self, values, images):
        if values.requires_grad:
            values.register_hook(lambda slope: 1.01 * slope)
        return values


class BrightTogether(Dense):
    """A single bright pixel in a batch changes all of it, which no image in [0, 1] shows."""

    def between(self, values, images):
        return values * (1 + (images.amax() > 1.5))


class Branching(Dense):
    """A branch on the image, in Python."""

    def between(self, values, images):
        return values if images.mean() > 0.5 else 2 * values


class WrittenBuffer(Dense):
    """A buffer that is written to, and multiplied with."""

    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.ones(8))

    def between(self, values, images):
        self.seen.mul_(0.5).add_(values.detach().mean(0))
        return values * self.seen


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        return 2 * values

    @staticmethod
    @once_differentiable
    def backward(ctx, slope):
        return 2 * slope


class NotTwice(Dense):
    def between(self, values, images):
        return Once.apply(values)


def made(kind, dtype=torch.float64):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return kind().to(dtype)


def batch(count, seed=0, dtype=torch.float64):
    seeded = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (count,), generator=seeded)
    return torch.rand(count, *GREY, generator=seeded, dtype=torch.float64).to(dtype), labels


def trials(kind, count=3, dtype=torch.float64):
    """A network, its matcher, and as many trials of two images each."""
    model = made(kind, dtype)
    matcher = Matcher(model, [federated.gradient(model, *batch(2, dtype=dtype))], squared)
    drawn = [batch(2, seed, dtype) for seed in range(1, count + 1)]
    return model, matcher, torch.stack([x for x, _ in drawn]), torch.stack([y for _, y in drawn])


def plainly(matcher, model, images, labels):
    """The loss of each trial, by what a client would send."""
    found = []
    for x, y in zip(images, labels, strict=True):
        mine = federated.gradient(model, x.clamp(0, 1), y) if x.max() <= 1 else sent_of(model, x, y)
        pairs = [(mine[name], matcher.sent[name][0]) for name in matcher.sent]
        away = sum((a - b).square().sum() for a, b in pairs)
        found.append(away / sum(b.square().sum() for _, b in pairs))
    return torch.stack(found)


def sent_of(model, images, labels):
    with networks.untouched(model):
        loss = F.cross_entropy(model(images), labels)
        slopes = torch.autograd.grad(loss, list(model.parameters()))
    return dict(zip(dict(model.named_parameters()), slopes, strict=True))


def at(matcher, images, labels):
    return matcher(images, labels, torch.zeros(len(images), dtype=torch.long)).detach()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", [UsedAside, ScaledSlope, BrightTogether, Branching, WrittenBuffer, Dense])
def test_a_network_that_fools_a_short_cut_is_taken_the_plain_way(kind, dtype):
    model, matcher, images, labels = trials(kind, dtype=dtype)
    for scale in (0.2, 1.0):
        close = {"rtol": 1e-9, "atol": 0.0} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-6}
        found = at(matcher, scale * images, labels)
        torch.testing.assert_close(found, plainly(matcher, model, scale * images, labels), **close)
    assert (matcher._layers is not None) == (kind in (Dense, BrightTogether))
    assert (matcher._together is not None) == (kind not in (ScaledSlope, Branching, WrittenBuffer))


class LayerNormed(Dense):
    def between(self, values, images):
        return F.layer_norm(values, (8,))


class BatchNormed(Dense):
    def between(self, values, images):
        return F.batch_norm(values, None, None, training=True)


class GroupNormed(Dense):
    def between(self, values, images):
        return F.group_norm(values[:, :, None], 2)[:, :, 0]


@pytest.mark.parametrize("kind", [LayerNormed, BatchNormed, GroupNormed])
def test_a_norm_that_is_called_as_a_function_has_the_slope_of_the_plain_way(kind):
    """Which torch's own batch_norm and layer_norm have not under vmap."""
    model, matcher, images, labels = trials(kind)
    images.requires_grad_()
    found = matcher(images, labels, torch.zeros(len(images), dtype=torch.long)).sum()
    sent, total = list(matcher.sent.values()), 0
    for x, y in zip(images, labels, strict=True):
        mine = torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()), create_graph=True)
        away = sum((a - b[0]).square().sum() for a, b in zip(mine, sent, strict=True))
        total = total + away / sum(b.square().sum() for b in sent)
    torch.testing.assert_close(found, total, rtol=1e-9, atol=0)
    slopes = [torch.autograd.grad(value, images)[0] for value in (found, total)]
    torch.testing.assert_close(*slopes, rtol=1e-6, atol=1e-9 * slopes[1].abs().max().item())


def test_what_random_images_hide_is_found_at_the_images_of_the_attack():
    model, matcher, images, labels = trials(BrightTogether)
    for _ in range(_PROVEN[1] - 1):
        at(matcher, images, labels)
    assert matcher._layers is not None
    images[0, 0, 0, 0, 0] = 2
    found = at(matcher, images, labels)
    assert matcher._layers is None
    torch.testing.assert_close(found, plainly(matcher, model, images, labels), rtol=1e-9, atol=0.0)


def test_one_per_cent_of_the_least_of_all_tensors_is_found():
    """The gradient of the last bias is a hundredth of the others', and nothing else is wrong."""

    class Shifted(Dense):
        def forward(self, images):
            return super().forward(images) + 0.01 * self.answer.bias

    _, matcher, images, labels = trials(Shifted, dtype=torch.float32)
    at(matcher, images, labels)
    assert matcher._layers is None
    assert matcher._together is not None


def test_hooks_on_all_modules_close_the_short_cut():
    from privlab.attacks._layerwise import Layers

    model = made(Dense)
    wanted = {name: each.detach()[None] for name, each in model.named_parameters()}
    assert Layers.of(model, wanted) is not None
    handle = nn.modules.module.register_module_forward_hook(lambda *_: None)
    try:
        assert Layers.of(model, wanted) is None
    finally:
        handle.remove()


def test_a_network_that_cannot_be_differentiated_twice_is_refused():
    _, matcher, images, labels = trials(NotTwice)
    with pytest.raises(ValueError, match=r"the gradient of this NotTwice has no slope .* differentiable twice"):
        at(matcher, images, labels)


DRAWS = {
    "torch": lambda values: F.dropout(values, 0.5),
    "python": lambda values: values * random.random(),
    "numpy": lambda values: values * np.random.rand(),  # noqa: NPY002 - as people write
}


@pytest.mark.parametrize("kind", DRAWS)
def test_whatever_draws_at_random_is_refused_and_draws_nothing(kind):
    class Drawing(Dense):
        def between(self, values, images):
            return DRAWS[kind](values)

    model = made(Drawing)
    state = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    sent = federated.gradient(made(Dense), *batch(1))
    random.setstate(state[0])
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match="this Drawing draws at random"):
        deep_leakage.reconstruct(model, sent, shape=GREY, labels=torch.tensor([[0]]), restarts=1, iterations=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_that_remembers_outside_its_buffers_is_refused():
    class Remembering(Dense):
        calls = 0

        def between(self, values, images):
            Remembering.calls += 1
            return values * Remembering.calls

    _, matcher, images, labels = trials(Remembering)
    with pytest.raises(ValueError, match="this Remembering answers otherwise when it is asked again"):
        at(matcher, images, labels)


FOLLOWED = [name for name, each in ZOO.items() if not each.chance and not each.refused and name != "words"]


@pytest.mark.parametrize("name", FOLLOWED)
def test_local_training_of_any_network_is_followed(name):
    """Frozen layers stay, hooks on weights act at every step, and buffers go on from step to step."""
    animal = ZOO[name]
    model = animal.build().double()
    images, labels = animal.batch(3)
    images = images.double()
    labels = labels.double() if labels.is_floating_point() else labels
    how = {"epochs": 3, "batch": 3, "lr": 0.2}
    seeded = torch.Generator().manual_seed(0)
    update = federated.local_update(model, federated.Client(images, labels), **how, random=seeded, loss=animal.loss)
    sent = federated.update_as_gradient(update, 3, lr=0.2, steps=3)
    matcher = Matcher(model, [sent], squared, LocalTraining(**how), animal.loss)
    assert at(matcher, images[None], labels[None]) < 1e-16
    once = Matcher(model, [sent], squared, None, animal.loss)
    assert at(once, images[None], labels[None]) > 1e-8


def test_a_layer_used_twice_has_its_own_weights_after_a_call_with_others():
    same = nn.Linear(3, 3)
    model = nn.Sequential(same, nn.Tanh(), same)
    inputs, weight = torch.rand(2, 3), same.weight
    found = networks.call(model, {"0.weight": 2 * weight.detach()}, inputs)
    assert same.weight is weight
    torch.testing.assert_close(
        found, F.linear(F.linear(inputs, 2 * weight, same.bias).tanh(), 2 * weight, same.bias), rtol=1e-5, atol=1e-6
    )


def reproduced(model, loss=federated.cross_entropy, count=2, **options):
    """Which neurons of `first` show the first image, by its own gradient and as extraction judges."""
    images, labels = batch(count)
    labels = F.one_hot(labels, CLASSES) if loss is federated.binary_cross_entropy else labels
    sent = federated.gradient(model, images, labels, loss=loss)
    alone = federated.gradient(model, images[:1], labels[:1], loss=loss)["first.bias"] / count
    neurons = sent["first.bias"].nonzero().flatten()
    rows = images[:1].expand(len(neurons), *GREY)
    options = {"classes": CLASSES, "layer": "first", "loss": loss, **options}
    found = gradient_extraction.reproduces_gradient(model, sent, rows, neurons, **options)
    return found, ((alone - sent["first.bias"]).abs() <= 1e-3 * sent["first.bias"].abs())[neurons]


class Relu(Dense):
    def forward(self, images):
        return self.answer(self.first(images.flatten(1) - 0.5).relu())


class Tripled(Relu):
    class Linear(nn.Linear):
        def forward(self, input):
            return 3 * super().forward(input)

    def __init__(self):
        super().__init__()
        self.first = self.Linear(PIXELS, 8)


class Mixing(Relu):
    def forward(self, images):
        return super().forward(images - images.mean(0, keepdim=True))


@pytest.mark.parametrize("loss", [federated.cross_entropy, federated.binary_cross_entropy, nn.CrossEntropyLoss()])
@pytest.mark.parametrize("kind", [Relu, Tripled, Dense])
def test_a_candidate_is_judged_by_what_it_would_send_alone(kind, loss):
    found, wanted = reproduced(made(kind), loss)
    assert torch.equal(found, wanted)
    assert wanted.any() == (kind is not Dense)


def test_what_a_candidate_cannot_be_judged_by_is_refused_in_words():
    with pytest.raises(ValueError, match="this Mixing mixes the images of a mini-batch"):
        reproduced(made(Mixing))
    with pytest.raises(ValueError, match="the loss is not the mean over a mini-batch"):
        reproduced(made(Relu), lambda logits, labels: F.cross_entropy(logits, labels, reduction="sum"))
    with pytest.raises(ValueError, match="11 labels an image are 2\\^11 combinations; give labels="):
        reproduced(made(Relu), federated.binary_cross_entropy, classes=11)
    with pytest.raises(ValueError, match="classes= or labels= is needed"):
        reproduced(made(Relu), classes=None)
    with pytest.raises(ValueError, match="hold the class 4, and the model has 4 logits"):
        reproduced(made(Relu), classes=5)


def test_a_signal_varies_along_its_one_axis():
    signals = torch.tensor([[[0.0, 1.0, 1.0]], [[0.5, 0.5, 0.0]]])
    torch.testing.assert_close(inverting_gradients.total_variation(signals, 1), torch.tensor([0.5, 0.25]))
    volume = torch.rand(2, 1, 3, 4, 5)
    slow = sum(volume.diff(dim=axis).abs().flatten(1).mean(1) for axis in (2, 3, 4))
    torch.testing.assert_close(inverting_gradients.total_variation(volume, 3), slow)
    assert inverting_gradients.total_variation(torch.rand(3, 4), 0).tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match=r"expected \(\*, C, L\) with sides of two pixels or more"):
        inverting_gradients.total_variation(torch.rand(2, 1), 1)
