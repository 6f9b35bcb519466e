"""What the convolutional networks have in common: named convolutions, pooling where it is wanted, dense layers."""

import math
from collections import OrderedDict
from collections.abc import Collection, Sequence

import torch
from torch import nn

from privlab import checks, runtime
from privlab.models.initialisation import initialise

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
POOLINGS = ("max", "average", "stride")
Layers = OrderedDict[str, nn.Module]


def image_shape(shape: Sequence[int], least: int = 1) -> None:
    """Raise ValueError unless `shape` is (C, H, W), with sides of at least `least` pixels."""
    kind = f"an image of {least} x {least} or more" if least > 1 else "an image"
    if len(shape) == 3:
        checks.sizes(shape=shape)
    if len(shape) != 3 or min(shape[1:]) < least:
        raise ValueError(f"shape={tuple(shape)} is not that of {kind}; give (C, H, W)")


def convolutions(
    channels: int,
    filters: Sequence[int],
    kernels: Sequence[int],
    *,
    pooled: Collection[int] = (),
    pool: str = "max",
    activation: str = "relu",
    padded: bool = True,
) -> Layers:
    """conv1, relu1, pool1, conv2, ...; where `padded`, only pooling makes maps smaller. `pooled` counts from 1."""
    checks.one_of("pool", pool, POOLINGS)
    checks.one_of("activation", activation, ACTIVATIONS)
    layers: Layers = OrderedDict()
    for number, (count, kernel) in enumerate(zip(filters, kernels, strict=True), start=1):
        halved = number in pooled
        stride = 2 if halved and pool == "stride" else 1
        padding = kernel // 2 if padded else 0
        layers[f"conv{number}"] = nn.utils.skip_init(nn.Conv2d, channels, count, kernel, stride, padding)
        layers[f"{activation}{number}"] = ACTIVATIONS[activation]()
        if halved and pool != "stride":
            layers[f"pool{number}"] = nn.MaxPool2d(2) if pool == "max" else nn.AvgPool2d(2)
        channels = count
    return layers


def network(
    layers: Layers,
    shape: Sequence[int],
    classes: int,
    *,
    fc: Sequence[int],
    activation: str,
    init: str,
    seed: int,
    first: int = 1,
) -> nn.Sequential:
    """The layers so far, then flatten, fc1, its activation (number `first`), ..., output, with weights drawn."""
    checks.one_of("activation", activation, ACTIVATIONS)
    checks.whole("classes", classes)
    with torch.no_grad():
        inputs = math.prod(nn.Sequential(layers)(torch.zeros(1, *shape)).shape)
    layers["flatten"] = nn.Flatten()
    for number, width in enumerate(fc, start=1):
        layers[f"fc{number}"] = nn.utils.skip_init(nn.Linear, inputs, width)
        layers[f"{activation}{first + number - 1}"] = ACTIVATIONS[activation]()
        inputs = width
    layers["output"] = nn.utils.skip_init(nn.Linear, inputs, classes)
    return initialise(nn.Sequential(layers), init, runtime.derive(seed, "initialise"))  # type: ignore[return-value]
