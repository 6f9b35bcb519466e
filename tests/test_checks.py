import math

import numpy as np
import pytest
import torch
from torch import nn

from privlab import checks


def test_one_of_lists_what_is_allowed():
    checks.one_of("cut", "conv1", ["conv1", "pool1"])
    with pytest.raises(ValueError, match=r"cut='pool9' is not known; choose one of conv1, pool1"):
        checks.one_of("cut", "pool9", ["conv1", "pool1"])


@pytest.mark.parametrize("value", [[1], {"a": 1}, np.zeros(2), torch.zeros(2), None])
@pytest.mark.parametrize("allowed", [["a", "b"], {"a": 1, "b": 2}])
def test_one_of_answers_what_can_be_no_key(value, allowed):
    with pytest.raises(ValueError, match="is not known; choose one of a, b"):
        checks.one_of("cut", value, allowed)


@pytest.mark.parametrize("value", [0, -1, 6])
def test_whole_refuses_numbers_out_of_range(value):
    with pytest.raises(ValueError, match="from 1 to 5"):
        checks.whole("batch", value, 1, 5)


@pytest.mark.parametrize("value", [1.0, "1", True, None])
def test_whole_refuses_what_is_no_whole_number(value):
    with pytest.raises(TypeError, match="give a whole number"):
        checks.whole("batch", value)


def test_sizes_names_the_first_number_that_is_none():
    checks.sizes(filters=(1, 2), fc=())
    with pytest.raises(ValueError, match="fc=0 is out of range; give a whole number at least 1"):
        checks.sizes(filters=(1, 2), fc=[3, 0], kernel=[-1])
    with pytest.raises(TypeError, match=r"filters=2\.0 is a float"):
        checks.sizes(filters=[1, 2.0])


def test_training_takes_counts_from_one_and_a_positive_rate():
    checks.training(0.1, epochs=1, batch=32)
    with pytest.raises(ValueError, match="batch=0 is out of range"):
        checks.training(0.1, epochs=1, batch=0)
    for rate in (0, -1, math.nan):
        with pytest.raises(ValueError, match=r"lr=.* is out of range"):
            checks.training(rate, epochs=1)


@pytest.mark.parametrize("none", [[], (), {}, None, torch.zeros(0, 3)])
def test_some_refuses_none(none):
    for given in ([0], (None,), {"a": 1}, torch.zeros(2, 0)):
        checks.some("clients", given)
    with pytest.raises(ValueError, match=r"^there are no clients; give at least one$"):
        checks.some("clients", none)


def test_what_is_not_given_is_not_checked():
    checks.if_given(checks.whole, "size", None, 1, 5)
    checks.if_given(checks.whole, "size", 5, 1, 5)
    checks.if_given(checks.number, "clip", 1.0, 0, open_low=True)
    with pytest.raises(ValueError, match="size=6 is out of range; give a whole number from 1 to 5"):
        checks.if_given(checks.whole, "size", 6, 1, 5)
    with pytest.raises(ValueError, match=r"clip=0 is out of range; give a number in \(0, inf\)"):
        checks.if_given(checks.number, "clip", 0, 0, open_low=True)


@pytest.mark.parametrize("value", [0, -0.1, 1.01, math.nan, math.inf, 10**400])
def test_number_refuses_what_is_outside(value):
    with pytest.raises(ValueError, match="out of range"):
        checks.number("s", value, 0, 1, open_low=True)


def test_number_accepts_the_ends_that_belong():
    checks.number("s", 1, 0, 1, open_low=True)
    checks.number("s", 0, 0, 1)
    for value in (10**400, -(10**400), math.inf):  # larger than every float
        with pytest.raises(ValueError, match="out of range"):
            checks.number("s", value, -math.inf)
    with pytest.raises(TypeError, match="give a number"):
        checks.number("s", "0.5", 0, 1)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ([1.0], TypeError, "give a torch tensor"),
        (torch.zeros(3, 28, 28), ValueError, r"expected \(N, C, H, W\)"),
        (torch.zeros(0, 1, 28, 28), ValueError, "at least one image"),
        (torch.zeros(1, 1, 2, 2, dtype=torch.uint8), TypeError, "divide 8-bit pixels by 255"),
        (torch.full((1, 1, 2, 2), 255.0), ValueError, r"scale images to \[0, 1\]"),
        (torch.full((1, 1, 2, 2), math.nan), ValueError, "nan"),
    ],
)
def test_images_says_what_is_wrong(value, error, words):
    with pytest.raises(error, match=words):
        checks.images("images", value)


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ([0, 1], TypeError, "int64"),
        (torch.zeros(2), TypeError, "float32"),
        (torch.zeros(2, 1, dtype=torch.long), TypeError, r"shape \(2, 1\)"),
        (torch.zeros(3, dtype=torch.long), ValueError, "3 labels for 2 images"),
        (torch.tensor([0, -1]), ValueError, "negative label -1"),
    ],
)
def test_labels_says_what_is_wrong(value, error, words):
    with pytest.raises(error, match=words):
        checks.labels("labels", value, 2)


@pytest.mark.parametrize(
    ("value", "form", "error", "words"),
    [
        ([0.5], "(N,)", TypeError, r"rows is list; give a torch tensor of floats \(N,\)"),
        (torch.zeros(2).long(), "(N,)", TypeError, r"int64 of shape \(2,\)"),
        (torch.zeros(2, 3), "(N,)", ValueError, r"shape \(2, 3\); give \(N,\)"),
        (torch.zeros(2), "(N, K)", ValueError, r"shape \(2,\); give \(N, K\)"),
        (torch.zeros(0, 3), "(N, K)", ValueError, "not empty"),
        (torch.tensor([0, math.nan, math.inf]), "(N,)", ValueError, "2 numbers of rows are not finite"),
    ],
)
def test_floats_says_what_is_wrong(value, form, error, words):
    checks.floats("rows", torch.zeros(form.count("N") + 1, *[2] * form.count("K")), form)
    with pytest.raises(error, match=words):
        checks.floats("rows", value, form)


def test_layer_lists_the_layers_that_fit():
    model = nn.Sequential()
    model.add_module("fc1", nn.Linear(2, 2))
    model.add_module("relu1", nn.ReLU())
    assert checks.layer(model, "fc1", nn.Linear) is model.fc1
    with pytest.raises(ValueError, match=r"layer='relu1' is not a Linear layer of this model; choose one of fc1$"):
        checks.layer(model, "relu1", nn.Linear)
    with pytest.raises(ValueError, match=r"choose one of fc1, relu1$"):
        checks.layer(model, "pool9")


def test_infinity_is_refused_without_an_upper_limit():
    with pytest.raises(ValueError, match="lr=inf"):
        checks.number("lr", math.inf, 0)
