"""DP-SGD on networks of any make: each example's gradient clipped by itself, against the slow and obvious way."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from privlab import models
from privlab.defences import dp_sgd
from privlab.sharing import federated
from privlab.sharing.federated import Client

CLASSES, SHAPE = 3, (2, 8, 8)
PIXELS = 2 * 8 * 8


class Reused(nn.Module):
    """One activation and one dense layer, each used twice."""

    def __init__(self):
        super().__init__()
        self.first, self.again, self.last = nn.Linear(PIXELS, 9), nn.Linear(9, 9), nn.Linear(9, CLASSES)
        self.activation = nn.Tanh()

    def forward(self, images):
        hidden = self.activation(self.first(images.flatten(1)))
        return self.last(self.activation(self.again(self.activation(self.again(hidden)))))


class Tied(nn.Module):
    """A decoder's weights that are the encoder's."""

    def __init__(self):
        super().__init__()
        self.down, self.up, self.last = nn.Linear(PIXELS, 7), nn.Linear(7, PIXELS), nn.Linear(PIXELS, CLASSES)
        self.up.weight = nn.Parameter(self.down.weight.detach().T.clone())
        self.same = nn.Linear(PIXELS, 7)
        self.same.weight = self.down.weight

    def forward(self, images):
        pixels = images.flatten(1)
        return self.last(self.up(torch.tanh(self.down(pixels) + self.same(pixels.flip(1)))))


class Bare(nn.Module):
    """Weights outside layers, and a layer's weight used by hand."""

    def __init__(self):
        super().__init__()
        self.scale, self.layer = nn.Parameter(torch.ones(PIXELS)), nn.Linear(PIXELS, CLASSES)
        self.table = nn.ParameterList([torch.randn(CLASSES, PIXELS) / 9])

    def forward(self, images):
        pixels = images.flatten(1) * self.scale
        return F.linear(pixels, self.layer.weight) + F.linear(pixels, self.table[0])


class Headed(nn.Module):
    """A head that the loss does not use."""

    def __init__(self):
        super().__init__()
        self.body, self.head, self.spare = nn.Linear(PIXELS, 6), nn.Linear(6, CLASSES), nn.Linear(6, 4)

    def forward(self, images):
        hidden = torch.relu(self.body(images.flatten(1)))
        self.spare(hidden)
        return self.head(hidden)


class Branching(nn.Module):
    """Which of two layers is used is the image's doing."""

    def __init__(self):
        super().__init__()
        self.dark, self.bright = nn.Linear(PIXELS, CLASSES), nn.Linear(PIXELS, CLASSES)

    def forward(self, images):
        rows = [(self.bright if image.mean() > 0.5 else self.dark)(image.flatten()) for image in images]
        return torch.stack(rows)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.last = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, CLASSES)

    def forward(self, images):
        rows = images[:, 0]
        return self.last(self.attention(rows, rows, rows)[0].mean(1))


class Written(nn.Module):
    """What is written into in place, by a function."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(PIXELS, 9), nn.Linear(9, CLASSES)

    def forward(self, images):
        hidden = F.relu_(self.first(images.flatten(1)))
        hidden = 2 * hidden
        hidden += 1
        return self.last(hidden)


def convolutions(*layers):
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(CLASSES))


def dense(activation):
    return nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 9), activation, nn.Linear(9, CLASSES))


def frozen():
    model = dense(nn.Tanh())
    model[1].requires_grad_(False)
    return model


def normed():
    return convolutions(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(2), nn.LayerNorm(36))


ZOO = {
    "relu in place": lambda: dense(nn.ReLU(inplace=True)),
    "hardtanh in place": lambda: dense(nn.Hardtanh(inplace=True)),
    "leaky relu in place": lambda: dense(nn.LeakyReLU(inplace=True)),
    "silu in place": lambda: dense(nn.SiLU(inplace=True)),
    "dropout of nothing in place": lambda: dense(nn.Dropout(0.0, inplace=True)),
    "in place on the images": lambda: nn.Sequential(nn.Hardtanh(-0.5, 0.5, inplace=True), *dense(nn.Tanh())),
    "written into": Written,
    "layers used twice": Reused,
    "tied weights": Tied,
    "weights outside layers": Bare,
    "an unused head": Headed,
    "a branch on the image": Branching,
    "a frozen layer": frozen,
    "attention": Attention,
    "group and layer norm": normed,
    "a frozen batch norm": lambda: convolutions(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4).eval().requires_grad_(False)),
    "dilation and groups": lambda: convolutions(nn.Conv2d(2, 4, 3, dilation=2, groups=2, padding=1), nn.ReLU()),
    "circular padding": lambda: convolutions(nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"), nn.ReLU()),
    "a convolution of one dimension": lambda: convolutions(nn.Flatten(2), nn.Conv1d(2, 3, 5, stride=2), nn.Tanh()),
    "a transposed convolution": lambda: convolutions(nn.ConvTranspose2d(2, 3, 3, stride=2), nn.Tanh()),
    "weight norm": lambda: nn.Sequential(nn.Flatten(), parametrizations.weight_norm(nn.Linear(PIXELS, CLASSES))),
    "double precision": lambda: dense(nn.Tanh()).double(),
    "ours": lambda: models.resnet18(SHAPE, CLASSES, width=2, norm="group", seed=0).double(),
}


def images(count=6):
    seeded = torch.Generator().manual_seed(0)
    return torch.rand(count, *SHAPE, generator=seeded), torch.arange(count) % CLASSES


def made(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = ZOO[name]()
        model(images()[0].to(next(model.parameters()).dtype))  # gives lazy layers their size
    return model


def obviously(model, inputs, labels, clip, loss=federated.cross_entropy):
    """One example after the other, on a copy, by the textbook: {name: mean of the clipped gradients}."""
    total = {}
    for image, label in zip(inputs, labels, strict=True):
        one = copy.deepcopy(model)
        loss(one(image[None].clone()), label[None]).backward()
        found = {name: p.grad for name, p in one.named_parameters() if p.grad is not None}
        factor = min(1.0, clip / torch.cat([g.flatten() for g in found.values()]).norm().item())
        for name, value in found.items():
            total[name] = total.get(name, 0) + factor * value / len(inputs)
    return total


@pytest.mark.parametrize("clip", [0.2, 1e6])
@pytest.mark.parametrize("name", ZOO)
def test_the_release_is_that_of_one_example_after_the_other(name, clip):
    model, (inputs, labels) = made(name), images()
    expected = obviously(model, inputs.to(next(model.parameters()).dtype), labels, clip)
    before, state = inputs.clone(), copy.deepcopy(model.state_dict())
    released = dp_sgd.gradient(model, inputs, labels, clip=clip, noise=0.0)
    assert list(released) == [key for key, _ in model.named_parameters() if key in expected]
    for key, value in expected.items():
        torch.testing.assert_close(released[key], value, rtol=1e-5, atol=1e-5 * min(1, clip))
    assert torch.equal(inputs, before)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", ZOO)
def test_a_step_of_training_is_the_release(name):
    """All images in one mini-batch: what changes is what is released, and nothing else."""
    model, (inputs, labels) = made(name), images()
    released = dp_sgd.gradient(model, inputs, labels, clip=0.5, noise=0.3, seed=4)
    settings = {"clip": 0.5, "noise": 0.3, "epochs": 1, "batch": len(inputs), "lr": 0.7, "seed": 4}
    trained = dp_sgd.train(model, Client(inputs, labels), **settings)
    assert type(trained) is type(model)
    for (key, new), old in zip(trained.named_parameters(), model.parameters(), strict=True):
        moved = 0.7 * released[key] if key in released else torch.zeros_like(old)
        torch.testing.assert_close(old - new, moved, rtol=1e-4, atol=1e-6)
    assert all(torch.equal(a, b) for a, b in zip(trained.buffers(), model.buffers(), strict=True))


def test_what_is_left_out_does_not_tell_which_way_the_images_went():
    model, (inputs, labels) = made("a branch on the image"), images()
    bright = dp_sgd.gradient(model, inputs / 2 + 0.5, labels, clip=1.0, noise=1.0)
    assert set(bright) == {"dark.weight", "dark.bias", "bright.weight", "bright.bias"}
    assert bright["dark.weight"].std().item() == pytest.approx(1 / 6, rel=0.1)  # noise, as of all the others


def test_words_are_private_too():
    model = models.embedding_classifier(words=30, neurons=5, classes=2, seed=0)
    tokens, labels = torch.arange(4 * 250).view(4, 250) % 30, torch.tensor([0, 1, 1, 0])
    released = dp_sgd.gradient(model, tokens, labels, clip=0.05, noise=0.0)
    for key, value in obviously(model, tokens, labels, 0.05).items():
        torch.testing.assert_close(released[key], value, rtol=1e-5, atol=1e-7)


def test_training_minimises_the_loss_that_it_is_given():
    inputs, labels = images()
    model, labels = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 1)), labels % 2
    loss = federated.binary_cross_entropy
    released = dp_sgd.gradient(model, inputs, labels, clip=0.3, noise=0.0, loss=loss)
    settings = {"clip": 0.3, "noise": 0.0, "epochs": 1, "batch": 6, "lr": 1.0, "loss": loss}
    trained = dp_sgd.train(model, Client(inputs, labels), **settings)
    torch.testing.assert_close(model[1].weight - trained[1].weight, released["1.weight"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("targets", ["classes", "several", "soft"])
def test_another_loss_takes_its_own_targets(targets):
    """One logit, several labels an image, and shares of classes."""
    inputs, labels = images()
    model = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 1 if targets == "classes" else CLASSES))
    given, loss = {
        "classes": (labels % 2, federated.binary_cross_entropy),
        "several": (F.one_hot(labels, CLASSES).float(), F.binary_cross_entropy_with_logits),
        "soft": (torch.full((6, CLASSES), 1 / CLASSES), F.cross_entropy),
    }[targets]
    released = dp_sgd.gradient(model, inputs, given, clip=0.3, noise=0.0, loss=loss)
    for key, value in obviously(model, inputs, given, 0.3, loss).items():
        torch.testing.assert_close(released[key], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2)), r"layer '1' is BatchNorm2d.* without BatchNorm"),
        (nn.Sequential(nn.Flatten(), nn.BatchNorm1d(PIXELS, affine=False)), r"all its parameters are frozen"),
        (nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2, affine=False)), r"layer '1' is BatchNorm2d"),
        (
            nn.Sequential(nn.Conv2d(2, 2, 3), nn.InstanceNorm2d(2, track_running_stats=True)),
            r"layer '1' is InstanceNorm2d",
        ),
        (dense(nn.ReLU()).eval(), "it is in eval mode"),
        (dense(nn.ReLU()).requires_grad_(False), "all its parameters are frozen"),
        (dense(nn.Linear(3, 3)), r"cannot be differentiated for one example, \(1, 2, 8, 8\) with the target \[0\]"),
    ],
)
def test_what_cannot_be_private_is_refused_in_words(model, words):
    inputs, labels = images()
    with pytest.raises(ValueError, match=words):
        dp_sgd.gradient(model, inputs, labels, clip=1.0, noise=1.0)
    with pytest.raises(ValueError, match=words):
        dp_sgd.train(model, Client(inputs, labels), clip=1.0, noise=1.0, epochs=1, batch=3, lr=0.1)


def test_targets_are_as_many_as_the_examples():
    inputs, labels = images()
    with pytest.raises(ValueError, match="labels are not one for each of 6 examples"):
        dp_sgd.gradient(dense(nn.ReLU()), inputs, labels[:5], clip=1.0, noise=0.0, loss=federated.binary_cross_entropy)
