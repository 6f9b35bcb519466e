"""DP-SGD at the client: clip each example's gradient, add noise to the sum, and account for it.

Every example is differentiated as a mini-batch of its own, so that no network is too unusual: layers used twice, tied
weights, weights outside layers, frozen ones. A chain of dense and convolutional layers has the same in one pass over
all examples (`_layerwise`). Clipping and noise are those of Opacus' optimiser, draw by draw; the accounting is Opacus'.
Acts in training and on the release. Source: Abadi et al. 2016; "Zen", sections 3.1.2 and 5.1 (client-level DP), 6.
"""

from collections.abc import Mapping
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from privlab import checks, networks, runtime
from privlab.defences import _layerwise
from privlab.defences._accounting import epsilon, noise_multiplier
from privlab.sharing.federated import Client, Gradient, Loss, cross_entropy

__all__ = ["epsilon", "gradient", "noise_multiplier", "per_example", "train"]

AT_ONCE = 2**28  # bytes of examples' gradients held together; a larger mini-batch is taken in parts


def _check_model(model: nn.Module) -> None:
    """Raise ValueError for a network with which one example's part in the release cannot be bounded."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"model is a {type(model).__name__}; give a torch.nn.Module, such as models.lenet makes")
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
        given = f"this model cannot be trained with DP-SGD ({wrong}); it takes a model in train mode"
        raise ValueError(f"{given}, with parameters to train, and without BatchNorm (resnet18 has norm='group')")


def _release(
    model: nn.Module, total: Mapping[str, Tensor], std: float, batch: int, random: torch.Generator
) -> dict[str, Tensor]:
    """The sum of clipped gradients with noise, then the mean over `batch` examples, as Opacus does it.

    By name of each trained parameter, in their order; one missing in `total` counts as 0.
    """
    found = {}
    for name, like in _trained(model).items():
        summed = total[name].to(like.dtype) if name in total else torch.zeros_like(like.detach())
        found[name] = (summed + _draw(summed, std, random) if std else summed) / batch
    return found


def _draw(like: Tensor, std: float, random: torch.Generator) -> Tensor:
    return torch.normal(0.0, std, like.shape, generator=random, device=like.device, dtype=like.dtype)


def _noise_generator(device: torch.device, seed: int) -> torch.Generator:
    """Opacus draws on the weights' device: the one place where a seed means something else on a GPU."""
    return torch.Generator(device).manual_seed(runtime.derive(seed, "dp noise") % 2**63)


def _private(model: networks.Model, clip: float, noise: float, seed: int) -> tuple[networks.Model, torch.Generator]:
    """A copy to be trained, and what draws the noise for what it sends."""
    checks.number("clip", clip, 0, open_low=True)
    checks.number("noise", noise, 0)
    checks.whole("seed", seed, 0, 2**63 - 1)
    _check_model(model)
    return networks.duplicate(model), _noise_generator(networks.device(model), seed)


@torch.enable_grad()
def per_example(
    model: nn.Module, images: Tensor, labels: Tensor, *, clip: float | None = None, loss: Loss = cross_entropy
) -> dict[str, Tensor]:
    """Every example's own gradient by parameter, each `(B, *shape of it)`; clipped to the l2 norm `clip` if there is
    one.

    The first lines of DP-SGD, before sum and noise: what a client knows and never sends. Other arguments and errors:
    as of `gradient`; no result carries a graph. Source: Abadi et al. 2016, Algorithm 1.
    """
    checks.inputs("images", images)
    _check_targets(labels, len(images), loss)
    checks.if_given(checks.number, "clip", clip, 0, open_low=True)
    _check_model(model)
    own = networks.duplicate(model)
    _prepare(own, images, labels, loss)
    with networks.dice(own, 0):
        found = _layerwise.formed(_each(own, images, labels, loss))
    norms = _norms(found)
    if clip is None:
        return found
    factors = _factors(norms, clip)
    return {name: each * factors.to(each.dtype).view(-1, *[1] * (each.dim() - 1)) for name, each in found.items()}


def _norms(slopes: _layerwise.Slopes) -> Tensor:
    """Each example's, `(B,)`; FloatingPointError where one is not finite."""
    norms = _layerwise.norms(slopes)
    wrong = int((~norms.isfinite()).sum())
    if wrong:
        raise FloatingPointError(
            f"the gradients of {wrong} of {len(norms)} examples hold inf or nan, and no clip bounds what they add; the "
            "weights or the learning rate are too large, or the precision is too low: give smaller ones, or "
            "model.float() or model.double()"
        )
    return norms


def _factors(norms: Tensor, clip: float) -> Tensor:
    """What scales each gradient down to `clip`; the small number is Opacus'."""
    return (clip / (norms + 1e-6)).clamp_max(1)


def _each(model: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> _layerwise.Slopes:
    """Every example's own gradient by name: as if each were a mini-batch of one, on the same buffers."""
    images, labels = images.detach(), labels.detach()  # no graph of theirs is in the answer
    if any(each._backward_hooks for each in model.parameters()):  # which torch.func does not see
        return _one_by_one(model, images, labels, loss)
    layers = _layerwise.chain(model, loss)
    with suppress(Exception):  # what does not fit is told in words below
        if layers:
            return _layerwise.gradients(model, layers, _inputs(model, images), labels, loss)
    with suppress(Exception):  # what torch.func cannot trace, such as a branch on the image, is done one by one
        return _together(model, images, labels, loss)
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
    with sdpa_kernel(SDPBackend.MATH):  # the fused kernel of attention takes no examples side by side
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
    if _layerwise.chain(private, loss):  # which answers with one, and whose loss reaches all of it
        return
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


@torch.enable_grad()
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
    Raises ValueError for a model with BatchNorm or in eval mode, a clip that is not positive, a negative noise, and
    FloatingPointError where an example's gradient is not finite.
    """
    checks.inputs("images", images)
    _check_targets(labels, len(images), loss)
    private, random = _private(model, clip, noise, seed)
    _prepare(private, images, labels, loss)
    with networks.dice(private, seed):
        total = _clipped_sum(private, images, labels, loss, clip)
    return Gradient(_release(private, total, noise * clip, len(images), random), len(images))


def _check_targets(labels: Tensor, count: int, loss: Loss) -> None:
    shares = isinstance(labels, Tensor) and labels.is_floating_point() and labels.dim() == 2  # of classes: soft labels
    if loss is cross_entropy and not shares:
        checks.labels("labels", labels, count)
    elif not isinstance(labels, Tensor) or len(labels) != count:
        raise ValueError(f"labels are not one for each of {count} examples; give a tensor ({count}, ...)")


def _clipped_sum(model: nn.Module, images: Tensor, labels: Tensor, loss: Loss, clip: float) -> dict[str, Tensor]:
    """The sum of the examples' gradients, each clipped, by name: of as many at once as memory is meant for."""
    layers = _layerwise.chain(model, loss)
    numbers = _layerwise.held(layers) if layers else sum(each.numel() for each in _trained(model).values())
    rows = max(1, AT_ONCE // max(1, numbers * networks.dtype(model).itemsize))
    total: dict[str, Tensor] = {}
    for part, target in zip(images.split(rows), labels.split(rows), strict=True):
        slopes = _each(model, part, target, loss)
        for name, each in _layerwise.weighted(slopes, _factors(_norms(slopes), clip)).items():
            total[name] = total[name] + each if name in total else each
    return total


@torch.enable_grad()
def train(
    model: networks.Model,
    client: Client,
    *,
    clip: float,
    noise: float,
    epochs: int,
    batch: int,
    lr: float,
    seed: int = 0,
    loss: Loss = cross_entropy,
) -> networks.Model:
    """A copy of the model, trained by DP-SGD on one client's images: mini-batches drawn as its accounting assumes.

    Every example is in a mini-batch with the chance q = batch / N (Poisson sampling), epochs / q times. What that
    spends: `epsilon(noise, delta, sample_rate=batch / N, steps=epochs * ceil(N / batch), examples=N)`. N counts as
    known. loss: as in `gradient`. Frozen parameters, buffers, and what the loss never reaches, stay as they were.
    Raises ValueError for a model with BatchNorm or in eval mode, or numbers outside, and FloatingPointError as
    `gradient` does.
    Source: Abadi et al. 2016, Algorithm 1.
    """
    if not isinstance(client, Client):
        raise TypeError(f"client is a {type(client).__name__}; give a federated.Client(images, labels)")
    checks.whole("epochs", epochs)
    checks.whole("batch", batch, 1, len(client.labels))
    checks.number("lr", lr, 0, open_low=True)
    _check_targets(client.labels, len(client.images), loss)
    private, draw = _private(model, clip, noise, seed)
    _prepare(private, client.images, client.labels, loss)
    chance = runtime.generator(runtime.derive(seed, "dropout"))
    random = runtime.generator(runtime.derive(seed, "poisson"))
    count = len(client.labels)
    for _ in range(epochs * -(-count // batch)):
        chosen = (torch.rand(count, generator=random) < batch / count).nonzero().flatten().to(client.labels.device)
        total: dict[str, Tensor] = {}
        if len(chosen):  # an empty mini-batch sends noise: skipping the step would tell that it was empty
            with networks.dice(private, chance):
                total = _clipped_sum(private, client.images[chosen], client.labels[chosen], loss, clip)
        with torch.no_grad():
            sent = _release(private, total, noise * clip, batch, draw)
            for name, each in _trained(private).items():
                each.sub_(sent[name], alpha=lr)
    trained = networks.duplicate(model)
    with torch.no_grad():
        for mine, theirs in zip(trained.parameters(), private.parameters(), strict=True):
            mine.copy_(theirs)
    return trained
