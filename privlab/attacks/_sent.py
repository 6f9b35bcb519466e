"""What victims sent, in the forms in which trials are compared with it: each is made once, not at every step."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

_KEPT = 16  # sets of trials whose forms are kept: an attack asks for the same ones step after step


@dataclass(frozen=True)
class Sent:
    """A part of what was sent, one for all trials or `(T, ...)`. axes: how many are its own, the last ones."""

    value: Tensor
    axes: int = 1

    @cached_property
    def norm(self) -> Tensor:
        """Its squared norm, `()` or `(T,)`."""
        return self.value.flatten(-self.axes).square().sum(-1)

    @cached_property
    def double(self) -> "Sent":
        """The same in double precision."""
        return Sent(self.value.double(), self.axes)


class Chosen:
    """What the victims of some trials sent: `(*weight)` by name, or `(T, *weight)` where they are several."""

    def __init__(self, values: Mapping[str, Tensor], axes: Mapping[str, int]) -> None:
        self._values, self._axes = values, axes
        self._made: dict[tuple[str, ...], Sent] = {}

    def weight(self, name: str) -> Sent:
        """Of one weight, in its shape."""
        return self._made.setdefault((name,), Sent(self._values[name], self._axes[name]))

    def flat(self, names: Sequence[str]) -> Sent:
        """Of some weights, in one row."""
        key = ("flat", *names)
        if key not in self._made:
            self._made[key] = Sent(torch.cat([self._values[name].flatten(-self._axes[name]) for name in names], -1))
        return self._made[key]


class Victims:
    """What each of V victims sent, `(V, *weight)` by name."""

    def __init__(self, values: Mapping[str, Tensor]) -> None:
        self.values = values
        self._axes = {name: value.dim() - 1 for name, value in values.items()}
        self._kept: OrderedDict[tuple[int, ...], Chosen] = OrderedDict()

    def of(self, victim: Tensor) -> Chosen:
        """For trials on these victims, `(T,)`."""
        numbers = tuple(victim.tolist())
        key = numbers[:1] if len(set(numbers)) == 1 else numbers
        if key not in self._kept:
            of = key[0] if len(key) == 1 else victim
            self._kept[key] = Chosen({name: value[of] for name, value in self.values.items()}, self._axes)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return self._kept[key]
