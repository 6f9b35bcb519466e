"""Figure 8: who made these images: several of a device's, in one vector, for the network that attacks updates.

Features of the frozen layers of s images of one device, their mean or their maximum, divided by its length: ten such
sets of each device, as many as it sends updates. Of a device with fewer images than s all are taken.
"""

import dataclasses
import itertools

import torch
from torch import Tensor, nn

from privlab import runtime
from privlab.attacks import linkability
from privlab.metrics import linkability as metrics
from privlab.studies.bench.sentence import Found, alike, ratio, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table
from privlab.studies.linkability._federation import METRICS, Devices, devices, of_people, study
from privlab.studies.linkability._pictures import sole

SIZES = (1, 2, 4, 8, 16)
SETS = 10
AGGREGATES = {"mean": lambda images: images.mean(0), "max": lambda images: images.amax(0)}
LEVEL, COMPARABLE = 0.02, 0.9


def cells(name: str) -> list[Cell]:
    """Five sizes of a set, and two ways to make one vector of it; of one image both are the same."""
    base = {**of_people(name), "split": "random", "attack": "mlp"}
    ways = [("mean", size) for size in SIZES] + [("max", size) for size in SIZES[1:]]
    return [{**base, "aggregate": way, "images": size} for way, size in ways]


def sets(cell: Cell, about: Devices, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors of length one `(N, F)` of sets of images, and their users and devices."""
    random, rows = runtime.generator(runtime.derive(seed, "sets")), []
    for client in about.clients:
        for _ in range(SETS):
            chosen = torch.randperm(len(client.labels), generator=random)[: cell["images"]]
            rows.append(AGGREGATES[cell["aggregate"]](client.images[chosen.to(client.images.device), 0]))
    users, numbers = (each.repeat_interleave(SETS) for each in (about.users, about.numbers))
    return nn.functional.normalize(torch.stack(rows), dim=1), users, numbers


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """The network learns the sets of the first devices, and is asked about those of the second ones."""
    vectors, users, numbers = sets(cell, devices(cell, seed, device), seed)
    own, first = runtime.derive(seed, "attack"), numbers == 0
    known, asked = vectors[first.to(vectors.device)], vectors[~first.to(vectors.device)]
    scores = linkability.identify(known, users[first].to(known.device), asked, attack=cell["attack"], seed=own)
    return dataclasses.asdict(metrics.score(scores.cpu(), users[~first], seed=own))


def _each_more_helps(table: Table) -> Found:
    return {f"{few} to {more}": told(table.gains("ap", _of(few), _of(more))) for few, more in itertools.pairwise(SIZES)}


def _of(images: int, aggregate: str = "mean") -> Cell:
    return {"aggregate": aggregate, "images": images}


def _either_way(table: Table) -> Found:
    return {way: told(table.gains("ap", _of(SIZES[0]), _of(SIZES[-1], way))) for way in AGGREGATES}


def _levels_off(table: Table) -> Found:
    update = {"attack": "mlp", "layer": "output", "split": "random", **sole(table, "aggregate", "mean")}
    return {
        "the last doubling": alike(table.gains("ap", _of(SIZES[-2]), _of(SIZES[-1])), LEVEL),
        "beside updates": ratio(table.values("ap", **_of(SIZES[-1])), table.values("ap", **update), COMPARABLE),
    }


STUDY = study(
    "figure-8",
    "Who made these images: several of one device in one vector",
    "section 8.2, Figure 8",
    cells=cells,
    run=run,
    knob="images",
    metrics=tuple(each for each in METRICS if each != "utility"),
    beside=("linkability/table-4", "linkability/table-6"),
    subject=lambda cell, seed, device: sets(cell, devices(cell, seed, device), seed),
    claims=(
        Claim(
            "classification AP increases with size of the aggregation factor s",
            "section 8.2, Figure 8 (i)",
            _each_more_helps,
            "means of 1, 2, 4, 8 and 16 images: a larger precision at each step, in the same draws",
        ),
        Claim(
            "this occurs for multiple choices of aggregation functions",
            "section 8.2, Figure 8 (ii)",
            _either_way,
            "the mean and the maximum of 16 images against one image: a larger precision, in the same draws",
        ),
        Claim(
            "the performance eventually plateaus, resulting in the performance comparable to the identification attack",
            "section 8.2, Figure 8 (iii)",
            _levels_off,
            "means: 16 images within two points of 8, and above nine tenths of the precision of the attack on updates",
        ),
    ),
)
