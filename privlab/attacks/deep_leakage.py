"""Deep leakage from gradients (DLG): optimise an image, and its label, until their gradient is the one sent.

Source: Zhu et al. 2019, "Deep leakage from gradients"; "Curious", section 3.2 and Algorithm 2; "Zen", section 3.2.1.
With labels that are known, or read by `label_inference`, it is iDLG (Zhao et al. 2020).
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from privlab import checks, runtime
from privlab.attacks._lbfgs import minimise
from privlab.attacks._matching import (
    Matcher,
    Reconstruction,
    clipped,
    known_labels,
    number_of_classes,
    squared,
    with_slopes,
)
from privlab.attacks.threat import ThreatModel
from privlab.sharing.federated import Gradient

THREAT = ThreatModel(
    attack="Deep leakage from gradients",
    time="train",
    position="server",
    access="white-box",
    security="honest-but-curious",
    reads="gradient",
    capability="Sees the gradient of one mini-batch and its size; knows the model, its loss and the form of inputs.",
    source="Zen, section 3.2.1",
)
TOLERANCE = 1e-13  # of the relative squared distance: what float32 reaches is about the square of its 1e-7


def reconstruct(
    model: nn.Module,
    gradients: Gradient | Sequence[Gradient],
    *,
    shape: Sequence[int],
    labels: Tensor | None = None,
    restarts: int = 16,
    iterations: int = 300,
    tolerance: float = TOLERANCE,
    clip: float | None = None,
    seed: int = 0,
    watch: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Reconstruction:
    """The mini-batch behind each of V victims' gradients, from `restarts` random beginnings each, all at once.

    shape: of one image, as in (1, 28, 28). labels: `(V, B)` where they are known (iDLG); otherwise they are
    optimised too, as logits. clip: the bound to which clients clip a gradient, if they do. The adversary then does the
    same to its own, since the squared distance takes a shortened gradient for one of another image.
    A trial begins at N(0, 1) and runs L-BFGS for `iterations`, or until the squared distance is `tolerance` of the
    gradient's own. `watch(iteration, images (V, R, B, C, H, W), losses (V, R))` sees every iteration.

    A trial draws from its own seed, and no trial's result depends on those beside it but for the rounding of float32
    (matrix products of another size add up in another order). Raises ValueError for a shape that does not fit the
    model, labels that are not `(V, B)`, and gradients of different sizes.
    """
    gradients = [gradients] if isinstance(gradients, Gradient) else list(gradients)
    for name, value in (("restarts", restarts), ("iterations", iterations)):
        checks.whole(name, value)
    if clip is not None:
        checks.number("clip", clip, 0, open_low=True)
    matcher = Matcher(model, gradients, squared if clip is None else clipped(squared, clip))
    device, size = matcher.device, matcher.examples
    classes = number_of_classes(model, shape, device)
    trials, pixels = (len(gradients), restarts), size * math.prod(shape)
    victim = torch.arange(len(gradients), device=device).repeat_interleave(restarts)
    start = _starts(trials, pixels, 0 if labels is not None else size * classes, seed).to(device)
    known = None if labels is None else known_labels(labels, (len(gradients), size), classes).to(device)

    def parts(points: Tensor, of: Tensor) -> tuple[Tensor, Tensor]:
        images = points[:, :pixels].view(-1, size, *shape)
        if known is not None:
            return images, known[of]
        return images, points[:, pixels:].view(-1, size, classes).softmax(2)

    def function(points: Tensor, trial: Tensor) -> tuple[Tensor, Tensor]:
        return with_slopes(lambda at: matcher(*parts(at, victim[trial]), victim[trial]), points)

    def show(iteration: int, points: Tensor, values: Tensor) -> None:
        if watch:
            watch(iteration, parts(points, victim)[0].view(*trials, size, *shape).clone(), values.view(trials).clone())

    found = minimise(function, start, iterations=iterations, tolerance=tolerance, watch=show if watch else None)
    images, chosen = parts(found.points, victim)
    labels = chosen.argmax(2).view(*trials, size)
    images = images.view(*trials, size, *shape)
    return Reconstruction(images, labels, found.values.view(trials), found.iterations.view(trials))


def _starts(trials: tuple[int, int], pixels: int, logits: int, seed: int) -> Tensor:
    """Where each trial begins: N(0, 1), each from a seed of its own, whatever the number of trials."""
    seeds = [runtime.derive(seed, "start", v, r) for v in range(trials[0]) for r in range(trials[1])]
    return torch.stack([torch.randn(pixels + logits, generator=runtime.generator(each)) for each in seeds])
