"""LeNet and its relatives: the small convolutional networks of "Zen", of DLG and of split learning."""

from collections.abc import Sequence

from torch import nn

from privlab import checks
from privlab.models._layers import convolutions, image_shape, network


def lenet(
    shape: Sequence[int],
    classes: int,
    *,
    filters: Sequence[int] = (6, 16),
    fc: Sequence[int] = (120, 84),
    kernel: int = 5,
    pool: str = "max",
    pooled: int = 2,
    activation: str = "relu",
    init: str = "framework",
    seed: int = 0,
) -> nn.Sequential:
    """Convolutions, the first `pooled` of which halve the image, then dense layers: `(N, C, H, W)` -> logits.

    Layers are called conv1, relu1, pool1, conv2, ..., flatten, fc1, relu3, ..., output; the activation gives relu its
    name. `pool`: `max` or `average` over 2 x 2, or `stride`: the convolution takes every other place, and there is no
    pooling layer. Convolutions are padded, so that only pooling makes maps smaller. The network that the authors
    of DLG attack is `filters=(12, 12, 12), fc=(), pool="stride", activation="sigmoid", init="uniform:0.5"`.
    Raises ValueError for a shape that is not (C, H, W) or is too small to be halved so often, an even kernel, an
    unknown pool, activation or init, or a number below one.
    Source: LeCun et al. 1998; "Zen", section 4 and Tables 1 to 3; Zhu et al. 2019 (DLG).
    """
    image_shape(shape)
    if not filters:
        raise ValueError("filters is empty; give at least one number")
    checks.sizes(filters=filters, fc=fc, kernel=[kernel])
    checks.whole("pooled", pooled, 0, len(filters))
    if kernel % 2 == 0:
        raise ValueError(f"kernel={kernel} is even, and no padding keeps the size; give an odd one")
    if min(shape[1:]) < 2**pooled:
        raise ValueError(f"shape={tuple(shape)} cannot be halved {pooled} times; give pooled= at most what it bears")
    halved = range(1, pooled + 1)
    layers = convolutions(shape[0], filters, [kernel] * len(filters), pooled=halved, pool=pool, activation=activation)
    return network(layers, shape, classes, fc=fc, activation=activation, init=init, seed=seed, first=len(filters) + 1)
