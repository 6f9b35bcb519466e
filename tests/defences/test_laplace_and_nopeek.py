import functools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from privlab import data, models
from privlab.defences import laplace, nopeek
from privlab.defences.laplace_noise import epsilon, relative
from privlab.metrics.distance_correlation import distance_correlation, distance_correlation_squared, over_batches
from privlab.sharing import federated, split


@pytest.fixture(scope="module")
def digits():
    return data.load("digits").sample(800)


def net(**changes):
    return models.split_cnn((1, 28, 28), 10, **{"filters": (4, 6), "units": 40, **changes})


def train(digits, **how):
    return split.train(net(), [federated.Client(digits.images, digits.labels)], cut="tanh3", epochs=8, **how)


@pytest.mark.parametrize("scale", [0.1, 2.0])
def test_the_noise_is_laplace(scale):
    noise = laplace(torch.zeros(200, 100), scale, seed=1).flatten()
    assert stats.kstest(noise.numpy(), stats.laplace(scale=scale).cdf).pvalue > 0.01
    assert noise.std().item() == pytest.approx(scale * 2**0.5, rel=0.03)
    assert noise.isfinite().all()


def test_no_scale_is_no_noise_and_seeds_are_kept():
    sent = torch.rand(5, 3)
    assert torch.equal(laplace(sent, 0.0), sent)
    assert torch.equal(laplace(sent, 1.0, seed=3), laplace(sent, 1.0, seed=3))
    assert not torch.equal(laplace(sent, 1.0, seed=3), laplace(sent, 1.0, seed=4))
    with pytest.raises(ValueError, match="scale=-1"):
        laplace(sent, -1.0)


def test_the_relative_scale_is_that_of_the_spread_of_each_number():
    sent = torch.randn(5000, 4, generator=torch.Generator().manual_seed(0)) * 3 + torch.tensor([0.0, 10, -10, 50])
    assert relative(sent, 1.0) == pytest.approx(2**0.5 / 3, rel=0.02)
    assert relative(2 * sent, 1.0) == pytest.approx(relative(sent, 1.0) / 2)
    assert relative(torch.ones(4, 2), 1.0) == float("inf")
    assert relative(torch.ones(4, 2), 0.0) == 0


@pytest.mark.parametrize(
    ("sent", "error", "words"),
    [
        ([0.1, 0.2], TypeError, "activations is a list; give a torch tensor of floats"),
        (np.zeros((2, 2)), TypeError, "activations is a ndarray"),
        (torch.ones(2, 3).long(), TypeError, "activations are torch.int64; give floats"),
        (torch.ones(2, 3) * 1j, TypeError, "activations are torch.complex64; give floats"),
        (torch.zeros(0, 3), ValueError, r"activations are \(0, 3\); give \(N, ...\), those of at least one example"),
        (torch.tensor(1.0), ValueError, r"activations are \(\); give"),
        (torch.tensor([[1.0, math.nan]]), ValueError, "1 of the activations are not finite"),
    ],
)
def test_what_can_have_no_noise_or_no_spread_is_refused(sent, error, words):
    with pytest.raises(error, match=words):
        relative(sent, 1.0)
    if error is TypeError:
        with pytest.raises(error, match=words):
            laplace(sent, 1.0)


@pytest.mark.parametrize(
    ("scale", "low", "high", "numbers", "releases"), [(1.0, 0.0, 1.0, 1, 1), (0.5, -1.0, 1.0, 3, 2), (7.0, 2, 5, 40, 6)]
)
def test_epsilon_is_the_largest_ratio_of_densities_of_two_examples(scale, low, high, numbers, releases):
    """All numbers at one bound, against all at the other, seen from far outside; between, and nearer, it is less."""
    noise, promised = stats.laplace(scale=scale), epsilon(scale, low=low, high=high, numbers=numbers, releases=releases)
    seen = np.linspace(low - 9 * scale, high + 9 * scale, 501)
    told = releases * numbers * abs(noise.logpdf(seen - low) - noise.logpdf(seen - high))
    assert told.max() == pytest.approx(promised)
    assert told.min() < 0.05 * promised
    middle = releases * numbers * abs(noise.logpdf(seen - low) - noise.logpdf(seen - (low + high) / 2))
    assert middle.max() == pytest.approx(promised / 2)


@pytest.mark.parametrize("scale", [0.5, 2.0])
def test_what_is_sent_tells_two_examples_apart_by_epsilon_and_no_more(scale):
    """Of the noise that is drawn: in every bin the log-ratio is within its error of the bound, and outside at it."""
    promised, count = epsilon(scale, low=0.0, high=1.0, numbers=1), 200_000
    sides = [laplace(torch.full((count,), bound), scale, seed=seed) for seed, bound in enumerate((0.0, 1.0))]
    edges = torch.linspace(-2 * scale, 1 + 2 * scale, 21)
    counts = [torch.histogram(each, edges).hist for each in sides]
    ratio, error = (counts[0] / counts[1]).log(), (1 / counts[0] + 1 / counts[1]).sqrt()
    assert (ratio.abs() <= promised + 4 * error).all()
    assert (ratio.abs() >= promised - 4 * error)[(edges[1:] <= 0) | (edges[:-1] >= 1)].all()
    assert error.max() < 0.1 * promised


def test_epsilon_adds_up_and_falls_with_the_noise():
    def spent(**changes):
        return epsilon(**{"scale": 2.0, "low": -1.0, "high": 1.0, "numbers": 10, **changes})

    assert spent() == pytest.approx(10)
    assert spent(releases=7) == pytest.approx(7 * spent())
    assert spent(numbers=30) == pytest.approx(3 * spent())
    assert spent(scale=4.0) == pytest.approx(spent() / 2)
    assert spent(low=9.0, high=10.0) == pytest.approx(spent() / 2)  # by the range, wherever it lies


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"scale": 0.0}, ValueError, "scale=0.0 is out of range"),
        ({"scale": -1.0}, ValueError, "scale=-1.0 is out of range"),
        ({"low": 1.0}, ValueError, "low=1.0 and high=1.0 are no range; give high > low"),
        ({"low": 2.0}, ValueError, "low=2.0 and high=1.0 are no range"),
        ({"high": math.inf}, ValueError, "high=inf is no bound.* clamp the activations"),
        ({"low": -math.inf}, ValueError, "low=-inf is no bound"),
        ({"low": math.nan}, ValueError, "low=nan is out of range"),
        ({"numbers": 0}, ValueError, "numbers=0"),
        ({"releases": 0}, ValueError, "releases=0"),
        ({"numbers": 1.5}, TypeError, "numbers=1.5 is a float"),
        ({"high": "1"}, TypeError, "high='1' is a str"),
        ({"scale": 1e-300, "high": 1e300, "numbers": 4}, ValueError, r"scale=1e-300 is too small for 4 numbers"),
        ({"low": -1.7e308, "high": 1.7e308}, ValueError, "epsilon is beyond every number; give a larger one"),
        ({"releases": 10**400}, ValueError, "epsilon is beyond every number"),
        ({"high": 10**400}, ValueError, "high=10+ is out of range"),
    ],
)
def test_numbers_that_promise_nothing_are_refused(changes, error, words):
    with pytest.raises(error, match=words):
        epsilon(**{"scale": 1.0, "low": 0.0, "high": 1.0, "numbers": 1, **changes})


def test_the_penalty_is_alpha_times_the_distance_correlation(digits):
    images = digits.images[:32]
    sent = images.flatten(1)[:, ::7] ** 2
    value = distance_correlation(images, sent)
    assert nopeek.penalty(0.5)(images, sent).item() == pytest.approx(0.5 * value.item())
    squared = nopeek.penalty(2.0, statistic=distance_correlation_squared)(images, sent)
    assert squared.item() == pytest.approx(2 * distance_correlation_squared(images, sent).item())
    assert nopeek.penalty(0.5)(images[:1], sent[:1]) == 0
    with pytest.raises(ValueError, match="alpha=-1"):
        nopeek.penalty(-1.0)


@pytest.mark.parametrize("statistic", [distance_correlation, distance_correlation_squared])
def test_training_with_it_lowers_the_correlation_and_still_learns(digits, statistic):
    plain, hidden = train(digits), train(digits, penalty=nopeek.penalty(1.0, statistic=statistic))
    found = [
        over_batches(digits.images, split.send(p.owner, digits.images), statistic=statistic)[0] for p in (plain, hidden)
    ]
    assert found[1] < found[0] - 0.05
    assert split.accuracy(hidden, digits.images, digits.labels) > 0.85


def test_a_last_mini_batch_of_one_does_not_break_training(digits):
    part = digits[:33]
    parts = split.train(
        net(), [federated.Client(part.images, part.labels)], cut="tanh3", batch=32, penalty=nopeek.penalty(1.0)
    )
    assert all(weight.isfinite().all() for weight in parts.whole.parameters())


def test_both_defences_together_train(digits):
    parts = train(digits, protect=functools.partial(laplace, scale=0.3), penalty=nopeek.penalty(0.5))
    noisy = functools.partial(laplace, scale=0.3)
    assert split.accuracy(parts, digits.images, digits.labels, protect=noisy) > 0.8


def test_noise_costs_accuracy_and_less_where_training_had_it(digits):
    noisy = functools.partial(laplace, scale=1.0)
    plain, used = train(digits), train(digits, protect=noisy)
    scores = [split.accuracy(p, digits.images, digits.labels, protect=noisy) for p in (plain, used)]
    assert split.accuracy(plain, digits.images, digits.labels) > scores[0] + 0.1
    assert scores[1] > scores[0]
