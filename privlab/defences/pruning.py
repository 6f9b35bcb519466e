"""Fine-pruning: neurons that rest on clean inputs are taken out, as a backdoor may live in them. Acts on the model."""

import torch
from torch import Tensor, nn

from privlab import checks, networks


def prune_dormant(model: networks.Model, layer: str, inputs: Tensor, share: float) -> networks.Model:
    """A copy of the model in which the `share` of the layer's neurons that are least active on `inputs` give zero.

    layer: a dense or convolutional layer whose rectified outputs count as its activity, mean over examples and places;
    inputs: clean ones, `(N, ...)`. Weight rows and biases become 0: to fine-tune, go on training with
    `predictions.fit` (then they may wake up). Source: Liu et al. 2018, "Fine-pruning", section 3.2.
    Raises ValueError for another layer, one that is not reached, or a share outside [0, 1).
    """
    checks.inputs("inputs", inputs)
    checks.number("share", share, 0, 1)
    if share == 1:
        raise ValueError("share=1 leaves no neurons; give less than 1")
    smaller = networks.duplicate(model)
    found = checks.layer(smaller, layer)
    if not isinstance(found, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d) or "weight" not in found._parameters:
        raise ValueError(f"layer={layer!r} is a {type(found).__name__}; give a dense or convolutional layer")
    activity = _activity(smaller, found, inputs, layer)
    resting = activity.argsort()[: int(share * len(activity) + 1e-9)]  # 0.29 x 100 is a rounding short of 29
    with torch.no_grad():
        for each in (found.weight, found.bias):
            if each is not None:
                each[resting] = 0
    return smaller


def _activity(model: nn.Module, layer: nn.Module, inputs: Tensor, name: str) -> Tensor:
    """Of each neuron the mean of its rectified outputs `(K,)`."""
    seen: list[Tensor] = []
    dense = isinstance(layer, nn.Linear)

    def keep(_layer: nn.Module, _inputs: tuple[Tensor, ...], made: Tensor) -> None:
        rows = made if dense else made.movedim(1, -1)
        seen.append(rows.detach().clamp_min(0).flatten(0, -2))

    hook = layer.register_forward_hook(keep)
    try:
        with networks.measured(model):
            for part in inputs.split(512):
                networks.logits(model, part, "inputs")
    finally:
        hook.remove()
    if not seen:
        raise ValueError(f"layer={name!r} is not reached by these inputs; give one that is")
    return torch.cat(seen).mean(0)
