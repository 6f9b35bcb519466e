"""The network of the SplitNN paper."""

from collections.abc import Sequence

from torch import nn

from privlab import checks
from privlab.models._layers import convolutions, image_shape, network


def split_cnn(
    shape: Sequence[int],
    classes: int,
    *,
    filters: Sequence[int] = (32, 64),
    units: int = 500,
    activation: str = "tanh",
    init: str = "framework",
    seed: int = 0,
) -> nn.Sequential:
    """Two convolutions, pooling, a dense layer to cut after, and the rest: `(N, C, H, W)` -> `(N, classes)` logits.

    Layers: conv1, relu1, conv2, relu2, pool2, flatten, fc1, tanh3, output; `activation` is that of the dense layer, and
    gives it its name. Data owners hold everything up to it and send its `units` numbers, in (-1, 1) for tanh.
    The paper calls it "a simple convolutional neural network"; the layers are those of the authors' released code: its
    convolutions of 3 x 3 are not padded, and take two pixels off each side. Raises ValueError for a shape that is not
    (C, H, W) or too small for that, or a number below one.
    Source: SplitNN, appendix D, and its released code.
    """
    image_shape(shape, 2 * len(filters) + 2)
    checks.sizes(filters=filters, units=[units])
    layers = convolutions(shape[0], filters, [3] * len(filters), pooled=(len(filters),), padded=False)
    return network(
        layers, shape, classes, fc=(units,), activation=activation, init=init, seed=seed, first=len(filters) + 1
    )
