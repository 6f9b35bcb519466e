"""DP-SGD of a chain of dense and convolutional layers, in one pass: against one example after the other, and Opacus."""

import copy
import re

import pytest
import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from torch import nn
from torch.nn import functional as F

from privlab import models
from privlab.defences import _layerwise, dp_sgd
from privlab.sharing import federated
from privlab.sharing.federated import Client

SHAPE, CLASSES, COUNT = (2, 9, 8), 3, 7
PIXELS = 2 * 9 * 8


def images(count=COUNT):
    random = torch.Generator().manual_seed(1)
    return torch.rand(count, *SHAPE, generator=random), torch.arange(count) % CLASSES


def closed(*layers, inputs=None):
    """The layers, and a dense one behind them."""
    body = nn.Sequential(*layers, nn.Flatten())
    return nn.Sequential(body, nn.Linear(body(images()[0] if inputs is None else inputs).shape[1], CLASSES))


def partly_frozen(*names):
    model = closed(nn.Conv2d(2, 3, 3), nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3), nn.Tanh())
    for name in names:
        model.get_parameter(name).requires_grad_(False)
    return model


CHAINS = {
    "lenet": lambda: models.lenet(SHAPE, CLASSES, filters=(3, 4), fc=(8, 5), seed=0),
    "lenet of stride": lambda: models.lenet(SHAPE, CLASSES, pool="stride", activation="sigmoid", fc=(), seed=0),
    "dense": lambda: models.fully_connected(SHAPE, CLASSES, widths=(6, 5), seed=0),
    "dense without bias": lambda: nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, CLASSES, bias=False)),
    "stride, padding, dilation": lambda: closed(
        nn.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(1, 3), bias=False), nn.GELU()
    ),
    "rest of a stride": lambda: closed(nn.Conv2d(2, 3, 2, stride=3), nn.Tanh()),
    "padded to the same": lambda: closed(nn.Conv2d(2, 3, (4, 3), padding="same"), nn.AvgPool2d(2)),
    "channels last": lambda: closed(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2)).to(memory_format=torch.channels_last),
    "one dimension": lambda: closed(nn.Flatten(2), nn.Conv1d(2, 3, 5, stride=2, padding=1, dilation=2), nn.Tanh()),
    "in place": lambda: nn.Sequential(nn.ReLU(inplace=True), *partly_frozen()),
    "frozen first": lambda: partly_frozen("0.0.weight", "0.0.bias"),
    "frozen middle": lambda: partly_frozen("0.2.weight", "0.2.bias"),
    "frozen in parts": lambda: partly_frozen("0.0.bias", "0.2.weight", "1.weight"),
    "double": lambda: closed(nn.Conv2d(2, 3, 3), nn.ReLU()).double(),
}


class Functional(nn.Sequential):
    """Calls its layer by function, a second time."""

    def forward(self, inputs):
        return super().forward(inputs) + F.linear(inputs.flatten(1), self[1].weight)


def twice():
    same = nn.Linear(6, 6)
    return nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 6), same, nn.Tanh(), same, nn.Linear(6, CLASSES))


def shared():
    model = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, 6))
    model[4].weight = model[3].weight
    return nn.Sequential(*model, nn.Linear(6, CLASSES))


def hooked():
    model = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 6), nn.Linear(6, CLASSES))
    model[1].register_forward_hook(lambda _layer, _inputs, output: output * output)
    return model


def patched():
    model = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, CLASSES))
    model[1].forward = lambda inputs: F.linear(inputs, model[1].weight.square(), model[1].bias)
    return model


OTHERS = {
    "a layer twice": twice,
    "a weight shared": shared,
    "by function": lambda: Functional(nn.Flatten(), nn.Linear(PIXELS, CLASSES)),
    "a hook": hooked,
    "parametrized": lambda: nn.Sequential(
        nn.Flatten(), nn.utils.parametrizations.weight_norm(nn.Linear(PIXELS, CLASSES))
    ),
    "groups": lambda: closed(nn.Conv2d(2, 4, 3, groups=2), nn.ReLU()),
    "circular": lambda: closed(nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular")),
    "group norm": lambda: closed(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4)),
}


def made(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {**CHAINS, **OTHERS}[name]()


def slow(model, inputs, labels, loss=federated.cross_entropy):
    """Of each example, its gradient by name, by `backward` on a copy."""
    rows = []
    for image, label in zip(inputs.to(next(model.parameters()).dtype), labels, strict=True):
        own = copy.deepcopy(model)
        loss(own(image[None].clone()), label[None]).backward()
        rows.append({name: each.grad for name, each in own.named_parameters() if each.requires_grad})
    return rows


def length(row):
    return torch.stack([each.double().norm() for each in row.values()]).norm().item()


def refuse(*_arguments, **_settings):
    raise AssertionError("the slower way was taken")


@pytest.fixture
def alone(monkeypatch):
    """Only the one pass is left."""
    monkeypatch.setattr(dp_sgd, "_together", refuse)
    monkeypatch.setattr(dp_sgd, "_one_by_one", refuse)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_is_done_in_one_pass_and_equals_one_example_after_the_other(name, alone):
    model, (inputs, labels) = made(name), images()
    rows, before = slow(model, inputs, labels), inputs.clone()
    clip = sorted(map(length, rows))[COUNT // 2]
    each = dp_sgd.per_example(model, inputs, labels)
    sent = dp_sgd.gradient(model, inputs, labels, clip=clip, noise=0.0).tensors
    assert list(each) == list(sent) == list(rows[0])
    for key, found in sent.items():
        torch.testing.assert_close(each[key], torch.stack([row[key] for row in rows]), rtol=1e-4, atol=1e-6)
        mean = sum(row[key] * min(1, clip / length(row)) for row in rows) / COUNT
        torch.testing.assert_close(found, mean, rtol=1e-4, atol=1e-6)
    assert torch.equal(inputs, before)
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_such_chain_goes_another_way_and_is_right(name, monkeypatch):
    monkeypatch.setattr(_layerwise, "gradients", refuse)
    model, (inputs, labels) = made(name), images()
    assert _layerwise.chain(model, federated.cross_entropy) is None
    rows = slow(model, inputs, labels)
    for key, found in dp_sgd.per_example(model, inputs, labels).items():
        torch.testing.assert_close(found, torch.stack([row[key] for row in rows]), rtol=1e-4, atol=1e-6)


def test_any_other_class_loss_or_weight_is_not_taken_for_a_chain():
    class Own(nn.Linear):
        pass

    plain = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, CLASSES))
    assert _layerwise.chain(plain, federated.cross_entropy)
    assert not _layerwise.chain(plain, lambda logits, labels: F.cross_entropy(logits, labels))
    assert not _layerwise.chain(nn.Sequential(nn.Flatten(), Own(PIXELS, 3)), federated.cross_entropy)
    assert not _layerwise.chain(nn.Sequential(nn.Flatten(0), nn.Linear(PIXELS, 3)), federated.cross_entropy)
    assert not _layerwise.chain(nn.Linear(PIXELS, 3), federated.cross_entropy)
    plain.register_parameter("spare", nn.Parameter(torch.zeros(3)))
    assert not _layerwise.chain(plain, federated.cross_entropy)


@pytest.mark.parametrize("targets", ["yes or no", "several", "soft"])
def test_losses_with_other_targets_are_done_in_one_pass(targets, alone):
    inputs, labels = images()
    model = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 1 if targets == "yes or no" else CLASSES))
    given, loss = {
        "yes or no": (labels % 2, federated.binary_cross_entropy),
        "several": (F.one_hot(labels, CLASSES), federated.binary_cross_entropy),
        "soft": (torch.rand(COUNT, CLASSES, generator=torch.Generator().manual_seed(0)).softmax(1), F.cross_entropy),
    }[targets]
    rows = slow(model, inputs, given, loss)
    for key, found in dp_sgd.per_example(model, inputs, given, loss=loss).items():
        torch.testing.assert_close(found, torch.stack([row[key] for row in rows]), rtol=1e-4, atol=1e-6)


def test_dropout_falls_as_when_examples_are_done_by_themselves(monkeypatch):
    model, (inputs, labels) = closed(nn.Conv2d(2, 4, 3), nn.Dropout(0.4), nn.MaxPool2d(2), nn.Dropout()), images()
    one_pass = dp_sgd.per_example(model, inputs, labels)
    monkeypatch.setattr(_layerwise, "chain", lambda _model, _loss: None)
    for key, found in dp_sgd.per_example(model, inputs, labels).items():
        torch.testing.assert_close(one_pass[key], found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("bytes_", [1, 1000])
@pytest.mark.parametrize("name", ["lenet", "group norm"])
def test_a_mini_batch_in_parts_is_the_same(name, bytes_, monkeypatch):
    model, (inputs, labels) = made(name), images()
    how = {"clip": 0.5, "noise": 0.3, "seed": 4}
    whole, sizes, each = dp_sgd.gradient(model, inputs, labels, **how), [], dp_sgd._each
    monkeypatch.setattr(dp_sgd, "AT_ONCE", bytes_ * (1 if name == "group norm" else 4))
    monkeypatch.setattr(_layerwise, "AT_ONCE", 1)
    monkeypatch.setattr(dp_sgd, "_each", lambda *given: sizes.append(len(given[1])) or each(*given))
    for key, found in dp_sgd.gradient(model, inputs, labels, **how).tensors.items():
        torch.testing.assert_close(found, whole[key], rtol=1e-4, atol=1e-6)
    assert sum(sizes) == COUNT
    assert len(sizes) > 1


@pytest.mark.parametrize("name", ["lenet", "dense", "group norm"])
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_training_is_that_of_opacus_draw_by_draw(name):
    """All images in every mini-batch: four steps of its hooks and optimiser."""
    model, (inputs, labels) = made(name), images()
    theirs = GradSampleModule(copy.deepcopy(model))
    optimiser = DPOptimizer(
        torch.optim.SGD(theirs.parameters(), lr=0.3),
        noise_multiplier=0.8,
        max_grad_norm=0.4,
        expected_batch_size=COUNT,
        generator=dp_sgd._noise_generator(torch.device("cpu"), 5),
    )
    for _ in range(4):
        optimiser.zero_grad()
        federated.cross_entropy(theirs(inputs), labels).backward()
        optimiser.step()
    how = {"clip": 0.4, "noise": 0.8, "epochs": 4, "batch": COUNT, "lr": 0.3, "seed": 5}
    mine = dp_sgd.train(model, Client(inputs, labels), **how)
    for one, other, old in zip(mine.parameters(), theirs.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
        assert not torch.equal(one, old)


def calls(model, inputs, labels):
    client = Client(inputs.detach(), labels)
    return {
        "per_example": lambda: dp_sgd.per_example(model, inputs, labels, clip=0.3),
        "gradient": lambda: dp_sgd.gradient(model, inputs, labels, clip=0.3, noise=0.5).tensors,
        "train": lambda: dict(
            dp_sgd.train(model, client, clip=0.3, noise=0.5, epochs=1, batch=3, lr=0.1).named_parameters()
        ),
    }


@pytest.mark.parametrize("name", ["lenet", "group norm", "a hook"])
def test_it_works_where_gradients_are_off_and_leaves_no_graph(name):
    model, (inputs, labels) = made(name), images()
    wanted = {call: run() for call, run in calls(model, inputs, labels).items()}
    for call, run in calls(model, inputs.requires_grad_(), labels).items():
        with torch.no_grad():
            off = run()
        for key, found in run().items():
            assert torch.equal(found, wanted[call][key])
            assert torch.equal(off[key], found)
            assert found.grad_fn is None
            assert call == "train" or not found.requires_grad


@pytest.mark.parametrize("name", ["lenet", "group norm"])
def test_a_gradient_that_is_not_finite_is_refused_since_no_clip_bounds_it(name):
    model, (inputs, labels) = made(name), images()
    with torch.no_grad():
        for each in model.parameters():
            each.fill_(3e38)
    for run in calls(model, inputs, labels).values():
        with pytest.raises(FloatingPointError, match=r"of \d examples hold inf or nan, and no clip bounds .* give"):
            run()
    with pytest.raises(FloatingPointError, match="7 of 7 examples"):
        dp_sgd.per_example(model, inputs, labels)


@pytest.mark.parametrize("one_pass", [True, False])
@pytest.mark.parametrize(("dtype", "scale"), [(torch.float16, 900.0), (torch.float32, 1e25)])
def test_long_gradients_are_clipped_though_their_squares_overflow(dtype, scale, one_pass, monkeypatch):
    if not one_pass:
        monkeypatch.setattr(_layerwise, "chain", lambda _model, _loss: None)
    inputs, labels = images()
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Flatten(), nn.Linear(PIXELS, 4), nn.Linear(4, CLASSES))
        model[1].weight.mul_(1e-3)
        model[2].weight.fill_(0).index_put_((torch.arange(3), torch.arange(3)), torch.tensor(scale))
        model[1].weight.div_(scale)
        model[1].bias.zero_()
    sent = dp_sgd.gradient(model.to(dtype), inputs, labels, clip=0.5, noise=0.0).tensors
    exact = dp_sgd.gradient(copy.deepcopy(model).double(), inputs, labels, clip=0.5, noise=0.0).tensors
    assert length(exact) > 0.05
    for key, found in sent.items():
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), exact[key], rtol=1e-2, atol=1e-4)


def test_arguments_of_another_kind_are_refused_in_words():
    model, (inputs, labels) = made("dense"), images()
    client, how = Client(inputs, labels), {"clip": 1.0, "noise": 1.0}
    plan = {**how, "epochs": 1, "batch": 3, "lr": 0.1}
    for run, error, words in [
        (
            lambda: dp_sgd.gradient(model, inputs, labels, **how, seed=2**70),
            ValueError,
            f"seed={2**70} is out of range",
        ),
        (lambda: dp_sgd.train(model, client, **plan, seed=2**70), ValueError, f"seed={2**70} is out of range"),
        (lambda: dp_sgd.gradient("x", inputs, labels, **how), TypeError, "model is a str; give a torch.nn.Module"),
        (lambda: dp_sgd.per_example("x", inputs, labels), TypeError, "model is a str; give a torch.nn.Module"),
        (lambda: dp_sgd.train("x", client, **plan), TypeError, "model is a str; give a torch.nn.Module"),
        (
            lambda: dp_sgd.train(model, (inputs, labels), **plan),
            TypeError,
            "client is a tuple; give a federated.Client",
        ),
    ]:
        with pytest.raises(error, match=re.escape(words)):
            run()


def test_rows_that_are_not_examples_are_not_mistaken_for_them():
    """A dense layer on (B, T, F); and a convolution, frozen at that, which takes the examples for its channels."""
    inputs, labels = images()
    mixing = nn.Sequential(nn.Flatten(), nn.Conv1d(COUNT, COUNT, 1).requires_grad_(False), nn.Linear(PIXELS, CLASSES))
    assert mixing(inputs).shape == (COUNT, CLASSES)
    with pytest.raises(ValueError, match="cannot be differentiated for one example"):
        dp_sgd.gradient(mixing, inputs, labels, clip=1.0, noise=0.0)
    model = nn.Sequential(nn.Flatten(2), nn.Linear(72, 5), nn.Tanh(), nn.Flatten(), nn.Linear(10, CLASSES))
    rows = slow(model, inputs, labels)
    for key, found in dp_sgd.per_example(model, inputs, labels).items():
        torch.testing.assert_close(found, torch.stack([row[key] for row in rows]), rtol=1e-4, atol=1e-6)
