"""A card that is not there: its tensors say that they lie on the device `meta`, and hold their numbers on the CPU.

As on a real one, tensors of two devices do not mix, unless one is a single number, or indices of the CPU; and a
generator of the CPU draws nothing there. What leaves its inputs' device is so found on any machine.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

PLACE = torch.device("meta")
aten = torch.ops.aten
_INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
_MOVES = {aten.copy_.default, aten._to_copy.default}


class There(Tensor):
    """A tensor on the card, and its numbers."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> "There":
        form = {"strides": inner.stride(), "storage_offset": inner.storage_offset(), "dtype": inner.dtype}
        made = Tensor._make_wrapper_subclass(cls, inner.size(), **form, device=PLACE)
        made.inner = inner
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return _computed(func, args, kwargs or {})


class Card(TorchDispatchMode):
    """Within, `.to("meta")` and `device="meta"` lead to the card."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return _computed(func, args, kwargs or {})


def _computed(func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    there = [each for each in given if isinstance(each, There)]
    device = kwargs.get("device")
    on_card = bool(there) if device is None else torch.device(device).type == PLACE.type
    if func not in _MOVES:
        _refuse_mixed(func, args, given, there)
    if on_card and (generator := kwargs.get("generator")) is not None:
        raise RuntimeError(f"{func}: a generator of the {generator.device.type} draws nothing on a card")
    kwargs = {**kwargs, "device": torch.device("cpu")} if device is not None else kwargs
    values = tree_map(lambda each: each.inner if isinstance(each, There) else each, (args, kwargs))
    made = func(*values[0], **values[1])
    if func is aten.copy_.default:
        return args[0]
    same = {id(each.inner): each for each in there}  # what is changed in place stays the tensor that it is
    if not on_card:
        return made
    return tree_map(lambda each: same.get(id(each), There(each)) if isinstance(each, Tensor) else each, made)


def _refuse_mixed(func: Any, args: tuple, given: list[Tensor], there: list[Tensor]) -> None:
    indices = {id(each) for each in args[1] if each is not None} if func in _INDEXED else set()
    here = [each for each in given if not isinstance(each, There) and each.dim() and id(each) not in indices]
    if there and here:
        raise RuntimeError(
            f"{func}: tensors of the CPU, {[tuple(each.shape) for each in here]}, beside those of a card"
        )
