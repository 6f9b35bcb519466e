"""What guesses show of ε: closed forms, slow sums, and how often the bound is wrong."""

import math

import pytest
import torch
from scipy.stats import beta, binom

from privlab.metrics import auditing


def logit(p):
    return math.log(p / (1 - p))


@pytest.mark.parametrize("guesses", [1, 10, 100, 1000])
def test_all_right_without_delta_is_the_closed_form(guesses):
    assert auditing.one_run(guesses, guesses) == pytest.approx(max(0, logit(0.05 ** (1 / guesses))), abs=1e-6)


@pytest.mark.parametrize(("right", "shown"), [(1000, 5.809), (900, 2.021), (750, 0.977), (500, 0.0)])
def test_some_right_of_a_thousand(right, shown):
    assert auditing.one_run(right, 1000) == pytest.approx(shown, abs=5e-4)


def slow_p_value(right, guesses, canaries, epsilon, delta):
    """Theorem 5.2, term by term."""
    q = 1 / (1 + math.exp(-epsilon))
    mass = [binom.pmf(k, guesses, q) for k in range(guesses + 1)]
    tail = sum(mass[right:])
    worst = max((sum(mass[max(0, right - i) : right]) / i for i in range(1, right + 1)), default=0)
    return min(1, tail + 2 * canaries * delta * worst)


@pytest.mark.parametrize(
    ("right", "guesses", "canaries", "delta"), [(90, 100, 200, 1e-5), (40, 50, 1000, 1e-4), (28, 30, 30, 0.0)]
)
def test_one_run_is_where_the_slow_sum_meets_the_level(right, guesses, canaries, delta):
    shown = auditing.one_run(right, guesses, delta=delta, canaries=canaries)
    assert slow_p_value(right, guesses, canaries, shown, delta) == pytest.approx(0.05, abs=1e-6)
    assert slow_p_value(right, guesses, canaries, shown + 0.05, delta) > 0.05


def test_more_delta_more_coins_and_less_confidence_change_it_the_right_way():
    plain = auditing.one_run(90, 100, delta=1e-5, canaries=100)
    assert auditing.one_run(90, 100, delta=1e-3, canaries=100) < plain
    assert auditing.one_run(90, 100, delta=1e-5, canaries=5000) < plain
    assert auditing.one_run(90, 100, delta=1e-5, canaries=100, confidence=0.5) > plain
    assert auditing.one_run(91, 100, delta=1e-5, canaries=100) > plain


def test_clopper_pearson_is_the_beta_quantile():
    low, high = auditing.clopper_pearson(7, 50)
    assert low == pytest.approx(beta.ppf(0.025, 7, 44))
    assert high == pytest.approx(beta.ppf(0.975, 8, 43))
    assert auditing.clopper_pearson(0, 10)[0] == 0
    assert auditing.clopper_pearson(10, 10)[1] == 1


def test_rates_give_the_two_ratios():
    low, high = auditing.clopper_pearson(60, 100)[0], auditing.clopper_pearson(5, 100)[1]
    assert auditing.from_rates(60, 100, 5, 100) == pytest.approx(math.log(low / high))
    # Where others are recognised better than members, the second inequality speaks.
    low, high = auditing.clopper_pearson(95, 100)[0], auditing.clopper_pearson(40, 100)[1]
    assert auditing.from_rates(95, 100, 40, 100) == pytest.approx(math.log((1 - high) / (1 - low)))
    assert auditing.from_rates(10, 100, 10, 100) == 0.0


@pytest.mark.parametrize("epsilon", [0.1, 0.93, 1.99, 4.38, 10.0, 30.0])
def test_gaussian_there_and_back(epsilon):
    mu = auditing.gaussian_mu(epsilon, 1e-5)
    assert auditing.gaussian_epsilon(mu, 1e-5) == pytest.approx(epsilon, rel=1e-6)


def test_gaussian_is_the_integral():
    """δ(ε) of two unit Gaussians, by summing the densities' difference."""
    mu, epsilon = 1.3, 0.8
    x = torch.linspace(-12, 14, 400_001, dtype=torch.float64)
    one, two = (torch.exp(-((x - m) ** 2) / 2) / math.sqrt(2 * math.pi) for m in (mu, 0.0))
    delta = torch.trapezoid((one - math.exp(epsilon) * two).clamp_min(0), x).item()
    assert auditing.gaussian_epsilon(mu, delta) == pytest.approx(epsilon, abs=1e-4)


def release(true, canaries, seed):
    """Coins, and what a Gaussian mechanism of that ε shows of each: its own coordinate, moved by the sensitivity."""
    random = torch.Generator().manual_seed(seed)
    members = torch.rand(canaries, generator=random) < 0.5
    return members, members * auditing.gaussian_mu(true, 1e-5) + torch.randn(canaries, generator=random)


@pytest.mark.parametrize(("true", "shown"), [(10.0, 4.4), (4.38, 2.2), (1.99, 1.0)])
def test_a_gaussian_mechanism_shows_less_than_it_is_and_more_to_who_knows_that_it_is_one(true, shown):
    plain, knowing = [], []
    for seed in range(8):
        members, scores = release(true, 5000, seed)
        right = auditing.right_guesses(scores, members, 500)
        plain.append(auditing.one_run(right, 500, delta=1e-5, canaries=5000))
        knowing.append(auditing.one_run_gaussian(right, 500, delta=1e-5, canaries=5000))
    assert sum(plain) / 8 == pytest.approx(shown, rel=0.2)
    assert all(a < b < true for a, b in zip(plain, knowing, strict=True))


def test_the_bound_is_wrong_no_more_often_than_it_says():
    """Randomised response is as leaky as (ε, 0) allows: the bound is nearly tight, and wrong in at most 5 % of runs."""
    true, wrong, shown = 1.0, 0, []
    for seed in range(200):
        random = torch.Generator().manual_seed(seed)
        honest = torch.rand(400, generator=random) < 1 / (1 + math.exp(-true))
        found = auditing.one_run(int(honest.sum()), 400)
        wrong += found > true
        shown.append(found)
    assert wrong <= 18  # more than that has a chance of 1 in 100 at 5 %
    assert sum(shown) / 200 > 0.7


def test_guesses_are_the_extremes_and_the_middle_is_left_alone():
    scores = torch.tensor([5.0, 1.0, 2.0, -4.0, 0.0])
    members = torch.tensor([True, False, False, False, True])
    assert auditing.right_guesses(scores, members, 2) == 2
    assert auditing.right_guesses(scores, members, 3) == 2  # the third guess calls 2.0 a member
    assert auditing.right_guesses(scores, members, 5) == 2  # of the two lowest one is a member


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: auditing.one_run(11, 10), "right=11"),
        (lambda: auditing.one_run(1, 10, confidence=1.0), "certainty"),
        (lambda: auditing.one_run(1, 10, canaries=5), "canaries=5"),
        (lambda: auditing.one_run(1, 10, delta=-0.1), "delta"),
        (lambda: auditing.one_run_gaussian(1, 10, delta=0.0), "delta"),
        (lambda: auditing.clopper_pearson(3, 0), "trials=0"),
        (
            lambda: auditing.right_guesses(torch.tensor([1.0, float("nan")]), torch.tensor([True, False]), 1),
            "not finite",
        ),
        (lambda: auditing.right_guesses(torch.zeros(3), torch.ones(3), 1), "bool"),
        (lambda: auditing.right_guesses(torch.zeros(3), torch.ones(3).bool(), 4), "guesses=4"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()
