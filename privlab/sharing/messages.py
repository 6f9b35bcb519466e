"""What clients of federated learning send, the server's means of it, and updates as rows of numbers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from privlab import checks

_OTHER = "is of another model"


@dataclass(frozen=True)
class Gradient:
    """What one client sends in one step: the mean gradient of its mini-batch, by parameter name.

    Of what is trained: a frozen weight, and one that the loss does not use, is absent. `examples` is the size of the
    mini-batch, which a server that weights its clients is told. `buffers`: what the network counted along in that
    step, such as the running averages of BatchNorm; they are sent too, and no defence of the gradient touches them.
    """

    tensors: Mapping[str, Tensor]
    examples: int
    buffers: Mapping[str, Tensor] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __iter__(self):
        return iter(self.tensors)

    def layer(self, name: str) -> tuple[Tensor, Tensor]:
        """The gradients of the weight `(N, L)` and the bias `(N,)` of the layer called `name`."""
        try:
            return self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        except KeyError:
            has = [key.removesuffix(".bias") for key in self.tensors if key.endswith(".bias")]
            has = [key for key in has if f"{key}.weight" in self.tensors]
            given = f"layer={name!r}: this gradient has no weight and bias of that name"
            raise ValueError(f"{given}; choose one of {', '.join(has) or '(none)'}") from None


class Update(dict[str, Tensor]):
    """What one client sends after local training: its new weights less those it was given, by name.

    Of what was trained. `buffers` are the new values of what the network counted along (running averages of BatchNorm).
    """

    buffers: Mapping[str, Tensor]

    def __init__(self, changes: Mapping[str, Tensor], buffers: Mapping[str, Tensor]) -> None:
        super().__init__(changes)
        self.buffers = buffers


def average(gradients: Sequence[Gradient]) -> Gradient:
    """The mean of several clients' gradients, each client counting the same.

    What one client did not train counts as zero. Buffers are averaged by numbers of examples. Source: "Curious", eq. 1.
    Raises ValueError for none at all, and for gradients of other shapes.
    """
    checks.some("gradients to average", gradients)
    mean = {}
    for name in dict.fromkeys(name for g in gradients for name in g):
        parts = [g[name] for g in gradients if name in g.tensors]
        if len({part.shape for part in parts}) > 1:
            shapes = ", ".join(str(tuple(part.shape)) for part in parts)
            raise ValueError(f"the gradients of {name!r} are {shapes}; average those of one model")
        parts += [torch.zeros_like(parts[0])] * (len(gradients) - len(parts))
        mean[name] = torch.stack(parts).mean(0)
    buffers = mean_by_examples([(g.buffers, g.examples) for g in gradients])
    return Gradient(mean, sum(g.examples for g in gradients), buffers)


def mean_by_examples(sent: Sequence[tuple[Mapping[str, Tensor], int]]) -> dict[str, Tensor]:
    """Tensors averaged by examples among those who send them; of whole numbers, such as counters, the largest."""
    mean = {}
    for name in dict.fromkeys(name for buffers, _ in sent for name in buffers):
        parts = [(buffers[name], count) for buffers, count in sent if name in buffers]
        total = sum(count for _, count in parts)
        if parts[0][0].is_floating_point():
            mean[name] = torch.stack([part * (count / total) for part, count in parts]).sum(0)
        else:
            mean[name] = torch.stack([part for part, _ in parts]).amax(0)
    return mean


def mean_update(updates: Iterable[Update], counts: Sequence[int]) -> Update:
    """The mean of clients' updates, each by its number of examples; what one did not train has not changed there."""
    mean: dict[str, Tensor] = {}
    buffers = []
    for update, count in zip(updates, counts, strict=True):
        for name, change in update.items():
            mean.setdefault(name, torch.zeros_like(change)).add_(change * (count / sum(counts)))
        buffers.append((update.buffers, count))
    return Update(mean, mean_by_examples(buffers))


@torch.no_grad()
def apply(model: nn.Module, update: Update) -> None:
    """Change the model by what is in the update, in place: weights by addition, buffers to the new ones."""
    weights, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    for name, change in update.items():
        weights[name].add_(change)
    for name, new in update.buffers.items():
        buffers[name].copy_(new)


def stack(updates: Sequence[Update]) -> Tensor:
    """Updates as rows `(n, D)`, each client's weights one after the other.

    Raises ValueError for none, and, with the client, for another model's and for numbers that are not finite.
    """
    checks.some("updates", updates)
    found = faults(updates, updates[0])
    found |= {place: _OTHER for place, update in enumerate(updates) if update.keys() != updates[0].keys()}
    for place, fault in found.items():
        raise ValueError(f"update {place} {fault}; leave it out, or give those of one model")
    parts = [update[name].detach().flatten() for update in updates for name in updates[0]]
    return torch.cat(parts).view(len(updates), -1) if parts else torch.zeros(len(updates), 0)


def unstack(row: Tensor, updates: Sequence[Update]) -> Update:
    """The update whose weights are the numbers `(D,)`, the way back from `stack`; of each buffer that most clients send
    the median (the lower of two), which a few clients cannot move.
    """
    first = updates[0]
    parts = row.split([each.numel() for each in first.values()])
    changes = {name: part.view_as(first[name]) for name, part in zip(first, parts, strict=True)}
    names = dict.fromkeys(name for each in updates for name in each.buffers)
    sent = {name: [each.buffers[name] for each in updates if name in each.buffers] for name in names}
    most = {name: torch.stack(each) for name, each in sent.items() if 2 * len(each) > len(updates)}
    return Update(changes, {name: each.sort(0).values[(len(each) - 1) // 2] for name, each in most.items()})


def usable(
    updates: Sequence[Update], model: Mapping[str, Tensor], buffers: Mapping[str, Tensor] | None = None
) -> tuple[list[Update], dict[int, str]]:
    """The updates that a rule can take, and of the others, by their places, why not.

    Those are none that `faults` names. What a client did not train, and others did, has not changed there.
    """
    broken = faults(updates, model, buffers)
    sound = [update for place, update in enumerate(updates) if place not in broken]
    names = dict.fromkeys(name for update in sound for name in update)
    zeros = {name: torch.zeros_like(model[name].detach()) for name in names}
    return [Update({**zeros, **update}, update.buffers) for update in sound], broken


def faults(
    updates: Sequence[Update], model: Mapping[str, Tensor], buffers: Mapping[str, Tensor] | None = None
) -> dict[int, str]:
    """Which updates no rule can take, by their places, and why: weights that `model` has not, or has in another shape,
    and so `buffers` (those that come first where not given); weights that are no floats; numbers that are not finite.
    """
    found = {}
    if buffers is None:
        buffers = {name: each for update in reversed(updates) for name, each in update.buffers.items()}
    for place, update in enumerate(updates):
        numbers = (*update.values(), *update.buffers.values())
        parts = [*((model, *each) for each in update.items()), *((buffers, *each) for each in update.buffers.items())]
        if any(name not in known or known[name].shape != each.shape for known, name, each in parts):
            found[place] = _OTHER
        elif not all(each.is_floating_point() for each in update.values()):
            found[place] = "has weights that are no floats"
        elif not all(each.sum().isfinite() or each.isfinite().all() for each in numbers):
            found[place] = "has numbers that are not finite"
    return found
