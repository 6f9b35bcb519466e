"""What all studies of the SplitNN paper (Titcombe et al. 2021) share: the targets, the attack, and their sizes."""

import copy
import functools
import json
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from privlab import models, runtime
from privlab.attacks import decoder
from privlab.defences import laplace, nopeek
from privlab.metrics import distance_correlation as dependence
from privlab.sharing import federated, split
from privlab.sharing.split import Protect
from privlab.studies import _split_learning as common
from privlab.studies._data import checksum, dataset
from privlab.studies._split_learning import Subject
from privlab.studies.bench.printed import Reported
from privlab.studies.bench.study import Cell, Metrics, Study, Table, Takes, cell_key

CUT, BATCH, COPIES = "tanh3", 32, 16
LOSSES = {
    "distances": dependence.distance_correlation,
    "squared": dependence.distance_correlation_squared,  # what the released code minimises, and prints in Table 1
}
# Owners' images, epochs, filters and units: the paper's, of which `real` takes a quarter of the images and 4 epochs.
SIZES = {"mnist": ((10_000, 4), (40_000, 10)), "digits": ((860, 20),)}
NETS = {"mnist": ((32, 64), 500), "digits": ((8, 16), 100)}
PRIORS = {"mnist": ("same", "emnist-letters", "omniglot", "fashion-mnist"), "digits": ("same", "patches")}
ATTACK_SETS = {"mnist": (250, 1250, 5000), "digits": (50, 150, 350)}
DATA = {"fast": ("digits",), "real": ("mnist",), "paper": ("mnist",)}
NOISES, ALPHAS = (0.0, 0.1, 0.5, 1.0), (0.0, 0.1, 0.5, 1.0)


def sizes_of(name: str) -> tuple[tuple[int, int], ...]:
    """Owners' images and epochs, one pair a size: on other data the digits', or as many images as the owners have."""
    if name in SIZES:
        return SIZES[name]
    ((most, epochs),) = SIZES["digits"]
    return ((min(most, len(common.shares(name, 1, 28)[0].labels)), epochs),)


def attack_sets(name: str) -> tuple[int, ...]:
    """How many images adversaries have: on other data as on the digits, or all that are left for them."""
    if name in ATTACK_SETS:
        return ATTACK_SETS[name]
    most = len(common.shares(name, 1, 28)[1].labels)
    return tuple(dict.fromkeys(min(most, count) for count in ATTACK_SETS["digits"]))


def base(name: str, size: int = 0, **changes: object) -> Cell:
    """An undefended target on one data set. noise_in: `training` (and from then on), or the `release` alone."""
    images, epochs = sizes_of(name)[size]
    cell: Cell = {"data": name, "cut": CUT, "images": images, "epochs": epochs, "loss": "squared", "alpha": 0.0}
    return {**cell, "noise": 0.0, "noise_in": "release", **changes}


def large(cell: Cell) -> bool:
    """The paper's own size, hours of a CPU for Table 1, and EMNIST, which is half a gigabyte to fetch."""
    return cell["images"] == common.FIRST or cell.get("prior") == "emnist-letters"


def protection(scale: float) -> Protect | None:
    """Laplace noise of a scale, or nothing."""
    return functools.partial(laplace, scale=scale) if scale else None


def trained_as(cell: Cell) -> str:
    """The settings that a target depends on, as one string."""
    names = ("data", "images", "epochs", "loss", "alpha")
    noise = cell["noise"] if cell["noise_in"] == "training" else 0.0
    return cell_key({**{name: cell[name] for name in names}, "noise": noise})


def target(cell: Cell, seed: int, device: torch.device) -> split.Split:
    """The owners' and the server's trained segments; kept for the cells that attack the same."""
    return copy.deepcopy(_target(trained_as(cell), seed, str(device)))


@functools.lru_cache(maxsize=4)
def _target(key: str, seed: int, device: str) -> split.Split:
    cell = json.loads(key)
    own = common.shares(cell["data"], 1, 28)[0][: cell["images"]].to(torch.device(device))
    filters, units = NETS.get(cell["data"], NETS["digits"])
    seeds = [runtime.derive(seed, what) for what in ("network", "train")]
    model = models.split_cnn(own.shape, own.classes, filters=filters, units=units, seed=seeds[0]).to(device)
    statistic = LOSSES[cell["loss"]]
    return split.train(
        model,
        [federated.Client(own.images, own.labels)],
        cut=CUT,
        epochs=cell["epochs"],
        batch=BATCH,
        protect=protection(cell["noise"]),
        penalty=nopeek.penalty(cell["alpha"], statistic=statistic) if cell["alpha"] else None,
        seed=seeds[1],
    )


def run_attack(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Figures 1 to 3: a decoder against noise that is added after training.

    adversary: `naive`, trained on activations without noise; `noise_aware`, on its own activations with such noise;
    `averaging`, who also sees each victim's activations sixteen times, under noise drawn anew, and takes the mean.
    """
    victims = common.shares(cell["data"], 1, 28)[2][: common.VICTIMS].to(device)
    parts, protect = target(cell, seed, device), protection(cell["noise"])
    seen = decoder.mean_of_copies(protect, COPIES) if protect and cell["adversary"] == "averaging" else protect
    sent = split.send(parts.owner, victims.images, protect=seen, seed=runtime.derive(seed, "release"))
    guesses = decoder.reconstruct(_decoder(_attacked_with(cell), seed, str(device)), sent)
    mean = _adversary(cell).mean(0).to(device).expand_as(victims.images)
    return {
        "accuracy": split.accuracy(parts, victims.images, victims.labels, protect=protect),
        **common.quality(guesses, victims, common.judge(cell["data"], 1, 28).to(device), BATCH),
        "mean_image_psnr": common.reconstruction.psnr(mean, victims.images).mean().item(),
        **common.correlations(victims.images, sent, BATCH),
    }


def subject(cell: Cell, seed: int, device: torch.device) -> Subject:
    """The target of a cell, with the images of the adversary and of the victims."""
    victims, classifier = common.shares(cell["data"], 1, 28)[2].to(device), common.judge(cell["data"], 1, 28).to(device)
    return Subject(target(cell, seed, device), _adversary(cell).to(device), victims, classifier)


def _attacked_with(cell: Cell) -> str:
    """The settings that a decoder depends on: a naive adversary trains the same one whatever noise is added later."""
    known = cell["noise"] if cell["adversary"] != "naive" else None
    return cell_key({**cell, "known": known} | ({"noise": 0.0} if cell["noise_in"] == "release" else {}))


@functools.lru_cache(maxsize=8)
def _decoder(key: str, seed: int, device: str) -> nn.Sequential:
    cell = json.loads(key)
    known = protection(cell["known"] or 0.0)
    known = decoder.mean_of_copies(known, COPIES) if known and cell["adversary"] == "averaging" else known
    own = _adversary(cell).to(torch.device(device))
    return decoder.fit(target(cell, seed, torch.device(device)).owner, own, protect=known, seed=seed)


def _adversary(cell: Cell) -> torch.Tensor:
    if cell["prior"] == "same":
        return common.shares(cell["data"], 1, 28)[1].images[: cell["attack_set"]]
    return common.pictures(cell["prior"], 1, 28, cell["attack_set"]).images


def sizes(make: Callable[[str, int], list[Cell]]) -> Callable[[str], list[Cell]]:
    """The cells of each size that a data set has."""
    return lambda name: [cell for size in range(len(sizes_of(name))) for cell in make(name, size)]


def attacked(name: str, size: int = 0, **changes: object) -> Cell:
    """The cell of figures 1 to 3: `base`, no noise, the naive adversary, 5000 images of the same kind."""
    return {**base(name, size), "prior": "same", "attack_set": attack_sets(name)[-1], "adversary": "naive", **changes}


def scale(cell: Cell, _item: Reported) -> str:
    """The owners' images, and the epochs."""
    images, epochs = SIZES["mnist"][-1]
    if cell["images"] >= images:
        return ""
    return f"{cell['images']:,} of {images:,} owners' images, {cell['epochs']} of {epochs} epochs"


def study(name: str, title: str, place: str, **particular: Any) -> Study:
    """A study of this paper: all are about the same targets."""
    usual = {
        "version": 1,
        "data": DATA,
        "seeds": {"fast": 1, "real": 1, "paper": 3},
        "large": large,
        "checksum": checksum,
        "load": dataset,
        "takes": Takes(least=500),
        "others": common.prior,
        "together": trained_as,
        "scale": scale,
        "subject": subject,
    }
    return Study(id=f"splitnn/{name}", title=title, source=f"SplitNN, {place}", **{**usual, **particular})


def small(table: Table, **settings: object) -> Cell:
    """Settings of the smaller size of a data set's cells, of which there are three draws: sentences rest on it."""
    measured = min((row["cell"]["images"] for row in table.rows), default=0)
    return {"images": SIZES[table.data][0][0] if table.data in SIZES else measured, **settings}


ATTACKED = ("accuracy", *common.QUALITY, "mean_image_psnr", *common.DEPENDENCE)
SMALL = "10,000 owners' images and 4 epochs"
