"""Cut a network in two after a named layer."""

from collections import OrderedDict

from torch import nn


def cut(model: nn.Sequential, after: str) -> tuple[nn.Sequential, nn.Sequential]:
    """The layers up to and including `after`, and the rest; both share their weights with `model`.

    Raises ValueError for a name that is not a layer of the model, or is its last one.
    """
    names = [name for name, _ in model.named_children()]
    if after not in names[:-1]:
        raise ValueError(f"cut={after!r} is no place to cut this model; choose one of {', '.join(names[:-1])}")
    place = names.index(after) + 1
    layers = list(model.named_children())
    return nn.Sequential(OrderedDict(layers[:place])), nn.Sequential(OrderedDict(layers[place:]))
