"""The likelihood-ratio attack on images, with sixteen networks as in its authors' demonstration."""

import dataclasses
import functools
import math

import torch
from torch import Tensor, nn

from privlab import models, runtime
from privlab.metrics import membership as metrics
from privlab.sharing import predictions
from privlab.studies._data import dataset
from privlab.studies.bench.sentence import Found, Outcome, both, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table
from privlab.studies.bench.takes import Takes
from privlab.studies.membership._records import scores, study

NETWORKS = 16  # the last is attacked, the others are the references
SMALL: Cell = {"model": "lenet", "images": 1000, "epochs": 15}
WHOLE: Cell = {"model": "resnet18", "images": 50_000, "epochs": 100}
ATTACKS = (("loss", False), ("lira", True), ("lira shared", True), ("lira", False), ("lira shared", False))


def cells(name: str) -> list[Cell]:
    """A small network on 1000 images, and a ResNet-18 on 50,000; the loss alone and four forms of the attack."""
    return [
        {"data": name, **size, "attack": attack, "references": (NETWORKS - 1) * (attack != "loss"), "online": online}
        for size in (SMALL, WHOLE)
        for attack, online in ATTACKS
    ]


def _network(model: str, shape: tuple[int, ...], classes: int, seed: int) -> nn.Module:
    return models.lenet(shape, classes, seed=seed) if model == "lenet" else models.resnet18(shape, classes, seed=seed)


@functools.lru_cache(maxsize=2)
def _answers(name: str, model: str, images: int, epochs: int, seed: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of sixteen networks for all images, the labels, and which network was trained on which image."""
    source = dataset(name)
    drawn = source.sample(min(images, len(source)), runtime.derive(seed, "images")).to(device)
    used = predictions.halves(NETWORKS, len(drawn), runtime.derive(seed, "halves"))
    make = functools.partial(_network, model, drawn.shape, len(source.classes))
    made = predictions.fit_and_ask(make, drawn.images, drawn.labels, used, epochs=epochs, seed=seed, progress=False)
    return made.cpu(), drawn.labels.cpu(), used


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """One target among sixteen networks, each trained on a random half of the images.

    scored: the share of images that the attack could score, having references of both sorts. The demonstration's
    networks are wide ResNets, shown shifted and mirrored images, and asked about an image and its mirror image; here
    images are shown and asked about as they are.
    """
    place = (cell["data"], cell["model"], cell["images"], cell["epochs"])
    logits, labels, used = _answers(*place, seed, str(device))
    found, known = scores(cell, logits[-1:], logits[:-1], labels, used[:-1], len(labels))
    inside = used[-1:]
    made = dataclasses.asdict(metrics.score(found, inside[:, known]))
    right = (logits[-1:].argmax(2) == labels).double()
    return {
        **{name: value for name, value in made.items() if not math.isnan(value)},  # too few images for 0.1 %
        "scored": known.double().mean().item(),
        "model_accuracy": right[~inside].mean().item(),
        "gap": (right[inside].mean() - right[~inside].mean()).item(),
    }


def _larger(metric: str, low: Cell, high: Cell, table: Table) -> dict[str, Outcome]:
    sizes = {size["images"]: size for size in (SMALL, WHOLE)}
    return {
        f"{count:,} images": told(table.gains(metric, {**size, **low}, {**size, **high}))
        for count, size in sizes.items()
    }


def _beats_the_loss(table: Table) -> Found:
    """By the area, and where no more than one in a hundred is accused wrongly."""
    few: Cell = {"attack": "loss", "online": False}
    best: Cell = {"attack": "lira shared", "online": True}
    found = [_larger(metric, few, best, table) for metric in ("auc", "tpr_at_fpr_1pct")]
    return {size: both(*(each[size] for each in found)) for size in found[0]}


STUDY = study(
    "lira",
    "The likelihood-ratio attack with fifteen references",
    "Carlini et al. 2022, and their code's demonstration",
    cells=cells,
    run=run,
    data={"fast": ("patches",), "real": ("cifar10",), "paper": ("cifar10",)},
    knob="attack",
    metrics=("auc", "tpr_at_fpr_1pct", "tpr_at_fpr_01pct", "scored", "model_accuracy", "gap"),
    takes=Takes(least=200),
    large=lambda cell: cell["images"] > SMALL["images"],
    claims=(
        Claim(
            "With few references, one variance for all examples is better than each example's own.",
            "Carlini et al. 2022, section VI-C",
            functools.partial(
                _larger,
                "tpr_at_fpr_1pct",
                {"attack": "lira", "online": True},
                {"attack": "lira shared", "online": True},
            ),
            "true positives at 1 % false ones, fifteen references, online",
            ours=True,
        ),
        Claim(
            "References that were trained on the example help.",
            "Carlini et al. 2022, section VI",
            functools.partial(
                _larger, "auc", {"attack": "lira shared", "online": False}, {"attack": "lira shared", "online": True}
            ),
            "online against offline, one variance, area under the curve",
            ours=True,
        ),
        Claim(
            "The likelihood ratio tells members better than the loss alone.",
            "Carlini et al. 2022, section VI-B",
            _beats_the_loss,
            "one variance, online: area under the curve, and true positives at 1 % false ones",
            ours=True,
        ),
    ),
)
