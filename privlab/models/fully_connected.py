"""The fully-connected network of "Curious", Table 7."""

from collections import OrderedDict
from collections.abc import Sequence

from torch import nn

from privlab import checks
from privlab.models._layers import Layers, network


def fully_connected(
    shape: Sequence[int],
    classes: int,
    *,
    widths: Sequence[int] = (1000, 3000, 3000, 2000, 1000),
    activation: str = "relu",
    init: str = "xavier_uniform",
    seed: int = 0,
) -> nn.Sequential:
    """A network of dense layers: `(N, *shape)` -> `(N, classes)` logits.

    Layers are called flatten, fc1, relu1, fc2, ..., and the last one `output`; the activation gives
    relu1 its name. `widths` are the numbers of neurons; the default is the paper's, 20.8 million
    weights for a 28x28 image. For `init` see `models.initialise`.
    Raises ValueError for an empty shape, a width below one or an unknown activation or init.
    Source: "Curious", Table 7 (left).
    """
    for name, sizes in (("shape", shape), ("widths", widths)):
        if not sizes:
            raise ValueError(f"{name} is empty; give at least one number")
        for size in sizes:
            checks.whole(name, size)
    layers: Layers = OrderedDict(flatten=nn.Flatten())
    return network(layers, shape, classes, fc=widths, activation=activation, init=init, seed=seed)
