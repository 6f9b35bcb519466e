"""The small network after MobileNet, for images and signals of any size."""

import pytest
import torch
from torch import nn

from privlab import models

LAYERS = ["conv1", "relu1"]
LAYERS += [f"{kind}{number + (kind == 'relu')}" for number in (1, 2, 3) for kind in ("depth", "point", "relu")]
LAYERS += ["pool", "flatten", "fc1", "relu5", "output"]


@pytest.mark.parametrize(
    "shape", [(1, 28, 28), (3, 32, 17), (1, 8, 8), (2, 5, 3), (1, 1, 1), (1, 256), (2, 31), (1, 1)], ids=str
)
def test_images_and_signals_of_any_size_are_classified(shape):
    net = models.mobile(shape, 7, width=3, neurons=5)
    for count in (1, 4):
        made = net(torch.rand(count, *shape))
        assert made.shape == (count, 7)
        assert made.isfinite().all()


def test_the_layers_have_their_names_in_their_order():
    for shape in ((1, 12, 12), (1, 12)):
        assert [name for name, _ in models.mobile(shape, 3).named_children()] == LAYERS


@pytest.mark.parametrize(("shape", "kinds"), [((3, 32, 32), (nn.Conv2d, 2)), ((3, 64), (nn.Conv1d, 1))], ids=str)
def test_convolutions_are_of_one_map_each_and_then_of_one_place(shape, kinds):
    """Depthwise, a filter a map; then one by one; maps are 1, 2, 4 and 4 times the width, sides a half thrice."""
    kind, sides = kinds
    net = models.mobile(shape, 5, width=6)
    for number, (maps, made, stride) in enumerate(((6, 12, 2), (12, 24, 2), (24, 24, 1)), start=1):
        depth, point = (net.get_submodule(f"{name}{number}") for name in ("depth", "point"))
        assert isinstance(depth, kind)
        assert (depth.groups, depth.in_channels, depth.out_channels, depth.stride) == (
            maps,
            maps,
            maps,
            (stride,) * sides,
        )
        assert (point.groups, point.in_channels, point.out_channels) == (1, maps, made)
        assert point.kernel_size == (1,) * sides
        assert depth.weight.shape[1] == 1
    features = net[: LAYERS.index("pool")](torch.rand(1, *shape))
    assert features.shape == (1, 24, *(side // 8 for side in shape[1:]))
    pooled = net[: LAYERS.index("flatten")](torch.rand(1, *shape))
    assert pooled.flatten(1).shape == (1, 24 * 16)


def test_a_depthwise_convolution_is_one_filter_for_each_map():
    net = models.mobile((1, 10, 10), 2, width=3)
    maps = torch.rand(2, 3, 7, 7)
    made = net.depth1(maps)
    for row in range(3):
        alone = nn.functional.conv2d(
            maps[:, row : row + 1], net.depth1.weight[row : row + 1], net.depth1.bias[row : row + 1], 2, 1
        )
        assert torch.allclose(made[:, row : row + 1], alone, atol=1e-6)


def test_nothing_in_it_draws_or_counts():
    """So that clients with few images can train it side by side."""
    net = models.mobile((1, 9, 9), 3).train()
    images = torch.rand(4, 1, 9, 9)
    assert torch.equal(net(images), net(images))
    assert torch.allclose(net(images)[:1], net(images[:1]), atol=1e-6)
    assert not list(net.buffers())


def test_the_seed_alone_decides_the_weights_and_the_global_state_stays():
    state = torch.get_rng_state()
    first, again, other = (models.mobile((1, 9, 9), 3, seed=seed) for seed in (4, 4, 5))
    for one, same, different in zip(first.parameters(), again.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, same)
        assert not torch.equal(one, different)
    assert torch.equal(state, torch.get_rng_state())


def test_it_learns():
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 2
    images = torch.rand(60, 1, 8, 8, generator=random) * 0.3
    images[labels == 1, :, 2:5] += 0.6
    net = models.mobile((1, 8, 8), 2)
    step = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(60):
        step.zero_grad()
        nn.functional.cross_entropy(net(images), labels).backward()
        step.step()
    assert (net(images).argmax(1) == labels).float().mean() > 0.95


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"shape": (28,)}, ValueError, r"shape=\(28,\) is neither an image's nor a signal's; give \(C, H, W\) or"),
        ({"shape": (2, 1, 28, 28)}, ValueError, "neither an image's nor a signal's"),
        ({"shape": (1, 0, 28)}, ValueError, "shape=0 is out of range"),
        ({"shape": (1, 28.0)}, TypeError, r"shape=28\.0 is a float"),
        ({"classes": 0}, ValueError, "classes=0"),
        ({"width": 0}, ValueError, "width=0"),
        ({"neurons": -3}, ValueError, "neurons=-3"),
    ],
)
def test_bad_networks_are_refused_in_words(arguments, error, words):
    with pytest.raises(error, match=words):
        models.mobile(**{"shape": (1, 9, 9), "classes": 3, **arguments})
