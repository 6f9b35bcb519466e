"""The generative decoder on split learning within federated learning (section 5.2): Tables 4 to 6, figures 1 to 6."""

import copy
import functools
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from privlab import models, runtime
from privlab.attacks import decoder
from privlab.defences import dp_sgd
from privlab.sharing import federated, split
from privlab.studies import _split_learning as common
from privlab.studies._data import checksum, dataset
from privlab.studies._split_learning import Pictures, Subject
from privlab.studies.bench.printed import Printed, Reading, Reported, reported
from privlab.studies.bench.sentence import MARGIN, Outcome, both, negated, told
from privlab.studies.bench.study import Cell, Metrics, Single, Study, Table, Takes, cell_key

# Owners' images: fitted, since with so many MNIST's accuracy is the paper's 91 %; the paper does not say how many.
LARGE_SET = 9_000
ROUNDS, EPOCHS, CLIENTS, ATTACK_SET = 3, 10, 3, 5_000
EPSILON, DELTA, BOUND, DP_LR = 6.0, 1e-5, 1.0, 0.5
BATCH = 128  # over which distance correlation is taken
DECODER_EPOCHS = 50  # the paper's; ours are ten
METRICS = ("accuracy", *common.QUALITY, "mean_image_psnr", *common.DEPENDENCE)
# Channels and side of each data set: a table can be shown where the data are missing.
FORMS = {
    **dict.fromkeys(("mnist", "digits", "pneumoniamnist"), (1, 28)),
    "cifar10": (3, 32),
    "patches": (3, 32),
    "pathmnist": (3, 28),
    "dermamnist": (3, 28),
}
# "Uses FMNIST prior ... CIFAR-100 prior" (Table 4); embedded data stand for both, and for data of one's own.
STRANGERS = {
    "mnist": "fashion-mnist",
    "pneumoniamnist": "fashion-mnist",
    "cifar10": "cifar100",
    "pathmnist": "cifar100",
    "dermamnist": "cifar100",
    "digits": "patches",
    "patches": "digits",
}
PLAIN: Cell = {
    "model": "lenet",
    "prior": "same",
    "cut": "pool2",
    "conv": 6,
    "fc": 120,
    "depth": 2,
    "pool": "max",
    "activation": "relu",
    "distribution": "iid",
    "clients": CLIENTS,
    "batch": 32,
    "rounds": ROUNDS,
    "protection": "none",
    "recorded": "final",
}
NOT_TRAINING = ("prior", "cut", "recorded")  # settings that leave the trained network as it is
LAYERS = ("conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "flatten", "fc1", "relu3", "fc2", "relu4")


def form(name: str, rows: Sequence[Mapping[str, Any]] = ()) -> tuple[int, int]:
    """Channels and side of the images of a data set, as LeNet takes them; one's own are brought to 28 or 32 pixels.

    rows: measured ones, which tell it where the data are gone: grey images alone are 28 pixels wide.
    """
    if name in FORMS:
        return FORMS[name]
    grey = any(row["cell"]["size"] == 28 for row in rows) if rows else dataset(name).shape[0] == 1
    return (1, 28) if grey else (3, 32)


def stranger(name: str, rows: Sequence[Mapping[str, Any]] = ()) -> str:
    """Another data set, for an adversary who has none of the owners' kind; for one's own an embedded one."""
    return STRANGERS.get(name) or ("patches" if form(name, rows)[0] == 1 else "digits")


def plain_cell(name: str, rows: Sequence[Mapping[str, Any]] = (), **changes: object) -> Cell:
    """The standard setting of "Zen", section 4.2, on one data set: IID, three clients, the second pooling layer."""
    return {"data": name, **PLAIN, "size": form(name, rows)[1], **changes}


def network(cell: Cell, shape: Sequence[int], classes: int, seed: int) -> nn.Sequential:
    """LeNet with `conv` and 8/3 as many filters (6 and 16), further convolutions of the latter behind both poolings."""
    conv, fc = cell["conv"], cell["fc"]
    filters = (conv, *(round(conv * 16 / 6),) * (cell["depth"] - 1))
    knobs = {name: cell[name] for name in ("pool", "activation")}
    return models.lenet(shape, classes, filters=filters, fc=(fc, round(fc * 0.7)), seed=seed, **knobs)


def target(cell: Cell, seed: int, device: torch.device) -> list[nn.Sequential]:
    """The whole network after no round, the first, ..., the last. Where it is cut changes nothing in its weights."""
    key = {name: value for name, value in cell.items() if name not in NOT_TRAINING}
    return _target(cell_key(key), seed, str(device))


@functools.lru_cache(maxsize=8)
def _target(key: str, seed: int, device: str) -> list[nn.Sequential]:
    cell = json.loads(key)
    own = common.shares(cell["data"], form(cell["data"])[0], cell["size"])[0][:LARGE_SET]
    own = own.to(torch.device(device))
    owners = common.clients(own, cell["clients"], cell["distribution"] == "iid", runtime.derive(seed, "owners"))
    fresh = network(cell, own.shape, own.classes, runtime.derive(seed, "network")).to(device)
    states = [copy.deepcopy(fresh)]
    if cell["protection"] == "dp":
        for number in range(cell["rounds"]):
            states.append(_private_round(states[-1], owners, cell["batch"], runtime.derive(seed, "dp", number)))
    elif cell["rounds"]:
        split.train(
            fresh,
            owners,
            cut=PLAIN["cut"],
            rounds=cell["rounds"],
            epochs=EPOCHS,
            batch=cell["batch"],
            lr=learning_rate(cell["data"]),
            weights="averaged",
            seed=runtime.derive(seed, "train"),
            after=lambda _, parts: states.append(copy.deepcopy(parts.whole)),
        )
    return states


def learning_rate(name: str) -> float:
    """The paper's 1e-4; ten times that on sets of less than 2000 images, as the embedded ones are."""
    return 1e-3 if len(dataset(name)) < 2000 else 1e-4


def _private_round(model: nn.Sequential, owners: Sequence[federated.Client], batch: int, seed: int) -> nn.Sequential:
    """One round of FedAvg in which every client trains by DP-SGD (split or not, the arithmetic is the same)."""
    count = min(len(client.labels) for client in owners)
    noise = private_noise(batch, count)
    trained = [
        dp_sgd.train(
            model, client, clip=BOUND, noise=noise, epochs=EPOCHS, batch=batch, lr=DP_LR, seed=runtime.derive(seed, i)
        )
        for i, client in enumerate(owners)
    ]
    mean = copy.deepcopy(model)
    with torch.no_grad():
        for parameter, *theirs in zip(mean.parameters(), *(each.parameters() for each in trained), strict=True):
            parameter.copy_(torch.stack(theirs).mean(0))
    return mean


@functools.lru_cache(maxsize=8)
def private_noise(batch: int, count: int) -> float:
    """The noise multiplier with which a client of so many images spends epsilon 6 in all rounds."""
    steps = ROUNDS * EPOCHS * math.ceil(count / batch)
    return dp_sgd.noise_multiplier(EPSILON, DELTA, sample_rate=batch / count, steps=steps, accountant="rdp")


def subject(cell: Cell, seed: int, device: torch.device) -> Subject:
    """The network of a cell, cut, with the images of the adversary and of the victims."""
    channels, side = form(cell["data"])[0], cell["size"]
    _, same, victims = (part.to(device) for part in common.shares(cell["data"], channels, side))
    own = same[:ATTACK_SET].images if cell["prior"] == "same" else _prior(cell["prior"], channels, side).to(device)
    parts = split.segments(target(cell, seed, device)[-1], cell["cut"])
    return Subject(parts, own, victims, common.judge(cell["data"], channels, side).to(device))


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Split learning within FedAvg, a decoder for the owners' segment, and what it makes of 1000 victims.

    prior: `same`, 5000 other images of the data set, or the name of another one. recorded: the decoder is made for the
    final segment; `round 1`: it is given what owners sent after the first. secure_aggregation: it is given the sum
    of what as many owners send at a time, over their number, and made for such sums.
    """
    about = subject(cell, seed, device)
    victims, sender = about.victims[: common.VICTIMS], about.parts
    if cell["recorded"] == "round 1":
        sender = split.segments(target(cell, seed, device)[1], cell["cut"])
    sent = split.send(sender.owner, victims.images)
    summed = cell["protection"] == "secure_aggregation"
    protect = functools.partial(_summed, owners=cell["clients"]) if summed else None
    made = decoder.fit(about.parts.owner, about.own, protect=protect, seed=seed)
    guesses = decoder.reconstruct(made, protect(sent) if protect else sent)
    mean = about.own.mean(0).expand_as(victims.images)
    return {
        "accuracy": split.accuracy(sender, victims.images, victims.labels),
        **common.quality(guesses, victims, about.classifier, _batch(victims)),
        "mean_image_psnr": common.reconstruction.psnr(mean, victims.images).mean().item(),
        **common.correlations(victims.images, sent, _batch(victims)),
    }


def _batch(victims: Pictures) -> int:
    return min(BATCH, len(victims.labels))


def _prior(name: str, channels: int, side: int) -> Tensor:
    return common.pictures(name, channels, side, ATTACK_SET).images


def _summed(sent: Tensor, owners: int, seed: object = None) -> Tensor:
    """In place of each activation the mean of it and those of `owners` - 1 others, all that a secure sum shows. Like
    every defence that a decoder is made for it takes a seed, and draws nothing.
    """
    return torch.stack([sent.roll(shift, 0) for shift in range(owners)]).mean(0)


UNITS = {
    "model_accuracy": ("accuracy", 100.0, 1e-3),
    "mse_255": ("mse_255", 1.0, 0.1),
    "psnr": ("psnr", 1.0, 0.1),
    "ssim": ("ssim", 1.0, 0.01),
}
VALUES = {"FMNIST": "fashion-mnist", "CIFAR-100": "cifar100", "avg": "average"}


def printed(table: str) -> tuple[Reported, ...]:
    """Printed numbers in our units. Tables 5 and 6 name no prior: the same data set is our reading.

    MNIST's accuracy is what the number of the owners' images was fitted to.
    """

    def ways(row: Printed) -> Sequence[Reading]:
        knob, _, value = row.variant.partition("=")
        own = {"prior": "same", knob: VALUES.get(value, value)}
        fitted = row.metric == "model_accuracy" and row.dataset == "MNIST"
        return (Reading(own, "9000 owners' images" if fitted else "", fitted),)

    return reported("zen", table, ways, step=1.0, units=UNITS)


def scale(_cell: Cell, item: Reported) -> str:
    """The decoder's epochs, which the target's accuracy does not depend on, and the owners' images."""
    images = f"{LARGE_SET:,} owners' images or fewer"
    return images if item.metric == "accuracy" else f"{images}; a decoder of 10 of {DECODER_EPOCHS} epochs"


def study(name: str, title: str, place: str, **particular: Any) -> Study:
    """A study of the decoder, by what is particular to it."""
    usual = {
        "version": 1,
        "versions": dict.fromkeys(("pneumoniamnist", "patches"), 2),  # parts without common images
        "run": run,
        "seeds": {"fast": 1, "real": 2, "paper": 5},
        "metrics": METRICS,
        "checksum": checksum,
        "load": dataset,
        "scale": scale,
        "takes": Takes(least=500),
        "others": common.prior,
        "subject": subject,
        "large": lambda cell: cell["prior"] == "chestmnist",  # 43 megabytes to fetch
        "together": lambda cell: cell_key({k: v for k, v in cell.items() if k not in NOT_TRAINING}),
    }
    return Study(id=f"zen/{name}", title=title, source=f"Zen, {place}", **{**usual, **particular})


BOTH: Mapping[str, tuple[str, ...]] = {
    "fast": ("digits", "patches"),
    "real": ("mnist", "cifar10"),
    "paper": ("mnist", "cifar10"),
}
GREY = {"fast": ("digits",), "real": ("mnist",), "paper": ("mnist",)}
COLOUR = {"fast": ("patches",), "real": ("cifar10",), "paper": ("cifar10",)}
ON_GREY, ON_COLOUR = ("mnist", "digits"), ("cifar10", "patches")  # which adaptations are measured on which
VISIBLE = 3.0  # dB above a blind guess
HALF = "by half a decibel and two standard errors"


def plain(table: Table, **changes: object) -> Cell:
    """The plain cell of the data that a table is about, with changes; `stranger` stands for the other data set."""
    name = table.data or "mnist"
    changes = {knob: stranger(name, table.rows) if value == "stranger" else value for knob, value in changes.items()}
    return plain_cell(name, table.rows, **changes)


def rises(metric: str, knob: str, *values: object, by: float = 0.0) -> Single:
    """Whether a metric rises from each value of a knob to the next, by more than `by`.

    A rise (or fall) of PSNR by less than half a decibel cannot be told from none, nor one within two standard errors.
    """
    margin = MARGIN if metric == "psnr" and not by else 0.0

    def test(table: Table) -> Outcome:
        cells = [plain(table, **{knob: value}) for value in values]
        return both(*(told(table.gains(metric, a, b), by, margin) for a, b in itertools.pairwise(cells)))

    return test


def shows(by: float = VISIBLE, **changes: object) -> Single:
    """Whether the reconstruction is better than a blind guess, by 3 dB or as many as are asked.

    There are two guesses: the mean of the adversary's images, and of images of the owners' kind, which are in every
    textbook.
    """

    def test(table: Table) -> Outcome:
        cell = plain(table, **changes)
        means = [table.mean("mean_image_psnr", **each) for each in (cell, {**cell, "prior": "same"})]
        blind = max((value for value in means if value == value), default=None)  # no draw has a part in them
        found = table.values("psnr", **cell)
        return None if blind is None or not found else told([psnr - blind for psnr in found], by)

    return test


def hidden(**changes: object) -> Single:
    """Whether the reconstruction is less than 1 dB better than a blind guess."""
    visible = shows(by=1.0, **changes)
    return lambda table: negated(visible(table))
