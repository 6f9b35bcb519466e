import functools

import pytest
import torch
from scipy import stats

from privlab import data, models
from privlab.defences import laplace, nopeek
from privlab.defences.laplace_noise import relative
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
