"""A defensive layer in the manner of Soteria: hide the telling part of what a dense layer is fed. Acts in training.

Source: Sun et al. 2021, "Soteria: Provable defense against privacy leakage in federated learning from
representation perspective"; "Curious", section 9.3.
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from privlab import checks, networks
from privlab.sharing.federated import Gradient, Loss, cross_entropy
from privlab.sharing.federated import gradient as plain_gradient
from privlab.sharing.losses import value


def telling_mask(model: nn.Module, images: Tensor, *, layer: str | None = None, share: float) -> Tensor:
    """Which inputs of the dense layer `layer` are kept: bool `(B, L)`, False for the telling `share` of each example.

    An input r_i tells much of the image x where |r_i| / ||d r_i / d x|| is large (Sun et al.). layer: by default the
    first dense one. Raises ValueError for a layer that is no dense layer of the model, that nothing stands before, or
    whose inputs depend on the other images of the mini-batch (BatchNorm in train mode) or on chance.
    """
    checks.number("share", share, 0, 1)
    if not images.is_floating_point():
        raise ValueError("tokens have no slope, so that none of a layer's inputs tells more of them; give images")
    layer = _dense(model, layer)
    with networks.untouched(model), networks.dice(model, 0), torch.enable_grad():
        inputs = networks.input_of(model, layer, images)
        if inputs.shape == images.shape:
            names = [name for name, _ in model.named_modules() if name not in ("", layer)]
            raise ValueError(f"layer={layer!r} has no layer of the model before it; choose one of {', '.join(names)}")
        _check_alone(model, layer, images, inputs)
        slopes = torch.func.jacrev(lambda image: networks.input_of(model, layer, image[None])[0])
        sizes = torch.func.vmap(slopes, chunk_size=8)(images).flatten(2).norm(dim=2)  # (B, L)
    inputs = inputs.detach()
    telling = (inputs.abs() / sizes.clamp_min(1e-12)).argsort(1, descending=True)
    hidden = telling[:, : int(share * inputs.shape[1])]
    return torch.ones_like(inputs, dtype=torch.bool).scatter(1, hidden, False)


def _dense(model: nn.Module, layer: str | None) -> str:
    layer = networks.first_dense(model) if layer is None else layer
    checks.layer(model, layer, nn.Linear)
    return layer


@torch.no_grad()
def _check_alone(model: nn.Module, layer: str, images: Tensor, inputs: Tensor) -> None:
    """That each example's inputs `(B, L)` of the layer are its own, whatever else is in the mini-batch."""
    if inputs.dim() != 2:
        given = f"layer={layer!r} reads {tuple(inputs.shape)}"
        raise ValueError(f"{given}; choose one that reads a row of numbers an image")
    try:
        alone = torch.cat([networks.input_of(model, layer, image[None]) for image in images])
    except ValueError:
        alone = torch.full_like(inputs, torch.nan)  # BatchNorm of a single number each does not run at all
    if not torch.allclose(alone, inputs, rtol=1e-3, atol=1e-4 * float(inputs.abs().max())):
        given = f"what layer={layer!r} reads of an image depends on the other images or on chance"
        raise ValueError(f"{given} (BatchNorm or dropout in train mode); put the model in eval mode")


def gradient(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    layer: str | None = None,
    share: float = 0.8,
    loss: Loss = cross_entropy,
) -> Gradient:
    """The gradient of a mini-batch in which the weights of `layer` see only the less telling part of their inputs.

    images: `(B, C, H, W)`, labels: what the loss takes, layer: by default the first dense one, share: of the layer's
    inputs hidden, example by example. All other layers' gradients are the honest ones. Needs B Jacobians of the layers
    before `layer`. Raises ValueError like `telling_mask`, and for a layer whose gradient is not simply the product of
    its inputs and the slopes at its outputs: one that is frozen, used twice, tied, hooked or has its own forward.
    """
    honest = plain_gradient(model, images, labels, loss=loss)
    layer = _dense(model, layer)
    kept = telling_mask(model, images, layer=layer, share=share)
    seen: list[tuple[Tensor, Tensor]] = []

    def note(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        seen.append((inputs[0].detach().clone(), output))
        return output.clone()  # what follows may write into it

    hook = model.get_submodule(layer).register_forward_hook(note)
    try:
        with networks.untouched(model), networks.dice(model, 0), torch.enable_grad():
            made = value(model, images, labels, loss)
            (delta,) = torch.autograd.grad(made, seen[0][1], allow_unused=True)
    finally:
        hook.remove()
    name, inputs = f"{layer}.weight", seen[0][0]
    sent = honest.tensors.get(name)
    close = 0.0 if sent is None else 1e-4 * float(sent.abs().max())
    if sent is None or delta is None or not torch.allclose(delta.T @ inputs, sent, rtol=1e-3, atol=close):
        raise ValueError(
            f"the gradient of layer={layer!r} is not the product of its inputs and the slopes at its outputs: it is "
            "frozen, used twice, shares its weight, or does something of its own; choose a plain dense layer"
        )
    return replace(honest, tensors={**honest.tensors, name: delta.T @ (inputs * kept)})
