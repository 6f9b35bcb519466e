"""Networks as Flower's records, and what a client changed in one."""

import torch
from flwr.app import ArrayRecord
from torch import nn

from privlab.sharing.messages import Update


def record(model: nn.Module) -> ArrayRecord:
    """A network's weights and buffers as the message that Flower sends, by name and in their order."""
    return ArrayRecord({name: each.detach().cpu() for name, each in model.state_dict().items()})


def load(model: nn.Module, arrays: ArrayRecord) -> nn.Module:
    """`model` itself, with the weights and buffers of a message.

    Raises ValueError for a message about another model: names that are missing or too many, or other shapes.
    """
    held = model.state_dict()
    given = arrays.to_torch_state_dict()
    odd = [f"{name} is in one of them alone" for name in sorted(held.keys() ^ given.keys())] + [
        f"{name} is {tuple(given[name].shape)}, and {tuple(each.shape)} here"
        for name, each in held.items()
        if name in given and given[name].shape != each.shape
    ]
    if odd:
        raise ValueError(
            f"this message is about another model: {'; '.join(odd[:3])}{' …' if len(odd) > 3 else ''}; the server and "
            f"its clients must build the same {type(model).__name__}"
        )
    model.load_state_dict(given)
    return model


def difference(model: nn.Module, before: ArrayRecord, after: ArrayRecord) -> Update:
    """What a client trained: its new weights less those it was sent, and its buffers; `model` tells which are which.

    Flower's clients send weights, so that a change is known to the rounding of the weight that it was added to.
    Raises ValueError for records about another model, or with numbers that are not finite.
    """
    old, new = before.to_torch_state_dict(), after.to_torch_state_dict()
    weights = {name: each for name, each in model.named_parameters() if each.requires_grad}
    for name in weights:
        if name not in new or new[name].shape != old[name].shape:
            raise ValueError(f"this answer is about another model: it has no {name} of shape {tuple(old[name].shape)}")
        if not torch.isfinite(new[name]).all():
            raise ValueError(f"this answer has numbers in {name} that are not finite")
    changes = {name: (new[name] - old[name]).to(weight.device) for name, weight in weights.items()}
    return Update(changes, {name: new[name] for name, _ in model.named_buffers() if name in new})
