"""Each attack of the talk's map against each of its defences, on one small federation."""

import functools
from collections.abc import Mapping

import torch
from torch import nn

from privlab import runtime
from privlab.studies._data import checksum, dataset
from privlab.studies.bench.study import Cell, Metrics, Study
from privlab.studies.bench.takes import Takes
from privlab.studies.talk import _federation as federation
from privlab.studies.talk import _readings as readings
from privlab.studies.talk._defences import DEFENCES, split_trained
from privlab.studies.talk._federation import CLIENTS, MALICIOUS, World
from privlab.studies.talk._lies import LIES, success
from privlab.studies.talk._sentences import CLAIMS

READING = {"inversion": readings.inversion, "trap_weights": readings.trapped, "attribute": readings.attribute}
USING = ("evasion", "membership", "extraction")
ATTACKS = (*LIES, *READING, *USING)
BY_DATA = ("data_poisoning", "backdoor", "semantic_backdoor")  # lies that need no update
RULES = (
    "median",
    "trimmed_mean",
    "multi_krum",
    "bulyan",
    "geometric_median",
    "norm_clipping",
    "update_analysis",
    "verification",
)
FEW = (
    ("data_poisoning", "sign_flipping", "model_replacement", "evasion"),
    (
        "multi_krum",
        "norm_clipping",
        "update_analysis",
        "adversarial_training",
        "dp_sgd",
    ),
)


def reason(attack: str, defence: str) -> str:
    """Why a defence is not measured against an attack; empty where it is."""
    if attack in READING:
        if defence in RULES:
            return "the server's rule needs each update in the clear: the server reads what it reads without the rule"
        if defence in ("data_analysis", "distillation", "pruning", "labels_only"):
            return "a client sends what it sends without it"
        if (attack, defence) == ("trap_weights", "split_learning"):
            return "the server does not set the owners' weights"
    if defence == "labels_only" and attack not in ("membership", "extraction"):
        return "it changes what is said of the model and not the model, which clients have"
    if defence == "secure_sum" and attack not in READING:
        return "the sum is the same, and so is the model; that no rule can look is measured in talk/interactions"
    if defence == "split_learning" and attack in LIES and attack not in BY_DATA:
        return "owners send activations, and no update that could be changed so"
    return ""


def cells(name: str) -> list[Cell]:
    """Every pair that can be, and each attack with no defence; on the kinds of MedNIST some of them."""
    attacks, defences = (ATTACKS, tuple(DEFENCES)) if name != "mednist" else (FEW[0], ("none", *FEW[1]))
    common = {"data": name, "clients": CLIENTS}
    pairs = [(attack, defence) for attack in attacks for defence in defences if not reason(attack, defence)]
    return [
        {
            **common,
            "attack": attack,
            "defence": defence,
            "malicious": MALICIOUS if attack in LIES else 0,
            **_more(attack),
        }
        for attack, defence in pairs
    ]


def _more(attack: str) -> Mapping[str, float]:
    if attack == "evasion":
        return {"epsilon": readings.EPSILON}
    if attack == "extraction":
        return {"queries": federation.CLEAN + federation.PUBLIC}
    return {"share": federation.MALICIOUS / federation.CLIENTS} if attack in LIES else {}


@functools.lru_cache(maxsize=8)
def _world(name: str, seed: int, device: str) -> World:
    return federation.drawn(name, seed, torch.device(device))


@functools.lru_cache(maxsize=40)
def _honest(name: str, seed: int, device: str, defence: str) -> tuple[nn.Module, float, float]:
    """The network that all train in honesty, the CPU seconds that it took, and the bytes a client sends in a round."""
    world = _world(name, seed, device)
    timer = runtime.stopwatch()
    if defence == "split_learning":
        model, sent = split_trained(world, world.clients)
    else:
        model = federation.train(world, DEFENCES[defence])
        sent = sum(each.nbytes for each in model.parameters()) * (2.0 if defence == "secure_sum" else 1.0)
    return model, timer(), sent


def _lied(name: str, attack: str, defence: str, seed: int, device: str) -> Metrics:
    world = _world(name, seed, device)
    found = []
    for lie in LIES[attack]:
        if defence != "split_learning":
            made = federation.train(world, DEFENCES[defence], lie)
        elif lie.craft is None and lie.data is not None:
            liars = [lie.data(each, world, place) for place, each in enumerate(world.clients[:MALICIOUS])]
            made, _ = split_trained(world, [*liars, *world.clients[MALICIOUS:]])
        else:
            continue
        found.append(success(attack, made, world))
    honest, _, _ = _honest(name, seed, device, defence)
    return readings.scores(max(found), found[0], success(attack, honest, world))


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """One attack under one defence.

    attack_success: of the adversary who knows the defence, the best of its ways by the truth; naive: of the one who
    knows of none; baseline: without the attack. Of lies about data and updates it is the error on fresh images, of
    backdoors the share of what they mean that is taken for their target, of inversion and trap weights the share of a
    mini-batch that is recognised among fresh images, of attributes the share told right, of evasion the error on
    perturbed images, of membership twice the area under the curve less one, of extraction the fidelity.
    accuracy: of the network that all train in honesty under the defence; seconds: of the CPU, for that training; bytes:
    what a client sends in a round of it.
    """
    name, attack, defence, where = cell["data"], cell["attack"], cell["defence"], str(device)
    world = _world(name, seed, where)
    model, seconds, sent = _honest(name, seed, where, defence)
    if attack in LIES:
        made = _lied(name, attack, defence, seed, where)
    elif attack in READING:
        made = READING[attack](world, defence)
    elif attack == "evasion":
        made = readings.evaded(world, model, _honest(name, seed, where, "none")[0])
    elif attack == "extraction":
        made = readings.stolen(world, model, DEFENCES[defence])
    else:
        made = readings.told(world, DEFENCES[defence], functools.partial(_trained, defence))
    return {**made, "accuracy": 1 - federation.error(model, world), "seconds": seconds, "bytes": sent}


def _trained(defence: str, world: World) -> nn.Module:
    if defence == "split_learning":
        return split_trained(world, world.clients, readings.LONG)[0]
    return federation.train(world, DEFENCES[defence], rounds=readings.LONG)


STUDY = Study(
    id="talk/defences",
    title="Each attack against each defence",
    source="the talk Adversarial interference (its overview of attacks, its table of defences, and its questions)",
    version=1,
    cells=cells,
    run=run,
    data={"fast": ("digits",), "real": ("mednist",), "paper": ("mnist",)},
    seeds={"fast": 3, "real": 3, "paper": 3},
    knob="defence",
    metrics=("attack_success", "naive", "baseline", "accuracy", "seconds", "bytes"),
    load=dataset,
    names_data=False,
    checksum=checksum,
    takes=Takes(least=1300),
    together=lambda cell: (cell["data"], cell["defence"], cell["attack"]),
    absent=lambda cell: reason(cell["attack"], cell["defence"]),
    claims=CLAIMS,
)
