"""The talk's defences, each as what it changes in the federation."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from privlab import runtime
from privlab.attacks import evasion
from privlab.defences import (
    adversarial_training,
    aggregation,
    data_analysis,
    dp_sgd,
    pruning,
    regularisation,
    update_analysis,
    verification,
)
from privlab.sharing import predictions, split
from privlab.sharing.federated import Client, Update
from privlab.studies.talk._federation import BATCH, EPOCHS, ROUNDS, Defence, Rule, World

EPSILON, PGD_STEPS = 0.1, 3  # what clients train against
DP_CLIP, DP_NOISE, DP_LR = 1.0, 1.0, 1.0
PRUNED = 0.3
BLOWN_UP = 1e4  # logits
CUT = "relu1"  # of split learning
TUNING: dict[str, Any] = {"epochs": 5, "lr": 0.05, "batch": 10, "optimiser": "sgd"}
STUDENT = {"epochs": 100, "lr": 0.1, "batch": 16, "optimiser": "sgd"}


def private_updates(model: nn.Module, clients: Sequence[Client], **setting) -> Iterator[Update]:
    """What clients send who train by DP-SGD on all their examples at once, at a rate of its own.

    Of a network that liars have blown up nothing can be learned: it is sent back as it is.
    """
    random = setting.pop("random")
    before = dict(model.named_parameters())
    for client in clients:
        seed = int(torch.randint(2**31, (1,), generator=random))
        setting |= {"clip": DP_CLIP, "noise": DP_NOISE, "lr": DP_LR, "batch": len(client.labels)}
        try:
            after = dict(dp_sgd.train(model, client, **setting, seed=seed).named_parameters())
        except FloatingPointError:
            after = before
        yield Update({name: (each - before[name]).detach() for name, each in after.items()}, {})


def _distil(model: nn.Module, world: World) -> nn.Module:
    """A student of the network's answers to public images; of one that liars have blown up, the network itself."""
    if _blown_up(model, world.public):
        return model
    about = runtime.derive(world.seed, "student")
    return regularisation.distil(model, world.model("student"), world.public, temperature=2.0, seed=about, **STUDENT)


def _prune(model: nn.Module, world: World) -> nn.Module:
    """Fine-pruning, with the server's own clean examples: the least active neurons go, then five epochs."""
    smaller = pruning.prune_dormant(model, "fc1", world.clean.images, PRUNED)
    clean, about = world.clean, runtime.derive(world.seed, "tuning")
    try:
        return predictions.fit(smaller, clean.images, clean.labels, **TUNING, seed=about)
    except FloatingPointError:  # liars have blown it up
        return smaller


def _blown_up(model: nn.Module, images: Tensor) -> bool:
    return not bool((predictions.predict(model, images).abs() < BLOWN_UP).all())


def _rule(name: str, **more: object) -> Defence:
    """A rule of `aggregation` that is told how many lie where it asks, and which the liars know."""

    def known(malicious: int) -> Rule:
        asked: dict = {"f": malicious} if name in ("trimmed_mean", "krum", "multi_krum", "bulyan") else {}
        return functools.partial(getattr(aggregation, name), **asked, **more)

    return Defence(rule=lambda world, model, malicious: known(malicious), known=known)


def _analysis() -> Rule:
    return update_analysis.without(update_analysis.by_length, update_analysis.by_direction)


def _trap_set(world: World, model: nn.Module, malicious: int) -> Rule:
    keep = len(world.clients) - malicious
    return verification.TrapSet(model, world.clean.images, world.clean.labels, keep=keep)


def _relabelled(client: Client, world: World) -> Client:
    return data_analysis.sanitise(client, world.clean.images, world.clean.labels)[0]


def _adversarial(model: nn.Module, clients: Sequence[Client], **setting) -> Sequence[Update]:
    return list(adversarial_training.local_updates(model, clients, attack=_perturbed, **setting))


def _perturbed(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """What a client trains on: of a network that liars have blown up, which has no slope, the images themselves."""
    if _blown_up(model, images):
        return images
    return evasion.pgd(model, images, labels, epsilon=EPSILON, steps=PGD_STEPS)


def split_trained(world: World, clients: Sequence[Client], rounds: int = ROUNDS) -> tuple[nn.Module, float]:
    """The network that the same clients train by split learning, and the bytes that each sends in a round."""
    made = split.train(world.model(), clients, cut=CUT, rounds=rounds, epochs=EPOCHS, batch=BATCH, seed=world.seed)  # type: ignore[arg-type]
    return made.whole, _sent(made.traffic) / (rounds * len(clients))


def _sent(traffic: split.Traffic) -> int:
    """What owners send: activations and labels up, and their segment to the next."""
    return traffic.activations + traffic.labels + traffic.weights


DEFENCES: dict[str, Defence] = {
    "none": Defence(),
    "median": _rule("median"),
    "trimmed_mean": _rule("trimmed_mean"),
    "multi_krum": _rule("multi_krum", keep=10),
    "bulyan": _rule("bulyan"),
    "geometric_median": _rule("geometric_median"),
    "norm_clipping": _rule("clipped_mean"),
    "update_analysis": Defence(rule=lambda *_: _analysis(), known=lambda _: _analysis()),
    "verification": Defence(rule=_trap_set),
    "data_analysis": Defence(clean=_relabelled),
    "adversarial_training": Defence(train=_adversarial),
    "distillation": Defence(finish=_distil),
    "pruning": Defence(finish=_prune),
    "dp_sgd": Defence(train=private_updates),
    "labels_only": Defence(answer=regularisation.mask),
    "secure_sum": Defence(),
    "split_learning": Defence(),
}
