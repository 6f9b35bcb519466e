"""What the studies of linkability share: people with two devices each, their federation, and the updates it records."""

import dataclasses
import functools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from privlab import data, models, runtime
from privlab.attacks import linkability
from privlab.metrics import linkability as metrics
from privlab.sharing import federated, predictions, together
from privlab.studies._data import checksum, dataset
from privlab.studies.bench.printed import Printed, Reported, reported
from privlab.studies.bench.study import Cell, Metrics, Study, cell_key
from privlab.studies.bench.takes import Takes
from privlab.studies.linkability import _mitigations as mitigations

# Users of a federation: those made of images, some of the writers, and of the patients, of an alphabet's drawers and of
# all others about seven of ten, the rest being the background.
USERS = {"mnist-writers": 100, "mitbih": 30, "omniglot": 14, "pipa": 37, "openimages": 229}
MADE, SHARE, MOST_USERS = 20, 0.7, 100
IMAGES, STRENGTH, PREFERENCE = 60, 1.0, 1.0  # of a made user, and how far hands differ and likes
BACKGROUND = {"digits": 0.3, "mnist-writers": 5000}
ALPHABETS = ("Japanese_(katakana)", "Korean", "Sanskrit")  # of forty characters and more; one a draw
WIDTH, NEURONS, BODY_EPOCHS = 16, 64, 5
MOST = 120  # examples of a patient at most: 60 a device, as the writers have
BASE: Cell = {
    "split": "random",
    "fraction": 0.1,
    "rounds": 100,
    "attack": "mlp",
    "layer": "output",
    "mitigation": "none",
    "alpha": 0.0,
}
EPOCHS, BATCH, LR = 1, 8, 0.1
BODY_EXAMPLES = 20_000  # shown to the body at least
HEAVY = 1000  # updates: of more than these the large layer is not kept


@dataclass(frozen=True)
class People:
    """Examples of people and whose each is, numbered from 0; examples of others, with as many classes."""

    images: Tensor
    labels: Tensor
    users: Tensor
    sessions: Tensor | None
    times: Tensor | None
    background: Tensor
    background_labels: Tensor
    classes: int


def everyone(cell: Cell, seed: int) -> People:
    """The people of a cell; made ones without a `preference`, or with one of 0, like all classes alike."""
    likes = cell.get("preference") or math.inf
    return people(cell["data"], cell["users"], seed, cell.get("strength", STRENGTH), likes)


@functools.lru_cache(maxsize=2)
def people(name: str, count: int, seed: int, strength: float, preference: float) -> People:
    """`count` people drawn from those of a data set, and the background: other people, or other images."""
    own = runtime.derive(seed, "people")
    source = dataset(name)
    if source.users is None:
        return _made(source, count, own, strength, preference)
    if name == "omniglot":
        source = _alphabet(source, own)
    random = runtime.generator(own)
    users = source.users.unique()
    order = users[torch.randperm(len(users), generator=random)]
    chosen, rest = order[:count], order[count:]
    other = data.load(name, "test").sample(BACKGROUND[name], own) if name == "mnist-writers" else None
    places = [_some((source.users == user).nonzero().flatten(), random) for user in chosen.tolist()]
    place = torch.cat(places)
    owner = torch.arange(len(places)).repeat_interleave(torch.tensor(list(map(len, places))))
    mine = source[place]
    theirs = other if other is not None else source[torch.isin(source.users, rest)]
    told = mine.sessions, mine.times
    return People(mine.images, mine.labels, owner, *told, theirs.images, theirs.labels, len(source.classes))


def _made(source: data.Dataset, count: int, seed: int, strength: float, preference: float) -> People:
    share = data.disjoint(source.pixels, [BACKGROUND.get(source.name, 0.3)], seed)
    others, own = source[share[0]], source[share[1]]
    preference = preference if source.labels.dim() == 1 else math.inf  # likes take one label an image
    made = data.made_users(own, count, min(IMAGES, len(own)), strength=strength, preference=preference, seed=seed)
    assert made.users is not None
    return People(made.images, made.labels, made.users, None, None, others.images, others.labels, len(source.classes))


def _some(places: Tensor, random: torch.Generator) -> Tensor:
    """As many of one person's examples as all may have, in their order."""
    return places[torch.randperm(len(places), generator=random)[:MOST].sort().values]


def _alphabet(source: data.Dataset, seed: int) -> data.Dataset:
    """One alphabet of Omniglot, at 28 x 28 pixels: only within one does a drawer's number mean the same person."""
    name = ALPHABETS[seed % len(ALPHABETS)]
    of = torch.tensor([each.rpartition("/")[0].endswith(name) for each in source.classes])
    part = source[of[source.labels]]
    classes, labels = part.labels.unique(return_inverse=True)
    small = data.resized(1 - part.images, 28, 1)
    pixels, names = (small * 255).round().to(torch.uint8), tuple(source.classes[each] for each in classes)
    return dataclasses.replace(part, pixels=pixels, labels=labels, classes=names)


@dataclass(frozen=True)
class Devices:
    """Clients (on frozen features, and what trains on them), with the numbers of user and device; a test set."""

    clients: tuple[federated.Client, ...]
    users: Tensor
    numbers: Tensor
    head: nn.Sequential
    tested: federated.Client
    background: federated.Client


@functools.lru_cache(maxsize=2)
def _devices(key: str, seed: int, device: str) -> Devices:
    cell = json.loads(key)
    found = everyone(cell, seed)
    net = pretrained(found, seed, device)
    inside, labels = found.background.to(device), found.background_labels.to(device)
    at = [name for name, _ in net.named_children()].index("fc1")
    body = net[:at]
    seen, behind = features(body, found.images.to(device)), features(body, inside)
    largest = behind.max()
    seen, behind = (each.div(largest).clamp(0, 1) for each in (seen, behind))
    head = models.fully_connected(seen.shape[1:], found.classes, widths=(NEURONS,), seed=runtime.derive(seed, "head"))
    where, held = shared_out(found, cell["split"], seed)
    clients = [federated.Client(seen[each.chosen], found.labels[each.chosen].to(device)) for each in where]
    return Devices(
        tuple(clients),
        torch.tensor([each.user for each in where]),
        torch.tensor([each.number for each in where]),
        head.to(device),
        federated.Client(seen[held], found.labels[held].to(device)),
        federated.Client(behind, labels),
    )


def pretrained(found: People, seed: int, device: str) -> nn.Sequential:
    """A network for the task, trained on the background alone: what the paper's has of ImageNet."""
    net = models.mobile(found.images.shape[1:], found.classes, width=WIDTH, neurons=NEURONS, seed=seed).to(device)
    inside, labels = found.background.to(device), found.background_labels.to(device)
    return predictions.fit(net, inside, labels, epochs=max(BODY_EPOCHS, BODY_EXAMPLES // len(inside)), seed=seed)


def shared_out(found: People, split: str, seed: int) -> tuple[list[data.Device], Tensor]:
    """Everyone's two devices, with the places of their examples; and the places on which the task is measured."""
    own = runtime.derive(seed, "devices")
    kept, held = _held_out(found, own)
    sessions, times = (None if told is None else told[kept] for told in (found.sessions, found.times))
    where = data.devices(found.users[kept], split, sessions=sessions, times=times, seed=own)
    return [dataclasses.replace(each, chosen=kept[each.chosen]) for each in where], held


def _held_out(found: People, seed: int) -> tuple[Tensor, Tensor]:
    """Places of four fifths of the examples, for the devices, and of the rest, on which the task is measured."""
    held = torch.zeros(len(found.users), dtype=torch.bool)
    random = runtime.generator(runtime.derive(seed, "held out"))
    for user in found.users.unique():
        own = (found.users == user).nonzero().flatten()
        held[own[torch.randperm(len(own), generator=random)[: len(own) // 5]]] = True
    return (~held).nonzero().flatten(), held.nonzero().flatten()


def features(body: nn.Module, images: Tensor) -> Tensor:
    """What the frozen layers make of images, as signals of one channel `(N, 1, F)`."""
    return torch.cat([predictions.predict(body, part) for part in images.split(1024)])[:, None]


FEDERATION = (
    "data",
    "users",
    "split",
    "fraction",
    "rounds",
    "mitigation",
    "alpha",
    "strength",
    "preference",
    "control",
    "epsilon",
    "delta",
)
SHARED = ("data", "users", "split", "strength", "preference")


def devices(cell: Cell, seed: int, device: torch.device) -> Devices:
    """The devices of a cell, which all cells with the same people and split share."""
    return _devices(cell_key({name: cell[name] for name in SHARED if name in cell}), seed, str(device))


@dataclass(frozen=True)
class Recorded:
    """Updates as an eavesdropper has them: of each layer that is sent `(N, D)`, of length one, and the lengths `(N,)`;
    user, device and round of each; and the model.
    """

    layers: Mapping[str, Tensor]
    lengths: Mapping[str, Tensor]
    users: Tensor
    numbers: Tensor
    rounds: Tensor
    model: nn.Sequential

    @property
    def clients(self) -> Tensor:
        return 2 * self.users + self.numbers


@functools.lru_cache(maxsize=2)
def _recorded(key: str, seed: int, device: str) -> Recorded:
    cell = json.loads(key)
    about = devices(cell, seed, torch.device(device))
    heavy = cell["rounds"] * cell["fraction"] * len(about.clients) > HEAVY
    layers = ("output",) if heavy and cell["mitigation"] != "only fc1" else ("fc1", "output")
    own = runtime.derive(seed, "mitigation")
    clients = tuple(mitigations.changed(cell, about.clients, about.background, own))
    return record(
        cell,
        dataclasses.replace(about, clients=clients),
        seed,
        layers,
        train=together.local_updates,
        protect=mitigations.protection(cell, len(about.clients), own),
    )


def record(
    cell: Cell,
    about: Devices,
    seed: int,
    layers: Sequence[str],
    *,
    lr: float = LR,
    train: federated.Trainer | None = None,
    protect: mitigations.Protect | None = None,
) -> Recorded:
    """A cell's federation of these devices, and the updates of some layers that were sent in it."""
    log: list[tuple[int, int, dict[str, Tensor]]] = []

    def listen(number: int, client: int, update: federated.Update) -> None:
        log.append((number, client, {name: e for name, e in update.items() if name.rpartition(".")[0] in layers}))

    model = federated.fed_avg(
        about.head,
        about.clients,
        rounds=cell["rounds"],
        epochs=EPOCHS,
        batch=BATCH,
        lr=lr,
        fraction=cell["fraction"],
        seed=runtime.derive(seed, "federation"),
        listen=listen,
        train=train,
        protect=protect,
        equal=cell["mitigation"] == "dp",
    )
    numbers, clients, updates = zip(*log, strict=True)
    sent = [layer for layer in layers if f"{layer}.weight" in updates[0]]
    rows = {layer: linkability.vectors(updates, layer) for layer in sent}
    lengths = {layer: torch.stack([_length(each, layer) for each in updates]) for layer in sent}
    who = torch.tensor(clients)
    return Recorded(rows, lengths, about.users[who], about.numbers[who], torch.tensor(numbers), model)


def _length(update: federated.Update, layer: str) -> Tensor:
    return torch.stack([each.norm() for name, each in update.items() if name.startswith(f"{layer}.")]).norm()


def recorded(cell: Cell, seed: int, device: torch.device) -> Recorded:
    """The updates of a cell's federation, which all attacks on it share."""
    return _recorded(cell_key({name: cell[name] for name in FEDERATION if name in cell}), seed, str(device))


def known_and_asked(log: Recorded, layer: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Updates of the first devices with their users, which the adversary observed, and those of the second ones.

    Of users of whom both were heard, numbered anew from 0.
    """
    first = log.numbers == 0
    both = torch.tensor(sorted(set(log.users[first].tolist()) & set(log.users[~first].tolist())))
    place = torch.full((int(log.users.max()) + 1,), -1)
    place[both] = torch.arange(len(both))
    mine, theirs = (part & (place[log.users] >= 0) for part in (first, ~first))
    rows = log.layers[layer]
    return rows[mine], place[log.users[mine]], rows[theirs], place[log.users[theirs]]


def kept(log: Recorded, chosen: Tensor) -> Recorded:
    """Some of the updates alone, by a bool `(N,)`."""
    rows, lengths = ({layer: each[chosen] for layer, each in some.items()} for some in (log.layers, log.lengths))
    return dataclasses.replace(
        log,
        layers=rows,
        lengths=lengths,
        users=log.users[chosen],
        numbers=log.numbers[chosen],
        rounds=log.rounds[chosen],
    )


def scored(cell: Cell, log: Recorded, about: Devices, seed: int) -> Metrics:
    """Identification of second devices by what was observed of first ones, and the accuracy of the task."""
    known, users, asked, truth = known_and_asked(log, cell["layer"])
    own = runtime.derive(seed, "attack")
    scores = linkability.identify(known, users.to(known.device), asked, attack=cell["attack"], seed=own)
    found = metrics.score(scores.cpu(), truth, seed=own)
    utility = federated.accuracy(log.model, about.tested.images, about.tested.labels)
    return {**dataclasses.asdict(found), "utility": utility}


def identified(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """What an attack on a cell's federation finds, from all that was recorded."""
    return scored(cell, recorded(cell, seed, device), devices(cell, seed, device), seed)


METRICS = ("ap", "times_chance", "times_random", "times_strangers", "top1", "top5", "utility")
SETS = {"fast": ("digits",), "real": ("mnist-writers", "mitbih", "omniglot")}


def made(name: str) -> bool:
    """Whether the users of a data set are made, of its images."""
    return name not in USERS and (name in data.CATALOGUE or dataset(name).users is None)


def users_of(name: str) -> int:
    """How many users a federation has."""
    if name in USERS or made(name):
        return USERS.get(name, MADE)
    return max(2, min(MOST_USERS, int(SHARE * len(dataset(name).users.unique()))))


def of_people(name: str, users: int | None = None) -> Cell:
    """The part of a cell that says whose examples: made users differ in their hands and in their likes."""
    return {"data": name, "users": users or users_of(name), **({"preference": PREFERENCE} if made(name) else {})}


def cells_of(name: str, *changes: Mapping[str, Any]) -> list[Cell]:
    """The plain cell of a data set with each of the changes."""
    return [{**of_people(name), **BASE, **change} for change in changes]


def study(name: str, title: str, place: str, **particular: Any) -> Study:
    """A study of linkability, by what is particular to it."""
    usual = {
        "version": 1,
        "run": identified,
        "data": {**SETS, "paper": SETS["real"]},
        "seeds": {"fast": 3, "real": 3, "paper": 3},
        "metrics": METRICS,
        "load": dataset,
        "checksum": checksum,
        "takes": Takes(kind="people", least=200),
        "together": lambda cell: cell_key({name: cell[name] for name in FEDERATION if name in cell}),
        "subject": recorded,
    }
    return Study(id=f"linkability/{name}", title=title, source=f"linkability, {place}", **{**usual, **particular})


NAMES = {"knn": "k-NN", "svm": "SVM", "mlp": "MLP", "siamese": "Siamese", "chance": "chance"}
SPLITS = {"random": "random", "session": "photoset", "chronological": "chrono"}
# The papers' metrics by our names: (name, factor, one unit of the last printed digit).
UNITS = {
    "identification_ap": ("ap", 100.0, 1e-3),
    "matching_ap": ("ap", 100.0, 1e-3),
    "task_ap": ("utility", 100.0, 1e-3),
    "times_chance": ("times_chance", 1.0, 1.0),
}


def printed(table: str) -> tuple[Reported, ...]:
    """The printed numbers of one table, by attack and split."""
    attacks, splits = ({title: name for name, title in each.items()} for each in (NAMES, SPLITS))

    def place(row: Printed) -> Mapping[str, Any] | None:
        split = splits.get(row.split)
        return {"split": split, "attack": attacks[row.variant]} if split and row.variant in attacks else None

    return reported("linkability", table, place, step=1.0, units=UNITS)
