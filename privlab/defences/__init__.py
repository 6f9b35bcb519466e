"""One file per defence. Each says where it acts: on the data, in training, or on the release."""

from privlab.defences import (
    adversarial_training,
    aggregation,
    client_dp,
    crowd,
    data_analysis,
    detection,
    dp_sgd,
    encrypted,
    laplace_noise,
    nopeek,
    pruning,
    regularisation,
    secure_sum,
    soteria,
    tracking,
    update_analysis,
    verification,
)
from privlab.defences.laplace_noise import laplace
from privlab.defences.perturbation import clip, clip_and_noise, gaussian, noise_std, prune

__all__ = ["adversarial_training", "aggregation", "client_dp", "clip", "clip_and_noise", "crowd", "data_analysis"]
__all__ += ["detection", "dp_sgd", "encrypted", "gaussian", "laplace", "laplace_noise", "noise_std", "nopeek", "prune"]
__all__ += ["pruning", "regularisation", "secure_sum", "soteria", "tracking", "update_analysis", "verification"]
