"""AlexNet for small images."""

from collections.abc import Sequence

from torch import nn

from privlab import checks
from privlab.models._layers import convolutions, image_shape, network

FILTERS, KERNELS, DENSE = (64, 192, 384, 256, 256), (5, 5, 3, 3, 3), (4096, 4096)
_POOLED = (1, 2, 5)  # the convolutions behind which AlexNet pools


def alexnet(
    shape: Sequence[int],
    classes: int,
    *,
    width: float = 1.0,
    pool: str = "max",
    activation: str = "relu",
    init: str = "framework",
    seed: int = 0,
) -> nn.Sequential:
    """Five convolutions and three dense layers: `(N, C, H, W)` -> `(N, classes)` logits, for images from 8 x 8.

    The filters and neurons of AlexNet (64, 192, 384, 256, 256; 4096, 4096), times `width`. For images this small the
    first convolution keeps the image's size (kernel 5, stride 1) instead of taking every fourth place, and there is no
    dropout, which an adversary could not repeat. At width 1 a 32 x 32 image takes 36 million weights.
    Layers are called conv1, relu1, pool1, ..., flatten, fc1, relu6, fc2, relu7, output. For `pool`, `activation` and
    `init` see `lenet`. Raises ValueError for a shape that is not (C, H, W) or below 8 x 8, and unknown names.
    Source: Krizhevsky et al. 2012; "Zen", section 4 and Table 1.
    """
    image_shape(shape, 8)
    checks.number("width", width, 0, open_low=True)
    filters = [max(1, round(count * width)) for count in FILTERS]
    layers = convolutions(shape[0], filters, KERNELS, pooled=_POOLED, pool=pool, activation=activation)
    fc = [max(1, round(neurons * width)) for neurons in DENSE]
    return network(layers, shape, classes, fc=fc, activation=activation, init=init, seed=seed, first=len(FILTERS) + 1)
