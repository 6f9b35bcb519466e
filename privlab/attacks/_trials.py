"""What each trial would send: by plain autograd in a loop, the obvious way, or all trials together by `vmap`.

Every trial begins with the buffers that the network has, and hands those that its own training changed from step to
step. `Proof` holds any faster way against the plain one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from privlab import checks, networks
from privlab.attacks._layerwise import plain_norms
from privlab.sharing.federated import Loss

Named = dict[str, Tensor]
Way = Callable[[Tensor, Tensor], Named]


@dataclass(frozen=True)
class LocalTraining:
    """How a client trained before it sent its update: SGD over mini-batches of `batch`, `epochs` times.

    Of a client that sends single gradients, one epoch over one mini-batch.
    """

    epochs: int
    batch: int
    lr: float

    def __post_init__(self) -> None:
        checks.training(self.lr, epochs=self.epochs, batch=self.batch)


class _Handing(nn.Module):
    """A network that hands out its buffers, as they are afterwards, beside its answer."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Named]:
        made = self.model(images.clone())  # its first layer may write into them
        return made, dict(self.named_buffers())


class _Trials(ABC):
    """Images `(T, B, ...)` and labels `(T, B, ...)` -> what each of T trials would send, `(T, *weight)` by name.

    names: of the weights that are compared. loss: of a mini-batch. local: how a client trained that sent an update;
    what it trained are the weights that are not frozen, and those that it sent.
    """

    def __init__(self, model: nn.Module, names: Collection[str], loss: Loss, local: LocalTraining | None) -> None:
        self.net, self.names, self.local, self._loss = _Handing(model), list(names), local, loss
        held = dict(model.named_parameters())
        moved = [name for name, value in held.items() if value.requires_grad] if local else []
        self.hooks = {f"model.{name}": [*(held[name]._backward_hooks or {}).values()] for name in held}
        self.weights = {f"model.{name}": held[name].detach() for name in held if name in moved or name in self.names}

    @abstractmethod
    def step(self, weights: Named, buffers: Named, images: Tensor, labels: Tensor) -> tuple[Named, Named]:
        """The slope of the loss at each weight, and the buffers afterwards."""

    @abstractmethod
    def __call__(self, images: Tensor, labels: Tensor) -> Named: ...

    def value(self, weights: Named, buffers: Named, images: Tensor, labels: Tensor) -> tuple[Tensor, Named]:
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels of attention have no slope of the slope
            made, after = networks.call(self.net, {**weights, **buffers}, images)
        return self._loss(made, labels), after

    def one(self, images: Tensor, labels: Tensor) -> Named:
        """What one trial would send: a gradient, or the mean one along its training, in the order of the images."""
        weights, steps = self.weights, []
        buffers = {name: value.clone() for name, value in self.net.named_buffers()}
        if self.local is None:
            found, _ = self.step(weights, buffers, images, labels)
            return {name: found[f"model.{name}"] for name in self.names}
        for _ in range(self.local.epochs):
            for part in torch.arange(len(images)).split(self.local.batch):
                step, buffers = self.step(weights, buffers, images[part], labels[part])
                weights = {name: value - self.local.lr * step[name] for name, value in weights.items()}
                steps.append(step)
        return {name: torch.stack([step[f"model.{name}"] for step in steps]).mean(0) for name in self.names}


class Plain(_Trials):
    """One trial after the other, by plain autograd: for any network whose gradient has a slope.

    It is the one way for what `torch.func` cannot trace (backward hooks, and functions whose backward is written by
    hand, branches on the image, buffers that are written to) or does not see (hooks on weights).
    """

    def step(self, weights: Named, buffers: Named, images: Tensor, labels: Tensor) -> tuple[Named, Named]:
        own = {}
        for name, value in weights.items():
            own[name] = value.view_as(value) if value.requires_grad else value.detach().requires_grad_()
            for hook in self.hooks[name]:
                own[name].register_hook(hook)
        with torch.enable_grad():
            made, after = self.value(own, buffers, images, labels)
            wanted = list(own.values())
            slopes = torch.autograd.grad(made, wanted, create_graph=True, allow_unused=True, materialize_grads=True)
        return dict(zip(own, slopes, strict=True)), after

    def __call__(self, images: Tensor, labels: Tensor) -> Named:
        each = [self.one(x, y) for x, y in zip(images, labels, strict=True)]
        return {name: torch.stack([found[name] for found in each]) for name in self.names}


class Together(_Trials):
    """All trials at once, by `torch.func`. The network is changed: see `plain_norms`."""

    def __init__(self, model: nn.Module, names: Collection[str], loss: Loss, local: LocalTraining | None) -> None:
        super().__init__(sharing(model), names, loss, local)
        plain_norms(self.net)
        self._step, self._batched = grad(self.value, has_aux=True), vmap(self.one)

    def step(self, weights: Named, buffers: Named, images: Tensor, labels: Tensor) -> tuple[Named, Named]:
        return self._step(weights, buffers, images, labels)

    def __call__(self, images: Tensor, labels: Tensor) -> Named:
        if len(images) > 1:
            return self._batched(images, labels)
        return {name: value[None] for name, value in self.one(images[0], labels[0]).items()}


def sharing(model: nn.Module) -> nn.Module:
    """A copy of the network that has the very same weights."""
    return networks.duplicate(model, {id(each): each for each in model.parameters()})


class Proof:
    """What the plain way gives for some trials, against which others are held.

    What is compared is each weight's gradient, and the slope that an attack follows: of a sum of all of them with signs
    at random. Raises ValueError for a network whose gradient has no slope.
    """

    def __init__(self, plain: Plain, images: Tensor, labels: Tensor) -> None:
        self.images, self.labels = images.detach().requires_grad_(), labels.detach()
        try:
            self.found, self.slope = self._measure(plain, whole=True)
        except (RuntimeError, NotImplementedError) as error:
            raise ValueError(
                f"the gradient of this {type(plain.net.model).__name__} has no slope that an attack could follow "
                f"({error}); its layers must be differentiable twice, and take {tuple(images.shape[1:])}"
            ) from error
        exact = images.dtype == torch.float64
        self.close = 1e-6 if exact else 1e-3  # float32: what two orders of adding up may differ
        self.finite = all(value.isfinite().all() for value in (*self.found.values(), self.slope))

    def _measure(self, way: Way, *, whole: bool = False) -> tuple[Named, Tensor]:
        """whole: differentiate all that took part, as torch leaves an error out that lies on no way to the images."""
        found, random = way(self.images, self.labels), torch.Generator().manual_seed(0)
        total = self.images.new_zeros(())
        for name in sorted(found):
            signs = torch.randint(2, found[name].shape[1:], generator=random).to(found[name])
            total = total + (found[name] * (2 * signs - 1)).sum()
        if not total.requires_grad:
            return found, torch.zeros_like(self.images)
        if whole:
            total.backward()
            slope, self.images.grad = self.images.grad, None
            slope = torch.zeros_like(self.images) if slope is None else slope
            return {name: value.detach() for name, value in found.items()}, slope
        slope = torch.autograd.grad(total, self.images, allow_unused=True, materialize_grads=True)[0]
        return {name: value.detach() for name, value in found.items()}, slope

    def __call__(self, way: Way) -> bool:
        """Whether a way gives the same."""
        try:
            found, slope = self._measure(way)
        except Exception:  # whatever it cannot do, the plain way can
            return False
        same = set(found) == set(self.found) and self._same(found, self.found)
        return same and self._same({"": slope}, {"": self.slope})

    def _same(self, found: Mapping[str, Tensor], exact: Mapping[str, Tensor]) -> bool:
        """Each tensor by itself, up to what rounding makes of a sum that nearly cancels."""
        length = max(float(value.norm()) for value in exact.values())
        for name, value in exact.items():
            if value.shape != found[name].shape:
                return False
            if not (found[name] - value).norm() <= self.close * value.norm() + 1e-3 * self.close * length:
                return False
        return True
