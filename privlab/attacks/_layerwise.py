"""Gradients of many trials out of one ordinary batch, layer by layer.

What a layer's weights get is a product of what went into the layer and of the slope at what came out. Both come from
one forward and one backward pass over all trials' images at once, and each trial then takes its own product: several
times faster than handing each trial a pass of its own. Of a dense layer the product need not be formed at all.

It is taken only for layers of the kinds below, used once each, in networks with nothing attached to them (`Layers.of`);
and only where trials get from it what they get one by one (`_trials.Proof`).
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import module as globally
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from privlab import networks
from privlab.attacks import _convolutions
from privlab.attacks._distances import Chosen, Outer, Part, flats

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_FEW = 16  # up to so many places, unfolding the maps of several trials costs less than torch's own kernel
Loss = Callable[[Tensor, Tensor], Tensor]


def plain_norms(model: nn.Module, trials: Callable[[], int] = lambda: 1) -> None:
    """Write BatchNorm in train mode, InstanceNorm and LayerNorm out: for each trial by itself, without averages.

    In train mode those do not influence the gradient; writing to them is what `vmap` cannot do. And under `vmap`
    torch's own batch_norm and layer_norm have a wrong slope of the slope (seen in 2.13), which the test against a
    plain loop shows.
    """
    for layer in model.modules():
        written = _BatchNorm.forward, _InstanceNorm.forward
        known = getattr(type(layer), "forward", None) in written and "forward" not in vars(layer)
        if isinstance(layer, _NormBase) and known and _at_rest(layer) is None:
            layer.forward = partial(_affine, layer, trials)
        if type(layer) is nn.LayerNorm:
            vars(layer)["forward"] = partial(_layer_norm, layer)


def _layer_norm(layer: nn.LayerNorm, inputs: Tensor) -> Tensor:
    """What a layer gives that normalises each image, or each token, by itself."""
    places = list(range(-len(layer.normalized_shape), 0))
    centred = inputs - inputs.mean(places, keepdim=True)
    outputs = centred / (centred.square().mean(places, keepdim=True) + layer.eps).sqrt()
    outputs = outputs if layer.weight is None else outputs * layer.weight
    return outputs if layer.bias is None else outputs + layer.bias


def _affine(layer: _NormBase, trials: Callable[[], int], inputs: Tensor) -> Tensor:
    """What a layer of normalisation gives, by `normalised`."""
    outputs = normalised(layer, inputs, trials())
    if layer.weight is None:
        return outputs
    return torch.addcmul(_beside(layer.bias, inputs), outputs, _beside(layer.weight, inputs))


@dataclass(frozen=True)
class _Rest:
    """What a layer of normalisation that uses its running averages subtracts and divides by, and so what it is."""

    mean: Tensor
    per_deviation: Tensor
    scale: Tensor
    shift: Tensor


def _at_rest(layer: nn.Module) -> _Rest | None:
    """How a layer of normalisation uses its running averages; None for one that does not."""
    if not isinstance(layer, _NormBase) or layer.training or layer.running_mean is None or layer.running_var is None:
        return None
    mean, per_deviation = layer.running_mean, (layer.running_var + layer.eps).rsqrt()
    scale = per_deviation if layer.weight is None else layer.weight.detach() * per_deviation
    shift = -mean * scale if layer.bias is None else layer.bias.detach() - mean * scale
    return _Rest(mean, per_deviation, scale, shift)


def _beside(channels: Tensor, images: Tensor) -> Tensor:
    """A number for each channel, shaped to go with `(N, C, ...)`."""
    return channels.view(-1, *[1] * (images.dim() - 2))


def normalised(layer: _NormBase | nn.GroupNorm, inputs: Tensor, trials: int) -> Tensor:
    """What a layer of normalisation multiplies by its weight: `(trials * B, C, ...)`, each trial by itself."""
    if isinstance(layer, nn.GroupNorm):
        return F.group_norm(inputs, layer.num_groups, eps=layer.eps)
    each = inputs.unflatten(0, (trials, -1))
    over_batch = isinstance(layer, _BatchNorm)
    places = [*([1] if over_batch else []), *range(3, each.dim())]
    centred = each - each.mean(places, keepdim=True)
    return (centred / (centred.square().mean(places, keepdim=True) + layer.eps).sqrt()).flatten(0, 1)


def _known(layer: nn.Module) -> bool:
    """Whether the weights of this layer get a product that we can form."""
    return type(layer) is nn.Linear or type(layer) in NORMS or _convolutions.known(layer)


def _at_work(model: nn.Module) -> nn.Module:
    """A copy of the network with the very same numbers, none of which is trained."""
    return networks.duplicate(model, {id(each): nn.Parameter(each.detach(), False) for each in model.parameters()})


@dataclass(frozen=True)
class Use:
    """What went into a layer, the slope at what came out, and at its weight where that is known already."""

    inputs: Tensor
    slope: Tensor
    weight: Tensor | None = None


class Layers:
    """A copy of a network whose layers note what goes in and what comes out.

    images: `(T, B, ...)`; each of T trials has B images. wanted: what V victims sent, `(V, *weight)`, of
    the weights that are compared.
    """

    def __init__(self, model: nn.Module, wanted: Mapping[str, Tensor]) -> None:
        self.model, self.wanted = _at_work(model), set(wanted)
        self.layers: dict[str, nn.Module] = {}
        for name, layer in self.model.named_modules():
            mine = [f"{name}.{key}" for key, _ in layer.named_parameters(recurse=False)]
            if any(key in wanted for key in mine) and _known(layer):
                self.layers[name] = layer
        for part in self.model.modules():
            if hasattr(part, "inplace"):  # it would write over what the layer before it gave
                vars(part)["inplace"] = False
        self.seen: dict[str, list[tuple[Tensor, Tensor]]] = {}
        self.versions: dict[str, tuple[int, int]] = {}
        self.trials = 1
        self.numbers = 0  # that one trial holds in the average array, as last seen
        plain_norms(self.model, lambda: self.trials)
        self.rest = {name: rest for name, layer in self.layers.items() if (rest := _at_rest(layer)) is not None}
        for name, layer in self.layers.items():
            layer.forward = partial(self._note, name, layer, layer.forward)

    @classmethod
    def of(cls, model: nn.Module, wanted: Mapping[str, Tensor]) -> Self | None:
        """The layers of a network all of whose wanted weights are theirs alone; else None.

        None for weights that two layers share or that are computed, for hooks of any kind on any part or weight, and
        for layers of another kind, a subclass's too. That each is used once, and for nothing else, shows as it runs.
        """
        parts, names = list(model.modules()), [name for name, _ in model.named_parameters(remove_duplicate=False)]
        if len(names) > len(list(model.parameters())) or any(hasattr(part, "parametrizations") for part in parts):
            return None
        hooked = any(getattr(part, kind) for part in parts for kind in HOOKS)
        hooked |= any(each._backward_hooks for each in model.parameters())
        hooked |= any(getattr(globally, f"_global{kind}", None) for kind in HOOKS)
        if hooked or any("forward" in vars(part) for part in parts):
            return None
        layers = cls(model, wanted)
        own = {f"{name}.{key}" for name, layer in layers.layers.items() for key, _ in layer.named_parameters()}
        return layers if set(wanted) <= own else None

    def _note(self, name: str, layer: nn.Module, forward: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
        if isinstance(layer, _NormBase | nn.GroupNorm):
            weight: Tensor = layer.weight
            bias: Tensor = layer.bias
            if (rest := self.rest.get(name)) is not None:  # then it scales and shifts
                weight, bias = rest.scale, rest.shift
            else:
                inputs = normalised(layer, inputs, self.trials)
            outputs = torch.addcmul(_beside(bias, inputs), inputs, _beside(weight, inputs))
        elif isinstance(layer, nn.Conv2d) and self.trials > 1:
            layer.weight.requires_grad_(False)
            outputs = _convolutions.convolve(layer, inputs)
        else:
            if isinstance(layer, nn.Conv2d):  # of one trial torch gives what the weight gets in the same call
                layer.weight.requires_grad_(True)
            outputs = forward(inputs)
        self.seen.setdefault(name, []).append((inputs, outputs))
        self.versions[name] = inputs._version, outputs._version
        return outputs

    def run(self, loss: Loss, images: Tensor, labels: Tensor) -> dict[str, Use]:
        """How each layer was used; ValueError where one was not used just once."""
        self.seen, self.trials = {}, len(images)
        alone = len(images) == 1
        with torch.enable_grad():
            if not images.requires_grad:
                images = images.detach().requires_grad_()
            outputs = self.model(images.flatten(0, 1).clone()).unflatten(0, images.shape[:2])
            total = loss(outputs[0], labels[0]) if alone else torch.vmap(loss)(outputs, labels).sum()
            seen, self.seen = self.seen, {}
            if set(seen) != set(self.layers) or any(len(uses) > 1 for uses in seen.values()):
                raise ValueError("a layer was not used once")
            if any((use[0]._version, use[1]._version) != self.versions[name] for name, (use,) in seen.items()):
                raise ValueError("what goes into a layer, or comes out, is written over")
            convolutions = {n: layer.weight for n, layer in self.layers.items() if alone and type(layer) is nn.Conv2d}
            wanted = [*(seen[name][0][1] for name in self.layers), *convolutions.values()]
            slopes = torch.autograd.grad(total, wanted, create_graph=True)
        weights = dict(zip(convolutions, slopes[len(self.layers) :], strict=True))
        pairs = zip(self.layers, slopes, strict=False)
        return {name: Use(seen[name][0][0], slope, weights.get(name)) for name, slope in pairs}

    def gradients(self, loss: Loss, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """What each trial would send, `(T, *weight)`."""
        uses = self.run(loss, images, labels)
        held = sum(use.inputs.numel() + use.slope.numel() for use in uses.values())
        self.numbers = math.ceil(held / (2 * len(images) * len(uses)))
        return self._written(uses, len(images), set())

    def parts(self, loss: Loss, images: Tensor, labels: Tensor, sent: Chosen) -> list[Part]:
        """The gradients of each trial beside what was sent."""
        trials, uses = len(images), self.run(loss, images, labels)
        outer = {name for name, use in uses.items() if _outer_is_less(self.layers[name], use.slope, trials)}
        parts: list[Part] = []
        for name in outer:
            if f"{name}.weight" in self.wanted:
                delta, rows = (part.unflatten(0, (trials, -1)) for part in (uses[name].slope, uses[name].inputs))
                parts.append(Outer(delta, rows, sent.weight(f"{name}.weight")))
        return parts + flats(self._written(uses, trials, outer), sent)

    def _written(self, uses: Mapping[str, Use], trials: int, outer: Collection[str]) -> dict[str, Tensor]:
        """Each wanted weight's gradient, `(T, *weight)`, but for the weights of the layers in `outer`."""
        found, scaled = {}, {}
        for name, use in uses.items():
            layer = self.layers[name]
            if f"{name}.bias" in self.wanted:
                found[f"{name}.bias"] = _bias_gradient(layer, use.slope, trials)
            if f"{name}.weight" not in self.wanted or name in outer:
                continue
            if name in self.rest:
                bias = found.get(f"{name}.bias")
                bias = _bias_gradient(layer, use.slope, trials) if bias is None else bias
                scaled[f"{name}.weight"] = _bias_gradient(layer, use.inputs * use.slope, trials), bias
            else:
                found[f"{name}.weight"] = _weight_gradient(layer, use, trials)
        return found | self._rested(scaled)

    def _rested(self, scaled: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """What the weights get of norms that use running averages, all at once: so many small steps have a price."""
        if not scaled:
            return {}
        along, bias = (torch.cat(each, 1) for each in zip(*scaled.values(), strict=True))
        rest = [self.rest[name.rpartition(".")[0]] for name in scaled]
        mean, per_deviation = torch.cat([each.mean for each in rest]), torch.cat([each.per_deviation for each in rest])
        each = ((along - mean * bias) * per_deviation).split([len(each.mean) for each in rest], 1)
        return dict(zip(scaled, each, strict=True))


def _outer_is_less(layer: nn.Module, slope: Tensor, trials: int) -> bool:
    """Whether a dense layer's inputs and slopes are fewer numbers than its weights."""
    if not isinstance(layer, nn.Linear) or slope.dim() != 2:
        return False
    examples = len(slope) // trials
    return layer.weight.numel() > 2 * examples * (layer.in_features + layer.out_features)


def _bias_gradient(layer: nn.Module, slope: Tensor, trials: int) -> Tensor:
    """What the layer's bias gets in each trial, `(T, N)`: the slope, over a trial's images and their places."""
    if isinstance(layer, nn.Linear) and slope.dim() > 2:
        return slope.reshape(trials, -1, slope.shape[-1]).sum(1)
    each = slope.flatten(2).sum(2) if slope.dim() > 2 else slope
    return each if len(each) == trials else each.unflatten(0, (trials, -1)).sum(1)


def _weight_gradient(layer: nn.Module, use: Use, trials: int) -> Tensor:
    """What the layer's weight gets in each trial, `(T, *weight)`."""
    inputs, slope = use.inputs, use.slope
    if use.weight is not None:
        return use.weight[None]
    if isinstance(layer, NORMS):
        return _bias_gradient(layer, inputs * slope, trials)
    if isinstance(layer, nn.Linear):
        rows = [part.reshape(trials, -1, part.shape[-1]) for part in (slope, inputs)]
        return rows[0].mT @ rows[1]
    assert isinstance(layer, nn.Conv2d)
    assert not isinstance(layer.padding, str)
    places, reach = slope[0, 0].numel(), math.prod(layer.kernel_size)
    if places > _FEW and reach > 1:
        return _convolutions.weight_gradient(layer, inputs, slope, trials)
    columns = F.unfold(inputs, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    each = slope.flatten(2) @ columns.mT
    each = each if len(each) == trials else each.unflatten(0, (trials, -1)).sum(1)
    return each.view(trials, *layer.weight.shape)
