"""How far the gradient that a trial would send lies from the one that was sent, in parts.

A part answers three questions, one number a trial each: its inner product with what was sent, its own squared norm,
and the squared distance of a multiple of it. What an attack minimises is made of these. What victims sent is held in
the forms in which trials are compared with it: each is made once, not at every step.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

_SMALL = 2**12  # numbers of a weight up to which it is compared with others in one piece, as each call has its price
_KEPT = 16  # sets of trials whose forms are kept: an attack asks for the same ones step after step


@dataclass(frozen=True)
class Sent:
    """A part of what was sent, one for all trials or `(T, ...)`. axes: how many are its own, the last ones."""

    value: Tensor
    axes: int = 1

    @cached_property
    def norm(self) -> Tensor:
        """Its squared norm, `()` or `(T,)`."""
        return self.value.flatten(-self.axes).square().sum(-1)

    @cached_property
    def double(self) -> "Sent":
        """The same in double precision."""
        return Sent(self.value.double(), self.axes)


class Chosen:
    """What the victims of some trials sent: `(*weight)` by name, or `(T, *weight)` where they are several."""

    def __init__(self, values: Mapping[str, Tensor], axes: Mapping[str, int]) -> None:
        self._values, self._axes = values, axes
        self._made: dict[tuple[str, ...], Sent] = {}

    def weight(self, name: str) -> Sent:
        """Of one weight, in its shape."""
        return self._made.setdefault((name,), Sent(self._values[name], self._axes[name]))

    def flat(self, names: Sequence[str]) -> Sent:
        """Of some weights, in one row."""
        key = ("flat", *names)
        if key not in self._made:
            self._made[key] = Sent(torch.cat([self._values[name].flatten(-self._axes[name]) for name in names], -1))
        return self._made[key]


class Victims:
    """What each of V victims sent, `(V, *weight)` by name."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        self.values = values
        self._axes = {name: value.dim() - 1 for name, value in values.items()}
        self._kept = lru_cache(_KEPT)(self._chosen)

    def of(self, victim: Tensor) -> Chosen:
        """For trials on these victims, `(T,)`."""
        numbers = tuple(victim.tolist())
        return self._kept(numbers[:1] if len(set(numbers)) == 1 else numbers)

    def _chosen(self, numbers: tuple[int, ...]) -> Chosen:
        of = numbers[0] if len(numbers) == 1 else list(numbers)
        return Chosen({name: value[of] for name, value in self.values.items()}, self._axes)


class _SquaredNorm(Function):
    """The squared norm of each row: like torch's own, with one product for its slope, and no slope of that."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        return torch.linalg.vector_norm(rows, dim=1).square()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        (rows,) = ctx.saved_tensors
        return (2 * slope)[:, None] * rows


def _squared_norm(rows: Tensor) -> Tensor:
    found: Tensor = _SquaredNorm.apply(rows)
    return found


@dataclass(frozen=True)
class Flat:
    """Gradients written out: `(T, n)`, and what was sent, `(n,)` or one a trial."""

    found: Tensor
    sent: Sent

    def product(self) -> Tensor:
        sent = self.sent.value
        return self.found @ sent if sent.dim() == 1 else (self.found * sent).sum(1)

    def norm(self) -> Tensor:
        return _squared_norm(self.found)

    def distance(self, factor: Tensor | None = None) -> Tensor:
        found = self.found if factor is None else factor[:, None].to(self.found) * self.found
        return _squared_norm(found - self.sent.value)


@dataclass(frozen=True)
class Outer:
    """The gradient of a dense layer's weight, never formed: the sum over B examples of delta times input.

    delta: `(T, B, N)`, the slope at the layer's outputs; inputs: `(T, B, L)`; sent: `(N, L)`, or one a trial. Its inner
    product with what was sent is the sum of delta . (sent input), and its squared norm that of all pairs of examples.
    """

    delta: Tensor
    inputs: Tensor
    sent: Sent

    def product(self) -> Tensor:
        return (self.delta * (self.inputs @ self.sent.value.mT)).sum((1, 2))

    def norm(self) -> Tensor:
        if self.delta.shape[1] == 1:
            return self.delta.square().sum((1, 2)) * self.inputs.square().sum((1, 2))
        return ((self.delta @ self.delta.mT) * (self.inputs @ self.inputs.mT)).sum((1, 2))

    def distance(self, factor: Tensor | None = None) -> Tensor:
        """In double precision, as the three terms of a small distance nearly cancel."""
        exact = Outer(self.delta.double(), self.inputs.double(), self.sent.double)
        factor = exact.delta.new_ones(()) if factor is None else factor.double()
        return exact.norm() * factor.square() - 2 * exact.product() * factor + exact.sent.norm


# A part of T trials' gradients, beside the same part of what was sent.
Part = Flat | Outer
Objective = Callable[[Sequence[Part]], Tensor]


def flats(found: Mapping[str, Tensor], sent: Chosen) -> list[Part]:
    """Gradients of weights `(T, *weight)` by name, beside what was sent: small ones in one piece, others alone."""
    small = [name for name, value in found.items() if value[0].numel() <= _SMALL]
    parts: list[Part] = [Flat(found[name].flatten(1), sent.flat([name])) for name in found if name not in small]
    if small:
        parts.append(Flat(torch.cat([found[name].flatten(1) for name in small], 1), sent.flat(small)))
    return parts


def _total(values: Sequence[Tensor]) -> Tensor:
    return sum(values[1:], values[0])


def squared(parts: Sequence[Part], factor: Tensor | None = None) -> Tensor:
    """The squared l2 distance of two gradients, over that of the sent one from zero. Source: DLG, eq. 4, scaled.

    Scaling changes no minimum. It makes L-BFGS, whose first steps are in the units of its objective, see the same
    problem whether the gradient is large or small.
    """
    return _total([part.distance(factor) for part in parts]) / _total([part.sent.norm for part in parts])


def clipped(bound: float) -> Objective:
    """The squared distance for an adversary who knows that clients clip to `bound`, and clips likewise."""

    def compare(parts: Sequence[Part]) -> Tensor:
        length = _total([part.norm() for part in parts]).sqrt()
        factor = (bound / length.clamp_min(torch.finfo(length.dtype).tiny)).clamp_max(1)
        return squared(parts, factor)

    return compare


def cosine(parts: Sequence[Part]) -> Tensor:
    """One minus the cosine between two gradients. Source: Geiping et al. 2020, eq. 4; the talk's equation."""
    product = _total([part.product() for part in parts])
    tiny = torch.finfo(product.dtype).tiny
    norms = [_total(each).clamp_min(tiny).sqrt() for each in ([p.norm() for p in parts], [p.sent.norm for p in parts])]
    return 1 - product / (norms[0] * norms[1])
