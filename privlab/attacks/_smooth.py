"""Coordinates in which photographs are round: their frequencies, each in the unit of how much of it there usually is.

An image has little of high frequencies, and L-BFGS, which begins with steps of equal length in all coordinates, finds
what has large coordinates first. In these it finds the image several times sooner. Every image has such coordinates,
so that nothing is ruled out; and they begin at grey, from which no image in [0, 1] is far.
Source of the spectrum, amplitude falling as one over the frequency: Field 1987, as usual for natural images.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

KNEE = 4.0  # the half-periods an image beyond which amplitudes fall; between 2 and 8 it makes little difference
GREY = 0.5
SPREADS = (0.01, 0.1, 0.3, 1.0)  # of the beginnings around grey, in turn: images of one mini-batch must part


class Coordinates:
    """Of images `(*shape)`: the last two axes are places where there are three, the last where there are two."""

    def __init__(self, shape: Sequence[int], like: Tensor) -> None:
        self.sides = list(shape[1:])[-2:]
        self.bases = [_cosines(side).to(like) for side in self.sides]
        squares = [torch.arange(side).square() for side in self.sides]
        grid = torch.meshgrid(*squares, indexing="ij") if squares else ()
        amounts = (1 + sum(grid, torch.zeros(1)) / KNEE**2).rsqrt()
        self.amounts = (amounts / amounts.square().mean().sqrt()).to(like)

    def images(self, points: Tensor) -> Tensor:
        """`(..., *shape)` of coordinates of the same shape."""
        return GREY + self._turned(points * self.amounts, inverse=True)

    def points(self, images: Tensor) -> Tensor:
        """The coordinates `(..., *shape)` of images."""
        return self._turned(images - GREY, inverse=False) / self.amounts

    def _turned(self, values: Tensor, *, inverse: bool) -> Tensor:
        turns = [basis if inverse else basis.mT for basis in self.bases]
        if turns:
            values = values @ turns[-1]
        return turns[0].mT @ values if len(turns) > 1 else values


def _cosines(side: int) -> Tensor:
    """The orthonormal cosine transform: rows are waves, of 0 to `side` - 1 half-periods."""
    place, wave = torch.arange(side, dtype=torch.float64), torch.arange(side, dtype=torch.float64)[:, None]
    waves = torch.cos(math.pi * (2 * place + 1) * wave / (2 * side)) * math.sqrt(2 / side)
    waves[0] /= math.sqrt(2)
    return waves
