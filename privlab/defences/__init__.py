"""One file per defence. Each says where it acts: on the data, in training, or on the release."""

from privlab.defences.perturbation import clip, gaussian, prune

__all__ = ["clip", "gaussian", "prune"]
