"""Users made out of a data set of images: each writes in a hand of its own, and likes some classes more."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from privlab import checks, runtime
from privlab.data.dataset import Dataset

_SLANT, _WIDTH, _CONTRAST, _SIZE = 0.35, 0.8, 0.6, 0.12  # standard deviations between users, at strength 1
_LEAST = 1e-3  # of a Dirichlet distribution's parameters, below which torch's draws are all alike
_OWN = 0.25  # of that between images of one user


def made_users(
    source: Dataset, users: int, images: int, *, strength: float = 1.0, preference: float = math.inf, seed: int = 0
) -> Dataset:
    """A data set of `users` made users with `images` images each, `users` numbered from 0.

    strength: how far hands differ: slant, width of strokes, contrast and size of a user are normal around those of the
    source, with standard deviations of 0.35 (shear), 0.8 (the share that is thickened or thinned), 0.6 (the logarithm
    of an exponent) and 0.12 times it; those of one user's images vary by a quarter of that. 0: no hand. preference:
    the parameter of a Dirichlet distribution of each user's classes, 0.001 at least, small for strong likes; infinite:
    the mix of the source. A user has no image of the source twice; two may have the same one, each in their own hand.
    Raises ValueError for more images a user than there are, and for likes where an image has several labels.
    """
    if not isinstance(source, Dataset):
        raise TypeError(f"source is a {type(source).__name__}; give a Dataset, of images")
    checks.whole("users", users)
    checks.whole("images", images, 1, len(source))
    checks.number("strength", strength, 0)
    if preference != math.inf:
        checks.number("preference", preference, _LEAST)
        if source.labels.dim() != 1:
            raise ValueError(f"labels are {tuple(source.labels.shape)}; likes take one label an image")
    random = runtime.generator(runtime.derive(seed, "made users"))
    chosen = torch.cat([_drawn(source.labels, images, preference, random) for _ in range(users)])
    owner = torch.arange(users).repeat_interleave(images)
    hands = torch.randn(users, 4, generator=random)[owner] + _OWN * torch.randn(len(owner), 4, generator=random)
    drawn = source[chosen]
    pixels = (_written(drawn.images, strength * hands) * 255).round().to(torch.uint8) if strength else drawn.pixels
    return replace(drawn, pixels=pixels, users=owner, sessions=None, times=None)


def _drawn(labels: Tensor, images: int, preference: float, random: torch.Generator) -> Tensor:
    """Places of one user's images: without replacement, by likes for classes."""
    if preference == math.inf:
        return torch.randperm(len(labels), generator=random)[:images]
    classes = labels.unique()
    likes = torch._sample_dirichlet(torch.full((len(classes),), float(preference), dtype=torch.float64), random)
    counts = (labels[:, None] == classes).sum(0)
    each = (likes / counts)[torch.searchsorted(classes, labels)].clamp_min(1e-12)
    return torch.multinomial(each, images, generator=random)


def _written(images: Tensor, hands: Tensor) -> Tensor:
    """Images `(N, C, H, W)` in [0, 1] in other hands `(N, 4)`: slant, width, contrast and size, 0 for no change."""
    slant, width, contrast, size = hands.T
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = torch.exp(_SIZE * size)
    theta[:, 0, 1] = _SLANT * slant
    grid = nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    made = nn.functional.grid_sample(images, grid, align_corners=False)
    thick = nn.functional.max_pool2d(made, 3, 1, 1)
    thin = -nn.functional.max_pool2d(-made, 3, 1, 1)
    share = (_WIDTH * width).clamp(-1, 1)[:, None, None, None]
    made = torch.where(share > 0, made + share * (thick - made), made - share * (thin - made))
    return made.clamp(0, 1) ** torch.exp(_CONTRAST * contrast)[:, None, None, None]
