"""One run of a network of the zoo for each public function that takes one: against a loop of plain autograd."""

import copy
import inspect
import random
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from privlab import models, networks
from privlab.attacks import (
    decoder,
    deep_leakage,
    gradient_extraction,
    inverting_gradients,
    label_inference,
    text_extraction,
    transmission,
    trap_weights,
)
from privlab.defences import dp_sgd, soteria
from privlab.models import initialisation
from privlab.sharing import federated, losses, split
from tests.zoo import Animal

close = partial(torch.testing.assert_close, rtol=1e-3, atol=1e-5)


# --- what is obvious ---------------------------------------------------------------------------------------------


def loss_of(animal: Animal, logits: Tensor, labels: Tensor) -> Tensor:
    if animal.labels in ("binary", "several"):
        return F.binary_cross_entropy_with_logits(logits, labels.view(logits.shape).to(logits.dtype))
    if animal.labels == "soft":
        return -(labels * logits.log_softmax(1)).sum(1).mean()
    return F.nll_loss(logits.log_softmax(1), labels)


def slopes(animal: Animal, model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """By `backward`, which writes to the model and its buffers."""
    model.zero_grad()
    loss_of(animal, model(images.clone()), labels).backward()
    return {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}


def trained(animal: Animal, images: Tensor, labels: Tensor, kind=torch.optim.SGD, lr: float = 0.1) -> nn.Module:
    """A fresh one after one step."""
    model = animal.build()
    optimiser = kind([each for each in model.parameters() if each.requires_grad], lr=lr)
    loss_of(animal, model(images.clone()), labels).backward()
    optimiser.step()
    return model


def mean_state(states: list[dict[str, Tensor]], counts: list[int]) -> dict[str, Tensor]:
    return {
        name: sum(state[name] * (n / sum(counts)) for state, n in zip(states, counts, strict=True))
        if states[0][name].is_floating_point()
        else torch.stack([state[name] for state in states]).amax(0)
        for name in states[0]
    }


def state(model: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers, also those that are not in the state dict."""
    return {k: v.detach().clone() for k, v in [*model.named_parameters(), *model.named_buffers()]}


def answer(model: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        return copy.deepcopy(model).eval()(inputs.clone())


def correct(animal: Animal, logits: Tensor, labels: Tensor) -> float:
    if animal.labels in ("several", "binary"):
        return ((logits > 0) == labels.view(logits.shape).bool()).float().mean().item()
    return (logits.argmax(1) == (labels.argmax(1) if labels.dim() == 2 else labels)).float().mean().item()


def cuts(model: nn.Module) -> list[str]:
    """Where it can be cut; the error of the last place if it cannot be at all."""
    if not isinstance(model, nn.Sequential):
        split.segments(model, "anywhere")
    found, words = [], ValueError("no place to cut")
    for name in list(model._modules)[:-1]:
        try:
            split.segments(model, name)
            found.append(name)
        except ValueError as error:
            words = error
    if not found:
        raise words
    return found


def modes(model: nn.Module) -> list[bool]:
    return [layer.training for layer in model.modules()]


def trace(model: nn.Module) -> list[object]:
    """All that a function could leave behind in a network or in the global generators."""
    layers = list(model.modules())
    numpy_state = np.random.get_state()[1].tolist()  # noqa: NPY002 - the global one is what is watched
    return [
        modes(model),
        [(name, each.requires_grad, each.grad is None, id(each)) for name, each in model.named_parameters()],
        {name: each.tolist() for name, each in state(model).items()},
        [(id(each), each.requires_grad) for each in model.buffers()],
        [[len(h) for h in (m._forward_hooks, m._forward_pre_hooks, m._backward_hooks)] for m in layers],
        [sorted(vars(layer)) for layer in layers],
        torch.get_rng_state().tolist(),
        [random.getstate(), numpy_state, torch.is_grad_enabled()],
    ]


# --- one run for each function -----------------------------------------------------------------------------------


def run_gradient(animal: Animal, model: nn.Module) -> None:
    images, labels = animal.batch()
    found = federated.gradient(model, images, labels, loss=animal.loss)
    plain = animal.build()
    before = state(plain)
    with networks.dice(plain, 0):
        wanted = slopes(animal, plain, images, labels)
    assert set(found) == set(wanted)
    for name in wanted:
        close(found[name], wanted[name])
    changed = {name: each for name, each in plain.named_buffers() if not torch.equal(each, before[name])}
    assert set(found.buffers) == set(changed)
    for name, each in changed.items():
        close(found.buffers[name], each)


def two_clients(animal: Animal) -> tuple[list[federated.Client], list[int]]:
    return [federated.Client(*animal.batch(count, seed=count)) for count in (4, 2)], [4, 2]


def run_fed_avg(animal: Animal, model: nn.Module, train: Callable = federated.fed_avg) -> None:
    clients, counts = two_clients(animal)
    how = {"rounds": 1, "batch": 9, "lr": 0.1, "loss": animal.loss}
    found = train(model, clients, **how, seed=1)
    if animal.chance:
        again, other = train(model, clients, **how, seed=1), train(model, clients, **how, seed=2)
        assert all(torch.equal(a, b) for a, b in zip(found.parameters(), again.parameters(), strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(found.parameters(), other.parameters(), strict=True))
        return
    each = [state(trained(animal, client.images, client.labels)) for client in clients]
    weights = {name for name, _ in found.named_parameters()}
    by_client = [1, 1] if train is federated.fed_sgd else counts
    for name, wanted in mean_state(each, counts).items():
        wanted = mean_state(each, by_client)[name] if name in weights else wanted
        close(state(found)[name], wanted, msg=name)


def run_local_update(animal: Animal, model: nn.Module) -> None:
    images, labels = animal.batch()
    how = {"epochs": 1, "batch": 9, "lr": 0.1, "loss": animal.loss}
    client = federated.Client(images, labels)
    found = federated.local_update(model, client, **how, random=torch.Generator().manual_seed(0))
    with networks.dice(model, 0):
        wanted = slopes(animal, animal.build(), images, labels)
    assert set(found) == set(wanted)
    if not animal.chance:
        for name in wanted:
            close(found[name], -0.1 * wanted[name])


def run_fed_bn(animal: Animal, model: nn.Module) -> None:
    clients, counts = two_clients(animal)
    found = federated.fed_bn(model, clients, rounds=1, batch=9, lr=0.1, loss=animal.loss)
    each = [state(trained(animal, client.images, client.labels)) for client in clients]
    norms = [n for n, layer in model.named_modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    for mine, own in zip(found, each, strict=True):
        for name, wanted in mean_state(each, counts).items():
            close(state(mine)[name], own[name] if name.rpartition(".")[0] in norms else wanted)


def run_accuracy(animal: Animal, model: nn.Module) -> None:
    images, labels = animal.batch(40)
    close(federated.accuracy(model, images, labels), correct(animal, answer(model, images), labels))


def run_value(animal: Animal, model: nn.Module) -> None:
    images, labels = animal.batch()
    other = animal.build()
    with networks.dice(model, 0):
        found = losses.value(other, images, labels, animal.loss)
    with networks.dice(model, 0):
        close(found, loss_of(animal, animal.build()(images.clone()), labels))


def run_segments(animal: Animal, model: nn.Module) -> None:
    images, _ = animal.batch()
    for cut in cuts(model):
        for network in (split.segments(model, cut).whole, nn.Sequential(*models.cut(animal.build(), cut))):
            whole = animal.build()
            with networks.dice(model, 0):
                wanted = whole(images)
            with networks.dice(model, 0):
                close(network(images), wanted)


def run_send(animal: Animal, model: nn.Module) -> None:
    images, labels = animal.batch(20)
    for cut in cuts(model):
        parts = split.segments(model, cut)
        place = list(model._modules).index(cut) + 1
        prefix = nn.Sequential(*list(animal.build()._modules.values())[:place])
        close(split.send(parts.owner, images), answer(prefix, images))
        close(split.accuracy(parts, images, labels), correct(animal, answer(model, images), labels))
        assert modes(parts.whole) == modes(split.segments(model, cut).whole)


def run_split_train(animal: Animal, model: nn.Module) -> None:
    images, labels = animal.batch()
    client, how = federated.Client(images, labels), {"batch": 9, "lr": 1e-2, "loss": animal.loss}
    plain = animal.build()
    if not plain.training:
        plain.train()
    places = cuts(model)
    optimiser = torch.optim.Adam(plain.parameters(), lr=1e-2, fused=True)
    with networks.dice(plain, 0):
        heard = slopes(animal, plain, images, labels)
    optimiser.step()
    for cut in [cut for cut in places if images.is_floating_point() or cut == "words"][:3]:
        found = split.train(model, [client], cut=cut, **how)
        if any(isinstance(layer, nn.Dropout) for layer in model.modules()):
            again = split.train(model, [client], cut=cut, **how)
            assert all(torch.equal(state(found.whole)[name], each) for name, each in state(again.whole).items())
            continue
        for name, wanted in state(plain).items():
            told = heard[name].abs() > 1e-5 if name in heard else ...  # Adam makes steps of rounding errors, too
            close(state(found.whole)[name][told], wanted[told], rtol=1e-2, atol=1e-3)


def run_retrain(animal: Animal, model: nn.Module) -> None:
    images, labels = animal.batch()
    cut = cuts(model)[0]
    parts = split.segments(model, cut)
    before = state(parts.whole)
    found = split.retrain_server(parts, [federated.Client(images, labels)], batch=9, lr=1e-2, loss=animal.loss)
    assert all(torch.equal(before[name], each) for name, each in state(parts.whole).items())
    owners = {name for name, _ in parts.owner.named_parameters()}
    assert all(torch.equal(each, before[name]) for name, each in found.whole.named_parameters() if name in owners)
    assert any(not torch.equal(each, before[name]) for name, each in found.whole.named_parameters())


def run_initialise(animal: Animal, model: nn.Module) -> None:
    own = animal.build()
    before = state(own)
    models.initialise(own, "xavier_uniform", 3)
    for name, each in own.named_parameters():
        if each.dim() > 1:
            assert not torch.equal(each, before[name])
        else:
            close(each.detach(), torch.zeros_like(each) if name.endswith("bias") else before[name])
    models.initialise(own, "framework", 3)
    assert not any((each == 0).all() for name, each in own.named_parameters() if not name.endswith("bias"))


def run_draw(animal: Animal, model: nn.Module) -> None:
    own = animal.build()
    before = state(own)
    initialisation.draw_like_pytorch(own, 3)
    drawn = (nn.Linear, nn.Conv1d, nn.Conv2d)
    inside = {id(each) for layer in own.modules() if isinstance(layer, drawn) for each in layer.parameters(False)}
    for name, each in own.named_parameters():
        assert torch.equal(each, before[name]) != (id(each) in inside)


def run_mirror(animal: Animal, model: nn.Module) -> None:
    images, _ = animal.batch()
    for cut in cuts(model):
        owner = split.segments(model, cut).owner
        found = decoder.mirror(owner, animal.shape)
        sent = split.send(owner, images)
        assert found(sent).shape == images.shape
        assert found(sent).dtype == images.dtype


def run_decoder(animal: Animal, model: nn.Module) -> None:
    images, _ = animal.batch(8)
    owner = split.segments(model, cuts(model)[-1]).owner
    before = modes(owner)
    network = decoder.fit(owner, images, epochs=2, steps=1, seed=1)
    assert modes(owner) == before
    blank = decoder.mirror(owner, animal.shape, seed=1)
    again = decoder.train(blank, split.send(owner, images), images, epochs=2)
    for made in (network, again):
        close(decoder.reconstruct(made, split.send(owner, images)), answer(made, split.send(owner, images)))


def run_labels(animal: Animal, model: nn.Module) -> None:
    if animal.name == "batch norm of dense":  # it refuses a single image itself
        return
    for seed in range(4):
        images, labels = animal.batch(1, seed)
        sent = federated.gradient(model, images, labels, loss=animal.loss)
        found = label_inference.labels(model, [sent], shape=animal.shape, loss=animal.loss)
        assert found.tolist() == [labels.tolist()]
    many = federated.gradient(model, *animal.batch(9), loss=animal.loss)
    assert label_inference.labels(model, [many], shape=animal.shape, loss=animal.loss).shape == (1, 9)


def run_plant(animal: Animal, model: nn.Module) -> None:
    images, _ = animal.batch()
    layer = dense_of(animal)
    found = trap_weights.plant(model, 0.8, layer=layer, seed=3)
    slow = animal.build()
    dense = slow.get_submodule(layer)
    with torch.no_grad():
        dense.weight.copy_(trap_weights.draw(*dense.weight.shape, seed=3).weights(0.8))
        dense.bias.zero_()
    close(answer(found, images), answer(slow, images))
    assert [p.requires_grad for p in found.parameters()] == [p.requires_grad for p in model.parameters()]


def dense_of(animal: Animal) -> str:
    """The layer that is attacked: the first dense one."""
    linear = (n for n, layer in animal.build().named_modules() if isinstance(layer, nn.Linear))
    return animal.dense or next(linear, "none")


def run_tune(animal: Animal, model: nn.Module) -> None:
    images, labels = animal.batch()
    layer = dense_of(animal)

    def client(sent: nn.Module) -> federated.Gradient:
        return federated.gradient(sent, images, labels, loss=animal.loss)

    size = model.get_submodule(layer).in_features if layer != "none" else 1
    best, counts = trap_weights.tune(model, client, [0.5, 0.9], shape=(size,), layer=layer)
    assert best == [0.5, 0.9][counts.index(max(counts))]


def run_transmit(animal: Animal, model: nn.Module) -> None:
    images, _ = animal.batch()
    layer = dense_of(animal)
    made = transmission.transmit(model, animal.shape, layer=layer, hidden=True)
    close(networks.input_of(made.model, layer, images)[:, made.columns], images.flatten(1) * made.scales)
    neurons = made.model.get_submodule(layer).out_features
    rows = torch.randn(neurons, images[0].numel(), generator=torch.Generator().manual_seed(0)).to(images)
    loaded = made.load(rows)
    seen: list[Tensor] = []
    loaded.get_submodule(layer).register_forward_hook(lambda _m, _i, output: seen.append(output.clone()))
    with torch.no_grad():
        loaded.eval()(images.clone())
    own = model.get_submodule(layer)
    if not own._forward_hooks and type(own) is nn.Linear:
        close(seen[0], images.flatten(1) @ rows.T)


def run_words(animal: Animal, model: nn.Module) -> None:
    found = text_extraction.plant(model, 0.9)
    assert 0 <= found.words.weight.min() < found.words.weight.max() <= 1
    assert (found.first.bias == 0).all()


def run_mask(animal: Animal, model: nn.Module) -> None:
    images, _ = animal.batch()
    layer = dense_of(animal)
    found = soteria.telling_mask(model, images, layer=layer, share=0.4)

    def read(image: Tensor) -> Tensor:
        return networks.input_of(animal.build(), layer, image[None])[0]

    for image, mask in zip(images, found, strict=True):
        jacobian = torch.autograd.functional.jacobian(read, image).flatten(1)
        telling = read(image).detach().abs() / jacobian.norm(dim=1).clamp_min(1e-12)
        limit = telling.sort(descending=True).values[int(0.4 * len(telling)) - 1]
        assert (telling[~mask] >= limit * 0.999).all()
        assert (~mask).sum() == int(0.4 * len(telling))


def run_soteria(animal: Animal, model: nn.Module) -> None:
    images, labels = animal.batch()
    layer = dense_of(animal)
    found = soteria.gradient(model, images, labels, layer=layer, share=0.4, loss=animal.loss)
    mask = soteria.telling_mask(model, images, layer=layer, share=0.4)
    plain, seen = animal.build(), []
    plain.get_submodule(layer).register_forward_hook(
        lambda _m, inputs, output: seen.append((inputs[0].clone(), output)) or output.clone()
    )
    with networks.dice(plain, 0):
        (delta,) = torch.autograd.grad(loss_of(animal, plain(images.clone()), labels), seen[0][1])
    pairs = zip(delta, seen[0][0] * mask, strict=True)
    close(found[f"{layer}.weight"], sum(torch.outer(up, read) for up, read in pairs))
    with networks.dice(model, 0):
        honest = slopes(animal, animal.build(), images, labels)
    assert set(found) == set(honest)
    for name in set(honest) - {f"{layer}.weight"}:
        close(found[name], honest[name])


def sent_by(animal: Animal, model: nn.Module) -> tuple[Tensor, list[federated.Gradient]]:
    """The labels of two victims, two images each, and their gradients."""
    victims = [animal.batch(2, seed) for seed in (0, 1)]
    sent = [federated.gradient(model, *each, loss=animal.loss) for each in victims]
    return torch.stack([labels for _, labels in victims]), sent


def distance(animal: Animal, images: Tensor, labels: Tensor, sent: federated.Gradient, *, cosine: bool) -> Tensor:
    """What an attack minimises, by plain autograd on a fresh copy."""
    model = animal.build()
    weights = {name: each for name, each in model.named_parameters() if name in sent.tensors}
    with sdpa_kernel(SDPBackend.MATH):
        loss = loss_of(animal, model(images.clone()), labels)
        found = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
    a, b = (torch.cat([each.flatten() for each in part]) for part in (found, [sent[name] for name in weights]))
    if cosine:
        return 1 - a @ b / (a.norm() * b.norm())
    return (a - b).square().sum() / b.square().sum()


def run_inverting(animal: Animal, model: nn.Module) -> None:
    """Of each of two victims: the losses that it tells, and the very steps, on the signs of the slope."""
    labels, sent = sent_by(animal, model)
    seen: list[tuple[Tensor, Tensor]] = []
    inverting_gradients.reconstruct(
        model,
        sent,
        labels,
        shape=animal.shape,
        alpha=0.0,
        lr=1e-3,
        iterations=2,
        watch=lambda _, points, loss: seen.append((points, loss)),
        **other_loss(animal),
    )
    for victim, gradient in enumerate(sent):
        for points, loss in seen:
            wanted = distance(animal, points[victim, 0], labels[victim], gradient, cosine=True)
            assert float(loss[victim, 0]) == pytest.approx(float(wanted), rel=1e-3, abs=1e-4)
        at = seen[0][0][victim, 0].clone().requires_grad_()
        (slope,) = torch.autograd.grad(distance(animal, at, labels[victim], gradient, cosine=True), at)
        moved = seen[1][0][victim, 0] - at.detach()
        told = slope.abs() > 1e-3 * slope.abs().max()
        assert torch.equal(moved.sign()[told], -slope.sign()[told])


def run_leakage(animal: Animal, model: nn.Module) -> None:
    """Of each of two victims and restarts: the losses that it tells. Labels are unknown where they can be."""
    labels, sent = sent_by(animal, model)
    for known in (labels, None):
        if known is None and animal.labels in ("soft", "several", "binary"):
            continue
        found = deep_leakage.reconstruct(
            model,
            sent,
            shape=animal.shape,
            labels=known,
            restarts=2,
            iterations=3,
            every=True,
            **other_loss(animal),
        )
        if known is None:
            assert found.images.shape == (2, 2, 2, *animal.shape)
            continue
        for (victim, restart), loss in zip([(v, r) for v in (0, 1) for r in (0, 1)], found.loss.flatten(), strict=True):
            wanted = distance(animal, found.images[victim, restart], labels[victim], sent[victim], cosine=False)
            assert float(loss) == pytest.approx(float(wanted), rel=1e-2, abs=1e-5)


def other_loss(animal: Animal) -> dict[str, object]:
    return {} if animal.labels == "classes" else {"loss": animal.loss}


def in_question(animal: Animal, labels: Tensor) -> dict[str, object]:
    """The labels that an adversary tries: all, but of soft ones."""
    tried = {"labels": labels} if animal.labels == "soft" else {"classes": animal.outputs}
    return {**tried, **other_loss(animal)}


def run_reproduces(animal: Animal, model: nn.Module) -> None:
    images, labels = animal.batch(1)
    layer = dense_of(animal)
    sent = federated.gradient(model, images, labels, loss=animal.loss)
    neurons = gradient_extraction.active_neurons(sent, layer)
    rows = images.repeat(len(neurons), *[1] * len(animal.shape))
    options = {"layer": layer, **in_question(animal, labels)}
    assert gradient_extraction.reproduces_gradient(model, sent, rows, neurons, **options).all()
    other, _ = animal.batch(1, seed=3)
    wrong = gradient_extraction.reproduces_gradient(model, sent, other.expand(rows.shape), neurons, **options)
    assert not wrong.all()


def run_extract(animal: Animal, model: nn.Module) -> None:
    images, labels = animal.batch(1)
    layer = dense_of(animal)
    sent = federated.gradient(model, images, labels, loss=animal.loss)
    if not animal.dense:
        size = model.get_submodule(layer).in_features if layer != "none" else 1
        gradient_extraction.extract(sent, shape=(size,), layer=layer)
        return
    options = {"levels": None, "model": model, **in_question(animal, labels)}
    found = gradient_extraction.extract(sent, shape=animal.shape, layer=layer, **options)
    if animal.name != "reused last layer":
        close(found.images[0], networks.input_of(model, layer, images).view(animal.shape))


def run_dp(animal: Animal, model: nn.Module) -> None:
    images, labels = animal.batch()
    own = animal.build().train()
    before = trace(own)
    found = dp_sgd.gradient(own, images, labels, clip=0.1, noise=0.0, loss=animal.loss)
    assert trace(own) == before
    if any(isinstance(layer, nn.Dropout) and layer.p for layer in own.modules()) or animal.chance:
        return
    total: dict[str, Tensor] = {}
    for place in range(len(images)):
        own = slopes(animal, animal.build().train(), images[place : place + 1], labels[place : place + 1])
        length = torch.stack([each.norm() for each in own.values()]).norm()
        for name, each in own.items():
            total[name] = total.get(name, 0) + each * (0.1 / length).clamp_max(1) / len(images)
    assert set(found) == set(total)
    for name, each in total.items():
        close(found[name], each)


def run_dp_train(animal: Animal, model: nn.Module) -> None:
    images, labels = animal.batch()
    client = federated.Client(images, labels)
    options = {"loss": animal.loss} if "loss" in inspect.signature(dp_sgd.train).parameters else {}
    own = animal.build().train()
    found = dp_sgd.train(own, client, clip=0.1, noise=1.0, epochs=1, batch=3, lr=0.1, **options)
    assert any(not torch.equal(a, b) for a, b in zip(found.parameters(), own.parameters(), strict=True))


RUNS: dict[str, Callable[[Animal, nn.Module], None]] = {
    "sharing.federated.accuracy": run_accuracy,
    "sharing.federated.fed_avg": run_fed_avg,
    "sharing.federated.fed_bn": run_fed_bn,
    "sharing.federated.fed_sgd": partial(run_fed_avg, train=federated.fed_sgd),
    "sharing.federated.gradient": run_gradient,
    "sharing.federated.local_update": run_local_update,
    "sharing.losses.value": run_value,
    "sharing.split.accuracy": run_send,
    "sharing.split.retrain_server": run_retrain,
    "sharing.split.segments": run_segments,
    "sharing.split.send": run_send,
    "sharing.split.train": run_split_train,
    "models.cutting.cut": run_segments,
    "models.initialisation.draw_like_pytorch": run_draw,
    "models.initialisation.initialise": run_initialise,
    "defences.dp_sgd.gradient": run_dp,
    "defences.dp_sgd.train": run_dp_train,
    "defences.soteria.gradient": run_soteria,
    "defences.soteria.telling_mask": run_mask,
    "attacks.decoder.fit": run_decoder,
    "attacks.decoder.mirror": run_mirror,
    "attacks.decoder.reconstruct": run_decoder,
    "attacks.decoder.train": run_decoder,
    "attacks.deep_leakage.reconstruct": run_leakage,
    "attacks.gradient_extraction.extract": run_extract,
    "attacks.gradient_extraction.reproduces_gradient": run_reproduces,
    "attacks.inverting_gradients.reconstruct": run_inverting,
    "attacks.label_inference.labels": run_labels,
    "attacks.text_extraction.plant": run_words,
    "attacks.transmission.transmit": run_transmit,
    "attacks.trap_weights.plant": run_plant,
    "attacks.trap_weights.tune": run_tune,
}
