"""DP-SGD in its parts: each example's own gradient, and the step put together by hand against Opacus' own."""

import copy
import itertools
import math

import pytest
import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer

from privlab import data, models
from privlab.defences import dp_sgd
from privlab.sharing import federated


@pytest.fixture(scope="module")
def digits():
    return data.load("digits").sample(9, 0)


@pytest.fixture
def model(digits):
    return models.lenet(digits.shape, 10, filters=(3, 4), fc=(8,), seed=0)


def one_by_one(model, part, loss=federated.cross_entropy):
    """Of each example, its gradient by name, by `backward`."""
    rows = []
    for image, label in zip(part.images, part.labels, strict=True):
        own = copy.deepcopy(model)
        loss(own(image[None]), label[None]).backward()
        rows.append({name: each.grad for name, each in own.named_parameters()})
    return rows


def length(gradient):
    return math.sqrt(sum(each.double().square().sum().item() for each in gradient.values()))


def test_every_row_is_the_gradient_of_one_example(model, digits):
    found, rows = dp_sgd.per_example(model, digits.images, digits.labels), one_by_one(model, digits)
    assert list(found) == [name for name, _ in model.named_parameters()]
    for name, each in model.named_parameters():
        assert found[name].shape == (9, *each.shape)
        torch.testing.assert_close(found[name], torch.stack([row[name] for row in rows]), rtol=1e-4, atol=1e-6)
        assert each.grad is None


@pytest.mark.parametrize("share", [0.2, 0.5, 1.5])
def test_each_example_is_clipped_to_the_bound_as_a_whole_and_no_further(model, digits, share):
    """At bounds among the lengths: those above are scaled down to it, in their own direction, the rest untouched."""
    rows = one_by_one(model, digits)
    lengths = [length(row) for row in rows]
    clip = min(lengths) + share * (max(lengths) - min(lengths))
    found = dp_sgd.per_example(model, digits.images, digits.labels, clip=clip)
    for place, (row, long) in enumerate(zip(rows, lengths, strict=True)):
        mine = {name: each[place] for name, each in found.items()}
        assert length(mine) == pytest.approx(min(long, clip), rel=1e-4)
        for name, each in mine.items():
            torch.testing.assert_close(each, row[name] * min(1, clip / long), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("clip", [0.05, 3.0, 1e6])
def test_their_mean_is_the_release_without_noise(model, digits, clip):
    found = dp_sgd.per_example(model, digits.images, digits.labels, clip=clip)
    sent = dp_sgd.gradient(model, digits.images, digits.labels, clip=clip, noise=0.0)
    assert list(found) == list(sent)
    for name, each in found.items():
        torch.testing.assert_close(each.mean(0), sent[name], rtol=1e-4, atol=1e-6 * min(1, clip))


def test_an_example_that_is_learned_already_has_no_length_to_divide_by(digits):
    """A loss that is flat: nothing over nothing is nothing."""
    model = models.fully_connected(digits.shape, 10, widths=(4,), seed=0)
    found = dp_sgd.per_example(
        model, digits.images, digits.labels, clip=1.0, loss=lambda logits, labels: (0 * logits).sum()
    )
    assert all(torch.equal(each, torch.zeros_like(each)) for each in found.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"clip": 0.0}, r"clip=0.0 is out of range; give a number in \(0, inf\)"),
        ({"clip": -1.0}, "clip=-1.0 is out of range"),
        ({"clip": math.nan}, "clip=nan is out of range"),
        ({"labels": torch.zeros(8, dtype=torch.int64)}, "labels holds 8 labels for 9 images"),
        ({"model": models.resnet18((1, 28, 28), 10, width=2, seed=0)}, "without BatchNorm"),
        ({"model": models.fully_connected((1, 28, 28), 10, widths=(4,), seed=0).eval()}, "it is in eval mode"),
    ],
)
def test_what_has_no_gradient_of_each_example_is_refused(model, digits, change, words):
    given = {"model": model, "images": digits.images, "labels": digits.labels, **change}
    with pytest.raises(ValueError, match=words):
        dp_sgd.per_example(given.pop("model"), given.pop("images"), given.pop("labels"), **given)


def random():
    return torch.Generator().manual_seed(5)


def by_hand(model, part, clip, noise, random):
    """Each example's gradient, their sum, noise for each parameter in turn, and the mean."""
    clipped = dp_sgd.per_example(model, part.images, part.labels, clip=clip)
    return {
        name: (each.sum(0) + torch.normal(0.0, noise * clip, each.shape[1:], generator=random)) / len(part.labels)
        for name, each in clipped.items()
    }


@pytest.mark.parametrize(("clip", "noise"), [(0.5, 0.0), (0.5, 1.0), (20.0, 0.3)])
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_steps_by_hand_are_those_of_opacus(model, digits, clip, noise):
    """Three of them, with the same draws: its hooks find the gradients, its optimiser does the rest."""
    mine, theirs = copy.deepcopy(model), GradSampleModule(copy.deepcopy(model))
    optimiser = DPOptimizer(
        torch.optim.SGD(theirs.parameters(), lr=0.2),
        noise_multiplier=noise,
        max_grad_norm=clip,
        expected_batch_size=9,
        generator=random(),
    )
    draws = random()
    for _ in range(3):
        optimiser.zero_grad()
        federated.cross_entropy(theirs(digits.images), digits.labels).backward()
        optimiser.step()
        sent = by_hand(mine, digits, clip, noise, draws)
        with torch.no_grad():
            for name, each in mine.named_parameters():
                each.sub_(0.2 * sent[name])
    for one, other, old in zip(mine.parameters(), theirs.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
        assert not torch.equal(one, old)


def test_the_release_is_the_step_by_hand_with_its_own_draws(model, digits):
    sent = dp_sgd.gradient(model, digits.images, digits.labels, clip=0.5, noise=2.0, seed=3)
    wanted = by_hand(model, digits, 0.5, 2.0, dp_sgd._noise_generator(torch.device("cpu"), 3))
    for name, each in wanted.items():
        torch.testing.assert_close(sent[name], each, rtol=1e-4, atol=1e-6)


GRIDS = {  # the accountant's own error; sigmas, steps, sample rates and deltas
    "rdp": (1e-9, (0.6, 1.3, 20.0), (1, 100, 3000), (0.01, 1.0), (1e-3, 1e-6)),
    "prv": (0.01, (0.8, 3.0), (1, 50), (0.05,), (1e-5,)),
}


@pytest.mark.parametrize("accountant", GRIDS)
def test_epsilon_grows_with_steps_and_falls_with_noise_and_is_never_below_zero(accountant):
    error, noises, steps, rates, deltas = GRIDS[accountant]
    for rate, delta in itertools.product(rates, deltas):
        how = {"sample_rate": rate, "accountant": accountant}
        rows = [[dp_sgd.epsilon(noise, delta, steps=count, **how) for count in steps] for noise in noises]
        table = torch.tensor(rows, dtype=torch.float64)
        assert table.isfinite().all()
        assert (table >= 0).all()
        assert (table.diff(dim=1) >= -error).all()
        assert (table.diff(dim=0) <= error).all()
        assert table[0, -1] > table[0, 0] + error
        assert table[-1, -1] < table[0, -1] - error
