"""How much of a model a copy of it is: whether the two decide alike."""

import torch
from torch import Tensor

from privlab import checks


def fidelity(one: Tensor, other: Tensor) -> float:
    """The share of inputs on which two models decide alike, in [0, 1].

    Each gives logits or probabilities `(N, K)`, or decisions, int64 `(N,)`. One logit decides by its sign. Two models
    that are right in shares p and q agree in p + q - 1 at least, so that fidelity is read beside accuracy.
    Raises ValueError for answers of another form. Source: Jagielski et al. 2020, section 3.
    """
    first, second = _decided("one", one), _decided("other", other)
    if len(first) != len(second):
        raise ValueError(f"one has {len(first)} answers and other {len(second)}; give those to the same inputs")
    return (first == second.to(first.device)).double().mean().item()


def _decided(name: str, given: Tensor) -> Tensor:
    if isinstance(given, Tensor) and given.dtype == torch.int64 and given.dim() == 1 and len(given):
        return given
    checks.floats(name, given, "(N, K)")
    return (given[:, 0] > 0).long() if given.shape[1] == 1 else given.argmax(1)
