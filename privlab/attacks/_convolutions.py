"""Convolutions whose slopes of slopes cost no more than they must.

A convolution is linear in its images and in its weight. Torch's own slope of its slope also forms what the weight
would get, which is thrown away where no weight is trained, and takes a slower kernel for the images. Here a convolution
is a map, its adjoint another, and what the weight gets a third, each of which is differentiated by the other two.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_NARROW = 16  # fewer channels than this many are slow in torch's own adjoint of several images on a CPU


def known(layer: nn.Module) -> bool:
    """Whether it is a convolution that can be taken apart here."""
    plain = type(layer) is nn.Conv2d and layer.groups == 1 and layer.padding_mode == "zeros"
    return plain and not isinstance(layer.padding, str)


def _adjoint(layer: nn.Conv2d, slope: Tensor, images: Tensor, weight: Tensor, groups: int) -> Tensor:
    how = layer.stride, layer.padding, layer.dilation, False, [0, 0], groups, [True, False, False]
    return torch.ops.aten.convolution_backward(slope, images, weight, None, *how)[0]


def _plain(layer: nn.Conv2d, images: Tensor, weight: Tensor, groups: int = 1) -> Tensor:
    return F.conv2d(images, weight, None, layer.stride, layer.padding, layer.dilation, groups)


class _Map(Function):
    """Images `(N, C, H, W)` to what the layer gives, without its bias."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, layer: nn.Conv2d) -> Tensor:
        ctx.layer, ctx.like = layer, images.new_empty(1).expand(images.shape)
        return _plain(layer, images, layer.weight)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        return _Adjoint.apply(slope, ctx.layer, ctx.like), None


class _Adjoint(Function):
    """Slopes at what a layer gives to those at its images, whose shape `like` has."""

    @staticmethod
    def forward(ctx: Any, slope: Tensor, layer: nn.Conv2d, like: Tensor) -> Tensor:
        ctx.layer = layer
        narrow = len(slope) > 1 and layer.in_channels < _NARROW and slope.device.type == "cpu"
        if narrow and layer.stride == (1, 1):  # then it is a convolution too
            assert not isinstance(layer.padding, str)
            sides = zip(layer.dilation, layer.kernel_size, layer.padding, strict=True)
            around = [apart * (size - 1) - before for apart, size, before in sides]
            if min(around) >= 0:
                return F.conv2d(slope, layer.weight.flip(2, 3).transpose(0, 1), None, 1, around, layer.dilation)
        return _adjoint(layer, slope, like, layer.weight, 1)

    @staticmethod
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor, None, None]:
        return _Map.apply(change, ctx.layer), None, None


class _Weight(Function):
    """What the weight gets in each trial, of images `(B, T * C, ...)` and slopes `(B, T * N, ...)`."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, slope: Tensor, layer: nn.Conv2d, trials: int) -> Tensor:
        ctx.layer, ctx.trials = layer, trials
        ctx.save_for_backward(images, slope)
        weight = layer.weight
        if trials > 1:
            weight = weight.new_empty(1).expand(trials * len(weight), *weight.shape[1:])  # whose shape alone is read
        how = layer.stride, layer.padding, layer.dilation, False, [0, 0], trials, [False, True, False]
        return torch.ops.aten.convolution_backward(slope, images, weight, None, *how)[1]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor, Tensor, None, None]:
        images, slope = ctx.saved_tensors
        layer, trials = ctx.layer, ctx.trials
        return _adjoint(layer, slope, images, change, trials), _plain(layer, images, change, trials), None, None


def convolve(layer: nn.Conv2d, images: Tensor) -> Tensor:
    """What the layer gives."""
    outputs: Tensor = _Map.apply(images, layer)
    return outputs if layer.bias is None else outputs + layer.bias[:, None, None]


def weight_gradient(layer: nn.Conv2d, images: Tensor, slope: Tensor, trials: int) -> Tensor:
    """What the layer's weight gets in each trial, `(T, *weight)`: of the images and slopes of T * B images."""
    if trials > 1:  # trials are groups of channels, and the images of a trial the batch
        slope, images = (part.unflatten(0, (trials, -1)).transpose(0, 1).flatten(1, 2) for part in (slope, images))
    found: Tensor = _Weight.apply(images, slope, layer, trials)
    return found.unflatten(0, (trials, -1))
