"""The arithmetic of privacy: against Opacus' accountants called directly, and against closed forms."""

import math
import warnings

import numpy as np
import pytest
from opacus.accountants import PRVAccountant, RDPAccountant, prv
from scipy.optimize import brentq
from scipy.stats import norm as normal

from privlab.defences import _accounting, dp_sgd

OPACUS = {"prv": PRVAccountant, "rdp": RDPAccountant}
SMALL = {"sample_rate": 0.01, "steps": 100}


def opacus(accountant, noise, delta, sample_rate, steps):
    counter = OPACUS[accountant]()
    counter.history = [(noise, sample_rate, steps)]
    return counter.get_epsilon(delta=delta)


def analytic(noise, delta, steps):
    """Balle and Wang 2018, theorem 8: the epsilon of the Gaussian mechanism; 0 where its delta is enough for that."""
    sigma = noise / math.sqrt(steps)

    def excess(epsilon):
        tail = math.exp(epsilon + normal.logcdf(-0.5 / sigma - epsilon * sigma))
        return normal.cdf(0.5 / sigma - epsilon * sigma) - tail - delta

    return brentq(excess, 0, 1e6) if excess(0) > 0 else 0.0


@pytest.mark.parametrize("accountant", ["prv", "rdp"])
@pytest.mark.parametrize(
    ("noise", "delta", "sample_rate", "steps"),
    [(1.0, 1e-5, 0.01, 1000), (0.6, 1e-6, 0.004, 600), (2.0, 1e-3, 0.2, 20), (5.0, 1e-9, 1.0, 40)],
)
def test_epsilon_is_that_of_the_accountant(accountant, noise, delta, sample_rate, steps):
    expected = opacus(accountant, noise, delta, sample_rate, steps)
    assert expected > 0.1
    found = dp_sgd.epsilon(noise, delta, sample_rate=sample_rate, steps=steps, accountant=accountant)
    assert found == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("delta", [1e-3, 1e-5, 1e-9, 1e-12])
@pytest.mark.parametrize(("noise", "steps"), [(0.1, 1), (1.0, 1), (2.0, 25), (30.0, 10)])
def test_without_subsampling_it_is_the_analytic_gaussian_mechanisms(noise, delta, steps):
    true = analytic(noise, delta, steps)
    settings = {"sample_rate": 1.0, "steps": steps}
    assert true <= dp_sgd.epsilon(noise, delta, **settings) <= true + 0.03
    assert true <= dp_sgd.epsilon(noise, delta, accountant="rdp", **settings) <= 1.1 * true + 0.3


@pytest.mark.parametrize("accountant", ["prv", "rdp"])
def test_epsilon_is_never_below_zero(accountant):
    """Opacus says -0.7 and -3.3: no mechanism is more than perfectly private."""
    settings = {"sample_rate": 0.1, "steps": 10, "accountant": accountant}
    assert opacus(accountant, 1.0, 0.5, 0.1, 10) < 0
    with pytest.warns(UserWarning, match="delta=0.5 is not below"):
        assert dp_sgd.epsilon(1.0, 0.5, **settings) == 0.0
    assert dp_sgd.epsilon(1e6, 1e-5, **settings) < 0.02


@pytest.mark.parametrize(
    ("delta", "settings", "warned"),
    [
        (1e-5, {"examples": 99_999}, False),
        (1e-5, {"examples": 100_000}, True),
        (1e-5, {"examples": np.int64(100_001)}, True),
        (0.0099, {}, False),  # N is 100 at least: it may be 100
        (0.01, {}, True),
        (0.02, {"sample_rate": 1.0}, True),  # of any data set
        (0.02, {"sample_rate": 1.0, "examples": 40}, False),
    ],
)
def test_a_delta_that_protects_nobody_is_warned_of(delta, settings, warned):
    for function in (dp_sgd.epsilon, dp_sgd.noise_multiplier):
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            function(2.0, delta, **{**SMALL, "accountant": "rdp", **settings})
        assert [str(each.message).startswith(f"delta={delta:g} is not below") for each in found] == [True] * warned
        assert all(each.filename == __file__ for each in found)  # where it was asked, and not within


@pytest.mark.parametrize("accountant", ["prv", "rdp"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0.0, 1e-5), "=0.0 is out of range"),
        ((1.0, 1), "delta=1 is out of range: it promises nothing"),
        ((1.0, 1.0), "delta=1.0 is out of range"),
        ((float("nan"), 1e-5), "=nan is out of range"),
        ((1.0, float("nan")), "delta=nan is out of range"),
        ((float("inf"), 1e-5), "=inf is out of range"),
        ((-1.0, 1e-5), "=-1.0 is out of range"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(accountant, arguments, words):
    for function in (dp_sgd.epsilon, dp_sgd.noise_multiplier):
        with pytest.raises(ValueError, match=words):
            function(*arguments, **SMALL, accountant=accountant)


@pytest.mark.parametrize("accountant", ["prv", "rdp"])
@pytest.mark.parametrize(
    ("function", "first", "changes", "words"),
    [
        (dp_sgd.epsilon, 1e-300, {}, r"noise=1e-300 is out of range; give a number in \[1e-100, 1e\+100\]"),
        (dp_sgd.epsilon, 1e300, {}, r"noise=1e\+300 is out of range"),
        (dp_sgd.epsilon, 10**400, {}, "noise=10+ is out of range"),
        (dp_sgd.epsilon, 1.0, {"steps": 10**400}, "steps=10+ is out of range; give a whole number from 1 to 10+"),
        (dp_sgd.noise_multiplier, 1.0, {"steps": 10**400}, "steps=10+ is out of range"),
        (dp_sgd.noise_multiplier, 1e300, {}, r"epsilon=1e\+300 is out of range; give a number in \(0, 1e\+12\]"),
    ],
)
def test_numbers_beyond_what_the_sums_can_hold_are_refused(accountant, function, first, changes, words):
    with pytest.raises(ValueError, match=words):
        function(first, 1e-5, **{**SMALL, **changes}, accountant=accountant)


@pytest.mark.parametrize("sample_rate", [0.01, 1.0])
def test_the_ends_of_what_is_allowed_have_an_answer(sample_rate):
    low, high = _accounting.NOISE
    settings = {"sample_rate": sample_rate, "steps": _accounting.STEPS, "accountant": "rdp"}
    assert math.isfinite(dp_sgd.epsilon(low, 1e-5, **settings))
    assert dp_sgd.epsilon(high, 1e-5, **settings) < 0.01
    noise = dp_sgd.noise_multiplier(_accounting.LARGEST, 1e-5, **{**settings, "steps": 10})
    assert dp_sgd.epsilon(noise, 1e-5, **{**settings, "steps": 10}) <= _accounting.LARGEST


def test_mini_batches_of_less_than_one_example_are_mostly_empty_and_counted():
    assert dp_sgd.epsilon(1.0, 1e-5, sample_rate=0.1, steps=100, examples=3) == dp_sgd.epsilon(
        1.0, 1e-5, sample_rate=0.1, steps=100
    )


def test_no_noise_is_said_to_have_no_epsilon():
    for nothing in (0, 0.0):
        with pytest.raises(ValueError, match="without noise epsilon is infinite; give a number above 0"):
            dp_sgd.epsilon(nothing, 1e-5, **SMALL)


def test_numbers_of_numpy_are_numbers_and_words_are_not():
    plain = dp_sgd.epsilon(1.0, 1e-5, sample_rate=0.01, steps=100)
    scalars = {"sample_rate": np.float64(0.01), "steps": np.int64(100)}
    assert dp_sgd.epsilon(1, np.float64(1e-5), **scalars) == plain
    assert dp_sgd.epsilon(np.float32(1.0), 1e-5, **scalars) == pytest.approx(plain, rel=1e-6)
    for settings in ({"steps": 100.0}, {"steps": True}, {"sample_rate": "0.01"}):
        with pytest.raises(TypeError):
            dp_sgd.epsilon(1.0, 1e-5, **{**SMALL, **settings})


@pytest.mark.parametrize("accountant", ["prv", "rdp"])
@pytest.mark.parametrize(
    ("target", "sample_rate", "steps"),
    [(0.5, 0.01, 1000), (3.0, 0.01, 1000), (6.0, 0.05, 200), (40.0, 0.1, 50), (1.0, 1.0, 5), (0.1, 32 / 4708, 1480)],
)
def test_the_noise_of_a_budget_spends_it_and_no_more(accountant, target, sample_rate, steps):
    """The last case is one that orders up to 63 cannot show: at delta 1e-5 they end at 0.103."""
    settings = {"sample_rate": sample_rate, "steps": steps, "accountant": accountant}
    noise = dp_sgd.noise_multiplier(target, 1e-5, **settings)
    spent = dp_sgd.epsilon(noise, 1e-5, **settings)
    assert target - max(0.01, target / 100) <= spent <= target
    if accountant == "prv":
        assert noise <= dp_sgd.noise_multiplier(target, 1e-5, **{**settings, "accountant": "rdp"})
        assert opacus("prv", noise, 1e-5, sample_rate, steps) <= target


def test_a_budget_below_what_the_orders_show_names_their_limit():
    least = math.log1p(-1 / 1024) - (math.log(1e-5) + math.log(1024)) / 1023
    assert dp_sgd.epsilon(1e9, 1e-5, **SMALL, accountant="rdp") == pytest.approx(least, rel=1e-3)
    for accountant in ("prv", "rdp"):
        with pytest.raises(ValueError, match=r"with RDP orders up to 1024 .* less than 0.0035 at delta=1e-05"):
            dp_sgd.noise_multiplier(0.9 * least, 1e-5, **SMALL, accountant=accountant)
        with pytest.raises(ValueError, match=r"needs a noise multiplier above 1e[+]06 for 10000000 steps"):
            dp_sgd.noise_multiplier(0.01, 1e-5, sample_rate=1.0, steps=10**7, accountant=accountant)


@pytest.mark.parametrize(
    ("function", "first", "sample_rate", "steps"),
    [
        (dp_sgd.epsilon, 0.05, 0.2, 500),
        (dp_sgd.epsilon, 1e-3, 0.01, 100),
        (dp_sgd.epsilon, 1.0, 0.001, 10**7),
        (dp_sgd.noise_multiplier, 100.0, 0.01, 10_000),
        (dp_sgd.noise_multiplier, 1e6, 0.01, 100),
        (dp_sgd.noise_multiplier, 6.0, 0.01, 10**7),
        (dp_sgd.noise_multiplier, 0.009, 0.01, 100),  # less than the grid's own error
    ],
)
def test_where_the_grid_would_be_too_large_the_moments_answer_and_that_is_said(
    function, first, sample_rate, steps, monkeypatch
):
    """No grid of gigabytes is made on the way: of eight bytes a point there are some fifteen arrays."""
    settings, grids, make = {"sample_rate": sample_rate, "steps": steps}, [0], prv.discretize
    monkeypatch.setattr(prv, "discretize", lambda variable, domain: grids.append(domain.size) or make(variable, domain))
    with pytest.warns(UserWarning, match=r"accountant='prv' has no answer .* of accountant='rdp', some percent larger"):
        found = function(first, 1e-5, **settings)
    assert found == function(first, 1e-5, **settings, accountant="rdp") > 0
    assert max(grids) <= 2**21


def test_a_large_grid_is_still_a_tight_answer():
    """The case of Abadi et al.: a hundred epochs of mini-batches of 600 of 60,000."""
    spent = dp_sgd.epsilon(1.0, 1e-5, sample_rate=0.01, steps=10_000, examples=60_000)
    assert spent == pytest.approx(6.198, abs=0.02)
    assert spent < dp_sgd.epsilon(1.0, 1e-5, sample_rate=0.01, steps=10_000, accountant="rdp") - 0.4
    assert _accounting._prv(1.0, 1e-5, 0.01, 10_000, 2**19) is None


@pytest.mark.parametrize("accountant", ["prv", "rdp"])
def test_more_noise_spends_less_from_the_smallest_to_the_largest(accountant):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        noises = (1e-6, 1e-3, 0.1, 0.5, 1.0, 3.0, 10.0, 1e3, 1e6)
        spent = [dp_sgd.epsilon(noise, 1e-5, **SMALL, accountant=accountant) for noise in noises]
    assert spent == sorted(spent, reverse=True)
    assert all(math.isfinite(each) for each in spent)
