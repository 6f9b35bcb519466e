"""Read images out of a noisy gradient: put together the rows that show the same image.

Noise ends the exact extraction of `gradient_extraction`. It does not end reading: neurons that fire for one
image alone are multiples of one another, and together they have less noise than each of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from privlab import checks
from privlab.attacks.gradient_extraction import distinct, fitting_layer, on_pixel_grid
from privlab.attacks.threat import threats
from privlab.sharing.federated import Gradient

(THREAT,) = threats("noisy_extraction")
ADVERSARIES = ("single_row", "combined")
_SIGMAS = 4.0  # how far a statistic may lie from what noise alone gives
_ROUNDING = 1e-6  # of the strongest row's norm: what float32 leaves where there is no noise
_PRIOR = (0.5, 1 / 12)  # mean and variance of a pixel of which only the range [0, 1] is known


@dataclass(frozen=True)
class Reconstruction:
    """The adversary's guesses, those that it trusts most first.

    images: `(K, *shape)` in [0, 1]. rows: for each image the neurons that it was made from. noise: `(K,)`, the
    standard deviation that the adversary expects of a pixel before smoothing.
    """

    images: Tensor
    rows: tuple[Tensor, ...]
    noise: Tensor


def reconstruct(
    gradient: Gradient,
    *,
    std: float,
    shape: Sequence[int],
    adversary: str = "combined",
    guesses: int | None = None,
    layer: str = "fc1",
    levels: int | None = 255,
) -> Reconstruction:
    """As many images as the mini-batch has (or `guesses`), from a gradient with noise of `std` on each number.

    adversary: `single_row` divides each row by its bias. `combined` looks for rows that are multiples of one
    another up to the noise, and takes the leading singular vector of each such group, the maximum-likelihood image
    under Gaussian noise; large groups come first, since a mixture rarely occurs twice. Of single rows those that
    can be an image (no pixel outside [0, 1] by more than its noise) come first, and of these the strongest.
    Both draw each pixel towards grey as far as its noise says (the Wiener filter for pixels uniform in [0, 1]) and,
    where the noise is small enough, round to the grid of `levels` + 1 values (None: data on no grid).
    Raises ValueError for a negative `std`, an unknown adversary, or a shape that does not fit the layer.
    """
    checks.number("std", std, 0)
    checks.one_of("adversary", adversary, ADVERSARIES)
    checks.if_given(checks.whole, "levels", levels)
    count = gradient.examples if guesses is None else guesses
    checks.whole("guesses", count)
    weight, bias = fitting_layer(gradient, layer, shape)
    rows = torch.cat([weight, bias[:, None]], 1).double()  # a neuron of one image is a multiple of (image, 1)
    rows = rows[rows[:, -1] != 0]
    neurons = bias.nonzero().flatten()
    groups = []
    if adversary == "combined" and len(rows):
        groups = same_image(rows, std) if gradient.examples > 1 else _one_image(rows, std)
    groups = [*groups, *_alone(rows, groups, std, levels)][:count]
    images, noise = _smooth(rows, groups, std)
    if levels is not None:
        fine = noise * _SIGMAS < 0.5 / levels
        images[fine] = (images[fine] * levels).round() / levels
    places = tuple(neurons[group] for group in groups)
    return Reconstruction(images.to(weight.dtype).view(-1, *shape), places, noise.to(weight.dtype))


def same_image(rows: Tensor, std: float) -> list[Tensor]:
    """Groups of two and more `rows` `(N, L + 1)` that are multiples of one vector up to noise, large ones first.

    Two rows are, when the smaller eigenvalue of their products is no larger than noise of `std` would make it.
    """
    products = rows @ rows.T
    energy = products.diagonal()
    limit = _limit(rows, std)
    half, gap = (energy[:, None] + energy) / 2, (energy[:, None] - energy) / 2
    like = half - (gap.square() + products.square()).sqrt() <= limit
    # A weak row is like any other; so what a partner counts for is the strength of the weaker of the two.
    left = energy > limit  # the others may hold nothing but noise
    shared = torch.minimum(energy[:, None], energy) * (like.fill_diagonal_(False) & left[:, None] & left)
    support, found = shared.sum(1), []
    least = support.max() * 1e-9
    while support[leader := int(support.argmax())] > least:
        group = torch.cat([(left & like[leader]).nonzero().flatten(), left.new_tensor([leader], dtype=torch.long)])
        values, vectors = torch.linalg.eigh(products[group][:, group])
        along = (products[:, group] @ vectors[:, -1]).square() / values[-1]  # of each row's energy, in this direction
        near = left & (energy - along <= limit)  # once more, against the better estimate
        if near[leader] and near.sum() > 1:
            found.append(near.nonzero().flatten())
        else:
            near = torch.zeros_like(left)
        near[leader] = True
        left &= ~near
        support -= shared[:, near].sum(1)
        support[near] = 0
    return sorted(found, key=lambda group: (-len(group), int(group[0])))


def _variance(rows: Tensor, std: float) -> float:
    """The variance of a number of `rows` `(N, L + 1)` by noise of `std`, or else by rounding."""
    return max(std**2, _ROUNDING**2 * rows.square().sum(1).max().item() / rows.shape[1])


def _limit(rows: Tensor, std: float) -> float:
    """The energy that noise alone gives a row of `rows` `(N, L + 1)` at most."""
    size = rows.shape[1] - 1
    return _variance(rows, std) * (size + _SIGMAS * math.sqrt(2 * size))


def _one_image(rows: Tensor, std: float) -> list[Tensor]:
    """Of a mini-batch of one image: all rows as one group, if they hold more than noise together.

    They do when their largest singular value leaves the range of those of a matrix of noise (Marchenko-Pastur).
    """
    edge = math.sqrt(_variance(rows, std)) * (math.sqrt(rows.shape[0]) + math.sqrt(rows.shape[1]))
    heard = torch.linalg.eigvalsh(rows @ rows.T)[-1] > (1.02 * edge) ** 2
    return [torch.arange(len(rows), device=rows.device)] if heard else []


def _alone(rows: Tensor, groups: Sequence[Tensor], std: float, levels: int | None) -> list[Tensor]:
    """The rows that are in no group, one by one: those that can be an image first, then by strength."""
    if not len(rows):
        return []
    free = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    for group in groups:
        free[group] = False
    images, slack = rows[:, :-1] / rows[:, -1:], _SIGMAS * std / rows[:, -1:].abs() + 1e-4
    possible = ((images >= -slack) & (images <= 1 + slack)).all(1)
    strength = rows.square().sum(1)
    order = (possible * strength.max() * 2 + strength).argsort(descending=True)
    if levels is not None and std == 0:  # without noise the grid tells the images, each of which counts once
        order = torch.cat([order[exact := on_pixel_grid(images[order], levels)], order[~exact]])
        kept, _ = distinct(images[order].float())
        order = order[kept]
    return [row[None] for row in order[free[order]]]


def _direction(rows: Tensor) -> Tensor:
    """The leading right singular vector `(L + 1,)` of `rows` `(K, L + 1)`."""
    line = torch.linalg.eigh(rows @ rows.T).eigenvectors[:, -1] @ rows
    return line / line.norm()


def _smooth(rows: Tensor, groups: Sequence[Tensor], std: float) -> tuple[Tensor, Tensor]:
    """Each group's image, drawn towards grey as its noise says, and that noise."""
    mean, variance = _PRIOR
    lines = [rows[group[0]] if len(group) == 1 else _direction(rows[group]) for group in groups]
    if not lines:
        return rows.new_empty(0, rows.shape[1] - 1), rows.new_empty(0)
    line = torch.stack(lines)
    # The biases' energy less that of their own noise is what the image contributes: none, if it is all noise.
    heard = torch.stack([rows[group, -1].square().sum() - len(group) * std**2 for group in groups])
    noise = std / heard.clamp_min(std**2 * 1e-3).sqrt()
    image = line[:, :-1] / line[:, -1:]
    trust = (variance / (variance + noise.square()))[:, None]
    return (mean + trust * (image - mean)).clamp(0, 1), noise
