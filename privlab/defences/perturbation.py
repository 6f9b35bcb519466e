"""Perturb what is released: clip a gradient, add noise to it, or prune it. Acts on the release.

What a gradient carries of running averages (`Gradient.buffers`) passes unprotected.
"""

from dataclasses import replace

import torch

from privlab import checks, runtime
from privlab.sharing.federated import Gradient


def norm(gradient: Gradient) -> float:
    """The l2 norm of all numbers of a gradient together."""
    return torch.stack([gradient[name].double().norm() for name in gradient]).norm().item()


def clip(gradient: Gradient, bound: float) -> Gradient:
    """Scale a gradient down to the l2 norm `bound`; a smaller one is left as it is.

    One factor for all layers: what can be read by division survives. Source: "Curious", appendix A.
    Raises ValueError for a bound that is not positive.
    """
    checks.number("bound", bound, 0, open_low=True)
    factor = max(1.0, norm(gradient) / bound)
    return replace(gradient, tensors={name: gradient[name] / factor for name in gradient})


def gaussian(gradient: Gradient, std: float, seed: int | torch.Generator = 0) -> Gradient:
    """Add independent Gaussian noise of standard deviation `std` to every number of a gradient.

    Done by the client, before it sends. Source: "Curious", section 9.2. Raises ValueError for a negative `std`.
    """
    checks.number("std", std, 0)
    random = runtime.generator(seed)
    noisy = {}
    for name in gradient:
        noise = torch.randn(gradient[name].shape, generator=random, dtype=gradient[name].dtype)
        noisy[name] = gradient[name] + std * noise.to(gradient[name].device)
    return replace(gradient, tensors=noisy)


def prune(gradient: Gradient, share: float) -> Gradient:
    """Set the `share` of each layer's numbers that are smallest in magnitude to zero.

    share: in [0, 1). Source: "Curious", section 9.3 (gradient compression, Zhu et al. 2019: per layer).
    Raises ValueError for a share outside.
    """
    checks.number("share", share, 0, 1)
    if share == 1:
        raise ValueError("share=1 leaves nothing to send; give less than 1")
    kept = {}
    for name in gradient:
        flat = gradient[name].flatten()
        smallest = flat.abs().argsort()[: int(share * len(flat))]
        kept[name] = flat.index_fill(0, smallest, 0).view_as(gradient[name])
    return replace(gradient, tensors=kept)


def clip_and_noise(gradient: Gradient, bound: float, noise: float, seed: int | torch.Generator = 0) -> Gradient:
    """Clip a gradient to `bound` and add Gaussian noise of `noise` x `bound` / B to every number of it.

    noise: the *noise multiplier* sigma of DP-SGD, whose sum over B examples gets noise of sigma x bound. B is the
    size of the mini-batch, `gradient.examples`. The whole mini-batch is clipped at once, as a client can do to what
    it is about to send; clipping each example, which the guarantee of DP-SGD needs, is done while training.
    Source: "Curious", appendix A. Raises ValueError for a bound that is not positive, or a negative noise.
    """
    return gaussian(clip(gradient, bound), noise_std(bound, noise, gradient.examples), seed)


def noise_std(bound: float, noise: float, examples: int) -> float:
    """The standard deviation of the noise that `clip_and_noise` adds to each number of the mean gradient."""
    checks.number("bound", bound, 0, open_low=True)
    checks.number("noise", noise, 0)
    checks.whole("examples", examples)
    return noise * bound / examples
