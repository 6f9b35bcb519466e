"""Whether a network answers the same when it is asked again: an adversary repeats what a client did."""

import random
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from privlab import networks

_REPEAT = "which the adversary cannot repeat; put the model in eval mode if the client did, or attack another model"


def check(model: nn.Module, images: Tensor) -> None:
    """Raise ValueError, in words, for a network whose answer to `images` `(B, ...)` depends on chance or on its past.

    Dropout is recognised by its layer; whatever else draws, as a function does, by the random numbers that are gone
    after one pass, or by another answer to the second. Buffers do not count, as each pass begins with the client's.
    The network and all generators are left as they were. Raises like `networks.logits` for what does not pass.
    """
    check_layers(model)
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one is what is watched
    answers, drew = [], False
    try:
        for seed in (0, 1):
            with networks.untouched(model), networks.dice(model, seed):
                before = _state(images)
                answers.append(networks.logits(model, images.detach()).detach())
                drew |= any(not torch.equal(old, new) for old, new in zip(before, _state(images), strict=True))
        drew |= random.getstate() != python
        drew |= any(not np.array_equal(old, new) for old, new in zip(numpy, np.random.get_state(), strict=True))  # noqa: NPY002
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
    if drew:
        raise ValueError(f"this {type(model).__name__} draws at random (as dropout by a function does), {_REPEAT}")
    if not torch.allclose(answers[0], answers[1], rtol=1e-3, atol=1e-5, equal_nan=True):
        raise ValueError(f"this {type(model).__name__} answers otherwise when it is asked again, {_REPEAT}")


def check_arrival(model: nn.Module, rows: Tensor, shape: Sequence[int], layer: str) -> None:
    """Raise ValueError unless an input that is given to the network reaches the layer as it is."""
    images = rows.view(-1, *shape)
    check(model, images[:2])  # of one image BatchNorm in train mode takes no spread
    with networks.untouched(model), networks.dice(model, 0), torch.no_grad():
        arrived = networks.input_of(model, layer, images)
    if arrived.shape != rows.shape or not torch.allclose(arrived, rows, rtol=1e-4, atol=1e-6):
        raise ValueError(
            f"an input does not arrive at {layer!r} unaltered, so that what is read there cannot be sent through the "
            "model again; give levels= of a grid, or the layer that reads the inputs"
        )


def check_layers(model: nn.Module) -> None:
    """Raise ValueError for a layer of dropout that is at work."""
    for name, layer in model.named_modules():
        if layer.training and isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0:
            raise ValueError(
                f"layer {name!r} drops units at random, which the adversary cannot repeat; put the model in eval mode "
                "if the client did, or attack a model without dropout"
            )


def _state(like: Tensor) -> list[Tensor]:
    """Of torch's own generators."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(like.device)] if like.is_cuda else [])]
