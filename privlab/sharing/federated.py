"""Federated learning in one process: the gradient of a mini-batch, FedSGD, FedAvg and FedBN."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from privlab import checks, networks, runtime
from privlab.sharing.losses import Craft, Loss, binary_cross_entropy, cross_entropy, right, value
from privlab.sharing.messages import Gradient, Update, apply, average, mean_update, usable

__all__ = ["Client", "Gradient", "Loss", "Update", "accuracy", "average", "binary_cross_entropy", "cross_entropy"]
__all__ += ["fed_avg", "fed_bn", "fed_sgd", "gradient", "local_update", "mini_batches", "update_as_gradient"]
Trainer = Callable[..., Iterable[Update]]


@dataclass(frozen=True)
class Client:
    """One participant: its images `(N, C, H, W)`, signals `(N, C, L)` or tokens `(N, length)`, and their labels.

    Labels are what the loss takes: class numbers `(N,)`, `(N, K)`, or a word a token, see `checks.targets`.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        checks.inputs("images", self.images)
        checks.targets("labels", self.labels, len(self.images), self.images)


def gradient(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    loss: Loss = cross_entropy,
    layers: Sequence[str] = (),
    seed: int | torch.Generator = 0,
) -> Gradient:
    """The gradient of the mean loss over one mini-batch, which the client sends to the server.

    images: `(B, C, H, W)` in [0, 1], signals `(B, C, L)`, or tokens `(B, length)`; labels: what the loss takes, `(B,)`
    for `cross_entropy`. The model is left as it was. `layers` restricts the gradient to the named layers and what is in
    them, which saves time where only those are read. seed: of dropout. A weight that two layers share has the name of
    the first. Raises ValueError where nothing is trained, and ValueError or TypeError for what does not fit.
    Source: "Curious", section 2, eq. 1 (there G_i).
    """
    checks.inputs("images", images)
    checks.targets("labels", labels, len(images), images)
    inside = {id(each) for name in layers for each in checks.layer(model, name).parameters()}
    trained = {name: each for name, each in model.named_parameters() if each.requires_grad}
    wanted = {name: each for name, each in trained.items() if not layers or id(each) in inside}
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with networks.untouched(model), torch.enable_grad():
        with networks.dice(model, seed):
            made = value(model, images, labels, loss)
        found = _slopes(made, wanted)
        buffers = _changed(model, before)
    return Gradient(found, len(images), buffers)


def _slopes(loss: Tensor, wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
    used = bool(wanted) and loss.requires_grad
    slopes = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True) if used else []
    pairs = zip(wanted, slopes, strict=False)
    found = {name: each.to_dense() if each.is_sparse else each for name, each in pairs if each is not None}
    if not found:
        raise ValueError("none of these weights is trained: all are frozen, or the loss does not use them; give others")
    return found


def _changed(model: nn.Module, before: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The buffers that are no longer what they were."""
    now = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    return {name: each for name, each in now.items() if name not in before or not torch.equal(each, before[name])}


def mini_batches(client: Client, size: int, random: torch.Generator) -> list[Tensor]:
    """One epoch: the numbers of a client's examples in random order, `size` at a time (the last may be shorter)."""
    order = torch.randperm(len(client.labels), generator=random).to(client.labels.device)
    return list(order.split(size))


def fed_sgd(
    model: networks.Model,
    clients: Sequence[Client],
    *,
    rounds: int = 10,
    batch: int = 32,
    lr: float = 0.1,
    loss: Loss = cross_entropy,
    seed: int = 0,
    listen: Callable[[int, int, Gradient], None] | None = None,
    send: Callable[[int, int, nn.Module], nn.Module] | None = None,
    protect: Callable[[int, int, Gradient], Gradient] | None = None,
) -> networks.Model:
    """FedSGD: in each round every client sends the gradient of one mini-batch, and the server takes their mean.

    Returns a trained copy. `listen(round, client, gradient)` is called with everything that the server
    receives: that is where an honest-but-curious server reads along. `send(round, client, model)` is what a
    malicious server sends in place of the shared model; gradients of another model are read and thrown
    away. `protect(round, client, gradient)` is what the client does to its gradient first. Buffers, such as the running
    averages of BatchNorm, are shared as `Gradient.buffers` and averaged by examples.
    Source: McMahan et al. 2017, Algorithm 1 with E = 1; "Curious", eq. 1.
    """
    checks.training(lr, rounds=rounds, batch=batch)
    checks.some("clients", clients)
    model = networks.duplicate(model)
    random = runtime.generator(runtime.derive(seed, "fed_sgd"))
    chance = runtime.generator(runtime.derive(seed, "dropout"))
    for number in range(rounds):
        received = []
        for index, client in enumerate(clients):
            chosen = mini_batches(client, batch, random)[0]
            sent = send(number, index, model) if send else model
            answer = gradient(sent, client.images[chosen], client.labels[chosen], loss=loss, seed=chance)
            answer = protect(number, index, answer) if protect else answer
            if sent is model:
                received.append(answer)
            if listen:
                listen(number, index, answer)
        if not received:  # all were trapped: nothing to learn from
            continue
        mean = average(received)
        apply(model, Update({name: -lr * mean[name] for name in mean}, mean.buffers))
    return model


@torch.enable_grad()
def local_update(
    model: nn.Module,
    client: Client,
    *,
    epochs: int,
    batch: int,
    lr: float,
    random: torch.Generator,
    loss: Loss = cross_entropy,
    craft: Craft | None = None,
) -> Update:
    """What one client sends after local training: its new weights less those it was given, by name, and its buffers.

    It trains a copy of the model, in the mode that it is in. What is frozen or unused is absent. craft: as of
    `predictions.fit`. Raises ValueError where nothing is trained.
    """
    local = networks.duplicate(model)
    weights = {name: each for name, each in local.named_parameters() if each.requires_grad}
    if not weights:
        raise ValueError("none of the model's weights is trained, all are frozen; give a model with some that are not")
    optimiser = torch.optim.SGD(weights.values(), lr=lr)
    chance = networks.beside(random)
    used = set()
    for _ in range(epochs):
        for chosen in mini_batches(client, batch, random):
            images, labels = client.images[chosen], client.labels[chosen]
            images = craft(local, images, labels) if craft else images
            optimiser.zero_grad()
            with networks.dice(local, chance):
                made = value(local, images, labels, loss)
            made.backward()
            optimiser.step()
            used |= {name for name, each in weights.items() if each.grad is not None}
    before = dict(model.named_parameters())
    changes = {name: (each - before[name]).detach() for name, each in weights.items() if name in used}
    return Update(changes, _changed(local, dict(model.named_buffers())))


def update_as_gradient(update: Mapping[str, Tensor], examples: int, *, lr: float, steps: int) -> Gradient:
    """A client's update after `steps` of SGD, as the mean gradient along its way: -update / (lr x steps).

    What a server that wants to read an update makes of it first. examples: how many images the client has.
    """
    checks.number("lr", lr, 0, open_low=True)
    checks.whole("steps", steps)
    gradients = {name: -change / (lr * steps) for name, change in update.items()}
    return Gradient(gradients, examples, update.buffers if isinstance(update, Update) else {})


def _without(update: Update, layers: tuple[str, ...]) -> Update:
    parts = update, update.buffers
    sent, buffers = ({name: each for name, each in part.items() if not name.startswith(layers)} for part in parts)
    return Update(sent, buffers)


def fed_avg(
    model: networks.Model,
    clients: Sequence[Client],
    *,
    rounds: int = 3,
    epochs: int = 1,
    batch: int = 32,
    lr: float = 0.1,
    fraction: float = 1.0,
    loss: Loss = cross_entropy,
    seed: int = 0,
    listen: Callable[[int, int, Update], None] | None = None,
    train: Trainer | None = None,
    protect: Callable[[int, int, Update], Update] | None = None,
    equal: bool = False,
    aggregate: Callable[[Sequence[Update]], Update] | None = None,
) -> networks.Model:
    """FedAvg: in each round every client trains for `epochs` and sends its update; the server averages them.

    Clients count by their numbers of examples, or `equal`ly, as client-level privacy asks for. Buffers, such as the
    running averages of BatchNorm, are shared and averaged as weights are; of whole numbers the largest is taken.
    `fed_bn` keeps BatchNorm at the clients. Returns a trained copy of `model`. `listen(round, client, update)` is
    called with every update that the server receives; `protect(round, client, update)` is what a client does to it.
    fraction: C, the share of the clients that take part in a round, one at least, drawn anew each time. train: what
    trains the clients of a round, in place of `local_update` of one after the other: `together.local_updates` trains
    many small ones at once, `poisoning.Colluders` has some of them lie. aggregate: what the server takes in place of
    the mean, such as those of `defences.aggregation`: clients count alike, and an update of another model or with
    numbers that are not finite is dropped, with one warning a round that names the clients. A round of which nothing is
    left changes nothing. Source: McMahan et al. 2017, Algorithm 1.
    """
    checks.training(lr, rounds=rounds, epochs=epochs, batch=batch)
    checks.number("fraction", fraction, 0, 1, open_low=True)
    checks.some("clients", clients)
    shared, random = networks.duplicate(model), runtime.generator(runtime.derive(seed, "fed_avg"))
    draw = runtime.generator(runtime.derive(seed, "clients"))
    setting: dict[str, Any] = {"epochs": epochs, "batch": batch, "lr": lr, "loss": loss, "random": random}
    for number in range(rounds):
        chosen = list(range(len(clients)))
        if fraction < 1:
            chosen = torch.randperm(len(clients), generator=draw)[: max(1, round(fraction * len(clients)))].tolist()
        some = [clients[index] for index in chosen]
        updates = train(shared, some, **setting) if train else (local_update(shared, each, **setting) for each in some)
        heard = _heard(number, chosen, updates, listen, protect)
        if aggregate:
            sound, broken = usable(list(heard), *map(dict, (shared.named_parameters(), shared.named_buffers())))
            if broken:
                warnings.warn(_dropped(number, {chosen[place]: fault for place, fault in broken.items()}), stacklevel=2)
            total = aggregate(sound) if sound else Update({}, {})
        else:
            total = mean_update(heard, [1 if equal else len(each.labels) for each in some])
        apply(shared, total)
    return shared


def _dropped(number: int, faults: Mapping[int, str]) -> str:
    """One line for all clients of a round whose updates no rule can take: a network that blew up has all of them."""
    said = []
    for fault in dict.fromkeys(faults.values()):
        who = [str(client) for client, each in faults.items() if each == fault]
        said.append(f"what client{'s' * (len(who) > 1)} {', '.join(who)} sent, it {fault}")
    return f"round {number}: dropped {'; '.join(said)}"


def _heard(
    number: int,
    chosen: Sequence[int],
    updates: Iterable[Update],
    listen: Callable[[int, int, Update], None] | None,
    protect: Callable[[int, int, Update], Update] | None,
) -> Iterator[Update]:
    for index, update in zip(chosen, updates, strict=True):
        update = protect(number, index, update) if protect else update
        if listen:
            listen(number, index, update)
        yield update


def fed_bn(
    model: networks.Model,
    clients: Sequence[Client],
    *,
    rounds: int = 3,
    epochs: int = 1,
    batch: int = 32,
    lr: float = 0.1,
    loss: Loss = cross_entropy,
    seed: int = 0,
    listen: Callable[[int, int, Update], None] | None = None,
) -> list[networks.Model]:
    """FedBN: as `fed_avg`, but each client keeps its BatchNorm layers, weights and running averages, to itself.

    Returns one network a client: they share all but those layers. The server, and `listen`, never see them.
    Raises ValueError for a model without BatchNorm. Source: Li et al. 2021, "FedBN", Algorithm 1.
    """
    own = [networks.duplicate(model) for _ in clients]
    kinds = nn.modules.batchnorm._BatchNorm
    norms = tuple(f"{name}." for name, layer in model.named_modules() if isinstance(layer, kinds))
    if not norms:
        raise ValueError(f"this {type(model).__name__} has no BatchNorm to keep at the clients; use fed_avg")
    checks.training(lr, rounds=rounds, epochs=epochs, batch=batch)
    checks.some("clients", clients)
    random = runtime.generator(runtime.derive(seed, "fed_avg"))
    counts = [len(client.labels) for client in clients]
    for number in range(rounds):
        updates = []
        for index, (mine, client) in enumerate(zip(own, clients, strict=True)):
            updates.append(local_update(mine, client, epochs=epochs, batch=batch, lr=lr, random=random, loss=loss))
            if listen:
                listen(number, index, _without(updates[-1], norms))
        mean = mean_update([_without(update, norms) for update in updates], counts)
        for mine, update in zip(own, updates, strict=True):
            kept = {name: change for name, change in update.items() if name.startswith(norms)}
            counted = {name: each for name, each in update.buffers.items() if name.startswith(norms)}
            apply(mine, Update({**mean, **kept}, {**mean.buffers, **counted}))
    return own


def accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of right decisions, in [0, 1]: measured in eval mode, 512 images at a time.

    The model is left as it was. labels: `(N,)`, for one logit 0 or 1; soft labels `(N, K)`, whose largest is meant; or
    0 and 1 as int64 `(N, K)`, a decision each.
    """
    checks.targets("labels", labels, len(images))
    with networks.measured(model):
        made = torch.cat([networks.logits(model, part) for part in images.split(512)])
    return right(made, labels)
