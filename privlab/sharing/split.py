"""Split learning in one process: a network cut in two, activations up the wire, their gradients down."""

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from privlab import checks, models, networks, runtime
from privlab.sharing.federated import Client, mini_batches
from privlab.sharing.losses import Loss, cross_entropy, of_logits, right
from privlab.sharing.messages import mean_by_examples

WEIGHTS = ("handed_on", "averaged")
Penalty = Callable[[Tensor, Tensor], Tensor]  # the owner's own loss of (images, activations)


class Protect(Protocol):
    """What a data owner does to activations `(N, ...)` before they leave: a function of the same shape, and a seed."""

    def __call__(self, activations: Tensor, *, seed: int | torch.Generator) -> Tensor: ...


@dataclass
class Traffic:
    """Bytes that crossed the wire: activations and labels up, gradients of activations down, owners' weights."""

    activations: int = 0
    labels: int = 0
    gradients: int = 0
    weights: int = 0


@dataclass(frozen=True)
class Split:
    """A network in two segments: the data owners' and the server's. `traffic`: what its training has sent."""

    owner: nn.Sequential
    server: nn.Sequential
    traffic: Traffic

    @property
    def whole(self) -> nn.Sequential:
        """Both segments as one network, which shares their weights and has the names of their layers.

        Raises ValueError for segments with a name in common.
        """
        layers = [*networks.steps(self.owner), *networks.steps(self.server)]
        return networks.sequential(layers, self.owner.training)


def segments(model: nn.Sequential, cut: str) -> Split:
    """A copy of the network, cut after the layer called `cut`.

    Raises ValueError for a name that is not one of its layers, or is the last, with those there are, and like
    `models.cut` for weights that both sides would need.
    """
    owner, server = models.cut(networks.duplicate(model), cut)
    return Split(owner, server, Traffic())


def send(
    owner: nn.Module, images: Tensor, *, protect: Protect | None = None, seed: int | torch.Generator = 0
) -> Tensor:
    """What a data owner sends when it asks for predictions: `(N, C, H, W)` -> activations `(N, ...)`.

    images: or signals `(N, C, L)`, or tokens `(N, length)`. protect: a defence on the release. The segment is used in
    eval mode, and left as it was.
    """
    checks.inputs("images", images)
    random = runtime.generator(seed)
    with networks.measured(owner):
        sent = torch.cat([networks.outputs(owner, part) for part in images.split(512)])
    with torch.no_grad():
        return protect(sent, seed=random) if protect else sent


def accuracy(
    parts: Split, images: Tensor, labels: Tensor, *, protect: Protect | None = None, seed: int | torch.Generator = 0
) -> float:
    """The share of images that the server classifies right from what it is sent, in [0, 1].

    labels: as in `federated.accuracy`. Both segments are used in eval mode, and left as they were.
    """
    checks.targets("labels", labels, len(images))
    sent = send(parts.owner, images, protect=protect, seed=seed)
    with networks.measured(parts.server):
        logits = torch.cat([networks.logits(parts.server, part, "activations") for part in sent.split(512)])
    return right(logits, labels)


def train(
    model: nn.Sequential,
    owners: Sequence[Client],
    *,
    cut: str,
    rounds: int = 1,
    epochs: int = 1,
    batch: int = 32,
    lr: float = 1e-3,
    loss: Loss = cross_entropy,
    weights: str = "handed_on",
    protect: Protect | None = None,
    penalty: Penalty | None = None,
    seed: int = 0,
    listen: Callable[[int, int, Tensor], None] | None = None,
    after: Callable[[int, Split], None] | None = None,
) -> Split:
    """Split learning: an owner sends the activations of a mini-batch, the server sends back their gradient.

    In each of `rounds`, every owner trains for `epochs` with Adam. The owners share one segment: `handed_on`, each
    goes on from the weights of the one before; `averaged`, each begins the round with the same weights, the server
    keeps a copy of its segment for each, and both are averaged by examples, as in FedAvg. The server knows the labels.
    protect: what owners do to activations before they leave, in training too. penalty: a loss of (images, what is
    sent) that the owner adds for its own segment; the server sees nothing of it. A model in eval mode is put into
    train mode; of one that is in train mode, parts in eval mode stay so.
    `listen(round, owner, activations)` is called with everything that the server receives, and `after(round, parts)`
    with the network as it is after each round. Returns trained copies of the two segments.
    Raises ValueError for no owners, an unknown layer, or numbers out of range.
    Source: Gupta and Raskar 2018; "Zen", sections 3.1.1 and 5.2; SplitNN, appendix B, Algorithm 1.
    """
    checks.training(lr, rounds=rounds, epochs=epochs, batch=batch)
    checks.one_of("weights", weights, WEIGHTS)
    checks.some("data owners", owners)
    parts, random = segments(model, cut), runtime.generator(runtime.derive(seed, "split"))
    if not model.training:
        parts.owner.train(), parts.server.train()
    wire = _Wire(parts.traffic, loss, protect, penalty, random)
    optimisers = _optimisers(parts, lr)
    for number in range(rounds):
        start, trained = _state(parts), []
        for index, client in enumerate(owners):
            if weights == "averaged":
                parts.whole.load_state_dict(start)
                optimisers = _optimisers(parts, lr)
            wire.listen = functools.partial(listen, number, index) if listen else None
            for _ in range(epochs):
                for chosen in mini_batches(client, batch, random):
                    wire.step(parts, optimisers, client.images[chosen], client.labels[chosen])
            trained.append((_state(parts), len(client.labels)))
        if weights == "averaged":
            parts.whole.load_state_dict(mean_by_examples(trained))
        if len(owners) > 1:  # one way from owner to owner; up to the server, and down again, where they are averaged
            trips = 2 * len(owners) if weights == "averaged" else len(owners)
            weighed = [*parts.owner.parameters(), *parts.owner.buffers()]
            parts.traffic.weights += trips * sum(each.nbytes for each in weighed)
        if after:
            after(number, parts)
    return parts


def retrain_server(
    parts: Split,
    owners: Sequence[Client],
    *,
    protect: Protect | None = None,
    epochs: int = 1,
    batch: int = 32,
    lr: float = 1e-3,
    loss: Loss = cross_entropy,
    seed: int = 0,
) -> Split:
    """The server's segment trained on while the owners' stays as it is, so that it learns to bear their noise.

    Returns copies of both segments. It takes the server's help: an owner cannot do it alone.
    Source: SplitNN, section 5. Raises ValueError for numbers out of range.
    """
    checks.training(lr, epochs=epochs, batch=batch)
    parts, random = copy.deepcopy(parts), runtime.generator(runtime.derive(seed, "retrain"))
    wire = _Wire(parts.traffic, loss, protect, None, random)
    frozen = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)  # moves nothing of the owner's
    optimisers = frozen, torch.optim.Adam(parts.server.parameters(), lr=lr, fused=True)
    for _ in range(epochs):
        for client in owners:
            for chosen in mini_batches(client, batch, random):
                wire.step(parts, optimisers, client.images[chosen], client.labels[chosen])
    return parts


Optimisers = tuple[torch.optim.Optimizer, torch.optim.Optimizer]


@dataclass
class _Wire:
    """One mini-batch up the wire and back, counted."""

    traffic: Traffic
    loss: Loss
    protect: Protect | None
    penalty: Penalty | None
    random: torch.Generator
    listen: Callable[[Tensor], None] | None = None

    def __post_init__(self) -> None:
        self.chance = networks.beside(self.random)

    @torch.enable_grad()
    def step(self, parts: Split, optimisers: Optimisers, images: Tensor, labels: Tensor) -> None:
        with networks.dice(parts.owner, self.chance):
            activations = networks.outputs(parts.owner, images)
        sent = self.protect(activations, seed=self.random) if self.protect else activations
        if not sent.is_floating_point():
            raise ValueError(f"what is sent is {sent.dtype}, which has no gradient; cut after the embedding")
        received = sent.detach().requires_grad_()  # all that the server has
        if self.listen:
            self.listen(received.detach().clone())
        for optimiser in optimisers:
            optimiser.zero_grad()
        with networks.dice(parts.server, self.chance):
            logits = networks.logits(parts.server, received, "activations")
        of_logits(logits, labels, self.loss).backward()
        returned = received.grad
        assert returned is not None
        self.traffic.activations += received.nbytes
        self.traffic.labels += labels.nbytes
        self.traffic.gradients += returned.nbytes
        if sent.requires_grad:  # a segment without weights, such as `flatten`, has nothing to learn
            own = [] if self.penalty is None else [self.penalty(images, sent)]
            torch.autograd.backward([sent, *own], [returned, *([None] * len(own))])
        for optimiser in optimisers:
            optimiser.step()


def _optimisers(parts: Split, lr: float) -> Optimisers:
    nothing = [torch.zeros(1, requires_grad=True)]
    weights = (list(segment.parameters()) or nothing for segment in (parts.owner, parts.server))
    owner, server = (torch.optim.Adam(each, lr=lr, fused=True) for each in weights)
    return owner, server


def _state(parts: Split) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in parts.whole.state_dict().items()}
