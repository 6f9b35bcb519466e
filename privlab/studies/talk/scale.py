"""The talk's closing points: what becomes easier for an adversary, and what harder, in larger federations."""

import functools
import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from privlab import runtime
from privlab.attacks import gradient_extraction
from privlab.defences import client_dp
from privlab.metrics import reconstruction
from privlab.sharing import federated
from privlab.sharing.federated import Update
from privlab.sharing.messages import stack
from privlab.studies._data import checksum, dataset
from privlab.studies._local import gradient_of_steps
from privlab.studies.bench.sentence import POINT, Found, Outcome, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Study, Table
from privlab.studies.bench.takes import Takes
from privlab.studies.talk import _federation as federation
from privlab.studies.talk import _lies as lies
from privlab.studies.talk import _readings as readings
from privlab.studies.talk._federation import BATCH, Defence, Lie, World

COUNTS, EACH, FIFTH = (5, 10, 20, 40), 20, 5
CONCEALED = ("data_poisoning", "backdoor")
READERS = (1, 2, 5, 10, 20, 40)
SKEWS = (None, 0.5, 0.1)
NOISES, CLIP = (0.03, 0.1, 0.3, 1.0), 1.0
LITTLE, SEEN = 0.02, 0.1
ASSUMED = ("none", "larger mini-batch", "trained", "local steps", "several images of a class")
VICTIMS, STEPS, LARGE = 5, 5, 45


def cells(name: str) -> list[Cell]:
    """Clients and liars, their sum, their own mixtures, noise on it; and what inversion assumes."""
    common = {"data": name}
    made: list[Cell] = [
        {**common, "attack": attack, "defence": "none", "clients": count, "malicious": count // FIFTH}
        for attack in CONCEALED
        for count in COUNTS
    ]
    made += [{**common, "attack": "inversion", "defence": "secure_sum", "clients": count} for count in READERS]
    made += [
        {**common, "attack": "membership", "defence": "none", "clients": count, "skew": skew}
        for count, skew in itertools.product(COUNTS, SKEWS)
        if skew == SKEWS[1] or count == COUNTS[2]
    ]
    made += [
        {**common, "attack": "none", "defence": "client_dp", "clients": count, "noise": noise}
        for count, noise in itertools.product(COUNTS, (0.0, *NOISES))
    ]
    return made + [
        {**common, "attack": "inversion", "defence": "none", "clients": 1, "without": each} for each in ASSUMED
    ]


def _world(cell: Cell, seed: int, device: torch.device, skew: float | None = federation.SKEW) -> World:
    return federation.drawn(cell["data"], seed, device, clients=cell["clients"], each=EACH, skew=skew)


def _concealed(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """How well liars are told from the honest by their updates: the area under the curve of the best of three tests.

    Lengths, distances from the middle of all, and directions to their mean; of all rounds together. It is the defender
    who picks the best, by the truth. attack_success, baseline: as in `talk/defences`.
    """
    world, bad, sent = _world(cell, seed, device), cell["malicious"], list[Update]()
    lie: Lie = lies.LIES[cell["attack"]][0]
    model = federation.train(world, Defence(), lie, bad, listen=lambda _round, _client, update: sent.append(update))
    starts = range(0, len(sent), cell["clients"])
    areas = [_areas(stack(sent[start : start + cell["clients"]]), bad) for start in starts]
    honest = federation.train(world, Defence())
    return {
        "noticed": torch.tensor(areas).mean(0).max().item(),
        "attack_success": lies.success(cell["attack"], model, world),
        "baseline": lies.success(cell["attack"], honest, world),
    }


def _areas(rows: Tensor, bad: int) -> list[float]:
    """Of three tests, how often one of the first `bad` updates looks less usual than one of the others."""
    lengths, middle = rows.norm(dim=1), rows.median(0).values
    units = rows / lengths[:, None].clamp_min(1e-30)
    tests = (
        (lengths - lengths.median()).abs(),
        (rows - middle).norm(dim=1),
        1 - units @ nn.functional.normalize(units.mean(0), dim=0),
    )
    return [(each[:bad, None] > each[None, bad:]).double().mean().item() for each in tests]


def _summed(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Images of a client, read in the mean of all clients' gradients, a mini-batch each; the mean over some clients."""
    world = _world(cell, seed, device)
    model = world.model()
    batches = [(each.images[:BATCH], each.labels[:BATCH]) for each in world.clients]
    mean = federated.average([federated.gradient(model, *each) for each in batches])
    read = gradient_extraction.extract(mean, shape=world.fresh.shape).images
    return _means([_identified(read, images, world) for images, _ in batches[:VICTIMS]])


def _means(found: Sequence[Metrics]) -> Metrics:
    return {name: sum(each[name] for each in found) / len(found) for name in found[0]}


def _identified(read: Tensor, images: Tensor, world: World) -> Metrics:
    """The share of images that is recognised in what was read, among fresh ones; and what a guess gets."""
    blind = len(images) / (len(images) + len(world.fresh))
    if not len(read):
        return {"attack_success": 0.0, "baseline": blind}
    return {"attack_success": reconstruction.score(read, images, world.fresh.images).identified, "baseline": blind}


def _assumed(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Inversion of nine images a mini-batch where one thing that it is wont to assume is not so."""
    world = federation.drawn(cell["data"], seed, device)
    without, found = cell["without"], []
    model = federation.train(world, Defence()) if without == "trained" else world.model()
    for client in world.clients[:VICTIMS]:
        size = LARGE if without == "larger mini-batch" else BATCH
        images, labels = client.images[:size], client.labels[:size]
        if without == "several images of a class":
            same = (world.fresh.labels == world.fresh.labels.mode().values).nonzero()[:BATCH, 0]
            images, labels = world.fresh.images[same], world.fresh.labels[same]
        if without == "local steps":
            found.append(_identified(_from_update(model, images, labels, world), images, world))
        else:
            sent = federated.gradient(model, images, labels)
            found.append(_identified(gradient_extraction.extract(sent, shape=world.fresh.shape).images, images, world))
    return _means(found)


def _from_update(model: nn.Module, images: Tensor, labels: Tensor, world: World) -> Tensor:
    """What is read in the update after some epochs of local training, taken for a gradient."""
    own = runtime.derive(world.seed, "local")
    sent = gradient_of_steps(model, images, labels, epochs=STEPS, batch=3, lr=federation.LR, seed=own)
    return gradient_extraction.extract(sent, shape=world.fresh.shape).images


def _members(cell: Cell, seed: int, device: torch.device) -> Metrics:
    world = _world(cell, seed, device, cell["skew"])
    return readings.told(world, Defence(), functools.partial(federation.train, defence=Defence(), rounds=readings.LONG))


def _noisy(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Accuracy with client-level privacy: each update clipped, noise of the server on their sum."""
    world = _world(cell, seed, device)
    random = runtime.generator(runtime.derive(world.seed, "noise"))

    def rule(updates: Sequence[Update]) -> Update:
        return client_dp.aggregate(updates, clip=CLIP, noise=cell["noise"], seed=random).mean

    model = federation.train(world, Defence(rule=lambda _world, _model, _malicious: rule))
    return {"accuracy": 1 - federation.error(model, world)}


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """One point of one of the talk's closing sentences.

    noticed: how well the liars' updates are told from others, 0.5 by a guess. attack_success, baseline: as in
    `talk/defences`. accuracy: of the network. Clients hold 20 images each, liars are a fifth of them.
    """
    if cell["defence"] == "client_dp":
        return _noisy(cell, seed, device)
    if "without" in cell:
        return _assumed(cell, seed, device)
    runs: dict[str, Callable[[Cell, int, torch.device], Metrics]] = {"inversion": _summed, "membership": _members}
    return runs.get(cell["attack"], _concealed)(cell, seed, device)


def _conceals(table: Table) -> Found:
    found: dict[str, Outcome] = {}
    for attack in CONCEALED:
        few, many = ({"attack": attack, "clients": count} for count in (COUNTS[0], COUNTS[-1]))
        found[attack] = told(table.gains("noticed", many, few), LITTLE)
    return found


def _harder(table: Table) -> Found:
    summed = {"attack": "inversion", "defence": "secure_sum"}
    found: dict[str, Outcome] = {}
    for few, many in ((READERS[0], READERS[2]), (READERS[2], READERS[-1])):
        gains = table.gains("attack_success", {**summed, "clients": many}, {**summed, "clients": few})
        found[f"{few} to {many} clients"] = told(gains, SEEN)
    return found


def _easier(table: Table) -> Found:
    members = {"attack": "membership"}
    mixed = [{**members, "clients": COUNTS[2], "skew": skew} for skew in (SKEWS[0], SKEWS[-1])]
    sizes = [{**members, "skew": SKEWS[1], "clients": count} for count in (COUNTS[0], COUNTS[-1])]
    return {
        "data of one's own kind": told(table.gains("attack_success", *mixed), LITTLE),
        "more clients": told(table.gains("attack_success", *sizes), LITTLE),
    }


def _bears_noise(table: Table) -> Found:
    found: dict[str, Outcome] = {}
    for noise in NOISES[1:]:
        lost = [_lost(table, count, noise) for count in (COUNTS[0], COUNTS[-1])]
        draws = sorted(set(lost[0]) & set(lost[1]))
        found[f"noise of {noise}"] = told([lost[0][draw] - lost[1][draw] for draw in draws], POINT)
    return found


def _lost(table: Table, clients: int, noise: float) -> dict[int, float]:
    """The accuracy that noise costs, by draw."""
    with_it, without = (
        {
            row["seed"]: row["metrics"]["accuracy"]
            for row in table.select(defence="client_dp", clients=clients, noise=each).rows
        }
        for each in (noise, 0.0)
    )
    return {draw: without[draw] - with_it[draw] for draw in with_it.keys() & without.keys()}


def _stricter(table: Table) -> Found:
    found: dict[str, Outcome] = {}
    for count in COUNTS:
        mild, strict = ({"defence": "client_dp", "clients": count, "noise": noise} for noise in (NOISES[0], NOISES[-1]))
        found[f"{count} clients"] = told(table.gains("accuracy", strict, mild), POINT)
    return found


def _assumptions(table: Table) -> Found:
    cells = {each: {"attack": "inversion", "without": each} for each in ASSUMED}
    gains = {each: table.gains("attack_success", cells[each], cells["none"]) for each in ASSUMED[1:]}
    return {each: told(found, SEEN) for each, found in gains.items()}


STUDY = Study(
    id="talk/scale",
    title="What changes with the number of clients",
    source="the talk Adversarial interference (its common discussion points)",
    version=1,
    cells=cells,
    run=run,
    data={"fast": ("digits",), "real": ("mnist",), "paper": ("mnist",)},
    seeds={"fast": 5, "real": 5, "paper": 5},
    knob="clients",
    metrics=("noticed", "attack_success", "naive", "baseline", "accuracy"),
    load=dataset,
    names_data=False,
    checksum=checksum,
    takes=Takes(least=1300),
    claims=(
        Claim(
            "The more clients you have, the easier it is to conceal poisoning attacks",
            "the talk, of scale",
            _conceals,
            "a fifth lie about their data; the area by which they are told, .02 less among 40 clients than among 5",
        ),
        Claim(
            "The more devices you have, the more difficult it is to perform inversion",
            "the talk, of scale",
            _harder,
            "rows of a dense layer of the mean gradient, nine images a client; a tenth fewer are recognised",
        ),
        Claim(
            "The more clients you have, the more personalised data they are likely to own -> easier inference",
            "the talk, of scale",
            _easier,
            "membership with references: mixtures of labels of one's own beside equal ones; 40 clients beside 5",
        ),
        Claim(
            "DP can be used at scale",
            "the talk, of scale",
            _bears_noise,
            "client-level noise of the server: it costs 40 clients a point less of accuracy than 5",
        ),
        Claim(
            "it can result in utility reduction for stricter privacy settings",
            "the talk, of DP at scale",
            _stricter,
            "a noise multiplier of 1 beside .03, at each number of clients: a point of accuracy",
        ),
        Claim(
            "inversion attacks are oversold and need many assumptions to hold in order to work",
            "the talk, of scale",
            _assumptions,
            "an honest server reads a dense layer; a tenth fewer images are recognised without each of four",
        ),
    ),
)
