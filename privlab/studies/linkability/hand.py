"""What is recognised, the labels or the hand.

An update depends on how often each class is on a device, and on what a user's examples look like. Controls take one of
the two away: `shuffled` deals the examples of each class out anew among all devices that have some, so that every
device keeps its labels, but not its hand; `equal mix` gives every device as many examples of each class as any other,
its own ones first and, where those do not suffice, others' of the background; `labels only` puts the labels' counts in
the place of the updates. Made users differ as much as they are told to: in nothing, in their hands (`strength`), or in
their likes for classes (`preference`; 0 in a cell: none). Chance is what an attack's scores have for strangers.
"""

import dataclasses
import functools
import itertools
import json
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from privlab import runtime
from privlab.sharing import federated, together
from privlab.studies.bench.sentence import Found, alike, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table, cell_key
from privlab.studies.linkability._federation import (
    FEDERATION,
    SHARED,
    Devices,
    Recorded,
    cells_of,
    devices,
    made,
    record,
    scored,
    study,
)

STRENGTHS, PREFERENCES = (0.0, 0.5, 1.0, 2.0), (0.0, 1.0, 0.3)
BOTH: Cell = {"strength": 1.0, "preference": 1.0}  # of made users whose hands and likes differ
NOTHING: Cell = {"strength": 0.0, "preference": 0.0}
HALF, TWICE = 0.5, 2.0
USERS = 40  # made ones: of few, those who differ in nothing look alike by chance too often
Clients = tuple[federated.Client, ...]


def cells(name: str) -> list[Cell]:
    """The network's attack under each control; on made users also for all strengths, and for all preferences."""
    if not made(name):
        return cells_of(name, *({"control": control} for control in CONTROLS))
    controlled = [{**BOTH, "control": control} for control in CONTROLS]
    hands = [{**NOTHING, "strength": strength, "control": "none"} for strength in STRENGTHS]
    likes = [{**NOTHING, "preference": preference, "control": "none"} for preference in PREFERENCES[1:]]
    return cells_of(name, *({"users": USERS, **each} for each in (*controlled, *hands, *likes)))


def shuffled(about: Devices, seed: int) -> Clients:
    """Every device's labels, with examples that are dealt out anew within each class."""
    images, labels = (torch.cat([getattr(each, part) for each in about.clients]) for part in ("images", "labels"))
    random, dealt = runtime.generator(runtime.derive(seed, "shuffled")), torch.arange(len(labels))
    for label in labels.unique():
        own = (labels == label).nonzero().flatten().cpu()
        dealt[own] = own[torch.randperm(len(own), generator=random)]
    parts = images[dealt.to(images.device)].split([len(each.labels) for each in about.clients])
    return tuple(federated.Client(part, each.labels) for part, each in zip(parts, about.clients, strict=True))


def equal_mix(about: Devices, seed: int) -> Clients:
    """Devices with as many examples of each class of the background: the mean of what they had, rounded."""
    random = runtime.generator(runtime.derive(seed, "equal mix"))
    others = about.background
    classes = others.labels.unique()
    total = sum(len(each.labels) for each in about.clients)
    count = max(1, round(total / len(about.clients) / len(classes)))
    return tuple(_equal(each, others, classes, count, random) for each in about.clients)


def _equal(
    client: federated.Client, others: federated.Client, classes: Tensor, count: int, random: torch.Generator
) -> federated.Client:
    images = []
    for label in classes:
        mine, theirs = client.images[client.labels == label], others.images[others.labels == label]
        some = mine[torch.randperm(len(mine), generator=random)[:count]]
        more = theirs[torch.randint(len(theirs), (count - len(some),), generator=random)]
        images += [some, more]
    return federated.Client(torch.cat(images), classes.repeat_interleave(count))


CONTROLS: dict[str, Callable[[Devices, int], Clients]] = {
    "none": lambda about, _seed: about.clients,
    "shuffled": shuffled,
    "equal mix": equal_mix,
    "labels only": lambda about, _seed: about.clients,
}


@functools.lru_cache(maxsize=2)
def _recorded(key: str, seed: int, device: str) -> Recorded:
    cell = json.loads(key)
    about = devices(cell, seed, torch.device(device))
    changed = dataclasses.replace(about, clients=CONTROLS[cell["control"]](about, seed))
    log = record(cell, changed, seed, ("output",), train=together.local_updates)
    return _labels(log, about) if cell["control"] == "labels only" else log


def _labels(log: Recorded, about: Devices) -> Recorded:
    """What was sent, but for the counts of each client's labels in the place of its update."""
    classes = 1 + max(int(each.labels.max()) for each in about.clients)
    counts = torch.stack([torch.bincount(each.labels, minlength=classes).float() for each in about.clients])
    return dataclasses.replace(log, layers={"output": nn.functional.normalize(counts, dim=1)[log.clients]})


def recorded(cell: Cell, seed: int, device: torch.device) -> Recorded:
    """What an eavesdropper has of a cell's federation, under its control."""
    return _recorded(cell_key({name: cell[name] for name in FEDERATION if name in cell}), seed, str(device))


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Identification under a control."""
    return scored(cell, recorded(cell, seed, device), devices(cell, seed, device), seed)


def _left(table: Table, control: str) -> Found:
    """Whether more than half of what was above chance is left under a control."""
    plain = {"control": "none", **_both(table)}
    pairs = table.by_seed("times_strangers", plain, {**plain, "control": control})
    return told([(under - 1) - HALF * (without - 1) for without, under in pairs])


def _both(table: Table) -> Cell:
    """Of made users those who differ in both."""
    return BOTH if any("strength" in row["cell"] for row in table.rows) else {}


def _steps(table: Table, knob: str, places: Sequence[float]) -> Found:
    own = [{**NOTHING, knob: place, "control": "none"} for place in places]
    return {
        f"{places[i]:g} to {places[i + 1]:g}": told(table.gains("ap", low, high))
        for i, (low, high) in enumerate(itertools.pairwise(own))
    }


STUDY = study(
    "hand",
    "What is recognised: the labels or the hand",
    "sections 7.3 and 8.2",
    cells=cells,
    run=run,
    seeds={"fast": 5, "real": 3, "paper": 3},
    knob="control",
    together=lambda cell: cell_key({name: cell[name] for name in SHARED if name in cell}),
    subject=recorded,
    claims=(
        Claim(
            "Users who differ in nothing are not recognised.",
            "section 7.3",
            lambda table: alike([v - 1 for v in table.values("times_strangers", **NOTHING)], HALF),
            "made users without hand and likes: the precision of the scores for strangers, give or take half of it",
            ours=True,
            data=("digits",),
        ),
        Claim(
            "The further users' hands are apart, the better users are recognised.",
            "section 7.3",
            lambda table: _steps(table, "strength", STRENGTHS),
            "made users without likes, strengths 0, 0.5, 1 and 2: a larger precision at each step, in the same draws",
            ours=True,
            data=("digits",),
        ),
        Claim(
            "The stronger users' likes for classes are, the better users are recognised.",
            "section 7.3",
            lambda table: _steps(table, "preference", PREFERENCES),
            "made users without hands, no likes (0), then 1 and 0.3 of a Dirichlet distribution: a larger precision",
            ours=True,
            data=("digits",),
        ),
        Claim(
            "Of the hand alone most is left.",
            "section 8.2",
            lambda table: _left(table, "equal mix"),
            "each class as often on every device: more than half of what the precision is above that for strangers",
            ours=True,
        ),
        Claim(
            "Of the labels alone most is left.",
            "section 8.2",
            lambda table: _left(table, "shuffled"),
            "dealt out anew within each class: more than half of what the precision is above that for strangers",
            ours=True,
        ),
        Claim(
            "Who knows the label counts of two devices sees whether they are one user's.",
            "section 8.2",
            lambda table: told(table.values("times_strangers", control="labels only"), TWICE),
            "counts in the place of updates: more than twice the precision of the same scores for strangers",
            ours=True,
        ),
    ),
)
