"""Checks of arguments, made once, at the door of public functions.

Each error says what was given, what is allowed and, where it helps, what to do.
"""

import math
from collections.abc import Callable, Collection, Iterable, Sized

import numpy as np
import torch
from torch import Tensor, nn


def one_of(name: str, value: object, allowed: Collection) -> None:
    """Raise ValueError unless `value` is among `allowed`."""
    try:
        known = value in allowed
    except (TypeError, ValueError, RuntimeError):  # a list is no key, and an array not equal to anything
        known = False
    if not known:
        raise ValueError(f"{name}={value!r} is not known; choose one of {', '.join(map(str, allowed))}")


def whole(name: str, value: object, low: int = 1, high: int | None = None) -> None:
    """Raise unless `value` is a whole number with low <= value (<= high)."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; give a whole number")
    if value < low or (high is not None and value > high):
        limit = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ValueError(f"{name}={value} is out of range; give a whole number {limit}")


def number(name: str, value: object, low: float, high: float = float("inf"), *, open_low: bool = False) -> None:
    """Raise unless `value` is a finite number in [low, high], or in (low, high] with `open_low`."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{name}={value!r} is a {type(value).__name__}; give a number")
    try:
        inside = (low < value if open_low else low <= value) and value <= high and math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        inside = False
    if not inside:  # also catches NaN, which compares as false
        allowed = f"in {'(' if open_low else '['}{low:g}, {high:g}{']' if math.isfinite(high) else ')'}"
        raise ValueError(f"{name}={value} is out of range; give a number {allowed}")


def sizes(**given: Iterable[object]) -> None:
    """Raise unless every number in each of those `given` by name is a whole number of at least 1."""
    for name, values in given.items():
        for value in values:
            whole(name, value)


def if_given(check: Callable[..., None], name: str, value: object, *limits, **how) -> None:
    """Make a check of this module, such as `whole`, of a value that may be None, which is let pass."""
    if value is not None:
        check(name, value, *limits, **how)


def some(what: str, given: Sized | None) -> None:
    """Raise ValueError where there is none of what is `given`."""
    if given is None or not len(given):
        raise ValueError(f"there are no {what}; give at least one")


def training(lr: object, **counts: object) -> None:
    """Raise unless each of the `counts`, such as epochs, is a whole number of at least 1, and `lr` is positive."""
    for name, value in counts.items():
        whole(name, value)
    number("lr", lr, 0, open_low=True)


def images(name: str, value: object) -> None:
    """Raise unless `value` is a floating-point tensor `(N, C, H, W)` with N >= 1, finite, in [0, 1]."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} is a {type(value).__name__}; give a torch tensor of shape (N, C, H, W)")
    if value.dim() != 4 or value.numel() == 0:
        raise ValueError(f"{name} has shape {tuple(value.shape)}; expected (N, C, H, W) with at least one image")
    if not value.is_floating_point():
        raise TypeError(f"{name} has dtype {value.dtype}; divide 8-bit pixels by 255 to get floats in [0, 1]")
    low, high = value.min().item(), value.max().item()
    if not (low >= 0 and high <= 1):
        raise ValueError(f"{name} has values in [{low:g}, {high:g}]; scale images to [0, 1]")


def inputs(name: str, value: object) -> None:
    """Raise unless `value` is a batch of images (see `images`), signals `(N, C, L)`, or tokens, int64 `(N, L)`."""
    if isinstance(value, Tensor) and value.dtype == torch.int64:
        if value.dim() != 2 or value.numel() == 0:
            raise ValueError(f"{name} has shape {tuple(value.shape)}; expected tokens (N, length), or images")
        return
    images(name, value[..., None] if isinstance(value, Tensor) and value.dim() == 3 else value)


def targets(name: str, value: object, count: int, given: object = None) -> None:
    """Raise unless `value` is what a loss takes for `count` inputs.

    Class numbers, int64 `(N,)`; several labels an input, int64 or bool `(N, K)` of 0 and 1; or soft labels, floats
    `(N, K)` in [0, 1]. Where the `given` inputs are tokens, int64 `(N, L)`, also a token for each of them.
    """
    words = isinstance(given, Tensor) and isinstance(value, Tensor) and value.dtype == given.dtype == torch.int64
    if words and value.shape == given.shape:  # type: ignore[attr-defined]
        return None
    if not isinstance(value, Tensor) or value.dim() != 2:
        return labels(name, value, count)
    if len(value) != count:
        raise ValueError(f"{name} holds {len(value)} labels for {count} images; give one row of labels per image")
    if value.dtype not in (torch.int64, torch.bool) and not value.is_floating_point():
        given = f"{name} is {value.dtype} of shape {tuple(value.shape)}"
        raise TypeError(f"{given}; give int64 or floats for labels (N, K)")
    if value.numel() and not (value.min() >= 0 and value.max() <= 1):
        low, high = value.min().item(), value.max().item()
        given = f"{name} of shape {tuple(value.shape)} has values in [{low:g}, {high:g}]"
        raise ValueError(f"{given}; they are to be in [0, 1], and class numbers int64 of shape (N,)")
    return None


def labels(name: str, value: object, count: int) -> None:
    """Raise unless `value` is an integer tensor `(count,)` of class numbers >= 0."""
    if not isinstance(value, Tensor) or value.dtype != torch.int64 or value.dim() != 1:
        what = f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{name} is {what}; give an int64 tensor of shape (N,)")
    if len(value) != count:
        raise ValueError(f"{name} holds {len(value)} labels for {count} images; give one label per image")
    if count and value.min() < 0:
        raise ValueError(f"{name} holds the negative label {value.min().item()}; class numbers start at 0")


def floats(name: str, value: object, form: str) -> None:
    """Raise unless `value` is a tensor of finite floats, not empty, with the dimensions that `form` names: "(N, K)"."""
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.layout != torch.strided:
        kind = type(value).__name__
        what = f"{value.dtype} of shape {tuple(value.shape)}, {value.layout}" if isinstance(value, Tensor) else kind
        raise TypeError(f"{name} is {what}; give a torch tensor of floats {form}")
    if value.dim() != len(form.replace(",)", ")").split(",")) or not value.numel():
        raise ValueError(f"{name} has shape {tuple(value.shape)}; give {form}, not empty")
    if wrong := int((~value.isfinite()).sum()):
        given = f"{wrong} numbers of {name} are not finite (NaN, inf)"
        raise ValueError(f"{given}; leave them out, or find where they come from")


def layer(model: nn.Module, name: str, kind: type[nn.Module] | None = None) -> nn.Module:
    """The layer of `model` called `name`, of class `kind`; else ValueError with the names there are."""
    layers = dict(model.named_modules())
    fits = [key for key, value in layers.items() if key and (kind is None or isinstance(value, kind))]
    if name not in fits:
        sort = "layer" if kind is None else f"{kind.__name__} layer"
        raise ValueError(f"layer={name!r} is not a {sort} of this model; choose one of {', '.join(fits) or '(none)'}")
    return layers[name]
