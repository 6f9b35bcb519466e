import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from privlab import data, models
from privlab.attacks import gradient_extraction, transmission, trap_weights
from privlab.metrics import extraction
from privlab.sharing import federated


def arriving(carried, images):
    """What stands at the carrying columns of the dense layer's input."""
    front, _ = models.cut(carried.model, list(dict(carried.model.named_children()))[_place(carried) - 1])
    return front(images)


def _place(carried):
    return list(dict(carried.model.named_children())).index(carried.layer)


@settings(max_examples=25, deadline=None)
@given(
    channels=st.integers(1, 3),
    side=st.integers(2, 9),
    filters=st.lists(st.integers(3, 7), min_size=1, max_size=3),
    kernel=st.sampled_from([1, 3, 5]),
    seed=st.integers(0, 99),
)
def test_pixels_arrive_bit_exactly_and_nothing_else_does(channels, side, filters, kernel, seed):
    images = torch.rand(4, channels, side, side, generator=torch.Generator().manual_seed(seed))
    network = models.vgg_inspired(images.shape[1:], 3, filters=filters, neurons=5, kernel=kernel, seed=seed)
    carried = transmission.transmit(network, images.shape[1:], seed=seed)
    there = arriving(carried, images)
    assert torch.equal(there[:, carried.columns], images.flatten(1))
    idle = torch.ones(there.shape[1], dtype=torch.bool)
    idle[carried.columns] = False
    assert not there[:, idle].any()


@pytest.mark.parametrize(
    "options", [{"padding": "same"}, {"padding": 1, "padding_mode": "reflect"}, {"padding": 2, "dilation": 2}]
)
def test_other_ways_to_keep_the_size_carry_too(options):
    images = torch.rand(2, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    network = nn.Sequential()
    network.add_module("conv1", nn.Conv2d(2, 4, 3, **options))
    network.add_module("relu1", nn.ReLU())
    network.add_module("flatten", nn.Flatten())
    network.add_module("fc1", nn.Linear(4 * 36, 3))
    carried = transmission.transmit(network, (2, 6, 6))
    assert torch.equal(arriving(carried, images)[:, carried.columns], images.flatten(1))


@pytest.mark.parametrize("hidden", [False, True])
def test_dense_layers_carry_values_unaltered_or_rescaled(hidden):
    images = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    network = models.fully_connected((1, 4, 4), 3, widths=(30, 24, 10), seed=0)
    carried = transmission.transmit(network, (1, 4, 4), layer="fc3", hidden=hidden)
    there = arriving(carried, images)
    torch.testing.assert_close(there[:, carried.columns], images.flatten(1) * carried.scales)
    dead = torch.ones(24, dtype=torch.bool)
    dead[carried.columns] = False
    assert not there[:, dead].any()
    assert (carried.scales != 1).any() == hidden
    if hidden:  # few weights are zero: only those between different features
        weight = carried.model.fc2.weight
        assert (weight == 0).float().mean() < 0.6


def test_trap_weights_behind_convolutions_steal_what_they_steal_in_the_first_layer():
    part = data.load("patches").sample(40, 0)
    drawn = trap_weights.draw(300, 3072, seed=0)
    network = models.vgg_inspired(part.shape, 7, filters=(4, 6), neurons=300, seed=0)
    carried = transmission.transmit(network, part.shape, seed=0)
    sent = federated.gradient(carried.load(drawn.weights(0.95)), part.images, part.labels)
    through = gradient_extraction.extract(carried.restore(sent), shape=part.shape)
    flat = models.fully_connected(part.shape, 7, widths=(300,), seed=0)
    direct = federated.gradient(trap_weights.plant(flat, drawn=drawn, s=0.95), part.images, part.labels)
    expected = gradient_extraction.extract(direct, shape=part.shape)
    places, wanted = (set(extraction.match(e.images, part.images).tolist()) for e in (through, expected))
    assert len(wanted) > 5
    assert places == wanted


def test_hidden_dense_layers_give_their_input_back_after_rescaling():
    part = data.load("digits").sample(20, 0)
    network = models.fully_connected(part.shape, 10, widths=(900, 300), seed=0)
    carried = transmission.transmit(network, part.shape, layer="fc2", hidden=True)
    weights = trap_weights.draw(300, 784, seed=0).weights(0.9)
    sent = federated.gradient(carried.load(weights), part.images, part.labels)
    rows = gradient_extraction.candidates(carried.restore(sent), "fc2")
    assert extraction.score(rows, part.images, neurons=300).recall > 0.3


def test_the_model_that_was_given_is_left_alone_and_the_seed_moves_the_maps():
    network = models.vgg_inspired((3, 5, 5), 3, filters=(8, 8), neurons=4, seed=0)
    before = network.conv1.weight.clone()
    one, again, other = (transmission.transmit(network, (3, 5, 5), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(network.conv1.weight, before)
    assert torch.equal(one.columns, again.columns)
    assert not torch.equal(one.columns, other.columns)


def network_with(**options):
    network = nn.Sequential()
    network.add_module("conv1", nn.Conv2d(1, 4, **{"kernel_size": 3, "padding": 1, **options}))
    network.add_module("relu1", nn.ReLU())
    network.add_module("flatten", nn.Flatten())
    network.add_module("fc1", nn.Linear(4 * 64, 3))
    return network


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"kernel_size": 4}, "an even one has no middle"),
        ({"stride": 2}, "skips pixels"),
        ({"padding": 0}, r"changes the size; \(1, 1\) would keep it"),
    ],
)
def test_convolutions_that_cannot_transmit_are_refused_with_the_reason(options, words):
    with pytest.raises(ValueError, match=words):
        transmission.transmit(network_with(**options), (1, 8, 8))


def test_other_layers_that_cannot_transmit_are_refused():
    pooled = network_with()
    pooled.flatten = nn.MaxPool2d(2)
    with pytest.raises(ValueError, match="flatten is a MaxPool2d"):
        transmission.transmit(pooled, (1, 8, 8))
    with pytest.raises(ValueError, match="2 filters for 3 channels"):
        transmission.transmit(models.vgg_inspired((3, 4, 4), 2, filters=(2,), neurons=3), (3, 4, 4))
    with pytest.raises(ValueError, match="10 neurons for 16 values"):
        transmission.transmit(models.fully_connected((1, 4, 4), 2, widths=(10, 5)), (1, 4, 4), layer="fc2")
    bare = network_with()
    bare.relu1 = nn.Flatten()
    with pytest.raises(ValueError, match="conv1 is not followed by a ReLU"):
        transmission.transmit(bare, (1, 8, 8))
    with pytest.raises(ValueError, match="conv1 takes 1 channels or values, not 3"):
        transmission.transmit(network_with(), (3, 8, 8))
    carried = transmission.transmit(network_with(), (1, 8, 8))
    with pytest.raises(ValueError, match=r"expected \(3, 64\)"):
        carried.load(torch.zeros(3, 65))


def test_one_relu_used_twice_carries_as_two_do():
    def network(first, second):
        return nn.Sequential(
            nn.Conv2d(1, 3, 3, padding=1), first, nn.Conv2d(3, 3, 3, padding=1), second, nn.Flatten(), nn.Linear(48, 4)
        )

    act = nn.ReLU()
    images = torch.rand(2, 1, 4, 4)
    made = transmission.transmit(network(act, act), (1, 4, 4))
    arrived = made.model[:5](images)
    torch.testing.assert_close(arrived[:, made.columns], images.flatten(1))
    assert made.layer == "5"


def test_what_does_not_arrive_unaltered_is_refused():
    model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(48, 4))
    model[1].register_forward_hook(lambda _module, _inputs, output: output / 2)
    with pytest.raises(ValueError, match="does not arrive at '3' unaltered"):
        transmission.transmit(model, (1, 4, 4))
