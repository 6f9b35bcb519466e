"""A small network after MobileNet: depthwise convolutions, for images or signals."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from privlab import checks, runtime
from privlab.models.initialisation import draw_like_pytorch


def mobile(shape: Sequence[int], classes: int, *, width: int = 16, neurons: int = 64, seed: int = 0) -> nn.Sequential:
    """Three depthwise-separable convolutions: images `(N, C, H, W)`, or signals `(N, C, L)`, -> `(N, classes)` logits.

    Layers: conv1, then depth and point, 1 to 3, of 2, 4 and 4 times `width` maps, each with a ReLU; the first three
    convolutions halve the sides. Then pool (to 4 x 4, or 16), flatten, fc1 (`neurons`) and output. No BatchNorm: a
    client with few images has no averages to share. Raises ValueError for another shape, or a number below one.
    Source: Howard et al. 2017 (MobileNet), the linkability paper's network, in small.
    """
    if len(shape) not in (2, 3):
        raise ValueError(f"shape={tuple(shape)} is neither an image's nor a signal's; give (C, H, W) or (C, L)")
    checks.sizes(shape=shape, classes=[classes], width=[width], neurons=[neurons])
    with torch.random.fork_rng(devices=[]):
        network = nn.Sequential(_layers(shape, classes, width, neurons))
    draw_like_pytorch(network, runtime.derive(seed, "initialise"))
    return network


def _layers(shape: Sequence[int], classes: int, width: int, neurons: int) -> OrderedDict[str, nn.Module]:
    flat = len(shape) == 2
    conv, pool = (nn.Conv1d, nn.AdaptiveAvgPool1d) if flat else (nn.Conv2d, nn.AdaptiveAvgPool2d)
    kernel = 9 if flat else 3
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    maps = width
    layers["conv1"] = conv(shape[0], maps, kernel, stride=2, padding=kernel // 2)
    layers["relu1"] = nn.ReLU()
    for number, (times, stride) in enumerate(((2, 2), (4, 2), (4, 1)), start=1):
        layers[f"depth{number}"] = conv(maps, maps, kernel, stride=stride, padding=kernel // 2, groups=maps)
        layers[f"point{number}"] = conv(maps, times * width, 1)
        layers[f"relu{number + 1}"] = nn.ReLU()
        maps = times * width
    layers["pool"] = pool(16 if flat else 4)
    layers["flatten"] = nn.Flatten()
    layers["fc1"] = nn.Linear(maps * 16, neurons)
    layers["relu5"] = nn.ReLU()
    layers["output"] = nn.Linear(neurons, classes)
    return layers
