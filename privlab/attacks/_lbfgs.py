"""L-BFGS for many independent problems in lock step, each with a step length of its own.

`torch.optim.LBFGS` takes one problem, and a fixed step by default: a trial that overshoots is lost. Here every trial
backtracks for itself, and one that has converged, diverged or stalled is no longer evaluated. The two loops over the
memory, which for one trial are four hundred small operations, are two products with all of it and two triangular
systems of the memory's size.
Source: Nocedal and Wright, Numerical Optimization, algorithms 7.4 (two loops), 7.5 and 3.1 (backtracking); Byrd,
Nocedal and Schnabel 1994 (the products instead of the loops).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Function = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
HISTORY = 100  # as `torch.optim.LBFGS` has it: with 20, DLG's own network takes two to three times the iterations
ARMIJO = 1e-4
CURVATURE = 1e-8  # a pair is kept if s.y is more than this share of |s| |y|: relative, so that late steps count
STALL = (100, 0.9)  # a trial that over 100 iterations has not come down to 0.9 of its value is given up
_HALVINGS = 10


@dataclass(frozen=True)
class Minima:
    """points: `(T, n)`, where each trial was lowest; values: `(T,)`; iterations: `(T,)`, to tolerance, or NaN."""

    points: Tensor
    values: Tensor
    iterations: Tensor


class _Memory:
    """The last `size` pairs (s, y) of every trial, `(T, size, n)` each, oldest first in `order`; and their products.

    A slot that holds no pair has `curved` False and does nothing.
    """

    def __init__(self, trials: int, size: int, n: int, like: Tensor) -> None:
        self.pairs = like.new_zeros(2, trials, size, n)
        self.sy = like.new_zeros(trials, size, size, dtype=torch.float64)  # s_i . y_j
        self.yy = torch.zeros_like(self.sy)
        self.curved = torch.zeros(trials, size, dtype=torch.bool, device=like.device)
        self.scale = like.new_ones(trials)
        self.held, self.next = 0, 0

    @property
    def order(self) -> Tensor:
        """The slots in use, oldest first."""
        size = self.pairs.shape[2]
        oldest = self.next if self.held == size else 0
        return (torch.arange(self.held, device=self.pairs.device) + oldest) % size

    def add(self, s: Tensor, y: Tensor, moved: Tensor) -> None:
        """A pair of each trial, `(T, n)`. One of too little curvature, or of a trial that did not move, is empty."""
        size, slot = self.pairs.shape[2], self.next
        sy, yy = (s * y).sum(1), y.square().sum(1)
        good = moved & (sy > CURVATURE * s.norm(dim=1) * yy.sqrt())
        self.pairs[:, :, slot] = torch.stack([s, y]).where(good[:, None], 0)
        self.next, self.held = (slot + 1) % size, min(self.held + 1, size)
        products = (self.pairs[:, :, : self.held] @ self.pairs[1, :, slot, :, None])[..., 0].double()
        self.sy[:, : self.held, slot] = products[0]
        self.yy[:, : self.held, slot] = self.yy[:, slot, : self.held] = products[1]
        self.curved[:, slot] = good
        self.scale = torch.where(good, sy / yy.where(good, torch.ones_like(yy)), self.scale)

    def direction(self, gradient: Tensor) -> Tensor:
        """Minus the estimated inverse Hessian times the gradient, `(T, n)`."""
        scale = self.scale[:, None]
        if not self.held:
            return -scale * gradient
        order = self.order
        both = self.curved[:, order, None] & self.curved[:, None, order]
        apart = torch.eye(self.held, dtype=torch.float64, device=gradient.device)
        upper = torch.where(both, self.sy[:, order][:, :, order], apart).triu()
        yy = torch.where(both, self.yy[:, order][:, :, order], 0)
        along = (self.pairs[:, :, : self.held] @ gradient[:, :, None])[..., 0][..., order].double()
        sg, yg = torch.where(self.curved[:, order], along, 0)
        first = torch.linalg.solve_triangular(upper, sg[..., None], upper=True)
        weight = scale.double()[..., None]
        right = upper.diagonal(dim1=1, dim2=2)[..., None] * first - weight * (yg[..., None] - yy @ first)
        second = torch.linalg.solve_triangular(upper.mT, right, upper=False)
        back = torch.cat([second, -weight * first], 1)[:, :, 0].to(gradient.dtype)
        mixed = back.new_zeros(2, len(gradient), self.held)
        mixed[:, :, order] = back.unflatten(1, (2, -1)).transpose(0, 1)
        s, y = (mixed[:, :, None] @ self.pairs[:, :, : self.held])[:, :, 0]
        return -(scale * gradient + y + s)

    def forget(self, trials: Tensor) -> None:
        """Begin anew for these trials, a mask `(T,)`."""
        self.curved &= ~trials[:, None]
        self.scale = torch.where(trials, torch.ones_like(self.scale), self.scale)

    def keep(self, trials: Tensor) -> None:
        """Drop all other trials than these, a mask `(T,)`."""
        self.pairs = self.pairs[:, trials]
        held = self.sy, self.yy, self.curved, self.scale
        self.sy, self.yy, self.curved, self.scale = (part[trials] for part in held)


def minimise(
    function: Function,
    start: Tensor,
    *,
    iterations: int,
    tolerance: float = 0.0,
    history: int = HISTORY,
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
    begun = values.isfinite() & (values >= tolerance)
    live = begun.nonzero().flatten()
    gradients, before = gradients[live], values.clone()
    memory = _Memory(len(live), min(history, iterations), points.shape[1], points)
    fresh = torch.ones(len(live), dtype=torch.bool, device=points.device)  # trials with nothing in memory
    for iteration in range(1, iterations + 1):
        if not len(live):
            break
        slope, way = _descent(memory, gradients, fresh)
        here = points[live]
        at, value, slopes, moved = _backtrack(function, here, values[live], way, slope, live)
        slopes = slopes.where(moved[:, None], gradients)
        memory.add(at - here, slopes - gradients, moved)
        memory.forget(~moved)
        points[live], values[live], gradients = at, value, slopes
        below = value < tolerance
        done[live[below]] = float(iteration)
        stays = ~below & (moved | ~fresh)  # where not even the steepest descent helps, there is no way on
        fresh = ~moved
        if iteration % STALL[0] == 0:
            stays &= value < STALL[1] * before[live]
            before = values.clone()
        if not stays.all():
            memory.keep(stays)
            live, gradients, fresh = live[stays], gradients[stays], fresh[stays]
        if watch:
            watch(iteration, points, values)
    return Minima(points, values, done)


def _descent(memory: _Memory, gradient: Tensor, fresh: Tensor) -> tuple[Tensor, Tensor]:
    """The slope along each trial's direction, and the direction; the steepest where there is no better."""
    way = memory.direction(gradient)
    slope = (way * gradient).sum(1)
    steep = fresh | ~(slope < 0)
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
