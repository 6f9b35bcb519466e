"""Cut a network in two after a named layer."""

from torch import nn

from privlab import networks


def cut(model: nn.Sequential, after: str) -> tuple[nn.Sequential, nn.Sequential]:
    """The layers up to and including `after`, and the rest; both share their weights with `model`.

    A layer that is used twice stands in both places, as long as it has no weights that the cut would divide.
    Raises ValueError for a name that is not a layer of the model, or is its last one, and for weights or buffers that
    both sides would need; TypeError for a network whose layers do not simply follow one another.
    """
    layers = networks.steps(model)
    names = [name for name, _ in layers]
    if after not in names[:-1]:
        raise ValueError(f"cut={after!r} is no place to cut this model; choose one of {', '.join(names[:-1])}")
    place = names.index(after) + 1
    first, second = (networks.sequential(part, model.training) for part in (layers[:place], layers[place:]))
    _check_apart(first, second, after)
    return first, second


def _check_apart(first: nn.Sequential, second: nn.Sequential, after: str) -> None:
    held = {id(value): name for name, value in [*first.named_parameters(), *first.named_buffers()]}
    for name, value in [*second.named_parameters(), *second.named_buffers()]:
        if id(value) in held:
            given = f"cut={after!r} parts {held[id(value)]!r} from {name!r}, which are one and the same numbers"
            raise ValueError(f"{given}; cut where both are on one side, or give each its own")
