"""AlexNet and ResNet-18: by the papers' numbers, and ResNet against one written straight down."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from privlab import models


def weights(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_alexnet_has_the_filters_and_neurons_of_the_paper():
    network = models.alexnet((3, 32, 32), 10)
    convolutions = [layer for layer in network if isinstance(layer, nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [64, 192, 384, 256, 256]
    assert [layer.kernel_size[0] for layer in convolutions] == [5, 5, 3, 3, 3]
    assert [layer.stride for layer in convolutions] == [(1, 1)] * 5
    dense = [layer for layer in network if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in dense] == [4096, 4096, 10]
    assert dense[0].in_features == 256 * 4 * 4
    by_hand = sum(
        (inputs * kernel**2 + 1) * outputs
        for inputs, outputs, kernel in [
            *((3, 64, 5), (64, 192, 5), (192, 384, 3), (384, 256, 3), (256, 256, 3)),
            *((4096, 4096, 1), (4096, 4096, 1), (4096, 10, 1)),
        ]
    )
    assert weights(network) == by_hand
    assert round(by_hand / 1e6) == 36  # as the docstring says


def test_alexnets_layers_are_named_and_pooled_where_the_paper_pools():
    network = models.alexnet((1, 28, 28), 7, width=0.05, activation="tanh", pool="average")
    assert [name for name, _ in network.named_children()] == [
        *("conv1", "tanh1", "pool1", "conv2", "tanh2", "pool2", "conv3", "tanh3", "conv4", "tanh4"),
        *("conv5", "tanh5", "pool5", "flatten", "fc1", "tanh6", "fc2", "tanh7", "output"),
    ]
    assert isinstance(network.pool5, nn.AvgPool2d)
    assert isinstance(models.alexnet((1, 28, 28), 7, width=0.05).pool1, nn.MaxPool2d)
    assert [network.conv1.out_channels, network.conv3.out_channels, network.fc1.out_features] == [3, 19, 205]
    assert network(torch.rand(3, 1, 28, 28)).shape == (3, 7)
    strided = models.alexnet((1, 28, 28), 7, width=0.05, pool="stride")
    assert [layer.stride[0] for layer in strided if isinstance(layer, nn.Conv2d)] == [2, 2, 1, 1, 2]
    assert not any("pool" in name for name, _ in strided.named_children())


@pytest.mark.parametrize("pool", ["max", "stride"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 30)])
def test_alexnet_takes_small_images_and_narrow_widths(shape, pool):
    assert models.alexnet(shape, 3, width=1e-3, pool=pool)(torch.rand(2, *shape)).shape == (2, 3)


def test_alexnets_initialisation_is_the_one_that_was_asked_for():
    assert models.alexnet((1, 8, 8), 3, width=0.1, init="uniform:0.5").fc1.weight.abs().max() > 0.49
    network = models.alexnet((1, 8, 8), 3, width=0.1)
    assert 0.9 * 410**-0.5 < network.fc2.weight.abs().max() <= 410**-0.5


SMALL = {
    "alexnet": lambda **k: models.alexnet((1, 8, 8), 3, width=0.01, **k),
    "resnet18": lambda **k: models.resnet18((1, 8, 8), 3, width=2, **k),
    "resnet18, group": lambda **k: models.resnet18((1, 8, 8), 3, width=2, norm="group", **k),
}


@pytest.mark.parametrize("kind", SMALL)
def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_state_alone(kind):
    before = torch.get_rng_state()
    first, again, other = (SMALL[kind](seed=seed) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.conv1.weight, other.conv1.weight)
    assert not torch.equal(first.output.bias, other.output.bias)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("shape", "classes", "count"),
    [
        ((3, 224, 224), 1000, 11_689_512),  # torchvision's
        ((3, 224, 224), 10, 11_181_642),
        ((3, 32, 32), 10, 11_173_962),  # with the small beginning that is usual for CIFAR-10
    ],
)
def test_resnet_18_has_the_published_number_of_weights(shape, classes, count):
    assert weights(models.resnet18(shape, classes)) == count


def written_down(network, images, norm):
    """ResNet-18 from its weights by name: torch's functions and nothing of the class's own forward."""
    state = dict(network.state_dict())

    def conv(name, x, stride=1):
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def normed(name, x):
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        if norm == "group":
            return F.group_norm(x, min(8, len(weight)), weight, bias)
        return F.batch_norm(x, state[f"{name}.running_mean"], state[f"{name}.running_var"], weight, bias)

    large = images.shape[-1] >= 64
    x = F.relu(normed("norm1", conv("conv1", images, 2 if large else 1)))
    x = F.max_pool2d(x, 3, 2, 1) if large else x
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            name, stride = f"stage{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            inner = F.relu(normed(f"{name}.norm1", conv(f"{name}.conv1", x, stride)))
            inner = normed(f"{name}.norm2", conv(f"{name}.conv2", inner))
            if stride == 2:
                x = normed(f"{name}.around.1", conv(f"{name}.around.0", x, stride))
            x = F.relu(inner + x)
    return x.mean((2, 3)) @ state["output.weight"].T + state["output.bias"]


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("side", [32, 63, 64])
def test_resnet_18_is_the_one_written_down(norm, side, seeded):
    network = models.resnet18((3, side, side), 5, width=4, norm=norm).eval()
    with torch.no_grad():
        for value in [*network.parameters(), *network.buffers()]:
            if value.is_floating_point() and value.dim() == 1:
                value.uniform_(0.5, 1.5, generator=seeded)
        images = torch.rand(2, 3, side, side, generator=seeded)
        expected = written_down(network, images, norm)
        torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-5)
    assert network.conv1.weight.shape[-1] == (7 if side == 64 else 3)
    names = [name for name, _ in network.named_children()]
    stages = [f"stage{number}" for number in (1, 2, 3, 4)]
    pool1 = ["pool1"] if side == 64 else []
    assert names == ["conv1", "norm1", "relu1", *pool1, *stages, "pool", "flatten", "output"]


def test_groups_are_eight_or_as_many_as_divide_the_maps():
    groups = {width: models.resnet18((1, 8, 8), 2, width=width, norm="group").norm1.num_groups for width in (6, 16, 7)}
    assert groups == {6: 6, 16: 8, 7: 7}
    assert models.resnet18((1, 8, 8), 2, width=10, norm="group").norm1.num_groups == 5


def test_group_norm_treats_each_image_by_itself_and_batch_norm_does_not(seeded):
    images = torch.rand(4, 1, 16, 16, generator=seeded)
    for norm, same in (("group", True), ("batch", False)):
        network = models.resnet18((1, 16, 16), 3, width=4, norm=norm).train()
        assert torch.allclose(network(images)[:2], network(images[:2]), atol=1e-5) == same


def test_weights_are_drawn_as_pytorch_draws_them_and_norms_begin_at_one_and_zero():
    network = models.resnet18((3, 32, 32), 10, width=16)
    drawn = 0
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            bound = layer.weight[0].numel() ** -0.5
            assert 0.85 * bound < layer.weight.abs().max() <= bound
            assert abs(layer.weight.mean()) < 0.15 * bound
            drawn += 1
        elif isinstance(layer, nn.BatchNorm2d):
            assert (layer.weight == 1).all()
            assert (layer.bias == 0).all()
    assert drawn == 1 + 16 + 3 + 1
    assert 0 < network.output.bias.abs().max() <= 128**-0.5


@pytest.mark.parametrize(
    ("build", "arguments", "words"),
    [
        (models.alexnet, {"shape": (8, 8)}, "is not that of an image of 8 x 8 or more"),
        (models.alexnet, {"shape": (1, 8, 7)}, "8 x 8 or more"),
        (models.alexnet, {"shape": (0, 8, 8)}, "shape=0"),
        (models.alexnet, {"classes": 0}, "classes=0"),
        (models.alexnet, {"width": 0.0}, "width=0.0"),
        (models.alexnet, {"pool": "min"}, "choose one of max, average, stride"),
        (models.alexnet, {"activation": "gelu"}, "choose one of relu, tanh, sigmoid"),
        (models.alexnet, {"init": "zeros"}, "init='zeros'"),
        (models.resnet18, {"shape": (8, 8)}, "is not that of an image"),
        (models.resnet18, {"shape": (0, 8, 8)}, "shape=0"),
        (models.resnet18, {"classes": 0}, "classes=0"),
        (models.resnet18, {"width": 0}, "width=0"),
        (models.resnet18, {"norm": "layer"}, "choose one of batch, group"),
    ],
)
def test_bad_networks_are_refused(build, arguments, words):
    with pytest.raises(ValueError, match=words):
        build(**{"shape": (1, 8, 8), "classes": 2, **arguments})
