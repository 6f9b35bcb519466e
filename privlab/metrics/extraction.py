"""Extraction metrics: how many private examples were read out exactly."""

from dataclasses import dataclass

import torch
from torch import Tensor

from privlab import checks

# Two float32 roundings separate an isolated row from its example: 4e-7 (28x28) to about 2e-5 (224x224x3) in
# l2. Mixtures of two examples start at 7.6e-4.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class ExtractionScore:
    """The share of neurons that were active, precision and recall of extraction; all in [0, 1]."""

    active: float
    precision: float
    precision_all: float
    recall: float


def match(candidates: Tensor, images: Tensor, tolerance: float = TOLERANCE) -> Tensor:
    """For each candidate the number of the image that it equals, or -1.

    candidates: `(K, ...)` and images: `(B, ...)` of the same size an item. Equal means an l2 distance of at
    most `tolerance`. A projection finds the one image that could be meant, and that one is compared in
    full, so a near miss of the projection can never count as a hit.
    """
    flat, truth = candidates.flatten(1), images.flatten(1)
    if flat.shape[1:] != truth.shape[1:]:
        raise ValueError(f"candidates have {flat.shape[1]} values each and images {truth.shape[1]}; give equal sizes")
    checks.number("tolerance", tolerance, 0)
    found = torch.full((len(flat),), -1, device=flat.device)
    if not len(flat) or not len(truth):
        return found
    random = torch.Generator().manual_seed(0)  # any fixed directions do: this is a search, not a statistic
    directions = torch.randn(flat.shape[1], 8, generator=random, dtype=torch.float64).to(flat.device)
    targets = truth.double() @ directions
    for start in range(0, len(flat), 256):  # in parts: float64 copies of all of 3000 x 150,528 would not fit
        part = flat[start : start + 256]
        near = torch.cdist(part.double() @ directions, targets).argmin(1)
        distance = (part - truth[near]).double().norm(dim=1)
        found[start : start + 256] = torch.where(distance <= tolerance, near, -1)
    return found


def score(candidates: Tensor, images: Tensor, *, neurons: int, tolerance: float = TOLERANCE) -> ExtractionScore:
    """Active neurons, extraction precision and extraction recall of one gradient.

    candidates: `(A, ...)`, the rescaled gradient row of every active neuron; images: `(B, ...)`, the private
    mini-batch; neurons: N, the width of the layer.
    `precision` divides the rows that equal an image by the active rows, as the paper's tables print it;
    `precision_all` divides by all N, as its eq. 9 is written. `recall` is the share of the mini-batch that
    at least one row equals. Where nothing is active, both precisions and the recall are 0.
    Source: "Curious", section 8.1, eqs. 9 and 10; "an l2-distance of zero" is `tolerance` here.
    """
    checks.whole("neurons", neurons, max(1, len(candidates)))
    found = match(candidates, images, tolerance)
    hits = found[found >= 0]
    return ExtractionScore(
        active=len(candidates) / neurons,
        precision=len(hits) / max(1, len(candidates)),
        precision_all=len(hits) / neurons,
        recall=len(hits.unique()) / len(images),
    )
