"""Local training of many small clients at once: their networks side by side in a leading dimension."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import vmap
from torch.nn.attention import SDPBackend, sdpa_kernel

from privlab import checks, networks
from privlab.sharing.federated import Client, mini_batches
from privlab.sharing.losses import Loss, cross_entropy, of_logits
from privlab.sharing.messages import Update

_AT_ONCE = 256  # clients side by side: more need memory, and are no faster
_ONE_BY_ONE = "train its clients one after the other"


@torch.enable_grad()
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
    side would share, for hooks on slopes, for a loss that is no mean, and where the clients' examples are of different
    forms.
    """
    checks.training(lr, epochs=epochs, batch=batch)
    checks.some("clients", clients)
    weights = {name: each.detach() for name, each in model.named_parameters() if each.requires_grad}
    if not weights:
        raise ValueError("none of the model's weights is trained, all are frozen; give a model with some that are not")
    _check(model, clients, loss)
    orders = [[part for _ in range(epochs) for part in mini_batches(each, batch, random)] for each in clients]
    longest = sorted(range(len(clients)), key=lambda row: -len(orders[row]))
    found: dict[int, Update] = {}
    for start in range(0, len(clients), _AT_ONCE):
        rows = longest[start : start + _AT_ONCE]
        some, order = [clients[row] for row in rows], [orders[row] for row in rows]
        found.update(zip(rows, _train(model, weights, some, order, lr, loss), strict=True))
    return [found[row] for row in range(len(clients))]


def _check(model: nn.Module, clients: Sequence[Client], loss: Loss) -> None:
    held = [(each.images, each.labels) for each in clients]
    forms = {(x.shape[1:], y.shape[1:], x.dtype, y.dtype) for x, y in held}
    if len(forms) > 1:
        raise ValueError(f"the clients' examples have {len(forms)} forms, {sorted(map(str, forms))}; give them one")
    hooks = [each._backward_hooks for each in model.parameters()]
    if any(hooks) or any(each._backward_hooks or each._backward_pre_hooks for each in model.modules()):
        raise ValueError(f"this network has hooks on slopes, which torch.func does not see; {_ONE_BY_ONE}")
    before = {name: each.clone() for name, each in model.named_buffers()}
    two = torch.cat([each.images[:2] for each in clients[:2]])[:2]
    answers = []
    for seed, parts in enumerate(([two], two.split(1))):
        with networks.dice(model, seed), networks.untouched(model), torch.no_grad():
            answers.append(torch.cat([networks.logits(model, part) for part in parts]))
            counted = any(not torch.equal(each, before[name]) for name, each in model.named_buffers())
        if counted:
            raise ValueError(f"this network counts while it trains (BatchNorm); {_ONE_BY_ONE}")
    size = answers[0].abs().nan_to_num(0.0, 0.0).max().item()  # of large numbers even a small one is inexact
    if not torch.allclose(answers[0], answers[1], 1e-3, 1e-5 + 1e-4 * size, equal_nan=True):
        raise ValueError(
            "this network draws while it trains (dropout), or what it answers to an example depends on those beside "
            f"it; {_ONE_BY_ONE}"
        )
    labels = torch.cat([each.labels for each in clients])
    made = answers[0][:1].expand(len(labels), -1)
    mean = of_logits(made, labels, loss)
    with _in_words():
        each = _each(loss)(made, labels)
    if not torch.allclose(each.mean(), mean, 1e-3, 1e-5, equal_nan=True):
        given = f"the loss is not the mean over examples ({mean:g}, and their mean {each.mean():g})"
        raise ValueError(f"{given}; {_ONE_BY_ONE}")


def _train(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    clients: Sequence[Client],
    orders: Sequence[Sequence[Tensor]],
    lr: float,
    loss: Loss,
) -> list[Update]:
    """Some clients side by side, those with most steps first: who has none left is left out."""
    held = [each.images for each in clients], [each.labels for each in clients]
    images, labels = (nn.utils.rnn.pad_sequence(part, batch_first=True) for part in held)
    chosen, parts = (each.to(images.device) for each in _filled(orders))
    rows = torch.arange(len(clients), device=images.device)[:, None]
    by_hand = _dense_step(model, lr) if loss is cross_entropy and labels.dim() == 2 else None
    step, used = by_hand or _any_step(model, loss, lr), set[str]()
    now = {name: each.expand(len(clients), *each.shape).clone() for name, each in weights.items()}
    for number in range(len(orders[0])):
        count = sum(len(order) > number for order in orders)
        here, part = chosen[number, :count], parts[number, :count]
        some = {name: each[:count] for name, each in now.items()}
        used |= step(some, images[rows[:count], here], labels[rows[:count], here], part)
    changes = {name: now[name].sub_(weights[name]) for name in now if name in used}
    return [Update({name: each[row] for name, each in changes.items()}, {}) for row in range(len(clients))]


Step = Callable[[Mapping[str, Tensor], Tensor, Tensor, Tensor], set[str]]


def _any_step(model: nn.Module, loss: Loss, lr: float) -> Step:
    """One step of SGD of clients side by side, in place: of their weights `(K, ...)`, inputs `(K, B, ...)`, labels, and
    what each example counts in the mean. It says which weights have taken part.
    """
    buffers = dict(model.named_buffers())
    answers = vmap(lambda own, images: networks.call(model, {**own, **buffers}, images))
    losses = _each(loss)

    def step(weights: Mapping[str, Tensor], images: Tensor, labels: Tensor, part: Tensor) -> set[str]:
        own = {name: each.detach().requires_grad_() for name, each in weights.items()}
        with _in_words(), sdpa_kernel(SDPBackend.MATH):  # the fused kernel of attention takes no clients side by side
            made = answers(own, images).flatten(0, 1)
            total = (losses(made, labels.flatten(0, 1)) * part.flatten()).sum()
            slopes = torch.autograd.grad(total, list(own.values()), allow_unused=True)
        found = {name: slope for name, slope in zip(own, slopes, strict=True) if slope is not None}
        for name, slope in found.items():
            weights[name].sub_(slope, alpha=lr)
        return set(found)

    return step


def _dense_step(model: nn.Module, lr: float) -> Step | None:
    """The same for dense layers with ReLU between them and cross-entropy, by hand and without a copy of the weights."""
    try:
        layers = networks.steps(model)
    except TypeError:
        return None
    kinds = "".join({nn.Flatten: "f", nn.Linear: "d", nn.ReLU: "r"}.get(type(layer), "?") for _, layer in layers)
    dense = {f"{name}.{kind}" for name, layer in layers if type(layer) is nn.Linear for kind in ("weight", "bias")}
    trained = {name for name, each in model.named_parameters() if each.requires_grad}
    own = any(each._forward_hooks or each._forward_pre_hooks or "forward" in vars(each) for each in model.modules())
    if not re.fullmatch("f?(dr)*d", kinds) or dense != trained or own:
        return None
    names = [name for name, layer in layers if type(layer) is nn.Linear]

    def step(weights: Mapping[str, Tensor], images: Tensor, labels: Tensor, part: Tensor) -> set[str]:
        inputs = [images.flatten(2)]
        for name in names:
            made = torch.baddbmm(weights[f"{name}.bias"][:, None], inputs[-1], weights[f"{name}.weight"].mT)
            inputs.append(made.relu())
        slope = made.softmax(2)
        slope.scatter_add_(2, labels[..., None], -torch.ones_like(slope[..., :1])).mul_(part[..., None])
        for name, given in zip(names[::-1], inputs[-2::-1], strict=True):
            below = torch.bmm(slope, weights[f"{name}.weight"]).mul_(given > 0) if name != names[0] else slope
            weights[f"{name}.weight"].baddbmm_(slope.mT, given, alpha=-lr)
            weights[f"{name}.bias"].sub_(slope.sum(1), alpha=lr)
            slope = below
        return trained

    return step


@contextmanager
def _in_words() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        given = f"clients with this network or loss cannot stand side by side ({error})"
        raise ValueError(f"{given}; {_ONE_BY_ONE}") from error


def _each(loss: Loss) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss of every example by itself, `(N,)`."""
    if loss is cross_entropy:
        return lambda logits, labels: nn.functional.cross_entropy(
            logits, labels.to(logits.dtype) if labels.dim() == 2 else labels, reduction="none"
        )
    return vmap(lambda logits, label: loss(logits[None], label[None]))


def _filled(orders: Sequence[Sequence[Tensor]]) -> tuple[Tensor, Tensor]:
    """Every client's mini-batches, int64 `(steps, clients, batch)`, and what each example counts in the mean: nothing
    where the first of a mini-batch fills it up.
    """
    counts = torch.tensor([[len(each) for each in order] + [0] * (len(orders[0]) - len(order)) for order in orders])
    real = torch.arange(int(counts.max())) < counts[..., None]
    chosen = torch.zeros(real.shape, dtype=torch.long)
    chosen[real] = torch.cat([each for order in orders for each in order]).cpu()
    chosen = torch.where(real, chosen, chosen[..., :1])
    return chosen.transpose(0, 1), (real / counts.clamp_min(1)[..., None]).transpose(0, 1)
