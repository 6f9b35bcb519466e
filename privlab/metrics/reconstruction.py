"""Reconstruction metrics: how good a picture of a private image is, and whether it gives the image away."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from skimage.metrics import structural_similarity
from torch import Tensor


@dataclass(frozen=True)
class ReconstructionScore:
    """psnr: in dB, mean over the private images of the best guess. identified: share of them, in [0, 1]."""

    psnr: float
    identified: float


def psnr(guesses: Tensor, images: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each guess against its image, in dB, for pixels in [0, 1].

    guesses, images: `(*, C, H, W)`; returns `(*,)`, infinite where they are equal.
    """
    return -10 * (guesses - images).square().flatten(-3).mean(-1).log10()


def mse(guesses: Tensor, images: Tensor) -> Tensor:
    """Mean squared error of each guess against its image, for pixels in [0, 1]: `(*, C, H, W)` -> `(*,)`.

    Times 255 squared it is the figure of papers that count pixels from 0 to 255, such as "Zen".
    """
    return (guesses - images).square().flatten(-3).mean(-1)


def ssim(guesses: Tensor, images: Tensor) -> Tensor:
    """Structural similarity of each guess to its image, for pixels in [0, 1]: `(*, C, H, W)` -> `(*,)` on the CPU.

    scikit-image's, with its window of 7 x 7. Raises ValueError for images smaller than that.
    """
    if min(images.shape[-2:]) < 7:
        raise ValueError(f"images are {tuple(images.shape)}; SSIM looks through a window of 7 x 7 pixels")
    pairs = zip(_flat_images(guesses), _flat_images(images.expand_as(guesses)), strict=True)
    found = [structural_similarity(a, b, data_range=1.0, channel_axis=0) for a, b in pairs]
    return torch.tensor(found, dtype=torch.float32).view(guesses.shape[:-3])


def _flat_images(images: Tensor) -> np.ndarray:
    return images.detach().cpu().float().reshape(-1, *images.shape[-3:]).numpy()


def match(guesses: Tensor, images: Tensor) -> Tensor:
    """Which guess to hold against which image, so that the squared errors together are least: `(B,)`, guess of each.

    guesses, images: `(B, C, H, W)`. The order of a mini-batch is not in its gradient, and an attack that returns it in
    another order has lost nothing. The Hungarian method (`scipy.optimize.linear_sum_assignment`).
    """
    if guesses.shape != images.shape:
        raise ValueError(f"guesses are {tuple(guesses.shape)} and images {tuple(images.shape)}; give as many of each")
    errors = (images.flatten(1)[:, None] - guesses.flatten(1)).square().sum(2)
    return torch.as_tensor(linear_sum_assignment(errors.cpu().numpy())[1], device=guesses.device)


def identify(guesses: Tensor, gallery: Tensor) -> Tensor:
    """For each guess the number of the gallery image that it resembles most, or -1 for a guess with no contrast.

    guesses: `(K, C, H, W)`, gallery: `(G, C, H, W)`; returns `(K,)`. Nearest neighbour in the l2 distance after
    each image has been given mean zero and norm one, which is the largest correlation: a guess that is
    too pale is not taken for another image.
    """
    if guesses.shape[1:] != gallery.shape[1:]:
        raise ValueError(f"guesses are {tuple(guesses.shape[1:])} each and the gallery {tuple(gallery.shape[1:])}")
    a, b = _standard(guesses), _standard(gallery)
    nearest = (a @ b.T).argmax(1) if len(b) else torch.zeros(len(a), dtype=torch.long, device=a.device)
    return torch.where(a.abs().amax(1) > 0, nearest, -1)


def _standard(images: Tensor) -> Tensor:
    flat = images.flatten(1).double()
    centred = flat - flat.mean(1, keepdim=True)
    norm = centred.norm(dim=1, keepdim=True)
    return torch.where(norm > 1e-9, centred / norm.clamp_min(1e-9), 0)


def score(guesses: Tensor, images: Tensor, decoys: Tensor) -> ReconstructionScore:
    """How well the guesses show the private images.

    guesses: `(K, C, H, W)`, images: `(B, C, H, W)`, decoys: `(D, C, H, W)`, other images of the same kind.
    An image is identified when it is the one that some guess resembles most among all images and decoys.
    Let the adversary make at most B guesses: then B random ones identify a share of about B / (B + D).
    PSNR is that of the best guess for each image, at most 100; who makes no guess has guessed grey.
    """
    if not len(guesses):
        guesses = torch.full_like(images[:1], 0.5)
    found = identify(guesses, torch.cat([images, decoys]))
    hit = torch.isin(torch.arange(len(images), device=found.device), found)
    best = torch.stack([psnr(guesses, image.expand_as(guesses)).amax() for image in images])
    return ReconstructionScore(psnr=best.clamp_max(100).mean().item(), identified=hit.double().mean().item())
