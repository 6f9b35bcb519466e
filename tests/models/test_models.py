import pytest
import torch
from torch import nn

from privlab import models


def test_the_default_network_is_the_papers_table_7():
    network = models.fully_connected((1, 28, 28), 10)
    dense = [layer.out_features for layer in network if isinstance(layer, nn.Linear)]
    assert dense == [1000, 3000, 3000, 2000, 1000, 10]
    assert isinstance(network.relu5, nn.ReLU)
    assert isinstance(network[-1], nn.Linear)


def test_layers_are_named_after_kind_and_number():
    network = models.fully_connected((3, 8, 8), 4, widths=(5, 6), activation="tanh")
    assert [name for name, _ in network.named_children()] == ["flatten", "fc1", "tanh1", "fc2", "tanh2", "output"]
    assert network(torch.rand(2, 3, 8, 8)).shape == (2, 4)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_state_alone():
    before = torch.get_rng_state()
    first, again, other = (models.fully_connected((4,), 2, widths=(3,), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.fc1.weight, again.fc1.weight)
    assert not torch.equal(first.fc1.weight, other.fc1.weight)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("init", "spread"),
    [
        ("xavier_normal", (2 / (300 + 200)) ** 0.5),
        ("xavier_uniform", (2 / (300 + 200)) ** 0.5),
        ("gaussian:0.5", 0.5),
        ("gaussian:2", 2.0),
    ],
)
def test_initialisations_have_the_spread_of_their_definition(init, spread):
    layer = models.initialise(nn.Linear(300, 200), init, seed=0)
    assert layer.weight.std().item() == pytest.approx(spread, rel=0.02)
    assert layer.weight.mean().item() == pytest.approx(0, abs=0.02 * spread)
    assert not layer.bias.any()


def test_xavier_uniform_is_bounded_as_by_glorot_and_bengio():
    layer = models.initialise(nn.Linear(300, 200), "xavier_uniform", seed=0)
    bound = (6 / 500) ** 0.5
    assert 0.99 * bound < layer.weight.abs().max().item() <= bound


@pytest.mark.parametrize("init", ["he", "gaussian", "gaussian:", "gaussian:-1", "gaussian:0", "gaussian:x"])
def test_unknown_initialisations_are_refused(init):
    with pytest.raises(ValueError, match="init"):
        models.initialise(nn.Linear(2, 2), init)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"shape": ()}, "shape is empty"),
        ({"shape": (0,)}, "at least 1"),
        ({"widths": ()}, "widths is empty"),
        ({"widths": (10, 0)}, "widths=0"),
        ({"classes": 0}, "classes=0"),
        ({"activation": "gelu"}, "choose one of relu, tanh, sigmoid"),
    ],
)
def test_bad_networks_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        models.fully_connected(**{"shape": (1, 4, 4), "classes": 2, **arguments})


@pytest.mark.parametrize("after", ["flatten", "fc1", "relu1", "fc2", "relu2"])
def test_the_two_halves_of_a_cut_make_the_whole(after):
    network = models.fully_connected((1, 4, 4), 3, widths=(5, 6))
    front, back = models.cut(network, after)
    images = torch.rand(2, 1, 4, 4)
    assert torch.equal(back(front(images)), network(images))
    assert list(dict(front.named_children()))[-1] == after


@pytest.mark.parametrize("after", ["pool9", "output", ""])
def test_a_cut_that_is_no_cut_lists_those_that_are(after):
    network = models.fully_connected((4,), 3, widths=(5,))
    with pytest.raises(ValueError, match=r"choose one of flatten, fc1, relu1$"):
        models.cut(network, after)


def test_the_initialisation_reaches_the_network():
    network = models.fully_connected((300,), 10, widths=(200,), init="gaussian:2")
    assert network.fc1.weight.std().item() == pytest.approx(2, rel=0.05)


def test_xavier_normal_is_normal_and_not_uniform():
    weight = models.initialise(nn.Linear(300, 200), "xavier_normal", seed=0).weight
    assert weight.abs().max() > 3 * weight.std()


def test_the_convolutional_network_is_the_papers_table_7():
    with torch.device("meta"):
        layers = [nn.Conv2d(3, 128, 3, padding=1), nn.Conv2d(128, 256, 3, padding=1), nn.Conv2d(256, 512, 3, padding=1)]
    network = models.vgg_inspired((3, 4, 4), 10)
    found = [layer for layer in network if isinstance(layer, nn.Conv2d)]
    assert [layer.weight.shape for layer in found] == [layer.weight.shape for layer in layers]
    assert network.fc1.weight.shape == (1000, 512 * 16)
    assert network(torch.rand(2, 3, 4, 4)).shape == (2, 10)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"shape": (4, 4)}, "give"),
        ({"filters": ()}, "filters is empty"),
        ({"kernel": 4}, "give an odd one"),
        ({"neurons": 0}, "neurons=0"),
    ],
)
def test_bad_convolutional_networks_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        models.vgg_inspired(**{"shape": (1, 4, 4), "classes": 2, "filters": (3,), **arguments})


@pytest.mark.parametrize("init", ["xavier_uniform", "xavier_normal", "gaussian:0.1", "framework"])
def test_the_scales_of_norms_are_not_drawn(init):
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3), nn.LayerNorm(3))
    before = network[0].weight.clone()
    models.initialise(network, init)
    assert not torch.equal(network[0].weight, before)
    assert all((network[place].weight == 1).all() and (network[place].bias == 0).all() for place in (1, 4))


def test_a_weight_that_is_computed_is_not_drawn():
    network = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2)))
    with pytest.raises(ValueError, match=r"layer '0' computes its weights .*draw them first"):
        models.initialise(network)
