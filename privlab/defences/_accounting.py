"""What DP-SGD spends, and the noise that a budget needs: Opacus' accountants, bounded, and each answer a valid one.

Both count the Poisson-subsampled Gaussian mechanism. `prv` composes its privacy loss numerically (Gopi et al. 2021):
tight, but on a grid that can grow beyond every memory. `rdp` composes moments (Abadi et al. 2016; Mironov et al. 2019;
Balle et al. 2020, theorem 21): looser by some percent, and cheap. Where the grid is too large `rdp` answers, with a
warning; both are upper bounds of what is spent.
"""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from privlab import checks

ACCOUNTANTS = ("prv", "rdp")
# Points of the grid of `prv`: some 2.5 seconds and 300 MB; a search for the noise tries four or five grids.
GRID, GRID_OF_A_SEARCH = 2**21, 2**20
PRV_ERROR = 0.01  # in epsilon, of the grid; Opacus' own
SMALLEST_DELTA = 1e-13  # below it, the grid's rounding is as large as a thousandth of delta
# Opacus tries orders up to 63. No more than log(1/delta)/62 can be shown with them, however large the noise.
HIGHER_ORDERS = (64, 80, 96, 128, 192, 256, 384, 512, 768, 1024)
# Beyond these nothing is promised, or nothing left to promise, and the sums of moments leave the floats.
NOISE, STEPS, LARGEST = (1e-100, 1e100), 10**15, 1e12  # the last is of a budget
CERTAIN = 1e-2  # a delta from which on every data set is too large for it


@contextmanager
def quietly() -> Iterator[None]:
    """Opacus warns of what its own hooks and grids do; none of it is the reader's to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def epsilon(
    noise: float, delta: float, *, sample_rate: float, steps: int, accountant: str = "prv", examples: int | None = None
) -> float:
    """What `steps` of DP-SGD with the noise multiplier `noise` spend: epsilon at `delta`, never below 0.

    sample_rate: the chance of each example to be in a mini-batch, B / N; it may be below 1 / N, for mini-batches that
    are mostly empty. accountant: `prv` (tight) or `rdp`. examples: N. A delta of 1/N and more protects nobody: it
    allows one of N examples to be published. There is a warning of it; where N is not given, from `sample_rate` on (N
    is its inverse at least) and from 0.01 on.
    Where `prv` would need too large a grid (little noise and many steps), `rdp` answers, with a warning.
    Raises ValueError for numbers outside, such as no noise, with which epsilon is infinite; delta lies in (0, 1), noise
    in [1e-100, 1e100], and there are 10^15 steps at most.
    """
    if isinstance(noise, int | float) and noise == 0:
        raise ValueError(f"noise={noise} is out of range: without noise epsilon is infinite; give a number above 0")
    checks.number("noise", noise, *NOISE)
    _check(delta, sample_rate, steps, accountant, examples)
    numbers = float(noise), float(delta), float(sample_rate), int(steps)
    spent = _prv(*numbers, GRID) if accountant == "prv" else None
    if accountant == "prv" and spent is None:
        warnings.warn(f"{_TOO_LARGE}; this is the epsilon of accountant='rdp', some percent larger", stacklevel=2)
    return _rdp(*numbers) if spent is None else spent


def noise_multiplier(
    epsilon: float,
    delta: float,
    *,
    sample_rate: float,
    steps: int,
    accountant: str = "prv",
    examples: int | None = None,
) -> float:
    """The sigma with which `steps` of DP-SGD spend (epsilon, delta): noise of sigma x clip on each sum of gradients.

    It spends no more than epsilon, and less by 0.01 or a hundredth of it at most. sample_rate, examples: as in
    `epsilon`. accountant: `prv` (tight) or `rdp` (what "Zen" used: it prints an order alpha); where `prv` would need
    too large a grid `rdp` answers, with a warning, and a sigma some percent larger.
    Raises ValueError for numbers outside, such as an epsilon above 1e12, and for one that no noise gets down to.
    """
    checks.number("epsilon", epsilon, 0, LARGEST, open_low=True)
    _check(delta, sample_rate, steps, accountant, examples)
    numbers = float(delta), float(sample_rate), int(steps)
    by_rdp = _search_rdp(float(epsilon), *numbers)
    found = _search_prv(float(epsilon), *numbers, by_rdp) if accountant == "prv" else None
    if accountant == "prv" and found is None:
        warnings.warn(f"{_TOO_LARGE}; this is the noise of accountant='rdp', some percent larger", stacklevel=2)
    return by_rdp if found is None else found


_TOO_LARGE = "accountant='prv' has no answer for these numbers (its grid would be too large, or too coarse)"


def _check(delta: float, sample_rate: float, steps: int, accountant: str, examples: int | None) -> None:
    checks.number("delta", delta, 0, 1, open_low=True)
    if delta == 1:
        raise ValueError(f"delta={delta} is out of range: it promises nothing; give a number in (0, 1)")
    checks.number("sample_rate", sample_rate, 0, 1, open_low=True)
    checks.whole("steps", steps, 1, STEPS)
    checks.one_of("accountant", accountant, ACCOUNTANTS)
    checks.if_given(checks.whole, "examples", examples)
    allowed = 1 / examples if examples else min(sample_rate, CERTAIN)
    if delta >= allowed:
        of = f"1 / examples = {allowed:.3g}" if examples else f"{allowed:.3g}, which is 1/N at least"
        given = f"delta={delta:g} is not below {of}: that allows an example to be published whole"
        warnings.warn(f"{given}; choose a smaller one", stacklevel=3)


def _rdp(noise: float, delta: float, sample_rate: float, steps: int) -> float:
    from opacus.accountants import RDPAccountant

    counter = RDPAccountant()
    counter.history = [(noise, sample_rate, steps)]
    with quietly():
        spent, order = counter.get_privacy_spent(delta=delta)
        if order == max(counter.DEFAULT_ALPHAS):
            spent = min(spent, counter.get_epsilon(delta=delta, alphas=list(HIGHER_ORDERS)))
    return max(0.0, float(spent))


def _search_rdp(target: float, delta: float, sample_rate: float, steps: int) -> float:
    from opacus.accountants import RDPAccountant
    from opacus.accountants.utils import MAX_SIGMA, get_noise_multiplier

    tolerance = max(min(0.01, target / 100), target * 1e-6)
    asked = {"target_epsilon": target, "target_delta": delta, "sample_rate": sample_rate, "steps": steps}
    usual = RDPAccountant.DEFAULT_ALPHAS
    with quietly():
        for orders in (usual, [*usual, *HIGHER_ORDERS]):
            if target > (least := _least(delta, orders[-1])):
                try:
                    return get_noise_multiplier(**asked, epsilon_tolerance=tolerance, accountant="rdp", alphas=orders)
                except ValueError:
                    continue  # the noise is larger than MAX_SIGMA
    if target <= least:
        raise ValueError(
            f"epsilon={target:g} is too low: with RDP orders up to {HIGHER_ORDERS[-1]} no noise is shown to spend less "
            f"than {least:.2g} at delta={delta:g}; give a larger epsilon or delta"
        )
    given = f"epsilon={target:g} needs a noise multiplier above {MAX_SIGMA:g} for {steps} steps"
    raise ValueError(f"{given}; give a larger epsilon, or fewer steps")


def _least(delta: float, order: int) -> float:
    """The epsilon that infinite noise is shown to spend with orders up to this one."""
    return max(0.0, math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1))


def _prv(noise: float, delta: float, sample_rate: float, steps: int, most: int) -> float | None:
    """None where the grid would have more than `most` points, or none serves."""
    from opacus.accountants import PRVAccountant
    from opacus.accountants.analysis.prv import PoissonSubsampledGaussianPRV

    if delta < SMALLEST_DELTA:
        return None
    counter = PRVAccountant()
    counter.history = [(noise, sample_rate, steps)]
    with quietly():
        try:
            mechanism = [PoissonSubsampledGaussianPRV(sample_rate, noise)]
            grid = counter._get_domain(mechanism, [steps], eps_error=PRV_ERROR, delta_error=delta / 1000)
            spent = float(counter.get_epsilon(delta=delta, eps_error=PRV_ERROR)) if grid.size <= most else math.nan
        except (ArithmeticError, RuntimeError, ValueError):  # a grid on which its sums are not exact enough
            return None
    return max(0.0, spent) if math.isfinite(spent) else None


def _search_prv(target: float, delta: float, sample_rate: float, steps: int, by_rdp: float) -> float | None:
    """From RDP's sigma downwards, by secants in the logarithms, within what has been tried."""
    tolerance = min(0.01, target / 100)
    high, low = by_rdp, 0.0  # sigmas that spend no more than the target, and more
    spent = _prv(high, delta, sample_rate, steps, GRID_OF_A_SEARCH)
    if spent is None or spent > target:
        return None
    slope, aim = -1.5, math.log(target - tolerance / 2)
    while target - spent > tolerance:
        tried = high * math.exp((aim - math.log(max(spent, 1e-9))) / slope)
        if not low < tried < high:
            tried = (low + high) / 2 if low else high / 2
        now = _prv(tried, delta, sample_rate, steps, GRID_OF_A_SEARCH)
        if now is None:
            return None
        slope = min(-0.1, math.log(max(now, 1e-9) / max(spent, 1e-9)) / math.log(tried / high))
        if now > target:
            low = tried
        else:
            high, spent = tried, now
    return high
