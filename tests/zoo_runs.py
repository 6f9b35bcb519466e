"""One run of a network of the zoo for each public function that takes one, but attacks: against plain autograd."""

import copy
import inspect
import random
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from privlab import models, networks
from privlab.defences import adversarial_training, dp_sgd, pruning, regularisation, soteria, verification
from privlab.models import initialisation
from privlab.sharing import federated, losses, messages, predictions, split, together
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


def run_local_updates(animal: Animal, model: nn.Module) -> None:
    """Of two clients with unequal numbers of examples."""
    clients, _ = two_clients(animal)
    how = {"epochs": 2, "batch": 3, "lr": 0.1, "loss": animal.loss}
    found = together.local_updates(model, clients, **how, random=torch.Generator().manual_seed(0))
    random = torch.Generator().manual_seed(0)
    for mine, client in zip(found, clients, strict=True):
        wanted = federated.local_update(animal.build(), client, **how, random=random)
        assert set(mine) == set(wanted)
        for name, each in wanted.items():
            close(mine[name], each, msg=name)


def run_fit(animal: Animal, model: nn.Module) -> None:
    images, labels = animal.batch()
    how = {"epochs": 1, "lr": 0.1, "batch": 9, "optimiser": "sgd", "loss": animal.loss}
    found = state(predictions.fit(model, images, labels, **how, seed=1))
    if animal.chance:
        again, other = (predictions.fit(model, images, labels, **how, seed=seed) for seed in (1, 2))
        assert all(torch.equal(each, found[name]) for name, each in state(again).items())
        assert not all(torch.equal(each, found[name]) for name, each in state(other).items())
        return
    for name, wanted in state(trained(animal, images, labels)).items():
        close(found[name], wanted, msg=name)


def run_predict(animal: Animal, model: nn.Module) -> None:
    images, _ = animal.batch(40)
    close(predictions.predict(model, images), answer(model, images))


def run_fit_and_ask(animal: Animal, model: nn.Module) -> None:
    """Two models, each trained on half of the images, and asked about all of them."""
    images, labels = animal.batch()
    used = predictions.halves(2, len(labels))
    how = {"epochs": 1, "lr": 0.1, "batch": 9, "optimiser": "sgd", "loss": animal.loss}
    found = predictions.fit_and_ask(lambda _: animal.build(), images, labels, used, **how, progress=False)
    for mine, made in zip(used, found, strict=True):
        if not animal.chance:
            close(made, answer(trained(animal, images[mine], labels[mine]), images))


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


def dense_of(animal: Animal) -> str:
    """The layer that is attacked: the first dense one."""
    linear = (n for n, layer in animal.build().named_modules() if isinstance(layer, nn.Linear))
    return animal.dense or next(linear, "none")


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


def run_dp_each(animal: Animal, model: nn.Module) -> None:
    images, labels = animal.batch()
    own = animal.build().train()
    before = trace(own)
    whole = dp_sgd.per_example(own, images, labels, loss=animal.loss)
    clipped = dp_sgd.per_example(own, images, labels, clip=0.1, loss=animal.loss)
    assert trace(own) == before
    if any(isinstance(layer, nn.Dropout) and layer.p for layer in own.modules()) or animal.chance:
        return
    for place in range(len(images)):
        one = slopes(animal, animal.build().train(), images[place : place + 1], labels[place : place + 1])
        length = torch.stack([each.norm() for each in one.values()]).norm()
        assert set(whole) == set(clipped) == set(one)
        for name, each in one.items():
            close(whole[name][place], each)
            close(clipped[name][place], each * (0.1 / length).clamp_max(1))


def run_dp_train(animal: Animal, model: nn.Module) -> None:
    images, labels = animal.batch()
    client = federated.Client(images, labels)
    options = {"loss": animal.loss} if "loss" in inspect.signature(dp_sgd.train).parameters else {}
    own = animal.build().train()
    found = dp_sgd.train(own, client, clip=0.1, noise=1.0, epochs=1, batch=3, lr=0.1, **options)
    assert any(not torch.equal(a, b) for a, b in zip(found.parameters(), own.parameters(), strict=True))


def run_distil(animal: Animal, model: nn.Module) -> None:
    """The teacher's softened answers are the labels of a plain step of another network of the kind."""
    inputs, _ = animal.batch()
    binary = animal.loss is federated.binary_cross_entropy
    student = copy.deepcopy(animal.build())
    with torch.no_grad():
        for each in student.parameters():
            each.mul_(0.9)
    how = {"epochs": 1, "lr": 0.1, "batch": 9, "optimiser": "sgd", "loss": animal.loss, "temperature": 2.0}
    found = state(regularisation.distil(model, student, inputs, **how))
    if animal.chance:
        return
    told = answer(animal.build(), inputs) / 2
    told = 1 / (1 + (-told).exp()) if binary else told.exp() / told.exp().sum(1, keepdim=True)
    optimiser = torch.optim.SGD([each for each in student.parameters() if each.requires_grad], lr=0.1)
    logits = student(inputs.clone())
    loss = F.binary_cross_entropy_with_logits(logits, told) if binary else -(told * logits.log_softmax(1)).sum(1).mean()
    loss.backward()
    optimiser.step()
    for name, wanted in state(student).items():
        close(found[name], wanted, msg=name)


def run_prune_weights(animal: Animal, model: nn.Module) -> None:
    found, own = regularisation.prune_weights(model, 0.3), animal.build()
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d)
    pruned = {id(layer.weight) for layer in own.modules() if isinstance(layer, kinds)}
    sizes = [abs(x) for each in own.parameters() if id(each) in pruned for x in each.flatten().tolist()]
    limit = sorted(sizes)[round(0.3 * len(sizes))]
    assert [name for name, _ in found.named_parameters()] == [name for name, _ in own.named_parameters()]
    for (name, new), old in zip(found.named_parameters(), own.parameters(), strict=True):
        assert new.requires_grad == old.requires_grad, name
        wanted = torch.where(old.abs() < limit, 0, old) if id(old) in pruned else old
        assert torch.equal(new, wanted), name
    assert modes(found) == modes(model)
    answer(found, animal.batch()[0])


def halved(_model: nn.Module, inputs: Tensor, _labels: Tensor) -> Tensor:
    """An attack that needs no slope: tokens remain tokens."""
    return inputs / 2 if inputs.is_floating_point() else inputs.flip(1)


def run_adversarial(animal: Animal, model: nn.Module) -> None:
    """As plain training on what the attack makes."""
    images, labels = animal.batch()
    how = {"epochs": 1, "lr": 0.1, "batch": 9, "loss": animal.loss}
    found = adversarial_training.fit(model, images, labels, halved, **how, optimiser="sgd", seed=1)
    client, other = (federated.Client(each, labels) for each in (images, halved(model, images, labels)))
    sent = adversarial_training.local_updates(
        model, [client], attack=halved, **how, random=torch.Generator().manual_seed(1)
    )
    wanted = federated.local_update(animal.build(), other, **how, random=torch.Generator().manual_seed(1))
    assert set(sent[0]) == set(wanted)
    for name, each in wanted.items():
        close(sent[0][name], each, msg=name)
    if animal.chance:
        return
    for name, each in state(trained(animal, halved(model, images, labels), labels)).items():
        close(state(found)[name], each, msg=name)


def run_apply(animal: Animal, model: nn.Module) -> None:
    """By the names that the network itself has for its weights and buffers."""
    moved, before = animal.build(), model.state_dict()
    buffers = {name: torch.ones_like(each) for name, each in model.named_buffers()}
    messages.apply(moved, federated.Update({name: each.detach() for name, each in model.named_parameters()}, buffers))
    for name, _ in model.named_parameters():
        close(moved.get_parameter(name).detach(), 2 * before[name])
    for name in buffers:
        assert moved.get_buffer(name).eq(1).all()


def run_trap_set(animal: Animal, model: nn.Module) -> None:
    """Of a good update and its opposite: how far each lowers the loss, in eval mode, and the model with the better."""
    images, labels = animal.batch(6)
    clients, _ = two_clients(animal)
    how = {"epochs": 1, "batch": 9, "lr": 0.1, "loss": animal.loss, "random": torch.Generator().manual_seed(0)}
    sent = federated.local_update(animal.build(), clients[0], **how)
    turned = federated.Update({name: -each for name, each in sent.items()}, {})
    trap = verification.TrapSet(model, images, labels, keep=1, loss=animal.loss)
    total = trap([sent, turned])

    def moved(update: federated.Update) -> nn.Module:
        own = animal.build()
        with torch.no_grad():
            for name, each in update.items():
                own.get_parameter(name).add_(each)
            for name, each in update.buffers.items():
                own.get_buffer(name).copy_(each)
        return own

    nothing = federated.Update({}, {})
    before, *after = (loss_of(animal, answer(moved(each), images), labels) for each in (nothing, sent, turned))
    close(torch.tensor(trap.scores[0]), torch.stack([before - each for each in after]).float())
    better = sent if after[0] <= after[1] else turned
    assert all(torch.equal(total[name], each) for name, each in better.items())
    for name, each in state(moved(better)).items():
        close(state(trap.model)[name], each, msg=name)


def run_prune_dormant(animal: Animal, model: nn.Module) -> None:
    """The rows of the first layer that can be pruned, by the activity of one example after the other."""
    inputs, _ = animal.batch(5)
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d)
    layer = next((name for name, each in model.named_modules() if isinstance(each, kinds)), "none")
    found = pruning.prune_dormant(model, layer, inputs, 0.4)
    seen: list[Tensor] = []
    own = animal.build().eval()
    dense = isinstance(own.get_submodule(layer), nn.Linear)
    own.get_submodule(layer).register_forward_hook(lambda _m, _i, made: seen.append(made.detach()))
    with torch.no_grad():
        for each in inputs.split(1):
            own(each.clone())
    rows = [(each if dense else each.movedim(1, -1)).clamp_min(0).flatten(0, -2) for each in seen]
    activity = torch.cat(rows).mean(0)
    count = int(0.4 * len(activity))
    limit = activity.sort().values[count - 1] if count else -1.0
    weight, bias = found.get_submodule(layer).weight, found.get_submodule(layer).bias
    gone = (weight == 0).flatten(1).all(1)
    assert gone.sum() == count
    assert (activity[gone] <= limit + 1e-6).all()
    assert (activity[~gone] >= limit - 1e-6).all()
    assert bias is None or (bias[gone] == 0).all()
    for name, each in state(animal.build()).items():
        if name.rpartition(".")[0] != layer:
            assert name in state(found)
            continue
        rest = state(found)[name]
        assert torch.equal(rest[~gone], each[~gone]) if len(each) == len(gone) else True


RUNS: dict[str, Callable[[Animal, nn.Module], None]] = {
    "sharing.federated.accuracy": run_accuracy,
    "sharing.federated.fed_avg": run_fed_avg,
    "sharing.federated.fed_bn": run_fed_bn,
    "sharing.federated.fed_sgd": partial(run_fed_avg, train=federated.fed_sgd),
    "sharing.federated.gradient": run_gradient,
    "sharing.federated.local_update": run_local_update,
    "sharing.predictions.fit": run_fit,
    "sharing.predictions.fit_and_ask": run_fit_and_ask,
    "sharing.predictions.predict": run_predict,
    "sharing.losses.value": run_value,
    "sharing.messages.apply": run_apply,
    "sharing.together.local_updates": run_local_updates,
    "sharing.split.accuracy": run_send,
    "sharing.split.retrain_server": run_retrain,
    "sharing.split.segments": run_segments,
    "sharing.split.send": run_send,
    "sharing.split.train": run_split_train,
    "models.cutting.cut": run_segments,
    "models.initialisation.draw_like_pytorch": run_draw,
    "models.initialisation.initialise": run_initialise,
    "defences.adversarial_training.fit": run_adversarial,
    "defences.adversarial_training.local_updates": run_adversarial,
    "defences.dp_sgd.gradient": run_dp,
    "defences.dp_sgd.per_example": run_dp_each,
    "defences.dp_sgd.train": run_dp_train,
    "defences.pruning.prune_dormant": run_prune_dormant,
    "defences.verification.TrapSet": run_trap_set,
    "defences.regularisation.distil": run_distil,
    "defences.regularisation.prune_weights": run_prune_weights,
    "defences.soteria.gradient": run_soteria,
    "defences.soteria.telling_mask": run_mask,
}
