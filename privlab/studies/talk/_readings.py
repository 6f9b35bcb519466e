"""What is read in what a client of the federation sends, and what is done with the model that it trains.

Each gives what an adversary gets who knows of the defence (`attack_success`), who knows of none (`naive`), and who has
nothing but a guess (`baseline`).
"""

import functools
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from privlab import runtime
from privlab.attacks import (
    attribute_inference,
    decoder,
    evasion,
    membership,
    model_extraction,
    noisy_extraction,
    trap_weights,
)
from privlab.defences import dp_sgd
from privlab.metrics import agreement, reconstruction
from privlab.metrics import membership as tells
from privlab.sharing import federated, predictions, split
from privlab.studies.bench.study import Metrics
from privlab.studies.talk._defences import CUT, DP_CLIP, DP_NOISE, EPSILON, PGD_STEPS
from privlab.studies.talk._federation import BATCH, Defence, World, answers, error

Sender = Callable[[nn.Module, Tensor, Tensor, int], federated.Gradient]
VICTIMS, TRAP = 5, 0.9
LEARNED, ASKED = 100, 40  # mini-batches of each kind that an adversary learns an attribute from, and is asked about
REFERENCES, WRONG, LONG = 8, 0.15, 60  # networks, labels, and rounds of membership
STUDENT: dict[str, Any] = {"epochs": 150, "lr": 0.005, "batch": 16}


def scores(success: float, naive: float, baseline: float) -> Metrics:
    """What is stored of an attack."""
    return {"attack_success": success, "naive": naive, "baseline": baseline}


def _plain(model: nn.Module, images: Tensor, labels: Tensor, _seed: int) -> federated.Gradient:
    return federated.gradient(model, images, labels)


def _private(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> federated.Gradient:
    return dp_sgd.gradient(model, images, labels, clip=DP_CLIP, noise=DP_NOISE, seed=seed)


def _adversarial(model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> federated.Gradient:
    made = evasion.pgd(model, images, labels, epsilon=EPSILON, steps=PGD_STEPS, seed=seed)
    return federated.gradient(model, made, labels)


SENDERS: dict[str, Sender] = {"dp_sgd": _private, "adversarial_training": _adversarial}


def _batch(world: World, client: int) -> tuple[Tensor, Tensor]:
    holder = world.clients[client]
    return holder.images[:BATCH], holder.labels[:BATCH]


def _sent(world: World, defence: str, model: nn.Module, victim: int) -> federated.Gradient:
    """What the server has of the victim's mini-batch: its gradient, or the mean of all clients'."""
    sender = SENDERS.get(defence, _plain)
    whose = range(len(world.clients)) if defence == "secure_sum" else (victim,)
    each = [sender(model, *_batch(world, who), runtime.derive(world.seed, "sent", who)) for who in whose]
    return federated.average(each)


def _read(world: World, defence: str, model: nn.Module) -> Metrics:
    """The share of the mini-batches of some clients that is recognised among fresh images."""
    std = DP_NOISE * DP_CLIP / BATCH if defence == "dp_sgd" else 0.0
    found = []
    for victim in range(VICTIMS):
        images, _ = _batch(world, victim)
        sent = _sent(world, defence, model, victim)
        read = [noisy_extraction.reconstruct(sent, std=known, shape=images.shape[1:]).images for known in {std, 0.0}]
        found.append([_recognised(each, images, world) for each in read])
    means = torch.tensor(found).mean(0)
    return scores(means.max().item(), means[-1].item(), BATCH / (BATCH + len(world.fresh)))


def _recognised(guesses: Tensor, images: Tensor, world: World) -> float:
    return reconstruction.score(guesses, images, world.fresh.images).identified if len(guesses) else 0.0


def inversion(world: World, defence: str) -> Metrics:
    """What an honest server reads in the rows of a dense layer, or of split learning's activations by a decoder."""
    if defence == "split_learning":
        return _decoded(world)
    return _read(world, defence, world.model())


def _decoded(world: World) -> Metrics:
    """The decoder learns from images of the adversary's own, sent through the segment that it knows."""
    owner = split.segments(world.model(), CUT).owner  # type: ignore[arg-type]
    own = torch.cat([world.clean.images, world.public])
    learned = decoder.least_squares(split.send(owner, own), own)
    found = []
    for victim in range(VICTIMS):
        images, _ = _batch(world, victim)
        guesses = decoder.reconstruct(learned, split.send(owner, images)).clamp(0, 1)
        found.append(_recognised(guesses, images, world))
    share = sum(found) / VICTIMS
    return scores(share, share, BATCH / (BATCH + len(world.fresh)))


def trapped(world: World, defence: str) -> Metrics:
    """The same of a server that has set trap weights."""
    planted = trap_weights.plant(world.model(), TRAP, seed=runtime.derive(world.seed, "trap"))
    return _read(world, defence, planted)


def attribute(world: World, defence: str) -> Metrics:
    """Whether a client's mini-batch is of bold images or of thin ones, by its gradient or its activations.

    The adversary learns from mini-batches of the server's own images; it knows of no defence, or treats its own alike.
    """
    model = world.model()
    random = runtime.generator(runtime.derive(world.seed, "attribute"))
    own = federated.Client(world.clean.images, world.clean.labels)
    theirs = federated.Client(
        *(torch.cat([getattr(each, part) for each in world.clients]) for part in ("images", "labels"))
    )
    middle = own.images.mean((1, 2, 3)).median()
    cut = "split_learning" if defence == "split_learning" else "none"
    truth, target = _groups(world, model, theirs, middle, defence, ASKED, random)
    found = []
    for protected in (defence, cut):
        values, known = _groups(world, model, own, middle, protected, LEARNED, random)
        guessed = attribute_inference.from_updates(known, values, target).argmax(1).cpu()
        found.append((guessed == truth).double().mean().item())
    return scores(max(found), found[1], 0.5)


def _groups(
    world: World,
    model: nn.Module,
    pool: federated.Client,
    middle: Tensor,
    defence: str,
    count: int,
    random: torch.Generator,
) -> tuple[Tensor, list[dict[str, Tensor]]]:
    """Which of the mini-batches of a pool are of bold images, `count` of each kind, and what is sent of them."""
    bold = (pool.images.mean((1, 2, 3)) > middle).cpu()
    values = torch.arange(2).repeat_interleave(count)
    made = []
    for value in values.tolist():
        mine = _some((bold == bool(value)).nonzero()[:, 0], random)
        others = [_some(torch.arange(len(bold)), random) for _ in world.clients[1:]] if defence == "secure_sum" else []
        batches = [(pool.images[each], pool.labels[each]) for each in (mine, *others)]
        made.append(_carries(model, defence, batches, random))
    return values, made


def _some(places: Tensor, random: torch.Generator) -> Tensor:
    return places[torch.randperm(len(places), generator=random)[:BATCH]]


def _carries(
    model: nn.Module, defence: str, batches: list[tuple[Tensor, Tensor]], random: torch.Generator
) -> dict[str, Tensor]:
    """What the server makes of what it has of a mini-batch: how long and how large each layer's gradient is, or that of
    its and the others' mean; of activations their mean.
    """
    if defence == "split_learning":
        owner = split.segments(model, CUT).owner  # type: ignore[arg-type]
        return {"sent": split.send(owner, batches[0][0]).mean(0)}
    seed = int(torch.randint(2**31, (1,), generator=random))
    sender = SENDERS.get(defence, _plain)
    sent = federated.average([sender(model, *each, seed) for each in batches]).tensors
    return {name: torch.stack([each.norm(), each.abs().mean()]).log() for name, each in sent.items()}


def evaded(world: World, model: nn.Module, plain: nn.Module) -> Metrics:
    """The share of fresh images that is decided wrongly once they are perturbed.

    The adversary has the model itself; or, knowing of no defence, the one that the same clients train without.
    """
    images, labels = world.fresh.images, world.fresh.labels
    wrong = []
    for known, restarts in ((model, 3), (plain, 1)):
        made = evasion.pgd(known, images, labels, epsilon=EPSILON, steps=40, restarts=restarts, seed=world.seed)
        wrong.append((predictions.predict(model, made).argmax(1) != labels).double().mean().item())
    return scores(max(wrong), wrong[1], error(model, world))


def stolen(world: World, model: nn.Module, defence: Defence) -> Metrics:
    """How often a student decides as the model does, who learned from its answers; or from clean labels alone."""
    asked = torch.cat([world.clean.images, world.public])
    about = runtime.derive(world.seed, "thief")

    def ask(images: Tensor) -> Tensor:
        return answers(model, images, defence)

    kinds = ("labels",) if defence.answer else ("probabilities", "logits")
    given = {"labels": lambda x: ask(x).argmax(1), "probabilities": lambda x: ask(x).softmax(1), "logits": ask}
    fidelity = functools.partial(agreement.fidelity, predictions.predict(model, world.fresh.images))
    made = [
        model_extraction.extract(given[kind], world.model("thief"), asked, answers=kind, seed=about, **STUDENT)
        for kind in kinds
    ]
    found = [fidelity(predictions.predict(each, world.fresh.images)) for each in made]
    blind = predictions.fit(world.model("thief"), world.clean.images, world.clean.labels, seed=about, **STUDENT)
    return scores(max(found), found[0], fidelity(predictions.predict(blind, world.fresh.images)))


def told(world: World, defence: Defence, trained: Callable[[World], nn.Module]) -> Metrics:
    """Twice the area under the curve, less one, of membership: half of each client's images are used.

    15 labels in 100 are drawn anew, as data have them, and `trained` trains long. Knowing of the defence: the
    likelihood ratio by references that were trained alike; else the confidence itself.
    """
    images, labels = (torch.cat([getattr(each, part) for each in world.clients]) for part in ("images", "labels"))
    random = runtime.generator(runtime.derive(world.seed, "wrong"))
    wrong = (torch.rand(len(labels), generator=random) < WRONG).to(labels.device)
    labels = torch.where(wrong, torch.randint(world.classes, (len(labels),), generator=random).to(labels), labels)
    used = predictions.halves(1 + REFERENCES, len(labels), runtime.derive(world.seed, "halves"))
    ends = torch.tensor([0, *(len(each.labels) for each in world.clients)]).cumsum(0).tolist()
    made = []
    for number, inside in enumerate(used):
        parts = [inside[low:high].nonzero()[:, 0].to(labels.device) + low for low, high in pairwise(ends)]
        holders = [federated.Client(images[part], labels[part]) for part in parts]
        each = replace(world, clients=holders, seed=runtime.derive(world.seed, "member", number))
        made.append(answers(trained(each), images, defence))
    confidence = membership.scaled_confidence(torch.stack(made).cpu(), labels.cpu())
    ratio = membership.lira(confidence[:1], confidence[1:], used[1:], online=True, shared=True)
    advantage = [2 * tells.auc(each, used[:1]) - 1 for each in (ratio, confidence[:1])]
    return scores(max(advantage), advantage[1], 0.0)
