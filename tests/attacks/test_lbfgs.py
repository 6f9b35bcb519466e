"""L-BFGS in lock step: against known minima, scipy and the dense formula, and every trial for itself."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from privlab.attacks import _lbfgs
from privlab.attacks._lbfgs import minimise


def quadratic(trials, n, condition=100.0, seed=0):
    """x A x / 2 - b x, another one for each trial, with minimum zero; and where the minima are."""
    random = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(trials, n, n, generator=random, dtype=torch.float64))[0]
    scales = torch.logspace(0, float(np.log10(condition)), n, dtype=torch.float64)
    matrix = turn @ torch.diag(scales) @ turn.mT
    minima = torch.randn(trials, n, generator=random, dtype=torch.float64)

    def function(points, trial):
        slopes = torch.einsum("tij,tj->ti", matrix[trial], points - minima[trial])
        return (slopes * (points - minima[trial])).sum(1) / 2, slopes

    return function, minima


def rosenbrock(points, trial):
    x = points.detach().requires_grad_()
    values = (100 * (x[:, 1:] - x[:, :-1] ** 2) ** 2 + (1 - x[:, :-1]) ** 2).sum(1)
    return values.detach(), torch.autograd.grad(values.sum(), x)[0]


def starts(trials, n, seed=0, spread=1.0):
    return spread * torch.randn(trials, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("history", [2, 20])
def test_quadratics_are_solved_every_trial_its_own(history):
    function, minima = quadratic(6, 12)
    found = minimise(function, starts(6, 12), iterations=300, tolerance=1e-16, history=history)
    torch.testing.assert_close(found.points, minima, rtol=0, atol=1e-7)
    assert found.values.max() < 1e-16
    assert found.iterations.min() > 5


@pytest.mark.parametrize("n", [2, 8])
def test_rosenbrocks_valley_ends_where_scipys_does(n):
    begin = starts(5, n, seed=3)
    found = minimise(rosenbrock, begin, iterations=400, tolerance=1e-18)
    for trial in range(5):

        def one(x):
            value, slope = rosenbrock(torch.from_numpy(x)[None], None)
            return value.item(), slope[0].numpy()

        slow = minimize(one, begin[trial].numpy(), jac=True, method="L-BFGS-B", options={"ftol": 1e-18, "gtol": 1e-12})
        if slow.fun < 1e-12:  # for n > 3 there is another minimum, and the two methods may part ways
            np.testing.assert_allclose(found.points[trial].numpy(), slow.x, atol=1e-5)
    assert (found.values < 1e-18).sum() >= 4


def test_it_takes_about_as_many_evaluations_as_scipy():
    asked = []
    begin = torch.tensor([[-1.2, 1.0]], dtype=torch.float64)
    minimise(lambda x, t: asked.append(1) or rosenbrock(x, t), begin, iterations=400, tolerance=1e-12)
    calls = []
    minimize(
        lambda x: calls.append(1) or rosenbrock(torch.from_numpy(x)[None], None)[0].item(),
        begin[0].numpy(),
        jac=lambda x: rosenbrock(torch.from_numpy(x)[None], None)[1][0].numpy(),
        method="L-BFGS-B",
        options={"ftol": 1e-16},
    )
    assert len(asked) < 2 * len(calls)


def test_the_two_loops_are_the_dense_formula_of_bfgs():
    """Seven pairs in a memory of five: the first two are forgotten; one of no curvature counts for nothing."""
    random = torch.Generator().manual_seed(0)
    n, live = 6, torch.ones(3, dtype=torch.bool)
    memory = _lbfgs._Memory(3, 5, n, torch.zeros(1, dtype=torch.float64))
    pairs = []
    for number in range(7):
        s = torch.randn(3, n, generator=random, dtype=torch.float64)
        y = s + 0.3 * torch.randn(3, n, generator=random, dtype=torch.float64)
        if number == 4:
            y[1] = -y[1]
        memory.add(s, y, live)
        pairs.append((s, y))
    gradient = torch.randn(3, n, generator=random, dtype=torch.float64)
    found = memory.direction(gradient)
    for trial in range(3):
        kept = [(s[trial], y[trial]) for s, y in pairs[-5:] if s[trial] @ y[trial] > 0]
        s, y = kept[-1]
        inverse = (s @ y) / (y @ y) * torch.eye(n, dtype=torch.float64)
        for s, y in kept:
            side = torch.eye(n, dtype=torch.float64) - torch.outer(s, y) / (s @ y)
            inverse = side @ inverse @ side.T + torch.outer(s, s) / (s @ y)
        torch.testing.assert_close(found[trial], -inverse @ gradient[trial])
    memory.forget(torch.tensor([False, True, False]))
    again = memory.direction(gradient)
    torch.testing.assert_close(again[1], -gradient[1])
    torch.testing.assert_close(again[[0, 2]], found[[0, 2]])
    memory.keep(torch.tensor([True, False, True]))
    torch.testing.assert_close(memory.direction(gradient[[0, 2]]), found[[0, 2]])


def two_loops(pairs, scale, gradient):
    """Algorithm 7.4 of Nocedal and Wright, written out for one trial; pairs are oldest first."""
    way, shares = gradient.clone(), []
    for s, y in reversed(pairs):
        shares.append((s @ way) / (s @ y))
        way = way - shares[-1] * y
    way = scale * way
    for (s, y), share in zip(pairs, reversed(shares), strict=True):
        way = way + (share - (y @ way) / (s @ y)) * s
    return -way


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-8), (torch.float32, 1e-3)])
def test_products_with_all_of_a_long_memory_are_the_two_loops_over_it(dtype, rtol):
    """Of steps on an ill-conditioned hill: 150 pairs in a memory of 100, with a few left out."""
    trials, n, size = 3, 160, 100
    random = torch.Generator().manual_seed(0)
    scales = torch.logspace(0, 2, n, dtype=torch.float64)
    memory = _lbfgs._Memory(trials, size, n, torch.zeros(1, dtype=dtype))
    pairs, gradient = [[] for _ in range(trials)], torch.randn(trials, n, generator=random, dtype=dtype)
    for number in range(150):
        s = torch.randn(trials, n, generator=random, dtype=torch.float64)
        y = scales * s
        if number in (60, 149):
            y[1] = -y[1]  # no curvature: an empty pair
        moved = torch.tensor([number != 100, True, True])
        memory.add(s.to(dtype), y.to(dtype), moved)
        for trial in range(trials):
            good = moved[trial] and (s[trial] @ y[trial] > 0)
            pairs[trial].append((s[trial], y[trial]) if good else None)
        if number in (0, 1, 30, 99, 100, 149):
            found = memory.direction(gradient)
            assert found.dtype == dtype
            for trial in range(trials):
                last = [pair for pair in pairs[trial] if pair][-1]
                kept = [pair for pair in pairs[trial][-size:] if pair]
                scale = (last[0] @ last[1]) / (last[1] @ last[1])
                exact = two_loops(kept, scale, gradient[trial].double())
                assert (found[trial] - exact).norm() <= rtol * exact.norm()
                assert exact.isfinite().all()


def test_a_pair_of_hardly_any_curvature_is_left_out():
    memory = _lbfgs._Memory(2, 3, 2, torch.zeros(1, dtype=torch.float64))
    s = torch.tensor([[1.0, 0.0], [1e-9, 0.0]], dtype=torch.float64)
    y = torch.tensor([[1e-9, 1.0], [2e-9, 0.0]], dtype=torch.float64)  # nearly at right angles; small but parallel
    memory.add(s, y, torch.ones(2, dtype=torch.bool))
    gradient = torch.ones(2, 2, dtype=torch.float64)
    found = memory.direction(gradient)
    assert torch.equal(found[0], -gradient[0])
    torch.testing.assert_close(found[1], torch.tensor([-0.5, -0.5], dtype=torch.float64))


def test_a_trial_alone_ends_as_it_does_among_others():
    begin = starts(7, 4, seed=1)
    together = minimise(rosenbrock, begin, iterations=60, tolerance=1e-10)
    for trial in range(7):
        alone = minimise(rosenbrock, begin[trial : trial + 1], iterations=60, tolerance=1e-10)
        torch.testing.assert_close(alone.points[0], together.points[trial], rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(alone.iterations[0], together.iterations[trial], equal_nan=True)


def test_steps_are_halved_until_the_value_falls():
    """Of x to the fourth at 0.9 the slope is 2.9, and the first step of length one lands beyond zero: at -0.1."""
    points = []

    def function(x, trial):
        points.append(x.flatten().tolist())
        return 100 * x[:, 0] ** 4, 400 * x**3

    minimise(function, torch.tensor([[0.45]], dtype=torch.float64), iterations=1)
    assert points == [[0.45], [pytest.approx(-0.55)], [pytest.approx(-0.05)]]


def test_a_fall_by_less_than_a_ten_thousandth_of_the_slope_is_no_step():
    seen = []

    def function(x, trial):
        seen.append(x.item())
        fall = {0: 10.0, 1: 10.0 - 0.9e-4, 2: 10.0 - 0.6e-4}[len(seen) - 1]  # slope -1: 1e-4, then 0.5e-4 are asked
        return torch.tensor([fall], dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)

    found = minimise(function, torch.zeros(1, 1, dtype=torch.float64), iterations=1)
    assert seen == [0, -1, -0.5]
    assert found.values.item() == 10.0 - 0.6e-4
    assert found.points.item() == -0.5


def test_a_first_step_is_no_longer_than_one_and_no_longer_than_the_slope():
    for slope, length in ((50.0, 1.0), (0.2, 0.2)):
        begin = torch.zeros(1, 2, dtype=torch.float64)
        way = torch.tensor([slope, 0.0], dtype=torch.float64)
        found = minimise(lambda x, t, way=way: (100 + x @ way, way.expand_as(x)), begin, iterations=1)
        torch.testing.assert_close(found.points, torch.tensor([[-length, 0.0]], dtype=torch.float64))


@pytest.mark.parametrize("spoiled", ["value", "slope", "both", "infinite"])
def test_a_trial_that_is_not_a_number_does_not_spoil_its_neighbours(spoiled):
    """From the start, and from the tenth evaluation on."""
    function, minima = quadratic(5, 6)
    calls = []

    def broken(points, trial):
        values, slopes = function(points, trial)
        calls.append(trial.tolist())
        ill = (trial == 1) | ((trial == 3) & (len(calls) > 10))
        if spoiled in ("value", "both"):
            values = values.masked_fill(ill, torch.nan)
        if spoiled == "infinite":
            values = values.masked_fill(ill, -torch.inf)
        if spoiled in ("slope", "both"):
            slopes = slopes.masked_fill(ill[:, None], torch.nan)
        return values, slopes

    found = minimise(broken, starts(5, 6), iterations=200, tolerance=1e-14)
    torch.testing.assert_close(found.points[[0, 2, 4]], minima[[0, 2, 4]], rtol=0, atol=1e-6)
    assert found.points.isfinite().all()
    assert found.iterations.isnan().tolist() == [False, True, False, True, False]
    if spoiled != "slope":
        assert found.values[1] == torch.inf
    assert found.values[3] < function(starts(5, 6), torch.arange(5))[0][3]  # keeps what it had
    assert torch.equal(found.values[3], function(found.points[3:4], torch.tensor([3]))[0][0])
    assert 1 not in calls[-1]
    assert 3 not in calls[-1]


def test_who_is_below_the_tolerance_is_asked_no_more():
    function, _ = quadratic(3, 5)
    begin = starts(3, 5)
    _, minima = quadratic(3, 5)
    begin[0] = minima[0] + 1e-9  # there already
    begin[1] = minima[1] + 1e-3 * begin[1]
    calls, watched = [], []
    found = minimise(
        lambda x, t: calls.append(t.tolist()) or function(x, t),
        begin,
        iterations=100,
        tolerance=1e-8,
        watch=lambda iteration, points, values: watched.append((iteration, values.clone())),
    )
    assert found.iterations[0] == 0
    assert calls[0] == [0, 1, 2]
    assert not any(0 in call for call in calls[1:])
    for trial in (1, 2):
        reached = int(found.iterations[trial])
        assert watched[reached - 1][1][trial] < 1e-8 <= watched[reached - 2][1][trial]
    assert [iteration for iteration, _ in watched] == list(range(1, int(found.iterations[1:].max()) + 1))
    assert found.iterations[1] < found.iterations[2]
    assert calls[-1] == [2]


def test_a_trial_that_hardly_comes_down_in_a_hundred_iterations_is_given_up():
    """A slope gives steps of its own length: the value falls by its square each time, from one."""
    falls = torch.tensor([0.08, 0.12, 0.5], dtype=torch.float64) / 100  # in 100 iterations to 0.92, 0.88, 0.5
    slopes, calls = falls.sqrt()[:, None], []

    def function(x, trial):
        calls.append(trial.tolist())
        return 1 + (x * slopes[trial]).sum(1), slopes[trial].expand_as(x)

    minimise(function, torch.zeros(3, 1, dtype=torch.float64), iterations=170, tolerance=-9.0)
    asked = [sum(trial in call for call in calls[1:]) for trial in range(3)]
    assert asked == [100, 170, 170]


def test_a_trial_that_no_step_helps_ends():
    calls = []

    def uphill(x, trial):  # says that it falls, and rises
        calls.append(len(x))
        return 1 + x.abs().sum(1), torch.ones_like(x)

    found = minimise(uphill, torch.zeros(1, 2, dtype=torch.float64), iterations=100)
    assert len(calls) == 1 + _lbfgs._HALVINGS
    assert found.values.item() == 1
    assert found.points.abs().max() == 0


def test_what_a_trial_fell_long_ago_does_not_count():
    """By a hundredth in each of the first fifty iterations, and hardly any more in the hundred after the first."""
    calls = []

    def function(x, trial):
        calls.append(x.item())
        steep = x[:, 0] > -5
        values = torch.where(steep, 1 + 0.1 * x[:, 0], 0.5 + 0.01 * (x[:, 0] + 5))
        return values, torch.where(steep, 0.1, 0.01).double()[:, None]

    found = minimise(function, torch.zeros(1, 1, dtype=torch.float64), iterations=300)
    assert len(calls) == 201
    assert 0.47 < found.values.item() < 0.5


def test_a_trial_that_is_stuck_forgets_and_tries_the_steepest_descent(monkeypatch):
    """Slopes that hardly change promise a minimum far away, and what is learnt from them misleads."""
    forgotten, forget = [], _lbfgs._Memory.forget

    def listen(memory, trials):
        forgotten.append(trials.any().item())
        forget(memory, trials)

    monkeypatch.setattr(_lbfgs._Memory, "forget", listen)

    def function(x, trial):
        return (x.abs() + 1e-7 * x.square())[:, 0], x.sign() + 2e-7 * x

    found = minimise(function, torch.tensor([[10.5]], dtype=torch.float64), iterations=40)
    assert found.values.item() < 0.6
    assert 5 < sum(forgotten) < 40


def test_a_place_without_a_slope_is_stepped_around():
    def function(x, trial):
        hole = (x > 2.9) & (x < 3.1)  # where the first step from four would land
        return x[:, 0].square() / 2, x.masked_fill(hole, torch.nan)

    found = minimise(function, torch.tensor([[4.0]], dtype=torch.float64), iterations=40, tolerance=1e-12)
    assert found.values.item() < 1e-12


def test_nothing_to_do_is_done_at_once_and_the_start_stays():
    begin = starts(2, 3)
    kept = begin.clone()
    calls = []
    found = minimise(lambda x, t: calls.append(1) or quadratic(2, 3)[0](x, t), begin, iterations=10, tolerance=1e9)
    assert len(calls) == 1
    assert found.iterations.tolist() == [0, 0]
    minimise(quadratic(2, 3)[0], begin, iterations=10)
    assert torch.equal(begin, kept)
