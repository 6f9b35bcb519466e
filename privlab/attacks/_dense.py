"""The cosine between gradients of dense networks, without ever forming the gradient of a trial.

For one image, the gradient of a dense layer is the outer product of delta, the gradient at its outputs, and its input
a. Its inner product with the sent gradient G is delta . G a, and its squared norm |delta|^2 |a|^2. A network of 20
million weights then costs a trial a few thousand numbers, and all trials of a victim share one product with G.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.func import grad, vmap


def is_dense(model: nn.Module) -> bool:
    """Whether the model is dense layers with biases in a row, with nothing but shapeless functions between them."""
    between = (nn.Flatten, nn.ReLU, nn.Tanh, nn.Sigmoid, nn.Identity)
    return isinstance(model, nn.Sequential) and all(
        isinstance(layer, between) or (isinstance(layer, nn.Linear) and layer.bias is not None) for layer in model
    )


def cosine_distance(model: nn.Sequential, images: Tensor, labels: Tensor, sent: Mapping[str, Tensor]) -> Tensor:
    """One less the cosine for each trial on one victim, `(T,)`: images `(T, 1, C, H, W)`, labels `(T, 1, K)`."""
    dense = {name: layer for name, layer in model.named_children() if isinstance(layer, nn.Linear)}
    zeros = {name: images.new_zeros(layer.out_features) for name, layer in dense.items()}
    length = torch.stack([value.square().sum() for value in sent.values()]).sum().sqrt()

    def loss(offsets: Mapping[str, Tensor], x: Tensor, y: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        inputs = {}
        for name, layer in model.named_children():
            if name in dense:
                inputs[name] = x[0]
                x = layer(x) + offsets[name]
            else:
                x = layer(x)
        return -(y * x.log_softmax(1)).sum(1).mean(), inputs

    def trial(x: Tensor, y: Tensor) -> Tensor:
        deltas, inputs = grad(loss, has_aux=True)(zeros, x, y)
        product, norm = x.new_zeros(()), x.new_zeros(())
        for name, delta in deltas.items():
            if f"{name}.weight" in sent:
                product = product + delta @ (sent[f"{name}.weight"] @ inputs[name])
                norm = norm + delta.square().sum() * inputs[name].square().sum()
            if f"{name}.bias" in sent:
                product = product + delta @ sent[f"{name}.bias"]
                norm = norm + delta.square().sum()
        return 1 - product / (norm.sqrt() * length).clamp_min(torch.finfo(x.dtype).tiny)

    return vmap(trial)(images, labels)
