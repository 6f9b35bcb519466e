"""Membership inference by shadow models: what Tables 7 and 8 and section 5.3 share."""

import dataclasses
import functools
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from privlab import data, models, networks, runtime
from privlab.attacks import membership
from privlab.defences import dp_sgd
from privlab.metrics import membership as metrics
from privlab.sharing import federated, predictions
from privlab.studies._data import checksum, dataset
from privlab.studies.bench.printed import Printed, Reading, Reported, reported
from privlab.studies.bench.study import Cell, Metrics, Study, Table, cell_key
from privlab.studies.bench.takes import Takes

IMAGES, EPOCHS = 1000, 15  # of a target here; the paper's are some ten times as many, and 30
PAPER_IMAGES, PAPER_EPOCHS = 12_500, 30
SHADOWS = {"dense": 5, "mirrored": 2}
DENSE, DROPOUT, DENSE_EPOCHS, DENSE_LR = (128,) * 4, 0.2, 30, 1e-4  # section 4.2
LR, BATCH = 1e-3, 32
DELTA, BOUND, DP_LR, DP_BATCH = 1e-5, 1.0, 0.5, 128  # of a target with differential privacy: SGD, as DP-SGD is
BASE: Cell = {
    "model": "lenet",
    "conv": 32,
    "depth": 2,
    "fc": 120,
    "dense": 2,
    "activation": "relu",
    "batch": BATCH,
    "images": IMAGES,
    "epochs": EPOCHS,
    "clients": 1,
    "iid": True,
    "rounds": 1,
    "attack": "dense",
    "private": "same",
}
METRICS = ("model_accuracy", "gap", "attack_accuracy", "auc", "tpr_at_fpr_1pct", "loss_auc")
SEEDS = {"fast": 1, "real": 3, "paper": 3}
COLOUR = {"fast": ("patches",), "real": ("cifar10",), "paper": ("cifar10",)}
NAMES = {"MNIST": "mnist", "FMNIST": "fashion-mnist", "CIFAR-10": "cifar10", "CIFAR-100": "cifar100"}
UNITS = {"model_accuracy": ("model_accuracy", 100.0, 1e-3), "attack_accuracy": ("attack_accuracy", 100.0, 1e-3)}
CHANCE, NOTABLE = 0.5, 0.02  # two points of accuracy: what we call a difference of two attacks


def both_attacks(*cells: Cell) -> list[Cell]:
    """Each cell with the paper's shadow models, and with such as have the target's own form."""
    return [{**cell, "attack": attack} for cell in cells for attack in SHADOWS]


def network(cell: Cell, shape: Sequence[int], classes: int, seed: int) -> nn.Sequential:
    """The target of a cell. `depth` convolutions of `conv` filters, two of which halve the image; `dense` layers, the
    first of `fc` neurons and the others of LeNet's 84.
    """
    if cell["model"] == "alexnet":
        return models.alexnet(shape, classes, width=1 / 8, activation=cell["activation"], seed=seed)
    layers = (cell["fc"], *(84,) * (cell["dense"] - 1))
    filters = (cell["conv"],) * cell["depth"]
    return models.lenet(shape, classes, filters=filters, fc=layers, activation=cell["activation"], seed=seed)


def dense_network(shape: Sequence[int], classes: int, seed: int) -> nn.Sequential:
    """The paper's shadow model: four dense layers of 128 neurons, with ReLU and dropout between them."""
    plain = models.fully_connected(shape, classes, widths=DENSE, seed=seed)
    layers: list[tuple[str, nn.Module]] = []
    for name, layer in plain.named_children():
        layers.append((name, layer))
        if name.startswith("relu"):
            layers.append((name.replace("relu", "drop"), nn.Dropout(DROPOUT)))
    return nn.Sequential(OrderedDict(layers))


def shares(cell: Cell, seed: int) -> tuple[data.Dataset, data.Dataset, data.Dataset]:
    """Members, as many others, and twice as many images that the adversary holds: no image in common."""
    source = dataset(cell["data"] if cell["private"] == "same" else cell["private"])
    count = min(cell["images"], len(source) // 4)
    drawn = source.sample(4 * count, runtime.derive(seed, "images"))
    if "size" in cell and drawn.shape[1:] != (cell["size"],) * 2:
        small = data.resized(drawn.images, cell["size"], drawn.shape[0])
        drawn = dataclasses.replace(drawn, pixels=(small * 255).round().to(torch.uint8))
    return drawn[:count], drawn[count : 2 * count], drawn[2 * count :]


def train(cell: Cell, members: data.Dataset, seed: int, device: torch.device) -> nn.Sequential:
    """The target: one training, by DP-SGD where the cell has an epsilon, or FedAvg with Adam among clients that have
    parts of the images.
    """
    model = network(cell, members.shape, len(members.classes), runtime.derive(seed, "network")).to(device)
    if not cell["epochs"]:
        return model
    if cell.get("epsilon"):
        return _private(model, cell, federated.Client(members.images, members.labels), seed)
    split, count = data.iid if cell["iid"] else data.by_label, cell["clients"]
    parts = [torch.arange(len(members))]
    if count > 1:
        parts = split(members.labels.cpu(), clients=count, seed=runtime.derive(seed, "clients"))
    for number in range(cell["rounds"]):
        answers = [
            predictions.fit(
                model,
                members[part].images,
                members[part].labels,
                epochs=cell["epochs"],
                lr=LR,
                batch=cell["batch"],
                seed=runtime.derive(seed, "train", number, client),
            )
            for client, part in enumerate(parts)
        ]
        model = _average(answers, [len(members[part]) for part in parts])
    return model


def _private(model: nn.Sequential, cell: Cell, owner: federated.Client, seed: int) -> nn.Sequential:
    batch = min(DP_BATCH, len(owner.labels))
    noise = private_noise(cell["epsilon"], batch, len(owner.labels), cell["epochs"])
    settings = {"clip": BOUND, "noise": noise, "epochs": cell["epochs"], "batch": batch, "lr": DP_LR}
    return dp_sgd.train(model, owner, **settings, seed=runtime.derive(seed, "private"))


@functools.lru_cache(maxsize=16)
def private_noise(epsilon: float, batch: int, count: int, epochs: int) -> float:
    """The noise multiplier with which so many epochs on so many images spend epsilon, counted as the paper does."""
    steps = epochs * -(-count // batch)
    return dp_sgd.noise_multiplier(epsilon, DELTA, sample_rate=batch / count, steps=steps, accountant="rdp")


@torch.no_grad()
def _average(answers: Sequence[nn.Sequential], sizes: Sequence[int]) -> nn.Sequential:
    mean = networks.duplicate(answers[0])
    for weight, *theirs in zip(mean.parameters(), *(each.parameters() for each in answers), strict=True):
        weight.copy_(sum(size / sum(sizes) * each for size, each in zip(sizes, theirs, strict=True)))
    return mean


@functools.lru_cache(maxsize=4)
def _target(key: str, seed: int, device: str) -> nn.Sequential:
    cell = json.loads(key)
    return train(cell, shares(cell, seed)[0].to(device), seed, torch.device(device))


def target(cell: Cell, seed: int, device: torch.device) -> nn.Sequential:
    """The trained target, which cells with other attacks share."""
    return _target(cell_key({**cell, "attack": ""}), seed, str(device))


def _shadows(cell: Cell, own: data.Dataset, seed: int) -> tuple[Tensor, Tensor]:
    """What the adversary's models answer for its own images, `(M, P, K)`, and which half each was trained on."""
    count = SHADOWS[cell["attack"]]
    random = runtime.generator(runtime.derive(seed, "shadows"))
    used = torch.stack([torch.randperm(len(own), generator=random) < len(own) // 2 for _ in range(count)])
    answers = []
    for number, mine in enumerate(used):
        about = runtime.derive(seed, "shadow", number)
        if cell["attack"] == "mirrored":
            model = train(cell, own[mine.to(own.labels.device)], about, own.labels.device)
        else:
            fresh = dense_network(own.shape, len(own.classes), about).to(own.labels.device)
            images, labels = own.images[mine], own.labels[mine]
            model = predictions.fit(fresh, images, labels, epochs=DENSE_EPOCHS, lr=DENSE_LR, batch=BATCH, seed=about)
        answers.append(predictions.predict(model, own.images))
    return torch.stack(answers), used


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """One target, and an outsider who asks it about its images and as many others.

    attack: `dense`, the paper's five shadow models; `mirrored`, two of the target's own form, trained as it was.
    attack_accuracy: of the decision at even odds. auc and tpr_at_fpr_1pct: of the same odds as scores; loss_auc: of the
    loss alone, without shadow models. gap: accuracy on members minus that on others.
    """
    members, others, own = (part.to(device) for part in shares(cell, seed))
    model = target(cell, seed, device)
    answers = [predictions.predict(model, part.images) for part in (members, others)]
    right = [
        (made.argmax(1) == part.labels).double().mean().item()
        for made, part in zip(answers, (members, others), strict=True)
    ]
    logits, labels = torch.cat(answers), torch.cat([members.labels, others.labels])
    inside = torch.arange(len(labels)) < len(members)
    shadows, used = _shadows(cell, own, seed)
    scores = membership.shadow(logits, labels, shadows, own.labels, used)
    found = metrics.score(scores, inside)
    return {
        "model_accuracy": right[1],
        "gap": right[0] - right[1],
        "attack_accuracy": metrics.accuracy(scores > 0, inside),
        "auc": found.auc,
        "tpr_at_fpr_1pct": found.tpr_at_fpr_1pct,
        "loss_auc": metrics.auc(membership.negative_loss(logits, labels).cpu(), inside),
    }


def printed(table: str) -> tuple[Reported, ...]:
    """The printed numbers of one table. The paper has dense shadow models; those of the target's form are ours."""

    def ways(row: Printed) -> Sequence[Reading]:
        knob, _, value = row.variant.partition("=")
        own: Mapping[str, Any] = {"private": "same", "model": row.model.lower(), **({knob: int(value)} if knob else {})}
        plain = (
            {key: BASE[key] for key in ("conv", "fc", "depth", "dense", "batch", "activation")}
            if row.model == "LeNet"
            else {}
        )
        return [
            Reading({**plain, **own, "attack": attack}, name)
            for attack, name in (("dense", ""), ("mirrored", "shadows like the target"))
        ]

    return reported("zen", table, ways, step=1e-3, units=UNITS)


def scale(cell: Cell, _item: Reported) -> str:
    """The images and epochs of a target, and AlexNet's width."""
    found = []
    if cell["images"] < PAPER_IMAGES:
        found.append(f"{cell['images']:,} images, {cell['epochs']} of {PAPER_EPOCHS} epochs, one client of three")
    if cell["model"] == "alexnet":
        found.append("an eighth of AlexNet's width")
    return "; ".join(found)


def at_scale(cell: Cell) -> Cell:
    """A cell at the paper's size: three clients, thirty epochs in three rounds."""
    return {**cell, "images": PAPER_IMAGES, "clients": 3, "rounds": 3, "epochs": PAPER_EPOCHS // 3}


def gains(table: Table, low: Cell, high: Cell, attack: str, metric: str = "attack_accuracy") -> list[float]:
    """By how much a number is larger in one cell than in another, both of a small target, a number a draw."""
    plain = {"images": IMAGES, "attack": attack}
    return table.gains(metric, {**BASE, **plain, **low}, {**BASE, **plain, **high})


def study(name: str, title: str, place: str, **particular: Any) -> Study:
    """A study of shadow training, by what is particular to it."""
    usual = {
        "version": 1,
        "run": run,
        "data": COLOUR,
        "seeds": SEEDS,
        "metrics": METRICS,
        "load": dataset,
        "checksum": checksum,
        "scale": scale,
        "others": lambda cell: () if cell["private"] == "same" else (cell["private"],),
        "takes": Takes(least=400),
        "large": lambda cell: cell["images"] > IMAGES,
        "together": lambda cell: cell_key({**cell, "attack": ""}),
        "subject": target,
    }
    return Study(id=f"zen/{name}", title=title, source=f"Zen, {place}", **{**usual, **particular})
