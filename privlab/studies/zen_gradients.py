"""Tables 1 to 3 of "Zen and the art of model adaptation" (Usynin et al.): DLG against models of other shapes."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from privlab import data, models, runtime
from privlab.attacks import Reconstruction, deep_leakage
from privlab.defences import perturbation
from privlab.metrics import reconstruction
from privlab.sharing import federated
from privlab.studies.curious import checksum, dataset
from privlab.studies.study import Cell, Claim, Metrics, Reported, Study, Table, read_reported

VICTIMS, FIRST, MORE = 8, 4, 12  # victims a seed; restarts at once, and more where those do not agree
MOST_IMAGES = 4  # for which there is a second wave of restarts
ITERATIONS = {1: 1000, 3: 2000}  # by the number of channels: 50 and 100 of the steps that DLG counts
INNER = 20  # iterations in one step of `torch.optim.LBFGS`, which is what DLG counts
SUCCESS = 30.0  # dB
PRINTED_ZERO = 5e-5  # DLG prints its squared distance with four digits
METRICS = (
    *("success_rate", "success_single", "iterations", "seconds", "gradient_mse"),
    *("mse", "psnr", "ssim", "label_accuracy"),
)
SEEDS = {"fast": 1, "real": 1, "paper": 2}
DATA = {"fast": ("digits",), "real": ("mnist", "cifar10"), "paper": ("mnist", "cifar10")}
NAMES: dict[str, dict[str, Any]] = {
    "iterations_to_zero_mse": {"metric": "iterations", "step": 1.0},
    # Ours are CPU seconds of one trial, which ends when it has converged.
    "time_300_iterations": {"metric": "seconds", "step": 1.0, "judged": False},
    "gradient_mse": {"metric": "gradient_mse", "step": 0.01},
}
READING = {"activation": "sigmoid", "pool": "stride", "init": "framework"}
AS_WRITTEN = {"activation": "relu", "pool": "max", "init": "framework"}
# "Zen" prints neither the activations nor the initialisation of Tables 1 to 3. Two readings come near its numbers: its
# standard setting (ReLU, max pooling, the framework's weights) with the 64 filters that Table 2 gives its LeNet, and
# the network that comes with the code of DLG. Table 3 names no filters, and stands beside DLG's network with tanh.
BASE: Cell = {"model": "lenet", "conv": 12, "fc": 0, **READING, "batch": 1}


READINGS: dict[str, tuple[Cell, ...]] = {
    "1": ({**BASE, **AS_WRITTEN, "conv": 64}, {**BASE, "init": "uniform:0.5"}),
    "2": ({**BASE, **AS_WRITTEN},),
    "3": ({**BASE, "activation": "tanh"},),
}


@dataclass(frozen=True)
class Attacked:
    """What V victims with mini-batches of B images sent, and what DLG made of it."""

    images: Tensor
    labels: Tensor
    found: Reconstruction
    gradients: Sequence[federated.Gradient]
    printed_zero: Tensor
    seconds: float


def network(cell: Cell, shape: Sequence[int], classes: int, seed: int) -> nn.Sequential:
    """The model of a cell: `lenet` has as many convolutions as `depth` says (three), two of which halve the image."""
    knobs = {name: cell[name] for name in ("activation", "pool", "init")}
    if cell["model"] == "alexnet":
        return models.alexnet(shape, classes, width=cell["width"], seed=seed, **knobs)
    filters, fc = (cell["conv"],) * cell.get("depth", 3), (cell["fc"],) if cell["fc"] else ()
    return models.lenet(shape, classes, filters=filters, fc=fc, seed=seed, **knobs)


def attack(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    gradients: Sequence[federated.Gradient],
    seed: int,
    clip: float | None = None,
) -> Attacked:
    """DLG with four restarts, and twelve more for the victims of whom no two of the four show the same image.

    That two beginnings end at one image tells the adversary that it is the right one, without the truth. Mini-batches
    of more than four images, whose iterations cost as many times more, have the four restarts only.
    clip: the bound that clients clip to, where they do; the adversary knows it.
    images: `(V, B, C, H, W)`; labels: `(V, B)`.
    """
    shape, timer = images.shape[2:], runtime.stopwatch()
    first, zero = _watched(model, gradients, shape, FIRST, seed, clip)
    few = images.shape[1] <= MOST_IMAGES
    open_ = [v for v in range(len(gradients)) if few and not _agree(first.images[v])]
    found = first
    if open_:
        more, later = _watched(model, [gradients[v] for v in open_], shape, MORE, runtime.derive(seed, "more"), clip)
        found, zero = _joined(first, more, open_), _filled(zero, later, open_)
    return Attacked(images, labels, found, gradients, zero, timer())


def _watched(
    model: nn.Module,
    gradients: Sequence[federated.Gradient],
    shape: torch.Size,
    restarts: int,
    seed: int,
    clip: float | None,
) -> tuple[Reconstruction, Tensor]:
    """DLG, and the iteration at which each trial's squared distance would be printed as 0.0000 (NaN: never)."""
    size = torch.tensor([perturbation.norm(g) ** 2 for g in gradients])
    zero = torch.full((len(gradients), restarts), torch.nan)

    def watch(iteration: int, _images: Tensor, losses: Tensor) -> None:
        now = (losses.cpu() * size[:, None] < PRINTED_ZERO) & zero.isnan()
        zero[now] = float(iteration)

    most = ITERATIONS[shape[0]]
    found = deep_leakage.reconstruct(
        model, gradients, shape=shape, restarts=restarts, iterations=most, clip=clip, seed=seed, watch=watch
    )
    return found, zero


def _agree(images: Tensor) -> bool:
    """Whether two of the restarts `(R, B, C, H, W)` ended within 30 dB of one another, in whatever order."""
    pairs = [(a, b) for a in range(len(images)) for b in range(a)]
    return any(bool((_quality(images[a], images[b]) > SUCCESS).all()) for a, b in pairs)


def _quality(guesses: Tensor, images: Tensor) -> Tensor:
    """PSNR of each image of a mini-batch after matching, `(B,)`, at most 100 dB."""
    guesses = guesses.clamp(0, 1)
    return reconstruction.psnr(guesses[reconstruction.match(guesses, images)], images).clamp_max(100)


def _joined(first: Reconstruction, more: Reconstruction, victims: list[int]) -> Reconstruction:
    """Both waves, `(V, 16)`; for victims without a second one the loss there is infinite."""
    parts = []
    for field in dataclasses.fields(Reconstruction):
        a, b = getattr(first, field.name), getattr(more, field.name)
        empty = torch.inf if field.name == "loss" else 0
        wide = torch.full((len(a), b.shape[1], *a.shape[2:]), empty, dtype=a.dtype, device=a.device)
        wide[victims] = b
        parts.append(torch.cat([a, wide], 1))
    return Reconstruction(*parts)


def _filled(zero: Tensor, later: Tensor, victims: list[int]) -> Tensor:
    wide = torch.full((len(zero), later.shape[1]), torch.nan)
    wide[victims] = later
    return torch.cat([zero, wide], 1)


def measure(done: Attacked) -> Metrics:
    """The metrics of a cell. Restarts are chosen by their own loss; the truth comes in here for the first time.

    success_rate: the share of images that reach 30 dB; success_single: the same for each of the first four restarts
    alone. iterations: until the distance is printed as zero, in DLG's steps of twenty; the mean over chosen restarts
    that got there, missing where none did.
    gradient_mse: the median squared distance of the gradients (a sum, as DLG prints it). seconds: CPU seconds a trial.
    """
    found, victims = done.found, range(len(done.images))
    best = found.best()
    order = [reconstruction.match(best[v], done.images[v]) for v in victims]
    best = torch.stack([best[v][order[v]] for v in victims])
    labels = torch.stack([found.best_labels()[v][order[v]] for v in victims])
    single = [_quality(found.images[v, r], done.images[v]) for v in victims for r in range(FIRST)]
    quality = reconstruction.psnr(best, done.images).clamp_max(100)
    chosen = torch.arange(len(best))
    sizes = torch.tensor([perturbation.norm(g) ** 2 for g in done.gradients], dtype=torch.float64)
    distance = found.loss[chosen, found.chosen].double().cpu() * sizes
    trials = int(found.loss.isfinite().sum())
    zero = done.printed_zero[chosen, found.chosen.cpu()]
    return {
        "success_rate": (quality >= SUCCESS).double().mean().item(),
        "success_single": (torch.stack(single) >= SUCCESS).double().mean().item(),
        **({"iterations": zero.nanmean().item() / INNER} if zero.isfinite().any() else {}),
        "seconds": done.seconds / max(1, trials),
        "gradient_mse": distance.median().item(),
        "mse": reconstruction.mse(best, done.images).mean().item(),
        "psnr": quality.mean().item(),
        "ssim": reconstruction.ssim(best, done.images).mean().item(),
        "label_accuracy": (labels == done.labels).double().mean().item(),
    }


def victims(images: data.Dataset, batch: int, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Eight mini-batches without an image in common: `(V, B, C, H, W)` and `(V, B)`."""
    drawn = images.sample(VICTIMS * batch, runtime.derive(seed, "victims")).to(device)
    return drawn.images.view(VICTIMS, batch, *images.shape), drawn.labels.view(VICTIMS, batch)


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """One draw of the network, eight victims, DLG on the gradient of each (Tables 1 to 3)."""
    source = dataset(cell["data"])
    images, labels = victims(source, cell["batch"], seed, device)
    model = network(cell, source.shape, len(source.classes), runtime.derive(seed, "network")).to(device)
    gradients = [federated.gradient(model, x, y) for x, y in zip(images, labels, strict=True)]
    return measure(attack(model, images, labels, gradients, runtime.derive(seed, "attack")))


def _reported(table: str) -> tuple[Reported, ...]:
    """The printed numbers, at our readings of what the paper leaves open (see `READINGS`)."""

    def cell(_dataset: str, variant: str) -> Cell:
        knob, _, value = variant.partition("=")
        return {knob: int(value)} if knob else {}

    found = [item for item in read_reported("zen", table, cell, step=1.0, with_model=True) if item.metric in NAMES]
    return tuple(
        dataclasses.replace(item, cell={**reading, **item.cell}, **NAMES[item.metric])
        for item in found
        for reading in (READINGS[table] if item.cell["model"] == "lenet" else ({**AS_WRITTEN, "batch": 1},))
    )


def _table_1(name: str) -> list[Cell]:
    """Every activation with every pooling (five of the nine in colour, which takes ten times as long); DLG's own
    initialisation; 64 filters, as in Table 2; AlexNet, of an eighth of its width, also with tanh, and whole.
    """
    base = {"data": name, **BASE}
    grid = [
        {**base, "activation": a, "pool": p} for a in ("sigmoid", "tanh", "relu") for p in ("stride", "average", "max")
    ]
    if name == "cifar10":
        grid = [cell for cell in grid if cell["pool"] == "stride" or cell["activation"] != "tanh"]
        grid = [cell for cell in grid if cell["pool"] != "average"]
    own = [{**base, "activation": a, "init": "uniform:0.5"} for a in ("sigmoid", "relu")]
    read = [{**base, **way, "conv": 64} for way in (READING, AS_WRITTEN)]
    deep = {"data": name, "model": "alexnet", "batch": 1, "width": 0.125}
    ways = [READING, {**READING, "activation": "tanh"}, AS_WRITTEN]
    return [*grid, *own, *read, *({**deep, **way} for way in ways), {**deep, **AS_WRITTEN, "width": 1.0}]


def _best(table: Table, **settings: object) -> list[float]:
    return table.values("success_rate", **settings)


def hinders(table: Table, knob: str, worse: Sequence[object], better: Sequence[object], **settings: object):
    """Whether every worse setting of a knob succeeds less often than every better one; None where one is missing."""
    bad = [table.mean("success_rate", **settings, **{knob: value}) for value in worse]
    good = [table.mean("success_rate", **settings, **{knob: value}) for value in better]
    if any(value != value for value in (*bad, *good)):
        return None
    return max(bad) < min(good)


SMALL = {"model": "lenet", "conv": 12, "fc": 0}


def _deeper(table: Table) -> bool | None:
    """AlexNet in no cell, LeNet in some; AlexNet with the activations and pooling of both readings."""
    lenet, alexnet = _best(table, model="lenet"), _best(table, model="alexnet")
    if alexnet and max(alexnet) > 0:
        return False
    whole = all(_best(table, model="alexnet", **way) for way in (READING, AS_WRITTEN))
    return max(lenet) > 0 if lenet and whole else None


def _relu(table: Table) -> bool | None:
    rest = {**SMALL, "pool": "stride", "init": "framework"}
    return hinders(table, "activation", ["relu"], ["sigmoid", "tanh"], **rest)


def _max_pooling(table: Table) -> bool | None:
    return hinders(table, "pool", ["max"], ["stride"], **SMALL, activation="sigmoid", init="framework")


def _widths(table: Table, knob: str, fails: Sequence[int], works: Sequence[int], **settings: object) -> bool | None:
    """Whether most fail at some widths, and most do not at the others; one width that says otherwise is enough."""
    bad = [table.mean("success_rate", **settings, **{knob: value}) for value in fails]
    good = [table.mean("success_rate", **settings, **{knob: value}) for value in works]
    if any(value >= 0.5 for value in bad) or any(value < 0.5 for value in good):
        return False
    return None if any(value != value for value in (*bad, *good)) else True


def _wide(cell: Cell) -> bool:
    """What takes a CPU hours: AlexNet whole, or in colour but with sigmoid, which stops at once; many filters."""
    if cell["model"] == "alexnet":
        return cell["width"] == 1.0 or (cell["data"] == "cifar10" and cell["activation"] != "sigmoid")
    return cell["conv"] > (64 if cell["activation"] == "relu" else 128)


COLOUR = {"fast": ("digits",), "real": ("cifar10",), "paper": ("cifar10",)}
COMMON = {"run": run, "version": 1, "data": DATA, "seeds": SEEDS, "metrics": METRICS, "checksum": checksum}
TABLE_1 = Study(
    id="zen/table-1",
    title="Deep leakage and the model",
    source="Zen, Table 1",
    cells=_table_1,
    knob="model",
    reported=_reported("1"),
    claims=(
        Claim("Models deeper than LeNet (AlexNet) are never inverted", "section 5.1", _deeper),
        Claim("ReLU hinders the attack; tanh and sigmoid do not", "section 5.1", _relu),
        Claim("Max pooling hinders the attack", "section 5.1", _max_pooling),
    ),
    large=_wide,
    **COMMON,  # type: ignore[arg-type]
)
TABLE_2 = Study(
    id="zen/table-2",
    title="Deep leakage and the number of filters",
    source="Zen, Table 2",
    cells=lambda name: [
        {"data": name, **BASE, **way, "conv": conv} for way in (READING, AS_WRITTEN) for conv in (4, 16, 64, 128, 256)
    ],
    knob="conv",
    reported=_reported("2"),
    claims=(
        Claim(
            "Too few filters and too many are not inverted (16 and 256; 64 and 128 are)",
            "section 5.1, Table 2",
            lambda table: _widths(table, "conv", (16, 256), (64, 128), **AS_WRITTEN),
        ),
        Claim(
            "More filters improve the attack up to 64",
            "section 5.1",
            lambda table: hinders(table, "conv", [4], [64], **READING),
        ),
    ),
    large=lambda cell: _wide(cell) or (cell["activation"] == "relu" and cell["conv"] > 16),
    **{**COMMON, "data": COLOUR},  # type: ignore[arg-type]
)
TABLE_3 = Study(
    id="zen/table-3",
    title="Deep leakage and the width of the dense layer",
    source="Zen, Table 3",
    cells=lambda name: [{"data": name, **BASE, "activation": "tanh", "fc": fc} for fc in (16, 64, 128, 256)],
    knob="fc",
    reported=_reported("3"),
    claims=(
        Claim(
            "Wider dense layers reduce the effectiveness (256 neurons are not inverted, fewer are)",
            "section 5.1, Table 3",
            lambda table: _widths(table, "fc", (256,), (16, 64, 128), activation="tanh"),
        ),
    ),
    **{**COMMON, "data": COLOUR},  # type: ignore[arg-type]
)
STUDIES = (TABLE_1, TABLE_2, TABLE_3)
