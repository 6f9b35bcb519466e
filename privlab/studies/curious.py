"""The tables of "When the curious abandon honesty" (Boenisch et al.) on passive extraction and trap weights."""

import functools
import itertools
import math
import re
import statistics
from collections.abc import Callable

import torch
from torch import Tensor, nn

from privlab import data, models, runtime
from privlab.attacks import gradient_extraction, trap_weights
from privlab.metrics import extraction
from privlab.sharing import federated
from privlab.studies.study import Cell, Claim, Metrics, Study, Table, cell_key, read_reported

INITIALISATIONS = (
    "xavier_normal",
    "xavier_uniform",
    "gaussian:0.01",
    "gaussian:0.1",
    "gaussian:0.5",
    "gaussian:1",
    "gaussian:2",
)
SCALES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995, 0.999)
# Section 8.3's best s for the paper's data sets; for the stand-ins the best of our own runs of Table 5.
BEST_SCALE = {"mnist": 0.7, "cifar10": 0.95, "photos": 0.99, "digits": 0.9, "patches": 0.95}
METRICS = ("active", "precision", "recall", "precision_all", "adversary_count")
DATA = {"fast": ("digits", "patches"), "real": ("mnist", "cifar10", "photos"), "paper": ("mnist", "cifar10", "photos")}
SEEDS = {"fast": 3, "real": 3, "paper": 10}


@functools.lru_cache(maxsize=2)
def dataset(name: str) -> data.Dataset:
    """The training split of a data set, kept between cells."""
    return data.load(name)


@functools.lru_cache(maxsize=32)
def checksum(name: str) -> tuple[str, str]:
    """Checksum and source of a data set, never downloading it."""
    return data.fingerprint(name)


def network(name: str, neurons: int, init: str, seed: int) -> nn.Sequential:
    """The paper's network for a data set, `neurons` wide in the layer that is read.

    Grey images: the fully-connected network of Table 7. Colour: the dense part of its CNN, on the flat
    pixels. Convolutions that transmit hand the pixels on unchanged, and with them the first dense layer
    of the paper's CNN would have up to 25.7 billion weights.
    """
    images = dataset(name)
    widths = (neurons, 3000, 3000, 2000, 1000) if images.shape[0] == 1 else (neurons,)
    return models.fully_connected(images.shape, len(images.classes), widths=widths, init=init, seed=seed)


@functools.lru_cache(maxsize=1)
def _trapped(name: str, neurons: int, seed: int, device: torch.device) -> tuple[nn.Sequential, trap_weights.Draw]:
    """A network of zero biases and one draw of trap weights for it, shared by all cells of a seed."""
    model = network(name, neurons, "xavier_uniform", runtime.derive(seed, "network")).to(device)
    inputs = math.prod(dataset(name).shape)
    drawn = trap_weights.draw(neurons, inputs, seed=runtime.derive(seed, "trap"))
    return model, trap_weights.Draw(drawn.minus.to(device), drawn.plus.to(device))


def _batches(cell: Cell, seed: int, device: torch.device) -> list[data.Dataset]:
    """As many mini-batches as are averaged, disjoint."""
    count = cell.get("averaged", 1)
    chosen = dataset(cell["data"]).sample(cell["batch"] * count, runtime.derive(seed, "batch")).to(device)
    return [chosen[i * cell["batch"] : (i + 1) * cell["batch"]] for i in range(count)]


def _measure(gradient: federated.Gradient, images: Tensor, neurons: int) -> Metrics:
    own = gradient_extraction.extract(gradient, shape=images.shape[1:])
    score = extraction.score(gradient_extraction.candidates(gradient), images, neurons=neurons)
    return {**vars(score), "adversary_count": float(len(own.images))}


def run_passive(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """One honest network, one mini-batch, one gradient (Table 2)."""
    (batch,) = _batches(cell, seed, device)
    model = network(cell["data"], cell["neurons"], cell["init"], runtime.derive(seed, "network")).to(device)
    shared = federated.gradient(model, batch.images, batch.labels, layers=("fc1",))
    return _measure(shared, batch.images, cell["neurons"])


def run_trapped(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """One trapped network and one mini-batch, or the average of several gradients (Tables 5, 6 and 9)."""
    planted, drawn = _trapped(cell["data"], cell["neurons"], seed, device)
    with torch.no_grad():  # what `trap_weights.plant` does, without its copy of the other layers for every s
        planted.get_parameter("fc1.weight").copy_(drawn.weights(cell["s"]))
    batches = _batches(cell, seed, device)
    if cell.get("reading") == "one batch":  # what Table 9's numbers fit: one mini-batch's recall, divided
        shared = federated.gradient(planted, batches[0].images, batches[0].labels, layers=("fc1",))
        metrics = _measure(shared, batches[0].images, cell["neurons"])
        return {**metrics, "recall": metrics["recall"] / cell["averaged"]}
    images = torch.cat([batch.images for batch in batches])
    gradients = [federated.gradient(planted, b.images, b.labels, layers=("fc1",)) for b in batches]
    shared = gradients[0] if len(gradients) == 1 else federated.average(gradients)
    return _measure(shared, images, cell["neurons"])


def scale(name: str) -> float:
    """The s of a data set: the paper's where it has one, else the one that the adversary's own count prefers."""
    return BEST_SCALE.get(name) or _tuned(name)


@functools.lru_cache(maxsize=8)
def _tuned(name: str) -> float:
    batch = dataset(name).sample(min(100, len(dataset(name))), 0)
    model = network(name, 1000, "xavier_uniform", 0)
    best, _ = trap_weights.tune(
        model,
        lambda planted: federated.gradient(planted, batch.images, batch.labels, layers=("fc1",)),
        SCALES,
        shape=batch.shape,
    )
    return best


def parse(dataset_name: str, variant: str) -> Cell | None:
    """The settings in a description like `trap s=0.7 B=100 N=1000 averaged=5`."""
    names = {
        "B": ("batch", int),
        "N": ("neurons", int),
        "s": ("s", float),
        "averaged": ("averaged", int),
        "epoch": ("epoch", int),
    }
    found = dict(re.findall(r"(\w+)=(.+?)(?=\s\w+=|$)", variant))
    cell = {names[key][0]: names[key][1](value) for key, value in found.items() if key in names}
    if "init" in found:
        spread = found.get("sigma", "")
        cell["init"] = f"gaussian:{spread}" if spread else found["init"].lower().replace(" ", "_")
    return cell


def _peak_inside(table: Table) -> bool | None:
    curve = table.curve("recall", "s", batch=100, neurons=1000)
    if len(curve) < 3:
        return None
    values = list(curve.values())
    return 0 < values.index(max(values)) < len(values) - 1


def _active_rises(table: Table) -> bool | None:
    active = list(table.curve("active", "s", batch=100, neurons=1000).values())
    return all(a <= b + 1e-9 for a, b in itertools.pairwise(active)) if len(active) > 2 else None


def _monotone(metric: str, knob: str, sign: int, **settings: object) -> Callable[[Table], bool | None]:
    """A test whether a metric rises (sign 1) or falls (sign -1) over the knob, on every curve of the grid."""

    def test(table: Table) -> bool | None:
        curves: dict[str, dict[float, float]] = {}
        for row in table.select(**settings).rows:
            rest = {name: value for name, value in row["cell"].items() if name != knob}
            curves[cell_key(rest)] = table.curve(metric, knob, **rest)
        steps = [sign * (b - a) for c in curves.values() for a, b in itertools.pairwise(c.values())]
        return min(steps) > 0 if steps else None

    return test


def _doubles_passive(table: Table) -> bool | None:
    passive = table.mean("recall", init="gaussian:0.5", batch=100, neurons=1000)
    best = max(table.curve("recall", "s", batch=100, neurons=1000).values(), default=math.nan)
    return None if math.isnan(passive) or math.isnan(best) else best > 2 * passive


def _spread_helps(table: Table) -> bool | None:
    """A seed draws the same batch, and the same weights but for their scale, so that differences are paired."""
    narrow, wide = (
        {row["seed"]: row["metrics"]["recall"] for row in table.select(init=f"gaussian:{sigma}").rows}
        for sigma in ("0.01", "2")
    )
    gains = [wide[seed] - narrow[seed] for seed in narrow.keys() & wide.keys()]
    if len(gains) < 2:
        return None
    return statistics.fmean(gains) > 2 * statistics.stdev(gains) / len(gains) ** 0.5


def _never_nothing(table: Table) -> bool | None:
    recalls = table.curve("recall", "init").values()
    return min(recalls) > 0 if len(recalls) == len(INITIALISATIONS) else None


def _small_batches_are_read_whole(table: Table) -> bool | None:
    value = table.mean("recall", batch=20, neurons=3000)
    return None if math.isnan(value) else value > 0.98


TABLE_2 = Study(
    id="curious/table-2",
    title="Passive extraction under seven initialisations",
    source="Curious, section 8.2, Table 2",
    version=1,
    cells=lambda name: [{"data": name, "init": init, "batch": 100, "neurons": 1000} for init in INITIALISATIONS],
    run=run_passive,
    data=DATA,
    seeds=SEEDS,
    knob="init",
    metrics=METRICS,
    reported=read_reported("curious", "2", parse, step=0.001),
    claims=(
        Claim(
            "Wider Gaussian weights increase recall (sigma 2 against 0.01, by two standard errors)",
            "section 8.2",
            _spread_helps,
        ),
        Claim(
            "A passive server reads some images exactly, whatever the initialisation",
            "section 8.2",
            _never_nothing,
        ),
    ),
    checksum=checksum,
)

TABLE_5 = Study(
    id="curious/table-5",
    title="Trap weights over the scaling factor s",
    source="Curious, section 8.3, Table 5",
    version=1,
    cells=lambda name: [{"data": name, "s": s, "batch": 100, "neurons": 1000} for s in SCALES],
    run=run_trapped,
    data=DATA,
    seeds=SEEDS,
    knob="s",
    metrics=METRICS,
    reported=read_reported("curious", "5", parse, step=0.001),
    claims=(
        Claim("Recall peaks strictly inside the range of s", "section 8.3", _peak_inside),
        Claim("More neurons are active the larger s is", "section 8.3", _active_rises),
        Claim(
            "At its best s the active attack reads over twice what the passive one does (sigma 0.5)",
            "section 8.3",
            _doubles_passive,
        ),
    ),
    beside=("curious/table-2",),
    checksum=checksum,
)

# The table does not print its s. For CIFAR-10 the text names 0.95 as the best, but the row (1000, 100) is
# not Table 5's at 0.95 (A .844 against .729); at 0.955 all sixteen rows fit, so both are run.
TABLE_6 = Study(
    id="curious/table-6",
    title="Trap weights over mini-batch size and neurons",
    source="Curious, section 8.3, Table 6",
    version=1,
    cells=lambda name: [
        {"data": name, "s": s, "batch": batch, "neurons": neurons}
        for s in ((0.95, 0.955) if name == "cifar10" else (scale(name),))
        for neurons in (200, 500, 1000, 3000)
        for batch in (20, 50, 100, 200)
    ],
    run=run_trapped,
    data=DATA,
    seeds=SEEDS,
    knob="batch",
    metrics=METRICS,
    reported=read_reported("curious", "6", parse, step=0.001),
    claims=(
        Claim("Larger mini-batches lower recall", "section 8.3", _monotone("recall", "batch", -1)),
        Claim("More neurons raise recall", "section 8.3", _monotone("recall", "neurons", 1)),
        Claim(
            "3000 neurons read a mini-batch of 20 whole", "section 8.3", _small_batches_are_read_whole, data=("mnist",)
        ),
    ),
    checksum=checksum,
    together=lambda cell: (cell["data"], cell["neurons"]),
)

TABLE_9 = Study(
    id="curious/table-9",
    title="Trap weights when gradients are averaged over mini-batches",
    source="Curious, appendix D, Table 9",
    version=1,
    cells=lambda name: [
        {"data": name, "s": scale(name), "batch": batch, "neurons": 1000, "averaged": count, "reading": reading}
        for reading in ("average", "one batch")
        for batch in (20, 50, 100)
        for count in (1, 5, 10, 20)
        if name in DATA["paper"] or batch * count <= len(dataset(name))
    ],
    run=run_trapped,
    data={"fast": ("digits",), "real": ("mnist",), "paper": ("mnist",)},
    seeds=SEEDS,
    knob="averaged",
    metrics=METRICS,
    reported=read_reported("curious", "9", parse, step=0.001),
    claims=(
        Claim(
            "Averaging over more mini-batches lowers recall",
            "section 8.3, Impact of batch-averaging",
            _monotone("recall", "averaged", -1, reading="average"),
        ),
    ),
    checksum=checksum,
)

STUDIES = (TABLE_2, TABLE_5, TABLE_6, TABLE_9)
