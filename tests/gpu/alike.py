"""Whether what a card computed is what the CPU computed, within a tolerance that is stated for each number."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

Found = Mapping[str, Tensor | float]


def apart(found: Found, wanted: Found, near: float, nearer: Mapping[str, float] | None = None) -> dict[str, str]:
    """What differs, in words, by name; empty where all is alike.

    near: how far numbers may lie apart, relative to the largest of the wanted ones; `nearer`: of some by name, 0 for
    what is to be the same bit for bit. What is no float is always to be the same, and so are names, shapes and kinds.
    """
    words = dict.fromkeys(found.keys() ^ wanted.keys(), "is on one side only")
    for name in found.keys() & wanted.keys():
        one, other = (torch.as_tensor(each[name]).detach().cpu() for each in (found, wanted))
        limit = (nearer or {}).get(name, near)
        if one.shape != other.shape or one.dtype != other.dtype:
            words[name] = f"{one.dtype} {tuple(one.shape)} for {other.dtype} {tuple(other.shape)}"
        elif not one.is_floating_point() or not limit:
            if not torch.equal(one, other):
                words[name] = f"{int((one != other).sum())} of {one.numel()} differ, where none may"
        elif one.numel():
            distance = float((one.double() - other.double()).abs().max())
            largest = max(1e-12, float(other.double().abs().max()))
            if not distance <= limit * largest:  # NaN is never alike
                words[name] = f"off by {distance:.3g}, {distance / largest:.3g} of the largest; allowed {limit:.3g}"
    return words


def metrics_apart(
    found: Mapping[str, float], wanted: Mapping[str, float], allowed: Mapping[str, float], share: float
) -> dict[str, str]:
    """Which metrics of a cell lie further apart than they may: than `allowed`, else 0.02, and than a share of the size.

    Seconds are not compared; a metric that is no number counts as not measured.
    """
    one, other = ({n: v for n, v in each.items() if v == v and n != "seconds"} for each in (found, wanted))
    words = dict.fromkeys(one.keys() ^ other.keys(), "is on one side only")
    for name in one.keys() & other.keys():
        limit = max(allowed.get(name, 0.02), share * abs(other[name]))
        same = one[name] == other[name]  # also of infinities
        if not same and not (math.isfinite(one[name]) and abs(one[name] - other[name]) <= limit):
            words[name] = f"{one[name]:.5g} for {other[name]:.5g}; allowed ±{limit:.3g}"
    return words
