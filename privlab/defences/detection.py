"""Notice trap weights: scores of a received model, higher for a more suspicious one. Acts before training.

Source: Boenisch et al., "When the curious abandon honesty", section 10.1.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from privlab import checks

_MOST = 100_000  # weights that a Kolmogorov-Smirnov test looks at: its distance is then known to 0.004


def _rows(weight: Tensor) -> Tensor:
    if weight.dim() < 2 or not weight.numel():
        raise ValueError(f"weight is {tuple(weight.shape)}; expected that of a dense layer, (N, L)")
    return weight.detach().flatten(1).double()


def sign_imbalance(weight: Tensor) -> float:
    """How much the negative weights `(N, L)` outweigh the positive ones: -sum(w) / sum(|w|), in [-1, 1].

    Algorithm 1 gives (1 - s) / (1 + s); an honest initialisation 0 up to 1 / sqrt(N L).
    Source: "Curious", section 10.1 ("the presence of slightly larger negative than positive weights").
    """
    rows = _rows(weight)
    return float(-rows.sum() / rows.abs().sum().clamp_min(1e-30))


def pinned_rows(weight: Tensor) -> float:
    """How much too alike the row sums of weights `(N, L)` are: 1 - std(sum(w_i) / |w_i|), at most 1.

    For independent weights the ratio has a standard deviation of one whatever their distribution, so that honest
    initialisations score about 0. Traps need the same sum in every row, and score near 1. Source: ours.
    """
    rows = _rows(weight)
    if len(rows) < 2:
        raise ValueError("weight has one row; row sums can be compared from two rows on")
    return float(1 - (rows.sum(1) / rows.norm(dim=1).clamp_min(1e-30)).std())


def paired_magnitudes(weight: Tensor) -> float:
    """The share of weights `(N, L)` with a partner of the other sign at one fixed ratio, in [0, 1].

    Algorithm 1 scales the same draws, so that sorted negative and positive magnitudes of a row differ by the factor
    s throughout. Independent draws do not. (For an odd L one magnitude has no partner.)
    Source: ours, read off Algorithm 1.
    """
    ordered = _rows(weight).sort(1).values
    half = ordered.shape[1] // 2
    negative, positive = -ordered[:, :half], ordered[:, -half:].flip(1)
    ratio = positive / negative.clamp_min(1e-30)
    return float(((ratio / ratio.median(1, keepdim=True).values - 1).abs() < 1e-3).double().mean())


def kolmogorov_smirnov(weight: Tensor, reference: Tensor | None = None) -> float:
    """The Kolmogorov-Smirnov distance of weights, divided by their root mean square, from honest ones; in [0, 1].

    Without `reference`: from the nearer of the two usual initialisations, normal and uniform. With it: from the
    weights of a model that is trusted, treated alike. Source: "Curious", section 10.1.
    """
    values = _standard(weight)
    if reference is not None:
        return float(stats.ks_2samp(values, _standard(reference), method="asymp").statistic)
    usual = (stats.norm(), stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)))
    return min(float(stats.kstest(values, law.cdf, method="asymp").statistic) for law in usual)


def _standard(weight: Tensor) -> np.ndarray:
    flat = _rows(weight).flatten()
    flat = flat[:: math.ceil(len(flat) / _MOST)]
    return (flat / flat.square().mean().sqrt().clamp_min(1e-30)).cpu().numpy()


def one_hot_filters(weight: Tensor) -> float:
    """The share of filters of a convolution `(F, C, kH, kW)` that are zero but for one weight.

    Source: "Curious", section 10.1 ("convolutional layers which consist of all zero elements and a single one").
    """
    return float((_rows(weight).count_nonzero(1) == 1).double().mean())


def jump(before: Tensor, after: Tensor) -> float:
    """How far a layer's weights moved between two rounds: |after - before| / |before|.

    Raises ValueError for layers of different shapes. Source: "Curious", section 10.1 (multiple iterations).
    """
    if before.shape != after.shape:
        raise ValueError(f"before is {tuple(before.shape)} and after {tuple(after.shape)}; give one layer, twice")
    return float((after - before).detach().double().norm() / before.detach().double().norm().clamp_min(1e-30))


def loss_rise(losses: Sequence[float]) -> float:
    """How far the last of a client's `losses`, one a round, lies above the lowest before it.

    Raises ValueError for fewer than two. Source: "Curious", section 10.1 (functionality of the shared model).
    """
    if len(losses) < 2:
        raise ValueError(f"losses has {len(losses)} rounds; give two or more")
    return float(losses[-1] - min(losses[:-1]))


def threshold(honest: Sequence[float], rate: float = 0.05) -> float:
    """The lowest threshold above which at most the share `rate` of these honest scores lies.

    Raises ValueError for no scores, or a rate outside [0, 1].
    """
    checks.number("rate", rate, 0, 1)
    if not len(honest):
        raise ValueError("honest is empty; give the scores of models that are known to be honest")
    ordered = torch.tensor(sorted(honest, reverse=True), dtype=torch.float64)
    return float(ordered[min(int(rate * len(ordered) + 1e-9), len(ordered) - 1)])
