"""Rows of a gradient that show images: which of them lie on the grid of pixel values, and which are the same.

A gradient may have billions of numbers, so each is fetched once: rows are divided, rounded, tested, and told apart by
their hashes in blocks that fit the processor's cache, in the same few buffers.
"""

from collections.abc import Iterator

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor

TOLERANCE = 1e-3  # in steps of 1/255: images stay below 1e-4, mixtures of photographs start at 0.035
_PROBES = 16  # columns that rule out most rows first
_BLOCK = {"cpu": 2**17}  # numbers at a time; elsewhere as many as fill a card
_WORD = 8  # bytes that are hashed at a time


class _Rounded:
    """Blocks of rows, times one number each, rounded to the grid, in buffers that are used again."""

    def __init__(self, rows: Tensor, levels: int) -> None:
        self.rows, self.levels = rows, levels
        self.size = max(1, _BLOCK.get(rows.device.type, 2**24) // max(1, rows.shape[1]))
        self.scaled = rows.new_empty(min(self.size, len(rows)), rows.shape[1])
        self.nearest = torch.empty_like(self.scaled)

    def __call__(self, chosen: Tensor, scale: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """For each block of the rows called `chosen`: the nearest points of the grid, and how far off the row is."""
        for part, factor in zip(chosen.split(self.size), scale.split(self.size), strict=True):
            scaled, nearest = self.scaled[: len(part)], self.nearest[: len(part)]
            torch.index_select(self.rows, 0, part, out=scaled)
            scaled.mul_(factor[:, None])
            torch.round(scaled, out=nearest).clamp_(0, self.levels)
            yield nearest, scaled.sub_(nearest).abs_().amax(1)


def on_grid(rows: Tensor, levels: int, tolerance: float) -> Tensor:
    """Which rows `(K, L)` hold multiples of 1/levels in [0, 1] alone, to `tolerance` of a step; bool `(K,)`."""
    if not rows.numel():
        return torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    scale = rows.new_full((len(rows),), float(levels))
    blocks = _Rounded(rows, levels)(torch.arange(len(rows), device=rows.device), scale)
    return torch.cat([off < tolerance for _, off in blocks])


def images_of(weight: Tensor, bias: Tensor, neurons: Tensor, levels: int) -> tuple[Tensor, Tensor, Tensor]:
    """The neurons `(M,)` whose row over bias lies on the grid, the images `(K, L)` among them, and who shows which.

    weight: `(N, L)`; bias: `(N,)`, not zero at the `neurons` that are asked. The last: `(M,)`, numbers of images.
    """
    scale = levels / bias[neurons]
    probes = weight[:, :: max(1, weight.shape[1] // _PROBES)].index_select(0, neurons).mul_(scale[:, None])
    likely = on_grid(probes.div_(levels), levels, TOLERANCE)
    neurons, scale = neurons[likely], scale[likely]
    columns, kind = weight.shape[1], torch.uint8 if levels <= 255 else torch.int32
    width = -(-columns // _WORD) * _WORD
    steps = torch.empty(len(neurons), width, dtype=kind, device=weight.device)
    steps[:, columns:] = 0
    hashes, single, begin = steps.new_empty(2, len(neurons), dtype=torch.int64), [], 0
    weights = _odd(width * steps.element_size() // _WORD, weight.device)
    for nearest, off in _Rounded(weight, levels)(neurons, scale):
        end = begin + len(off)
        steps[begin:end, :columns].copy_(nearest)
        hashes[:, begin:end] = _hashes(steps[begin:end], weights)
        single.append(off < TOLERANCE)
        begin = end
    chosen = torch.cat(single).nonzero().flatten() if single else neurons[:0]
    kept, shows = _same(steps, chosen, hashes[:, chosen])
    images = steps.index_select(0, kept)[:, :columns].to(weight.dtype).div_(levels)
    return neurons[chosen], images, shows


def _odd(words: int, device: torch.device) -> Tensor:
    """Two rows of odd numbers to multiply words by: any do, and the same always."""
    random = torch.Generator().manual_seed(0)
    return torch.randint(-(2**62), 2**62, (2, words), generator=random).to(device) * 2 + 1


def _hashes(rows: Tensor, weights: Tensor) -> Tensor:
    """Two numbers of 64 bits for each row; the high half of a word is mixed into the low one, where it spreads."""
    words = rows.view(torch.int64)
    words = words.bitwise_right_shift(32).bitwise_xor_(words)
    return torch.stack([(words * weights[0]).sum(1), words.mul_(weights[1]).sum(1)])


def _same(steps: Tensor, chosen: Tensor, hashes: Tensor) -> tuple[Tensor, Tensor]:
    """The rows, among the `chosen` ones, that come first of their kind, and for every chosen one its kind."""
    first, place = _first(hashes[0].unique(return_inverse=True)[1])
    if (hashes[1] != hashes[1, first[place]]).any():  # two rows of one hash: never seen, but possible
        first, place = _first(steps[chosen].unique(dim=0, return_inverse=True)[1])
    return chosen[first], place


def _first(kind: Tensor) -> tuple[Tensor, Tensor]:
    """Of a kind for each row: the first row of every kind, in rising order, and for each row its place among them."""
    numbers = torch.arange(len(kind), device=kind.device)
    kinds = int(kind.max()) + 1 if len(kind) else 0
    first = torch.full_like(numbers[:kinds], len(kind)).scatter_reduce(0, kind, numbers, "amin")
    order = first.argsort()
    return first[order], order.argsort()[kind]


def distinct(images: Tensor, tolerance: float) -> tuple[Tensor, Tensor]:
    """Each of several equal images once: see `gradient_extraction.distinct`.

    Judged on eight random projections, which keep distances to within a factor of a few (copies are 100 times closer
    than the tolerance here). Those in one cell of a grid are one; cells that touch are found by a tree.
    """
    if not len(images):
        return (torch.empty(0, dtype=torch.long, device=images.device),) * 2
    random = torch.Generator().manual_seed(0)  # any fixed directions do: this is a search, not a statistic
    directions = torch.randn(images.shape[1], 8, generator=random).div_(np.sqrt(8)).to(images)
    points = (images @ directions).double().cpu().numpy()
    _, first, cell = np.unique(np.floor(points / (tolerance / 4)), axis=0, return_index=True, return_inverse=True)
    pairs = cKDTree(points[first]).query_pairs(tolerance, output_type="ndarray")
    earliest = first.copy()
    np.minimum.at(earliest, pairs[:, 0], first[pairs[:, 1]])
    np.minimum.at(earliest, pairs[:, 1], first[pairs[:, 0]])
    kept, place = np.unique(earliest[cell.ravel()], return_inverse=True)
    return torch.from_numpy(kept).to(images.device), torch.from_numpy(place).to(images.device)
