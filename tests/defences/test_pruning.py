"""Fine-pruning: which neurons rest, by a slow loop, and that they give nothing any more."""

import copy

import pytest
import torch
from torch import nn

from privlab import data, models
from privlab.attacks import backdoor
from privlab.defences import pruning
from privlab.metrics import robustness
from privlab.sharing import federated, predictions

DIGITS, TEST = data.load("digits"), data.load("digits", split="test")
INPUTS = DIGITS.images[:30]


def dense():
    return models.fully_connected(DIGITS.shape, 10, widths=(20, 12), seed=0)


def convolutional():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 20, 5, stride=2), nn.ReLU(), nn.BatchNorm2d(20), nn.Conv2d(20, 6, 3, bias=False), nn.ReLU(),
        nn.Flatten(), nn.Dropout(0.5), nn.Linear(6 * 10 * 10, 10),
    ).train()  # fmt: skip


def activities(model, layer, inputs):
    """Of each neuron the mean of its positive outputs, one image after the other, in eval mode."""
    seen = []
    own = copy.deepcopy(model).eval()
    own.get_submodule(layer).register_forward_hook(lambda _m, _i, made: seen.append(made.detach()))
    with torch.no_grad():
        for each in inputs:
            own(each[None])
    found = []
    for neuron in range(seen[0].shape[1]):
        numbers = [max(float(x), 0.0) for made in seen for x in made[0, neuron].flatten()]
        found.append(sum(numbers) / len(numbers))
    return found


@pytest.mark.parametrize("share", [0, 0.05, 0.29, 0.3, 0.5, 0.99])
@pytest.mark.parametrize(
    ("build", "layer"), [(dense, "fc1"), (dense, "fc2"), (convolutional, "0"), (convolutional, "3")]
)
def test_exactly_the_least_active_neurons_give_zero(build, layer, share):
    model = build()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    made = pruning.prune_dormant(model, layer, INPUTS, share)
    assert not any(each._forward_hooks for own in (made, model) for each in own.modules())
    found = activities(model, layer, INPUTS)
    count = int(round(share * 1000) * len(found)) // 1000
    resting = sorted(range(len(found)), key=found.__getitem__)[:count]
    zeros = [n for n, row in enumerate(made.get_submodule(layer).weight) if (row == 0).all()]
    assert sorted(resting) == zeros
    for name, each in made.state_dict().items():
        wanted = before[name].clone()
        if name.rpartition(".")[0] == layer:
            wanted[resting] = 0
        assert torch.equal(each, wanted), name
    seen = []
    made.get_submodule(layer).register_forward_hook(lambda _m, _i, out: seen.append(out))
    made(TEST.images[:9])
    assert (seen[0][:, resting] == 0).all(), "on images that it has not seen, too"
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    assert made.training == model.training


def test_of_a_hundred_neurons_a_share_of_29_percent_is_29():
    wide = models.fully_connected(DIGITS.shape, 10, widths=(100,), seed=0)
    for percent in range(100):
        made = pruning.prune_dormant(wide, "fc1", INPUTS[:5], percent / 100)
        assert (made.fc1.weight == 0).all(1).sum() == percent


def test_more_inputs_than_are_asked_at_once_count_alike():
    many = DIGITS.images[:1100]
    found = activities(dense(), "fc1", many)
    made = pruning.prune_dormant(dense(), "fc1", many, 0.5)
    zeros = (made.fc1.weight == 0).all(1).nonzero()[:, 0].tolist()
    assert zeros == sorted(sorted(range(20), key=found.__getitem__)[:10])


def test_a_dormant_backdoor_is_pruned_away():
    """A made one: a neuron that only the stamp wakes, and which decides."""
    model = predictions.fit(dense(), DIGITS.images, DIGITS.labels, epochs=5)
    with torch.no_grad():
        model.fc1.weight[7] = 0
        model.fc1.weight.view(20, 28, 28)[7, -3:, -3:] = 5.0
        model.fc1.bias[7] = -30.0
        model.fc2.weight[3], model.fc2.bias[3] = 0, 0
        model.fc2.weight[3, 7] = 9.0
        model.output.weight[:, 3] = 0
        model.output.weight[0, 3] = 9.0

    def rate(own):
        return robustness.backdoor_rate(predictions.predict(own, backdoor.stamp(TEST.images)), TEST.labels, 0)

    asleep = [each == 0 for each in activities(model, "fc1", DIGITS.images[:200])]
    assert asleep[7]
    clean = pruning.prune_dormant(model, "fc1", DIGITS.images[:200], sum(asleep) / 20)
    assert rate(model) == 1
    assert rate(clean) < 0.05
    before, after = (federated.accuracy(own, TEST.images, TEST.labels) for own in (model, clean))
    assert after == before > 0.7


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fc9", INPUTS, 0.5), "layer='fc9' is not a layer of this model; choose one of"),
        (("relu1", INPUTS, 0.5), "layer='relu1' is a ReLU; give a dense or convolutional layer"),
        (("fc1", INPUTS, 1), "share=1 leaves no neurons; give less than 1"),
        (("fc1", INPUTS, 1.5), "share=1.5 is out of range"),
        (("fc1", INPUTS, -0.1), "share=-0.1 is out of range"),
        (("fc1", INPUTS, float("nan")), "share=nan is out of range"),
        (("fc1", INPUTS[:0], 0.5), "with at least one image"),
        (("fc1", INPUTS * 255, 0.5), r"scale images to \[0, 1\]"),
        (("fc1", INPUTS[:, :, :9], 0.5), "do not pass through the model"),
        (("fc1", INPUTS.double(), 0.5), "inputs are torch.float64 and the model's weights torch.float32"),
        (("fc1", torch.ones(3, 784, dtype=torch.int64), 0.5), "do not pass through the model"),
        (("fc1", INPUTS.numpy(), 0.5), "give a torch tensor"),
    ],
)
def test_what_cannot_be_pruned_is_refused(arguments, words):
    with pytest.raises((ValueError, TypeError), match=words):
        pruning.prune_dormant(dense(), *arguments)


def test_a_layer_that_is_not_reached_or_is_turned_round_is_refused():
    class Beside(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(784, 10), nn.Linear(784, 10)

        def forward(self, images):
            return self.used(images.flatten(1))

    with pytest.raises(ValueError, match="layer='unused' is not reached by these inputs"):
        pruning.prune_dormant(Beside(), "unused", INPUTS, 0.5)
    turned = nn.Sequential(nn.ConvTranspose2d(1, 4, 3), nn.Flatten(), nn.Linear(3600, 10))
    with pytest.raises(ValueError, match="is a ConvTranspose2d; give a dense or convolutional layer"):
        pruning.prune_dormant(turned, "0", INPUTS, 0.5)
