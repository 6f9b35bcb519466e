"""DLG against a model: what Tables 1 to 3 and section 5.1 share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from privlab import data, models, runtime
from privlab.attacks import Reconstruction, deep_leakage
from privlab.defences import perturbation
from privlab.metrics import reconstruction
from privlab.sharing import federated
from privlab.studies._data import checksum, dataset
from privlab.studies.bench import sentence
from privlab.studies.bench.printed import Printed, Reading, Reported, reported
from privlab.studies.bench.sentence import Outcome
from privlab.studies.bench.study import Cell, Metrics, Study, Table

VICTIMS, RESTARTS = 8, 8  # victims a seed; beginnings at most, the same in every cell
ITERATIONS = {1: 1000, 3: 2000}  # by the number of channels: 50 and 100 of the steps that DLG counts
INNER = 20  # iterations in one step of `torch.optim.LBFGS`, which is what DLG counts
SUCCESS = 30.0  # dB
PRINTED_ZERO = 5e-5  # DLG prints its squared distance with four digits
METRICS = (
    *("success_rate", "success_single", "iterations", "seconds", "gradient_mse"),
    *("mse", "psnr", "ssim", "label_accuracy"),
)
SEEDS = {"fast": 1, "real": 3, "paper": 3}
DATA = {"fast": ("digits",), "real": ("mnist", "cifar10"), "paper": ("mnist", "cifar10")}
COLOUR = {"fast": ("digits",), "real": ("cifar10",), "paper": ("cifar10",)}
# Our names of what is printed. Of the seconds ours are CPU seconds of one trial, which ends when it has converged.
UNITS = {
    "iterations_to_zero_mse": ("iterations", 1.0, 1.0),
    "time_300_iterations": ("seconds", 1.0, 1.0),
    "gradient_mse": ("gradient_mse", 1.0, 0.01),
}
ITERATIONS_OF_DLG = 300
OWN = {"activation": "sigmoid", "pool": "stride", "init": "framework"}
AS_WRITTEN = {"activation": "relu", "pool": "max", "init": "framework"}
# "Zen" prints neither the activations nor the initialisation of Tables 1 to 3. The literal reading is its standard
# setting (ReLU, max pooling, the framework's weights) with the 64 filters that Table 2 gives its LeNet; the other is
# the network that comes with the code of DLG.
BASE: Cell = {"model": "lenet", "conv": 12, "fc": 0, **OWN, "batch": 1}


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
    """DLG with at most eight beginnings: another one only for victims whose gradient is not matched yet.

    That the gradient is matched tells the adversary that it has what sends this gradient, without the truth.
    clip: the bound that clients clip to, where they do; the adversary knows it.
    images: `(V, B, C, H, W)`; labels: `(V, B)`.
    """
    shape, timer = images.shape[2:], runtime.stopwatch()
    size = torch.tensor([perturbation.norm(g) ** 2 for g in gradients])
    zero = torch.full((len(gradients), RESTARTS), torch.nan)

    def watch(iteration: int, _images: Tensor, losses: Tensor) -> None:
        now = (losses.cpu() * size[:, None] < PRINTED_ZERO) & zero.isnan()
        zero[now] = float(iteration)

    found = deep_leakage.reconstruct(
        model,
        gradients,
        shape=shape,
        restarts=RESTARTS,
        iterations=ITERATIONS[shape[0]],
        clip=clip,
        seed=seed,
        watch=watch,
    )
    return Attacked(images, labels, found, gradients, zero, timer())


def _quality(guesses: Tensor, images: Tensor) -> Tensor:
    """PSNR of each image of a mini-batch after matching, `(B,)`, at most 100 dB."""
    guesses = guesses.clamp(0, 1)
    return reconstruction.psnr(guesses[reconstruction.match(guesses, images)], images).clamp_max(100)


def measure(done: Attacked) -> Metrics:
    """The metrics of a cell. Restarts are chosen by their own loss; the truth comes in here for the first time.

    success_rate: the share of images that reach 30 dB; success_single: the same for the first beginning alone.
    iterations: until the distance is printed as zero, in DLG's steps of twenty; the mean over chosen restarts
    that got there, missing where none did.
    gradient_mse: the median squared distance of the gradients (a sum, as DLG prints it). seconds: CPU seconds a trial.
    """
    found, victims = done.found, range(len(done.images))
    best = found.best()
    order = [reconstruction.match(best[v], done.images[v]) for v in victims]
    best = torch.stack([best[v][order[v]] for v in victims])
    labels = torch.stack([found.best_labels()[v][order[v]] for v in victims])
    single = [_quality(found.images[v, 0], done.images[v]) for v in victims]
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


def printed(table: str, *readings: Reading) -> tuple[Reported, ...]:
    """The printed numbers of one table. `readings`: of LeNet; AlexNet is read as it is written."""

    def ways(row: Printed) -> Sequence[Reading]:
        knob, _, value = row.variant.partition("=")
        own: Mapping[str, Any] = {"model": row.model.lower(), **({knob: int(value)} if knob else {})}
        found = readings if row.model == "LeNet" else (Reading({**AS_WRITTEN, "batch": 1}),)
        return [Reading({**way.cell, **own}, way.name, way.fitted) for way in found]

    return reported("zen", table, ways, step=1.0, units=UNITS)


def scale(cell: Cell, item: Reported) -> str:
    """AlexNet's width, and the iterations: an attack that the paper saw converge within ours is not cut short."""
    found = []
    if cell.get("width", 1.0) < 1:
        found.append(f"{cell['width']:g} of AlexNet's width")
    steps = ITERATIONS[1 if item.printed.dataset == "MNIST" else 3] // INNER
    if item.metric != "iterations" or item.value is None or item.value > steps:
        found.append(f"{steps} of {ITERATIONS_OF_DLG} iterations")
    return "; ".join(found)


def study(name: str, title: str, place: str, **particular: Any) -> Study:
    """A study of DLG, by what is particular to it."""
    usual = {
        "version": 2,
        "run": run,
        "data": DATA,
        "seeds": SEEDS,
        "metrics": METRICS,
        "load": dataset,
        "scale": scale,
    }
    return Study(id=f"zen/{name}", title=title, source=f"Zen, {place}", **{**usual, "checksum": checksum, **particular})


def wide(cell: Cell) -> bool:
    """What takes a CPU hours: AlexNet whole, or in colour but with sigmoid, which stops at once; many filters."""
    if cell["model"] == "alexnet":
        return cell["width"] == 1.0 or (cell["data"] == "cifar10" and cell["activation"] != "sigmoid")
    return cell["conv"] > (64 if cell["activation"] == "relu" else 128)


def hindered(bad: tuple[float, int], good: tuple[float, int]) -> Outcome:
    """As `sentence.hindered`, but that one draw of a network, whose victims are not independent, never holds."""
    return _of_several_draws(sentence.hindered(bad, good), bad, good)


def stopped(bad: tuple[float, int], good: tuple[float, int]) -> Outcome:
    """As `sentence.stopped`, with the same proviso."""
    return _of_several_draws(sentence.stopped(bad, good), bad, good)


def _of_several_draws(found: Outcome, *tried: tuple[float, int]) -> Outcome:
    return sentence.UNDECIDED if found is True and min(trials for _, trials in tried) <= VICTIMS else found


def tally(table: Table, **settings: object) -> tuple[float, int]:
    """(how many victims were found, how many there were) over all draws of the cells with these settings."""
    rates = table.values("success_rate", **settings)
    return VICTIMS * sum(rates), VICTIMS * len(rates)
