"""Gradients of many trials at once, and how far each lies from the one that a client sent.

A *trial* is one restart of an attack on one victim. Trials share the network's weights and nothing else. Where it is
proven to give the same, each takes its gradient out of one ordinary batch (`_layerwise`), else `vmap` hands it one of
its own; one trial alone takes the plain way.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from privlab import checks
from privlab.attacks._distances import Flat, Objective, Part
from privlab.attacks._layerwise import Layers, plain_norms
from privlab.sharing.federated import Gradient, Loss, cross_entropy

_CLOSE = 1e-3  # of a weight's gradient: what float32 allows between two orders of adding up
_MOST = 2**22  # numbers that are held at a time: 16 MB; more at once is slower, as every array is fetched anew


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


class Matcher:
    """Compares what trials would send with what victims sent.

    model: the shared network, which stays as it is. gradients: one of each victim, all of mini-batches of the same
    size. local: how the clients trained, where they sent updates. loss: what they minimise, the mean over a
    mini-batch. Raises ValueError for gradients that do not fit the model or one another, and for a model whose
    gradient depends on chance (dropout in train mode).
    """

    def __init__(
        self,
        model: nn.Module,
        gradients: Sequence[Gradient],
        objective: Objective,
        local: LocalTraining | None = None,
        loss: Loss = cross_entropy,
    ) -> None:
        self.examples = _common_size(gradients)
        _check_fit(model, gradients)
        self.sent = {name: torch.stack([g[name].detach() for g in gradients]) for name in gradients[0]}
        self._model = copy.deepcopy(model).requires_grad_(False)
        plain_norms(self._model)
        self._weights = {name: value.detach() for name, value in self._model.named_parameters()}
        self._local, self._loss, self._compare = local, loss, objective
        self._step, self._batched = grad(self._value), vmap(self._gradient)
        self._layers = None if local else Layers.of(model, self.sent)
        self._proven = False
        self._each = sum(value[0].numel() for value in self.sent.values())  # numbers that a trial holds

    @property
    def device(self) -> torch.device:
        """Where the gradients lie."""
        return next(iter(self.sent.values())).device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the gradients, and so of the images."""
        return next(iter(self.sent.values())).dtype

    def _value(self, weights: Mapping[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels of attention have no slope of the slope
            return self._loss(functional_call(self._model, dict(weights), (images,)), labels)

    def _gradient(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """What one trial would send."""
        found = self._step(self._weights, images, labels) if self._local is None else self._path(images, labels)
        return {name: found[name] for name in self.sent}

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

    def _any(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """What each trial would send, `(T, *weight)`, by the way that suits any network."""
        if len(images) > 1:
            return self._batched(images, labels)
        return {name: value[None] for name, value in self._gradient(images[0], labels[0]).items()}

    def _parts(self, images: Tensor, labels: Tensor, victim: Tensor) -> list[Part]:
        of = victim[0] if bool((victim == victim[0]).all()) else victim
        sent = {name: value[of] for name, value in self.sent.items()}
        if self._layers is not None:
            return self._layers.parts(self._loss, images, labels, sent)
        found = self._any(images, labels)
        theirs = [value.flatten(value.dim() - found[name].dim() + 1) for name, value in sent.items()]
        return [Flat(torch.cat([value.flatten(1) for value in found.values()], 1), torch.cat(theirs, -1))]

    def __call__(self, images: Tensor, labels: Tensor, victim: Tensor) -> Tensor:
        """The objective of each trial, `(T,)`: images `(T, B, ...)`, labels `(T, B, ...)`, victim `(T,)`."""
        if not self._proven:
            self._prove(images, labels)
        size = max(1, _MOST // self._each)
        parts = zip(*(part.split(size) for part in (images, labels, victim)), strict=True)
        return torch.cat([self._compare(self._parts(*each)).to(images.dtype) for each in parts])

    def _prove(self, images: Tensor, labels: Tensor) -> None:
        """Keep the short-cut if, of two trials at random, it gives what each alone gives by the general way."""
        self._proven = True
        if self._layers is None:
            return
        random = torch.Generator().manual_seed(0)
        drawn = torch.rand(2, *images.shape[1:], generator=random).to(images)
        targets = torch.stack([labels[0], labels[-1].roll(1, 0)]).detach()
        alone = [self._gradient(x, y) for x, y in zip(drawn, targets, strict=True)]
        try:
            found = self._layers.gradients(self._loss, drawn, targets)
        except (RuntimeError, ValueError):  # a layer used twice, or a network that mixes the images of a batch
            self._layers = None
            return
        length = max(value.norm() for each in alone for value in each.values())
        for name, value in found.items():
            exact = torch.stack([each[name] for each in alone])
            if not (value.flatten() - exact.flatten()).norm() <= _CLOSE * exact.norm() + _CLOSE**2 * length:
                self._layers = None
                return
        self._each = self._layers.numbers


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
            if weights[name].dtype != g[name].dtype:
                raise ValueError(f"the gradient's {name!r} is {g[name].dtype}, in this model {weights[name].dtype}")
            if not g[name].isfinite().all():
                raise ValueError(f"the gradient's {name!r} is not finite; nothing can be fitted to it")
    for name, layer in model.named_modules():
        if layer.training and isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0:
            raise ValueError(
                f"layer {name!r} drops units at random, which the adversary cannot repeat; put the model in eval mode "
                "if the client did, or attack a model without dropout"
            )


def with_slopes(function: Callable[[Tensor], Tensor], points: Tensor) -> tuple[Tensor, Tensor]:
    """The value of each point's own problem `(T,)`, and its slope there, of the points' shape."""
    points = points.detach().requires_grad_()
    values = function(points)
    return values.detach(), torch.autograd.grad(values.sum(), points)[0]


def known_labels(labels: Tensor, shape: tuple[int, int], classes: int, loss: Loss) -> Tensor:
    """Labels as the loss takes them: class numbers `(V, B)` as probabilities `(V, B, K)`, floats as they are.

    Raises ValueError for another shape, or a class that is not there.
    """
    wanted = f"{shape}: one row a victim, one label an image"
    if labels.is_floating_point():
        if tuple(labels.shape) not in (shape, (*shape, classes)):
            raise ValueError(f"labels are {tuple(labels.shape)}; expected {wanted}, each a number or {classes} of them")
        return labels
    if tuple(labels.shape) != shape:
        raise ValueError(f"labels are {tuple(labels.shape)}; expected {wanted}")
    checks.labels("labels", labels.flatten(), labels.numel())
    if loss is not cross_entropy:
        return labels
    checks.whole("the largest label", int(labels.max()), 0, classes - 1)
    return nn.functional.one_hot(labels, classes).float()


def as_labels(targets: Tensor, loss: Loss) -> Tensor:
    """Class numbers out of what the loss takes: the likeliest class; of decisions, which are likelier than not."""
    if not targets.is_floating_point():
        return targets
    if loss is cross_entropy:
        return targets.argmax(-1)
    decided = (targets > 0.5).long()
    return decided.squeeze(-1) if decided.dim() > 2 and decided.shape[-1] == 1 else decided


def number_of_classes(model: nn.Module, shape: Sequence[int], like: Tensor) -> int:
    """How many logits the model has; ValueError for a `shape` that it does not take, or another kind of output."""
    for size in shape:
        checks.whole("shape", size)
    try:
        with torch.no_grad():
            logits = copy.deepcopy(model).eval()(like.new_zeros(1, *shape))
    except RuntimeError as error:
        raise ValueError(
            f"shape={tuple(shape)} in {str(like.dtype).removeprefix('torch.')} does not fit the model ({error}); "
            "give the shape of one image, and a model of the gradients' precision"
        ) from error
    if not isinstance(logits, Tensor) or logits.dim() != 2:
        what = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"the model gives {what} for one image; attacks need logits, (1, K)")
    return logits.shape[1]
