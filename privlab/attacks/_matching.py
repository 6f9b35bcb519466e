"""Gradients of many trials at once, and how far each lies from the one that a client sent.

A *trial* is one restart of an attack on one victim. Trials share the network's weights and nothing else: `vmap`
hands each its own gradient out of one batched pass, which is several times faster than one trial after the other.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from privlab import checks
from privlab.attacks import _dense
from privlab.sharing.federated import Gradient

Objective = Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], Tensor]
_MOST = 2**26  # numbers of gradient to hold at a time: 64 million, 256 MB


@dataclass(frozen=True)
class LocalTraining:
    """How a client trained before it sent its update: SGD over mini-batches of `batch`, `epochs` times.

    Of a client that sends single gradients, one epoch over one mini-batch.
    """

    epochs: int
    batch: int
    lr: float

    def __post_init__(self) -> None:
        checks.whole("epochs", self.epochs)
        checks.whole("batch", self.batch)
        checks.number("lr", self.lr, 0, open_low=True)


@dataclass(frozen=True)
class Reconstruction:
    """What an attack made of V victims' gradients with R restarts each, all of them.

    images: `(V, R, B, C, H, W)`, as the attack found them (DLG's may leave [0, 1]); labels: `(V, R, B)`; loss:
    `(V, R)`, the attack's own, infinite where a trial broke down; iterations: `(V, R)`, after how many the
    trial's loss fell below the attack's tolerance, NaN where it never did.
    """

    images: Tensor
    labels: Tensor
    loss: Tensor
    iterations: Tensor

    @property
    def chosen(self) -> Tensor:
        """The restart that the adversary believes: that of lowest loss, `(V,)`."""
        return self.loss.argmin(1)

    def best(self) -> Tensor:
        """The images of the chosen restarts, `(V, B, C, H, W)`, within [0, 1]."""
        return self.images[torch.arange(len(self.images)), self.chosen].clamp(0, 1)

    def best_labels(self) -> Tensor:
        """The labels of the chosen restarts, `(V, B)`."""
        return self.labels[torch.arange(len(self.labels)), self.chosen]


def squared(found: Mapping[str, Tensor], sent: Mapping[str, Tensor]) -> Tensor:
    """The squared l2 distance of two gradients, over that of the sent one from zero. Source: DLG, eq. 4, scaled.

    Scaling changes no minimum. It makes L-BFGS, whose first steps are in the units of its objective, see the same
    problem whether the gradient is large or small.
    """
    distance = torch.stack([(found[name] - sent[name]).square().sum() for name in sent]).sum()
    return distance / torch.stack([sent[name].square().sum() for name in sent]).sum()


def clipped(objective: Objective, bound: float) -> Objective:
    """The objective of an adversary who knows that clients clip to `bound`, and clips its own gradient likewise."""

    def compare(found: Mapping[str, Tensor], sent: Mapping[str, Tensor]) -> Tensor:
        length = torch.stack([value.square().sum() for value in found.values()]).sum().sqrt()
        factor = (bound / length.clamp_min(torch.finfo(length.dtype).tiny)).clamp_max(1)
        return objective({name: value * factor for name, value in found.items()}, sent)

    return compare


def cosine(found: Mapping[str, Tensor], sent: Mapping[str, Tensor]) -> Tensor:
    """One less the cosine between two gradients. Source: Geiping et al. 2020, eq. 4; the talk's equation."""
    product = torch.stack([(found[name] * sent[name]).sum() for name in sent]).sum()
    tiny = torch.finfo(product.dtype).tiny
    norms = [torch.stack([part[name].square().sum() for name in sent]).sum().clamp_min(tiny) for part in (found, sent)]
    return 1 - product / (norms[0].sqrt() * norms[1].sqrt())


def soft_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy for labels that are probabilities `(B, K)`."""
    return -(labels * logits.log_softmax(1)).sum(1).mean()


class Matcher:
    """Compares what trials would send with what victims sent.

    model: the shared network, which stays as it is. gradients: one of each victim, all of mini-batches of the same
    size. local: how the clients trained, where they sent updates. Raises ValueError for gradients that do not fit the
    model or one another, and for a model whose gradient depends on chance (dropout in train mode).
    """

    def __init__(
        self,
        model: nn.Module,
        gradients: Sequence[Gradient],
        objective: Objective,
        local: LocalTraining | None = None,
    ) -> None:
        self.examples = _common_size(gradients)
        _check_fit(model, gradients)
        self.sent = {name: torch.stack([g[name].detach() for g in gradients]) for name in gradients[0]}
        self._model = _with_plain_norms(model).requires_grad_(False)
        self._weights = {name: value.detach() for name, value in self._model.named_parameters()}
        self._chunk = max(1, _MOST // sum(value.numel() for value in self._weights.values()))
        self._step = grad(self._loss)
        self._local = local
        self._compare = objective
        self._batched = vmap(self._trial)
        self._dense = objective is cosine and local is None and self.examples == 1 and _dense.is_dense(model)

    @property
    def device(self) -> torch.device:
        """Where the gradients lie."""
        return next(iter(self.sent.values())).device

    def _loss(self, weights: Mapping[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        return soft_cross_entropy(functional_call(self._model, dict(weights), (images,)), labels)

    def _trial(self, images: Tensor, labels: Tensor, sent: Mapping[str, Tensor]) -> Tensor:
        found = self._step(self._weights, images, labels) if self._local is None else self._path(images, labels)
        return self._compare({name: found[name] for name in sent}, sent)

    def _path(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """The mean gradient along a client's local training, in the order of the images."""
        assert self._local is not None
        weights, steps = self._weights, []
        for _ in range(self._local.epochs):
            for part in torch.arange(len(images)).split(self._local.batch):
                step = self._step(weights, images[part], labels[part])
                weights = {name: value - self._local.lr * step[name] for name, value in weights.items()}
                steps.append(step)
        return {name: torch.stack([step[name] for step in steps]).mean(0) for name in weights}

    def __call__(self, images: Tensor, labels: Tensor, victim: Tensor) -> Tensor:
        """The objective of each trial, `(T,)`: images `(T, B, C, H, W)`, labels `(T, B, K)`, victim `(T,)`."""
        if self._dense:
            values = images.new_zeros(len(images))
            for v in victim.unique().tolist():
                mine = (victim == v).nonzero().flatten()
                sent = {name: value[v] for name, value in self.sent.items()}
                model: nn.Sequential = self._model  # type: ignore[assignment]
                values = values.index_put((mine,), _dense.cosine_distance(model, images[mine], labels[mine], sent))
            return values
        parts = zip(*(part.split(self._chunk) for part in (images, labels, victim)), strict=True)
        return torch.cat([self._batched(x, y, {k: v[of] for k, v in self.sent.items()}) for x, y, of in parts])


def _common_size(gradients: Sequence[Gradient]) -> int:
    if not gradients:
        raise ValueError("there are no gradients; give at least one")
    sizes = {g.examples for g in gradients}
    if len(sizes) > 1:
        raise ValueError(f"the gradients are of mini-batches of {sorted(sizes)}; attack one size at a time")
    return sizes.pop()


def _check_fit(model: nn.Module, gradients: Sequence[Gradient]) -> None:
    weights = dict(model.named_parameters())
    for g in gradients:
        if set(g) != set(gradients[0]):
            raise ValueError(
                f"the gradients are of different layers ({list(gradients[0])}, {list(g)}); give equal ones"
            )
        for name in g:
            if name not in weights or weights[name].shape != g[name].shape:
                has = tuple(weights[name].shape) if name in weights else "no such weight"
                raise ValueError(f"the gradient's {name!r} is {tuple(g[name].shape)}, in this model: {has}")
            if not g[name].isfinite().all():
                raise ValueError(f"the gradient's {name!r} is not finite; nothing can be fitted to it")
    for name, layer in model.named_modules():
        if layer.training and isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0:
            raise ValueError(
                f"layer {name!r} drops units at random, which the adversary cannot repeat; put the model in eval mode "
                "if the client did, or attack a model without dropout"
            )


def _with_plain_norms(model: nn.Module) -> nn.Module:
    """A copy in which BatchNorm in train mode, and InstanceNorm, is written out, and updates no running averages.

    In train mode those do not influence the gradient; writing to them is what `vmap` cannot do. And under `vmap`
    torch's own batch_norm has a wrong slope of the slope (seen in 2.13), which the test against a plain loop shows.
    """
    model = copy.deepcopy(model)
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._NormBase) and (layer.training or layer.running_mean is None):
            layer.forward = partial(_normalise, layer)
    return model


def _normalise(layer: nn.modules.batchnorm._NormBase, inputs: Tensor) -> Tensor:
    over_batch = isinstance(layer, nn.modules.batchnorm._BatchNorm)
    places = [*([0] if over_batch else []), *range(2, inputs.dim())]
    centred = inputs - inputs.mean(places, keepdim=True)
    outputs = centred / (centred.square().mean(places, keepdim=True) + layer.eps).sqrt()
    if not layer.affine:
        return outputs
    weight, bias = (part.view(-1, *[1] * (inputs.dim() - 2)) for part in (layer.weight, layer.bias))
    return outputs * weight + bias


def with_slopes(function: Callable[[Tensor], Tensor], points: Tensor) -> tuple[Tensor, Tensor]:
    """The value of each point's own problem `(T,)`, and its slope there, of the points' shape."""
    points = points.detach().requires_grad_()
    values = function(points)
    return values.detach(), torch.autograd.grad(values.sum(), points)[0]


def known_labels(labels: Tensor, shape: tuple[int, int], classes: int) -> Tensor:
    """Labels `(V, B)` as probabilities `(V, B, K)`; ValueError for another shape, or a class that is not there."""
    if tuple(labels.shape) != shape:
        raise ValueError(f"labels are {tuple(labels.shape)}; expected {shape}: one row a victim, one label an image")
    checks.labels("labels", labels.flatten(), labels.numel())
    checks.whole("the largest label", int(labels.max()), 0, classes - 1)
    return nn.functional.one_hot(labels, classes).float()


def number_of_classes(model: nn.Module, shape: Sequence[int], device: torch.device) -> int:
    """How many logits the model has; ValueError for a `shape` that it does not take."""
    for size in shape:
        checks.whole("shape", size)
    try:
        with torch.no_grad():
            return copy.deepcopy(model).eval()(torch.zeros(1, *shape, device=device)).shape[1]
    except RuntimeError as error:
        raise ValueError(f"shape={tuple(shape)} does not fit the model ({error}); give that of one image") from error
