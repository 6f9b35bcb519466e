"""Audits against jax_privacy's and accounts against dp_accounting's: `python -m nox -s oracles`.

In an environment of their own: jax is large and needs other versions than the book, so the usual tests do not collect
this file.
"""

import random

import numpy as np
import pytest
import torch
from jax_privacy import auditing as theirs

from privlab.defences import dp_sgd
from privlab.metrics import auditing

COUNT = 1000


def inputs(count):
    """Right guesses, guesses, coins, δ and a confidence, from few coins to many, from bad adversaries to perfect."""
    draw = random.Random(0)
    for _ in range(count):
        canaries = draw.randint(1, 3000)
        guesses = draw.randint(1, canaries)
        right = round(guesses * draw.triangular(0.3, 1.0, 1.0))
        yield right, guesses, canaries, 10 ** draw.uniform(-8, -2), draw.choice([0.5, 0.9, 0.95, 0.99])


def auditor(right, guesses, canaries):
    """Their auditor takes scores: guesses are those of score 1, and the right ones of these are members.

    It wants coins of both sorts, so there are at least two that nobody guesses.
    """
    silent = max(2, canaries - guesses)
    inside = np.array([1.0] * right + [0.0])
    outside = np.array([1.0] * (guesses - right) + [0.0] * (silent - 1))
    return theirs.CanaryScoreAuditor(inside, outside), guesses + silent


def compared(ours, method, *, tolerance):
    shown = 0
    for right, guesses, canaries, delta, confidence in inputs(COUNT):
        found, coins = auditor(right, guesses, canaries)
        strategy = theirs.Explicit(threshold=1.0)
        wanted = getattr(found, method)(1 - confidence, delta, threshold_strategy=strategy)
        given = ours(right, guesses, delta=delta, confidence=confidence, canaries=coins)
        assert given == pytest.approx(wanted, abs=tolerance), (right, guesses, coins, delta, confidence)
        shown += wanted > 0
    assert shown > COUNT // 4  # most of these adversaries show something


def test_one_run():
    compared(auditing.one_run, "epsilon_one_run", tolerance=1e-5)


def test_one_run_of_gaussian_noise():
    compared(auditing.one_run_gaussian, "epsilon_one_run_fdp", tolerance=1e-4)


def test_many_runs_at_one_threshold():
    draw = random.Random(1)
    for _ in range(COUNT):
        members, others = draw.randint(2, 500), draw.randint(2, 500)
        caught, accused = draw.randint(0, members), draw.randint(0, others)
        scores = [torch.arange(count).numpy() < right for count, right in ((members, caught), (others, accused))]
        found = theirs.CanaryScoreAuditor(*(each.astype(float) for each in scores))
        delta = 10 ** draw.uniform(-8, -2)
        strategy = theirs.Explicit(threshold=1.0)
        wanted = found.epsilon_clopper_pearson(0.05, delta, one_sided=False, threshold_strategy=strategy)
        assert auditing.from_rates(caught, members, accused, others, delta=delta) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("epsilon", [0.1, 1.0, 3.0, 10.0])
def test_noise_of_a_gaussian_mechanism(epsilon):
    import dp_accounting

    sigma = dp_accounting.get_sigma_gaussian(epsilon, 1e-5)
    assert 1 / auditing.gaussian_mu(epsilon, 1e-5) == pytest.approx(sigma, rel=1e-6)


ACCOUNTS = [  # sigma, delta, sample rate, steps
    (1.0, 1e-5, 0.01, 1000),
    (0.6, 1e-6, 0.004, 600),
    (0.8, 1e-5, 32 / 4708, 1480),
    (2.0, 1e-3, 0.2, 20),
    (4.0, 1e-7, 0.5, 200),
    (5.0, 1e-9, 1.0, 40),
    (30.0, 1e-5, 1.0, 1),
]


def theirs_spend(accountant, noise, delta, sample_rate, steps):
    """Moments, or the privacy loss itself on a grid."""
    import dp_accounting

    step = dp_accounting.PoissonSampledDpEvent(sample_rate, dp_accounting.GaussianDpEvent(noise))
    counters = {"rdp": dp_accounting.rdp.RdpAccountant, "prv": dp_accounting.pld.PLDAccountant}
    return counters[accountant]().compose(step, steps).get_epsilon(delta)


@pytest.mark.parametrize("account", ACCOUNTS)
@pytest.mark.parametrize("accountant", ["rdp", "prv"])
def test_epsilon_of_dp_sgd(accountant, account):
    """By moments the orders that are tried differ a little; the grid errs by 0.01, to the safe side."""
    noise, delta, sample_rate, steps = account
    wanted = theirs_spend(accountant, *account)
    found = dp_sgd.epsilon(noise, delta, sample_rate=sample_rate, steps=steps, accountant=accountant)
    assert found == pytest.approx(wanted, rel=2e-3, abs=0.0 if accountant == "rdp" else 0.03)


@pytest.mark.parametrize(("target", "account"), [(0.5, ACCOUNTS[0]), (2.0, ACCOUNTS[2]), (8.0, ACCOUNTS[3])])
@pytest.mark.parametrize("accountant", ["rdp", "prv"])
def test_noise_of_dp_sgd(accountant, target, account):
    """What our sigma spends by their count: the budget, and no more; moments of broken orders they only bound."""
    _, delta, sample_rate, steps = account
    noise = dp_sgd.noise_multiplier(target, delta, sample_rate=sample_rate, steps=steps, accountant=accountant)
    spent = theirs_spend(accountant, noise, delta, sample_rate, steps)
    assert target - 0.03 <= spent <= target + (0.02 if accountant == "rdp" else 1e-6)
