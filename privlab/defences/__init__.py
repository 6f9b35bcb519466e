"""One file per defence. Each says where it acts: on the data, in training, or on the release."""

from privlab.defences import detection, dp_sgd, soteria
from privlab.defences.perturbation import clip, clip_and_noise, gaussian, noise_std, prune

__all__ = ["clip", "clip_and_noise", "detection", "dp_sgd", "gaussian", "noise_std", "prune", "soteria"]
