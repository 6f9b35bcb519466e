"""Section 5.2 of "Zen": the generative decoder on split learning within federated learning; Tables 4 to 6, figures."""

import copy
import functools
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from privlab import models, runtime
from privlab.attacks import decoder
from privlab.defences import dp_sgd
from privlab.sharing import federated, split
from privlab.studies import split_learning as common
from privlab.studies.curious import checksum
from privlab.studies.outcome import MARGIN, Outcome, both, told
from privlab.studies.split_learning import Pictures
from privlab.studies.study import Cell, Claim, Metrics, Reported, Study, Table, Test, cell_key, read_reported

LARGE_SET = 9_000  # owners' images: with them MNIST's accuracy is the paper's 91 %
ROUNDS, EPOCHS, CLIENTS, ATTACK_SET = 3, 10, 3, 5_000
EPSILON, DELTA, BOUND, DP_LR = 6.0, 1e-5, 1.0, 0.5
BATCH = 128  # over which distance correlation is taken
METRICS = ("accuracy", *common.QUALITY, "mean_image_psnr", *common.DEPENDENCE)
# Channels and side of each data set: a table can be shown where the data are missing.
FORMS = {
    **dict.fromkeys(("mnist", "digits", "pneumoniamnist"), (1, 28)),
    "cifar10": (3, 32),
    "patches": (3, 32),
    "pathmnist": (3, 28),
    "dermamnist": (3, 28),
}
# "Uses FMNIST prior ... CIFAR-100 prior" (Table 4); embedded data stand for both.
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


def plain_cell(name: str, **changes: object) -> Cell:
    """The standard setting of "Zen", section 4.2, on one data set: IID, three clients, the second pooling layer."""
    return {"data": name, **PLAIN, "size": FORMS.get(name, (1, 28))[1], **changes}


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
    own = common.shares(cell["data"], FORMS.get(cell["data"], (1, 28))[0], cell["size"])[0][:LARGE_SET]
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
    """The paper's 1e-4; ten times that on the embedded sets, a tenth as large."""
    return 1e-3 if name in ("digits", "patches") else 1e-4


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


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Split learning within FedAvg, a decoder for the owners' segment, and what it makes of 1000 victims.

    prior: `same`, 5000 other images of the data set, or the name of another one. recorded: the decoder is made for the
    final segment; `round 1`: it is given what owners sent after the first. secure_aggregation: it is given the sum
    of what as many owners send at a time, over their number.
    """
    channels, side = FORMS.get(cell["data"], (1, 28))[0], cell["size"]
    _, same, victims = (part.to(device) for part in common.shares(cell["data"], channels, side))
    victims = victims[: common.VICTIMS]
    states = target(cell, seed, device)
    final = split.segments(states[-1], cell["cut"])
    sender = split.segments(states[1], cell["cut"]) if cell["recorded"] == "round 1" else final
    own = same[:ATTACK_SET].images if cell["prior"] == "same" else _prior(cell["prior"], channels, side).to(device)
    sent = split.send(sender.owner, victims.images)
    seen = _summed(sent, cell["clients"]) if cell["protection"] == "secure_aggregation" else sent
    guesses = decoder.reconstruct(common.decoder_for(final.owner, own, seed=seed), seen)
    classifier = common.judge(cell["data"], channels, side).to(device)
    mean = own.mean(0).expand_as(victims.images)
    return {
        "accuracy": split.accuracy(sender, victims.images, victims.labels),
        **common.quality(guesses, victims, classifier, _batch(victims)),
        "mean_image_psnr": common.reconstruction.psnr(mean, victims.images).mean().item(),
        **common.correlations(victims.images, sent, _batch(victims)),
    }


def _batch(victims: Pictures) -> int:
    return min(BATCH, len(victims.labels))


def _prior(name: str, channels: int, side: int) -> Tensor:
    return common.pictures(name, channels, side, ATTACK_SET).images


def _summed(sent: Tensor, owners: int) -> Tensor:
    """In place of each activation the mean of it and those of `owners` - 1 others, all that a secure sum shows."""
    return torch.stack([sent.roll(shift, 0) for shift in range(owners)]).mean(0)


NAMES = {"model_accuracy": ("accuracy", 100, 1e-3), "mse_255": ("mse_255", 1, 0.1)}
NAMES |= {"psnr": ("psnr", 1, 0.1), "ssim": ("ssim", 1, 0.01)}
VALUES = {"FMNIST": "fashion-mnist", "CIFAR-100": "cifar100", "avg": "average"}


def printed(table: str) -> tuple[Reported, ...]:
    """Printed numbers in our units. Tables 5 and 6 name no prior: the same data set is our reading."""

    def cell(_dataset: str, variant: str) -> Cell:
        knob, _, value = variant.partition("=")
        return {"prior": "same", knob: VALUES.get(value, value)}

    return tuple(
        Reported(item.dataset, item.cell, *_unit(item.metric, item.value))
        for item in read_reported("zen", table, cell, step=1.0)
    )


def _unit(metric: str, value: float) -> tuple[str, float, float]:
    name, factor, step = NAMES[metric]
    return name, value / factor, step


def study(
    number: str,
    title: str,
    source: str,
    cells: Callable[[str], list[Cell]],
    data: Mapping[str, tuple[str, ...]],
    knob: str,
    claims: Sequence[Claim] = (),
    reported: Sequence[Reported] = (),
) -> Study:
    """A study of this section: they differ in their cells."""
    return Study(
        id=f"zen/{number}",
        title=title,
        source=source,
        version=1,
        cells=cells,
        run=run,
        data=data,
        seeds={"fast": 1, "real": 2, "paper": 5},
        knob=knob,
        metrics=METRICS,
        reported=tuple(reported),
        claims=tuple(claims),
        checksum=checksum,
        large=lambda cell: cell["prior"] == "chestmnist",  # 43 megabytes to fetch
        together=lambda cell: cell_key({k: v for k, v in cell.items() if k not in NOT_TRAINING}),
    )


def table(
    number: str,
    knob: str,
    title: str,
    values: Sequence[object],
    data: Mapping[str, tuple[str, ...]],
    claims: Sequence[Claim],
) -> Study:
    """A study with one knob on the plain cell, and the paper's table of that number."""
    return study(
        f"table-{number}",
        title,
        f"Zen, Table {number}",
        lambda name: [plain_cell(name, **{knob: value}) for value in values],
        data,
        knob,
        claims,
        printed(number),
    )


def by_seed(table: Table, metric: str, cells: Sequence[Cell]) -> list[list[float]] | None:
    """A metric in each of some cells, one list a seed that has them all; None where there is no such seed."""
    rows = [[row for row in table.select(**cell).rows if metric in row["metrics"]] for cell in cells]
    found = [{row["seed"]: float(row["metrics"][metric]) for row in each} for each in rows]
    seeds = sorted(set.intersection(*(set(each) for each in found)))
    return [[each[seed] for each in found] for seed in seeds] or None


def compared(table: Table, metric: str, knob: str, values: Sequence[object]) -> list[list[float]] | None:
    """A metric of the plain cell with one knob at each of some values, one list a seed; None where some are missing."""
    if table.data is None:
        return None
    name = table.data
    cells = [plain_cell(name, **{knob: STRANGERS.get(name) if value == "stranger" else value}) for value in values]
    return by_seed(table, metric, cells)


def rises(metric: str, knob: str, *values: object, by: float = 0.0) -> Test:
    """Whether a metric rises from each value of a knob to the next, by more than `by`.

    A rise (or fall) of PSNR by less than half a decibel cannot be told from none, nor one that other seeds reverse.
    """
    margin = MARGIN if metric == "psnr" and not by else 0.0

    def test(table: Table) -> Outcome:
        found = compared(table, metric, knob, values)
        if found is None:
            return None
        steps = zip(*([b - a for a, b in itertools.pairwise(seed)] for seed in found), strict=True)
        return both(*(told(step, by, margin) for step in steps))

    return test


def alike(metric: str, knob: str, *values: object, within: float) -> Test:
    """Whether a metric is the same at all values of a knob, within so much."""

    def test(table: Table) -> Outcome:
        found = compared(table, metric, knob, values)
        return None if found is None else told([within - (max(seed) - min(seed)) for seed in found])

    return test
