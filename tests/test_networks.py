import copy

import pytest
import torch
from torch import nn

from privlab import networks
from tests.zoo import ZOO


@pytest.mark.parametrize("name", [name for name, each in ZOO.items() if each.last])
def test_the_last_layer_is_found_whatever_its_name(name):
    assert networks.last_layer(ZOO[name].build(), ZOO[name].batch()[0]) == ZOO[name].last


@pytest.mark.parametrize("name", [name for name, each in ZOO.items() if not each.last and not each.refused])
def test_a_last_layer_that_does_not_give_the_logits_is_refused(name):
    """Or it has no bias, where its weight alone is read."""
    if name == "no bias in the last layer":
        assert networks.last_layer(ZOO[name].build(), ZOO[name].batch()[0]) == "answer"
        return
    with pytest.raises(ValueError, match=r"not the outputs of a dense layer|used more than once"):
        networks.last_layer(ZOO[name].build(), ZOO[name].batch()[0])


def test_equal_outputs_are_not_enough_for_a_last_layer():
    """A ReLU that changes nothing for these inputs changes others, and gradients."""
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    nn.init.ones_(model[0].weight)
    with pytest.raises(ValueError, match="last step is Relu"):
        networks.last_layer(model, torch.ones(3, 2))


def test_measuring_leaves_each_part_in_its_own_mode():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout()).train()
    model[1].eval()
    with networks.measured(model):
        assert not any(layer.training for layer in model.modules())
        assert not torch.is_grad_enabled()
    assert [layer.training for layer in model.modules()] == [True, True, False, True]


def test_a_network_is_left_as_it_was_when_something_breaks_within():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).train()
    before = copy.deepcopy(model.state_dict())

    def breaks():
        with networks.measured(model):
            model.train()(torch.rand(5, 2))
            raise KeyError("within")

    with pytest.raises(KeyError):
        breaks()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training


def test_dropout_follows_its_seed_and_leaves_the_global_generator_alone():
    model, ones, before = nn.Dropout(), torch.ones(50), torch.get_rng_state()
    drawn = []
    for seed in (1, 1, 2):
        with networks.dice(model, seed):
            drawn.append(model(ones))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    random = torch.Generator().manual_seed(0)
    for _ in range(2):
        with networks.dice(model, random):
            drawn.append(model(ones))
    assert not torch.equal(drawn[3], drawn[4])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_cannot_be_copied_is_named():
    model = nn.Sequential(nn.utils.weight_norm(nn.Linear(2, 2)))
    model(torch.ones(1, 2))
    with pytest.raises(ValueError, match=r"cannot be copied.*parametrizations"):
        networks.duplicate(model)


@pytest.mark.parametrize(
    ("model", "inputs", "error", "words"),
    [
        (nn.Linear(2, 2).double(), torch.ones(1, 2), TypeError, r"images are torch.float32 .* weights torch.float64"),
        (nn.Linear(2, 2), torch.ones(1, 3), ValueError, r"images of shape \(1, 3\) do not pass"),
        (nn.Conv2d(1, 2, 1), torch.ones(1, 1, 2, 2), ValueError, r"answers \(1, 2, 2, 2\) .* logits \(N, K\)"),
        (nn.GRU(2, 2), torch.ones(1, 2), TypeError, "GRU answers with a tuple"),
        (nn.LazyLinear(2), torch.ones(1, 2), ValueError, "lazy layers"),
        (torch.jit.script(nn.Linear(2, 2)), torch.ones(1, 2), TypeError, "ScriptModule"),
    ],
)
def test_what_does_not_fit_a_network_is_said(model, inputs, error, words):
    with pytest.raises(error, match=words):
        networks.logits(model, inputs)


@pytest.mark.parametrize("spoil", ["hook", "forward", "subclass", "module"])
def test_a_sequence_is_only_what_runs_one_after_the_other(spoil):
    class Other(nn.Sequential):
        def forward(self, input):
            return input

    model = {"subclass": Other, "module": nn.ModuleList}.get(spoil, nn.Sequential)()
    if spoil == "hook":
        model.register_forward_hook(lambda *_: None)
    elif spoil == "forward":
        model.forward = lambda input: input
    with pytest.raises(TypeError, match="need not follow one another"):
        networks.steps(model)


def test_the_first_dense_layer_of_an_unordered_network_has_to_be_named():
    assert networks.first_dense(ZOO["sequential"].build()) == "first"
    assert networks.first_dense(ZOO["other names"].build()) == "fc1"
    with pytest.raises(ValueError, match="name one: answer, first"):
        networks.first_dense(ZOO["plain module"].build())


def test_the_inputs_of_a_layer_that_takes_no_part_are_not_found():
    with pytest.raises(ValueError, match="layer='unused' takes no part"):
        networks.input_of(ZOO["unused head"].build(), "unused", ZOO["unused head"].batch()[0])
