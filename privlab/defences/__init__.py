"""One file per defence. Each says where it acts: on the data, in training, or on the release."""

from privlab.defences import detection, dp_sgd, nopeek, soteria
from privlab.defences.laplace_noise import laplace
from privlab.defences.perturbation import clip, clip_and_noise, gaussian, noise_std, prune

__all__ = [
    "clip",
    "clip_and_noise",
    "detection",
    "dp_sgd",
    "gaussian",
    "laplace",
    "noise_std",
    "nopeek",
    "prune",
    "soteria",
]
