"""Read the labels of a mini-batch off the gradient of the last layer: one sign, or one subtraction.

Source: Zhao et al. 2020, "iDLG: Improved deep leakage from gradients"; for batches, the same equation summed up.
"""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from privlab import checks, runtime
from privlab.attacks.threat import ThreatModel
from privlab.sharing.federated import Gradient

THREAT = ThreatModel(
    attack="Label inference",
    time="train",
    position="server",
    access="white-box",
    security="honest-but-curious",
    reads="gradient",
    capability="Sees the gradient of one mini-batch and its size; knows that the loss is cross-entropy.",
    source="iDLG, section 3",
)


def single(gradient: Gradient, layer: str = "output") -> int:
    """The label of a mini-batch of one: the only class whose bias gradient, p_k - [k = y], is negative.

    Raises ValueError for a larger mini-batch, and where no class or several are negative: under noise or label
    smoothing, or when the model is so sure that its loss is zero in float32 and nothing is sent.
    Source: iDLG, eq. 3 (there for weights, whose sign also depends on that of the layer's inputs).
    """
    if gradient.examples != 1:
        raise ValueError(f"the gradient is of {gradient.examples} examples; for more than one use label_counts")
    bias = gradient.layer(layer)[1]
    negative = (bias < 0).nonzero().flatten()
    if len(negative) != 1:
        raise ValueError(
            f"{len(negative)} classes of {layer!r} have a negative gradient, where one label gives exactly one; "
            "the gradient is noisy, its loss is not cross-entropy on one-hot labels, or the loss is zero"
        )
    return int(negative[0])


def label_counts(gradient: Gradient, probabilities: Tensor, layer: str = "output") -> Tensor:
    """How often each class occurs in a mini-batch: `(K,)` whole numbers that add up to its size.

    The bias gradient is the mean of p_k - [k = y] over the mini-batch, so that B (mean p_k - gradient) counts the
    labels. probabilities: `(K,)`, what the model predicts on average; the adversary does not know this
    for the private mini-batch and takes it from data of its own, or noise. The counts are rounded so that they
    add up, the largest remainders up. Raises ValueError for probabilities of another length, or that do not sum to one.
    """
    bias = gradient.layer(layer)[1]
    if probabilities.shape != bias.shape:
        raise ValueError(f"probabilities are {tuple(probabilities.shape)}; expected {tuple(bias.shape)}, one a class")
    checks.number("the sum of probabilities", float(probabilities.sum()), 0.99, 1.01)
    expected = (gradient.examples * (probabilities.to(bias) - bias)).clamp_min(0)
    counts = expected.floor().long()
    while (missing := gradient.examples - int(counts.sum())) != 0:
        gap = expected - counts
        if missing > 0:
            counts[gap.argmax()] += 1
        else:
            counts[torch.where(counts > 0, gap, torch.inf).argmin()] -= 1
    return counts


def labels(
    model: nn.Module, gradients: Sequence[Gradient], *, shape: Sequence[int], layer: str = "output", seed: int = 0
) -> Tensor:
    """The labels of each victim's mini-batch, `(V, B)`, in rising order: by sign for one image, else by counting.

    shape: of one image. For batches the adversary does not know what the model predicts for the private images, and
    takes its mean prediction for images of uniform noise instead: good while the model is untrained.
    """
    device = gradients[0].layer(layer)[1].device
    noise = torch.rand(64, *shape, generator=runtime.generator(runtime.derive(seed, "noise"))).to(device)
    with torch.no_grad():
        expected = copy.deepcopy(model)(noise).softmax(1).mean(0)  # a copy: BatchNorm may write to itself
    found = []
    for each in gradients:
        if each.examples == 1:
            found.append(torch.tensor([single(each, layer)], device=device))
        else:
            counts = label_counts(each, expected, layer)
            found.append(torch.arange(len(counts), device=device).repeat_interleave(counts))
    return torch.stack(found)
