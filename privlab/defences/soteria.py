"""A defensive layer in the manner of Soteria: hide the telling part of what a dense layer is fed. Acts in training.

Source: Sun et al. 2021, "Soteria: Provable defense against privacy leakage in federated learning from
representation perspective"; "Curious", section 9.3.
"""

import torch
from torch import Tensor, nn

from privlab import checks
from privlab.sharing.federated import Gradient, Loss, cross_entropy
from privlab.sharing.federated import gradient as plain_gradient


def telling_mask(model: nn.Sequential, images: Tensor, *, layer: str, share: float) -> Tensor:
    """Which inputs of the dense layer `layer` are kept: bool `(B, L)`, False for the telling `share` of each example.

    An input r_i tells much of the image x where |r_i| / ||d r_i / d x|| is large (Sun et al.).
    """
    checks.number("share", share, 0, 1)
    checks.layer(model, layer, nn.Linear)
    names = [name for name, _ in model.named_children()]
    if layer not in names[1:]:
        raise ValueError(f"layer={layer!r} has no layer of the model before it; choose one of {', '.join(names[1:])}")
    before = model[: names.index(layer)]
    per_example = torch.func.vmap(torch.func.jacrev(lambda image: before(image[None])[0]))
    inputs = before(images).detach()
    sizes = torch.cat([per_example(part).flatten(2).norm(dim=2) for part in images.split(8)])  # (B, L)
    telling = (inputs.abs() / sizes.clamp_min(1e-12)).argsort(1, descending=True)
    hidden = telling[:, : int(share * inputs.shape[1])]
    return torch.ones_like(inputs, dtype=torch.bool).scatter(1, hidden, False)


def gradient(
    model: nn.Sequential,
    images: Tensor,
    labels: Tensor,
    *,
    layer: str = "fc1",
    share: float = 0.8,
    loss: Loss = cross_entropy,
) -> Gradient:
    """The gradient of a mini-batch in which the weights of `layer` see only the less telling part of their inputs.

    images: `(B, C, H, W)`, labels: `(B,)`, share: of the layer's inputs hidden, example by example. All other
    layers' gradients are the honest ones. Needs B Jacobians of the layers before `layer`.
    Raises ValueError for a layer that is not a dense layer of the model, or a share outside [0, 1].
    """
    honest = plain_gradient(model, images, labels, loss=loss)
    kept = telling_mask(model, images, layer=layer, share=share)
    seen: list[tuple[Tensor, Tensor]] = []
    module = model.get_submodule(layer)
    hook = module.register_forward_hook(lambda _module, inputs, output: seen.append((inputs[0], output)))
    try:
        value = loss(model(images), labels)
    finally:
        hook.remove()
    inputs, outputs = seen[0]
    (delta,) = torch.autograd.grad(value, outputs)
    return Gradient({**honest.tensors, f"{layer}.weight": delta.T @ (inputs * kept).detach()}, honest.examples)
