"""Laplace noise on what a data owner sends. Acts on the release, alone or in training too.

Source: SplitNN, section 4 and appendix B.
"""

import torch
from torch import Tensor

from privlab import checks, runtime


def laplace(activations: Tensor, scale: float, *, seed: int | torch.Generator = 0) -> Tensor:
    """Activations plus independent Laplace noise of mean 0 and scale b, its standard deviation is b * sqrt(2).

    activations: any shape, in their own unit: see `relative` for what a scale means. Done by the owner, unilaterally,
    each time the segment is used. Raises ValueError for a negative scale.
    """
    checks.number("scale", scale, 0)
    # Two exponentials: the inverse of the distribution function is infinite where a random number is 0.
    random, shape, kind = runtime.generator(seed), activations.shape, activations.dtype
    up, down = (torch.empty(shape, dtype=kind).exponential_(generator=random) for _ in range(2))
    return activations + scale * (up - down).to(activations.device)


def relative(activations: Tensor, scale: float) -> float:
    """The noise's standard deviation over that of the activations `(N, ...)`, about their mean of each number.

    A network that is trained under noise can make its activations larger instead of hiding anything.
    """
    checks.number("scale", scale, 0)
    spread = (activations - activations.mean(0)).flatten().square().mean().sqrt().item()
    return 2**0.5 * scale / spread if spread else float("inf") if scale else 0.0
