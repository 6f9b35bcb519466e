"""What the studies of membership share: records of a data set as inputs of a small network, some with a wrong label."""

import functools

import torch
from torch import Tensor, nn

from privlab import data, models, runtime
from privlab.studies._data import dataset

EXAMPLES, WRONG = 1000, 0.15
WIDTHS = (64, 64)


def inputs(name: str, count: int, seed: int) -> tuple[Tensor, Tensor, int]:
    """`count` records `(N, C, H, W)` in [0, 1] (a table's as images of one line), labels, and how many classes there
    are.

    Of the labels 15 in 100 are drawn anew: what is learned of these is learned by heart. As many records as there
    are, if there are fewer.
    """
    source = dataset(name)
    drawn = source.sample(min(count, len(source)), runtime.derive(seed, "records"))
    values = drawn.values[:, None, None] if isinstance(drawn, data.Table) else drawn.images
    random = runtime.generator(runtime.derive(seed, "wrong"))
    wrong = torch.rand(len(drawn), generator=random) < WRONG
    anew = torch.randint(len(source.classes), (len(drawn),), generator=random)
    return values, torch.where(wrong, anew, drawn.labels), len(source.classes)


def network(shape: tuple[int, ...], classes: int, seed: int) -> nn.Sequential:
    """Two dense layers of 64 neurons, and the last one."""
    return models.fully_connected(shape, classes, widths=WIDTHS, seed=seed)


def maker(shape: tuple[int, ...], classes: int):
    """A function from a seed to such a network."""
    return functools.partial(_make, shape, classes)


def _make(shape: tuple[int, ...], classes: int, seed: int) -> nn.Sequential:
    return network(shape, classes, seed)
