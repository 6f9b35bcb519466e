"""Federated learning in one process: the gradient of a mini-batch, FedSGD and FedAvg."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from privlab import checks, runtime

Loss = Callable[[Tensor, Tensor], Tensor]
Model = TypeVar("Model", bound=nn.Module)
cross_entropy: Loss = nn.functional.cross_entropy


def binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """The loss of a model with one output: logits `(N, 1)`, labels 0 or 1 `(N,)`."""
    return nn.functional.binary_cross_entropy_with_logits(logits[:, 0], labels.to(logits.dtype))


@dataclass(frozen=True)
class Gradient:
    """What one client sends in one step: the mean gradient of its mini-batch, by parameter name.

    `examples` is the size of the mini-batch, which a server that weights its clients is told.
    """

    tensors: Mapping[str, Tensor]
    examples: int

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
            raise ValueError(
                f"layer={name!r}: this gradient has no weight and bias of that name; choose one of {', '.join(has)}"
            ) from None


@dataclass(frozen=True)
class Client:
    """One participant: its images `(N, C, H, W)` and their labels `(N,)`."""

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        checks.images("images", self.images)
        checks.labels("labels", self.labels, len(self.images))


def gradient(
    model: nn.Module, images: Tensor, labels: Tensor, *, loss: Loss = cross_entropy, layers: Sequence[str] = ()
) -> Gradient:
    """The gradient of the mean loss over one mini-batch, which the client sends to the server.

    images: `(B, C, H, W)` in [0, 1], or tokens `(B, length)`; labels: `(B,)`. The model is left as it was.
    `layers` restricts the gradient to the named layers, which saves time where only those are read.
    Source: "Curious", section 2, eq. 1 (there G_i).
    """
    checks.inputs("images", images)
    checks.labels("labels", labels, len(images))
    for name in layers:
        checks.layer(model, name)
    wanted = {
        name: parameter
        for name, parameter in model.named_parameters()
        if not layers or name.rpartition(".")[0] in layers
    }
    before = [buffer.clone() for buffer in model.buffers()]
    value = loss(model(images), labels)
    found = torch.autograd.grad(value, list(wanted.values()))
    for buffer, old in zip(model.buffers(), before, strict=True):  # BatchNorm in train mode has counted along
        buffer.copy_(old)
    return Gradient(dict(zip(wanted, found, strict=True)), len(images))


def average(gradients: Sequence[Gradient]) -> Gradient:
    """The mean of several clients' gradients, each client counting the same.

    Source: "Curious", eq. 1. Raises ValueError for none at all.
    """
    if not gradients:
        raise ValueError("there are no gradients to average; give at least one")
    mean = {name: torch.stack([g[name] for g in gradients]).mean(0) for name in gradients[0]}
    return Gradient(mean, sum(g.examples for g in gradients))


def mini_batches(client: Client, size: int, random: torch.Generator) -> list[Tensor]:
    """One epoch: the numbers of a client's examples in random order, `size` at a time (the last may be shorter)."""
    order = torch.randperm(len(client.labels), generator=random).to(client.labels.device)
    return list(order.split(size))


def fed_sgd(
    model: Model,
    clients: Sequence[Client],
    *,
    rounds: int = 10,
    batch: int = 32,
    lr: float = 0.1,
    seed: int = 0,
    listen: Callable[[int, int, Gradient], None] | None = None,
    send: Callable[[int, int, nn.Module], nn.Module] | None = None,
    protect: Callable[[int, int, Gradient], Gradient] | None = None,
) -> Model:
    """FedSGD: in each round every client sends the gradient of one mini-batch, and the server takes their mean.

    Returns a trained copy. `listen(round, client, gradient)` is called with everything that the server
    receives: that is where an honest-but-curious server reads along. `send(round, client, model)` is what a
    malicious server sends in place of the shared model; gradients of another model are read and thrown
    away. `protect(round, client, gradient)` is what the client does to its gradient first.
    Source: McMahan et al. 2017, Algorithm 1 with E = 1; "Curious", eq. 1.
    """
    checks.whole("rounds", rounds)
    checks.whole("batch", batch)
    checks.number("lr", lr, 0, open_low=True)
    model = copy.deepcopy(model)
    random = runtime.generator(runtime.derive(seed, "fed_sgd"))
    for number in range(rounds):
        received = []
        for index, client in enumerate(clients):
            chosen = mini_batches(client, batch, random)[0]
            sent = send(number, index, model) if send else model
            answer = gradient(sent, client.images[chosen], client.labels[chosen])
            answer = protect(number, index, answer) if protect else answer
            if sent is model:
                received.append(answer)
            if listen:
                listen(number, index, answer)
        if not received:  # all were trapped: nothing to learn from
            continue
        mean = average(received)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.sub_(lr * mean[name])
    return model


def local_update(
    model: nn.Module, client: Client, *, epochs: int, batch: int, lr: float, random: torch.Generator
) -> dict[str, Tensor]:
    """What one client sends after local training: its new weights less those it was given, by name."""
    local = copy.deepcopy(model)
    optimiser = torch.optim.SGD(local.parameters(), lr=lr)
    for _ in range(epochs):
        for chosen in mini_batches(client, batch, random):
            optimiser.zero_grad()
            cross_entropy(local(client.images[chosen]), client.labels[chosen]).backward()
            optimiser.step()
    before = dict(model.named_parameters())
    return {name: (value - before[name]).detach() for name, value in local.named_parameters()}


def update_as_gradient(update: Mapping[str, Tensor], examples: int, *, lr: float, steps: int) -> Gradient:
    """A client's update after `steps` of SGD, as the mean gradient along its way: -update / (lr x steps).

    What a server that wants to read an update makes of it first. examples: how many images the client has.
    """
    checks.number("lr", lr, 0, open_low=True)
    checks.whole("steps", steps)
    return Gradient({name: -value / (lr * steps) for name, value in update.items()}, examples)


def fed_avg(
    model: Model,
    clients: Sequence[Client],
    *,
    rounds: int = 3,
    epochs: int = 1,
    batch: int = 32,
    lr: float = 0.1,
    seed: int = 0,
    listen: Callable[[int, int, dict[str, Tensor]], None] | None = None,
) -> Model:
    """FedAvg: in each round every client trains for `epochs` and sends its update; the server averages them.

    Clients count by their numbers of examples. Returns a trained copy of `model`.
    `listen(round, client, update)` is called with every update that the server receives.
    Source: McMahan et al. 2017, Algorithm 1.
    """
    for name, value in (("rounds", rounds), ("epochs", epochs), ("batch", batch)):
        checks.whole(name, value)
    checks.number("lr", lr, 0, open_low=True)
    if not clients:
        raise ValueError("there are no clients; give at least one")
    model = copy.deepcopy(model)
    random = runtime.generator(runtime.derive(seed, "fed_avg"))
    total = sum(len(client.labels) for client in clients)
    for number in range(rounds):
        mean = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
        for index, client in enumerate(clients):
            update = local_update(model, client, epochs=epochs, batch=batch, lr=lr, random=random)
            if listen:
                listen(number, index, update)
            for name, change in update.items():
                mean[name] += change * (len(client.labels) / total)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.add_(mean[name])
    return model


@torch.no_grad()
def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of images whose largest logit is their label's, in [0, 1]."""
    return (model(images).argmax(1) == labels).float().mean().item()
