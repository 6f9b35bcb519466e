"""Distance correlation: how much of one set of vectors can be told from another, in any shape of dependence.

0 in the limit for independent vectors, 1 where one is a scaled rotation of the other. Estimates from few examples are
too high: name the number of examples, and show `shuffled_floor` beside them.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from privlab import runtime

Statistic = Callable[[Tensor, Tensor], Tensor]


def distance_correlation(x: Tensor, y: Tensor) -> Tensor:
    """Distance correlation of paired examples `(N, ...)` and `(N, ...)`: a number in [0, 1] that can be differentiated.

    The distances within x and within y, each centred by rows and columns, are correlated. A set whose examples are all
    equal has distance correlation 0 with anything. Raises ValueError for other than two or more pairs.
    Source: Székely, Rizzo and Bakirov 2007, definition 4; Vepakomma et al. 2020 (NoPeek) as a loss.
    """
    return _correlation(*(_centred(_distances(each)) for each in _paired(x, y)))


def distance_correlation_squared(x: Tensor, y: Tensor) -> Tensor:
    """The same with squared distances, as the released code of the SplitNN paper has it: `(N, ...)` x 2 -> in [0, 1].

    It is the square root of linear CKA (Kornblith et al. 2019), and sees linear dependence only: of z = x² it sees
    nothing but chance.
    """
    return _correlation(*(_centred(_squared_distances(each)) for each in _paired(x, y)))


def distance_correlation_unbiased(x: Tensor, y: Tensor) -> Tensor:
    """An estimate of the *squared* distance correlation whose mean is 0 for independent x and y; it can be negative.

    x, y: `(N, ...)` with N of at least four. Source: Székely and Rizzo 2014, section 3 (the U-centred version).
    """
    a, b = (_u_centred(_distances(each)) for each in _paired(x, y, least=4))
    return (a * b).sum() / ((a * a).sum() * (b * b).sum()).sqrt().clamp_min(torch.finfo(a.dtype).tiny)


def shuffled_floor(
    x: Tensor, y: Tensor, *, statistic: Statistic = distance_correlation, draws: int = 8, seed: int = 0
) -> Tensor:
    """The same statistic with the examples of y in random order, so that nothing is left to find: its mean over draws.

    What so few examples give by chance. x, y: `(N, ...)`.
    """
    random = runtime.generator(seed)
    orders = [torch.randperm(len(y), generator=random).to(y.device) for _ in range(draws)]
    return torch.stack([statistic(x, y[order]) for order in orders]).mean()


def over_batches(
    x: Tensor, y: Tensor, *, batch: int = 128, statistic: Statistic = distance_correlation
) -> tuple[float, float]:
    """The statistic on each full mini-batch of consecutive examples: its mean and standard deviation.

    The second is 0 for a single batch. Raises ValueError for fewer examples than `batch`.
    """
    if len(x) < batch:
        raise ValueError(f"there are {len(x)} examples, less than one batch of {batch}; give more, or a smaller batch")
    parts = zip(x.split(batch), y.split(batch), strict=True)
    found = torch.stack([statistic(a, b).double() for a, b in parts if len(a) == batch])
    return found.mean().item(), found.std().item() if len(found) > 1 else 0.0


def floor_over_batches(x: Tensor, y: Tensor, *, batch: int = 128, draws: int = 2, most: int = 10) -> float:
    """What chance gives `distance_correlation` in such mini-batches: the mean floor of the first `most` full ones.

    x, y: `(N, ...)` with N of at least `batch`.
    """
    pairs = list(zip(x.split(batch), y.split(batch), strict=True))[:most]
    floors = [shuffled_floor(a, b, draws=draws).item() for a, b in pairs if len(a) == batch]
    return sum(floors) / len(floors)


def _paired(x: Tensor, y: Tensor, least: int = 2) -> tuple[Tensor, Tensor]:
    if len(x) != len(y) or len(x) < least:
        raise ValueError(f"x has {len(x)} examples and y {len(y)}; give {least} or more pairs")
    return x.flatten(1), y.flatten(1)


def _squared_distances(x: Tensor) -> Tensor:
    """`(N, D)` -> `(N, N)`, in a unit of its own, by one matrix product, faster than `cdist`; zeros are exact."""
    x = x - x.mean(0)
    # No square may leave the range of numbers; a power of two rounds nothing, and a correlation has no unit.
    x = x * torch.exp2(-torch.frexp(x.detach().abs().amax()).exponent.to(x.dtype))
    sizes = x.square().sum(1)
    squared = sizes[:, None] + sizes - 2 * x @ x.T
    rounding = 32 * torch.finfo(x.dtype).eps * sizes.mean()
    same = (squared <= rounding) | torch.eye(len(x), dtype=torch.bool, device=x.device)
    return squared.masked_fill(same, 0)


def _distances(x: Tensor) -> Tensor:
    squared = _squared_distances(x)
    same = squared == 0  # where the square root has no slope
    return squared.masked_fill(same, 1).sqrt().masked_fill(same, 0)


def _centred(distances: Tensor) -> Tensor:
    return distances - distances.mean(0) - distances.mean(1, keepdim=True) + distances.mean()


def _u_centred(distances: Tensor) -> Tensor:
    count = len(distances)
    rows, whole = distances.sum(1) / (count - 2), distances.sum() / ((count - 1) * (count - 2))
    centred = distances - rows - rows[:, None] + whole
    return centred.masked_fill(torch.eye(count, dtype=torch.bool, device=distances.device), 0)


def _correlation(a: Tensor, b: Tensor) -> Tensor:
    """The square root of <a, b> / (|a| |b|), 0 where one of them is."""
    tiny = torch.finfo(a.dtype).tiny
    together, size = (a * b).mean(), ((a * a).mean() * (b * b).mean()).clamp_min(tiny).sqrt()
    return (together / size).clamp_min(tiny).sqrt()
