"""NoPeek: train the owner's segment so that its activations tell little of the images. Acts in training.

Source: Vepakomma et al. 2020; SplitNN, section 2.2 and appendix B (NoPeekNN).
"""

import functools

from torch import Tensor

from privlab import checks
from privlab.metrics.distance_correlation import Statistic, distance_correlation
from privlab.sharing.split import Penalty


def loss(images: Tensor, activations: Tensor, *, alpha: float, statistic: Statistic = distance_correlation) -> Tensor:
    """alpha times the distance correlation of a mini-batch's images `(B, C, H, W)` and what is sent for them.

    The owner adds it to the task's loss. A mini-batch of one tells nothing, and costs nothing.
    Source: SplitNN, appendix B, Algorithm 1.
    """
    if len(images) < 2:
        return activations.sum() * 0
    return alpha * statistic(images, activations)


def penalty(alpha: float, *, statistic: Statistic = distance_correlation) -> Penalty:
    """The loss as `split.train` takes it. Raises ValueError for a negative alpha.

    statistic: `distance_correlation`, or `distance_correlation_squared`, which is what the released code minimises.
    """
    checks.number("alpha", alpha, 0)
    return functools.partial(loss, alpha=alpha, statistic=statistic)
