"""Gradients of many trials out of one ordinary batch, layer by layer.

What a layer's weights get is a product of what went into the layer and of the slope at what came out. Both come from
one forward and one backward pass over all trials' images at once, and each trial then takes its own product: several
times faster than handing each trial a pass of its own. Of a dense layer the product need not be formed at all.

It is taken only for layers of the kinds below, used once each, in networks with nothing attached to them (`Layers.of`);
and only where trials get from it what they get one by one (`_trials.Proof`).
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import module as globally
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from privlab import networks
from privlab.attacks._distances import Flat, Outer, Part

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_FEW = 30_000  # up to so many numbers, unfolding one trial's maps costs less than torch's own kernel
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


def _at_rest(layer: nn.Module) -> tuple[Tensor, Tensor] | None:
    """The mean, and one over the deviation, of a layer of normalisation that uses its running averages; else None."""
    if not isinstance(layer, _NormBase) or layer.training or layer.running_mean is None or layer.running_var is None:
        return None
    return layer.running_mean, (layer.running_var + layer.eps).rsqrt()


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
    if type(layer) is nn.Conv2d:
        return layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
    return type(layer) is nn.Linear or type(layer) in NORMS


def _at_work(model: nn.Module) -> nn.Module:
    """A copy of the network with the very same numbers, none of which is trained."""
    return networks.duplicate(model, {id(each): nn.Parameter(each.detach(), False) for each in model.parameters()})


class Layers:
    """A copy of a network whose layers note what goes in and what comes out.

    images: `(T, B, ...)`; each of T trials has B images. wanted: what V victims sent, `(V, *weight)`, of
    the weights that are compared.
    """

    def __init__(self, model: nn.Module, wanted: Mapping[str, Tensor]) -> None:
        self.model, self.wanted = _at_work(model), set(wanted)
        self.axes = {name: value.dim() - 1 for name, value in wanted.items()}
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
        self.numbers = 0  # that one trial holds, as last seen
        plain_norms(self.model, lambda: self.trials)
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
            if (rest := _at_rest(layer)) is not None:  # then it scales and shifts
                mean, per_deviation = rest
                weight = weight * per_deviation
                bias = bias - weight * mean
            else:
                inputs = normalised(layer, inputs, self.trials)
            outputs = torch.addcmul(_beside(bias, inputs), inputs, _beside(weight, inputs))
        else:
            outputs = forward(inputs)
        self.seen.setdefault(name, []).append((inputs, outputs))
        self.versions[name] = inputs._version, outputs._version
        return outputs

    def run(self, loss: Loss, images: Tensor, labels: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
        """Each layer's inputs and the slopes at its outputs; ValueError where one was not used just once."""
        self.seen, self.trials = {}, len(images)
        with torch.enable_grad():
            if not images.requires_grad:
                images = images.detach().requires_grad_()
            outputs = self.model(images.flatten(0, 1).clone()).unflatten(0, images.shape[:2])
            alone = len(images) == 1
            total = loss(outputs[0], labels[0]) if alone else torch.vmap(loss)(outputs, labels).sum()
            seen, self.seen = self.seen, {}
            if set(seen) != set(self.layers) or any(len(uses) > 1 for uses in seen.values()):
                raise ValueError("a layer was not used once")
            if any((use[0]._version, use[1]._version) != self.versions[name] for name, (use,) in seen.items()):
                raise ValueError("what goes into a layer, or comes out, is written over")
            slopes = torch.autograd.grad(total, [seen[name][0][1] for name in self.layers], create_graph=True)
        return {name: (seen[name][0][0], slope) for name, slope in zip(self.layers, slopes, strict=True)}

    def gradients(self, loss: Loss, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """What each trial would send, `(T, *weight)`."""
        trials, held = len(images), 0
        found: dict[str, Tensor] = {}
        for name, (inputs, slope) in self.run(loss, images, labels).items():
            layer = self.layers[name]
            held += inputs.numel() + slope.numel()
            each = {
                "weight": _weight_gradient(layer, inputs, slope, trials),
                "bias": _bias_gradient(layer, slope, trials),
            }
            for key, weight in layer.named_parameters():
                if f"{name}.{key}" in self.wanted:
                    found[f"{name}.{key}"] = each[key].reshape(trials, *weight.shape)
        self.numbers = held // trials
        return found

    def parts(self, loss: Loss, images: Tensor, labels: Tensor, sent: Mapping[str, Tensor]) -> list[Part]:
        """The gradients of each trial beside what was sent: tensors of a weight's shape, or one a trial."""
        trials, found, theirs = len(images), [], []
        parts: list[Part] = []
        for name, (inputs, slope) in self.run(loss, images, labels).items():
            layer = self.layers[name]
            weight, bias = f"{name}.weight", f"{name}.bias"
            if weight in sent and _outer_is_less(layer, slope, trials):
                delta, rows = (part.unflatten(0, (trials, -1)) for part in (slope, inputs))
                parts.append(Outer(delta, rows, sent[weight]))
            elif weight in sent:
                found.append(_weight_gradient(layer, inputs, slope, trials).flatten(1))
                theirs.append(sent[weight].flatten(-self.axes[weight]))
            if bias in sent:
                found.append(_bias_gradient(layer, slope, trials))
                theirs.append(sent[bias])
        if found:
            parts.append(Flat(torch.cat(found, 1), torch.cat(theirs, -1)))
        return parts


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


def _weight_gradient(layer: nn.Module, inputs: Tensor, slope: Tensor, trials: int) -> Tensor:
    """What the layer's weight gets in each trial, `(T, *weight)`."""
    if isinstance(layer, NORMS):
        along, rest = _bias_gradient(layer, inputs * slope, trials), _at_rest(layer)
        return along if rest is None else (along - rest[0] * _bias_gradient(layer, slope, trials)) * rest[1]
    if isinstance(layer, nn.Linear):
        rows = [part.reshape(trials, -1, part.shape[-1]) for part in (slope, inputs)]
        return rows[0].mT @ rows[1]
    assert isinstance(layer, nn.Conv2d)
    assert not isinstance(layer.padding, str)
    places, reach = slope[0, 0].numel(), math.prod(layer.kernel_size)
    few = places <= 16 or (trials == 1 and places * reach * layer.in_channels < _FEW)
    if not few and reach > 1:
        return _grouped(layer, inputs, slope, trials)
    columns = F.unfold(inputs, layer.kernel_size, layer.dilation, layer.padding, layer.stride)
    each = slope.flatten(2) @ columns.mT
    each = each if len(each) == trials else each.unflatten(0, (trials, -1)).sum(1)
    return each.view(trials, *layer.weight.shape)


def _grouped(layer: nn.Conv2d, inputs: Tensor, slope: Tensor, trials: int) -> Tensor:
    """The same by torch's own kernel: trials are groups of channels, and the images of a trial the batch."""
    weight = layer.weight
    if trials > 1:
        weight = weight.new_empty(trials * len(weight), *weight.shape[1:])  # of which the shape alone is read
        slope, inputs = (part.unflatten(0, (trials, -1)).transpose(0, 1).flatten(1, 2) for part in (slope, inputs))
    how = layer.stride, layer.padding, layer.dilation, False, [0, 0], trials, [False, True, False]
    return torch.ops.aten.convolution_backward(slope, inputs, weight, None, *how)[1].unflatten(0, (trials, -1))
