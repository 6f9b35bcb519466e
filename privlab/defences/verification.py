"""Verification: does a client's update do what it should, on examples that the server keeps to itself?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from privlab import checks, networks
from privlab.defences import aggregation
from privlab.sharing.losses import Loss, cross_entropy, value
from privlab.sharing.messages import Update, apply


@dataclass
class TrapSet:
    """What `fed_avg(aggregate=…)` takes: the `keep` updates that lower the loss on a trap set most go into `rule`.

    model: the network as it is before the first round, which is followed from then on: give each training one of its
    own. images, labels: the trap set, which no client sees. scores: of each round how far each update lowered the loss.
    Source: Xie et al. 2019, "Zeno", definition 2 (without its term of length); the talk (verification).
    Raises ValueError for more to keep than came.
    """

    model: nn.Module
    images: Tensor
    labels: Tensor
    keep: int
    rule: Callable[[Sequence[Update]], Update] = aggregation.mean
    loss: Loss = cross_entropy
    scores: list[list[float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        checks.whole("keep", self.keep)
        checks.inputs("images", self.images)
        checks.targets("labels", self.labels, len(self.images))
        self.model = networks.duplicate(self.model)

    def __call__(self, updates: Sequence[Update]) -> Update:
        checks.whole("keep", self.keep, 1, len(updates))
        before = self._after(Update({}, {}))
        after = [self._after(update) for update in updates]
        self.scores.append([before - each for each in after])
        order = sorted(range(len(updates)), key=after.__getitem__)
        total = self.rule([updates[place] for place in order[: self.keep]])
        self.model = _moved(self.model, total)
        return total

    @torch.no_grad()
    def _after(self, update: Update) -> float:
        tried = _moved(self.model, update)
        with networks.measured(tried):
            made = value(tried, self.images, self.labels, self.loss).item()
        return made if made == made else float("inf")


def _moved(model: nn.Module, update: Update) -> nn.Module:
    moved = networks.duplicate(model)
    apply(moved, update)
    return moved
