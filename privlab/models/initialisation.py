"""Honest ways to draw a network's first weights."""

import torch
from torch import nn

from privlab import checks, runtime

INITIALISATIONS = ("xavier_normal", "xavier_uniform", "framework", "gaussian:STD", "uniform:WIDTH")


def _parse(name: str) -> tuple[str, float]:
    kind, _, size = name.partition(":")
    if kind not in ("gaussian", "uniform"):
        checks.one_of("init", name, INITIALISATIONS)
        return kind, 0.0
    meaning = "a standard deviation" if kind == "gaussian" else "a width"
    try:
        value = float(size)
    except ValueError:
        raise ValueError(f"init={name!r} needs {meaning}, as in {kind}:0.5") from None
    checks.number(f"init={name!r}: {meaning}", value, 0, open_low=True)
    return kind, value


def _check_plain(model: nn.Module) -> None:
    for name, layer in model.named_modules():
        if torch.nn.utils.parametrize.is_parametrized(layer):
            raise ValueError(f"layer {name!r} computes its weights (a parametrization); draw them first, then wrap it")


@torch.no_grad()
def initialise(model: nn.Module, init: str = "xavier_uniform", seed: int | torch.Generator = 0) -> nn.Module:
    """Draw every weight of two or more dimensions anew, in place, and set every bias to zero; returns `model`.

    The scales of norms, and other weights of one dimension that are no biases, stay (but for `uniform`), and
    with `framework` so does every layer that has no `weight` of two dimensions.
    init: `xavier_normal` or `xavier_uniform` (Glorot and Bengio 2010), or `gaussian:STD`. Two draw the biases too:
    `framework`, PyTorch's default, uniform within 1 / sqrt(inputs of a neuron), and `uniform:WIDTH`, every number
    uniform within WIDTH, as the authors of DLG have it. Raises ValueError for any other name, and
    for a weight that is computed (a parametrization): draw first, then wrap.
    Source: "Curious", Table 2. Zero biases are the default of its framework (TensorFlow 2.4).
    """
    kind, size = _parse(init)
    random = runtime.generator(seed)
    _check_plain(model)
    if kind in ("framework", "uniform"):
        return _draw_all(model, size, random)
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            if name.endswith("bias"):
                parameter.zero_()
            continue
        drawn = torch.empty(parameter.shape, dtype=parameter.dtype)
        if kind == "xavier_normal":
            nn.init.xavier_normal_(drawn, generator=random)
        elif kind == "xavier_uniform":
            nn.init.xavier_uniform_(drawn, generator=random)
        else:
            drawn.normal_(0, size, generator=random)
        parameter.copy_(drawn)
    return model


def _draw_all(model: nn.Module, width: float, random: torch.Generator) -> nn.Module:
    """Weights and biases uniform within `width`; within what PyTorch takes for each layer where that is zero."""
    for layer in model.modules():
        weight = getattr(layer, "weight", None)
        inputs = weight[0].numel() if weight is not None and weight.dim() > 1 else 0
        if not width and not inputs:
            continue  # a norm, or weights that PyTorch draws otherwise
        bound = width or 1 / inputs**0.5
        for parameter in layer.parameters(recurse=False):
            drawn = torch.empty(parameter.shape, dtype=parameter.dtype)
            parameter.copy_(drawn.uniform_(-bound, bound, generator=random))
    return model


@torch.no_grad()
def draw_like_pytorch(model: nn.Module, seed: int | torch.Generator = 0) -> nn.Module:
    """Every convolution and dense layer drawn anew as PyTorch does by default, in place; norms stay at 1 and 0.

    Raises ValueError for a weight that is computed (a parametrization).
    """
    _check_plain(model)
    random = runtime.generator(seed)
    for layer in model.modules():
        if isinstance(layer, nn.modules.conv._ConvNd | nn.Linear):
            _draw_all(layer, 0, random)
    return model
