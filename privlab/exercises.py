"""What an exercise of the book says of an answer: what it got, what it wants, and whether that is reached."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

REACHED, NOT_YET, NOTHING = "✓ reached", "✗ not yet", "… nothing yet"


def check(
    answer: Any, *, above: float | None = None, below: float | None = None, equal: Any = None, unit: str = ""
) -> None:
    """Print whether an answer is what the exercise wants, in words that say what both are.

    answer: a number, or a tensor or array of one; `...` says that there is none yet. above, below: it is more, or less,
    or with both between. equal: it is this number, word, sequence or tensor, floats up to a part in a million. unit:
    what numbers are counted in. An answer of another kind is named, and never an error. Raises TypeError if nothing is
    asked for.
    """
    if above is None and below is None and equal is None:
        raise TypeError("check() needs above=, below= or equal=")
    wanted, after = _wanted(above, below, equal), f" {unit}" if unit else ""
    if answer is ...:
        print(f"{NOTHING}; wanted: {wanted}{after}")
        return
    number = _number(answer)
    if equal is not None:
        reached = _same(answer, equal)
    elif number is None:
        print(f"{NOT_YET}: got {_shown(answer)}; wanted: a number, {wanted}{after}")
        return
    else:
        reached = (above is None or number > above) and (below is None or number < below) and number == number
    got = f"{_rounded(number)}{after}" if number is not None else _shown(answer)
    print(f"{REACHED}: {got}" if reached else f"{NOT_YET}: got {got}; wanted: {wanted}{after}")


def _wanted(above: float | None, below: float | None, equal: Any) -> str:
    if equal is not None:
        return _shown(equal)
    if above is not None and below is not None:
        return f"between {above:g} and {below:g}"
    return f"more than {above:g}" if above is not None else f"less than {below:g}"


def _number(answer: Any) -> float | None:
    """The one real number that it is, else None."""
    if isinstance(answer, bool):
        return None
    try:
        values = np.asarray(answer.detach().cpu() if isinstance(answer, Tensor) else answer)
        return float(values.reshape(-1)[0]) if values.size == 1 and values.dtype.kind in "iuf" else None
    except Exception:  # whatever a student's object does when it is read as numbers
        return None


def _rounded(number: float) -> str:
    """To four digits, and below one to two: a page has no room for more, nor has anybody a use."""
    return f"{number:.0f}" if number.is_integer() else f"{number:.4g}" if abs(number) >= 1 else f"{number:.2g}"


def _same(answer: Any, equal: Any) -> bool:
    """Whether it is equal, floats up to a part in a million; False for what cannot be compared."""
    try:
        if isinstance(equal, str | bool):
            return type(answer) is type(equal) and answer == equal
        found, wanted = (torch.as_tensor(each).detach().cpu().double() for each in (answer, equal))
        return found.shape == wanted.shape and torch.allclose(found, wanted, rtol=1e-6, atol=1e-9)
    except Exception:
        return False


def _shown(answer: Any) -> str:
    """A short name of what was given."""
    if isinstance(answer, Tensor | np.ndarray) and (answer.ndim > 1 or len(answer.reshape(-1)) > 6):
        return f"a {type(answer).__name__} of shape {tuple(answer.shape)}"
    if isinstance(answer, Tensor | np.ndarray):
        return str(answer.tolist())
    text = repr(answer)
    return text if len(text) <= 60 else f"a {type(answer).__name__} ({text[:50]}…)"
