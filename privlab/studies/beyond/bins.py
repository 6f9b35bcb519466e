"""Robbing the Fed: what bins read beside a passive server and trap weights, what stops them, and who notices.

The thresholds are those of a normal law with the mean and spread of 100 public images. In thirty draws of other seeds
as many images were then alone in their bin as the formula says; with quantiles of so few images a tenth fewer were.

Exact is not all that can be read: under each defence `seen` is what a server sees that knows of it. It takes rows as
they are, of noise those whose divisor is ten times the noise that is on it, which is an error of 20 dB. That measure,
and noise of 1e-2 and more, came after the first rows: by exact copies alone noise of 1e-4 seemed to stop bins.
"""

import functools
import itertools
import statistics

import torch
from torch import Tensor, nn

from privlab import data, models, runtime
from privlab.attacks import bins, gradient_extraction, trap_weights
from privlab.defences import detection, dp_sgd, perturbation
from privlab.metrics import extraction
from privlab.sharing import federated
from privlab.studies._data import checksum, dataset
from privlab.studies._local import gradient_of_steps
from privlab.studies.bench.sentence import Found, Outcome, alike, both, either, negated, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Study, Table
from privlab.studies.bench.takes import Takes

WIDTHS, BATCHES, PUBLIC = (500, 1000, 2000), (20, 100, 200), 100
WIDTH, BATCH, CLIENTS = 1000, 100, 10
ATTACKS = ("passive", "trap", "bins", "random bins")
NOISES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)  # in units of the root mean square of the layer's gradient
PRUNED = (0.5, 0.9)
STEPS, LR, CLIP, MULTIPLIER = 5, 0.1, 1.0, 1.0  # of local training on the whole mini-batch; of DP-SGD
SCALES = {"mnist": 0.7, "cifar10": 0.95, "digits": 0.9, "patches": 0.95}  # the first two of "Curious", section 8.3
TRIED = (0.7, 0.8, 0.9, 0.95, 0.96, 0.97, 0.98, 0.99)  # on all other data, by the server, on its public images
DETECTORS = ("sign_imbalance", "pinned_rows", "paired_magnitudes", "kolmogorov_smirnov", "equal_rows")
MODELS, NARROW, ROUNDS, REPEATED = 5, 300, 4, 5
LEVELS, NEARLY = 255, 0.1  # of a step: where a difference in float32 may lie off the grid
SEEN, SURE = 0.01, 10  # a mean squared error, 20 dB; how many times its noise a divisor is
LEAST, LOCAL = CLIENTS * BATCH + PUBLIC, f"{STEPS} local steps"


def cells(name: str) -> list[Cell]:
    """Each attack over widths and mini-batches; under defences; and what detectors say of the layer."""
    common = {"data": name, "defence": "none", "noise": 0.0}
    grid = itertools.product(ATTACKS[:3], WIDTHS, BATCHES)
    made: list[Cell] = [{**common, "attack": a, "width": width, "batch": batch} for a, width, batch in grid]
    usual = {**common, "width": WIDTH, "batch": BATCH}
    made += [{**usual, "attack": attack} for attack in ("random bins", "bins of quantiles")]
    defences: list[Cell] = [{"defence": "noise", "noise": noise} for noise in NOISES]
    named = (*(f"pruning {share}" for share in PRUNED), f"sum of {CLIENTS}", LOCAL, "DP-SGD")
    defences += [{"defence": each} for each in named]
    made += [{**usual, "attack": attack, **each} for attack in ATTACKS[:3] for each in defences]
    return made + [
        {**common, "attack": attack, "width": NARROW, "detector": each} for attack in ATTACKS for each in DETECTORS
    ]


def _drawn(name: str, seed: int, device: torch.device) -> tuple[data.Dataset, Tensor]:
    """The clients' images, and public ones that no client has."""
    whole = dataset(name).sample(LEAST, runtime.derive(seed, "images")).to(device)
    return whole[: CLIENTS * BATCH], whole[CLIENTS * BATCH :].images


@functools.lru_cache(maxsize=8)
def _scale(name: str) -> float:
    """The s of trap weights: as published, else what the server finds on a hundred images."""
    if name in SCALES:
        return SCALES[name]
    own = dataset(name).sample(PUBLIC, 0)
    model = _honest(own, WIDTH, 0)
    answer = functools.partial(federated.gradient, images=own.images, labels=own.labels, layers=("fc1",))
    return trap_weights.tune(model, answer, TRIED, shape=own.shape)[0]


def _honest(images: data.Dataset, width: int, seed: int) -> nn.Sequential:
    return models.fully_connected(images.shape, len(images.classes), widths=(width,), seed=seed)


def _planted(attack: str, model: nn.Sequential, public: Tensor, name: str, seed: int) -> nn.Module:
    """The network that the server sends; its own choices are drawn from `seed`."""
    if attack == "passive":
        return model
    if attack == "trap":
        return trap_weights.plant(model, _scale(name), seed=seed)
    random = seed if attack == "random bins" else None
    return bins.plant(model, public, random=random, normal=attack != "bins of quantiles")


def _sent(cell: Cell, model: nn.Module, part: data.Dataset, seed: int) -> federated.Gradient:
    """What a client sends: its gradient, one of DP-SGD, or an update, which the server takes for its mean gradient."""
    if cell["defence"] == "DP-SGD":
        return dp_sgd.gradient(model, part.images, part.labels, clip=CLIP, noise=MULTIPLIER, seed=seed)
    if cell["defence"] == LOCAL:
        return gradient_of_steps(model, part.images, part.labels, epochs=STEPS, lr=LR, seed=seed)
    return federated.gradient(model, part.images, part.labels, layers=("fc1",))


def _protected(cell: Cell, sent: list[federated.Gradient], seed: int) -> federated.Gradient:
    """What reaches the server. A seed's noise is the same for all attacks, in units of their gradients."""
    mean = federated.average(sent)
    if cell["noise"]:
        unit = torch.cat([mean[name].flatten() for name in mean]).square().mean().sqrt().item()
        return perturbation.gaussian(mean, cell["noise"] * unit, seed=seed)
    share = cell["defence"].removeprefix("pruning ")
    return perturbation.prune(mean, float(share)) if share != cell["defence"] else mean


def _images(attack: str, shared: federated.Gradient) -> Tensor:
    """What the server takes for images: rows that lie within a tenth of a step of the pixels' grid, put on it."""
    rows = (bins if "bins" in attack else gradient_extraction).candidates(shared)
    near = rows[gradient_extraction.on_pixel_grid(rows, LEVELS, NEARLY)].mul(LEVELS).round() / LEVELS
    return near[gradient_extraction.distinct(near)[0]]


def _shown(cell: Cell, shared: federated.Gradient, truth: Tensor) -> tuple[float, float]:
    """The share of images that a row of a server who knows of the defence shows to 20 dB, and of its rows that do."""
    binned, (weight, bias) = "bins" in cell["attack"], shared.layer("fc1")
    active = (bins if binned else gradient_extraction).active_neurons(shared)
    if cell["noise"]:
        unit = torch.cat([weight.flatten(), bias]).square().mean().sqrt() * (2**0.5 if binned else 1)  # of two neurons
        divisors = bias - torch.cat([bias[1:], bias.new_zeros(1)]) if binned else bias
        active = active[divisors[active].abs() > SURE * cell["noise"] * unit]
    rows = (bins if binned else gradient_extraction).candidates(shared, neurons=active).clamp(0, 1)
    if not len(rows):
        return 0.0, 0.0
    far = torch.cdist(truth.flatten(1), rows, compute_mode="donot_use_mm_for_euclid_dist")
    near = far.square() / rows.shape[1] < SEEN
    return near.any(1).double().mean().item(), near.any(0).double().mean().item()


def _read(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """What the server takes for images in each of five mini-batches, or in a sum of ten, held against the truth."""
    whole, public = _drawn(cell["data"], seed, device)
    clients = CLIENTS if cell["defence"].startswith("sum") else 1
    honest = _honest(whole, cell["width"], runtime.derive(seed, "network")).to(device)
    model = _planted(cell["attack"], honest, public, cell["data"], runtime.derive(seed, "server"))
    parts = [whole[cell["batch"] * n : cell["batch"] * (n + 1)] for n in range(max(clients, REPEATED))]
    sent = [_sent(cell, model, part, runtime.derive(seed, "client", place)) for place, part in enumerate(parts)]
    exact, wrong, shown, size = [], [], [], cell["batch"] * clients
    for place in range(0, len(parts), clients):
        shared = _protected(cell, sent[place : place + clients], runtime.derive(seed, "noise", place))
        truth = torch.cat([part.images for part in parts[place : place + clients]])
        hits = extraction.match(_images(cell["attack"], shared), truth)
        exact.append(len(hits[hits >= 0].unique()) / size)
        wrong.append(float((hits < 0).sum()))
        shown.append(_shown(cell, shared, truth))
    made = {"exact": statistics.fmean(exact), "false_claims": statistics.fmean(wrong)}
    made |= dict(zip(("seen", "right"), map(statistics.fmean, zip(*shown, strict=True)), strict=True))
    return {**made, "predicted": bins.expected_recall(cell["width"], size)} if "bins" in cell["attack"] else made


@functools.lru_cache(maxsize=4)
def _trained(name: str, seed: int, device: torch.device, own: bool) -> list[Tensor]:
    """The first layers of five models after four rounds of FedAvg: the client's own, or of another with other rates."""
    whole, _ = _drawn(name, seed, device)
    half = len(whole) // 2
    client = federated.Client(*((each[:half] if own else each[half:]) for each in (whole.images, whole.labels)))
    found = []
    for number in range(MODELS):
        place, lr = runtime.derive(seed, "received", number, own), 0.1 if own else (0.05, 0.1, 0.2)[number % 3]
        start = _honest(whole, NARROW, place).to(device)
        made = federated.fed_avg(start, [client], rounds=ROUNDS, epochs=1, lr=lr, seed=place)
        found.append(made.get_parameter("fc1.weight").detach())
    return found


def _received(attack: str, name: str, seed: int, device: torch.device) -> list[Tensor]:
    """The first layers of five models that a client receives: honest, trained ones, or an attack's."""
    if attack == "passive":
        return _trained(name, seed, device, False)
    whole, public = _drawn(name, seed, device)
    places = [runtime.derive(seed, "received", number) for number in range(MODELS)]
    sent = [_planted(attack, _honest(whole, NARROW, place).to(device), public, name, place) for place in places]
    return [each.get_parameter("fc1.weight").detach() for each in sent]


def equal_rows(weight: Tensor) -> float:
    """The share of rows `(N, L)` that another row equals, to a thousandth of their length."""
    rows = nn.functional.normalize(weight.double(), dim=1)
    near = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist") < 1e-3
    return float((near.sum(1) > 1).double().mean())


def _flagged(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """The share of received layers that score above every trained one of the client's own."""
    score = equal_rows if cell["detector"] == "equal_rows" else getattr(detection, cell["detector"])
    known = [score(each) for each in _trained(cell["data"], seed, device, True)]
    got = [score(each) for each in _received(cell["attack"], cell["data"], seed, device)]
    limit = detection.threshold(known, 0.0)
    return {"flagged": statistics.fmean(each > limit for each in got), "score": statistics.fmean(got)}


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """One attack on one mini-batch, or one detector.

    exact: the share of a mini-batch, the mean of five, or of all mini-batches of a sum, that is among what the server
    takes for images; false_claims: how many of these are none. predicted: by the formula. seen: the share of images
    that some row shows to 20 dB, to a server that knows of the defence; right: the share of its rows that show one.
    flagged: the share of five received layers above a threshold, an honest one's where attack is passive. score: the
    detector's mean.
    """
    return _flagged(cell, seed, device) if "detector" in cell else _read(cell, seed, device)


def _at(attack: str, width: int = WIDTH, batch: int = BATCH, defence: str = "none", noise: float = 0.0) -> Cell:
    return {"attack": attack, "width": width, "batch": batch, "defence": defence, "noise": noise}


def _as_predicted(table: Table) -> Found:
    found: dict[str, Outcome] = {}
    for width, batch in itertools.product(WIDTHS, BATCHES):
        cell = _at("bins", width, batch)
        pairs = zip(table.values("exact", **cell), table.values("predicted", **cell), strict=True)
        found[f"{width} neurons, {batch} images"] = alike([exact - said for exact, said in pairs], NEAR)
    return found


def _more_than(attack: str, by: float, table: Table) -> Found:
    sizes = list(itertools.product(WIDTHS, BATCHES))
    gains = {f"{w} neurons, {b} images": (_at(attack, w, b), _at("bins", w, b)) for w, b in sizes}
    return {name: told(table.gains("exact", *cells), by) for name, cells in gains.items()}


def _needs_another_layer(table: Table) -> Found:
    return negated(told(table.values("exact", **_at("bins")), HALF))


def _detectable(table: Table) -> Found:
    """One detector that flags over half, and under a tenth of honest models, is enough."""
    found: dict[str, Outcome] = {}
    for attack in ("bins", "random bins"):
        ways = []
        for each in DETECTORS:
            hits, alarms = (table.values("flagged", attack=a, detector=each) for a in (attack, "passive"))
            ways.append(both(told(hits, HALF), told([-alarm for alarm in alarms], -ALARMS)))
        found[attack] = either(*ways)
    return found


def _unseen(cells: dict[str, Cell], table: Table) -> Found:
    """Whether a server that knows of it sees next to nothing, by name."""
    return {name: told([LITTLE - each for each in table.values("seen", **cell)]) for name, cell in cells.items()}


def _through_local_steps(table: Table) -> Found:
    return {LOCAL: told(table.values("exact", **_at("bins", defence=LOCAL)), HALF)}


def _stopped(table: Table) -> Found:
    cells = {f"noise of {noise}": _at("bins", defence="noise", noise=noise) for noise in NOISES[2:]}
    cells |= {f"pruning {share}": _at("bins", defence=f"pruning {share}") for share in PRUNED}
    cells[f"sum of {CLIENTS}"] = _at("bins", defence=f"sum of {CLIENTS}")
    return _unseen(cells, table)


NEAR, MORE, HALF, ALARMS, LITTLE = 0.05, 0.1, 0.5, 0.1, 0.02

STUDY = Study(
    id="beyond/bins",
    title="Bins beside trap weights: recall by a formula",
    source="beyond the papers: Fowl et al. 2022, Robbing the Fed; Curious, sections 3.1 and 8.3",
    version=2,
    cells=cells,
    run=run,
    data={"fast": ("digits",), "real": ("mnist",), "paper": ("mnist", "cifar10")},
    seeds={"fast": 5, "real": 5, "paper": 3},
    knob="batch",
    metrics=("exact", "seen", "right", "predicted", "false_claims", "flagged", "score"),
    load=dataset,
    checksum=checksum,
    takes=Takes(least=LEAST),
    claims=(
        Claim(
            "Bins read the share that (1 − 1/k)^(B − 1) says.",
            "Fowl et al. 2022, section 4",
            _as_predicted,
            "k neurons, B images; the measured share within .05 of it",
            ours=True,
        ),
        Claim(
            "Bins read more than trap weights.",
            "Curious, Table 5; ours",
            functools.partial(_more_than, "trap", MORE),
            "the same mini-batches; a tenth more of the images, with the paper's s on its own data",
            ours=True,
        ),
        Claim(
            "their active attack requires a change of the model architecture",
            "Curious, section 3.1, of Robbing the Fed",
            _needs_another_layer,
            "a network that begins with a dense layer, into which nothing is inserted; not so if over half is read",
        ),
        Claim(
            "this layer is inherently detectable",
            "Curious, section 3.1, of Robbing the Fed",
            _detectable,
            "one of five detectors flags over half of the layers, and under a tenth of trained honest ones",
        ),
        Claim(
            "Noise, pruning or a sum of ten clients stop bins.",
            "ours",
            _stopped,
            "a server that knows of it sees at most a fiftieth, to 20 dB; noise in units of the gradient's rms",
            ours=True,
        ),
        Claim(
            "DP-SGD stops bins.",
            "ours",
            functools.partial(_unseen, {"DP-SGD": _at("bins", defence="DP-SGD")}),
            "at most a fiftieth is seen, to 20 dB; each image's gradient clipped to 1, noise with the clip's spread",
            ours=True,
        ),
        Claim(
            "Bins read over half through five local steps.",
            "ours",
            _through_local_steps,
            "on the whole mini-batch with a rate of .1, exact copies",
            ours=True,
        ),
    ),
)
