"""Local training of many small clients at once: their networks side by side in a leading dimension."""

import functools
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import vmap

from privlab import checks, networks
from privlab.sharing.federated import Client, mini_batches
from privlab.sharing.losses import Loss, cross_entropy, value
from privlab.sharing.messages import Update

_AT_ONCE = 256  # clients side by side: more need memory, and are no faster


def local_updates(
    model: nn.Module,
    clients: Sequence[Client],
    *,
    epochs: int,
    batch: int,
    lr: float,
    random: torch.Generator,
    loss: Loss = cross_entropy,
) -> list[Update]:
    """What each client sends after local training: as `federated.local_update` of one after the other, to rounding.

    One step of all clients is a single batched product for each layer, so that many small clients with small networks
    (a head on frozen features) need a small part of the time. `loss` is a mean over examples. Mini-batches are drawn
    from `random` as the loop draws them.
    Raises ValueError for a network that draws or counts while it trains (dropout, BatchNorm), which clients side by
    side would share, and where the clients' examples are of different forms.
    """
    checks.whole("epochs", epochs)
    checks.whole("batch", batch)
    checks.number("lr", lr, 0, open_low=True)
    if not clients:
        raise ValueError("there are no clients; give at least one")
    own = networks.duplicate(model)
    weights = {name: each.detach() for name, each in own.named_parameters() if each.requires_grad}
    if not weights:
        raise ValueError("none of the model's weights is trained, all are frozen; give a model with some that are not")
    _check(own, clients, loss)
    orders = [[part for _ in range(epochs) for part in mini_batches(each, batch, random)] for each in clients]
    found = []
    for start in range(0, len(clients), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        found += _train(own, weights, clients[some], orders[some], batch, lr, loss)
    return found


def _check(model: nn.Module, clients: Sequence[Client], loss: Loss) -> None:
    forms = {(tuple(each.images.shape[1:]), tuple(each.labels.shape[1:]), each.images.dtype) for each in clients}
    if len(forms) > 1:
        raise ValueError(f"the clients' examples have {len(forms)} forms, {sorted(map(str, forms))}; give them one")
    before = {name: each.clone() for name, each in model.named_buffers()}
    answers = []
    for seed in (0, 1):
        with networks.dice(model, seed), networks.untouched(model), torch.no_grad():
            answers.append(value(model, clients[0].images[:2], clients[0].labels[:2], loss))
            counted = any(not torch.equal(each, before[name]) for name, each in model.named_buffers())
        if counted:
            raise ValueError("this network counts while it trains (BatchNorm); train its clients one after the other")
    if not torch.allclose(answers[0], answers[1], rtol=0, atol=0, equal_nan=True):
        raise ValueError("this network draws while it trains (dropout); train its clients one after the other")
    if clients[0].labels.dim() == 1:
        largest = max(int(each.labels.max()) for each in clients)
        value(model, clients[0].images[:1], clients[0].labels.new_tensor([largest]), loss)  # all classes are known


def _train(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    clients: Sequence[Client],
    orders: Sequence[Sequence[Tensor]],
    batch: int,
    lr: float,
    loss: Loss,
) -> list[Update]:
    """Some clients side by side. A mini-batch that is shorter, or absent, is filled up with examples of no weight."""
    images, labels = (
        nn.utils.rnn.pad_sequence([getattr(each, part) for each in clients], batch_first=True)
        for part in ("images", "labels")
    )
    chosen, parts = (each.to(images.device) for each in _filled(orders, batch))
    rows = torch.arange(len(clients), device=images.device)[:, None]
    buffers = dict(model.named_buffers())
    answers = vmap(lambda own, images: networks.call(model, {**own, **buffers}, images))
    losses = _each(loss)
    now = {name: each.expand(len(clients), *each.shape).clone().requires_grad_() for name, each in weights.items()}
    for here, part in zip(chosen, parts, strict=True):
        made = answers(now, images[rows, here]).flatten(0, 1)
        total = (losses(made, labels[rows, here].flatten(0, 1)) * part.flatten()).sum()
        slopes = torch.autograd.grad(total, list(now.values()), allow_unused=True)
        with torch.no_grad():
            for each, slope in zip(now.values(), slopes, strict=True):
                if slope is not None:
                    each.sub_(slope, alpha=lr)
    changes = {name: now[name].detach() - weights[name] for name in now}
    return [Update({name: each[row] for name, each in changes.items()}, {}) for row in range(len(clients))]


def _each(loss: Loss) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of every example by itself, `(N,)`."""
    if loss is cross_entropy:
        return functools.partial(nn.functional.cross_entropy, reduction="none")
    return vmap(lambda logits, label: loss(logits[None], label[None]))


def _filled(orders: Sequence[Sequence[Tensor]], batch: int) -> tuple[Tensor, Tensor]:
    """Every client's mini-batches, int64 `(steps, clients, batch)`, and what each example counts in the mean; 0 where
    it only fills up.
    """
    counts = torch.tensor(
        [[len(each) for each in order] + [0] * (max(map(len, orders)) - len(order)) for order in orders]
    )
    real = torch.arange(batch) < counts[..., None]
    chosen = torch.zeros(real.shape, dtype=torch.long)
    chosen[real] = torch.cat([each for order in orders for each in order]).cpu()
    return chosen.transpose(0, 1), (real / counts.clamp_min(1)[..., None]).transpose(0, 1)
