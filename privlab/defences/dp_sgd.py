"""DP-SGD at the client: clip each example's gradient, add noise to the sum, and account for it.

Every example is differentiated as a mini-batch of its own, so that no network is too unusual: layers used twice, tied
weights, weights outside layers, frozen ones. Clipping, noise and accounting are Opacus'.
Acts in training and on the release. Source: Abadi et al. 2016; "Zen", sections 3.1.2 and 5.1 (client-level DP), 6.
"""

from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from privlab import checks, networks, runtime
from privlab.defences._accounting import epsilon, noise_multiplier, quietly
from privlab.sharing.federated import Client, Gradient, Loss, cross_entropy

if TYPE_CHECKING:  # Opacus is loaded by the functions that need it: it takes as long as torch, and few programs do
    from opacus.optimizers import DPOptimizer

__all__ = ["epsilon", "gradient", "noise_multiplier", "per_example", "train"]

Model = TypeVar("Model", bound=nn.Module)


def _check_model(model: nn.Module) -> None:
    """Raise ValueError for a network with which one example's part in the release cannot be bounded."""
    wrong = ""
    if not model.training:
        wrong = "it is in eval mode"
    for name, layer in model.named_modules():
        mixes = isinstance(layer, nn.modules.batchnorm._NormBase) and layer.training and layer.track_running_stats
        if mixes or (isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.training):
            wrong = f"layer {name!r} is {type(layer).__name__}, whose statistics are of all examples: no BatchNorm"
    if not any(parameter.requires_grad for parameter in model.parameters()):
        wrong = "all its parameters are frozen"
    if wrong:
        raise ValueError(
            f"this model cannot be trained with DP-SGD ({wrong}); it takes a model in train mode, with parameters to "
            "train, and without BatchNorm (resnet18 has norm='group')"
        )


def _private(model: Model, clip: float, noise: float, batch: int, lr: float, seed: int) -> "tuple[Model, DPOptimizer]":
    """A copy to be trained, and an optimiser that clips each example's gradient and adds noise."""
    from opacus.optimizers import DPOptimizer

    checks.number("clip", clip, 0, open_low=True)
    checks.number("noise", noise, 0)
    _check_model(model)
    private = networks.duplicate(model)
    optimiser = DPOptimizer(
        torch.optim.SGD([each for each in private.parameters() if each.requires_grad], lr=lr),
        noise_multiplier=noise,
        max_grad_norm=clip,
        expected_batch_size=batch,
        generator=_noise_generator(next(model.parameters()).device, seed),
    )
    return private, optimiser


def per_example(
    model: nn.Module, images: Tensor, labels: Tensor, *, clip: float | None = None, loss: Loss = cross_entropy
) -> dict[str, Tensor]:
    """Every example's own gradient by parameter, each `(B, *shape of it)`; clipped to the l2 norm `clip` if there is
    one.

    The first lines of DP-SGD, before sum and noise: what a client knows and never sends. Other arguments and errors:
    as of `gradient`. Source: Abadi et al. 2016, Algorithm 1.
    """
    checks.inputs("images", images)
    _check_targets(labels, len(images), loss)
    if clip is not None:
        checks.number("clip", clip, 0, open_low=True)
    _check_model(model)
    own = networks.duplicate(model)
    _prepare(own, images, labels, loss)
    with networks.dice(own, 0):
        found = _each(own, images, labels, loss)
    if clip is None:
        return found
    norms = torch.stack([value.flatten(1).norm(dim=1) for value in found.values()]).norm(dim=0)
    factor = (clip / norms.clamp_min(1e-12)).clamp_max(1)
    return {name: value * factor.view(-1, *[1] * (value.dim() - 1)) for name, value in found.items()}


def _each(model: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> dict[str, Tensor]:
    """Every example's own gradient, `(B, ...)` by name: as if each were a mini-batch of one, on the same buffers."""
    if any(each._backward_hooks for each in model.parameters()):  # which torch.func does not see
        return _one_by_one(model, images, labels, loss)
    try:
        return _together(model, images, labels, loss)
    except Exception:  # what torch.func cannot trace, such as a branch on the image, is done one by one
        return _one_by_one(model, images, labels, loss)


def _trained(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: value for name, value in model.named_parameters() if value.requires_grad}


def _inputs(model: nn.Module, images: Tensor) -> Tensor:
    """A copy, which layers may write into, in the model's own precision; tokens stay numbers."""
    return images.to(next(model.parameters()).dtype, copy=True) if images.is_floating_point() else images


def _together(model: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> dict[str, Tensor]:
    def one(parameters: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        buffers = {name: each.clone() for name, each in model.named_buffers()}
        return loss(networks.call(model, {**parameters, **buffers}, image[None]), label[None])

    values = {name: value.detach() for name, value in _trained(model).items()}
    return vmap(grad(one), (None, 0, 0), randomness="different")(values, _inputs(model, images), labels)


def _one_by_one(model: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> dict[str, Tensor]:
    """The slow and obvious way."""
    trained, rows = _trained(model), []
    for image, label in zip(_inputs(model, images), labels, strict=True):
        try:
            with networks.untouched(model):
                value = loss(model(image[None]), label[None])
                wanted = list(trained.values())
                rows.append(torch.autograd.grad(value, wanted, allow_unused=True, materialize_grads=True))
        except Exception as error:
            raise ValueError(
                f"this model and loss cannot be differentiated for one example, {tuple(image[None].shape)} with the "
                f"target {label[None].tolist()} ({type(error).__name__}: {error}); DP-SGD needs that"
            ) from error
    return {name: torch.stack(column) for name, column in zip(trained, zip(*rows, strict=True), strict=True)}


def _prepare(private: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> None:
    """Refuse a network that does not answer with a tensor, and freeze what the loss does not reach."""
    with networks.dice(private, 0):
        with networks.untouched(private), torch.no_grad(), suppress(ValueError):  # of which the first step tells more
            networks.outputs(private, _inputs(private, images[:1]))
        _freeze_what_is_not_reached(private, images, labels, loss)


def _freeze_what_is_not_reached(model: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> None:
    """Freeze a head, say, that the loss does not use: there is nothing to send of it.

    Where a network branches on the image nothing is frozen: what is left out would tell of the images.
    """
    image, label, trained = images[:1], labels[:1], _trained(model)
    try:
        _together(model, image, label, loss)
    except Exception:
        return
    with networks.untouched(model):
        value = loss(model(_inputs(model, image)), label)
        reached = torch.autograd.grad(value, list(trained.values()), allow_unused=True)
    for parameter, found in zip(trained.values(), reached, strict=True):
        parameter.requires_grad_(found is not None)


def _noise_generator(device: torch.device, seed: int) -> torch.Generator:
    """Opacus draws on the weights' device: the one place where a seed means something else on a GPU."""
    return torch.Generator(device).manual_seed(runtime.derive(seed, "dp noise") % 2**63)


def gradient(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    clip: float,
    noise: float,
    seed: int = 0,
    loss: Loss = cross_entropy,
) -> Gradient:
    """What a client sends in one step of DP-SGD: each example's gradient clipped to `clip`, noise, and the mean.

    noise: the multiplier sigma; the sum gets noise of standard deviation sigma x clip. images: `(B, C, H, W)`, or
    tokens `(B, length)`; labels: `(B,)`, or what another loss takes, `(B, ...)`. loss: of a mini-batch, which here is
    one example. Frozen parameters are absent, and those that the loss never reaches.
    Raises ValueError for a model with BatchNorm or in eval mode, a clip that is not positive, a negative noise.
    """
    checks.inputs("images", images)
    _check_targets(labels, len(images), loss)
    private, optimiser = _private(model, clip, noise, len(images), 1.0, seed)
    _prepare(private, images, labels, loss)
    with networks.dice(private, seed):
        _step(private, optimiser, images, labels, loss)
    tensors = {
        name: parameter.grad.detach().clone()
        for name, parameter in private.named_parameters()
        if parameter.grad is not None
    }
    return Gradient(tensors, len(images))


def _check_targets(labels: Tensor, count: int, loss: Loss) -> None:
    shares = isinstance(labels, Tensor) and labels.is_floating_point() and labels.dim() == 2  # of classes: soft labels
    if loss is cross_entropy and not shares:
        checks.labels("labels", labels, count)
    elif not isinstance(labels, Tensor) or len(labels) != count:
        raise ValueError(f"labels are not one for each of {count} examples; give a tensor ({count}, ...)")


def _step(private: nn.Module, optimiser: "DPOptimizer", images: Tensor, labels: Tensor, loss: Loss) -> None:
    """Clip, add noise and take the mean: what is sent is in each trained parameter's `grad`."""
    found = _each(private, images, labels, loss)
    for name, parameter in _trained(private).items():
        parameter.grad_sample = found[name]  # type: ignore[attr-defined]
    with quietly():
        optimiser.pre_step()


def train(
    model: Model,
    client: Client,
    *,
    clip: float,
    noise: float,
    epochs: int,
    batch: int,
    lr: float,
    seed: int = 0,
    loss: Loss = cross_entropy,
) -> Model:
    """A copy of the model, trained by DP-SGD on one client's images: mini-batches drawn as its accounting assumes.

    Every example is in a mini-batch with the chance q = batch / N (Poisson sampling), epochs / q times. What that
    spends: `epsilon(noise, delta, sample_rate=batch / N, steps=epochs * ceil(N / batch), examples=N)`. N counts as
    known. loss: as in `gradient`. Frozen parameters, buffers, and what the loss never reaches, stay as they were.
    Raises ValueError for a model with BatchNorm or in eval mode, or numbers outside.
    Source: Abadi et al. 2016, Algorithm 1.
    """
    checks.whole("epochs", epochs)
    checks.whole("batch", batch, 1, len(client.labels))
    checks.number("lr", lr, 0, open_low=True)
    _check_targets(client.labels, len(client.images), loss)
    private, optimiser = _private(model, clip, noise, batch, lr, seed)
    _prepare(private, client.images, client.labels, loss)
    chance = runtime.generator(runtime.derive(seed, "dropout"))
    random = runtime.generator(runtime.derive(seed, "poisson"))
    count = len(client.labels)
    for _ in range(epochs * -(-count // batch)):
        chosen = (torch.rand(count, generator=random) < batch / count).nonzero().flatten().to(client.labels.device)
        optimiser.zero_grad()
        if len(chosen):
            with networks.dice(private, chance):
                _step(private, optimiser, client.images[chosen], client.labels[chosen], loss)
            optimiser.original_optimizer.step()
        else:
            _step_of_noise(optimiser)
    trained = networks.duplicate(model)
    with torch.no_grad():
        for mine, theirs in zip(trained.parameters(), private.parameters(), strict=True):
            mine.copy_(theirs)
    return trained


def _step_of_noise(optimiser: "DPOptimizer") -> None:
    """What an empty mini-batch sends: skipping the step would tell that it was empty."""
    for parameter in optimiser.params:
        parameter.summed_grad = torch.zeros_like(parameter)
        parameter.grad_sample = torch.zeros_like(parameter)[None]  # Opacus counts these before it divides
    optimiser.add_noise()
    optimiser.scale_grad()
    optimiser.original_optimizer.step()
