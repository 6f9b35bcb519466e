"""What a clock tells: which of several known things a machine did, from how long it took.

A single time is noise. So calls are timed in turn, in random order, many times, and compared by ranks: a machine that
is slower for a while is so for all of them, and one call that was interrupted counts as one.
"""

from collections.abc import Callable, Mapping
from time import perf_counter_ns

import torch
from torch import Tensor

from privlab import checks, runtime
from privlab.attacks.threat import threats

(THREAT,) = threats("side_channel")


def times(
    calls: Mapping[str, Callable[[], object]],
    *,
    repeats: int,
    seed: int = 0,
    clock: Callable[[], int] = perf_counter_ns,
) -> dict[str, Tensor]:
    """How long each call takes, in seconds: float64 `(repeats,)` by name, in the order in which they were made.

    Each round makes every call once, in a random order of its own; a first round is not counted. On a card a call has
    to wait for what it started (`torch.cuda.synchronize`). clock: nanoseconds.
    """
    if not calls:
        raise ValueError("there are no calls; give a dict of functions that take nothing")
    checks.whole("repeats", repeats)
    random = runtime.generator(runtime.derive(seed, "times"))
    names = list(calls)
    found = torch.zeros(len(names), repeats + 1, dtype=torch.float64)
    for turn in range(repeats + 1):
        for place in torch.randperm(len(names), generator=random).tolist():
            start = clock()
            calls[names[place]]()
            found[place, turn] = (clock() - start) / 1e9
    return dict(zip(names, found[:, 1:], strict=True))


def tell(reference: Mapping[str, Tensor], seen: Tensor) -> tuple[str, float]:
    """The class whose median time is closest, by its ratio, to that of the times `seen` `(R,)`, and its separation.

    That is in [0.5, 1]: how often one of the times seen lies on the same side of one of the next class, `auc` or 1
    minus it, which is about 0.5 where the two cannot be told apart.
    reference: times of two classes or more, as `times` gives them; of another machine of the kind, or another hour.
    Raises ValueError for times that are not above 0.
    """
    if len(reference) < 2:
        raise ValueError(f"reference has {len(reference)} classes; give the times of two or more")
    away = {name: (_middle(each) - _middle(seen)).abs().item() for name, each in reference.items()}
    first, second = sorted(away, key=lambda name: away[name])[:2]
    share = auc(seen, reference[second])
    return first, max(share, 1 - share)


def auc(one: Tensor, other: Tensor) -> float:
    """How often a time of `one` `(R,)` is longer than one of `other` `(S,)`, ties counting half; 0.5 tells nothing."""
    checks.floats("one", one, "(R,)")
    checks.floats("other", other, "(S,)")
    return ((one[:, None] > other).double() + (one[:, None] == other).double() / 2).mean().item()


def _middle(given: Tensor) -> Tensor:
    checks.floats("times", given, "(R,)")
    if given.min() <= 0:
        raise ValueError(f"times hold {given.min().item():g} s; the clock is too coarse: let each call do more work")
    return given.log().median()
