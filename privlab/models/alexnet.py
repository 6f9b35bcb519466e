"""AlexNet for small images."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from privlab import checks, runtime
from privlab.models.fully_connected import ACTIVATIONS
from privlab.models.initialisation import initialise
from privlab.models.lenet import POOLINGS

FILTERS, DENSE = (64, 192, 384, 256, 256), (4096, 4096)
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
    if len(shape) != 3 or min(shape[1:]) < 8:
        raise ValueError(f"shape={tuple(shape)} is not that of an image of 8 x 8 or more; give (C, H, W)")
    for size in shape:
        checks.whole("shape", size)
    checks.whole("classes", classes)
    checks.number("width", width, 0, open_low=True)
    checks.one_of("pool", pool, POOLINGS)
    checks.one_of("activation", activation, ACTIVATIONS)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    maps = shape[0]
    for number, filters in enumerate(FILTERS, start=1):
        count, kernel = max(1, round(filters * width)), 5 if number <= 2 else 3
        stride = 2 if pool == "stride" and number in _POOLED else 1
        layers[f"conv{number}"] = nn.utils.skip_init(nn.Conv2d, maps, count, kernel, padding=kernel // 2, stride=stride)
        layers[f"{activation}{number}"] = ACTIVATIONS[activation]()
        if number in _POOLED and pool != "stride":
            layers[f"pool{number}"] = nn.MaxPool2d(2) if pool == "max" else nn.AvgPool2d(2)
        maps = count
    layers["flatten"] = nn.Flatten()
    with torch.no_grad():
        inputs = nn.Sequential(layers)(torch.zeros(1, *shape)).shape[1]
    for number, neurons in enumerate(DENSE, start=1):
        count = max(1, round(neurons * width))
        layers[f"fc{number}"] = nn.utils.skip_init(nn.Linear, inputs, count)
        layers[f"{activation}{len(FILTERS) + number}"] = ACTIVATIONS[activation]()
        inputs = count
    layers["output"] = nn.utils.skip_init(nn.Linear, inputs, classes)
    return initialise(nn.Sequential(layers), init, runtime.derive(seed, "initialise"))  # type: ignore[return-value]
