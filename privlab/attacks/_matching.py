"""Gradients of many trials at once, and how far each lies from the one that a client sent.

A *trial* is one restart of an attack on one victim. Trials share the network's weights and nothing else. Where it is
proven to give the same, each takes its gradient out of one ordinary batch (`_layerwise`), else `vmap` hands it one of
its own, and where that cannot be done each is differentiated by itself (`_trials`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from privlab import checks, networks
from privlab.attacks import _steady
from privlab.attacks._distances import Objective, Part, Victims, flats
from privlab.attacks._layerwise import Layers
from privlab.attacks._trials import LocalTraining, Plain, Proof, Together
from privlab.sharing import losses
from privlab.sharing.federated import Gradient, Loss, cross_entropy

__all__ = ["LocalTraining", "Matcher", "Reconstruction"]
_MOST = 2**22  # numbers that are held at a time by `vmap`: 16 MB
_ARRAY = 2**17  # and layer by layer in the average array on a CPU; more at once is slower, as all is fetched anew
_PROVEN = (1, 30, 1000)  # before which of its calls the way taken is held against the plain one
_JITTER = 1e-3  # of the images that are tried: at a tie, as between saturated pixels, the order of adding up decides


@dataclass(frozen=True)
class Reconstruction:
    """What an attack made of V victims' gradients with R restarts each, all of them.

    images: `(V, R, B, C, H, W)`, or `(V, R, B, C, L)` of signals, as the attack found them (DLG's may leave [0, 1]);
    labels: `(V, R, B)`, or `(V, R, B, K)` where an image has several; loss: `(V, R)`, its own, infinite where a
    trial broke down; iterations: `(V, R)`, after how many the trial's loss fell below the attack's tolerance, NaN where
    it never did.
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

    What is faster than the plain way is taken where it is proven to give the same. The proof is numerical, and in
    double precision where the network bears it: at two random images before the first call, and at the attack's own
    from time to time, as a branch that random images do not enter, or a dead unit, would hide a difference.
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
        _steady.check_layers(model)
        self.sent = {name: torch.stack([g[name].detach() for g in gradients]) for name in gradients[0]}
        self._victims, self._model = Victims(self.sent), networks.duplicate(model)
        self._local, self._loss, self._compare = local, loss, objective
        self._plain = Plain(self._model, self.sent, loss, local)
        self._together: Together | None = Together(self._model, self.sent, loss, local)
        self._layers = None if local else Layers.of(self._model, self.sent)
        self._calls = 0
        self._twins: tuple[Plain, Together, Layers | None] | None = None
        self._each = sum(value[0].numel() for value in self.sent.values())  # numbers that a trial holds
        self.like = next(iter(self.sent.values())).new_empty(0)  # where the gradients lie, and of their precision

    def _parts(self, images: Tensor, labels: Tensor, victim: Tensor) -> list[Part]:
        sent = self._victims.of(victim)
        if self._layers is not None:
            return self._layers.parts(self._loss, images, labels, sent)
        return flats((self._together or self._plain)(images, labels), sent)

    def __call__(self, images: Tensor, labels: Tensor, victim: Tensor) -> Tensor:
        """The objective of each trial, `(T,)`: images `(T, B, ...)`, labels `(T, B, ...)`, victim `(T,)`."""
        self._calls += 1
        if self._calls in _PROVEN:
            self._prove(images.detach(), labels.detach())
        size = self._at_once()
        parts = zip(*(part.split(size) for part in (images, labels, victim)), strict=True)
        return torch.cat([self._compare(self._parts(*each)).to(images.dtype) for each in parts])

    def _at_once(self) -> int:
        """How many trials."""
        if self._layers is None:
            return max(1, _MOST // self._each)
        return max(1, (_ARRAY if self.like.device.type == "cpu" else _MOST) // self._each)

    def _prove(self, images: Tensor, labels: Tensor) -> None:
        """Keep to the way that is taken if, of two trials, it gives what each alone gives by the plain way."""
        first, random = self._calls == 1, torch.Generator().manual_seed(self._calls)
        ends = labels[[0, -1]]
        if first:
            _steady.check(self._model, images[0])
            points = torch.rand(2, *images.shape[1:], generator=random).to(images)
            ends = torch.stack([ends[0], ends[1].roll(1, 0)])
        elif self._together is None:
            return
        else:
            points = images[[0, -1]]
            points = points + _JITTER * torch.randn(points.shape, generator=random).to(points)
        together, layers, proof = self._judged(points, ends)
        if not proof.finite and not first:
            return  # a trial that broke down proves nothing
        if self._layers is not None and layers is not None:
            if proof(lambda x, y: layers.gradients(self._loss, x, y)):
                self._each = layers.numbers
            else:
                self._layers = None
        if self._layers is not None and not first:
            return
        if together is None or not proof(together):  # as of a branch on the image, which `Layers` may hide
            self._together = self._layers = None

    def _judged(self, points: Tensor, labels: Tensor) -> tuple[Together | None, Layers | None, Proof]:
        """The ways that are to be proven, and what the plain one gives for some trials."""
        try:
            if self._twins is None and sum(each.numel() for each in self._model.parameters()) <= _MOST:
                twin = networks.duplicate(self._model).double()
                plain = Plain(twin, self.sent, self._loss, self._local)
                together = Together(twin, self.sent, self._loss, self._local)
                self._twins = plain, together, Layers.of(twin, self.sent) if self._layers else None
            if self._twins is not None:
                targets = labels.double() if labels.is_floating_point() else labels
                return *self._twins[1:], Proof(self._twins[0], points.double(), targets)
        except Exception:  # a device, a network or a loss that knows its own precision only
            self._twins = None
        return self._together, self._layers, Proof(self._plain, points, labels)


def _common_size(gradients: Sequence[Gradient]) -> int:
    checks.some("gradients", gradients)
    sizes = {g.examples for g in gradients}
    if len(sizes) > 1:
        raise ValueError(f"the gradients are of mini-batches of {sorted(sizes)}; attack one size at a time")
    return sizes.pop()


def _check_fit(model: nn.Module, gradients: Sequence[Gradient]) -> None:
    weights = dict(model.named_parameters())
    for g in gradients:
        if set(g) != set(gradients[0]):
            given = f"the gradients are of different layers ({list(gradients[0])}, {list(g)})"
            raise ValueError(f"{given}; give equal ones")
        for name in g:
            if name not in weights or weights[name].shape != g[name].shape:
                has = tuple(weights[name].shape) if name in weights else "no such weight"
                raise ValueError(f"the gradient's {name!r} is {tuple(g[name].shape)}, in this model: {has}")
            if weights[name].dtype != g[name].dtype:
                given = f"the gradient's {name!r} is {g[name].dtype}, in this model {weights[name].dtype}"
                raise ValueError(f"{given}; give the model in the client's own precision, as model.to({g[name].dtype})")
            if not g[name].isfinite().all():
                raise ValueError(f"the gradient's {name!r} is not finite; nothing can be fitted to it")


def with_slopes(function: Callable[[Tensor], Tensor], points: Tensor) -> tuple[Tensor, Tensor]:
    """The value of each point's own problem `(T,)`, and its slope there, of the points' shape."""
    points = points.detach().requires_grad_()
    values = function(points)
    return values.detach(), torch.autograd.grad(values.sum(), points)[0]


def known_labels(labels: Tensor, shape: tuple[int, int], classes: int, loss: Loss = cross_entropy) -> Tensor:
    """Labels as the loss takes them: of `cross_entropy` as probabilities `(V, B, K)`, else as they are.

    Raises ValueError for another shape, or a class that is not there.
    """
    if tuple(labels.shape[:2]) != shape or labels.dim() > 3:
        given = f"labels are {tuple(labels.shape)}; expected {shape}: one row a victim"
        raise ValueError(f"{given}, one label an image, or {(*shape, classes)} where the loss takes {classes} of them")
    if labels.dim() == 2 and (loss is cross_entropy or not labels.is_floating_point()):
        checks.labels("labels", labels.flatten(), labels.numel())
    if labels.dim() == 2 and loss is cross_entropy:
        checks.whole("the largest label", int(labels.max()), 0, classes - 1)
        return nn.functional.one_hot(labels, classes).float()
    return labels


def fitting(targets: Tensor, classes: int, loss: Loss) -> None:
    """Raise ValueError unless the loss takes each victim's targets for as many rows of `classes` logits."""
    kind = targets.dtype if targets.is_floating_point() else None
    for each in targets:
        try:
            losses.of_logits(torch.zeros(len(each), classes, device=each.device, dtype=kind), each, loss)
        except ValueError:
            raise
        except Exception as error:  # of a loss of one's own
            raise ValueError(
                f"the loss takes no labels {tuple(each.shape)} in {each.dtype} for logits {(len(each), classes)} "
                f"({type(error).__name__}: {error}); give those that it takes, one row a victim"
            ) from error


def targets_of(matcher: Matcher, labels: Tensor, classes: int, loss: Loss) -> Tensor:
    """Known labels as the loss takes them, where the gradients lie. Raises like `known_labels` and `fitting`."""
    victims = len(next(iter(matcher.sent.values())))
    targets = known_labels(labels, (victims, matcher.examples), classes, loss).to(matcher.like.device)
    targets = targets.to(matcher.like) if targets.is_floating_point() else targets
    fitting(targets, classes, loss)
    return targets


def as_labels(targets: Tensor, loss: Loss) -> Tensor:
    """Class numbers out of what the loss takes: the likeliest class; of decisions, which are likelier than not."""
    if not targets.is_floating_point():
        return targets
    if loss is cross_entropy:
        return targets.argmax(-1)
    decided = (targets > 0.5).long()
    return decided.squeeze(-1) if decided.dim() > 2 and decided.shape[-1] == 1 else decided


def number_of_classes(model: nn.Module, shape: Sequence[int], like: Tensor) -> int:
    """How many logits the model has, which is left as it was.

    Raises ValueError for a `shape` that it does not take, or tokens, and ValueError or TypeError for another kind of
    output.
    """
    checks.sizes(shape=shape)
    try:
        return _answer(model, like.new_zeros(1, *shape)).shape[1]
    except ValueError as error:
        try:
            _answer(model, like.new_zeros(1, *shape, dtype=torch.long))
        except (ValueError, TypeError):
            raise ValueError(
                f"shape={tuple(shape)} does not fit the model in {str(like.dtype).removeprefix('torch.')} ({error}); "
                "give that of one image, and a model of the gradients' precision that answers with logits (N, K)"
            ) from error
    given = f"this {type(model).__name__} reads tokens, and tokens have no slope to follow"
    raise ValueError(f"{given}; attack images or signals, or read words with text_extraction")


def _answer(model: nn.Module, images: Tensor) -> Tensor:
    with networks.measured(model):
        return networks.logits(model, images)
