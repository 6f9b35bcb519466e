"""How far the gradient that a trial would send lies from the one that was sent, in parts.

A part answers three questions, one number a trial each: its inner product with what was sent, its own squared norm,
and the squared distance of a multiple of it. What an attack minimises is made of these.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Part(Protocol):
    """A part of T trials' gradients, beside the same part of what was sent."""

    def product(self) -> Tensor: ...
    def norm(self) -> Tensor: ...
    def distance(self, factor: Tensor | None = None) -> Tensor: ...
    def sent_norm(self) -> Tensor: ...


Objective = Callable[[Sequence[Part]], Tensor]


@dataclass(frozen=True)
class Flat:
    """Gradients written out: `(T, n)`, and what was sent, `(n,)` or one a trial."""

    found: Tensor
    sent: Tensor

    def product(self) -> Tensor:
        return self.found @ self.sent if self.sent.dim() == 1 else (self.found * self.sent).sum(1)

    def norm(self) -> Tensor:
        return torch.linalg.vector_norm(self.found, dim=1).square()

    def distance(self, factor: Tensor | None = None) -> Tensor:
        found = self.found if factor is None else factor[:, None].to(self.found) * self.found
        return torch.linalg.vector_norm(found - self.sent, dim=1).square()

    def sent_norm(self) -> Tensor:
        return self.sent.square().sum(-1)


@dataclass(frozen=True)
class Outer:
    """The gradient of a dense layer's weight, never formed: the sum over B examples of delta times input.

    delta: `(T, B, N)`, the slope at the layer's outputs; inputs: `(T, B, L)`; sent: `(N, L)`, or one a trial. Its inner
    product with what was sent is the sum of delta . (sent input), and its squared norm that of all pairs of examples.
    """

    delta: Tensor
    inputs: Tensor
    sent: Tensor

    def product(self) -> Tensor:
        return (self.delta * (self.inputs @ self.sent.mT)).sum((1, 2))

    def norm(self) -> Tensor:
        if self.delta.shape[1] == 1:
            return self.delta.square().sum((1, 2)) * self.inputs.square().sum((1, 2))
        return ((self.delta @ self.delta.mT) * (self.inputs @ self.inputs.mT)).sum((1, 2))

    def distance(self, factor: Tensor | None = None) -> Tensor:
        """In double precision, as the three terms of a small distance nearly cancel."""
        exact = Outer(self.delta.double(), self.inputs.double(), self.sent.double())
        factor = exact.delta.new_ones(()) if factor is None else factor.double()
        return exact.norm() * factor.square() - 2 * exact.product() * factor + exact.sent_norm()

    def sent_norm(self) -> Tensor:
        return self.sent.square().sum((-2, -1))


def _total(values: Sequence[Tensor]) -> Tensor:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def squared(parts: Sequence[Part], factor: Tensor | None = None) -> Tensor:
    """The squared l2 distance of two gradients, over that of the sent one from zero. Source: DLG, eq. 4, scaled.

    Scaling changes no minimum. It makes L-BFGS, whose first steps are in the units of its objective, see the same
    problem whether the gradient is large or small.
    """
    return _total([part.distance(factor) for part in parts]) / _total([part.sent_norm() for part in parts])


def clipped(bound: float) -> Objective:
    """The squared distance for an adversary who knows that clients clip to `bound`, and clips likewise."""

    def compare(parts: Sequence[Part]) -> Tensor:
        length = _total([part.norm() for part in parts]).sqrt()
        factor = (bound / length.clamp_min(torch.finfo(length.dtype).tiny)).clamp_max(1)
        return squared(parts, factor)

    return compare


def cosine(parts: Sequence[Part]) -> Tensor:
    """One less the cosine between two gradients. Source: Geiping et al. 2020, eq. 4; the talk's equation."""
    product = _total([part.product() for part in parts])
    tiny = torch.finfo(product.dtype).tiny
    norms = [
        _total(each).clamp_min(tiny).sqrt() for each in ([p.norm() for p in parts], [p.sent_norm() for p in parts])
    ]
    return 1 - product / (norms[0] * norms[1])
