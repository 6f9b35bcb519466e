"""Each example's own gradient from one pass over the mini-batch, for a chain of dense and convolutional layers.

In a chain every layer is run once and keeps examples apart, so that an example's gradient of a weight follows from what
the layer reads of it and what comes back to it: a dense layer's is their outer product, which need not be formed.
Source: Goodfellow 2015, "Efficient Per-Example Gradient Computations"; for convolutions Rochette et al. 2019.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from privlab import networks
from privlab.sharing.losses import Loss, binary_cross_entropy, cross_entropy

MEANS = (cross_entropy, binary_cross_entropy)  # losses known to be a mean over examples
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
Weighted = nn.Linear | nn.Conv1d | nn.Conv2d
WITHOUT_WEIGHTS = {nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Hardtanh, nn.Sigmoid, nn.Tanh}
WITHOUT_WEIGHTS |= {nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.Dropout}
WITHOUT_WEIGHTS |= {nn.Identity}
AT_ONCE = 2**18  # numbers of patches: what stays in a processor's cache


class Outer(NamedTuple):
    """The gradients of a dense layer's weight, example by example `back[i] read[i]^T`: `(B, out)` and `(B, in)`."""

    back: Tensor
    read: Tensor


Slopes = Mapping[str, Tensor | Outer]  # by parameter, of every example: (B, *shape of it), or what makes it up


def chain(model: nn.Module, loss: Loss) -> list[nn.Module] | None:
    """The layers that the network runs one after the other; None where `gradients` does not hold for it or its loss.

    It is told by exact types alone: a class, forward or hook of somebody's own may mix examples or use a weight twice.
    """
    try:
        layers = _unpacked(model)
    except TypeError:
        return None
    held = [id(each) for layer in layers for each in layer.parameters()]
    trained = {id(each) for each in model.parameters() if each.requires_grad}
    fits = loss in MEANS and all(map(_fits, layers)) and len(set(held)) == len(held) and trained <= set(held)
    return layers if fits else None


def _unpacked(model: nn.Module) -> list[nn.Module]:
    found = []
    for _, layer in networks.steps(model):
        found += _unpacked(layer) if isinstance(layer, nn.Sequential) else [layer]
    return found


def _fits(layer: nn.Module) -> bool:
    hooks = (layer._forward_hooks, layer._forward_pre_hooks, layer._backward_hooks, layer._backward_pre_hooks)
    if any(hooks) or "forward" in vars(layer) or any(each._backward_hooks for each in layer.parameters()):
        return False
    if isinstance(layer, nn.Conv1d | nn.Conv2d) and type(layer) in CONVOLUTIONS:
        return layer.groups == 1 and layer.padding_mode == "zeros" and "weight" in layer._parameters
    if isinstance(layer, nn.Flatten) and type(layer) is nn.Flatten:
        return layer.start_dim >= 1
    return type(layer) in WITHOUT_WEIGHTS or (type(layer) is nn.Linear and "weight" in layer._parameters)


def held(layers: list[nn.Module]) -> int:
    """How many numbers an example's gradient takes as `gradients` holds it: those of its convolutions."""
    return sum(each.numel() for layer in layers if type(layer) in CONVOLUTIONS for each in layer.parameters())


def gradients(model: nn.Module, layers: list[nn.Module], images: Tensor, labels: Tensor, loss: Loss) -> Slopes:
    """Every example's own gradient of `chain`'s layers, by name of the parameter; buffers and `grad` stay as they are.

    Raises ValueError for layers that do not read one row an example, and whatever torch raises for what does not fit.
    """
    names = {id(each): name for name, each in model.named_parameters()}
    read: list[tuple[Weighted, Tensor]] = []
    ends: list[GradientEdge] = []
    here = images
    for layer in layers:
        before, here = here, layer(here)
        if not isinstance(layer, Weighted):
            continue
        if before.dim() != layer.weight.dim():  # a convolution takes the examples for channels where one is missing
            raise ValueError(f"a {type(layer).__name__} reads {tuple(before.shape)}, which is not one row an example")
        if any(each.requires_grad for each in layer.parameters()):
            read.append((layer, before.detach()))
            ends.append(get_gradient_edge(here))  # before another layer writes into it
    if here.dim() != 2 or len(here) != len(images):
        raise ValueError(f"the network answers {tuple(here.shape)} to {len(images)} examples")
    backs = torch.autograd.grad(loss(here, labels) * len(images), ends)
    found: dict[str, Tensor | Outer] = {}
    for (layer, before), back in zip(read, backs, strict=True):
        for key, slope in _of_layer(layer, before, back).items():
            found[names[id(layer._parameters[key])]] = slope
    return found


def _of_layer(layer: Weighted, read: Tensor, back: Tensor) -> dict[str, Tensor | Outer]:
    """Of one layer's trained parameters. read: what it was given; back: the gradient of the loss at what it gave."""
    dense = isinstance(layer, nn.Linear)
    found: dict[str, Tensor | Outer] = {}
    if layer.weight.requires_grad:
        found["weight"] = Outer(back, read) if isinstance(layer, nn.Linear) else _of_kernels(layer, read, back)
    if layer.bias is not None and layer.bias.requires_grad:
        found["bias"] = back if dense else back.flatten(2).sum(2)
    return found


def _of_kernels(layer: nn.Conv1d | nn.Conv2d, read: Tensor, back: Tensor) -> Tensor:
    """Of a convolution's weight `(out, C, *kernel)`: `(B, out, C, *kernel)`."""
    padded = nn.functional.pad(read, layer._reversed_padding_repeated_twice)
    kernel, places, steps = layer.weight[0], back.shape[2:], padded.stride()[2:]
    apart = [step * each for how in (layer.dilation, layer.stride) for step, each in zip(steps, how, strict=True)]
    rows = max(1, AT_ONCE // (kernel.numel() * math.prod(places)))
    made = []
    for part, slope in zip(padded.split(rows), back.flatten(2).split(rows), strict=True):
        seen = part.as_strided((len(part), *kernel.shape, *places), (*part.stride()[:2], *apart))
        patches = seen.reshape(len(part), kernel.numel(), math.prod(places))
        made.append(slope @ patches.transpose(1, 2))
    return torch.cat(made).unflatten(2, kernel.shape)


def formed(slopes: Slopes) -> dict[str, Tensor]:
    """Every example's gradient written out, `(B, *shape)` by name."""
    return {
        name: each.back[:, :, None] * each.read[:, None] if isinstance(each, Outer) else each
        for name, each in slopes.items()
    }


def norms(slopes: Slopes) -> Tensor:
    """The l2 norm of every example's whole gradient, `(B,)`: summed in double precision where single overflows."""
    found = _norms(slopes, torch.float32)
    if found.isfinite().all() or found.device.type == "mps":  # which has no doubles
        return found
    return _norms(slopes, torch.float64)


def _norms(slopes: Slopes, least: torch.dtype) -> Tensor:
    def length(rows: Tensor) -> Tensor:
        kind = torch.promote_types(rows.dtype, least)
        return torch.linalg.vector_norm(rows.flatten(1), dim=1, dtype=None if rows.dtype == kind else kind)

    held = slopes.values()
    parts = [length(each.back) * length(each.read) if isinstance(each, Outer) else length(each) for each in held]
    return torch.linalg.vector_norm(torch.stack(parts), dim=0)


def weighted(slopes: Slopes, factors: Tensor) -> dict[str, Tensor]:
    """The sum over examples of their gradients times `factors` `(B,)`, by name."""
    found = {}
    for name, each in slopes.items():
        if isinstance(each, Outer):
            found[name] = (each.back * factors[:, None].to(each.back.dtype)).T @ each.read
        else:
            found[name] = torch.einsum("i,i...", factors.to(each.dtype), each)
    return found
