"""ResNet-18."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from privlab import checks, runtime
from privlab.models._layers import image_shape
from privlab.models.initialisation import draw_like_pytorch

NORMS = ("batch", "group")
_GROUPS = 8


def _norm(kind: str, maps: int) -> nn.Module:
    if kind == "batch":
        return nn.BatchNorm2d(maps)
    groups = max(count for count in range(1, _GROUPS + 1) if maps % count == 0)
    return nn.GroupNorm(groups, maps)


class Block(nn.Module):
    """Two 3 x 3 convolutions and a way around them. Source: He et al. 2016, figure 2."""

    def __init__(self, inputs: int, maps: int, stride: int, norm: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, maps, 3, stride, padding=1, bias=False)
        self.norm1 = _norm(norm, maps)
        self.conv2 = nn.Conv2d(maps, maps, 3, padding=1, bias=False)
        self.norm2 = _norm(norm, maps)
        self.around = nn.Sequential()
        if stride > 1 or inputs != maps:
            self.around = nn.Sequential(nn.Conv2d(inputs, maps, 1, stride, bias=False), _norm(norm, maps))

    def forward(self, images: Tensor) -> Tensor:
        inner = self.norm1(self.conv1(images)).relu()
        return (self.norm2(self.conv2(inner)) + self.around(images)).relu()


def resnet18(
    shape: Sequence[int], classes: int, *, width: int = 64, norm: str = "batch", seed: int = 0
) -> nn.Sequential:
    """Four stages of two residual blocks: `(N, C, H, W)` -> `(N, classes)` logits.

    width: maps of the first stage; the others have 2, 4 and 8 times as many. With 64 it has 11.2 million weights.
    norm: `batch`, as published, or `group` (8 groups), which DP-SGD needs: BatchNorm mixes the examples.
    Images of 64 pixels or more meet the published beginning (7 x 7, stride 2, then max pooling), smaller ones a
    3 x 3 convolution, as is usual for them. Layers: conv1, norm1, relu1, pool1 (large images), stage1 to stage4,
    pool, flatten, output. Weights are drawn as PyTorch does by default, from `seed`.
    Raises ValueError for a shape that is not (C, H, W), a number below one or an unknown norm.
    Source: He et al. 2016, Table 1; "Zen", section 6.
    """
    image_shape(shape)
    checks.sizes(classes=[classes], width=[width])
    checks.one_of("norm", norm, NORMS)
    with torch.random.fork_rng(devices=[]):  # torch draws weights of its own first
        network = _build(shape, classes, width, norm)
    draw_like_pytorch(network, runtime.derive(seed, "initialise"))
    return network


def _build(shape: Sequence[int], classes: int, width: int, norm: str) -> nn.Sequential:
    large = min(shape[1:]) >= 64
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["conv1"] = nn.Conv2d(shape[0], width, 7 if large else 3, 2 if large else 1, 3 if large else 1, bias=False)
    layers["norm1"], layers["relu1"] = _norm(norm, width), nn.ReLU()
    if large:
        layers["pool1"] = nn.MaxPool2d(3, 2, 1)
    maps = width
    for number in range(4):
        wide = width * 2**number
        blocks = Block(maps, wide, 2 if number else 1, norm), Block(wide, wide, 1, norm)
        layers[f"stage{number + 1}"] = nn.Sequential(*blocks)
        maps = wide
    layers["pool"], layers["flatten"] = nn.AdaptiveAvgPool2d(1), nn.Flatten()
    layers["output"] = nn.Linear(maps, classes)
    return nn.Sequential(layers)
