"""Laplace noise on what a data owner sends. Acts on the release, alone or in training too.

Source: SplitNN, section 4 and appendix B.
"""

import math

import torch
from torch import Tensor

from privlab import checks, runtime


def laplace(activations: Tensor, scale: float, *, seed: int | torch.Generator = 0) -> Tensor:
    """Activations plus independent Laplace noise of mean 0 and scale b, its standard deviation is b * sqrt(2).

    activations: any shape, in their own unit: see `relative` for what a scale means. Done by the owner, unilaterally,
    each time the segment is used. Raises ValueError for a negative scale, TypeError for what are no floats.
    """
    checks.number("scale", scale, 0)
    _check(activations)
    # Two exponentials: the inverse of the distribution function is infinite where a random number is 0.
    random, shape, kind = runtime.generator(seed), activations.shape, activations.dtype
    up, down = (torch.empty(shape, dtype=kind).exponential_(generator=random) for _ in range(2))
    return activations + scale * (up - down).to(activations.device)


def relative(activations: Tensor, scale: float) -> float:
    """The noise's standard deviation over that of the activations `(N, ...)`, about their mean of each number.

    A network that is trained under noise can make its activations larger instead of hiding anything. Errors: as of
    `laplace`, and ValueError for none at all, or some that are not finite.
    """
    checks.number("scale", scale, 0)
    _check(activations)
    if not activations.dim() or not activations.numel():
        raise ValueError(f"activations are {tuple(activations.shape)}; give (N, ...), those of at least one example")
    if wrong := int((~activations.isfinite()).sum()):
        raise ValueError(f"{wrong} of the activations are not finite; the training diverged: give a smaller lr")
    spread = (activations - activations.mean(0)).flatten().square().mean().sqrt().item()
    return 2**0.5 * scale / spread if spread else float("inf") if scale else 0.0


def epsilon(scale: float, *, low: float, high: float, numbers: int, releases: int = 1) -> float:
    """What Laplace noise promises, as local differential privacy: epsilon, with delta = 0, of all that is sent of one
    example.

    `numbers` activations, each within [low, high], differ in l1 by no more than numbers x (high - low) from those of
    any other example, whose label is not sent. Noise of `scale` b then spends that over b with each of `releases`,
    which add up. Activations that are not bounded, as those of ReLU, have no such epsilon: clamp them first.
    Raises ValueError for no noise, with which epsilon is infinite, or next to none, with which it is beyond every
    float, and for bounds in the wrong order.
    Source: Dwork and Roth 2014, Theorem 3.6, section 3.5.1 (composition); SplitNN, section 5.1 and appendix C.3.
    """
    checks.number("scale", scale, 0, open_low=True)
    for name, bound in (("low", low), ("high", high)):
        if isinstance(bound, float) and math.isinf(bound):
            raise ValueError(f"{name}={bound} is no bound, and without one epsilon is infinite; clamp the activations")
        checks.number(name, bound, -math.inf)
    checks.whole("numbers", numbers)
    checks.whole("releases", releases)
    if high <= low:
        raise ValueError(f"low={low} and high={high} are no range; give high > low")
    try:
        spent = float(releases * numbers * (high - low) / scale)
    except OverflowError:  # of whole numbers beyond every float
        spent = math.inf
    if not math.isfinite(spent):
        given = f"scale={scale} is too small for {numbers} numbers within [{low}, {high}] and {releases} releases"
        raise ValueError(f"{given}: epsilon is beyond every number; give a larger one, or closer bounds")
    return spent


def _check(activations: Tensor) -> None:
    if not isinstance(activations, Tensor):
        raise TypeError(f"activations is a {type(activations).__name__}; give a torch tensor of floats")
    if not activations.is_floating_point():
        raise TypeError(f"activations are {activations.dtype}; give floats, to which noise can be added")
