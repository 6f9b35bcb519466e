"""Carry the input, unaltered, through convolutions and dense layers to the layer that is read.

Source: Boenisch et al., "When the curious abandon honesty", section 7, figure 3, and appendix B.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from privlab import checks, networks, runtime
from privlab.attacks.threat import threats
from privlab.sharing.federated import Gradient

(THREAT,) = threats("transmission")


@dataclass(frozen=True)
class Transmission:
    """A model whose layers before `layer` hand their input on, and where it arrives.

    columns: `(L,)`, the column of the layer's weight at which each value of the input arrives, in the order
    (C, H, W). scales: `(L,)`, by how much it was multiplied on the way (1 where it is passed on unaltered).
    """

    model: nn.Sequential
    layer: str
    columns: Tensor
    scales: Tensor

    def restore(self, gradient: Gradient) -> Gradient:
        """The layer's gradient with respect to the input itself: `(N, L)`, as if it were the first layer."""
        weight, bias = gradient.layer(self.layer)
        tensors = {f"{self.layer}.weight": weight[:, self.columns] / self.scales, f"{self.layer}.bias": bias}
        return Gradient(tensors, gradient.examples)

    @torch.no_grad()
    def load(self, weights: Tensor) -> nn.Sequential:
        """A copy of the model whose layer answers the *input* with `weights` `(N, L)` and zero biases.

        Columns at which nothing arrives keep their honest weights: they are multiplied by zero.
        Raises ValueError for weights of another shape.
        """
        model = networks.duplicate(self.model)
        dense = networks.plain_dense(model, self.layer)
        if weights.shape != (dense.out_features, len(self.columns)):
            wanted = (dense.out_features, len(self.columns))
            raise ValueError(f"weights are {tuple(weights.shape)}; expected {wanted}, neurons by values of the input")
        dense.weight[:, self.columns] = weights.to(dense.weight) / self.scales
        dense.bias.zero_()
        return model


@torch.no_grad()
def transmit(
    model: nn.Sequential, shape: Sequence[int], *, layer: str | None = None, hidden: bool = False, seed: int = 0
) -> Transmission:
    """Set every layer before `layer` so that non-negative inputs of `shape` arrive there unaltered.

    Convolutions get one filter for each channel of the input, zero but for a one in its middle, at a random
    map; their other filters stay as they are, but in the last convolution they are made negative, so that
    ReLU silences their maps. Dense layers pass each value to a random neuron of its own and keep the others
    dead; with `hidden` they do so as in appendix B, points (1) to (4): random positive factors, negative
    random weights into dead neurons, honest weights out of them.
    layer: by default the first dense one. It is one of the model's own layers, not a part of one. What arrives there
    is compared with what went in. Raises ValueError, with the reason, for a layer through which nothing can be carried,
    and TypeError for a network whose layers do not simply follow one another.
    """
    checks.sizes(shape=shape)
    layer = networks.first_dense(model) if layer is None else layer
    checks.layer(model, layer, nn.Linear)
    random = runtime.generator(runtime.derive(seed, "transmit"))
    planted = networks.duplicate(model)
    before = networks.steps(planted)
    names = [name for name, _ in before]
    if layer not in names:
        raise ValueError(f"layer={layer!r} is a part of another; take the model apart, so that it is one of {names}")
    before = before[: names.index(layer)]
    _check_order(before, shape)
    convolutions = [part for _, part in before if isinstance(part, nn.Conv2d)]
    area = math.prod(shape[1:])
    maps = torch.arange(shape[0])
    columns, scales = torch.arange(math.prod(shape)), torch.ones(math.prod(shape))
    for name, part in before:
        if isinstance(part, nn.Conv2d):
            maps = _through_convolution(name, part, maps, random, last=part is convolutions[-1])
            columns = (maps[:, None] * area + torch.arange(area)).flatten()
        elif isinstance(part, nn.Linear):
            columns, factors = _through_dense(name, part, columns, random, hidden)
            scales = scales * factors
        elif not isinstance(part, nn.ReLU | nn.Flatten):
            raise ValueError(f"{name} is a {type(part).__name__}, through which an input does not pass unaltered")
    device = next(planted.parameters()).device
    made = Transmission(planted, layer, columns.to(device), scales.to(device))
    _check_arrival(made, shape, random)
    return made


def _check_arrival(made: Transmission, shape: Sequence[int], random: torch.Generator) -> None:
    """That an input arrives as it should: layers can have hooks, shared weights, or a forward of their own."""
    values = torch.rand(2, *shape, generator=random).to(made.columns.device, networks.dtype(made.model))
    with networks.measured(made.model):
        arrived = networks.input_of(made.model, made.layer, values)
    wanted = values.flatten(1) * made.scales.to(values)
    if arrived.dim() != 2 or not torch.allclose(arrived[:, made.columns], wanted, rtol=1e-3, atol=1e-4):
        raise ValueError(
            f"the input does not arrive at {made.layer!r} unaltered: a layer before it shares weights, computes them "
            "(a parametrization), or does something of its own (a hook, a subclass); transmit through plain layers"
        )


def _check_order(before: Sequence[tuple[str, nn.Module]], shape: Sequence[int]) -> None:
    """Each layer with weights is followed by a ReLU, which silences what is idle, and the first one fits `shape`."""
    for (name, part), following in zip(before, [*before[1:], ("", None)], strict=True):
        if isinstance(part, nn.Conv2d | nn.Linear) and not isinstance(following[1], nn.ReLU):
            raise ValueError(f"{name} is not followed by a ReLU: what its idle outputs hold would reach the layer too")
    first = next((item for item in before if isinstance(item[1], nn.Conv2d | nn.Linear)), None)
    if first is None:
        return
    takes = first[1].in_channels if isinstance(first[1], nn.Conv2d) else first[1].in_features
    gives = shape[0] if isinstance(first[1], nn.Conv2d) else math.prod(shape)
    if takes != gives:
        raise ValueError(f"shape={tuple(shape)} does not fit: {first[0]} takes {takes} channels or values, not {gives}")


def _through_convolution(name: str, part: nn.Conv2d, maps: Tensor, random: torch.Generator, *, last: bool) -> Tensor:
    """One-hot filters from the input's maps to random ones; returns those."""
    kernel, stride, dilation = part.kernel_size, part.stride, part.dilation
    if any(size % 2 == 0 for size in kernel):
        raise ValueError(f"{name} has the kernel {kernel}: an even one has no middle, at which to pass a pixel on")
    if any(step != 1 for step in stride):
        given = f"{name} has the stride {stride}: one filter a channel skips pixels"
        raise ValueError(f"{given}; stride 1 carries them all")
    middle = tuple(size // 2 for size in kernel)
    reach = tuple(step * half for step, half in zip(dilation, middle, strict=True))
    if part.padding not in ("same", reach):
        raise ValueError(f"{name} has the padding {part.padding}: it changes the size; {reach} would keep it")
    if part.groups != 1:
        raise ValueError(f"{name} has {part.groups} groups: a map is not seen by every filter")
    if part.out_channels < len(maps):
        raise ValueError(f"{name} has {part.out_channels} filters for {len(maps)} channels of the input; one each")
    if last:
        part.weight.copy_(-part.weight.abs())
        if part.bias is not None:
            part.bias.copy_(-part.bias.abs())
    chosen = torch.randperm(part.out_channels, generator=random)[: len(maps)]
    part.weight[chosen] = 0
    part.weight[chosen, maps, middle[0], middle[1]] = 1
    if part.bias is not None:
        part.bias[chosen] = 0
    return chosen


def _through_dense(
    name: str, part: nn.Linear, columns: Tensor, random: torch.Generator, hidden: bool
) -> tuple[Tensor, Tensor]:
    """Each value to a neuron of its own; returns the neurons, and the factors on the way."""
    if part.out_features < len(columns):
        raise ValueError(f"{name} has {part.out_features} neurons for {len(columns)} values of the input; one each")
    order = torch.randperm(part.out_features, generator=random)
    chosen, dead = order[: len(columns)], order[len(columns) :]
    weight = part.weight.detach().cpu().clone() if hidden else torch.zeros(part.weight.shape)
    factors = torch.empty(len(columns)).uniform_(0.5, 1.5, generator=random) if hidden else torch.ones(len(columns))
    # Rows are neurons. A carrying neuron sees its own value alone (dead inputs are zero whatever their weight);
    # a dead one sees values with negative weights only.
    weight[chosen[:, None], columns] = 0
    weight[chosen, columns] = factors
    weight[dead[:, None], columns] = -weight[dead[:, None], columns].abs()
    part.weight.copy_(weight)
    if part.bias is not None:
        part.bias.zero_()
    return chosen, factors
