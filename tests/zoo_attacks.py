"""One run of a network of the zoo for each attack that takes one: against a loop of plain autograd."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from privlab import networks
from privlab.attacks import (
    bins,
    decoder,
    deep_leakage,
    evasion,
    gradient_extraction,
    inverting_gradients,
    label_inference,
    model_extraction,
    rank_inversion,
    span_check,
    text_extraction,
    transmission,
    trap_weights,
)
from privlab.sharing import federated, split
from tests.zoo import Animal
from tests.zoo_runs import answer, close, cuts, dense_of, loss_of, modes, state


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


def run_bins(animal: Animal, model: nn.Module) -> None:
    """The thresholds part what the layer reads into equal shares, and images alone between two of them come out."""
    images, labels = animal.batch(12)
    layer = dense_of(animal)
    found = bins.plant(model, images, layer=layer)
    read = networks.input_of(animal.build(), layer, images).mean(1, dtype=torch.float64)
    dense = found.get_submodule(layer)
    edges = -dense.bias.detach().double() / dense.weight[0].sum().item()
    close(edges[1:], read.quantile(torch.arange(1, len(edges)).to(read) / len(edges)))
    assert edges[0] < read.min()
    assert [p.requires_grad for p in found.parameters()] == [p.requires_grad for p in model.parameters()]
    sent = federated.gradient(found, images, labels, loss=animal.loss)
    made: list[Tensor] = []
    dense.register_forward_hook(lambda _m, _i, output: made.append(output.detach().clone()))
    answer(found, images)
    places = (made[0] > 0).sum(1).tolist()  # a hook may move the thresholds
    alone = {places.index(place): place - 1 for place in places if places.count(place) == 1}
    rows = bins.candidates(sent, layer, torch.tensor([*alone.values()]))
    torch.testing.assert_close(rows, networks.input_of(animal.build(), layer, images)[[*alone]], rtol=1e-2, atol=1e-3)


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


def run_spans(animal: Animal, model: nn.Module) -> None:
    """None of the zoo is a causal transformer: `tests/attacks/test_span_check.py` has one by other names."""
    sent = federated.gradient(model, *animal.batch(2), loss=animal.loss)
    span_check.reconstruct(model, sent, words=9, length=5)


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


def run_rank(animal: Animal, model: nn.Module) -> None:
    """One image, and two: what is certified is right."""
    layer = dense_of(animal)
    for count in (1, 2):
        images, labels = animal.batch(count)
        sent = federated.gradient(model, images, labels, loss=animal.loss)
        found = rank_inversion.reconstruct(model, sent, shape=animal.shape, layer=layer, samples=1)
        if found.certified:
            far = torch.cdist(found.images.flatten(1), images.flatten(1))
            assert max(far.amin(0).max(), far.amin(1).max()) < 1e-3
        assert found.certified or count > 1 or animal.name in ("forward hook", "subclass of Sequential")


def run_extraction(animal: Animal, model: nn.Module) -> None:
    """A plain step of another network of the kind towards the model's logits, and one towards its probabilities."""
    inputs, _ = animal.batch()
    binary = animal.loss is federated.binary_cross_entropy
    for answers in ("logits", "probabilities"):

        def ask(some: Tensor, answers: str = answers) -> Tensor:
            said = answer(model, some)
            return said if answers == "logits" else said.sigmoid() if binary else said.softmax(1)

        slow = animal.build()
        with torch.no_grad():
            for each in slow.parameters():
                each.mul_(0.9)
        how = {"epochs": 1, "lr": 0.1, "batch": 9, "optimiser": "sgd", "loss": animal.loss, "answers": answers}
        found = state(model_extraction.extract(ask, slow, inputs, **how))
        if animal.chance:
            continue
        optimiser = torch.optim.SGD([each for each in slow.parameters() if each.requires_grad], lr=0.1)
        made, told = slow(inputs.clone()), ask(inputs)
        if answers == "logits":
            loss = (made - told).square().mean()
        elif binary:
            loss = F.binary_cross_entropy_with_logits(made, told)
        else:
            loss = -(told * made.log_softmax(1)).sum(1).mean()
        loss.backward()
        optimiser.step()
        for name, wanted in state(slow).items():
            close(found[name], wanted, msg=name)


def uphill(animal: Animal, images: Tensor, labels: Tensor) -> Tensor:
    """The slope of the loss at the images, by plain autograd on a fresh copy in eval mode."""
    at = images.clone().requires_grad_()
    loss_of(animal, animal.build().eval()(at.clone()), labels).backward()
    return at.grad


def moved(made: Tensor, wanted: Tensor, slope: Tensor) -> None:
    """Equal, but where the slope is so small that its sign is one of rounding."""
    told = slope.abs() > 1e-3 * slope.abs().max()
    assert told.any()
    close(made[told], wanted[told])


def run_fgsm(animal: Animal, model: nn.Module) -> None:
    images, labels = animal.batch()
    made = evasion.fgsm(model, images, labels, epsilon=0.1, loss=animal.loss)
    slope = uphill(animal, images, labels)
    moved(made, (images + 0.1 * slope.sign()).clamp(0, 1), slope)


def run_pgd(animal: Animal, model: nn.Module) -> None:
    """One step of l2 from the image, and the better of two random starts."""
    images, labels = animal.batch()
    how = {"epsilon": 0.2, "norm": "l2", "loss": animal.loss}
    made = evasion.pgd(model, images, labels, **how, steps=1, restarts=0)
    slope = uphill(animal, images, labels)
    ways = slope / slope.flatten(1).norm(dim=1).view(-1, *[1] * len(animal.shape))
    close(made, (images + 0.2 * ways).clamp(0, 1))
    random = torch.Generator().manual_seed(1)
    singles = [evasion.pgd(model, images, labels, **how, steps=2, seed=random) for _ in range(2)]
    better = evasion.pgd(model, images, labels, **how, steps=2, restarts=2, seed=1)
    for place, one in enumerate(better):
        own = [
            loss_of(animal, answer(model, each[place : place + 1]), labels[place : place + 1]).item()
            for each in singles
        ]
        assert torch.equal(one, singles[own.index(max(own))][place]) or own[0] == pytest.approx(own[1], rel=1e-5)


def run_patch(animal: Animal, model: nn.Module) -> None:
    """One step of a sticker at the places of the same seed."""
    images, labels = animal.batch()
    how = {"size": 3, "step": 0.2, "loss": animal.loss}
    made = evasion.patch(model, images, labels, **how, steps=1, seed=1)
    random = torch.Generator().manual_seed(1)
    first = torch.rand(images.shape[1], 3, 3, generator=random).to(images)
    stuck = evasion.stick(images, first.requires_grad_(), seed=random)
    loss_of(animal, animal.build().eval()(stuck), labels).backward()
    moved(made, (first.detach() + 0.2 * first.grad.sign()).clamp(0, 1), first.grad)


ATTACKS: dict[str, Callable[[Animal, nn.Module], None]] = {
    "attacks.bins.plant": run_bins,
    "attacks.decoder.fit": run_decoder,
    "attacks.decoder.mirror": run_mirror,
    "attacks.decoder.reconstruct": run_decoder,
    "attacks.decoder.train": run_decoder,
    "attacks.deep_leakage.reconstruct": run_leakage,
    "attacks.evasion.fgsm": run_fgsm,
    "attacks.evasion.patch": run_patch,
    "attacks.evasion.pgd": run_pgd,
    "attacks.gradient_extraction.extract": run_extract,
    "attacks.gradient_extraction.reproduces_gradient": run_reproduces,
    "attacks.inverting_gradients.reconstruct": run_inverting,
    "attacks.label_inference.labels": run_labels,
    "attacks.model_extraction.extract": run_extraction,
    "attacks.rank_inversion.reconstruct": run_rank,
    "attacks.span_check.reconstruct": run_spans,
    "attacks.text_extraction.plant": run_words,
    "attacks.transmission.transmit": run_transmit,
    "attacks.trap_weights.plant": run_plant,
    "attacks.trap_weights.tune": run_tune,
}
