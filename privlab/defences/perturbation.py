"""Perturb what is released: clip a gradient, add noise to it, or prune it. Acts on the release."""

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
    return Gradient({name: gradient[name] / factor for name in gradient}, gradient.examples)


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
    return Gradient(noisy, gradient.examples)


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
    return Gradient(kept, gradient.examples)
