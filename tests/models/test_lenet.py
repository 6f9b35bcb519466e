"""LeNet: the networks of the papers by their numbers of weights, and each knob by what it changes."""

import pytest
import torch
from torch import nn

from privlab import models
from privlab.models.initialisation import draw_like_pytorch


def names(network):
    return [name for name, _ in network.named_children()]


def test_the_default_is_lenet_5_for_grey_images():
    """LeCun et al. 1998 for 32 x 32 without padding has 61,706 weights; padded 28 x 28 ends at 16 maps of 7 x 7."""
    network = models.lenet((1, 28, 28), 10)
    sizes = [sum(p.numel() for p in layer.parameters()) for layer in network if list(layer.parameters())]
    assert sizes == [1 * 6 * 25 + 6, 6 * 16 * 25 + 16, 16 * 49 * 120 + 120, 120 * 84 + 84, 84 * 10 + 10]
    assert network(torch.rand(3, 1, 28, 28)).shape == (3, 10)


def test_the_network_of_dlg_is_one_of_them():
    """Zhu et al.: three convolutions of 12 filters with strides 2, 2 and 1, and one dense layer of 768 inputs."""
    network = models.lenet(
        (3, 32, 32), 10, filters=(12, 12, 12), fc=(), pool="stride", activation="sigmoid", init="uniform:0.5"
    )
    assert names(network) == ["conv1", "sigmoid1", "conv2", "sigmoid2", "conv3", "sigmoid3", "flatten", "output"]
    assert [layer.stride for layer in network if isinstance(layer, nn.Conv2d)] == [(2, 2), (2, 2), (1, 1)]
    assert network.output.in_features == 768


def test_layers_are_named_after_kind_and_number():
    network = models.lenet((1, 8, 8), 2, fc=(5,), activation="tanh", pool="average")
    assert names(network) == [
        *("conv1", "tanh1", "pool1", "conv2", "tanh2", "pool2", "flatten", "fc1", "tanh3", "output"),
    ]
    assert isinstance(network.pool2, nn.AvgPool2d)


@pytest.mark.parametrize("pool", ["max", "average", "stride"])
@pytest.mark.parametrize(("pooled", "side"), [(0, 9), (1, 5), (2, 3)])
def test_only_pooling_makes_maps_smaller(pool, pooled, side):
    if pool != "stride":
        side = 9 // 2**pooled
    network = models.lenet((2, 9, 9), 3, filters=(4, 5, 6), pool=pool, pooled=pooled)
    front, _ = models.cut(network, "relu3")
    assert front(torch.rand(1, 2, 9, 9)).shape == (1, 6, side, side)


@pytest.mark.parametrize(
    ("kind", "sizes"), [(nn.Linear, (7, 5)), (nn.Conv2d, (3, 4, 5)), (nn.ConvTranspose2d, (3, 4, 5))]
)
def test_weights_are_drawn_as_pytorch_draws_them(kind, sizes):
    """The same numbers in the same order; PyTorch takes them from its global generator."""
    ours = nn.utils.skip_init(kind, *sizes)
    draw_like_pytorch(nn.Sequential(ours), 3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        theirs = kind(*sizes)
    for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(mine, its, atol=1e-7)


def test_the_frameworks_initialisation_has_the_bounds_of_pytorch():
    ours = models.lenet((3, 32, 32), 10, filters=(40, 40))
    torch_own = [nn.Conv2d(3, 40, 5), nn.Conv2d(40, 40, 5), nn.Linear(40 * 64, 120)]
    for layer, own in zip((ours.conv1, ours.conv2, ours.fc1), torch_own, strict=True):
        for name in ("weight", "bias"):
            drawn, expected = getattr(layer, name), getattr(own, name)
            bound = 1 / own.weight[0].numel() ** 0.5
            assert 0.9 * bound < drawn.abs().max() <= bound
            assert drawn.std().item() == pytest.approx(expected.std().item(), rel=0.35 if name == "bias" else 0.05)


def test_a_width_bounds_weights_and_biases_alike():
    network = models.lenet((3, 32, 32), 10, init="uniform:0.5")
    for parameter in network.parameters():
        assert parameter.abs().max() <= 0.5
        assert parameter.abs().max() > 0.2  # PyTorch would stay below 0.12
    assert network.fc1.weight.std().item() == pytest.approx(0.5 / 3**0.5, rel=0.02)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_state_alone():
    before = torch.get_rng_state()
    first, again, other = (models.lenet((1, 8, 8), 2, seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.conv1.weight, other.conv1.weight)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"shape": (8, 8)}, "give"),
        ({"filters": ()}, "filters is empty"),
        ({"filters": (0,)}, "filters=0"),
        ({"kernel": 4}, "give an odd one"),
        ({"pool": "min"}, "choose one of max, average, stride"),
        ({"pooled": 3}, "pooled=3"),
        ({"shape": (1, 3, 8)}, "cannot be halved 2 times"),
        ({"activation": "gelu"}, "choose one of relu, tanh, sigmoid"),
        ({"init": "uniform:"}, "needs a width, as in uniform:0.5"),
    ],
)
def test_bad_networks_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        models.lenet(**{"shape": (1, 8, 8), "classes": 2, **arguments})
