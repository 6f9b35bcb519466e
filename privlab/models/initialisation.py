"""Honest ways to draw a network's first weights."""

import torch
from torch import nn

from privlab import checks, runtime

INITIALISATIONS = ("xavier_normal", "xavier_uniform", "gaussian:STD")


def _parse(name: str) -> tuple[str, float]:
    kind, _, std = name.partition(":")
    if kind != "gaussian":
        checks.one_of("init", name, INITIALISATIONS)
        return kind, 0.0
    try:
        value = float(std)
    except ValueError:
        raise ValueError(f"init={name!r} needs a standard deviation, as in gaussian:0.5") from None
    checks.number("the standard deviation of init", value, 0, open_low=True)
    return kind, value


@torch.no_grad()
def initialise(model: nn.Module, init: str = "xavier_uniform", seed: int | torch.Generator = 0) -> nn.Module:
    """Draw every weight of two or more dimensions anew, in place, and set every bias to zero; returns `model`.

    init: `xavier_normal` or `xavier_uniform` (Glorot and Bengio 2010), or `gaussian:STD`.
    Raises ValueError for any other name.
    Source: "Curious", Table 2. Zero biases are the default of its framework (TensorFlow 2.4).
    """
    kind, std = _parse(init)
    random = runtime.generator(seed)
    for parameter in model.parameters():
        if parameter.dim() < 2:
            parameter.zero_()
            continue
        drawn = torch.empty(parameter.shape, dtype=parameter.dtype)
        if kind == "xavier_normal":
            nn.init.xavier_normal_(drawn, generator=random)
        elif kind == "xavier_uniform":
            nn.init.xavier_uniform_(drawn, generator=random)
        else:
            drawn.normal_(0, std, generator=random)
        parameter.copy_(drawn)
    return model
