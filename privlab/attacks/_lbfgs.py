"""L-BFGS for many independent problems in lock step, each with a step length of its own.

`torch.optim.LBFGS` takes one problem, and a fixed step by default: a trial that overshoots is lost. Here every trial
backtracks for itself, and one that has converged, diverged or stalled is no longer evaluated.
Source: Nocedal and Wright, Numerical Optimization, algorithms 7.4 (two loops), 7.5 and 3.1 (backtracking).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Function = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
ARMIJO = 1e-4
CURVATURE = 1e-8  # a pair is kept if s.y is more than this share of |s| |y|: relative, so that late steps count
STALL = (50, 0.9)  # a trial that over 50 iterations has not come down to 0.9 of its value is given up
_HALVINGS = 10


@dataclass(frozen=True)
class Minima:
    """points: `(T, n)`, where each trial was lowest; values: `(T,)`; iterations: `(T,)`, to tolerance, or NaN."""

    points: Tensor
    values: Tensor
    iterations: Tensor


class _Memory:
    """The last `size` pairs of every trial, `(T, size, n)`; slots that hold none have rho = 0 and do nothing."""

    def __init__(self, trials: int, size: int, n: int, like: Tensor) -> None:
        self.s, self.y = like.new_zeros(trials, size, n), like.new_zeros(trials, size, n)
        self.rho, self.scale = like.new_zeros(trials, size), like.new_ones(trials)
        self.newest, self.size = 0, size

    def direction(self, gradient: Tensor, live: Tensor) -> Tensor:
        """The two loops, for the live trials."""
        q, alphas = gradient.clone(), {}
        order = [(self.newest - 1 - age) % self.size for age in range(self.size)]
        for slot in order:
            alphas[slot] = self.rho[live, slot] * (self.s[live, slot] * q).sum(1)
            q -= alphas[slot][:, None] * self.y[live, slot]
        q *= self.scale[live, None]
        for slot in reversed(order):
            beta = self.rho[live, slot] * (self.y[live, slot] * q).sum(1)
            q += (alphas[slot] - beta)[:, None] * self.s[live, slot]
        return -q

    def add(self, s: Tensor, y: Tensor, live: Tensor) -> None:
        """A pair for each live trial; one of too little curvature leaves its slot empty."""
        sy, yy = (s * y).sum(1), y.square().sum(1)
        good = sy > CURVATURE * s.norm(dim=1) * yy.sqrt()
        slot, self.newest = self.newest, (self.newest + 1) % self.size
        self.s[live, slot], self.y[live, slot] = s, y
        self.rho[live, slot] = torch.where(good, 1 / sy.where(good, torch.ones_like(sy)), 0)
        self.scale[live] = torch.where(good, sy / yy.where(good, torch.ones_like(yy)), self.scale[live])

    def forget(self, trials: Tensor) -> None:
        self.rho[trials], self.scale[trials] = 0, 1


def minimise(
    function: Function,
    start: Tensor,
    *,
    iterations: int,
    tolerance: float = 0.0,
    history: int = 20,
    watch: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Minima:
    """Minimise a function from every row of `start` `(T, n)` by itself.

    function: points `(t, n)` and the numbers of their trials `(t,)` -> values `(t,)` and gradients `(t, n)`; what is
    not finite counts as too high. A trial ends when its value is below `tolerance`, after `iterations`, when no step
    along the steepest descent lowers it, or when it stalls (see `STALL`). `watch(iteration, points, values)` is called
    with all trials.
    """
    points = start.clone()
    values, gradients = function(points, torch.arange(len(points), device=points.device))
    values = values.where(values.isfinite(), torch.inf)
    done = torch.where(values < tolerance, 0.0, torch.nan)
    memory = _Memory(len(points), history, points.shape[1], points)
    fresh = torch.ones(len(points), dtype=torch.bool, device=points.device)  # trials with nothing in memory
    live = (values.isfinite() & (values >= tolerance)).nonzero().flatten()
    before = values.clone()
    for iteration in range(1, iterations + 1):
        if not len(live):
            break
        slope, way = _descent(memory, gradients, fresh, live)
        at, value, slopes, moved = _backtrack(function, points[live], values[live], way, slope, live)
        went, stuck = live[moved], live[~moved]
        memory.add((at - points[live])[moved], (slopes - gradients[live])[moved], went)
        points[went], values[went], gradients[went] = at[moved], value[moved], slopes[moved]
        end = stuck[fresh[stuck]]  # not even the steepest descent helps
        fresh[went], fresh[stuck] = False, True
        memory.forget(stuck)
        below = values[live] < tolerance
        done[live[below]] = float(iteration)
        live = live[~below & ~torch.isin(live, end)]
        if iteration % STALL[0] == 0:
            live = live[values[live] < STALL[1] * before[live]]
            before = values.clone()
        if watch:
            watch(iteration, points, values)
    return Minima(points, values, done)


def _descent(memory: _Memory, gradients: Tensor, fresh: Tensor, live: Tensor) -> tuple[Tensor, Tensor]:
    """The slope along each live trial's direction, and the direction; the steepest where there is no better."""
    gradient = gradients[live]
    way = memory.direction(gradient, live)
    slope = (way * gradient).sum(1)
    steep = fresh[live] | ~(slope < 0)
    first = -gradient / gradient.abs().sum(1, keepdim=True).clamp_min(1)
    way = torch.where(steep[:, None], first, way)
    return (way * gradient).sum(1), way


def _backtrack(
    function: Function, points: Tensor, values: Tensor, way: Tensor, slope: Tensor, live: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Halve each trial's step until its value falls enough: new points, values, gradients, and who moved."""
    step = torch.ones_like(values)
    at, value, gradient = points.clone(), values.clone(), torch.zeros_like(points)
    pending = torch.arange(len(live), device=live.device)
    for _ in range(_HALVINGS):
        trial = points[pending] + step[pending, None] * way[pending]
        new, slopes = function(trial, live[pending])
        enough = new <= values[pending] + ARMIJO * step[pending] * slope[pending]
        enough &= new.isfinite() & slopes.isfinite().all(1)
        took = pending[enough]
        at[took], value[took], gradient[took] = trial[enough], new[enough], slopes[enough]
        pending = pending[~enough]
        if not len(pending):
            break
        step[pending] /= 2
    moved = torch.ones(len(live), dtype=torch.bool, device=live.device)
    moved[pending] = False
    return at, value, gradient, moved
