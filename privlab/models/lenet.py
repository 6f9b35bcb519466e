"""LeNet and its relatives: the small convolutional networks of "Zen", of DLG and of split learning."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from privlab import checks, runtime
from privlab.models.fully_connected import ACTIVATIONS
from privlab.models.initialisation import initialise

POOLINGS = ("max", "average", "stride")


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
    if len(shape) != 3:
        raise ValueError(f"shape={tuple(shape)} is not that of an image; give (C, H, W)")
    if not filters:
        raise ValueError("filters is empty; give at least one number")
    numbers = (("shape", shape), ("filters", filters), ("fc", fc), ("classes", [classes]), ("kernel", [kernel]))
    for name, sizes in numbers:
        for size in sizes:
            checks.whole(name, size)
    checks.whole("pooled", pooled, 0, len(filters))
    checks.one_of("pool", pool, POOLINGS)
    checks.one_of("activation", activation, ACTIVATIONS)
    if kernel % 2 == 0:
        raise ValueError(f"kernel={kernel} is even, and no padding keeps the size; give an odd one")
    if min(shape[1:]) < 2**pooled:
        raise ValueError(f"shape={tuple(shape)} cannot be halved {pooled} times; give pooled= at most what it bears")
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    maps = shape[0]
    for number, count in enumerate(filters, start=1):
        halved = number <= pooled
        stride = 2 if halved and pool == "stride" else 1
        layers[f"conv{number}"] = nn.utils.skip_init(nn.Conv2d, maps, count, kernel, padding=kernel // 2, stride=stride)
        layers[f"{activation}{number}"] = ACTIVATIONS[activation]()
        if halved and pool != "stride":
            layers[f"pool{number}"] = nn.MaxPool2d(2) if pool == "max" else nn.AvgPool2d(2)
        maps = count
    layers["flatten"] = nn.Flatten()
    with torch.no_grad():
        inputs = nn.Sequential(layers)(torch.zeros(1, *shape)).shape[1]
    for number, width in enumerate(fc, start=1):
        layers[f"fc{number}"] = nn.utils.skip_init(nn.Linear, inputs, width)
        layers[f"{activation}{len(filters) + number}"] = ACTIVATIONS[activation]()
        inputs = width
    layers["output"] = nn.utils.skip_init(nn.Linear, inputs, classes)
    network = nn.Sequential(layers)
    return initialise(network, init, runtime.derive(seed, "initialise"))  # type: ignore[return-value]
