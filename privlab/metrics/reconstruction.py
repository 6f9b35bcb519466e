"""Reconstruction metrics: how good a picture of a private image is, and whether it gives the image away."""

from dataclasses import dataclass

import torch
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
