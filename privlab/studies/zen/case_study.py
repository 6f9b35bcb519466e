"""Section 6: a federation of hospitals, ResNet-18, and three ways to be attacked."""

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from privlab import data, models, runtime
from privlab.attacks import inverting_gradients
from privlab.defences import clip_and_noise, dp_sgd
from privlab.metrics import reconstruction
from privlab.sharing import federated
from privlab.studies._data import checksum, dataset
from privlab.studies.bench.sentence import Found, Outcome, both, either, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Study, Table, Takes

VICTIMS, DECOYS, WIDTH = 4, 200, 8
ITERATIONS, ON_LARGE = 400, 4800  # on images of 28 pixels, and on the paper's own, which take a GPU
LARGE = "pneumoniamnist-224"
CODES = 200  # numbers that describe an image to the adversary with a prior
EPSILON, DELTA, HOSPITALS, LOCAL_BATCH, EPOCHS = 6.0, 1.9e-4, 3, 10, 30
ADVERSARIES = ("guess", "plain", "mean", "components")
METRICS = ("psnr", "ssim", "mse", "identified", "loss", "seconds")


def cells(name: str) -> list[Cell]:
    """Batch one under four adversaries; GroupNorm and BatchNorm in train mode; 3 x 10 images; DP.

    On images of 224 pixels what the paper shows: one image, thirty, and DP, through a network of full width.
    """
    plain = {"data": name, "model": "resnet18", "width": WIDTH, "norm": "batch_eval", "batch": 1, "clients": 1}
    plain |= {"protection": "none", "adversary": "plain"}
    changes: list[Cell] = [{"adversary": adversary} for adversary in ADVERSARIES if adversary != "plain"]
    changes += [{"norm": "group"}, {"norm": "batch_train"}]
    changes += [{"protection": "dp"}, {"protection": "dp", "adversary": "components"}]
    changes += [{"batch": LOCAL_BATCH, "clients": HOSPITALS}]
    found = [plain, *({**plain, **change} for change in changes), {**plain, "width": 64}]
    if name != LARGE:
        return found
    return [{**cell, "width": 64} for cell in found[:-1] if cell["norm"] == "batch_eval"]


@dataclass(frozen=True)
class Prior:
    """What the adversary knows of such images: their mean `(C, H, W)`, and K directions in which they vary, `(K, L)`.

    The directions are the principal components, times their spread: those of the best linear autoencoder.
    """

    mean: Tensor
    directions: Tensor

    def decode(self, codes: Tensor) -> Tensor:
        """Codes `(T, K)` to images `(T, C, H, W)`: zeros to the mean, standard normal ones as varied as real images."""
        return (self.mean.flatten() + codes @ self.directions).view(-1, *self.mean.shape)

    def to(self, device: torch.device) -> "Prior":
        """The same on `device`."""
        return Prior(self.mean.to(device), self.directions.to(device))


@functools.lru_cache(maxsize=2)
def prior(name: str) -> Prior:
    """The adversary's prior, from images that are no victims'."""
    others = _halves(name)[0].images
    mean, flat = others.mean(0), others.flatten(1)
    _, spread, directions = torch.linalg.svd(flat - mean.flatten(), full_matrices=False)
    return Prior(mean, (spread[:CODES, None] * directions[:CODES]) / math.sqrt(len(flat)))


@functools.lru_cache(maxsize=2)
def _halves(name: str) -> tuple[data.Dataset, data.Dataset]:
    """The adversary's own images and the victims': two random halves of the training split, no image in both."""
    source = dataset(name)
    own, victims = data.disjoint(source.pixels, (0.5,), runtime.derive(0, "halves"))
    return source[own], source[victims]


def network(cell: Cell, seed: int) -> nn.Sequential:
    """A fresh ResNet-18. `batch_eval`: BatchNorm by the running averages it begins with: it changes nothing."""
    source = dataset(cell["data"])
    norm = "group" if cell["norm"] == "group" else "batch"
    model = models.resnet18(source.shape, len(source.classes), width=cell["width"], norm=norm, seed=seed)
    return model.train(cell["norm"] == "batch_train")


@functools.lru_cache(maxsize=4)
def noise(examples: int) -> float:
    """The noise multiplier of a hospital that trains thirty epochs at epsilon 6, delta 1.9e-4."""
    rate = LOCAL_BATCH / (examples // HOSPITALS)
    return dp_sgd.noise_multiplier(EPSILON, DELTA, sample_rate=rate, steps=math.ceil(EPOCHS / rate), accountant="rdp")


def sent(cell: Cell, model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> federated.Gradient:
    """What the server has of a victim: a gradient, or the mean of the hospitals' gradients (images `(B, C, H, W)`)."""
    parts = zip(images.split(cell["batch"]), labels.split(cell["batch"]), strict=True)
    gradients = [federated.gradient(model, x, y) for x, y in parts]
    if cell["protection"] == "dp":  # of a mini-batch of one, clipping the whole is clipping the example
        return clip_and_noise(gradients[0], 1.0, noise(len(dataset(cell["data"]))), seed)
    return federated.average(gradients)


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """One fresh network; four victims (one, where each has 30 images); labels are given to the adversary.

    identified: the share of private images that some guess resembles most, among them and 200 others.
    """
    size = cell["batch"] * cell["clients"]
    count = VICTIMS if size == 1 else 1
    drawn = _halves(cell["data"])[1].sample(count * size + DECOYS, runtime.derive(seed, "victims")).to(device)
    images = drawn.images[: count * size].unflatten(0, (count, size))
    labels = drawn.labels[: count * size].view(count, size)
    model = network(cell, runtime.derive(seed, "network")).to(device)
    gradients = [sent(cell, model, images[v], labels[v], runtime.derive(seed, "noise", v)) for v in range(count)]
    found, loss, seconds = attack(cell, model, gradients, labels, seed)
    scores = []
    for v in range(count):
        matched = found[v][reconstruction.match(found[v], images[v])]
        named = reconstruction.identify(matched, torch.cat([images[v], drawn.images[count * size :]]))
        hit = torch.isin(torch.arange(size), named.cpu()).double().mean()
        scores.append((reconstruction.psnr(matched, images[v]).mean(), matched, hit))
    matched = torch.stack([score[1] for score in scores])
    return {
        "psnr": torch.stack([score[0] for score in scores]).mean().item(),
        "ssim": reconstruction.ssim(matched, images).mean().item(),
        "mse": reconstruction.mse(matched, images).mean().item(),
        "identified": torch.stack([score[2] for score in scores]).mean().item(),
        **({"loss": loss} if math.isfinite(loss) else {}),
        "seconds": seconds,
    }


def attack(
    cell: Cell, model: nn.Module, gradients: list[federated.Gradient], labels: Tensor, seed: int
) -> tuple[Tensor, float, float]:
    """Guesses `(V, B, C, H, W)`, their mean loss and the CPU seconds a victim, of a cell's adversary."""
    known = prior(cell["data"]).to(labels.device)
    mean = known.mean
    if cell["adversary"] == "guess":  # who only knows how such images look
        return mean.expand(*labels.shape, *mean.shape), math.inf, 0.0
    ways: dict[str, dict] = {
        "plain": {"alpha": 1e-3},
        "mean": {"alpha": 1e-3, "start": mean},
        "components": {"alpha": 0.0, "start": torch.zeros(len(known.directions)), "decode": known.decode},
    }
    iterations, timer = ON_LARGE if cell["data"] == LARGE else ITERATIONS, runtime.stopwatch()
    found = inverting_gradients.reconstruct(
        model,
        gradients,
        labels,
        shape=mean.shape,
        iterations=iterations,
        ease=False,
        seed=seed,
        **ways[cell["adversary"]],
    )
    return found.best(), found.loss.amin(1).mean().item(), timer() / len(labels)


def _usual(table: Table) -> Cell:
    """The network that most cells of a data set are about: of full width where the images are large."""
    return {"norm": "batch_eval", "width": 64 if table.data == LARGE else WIDTH}


def _cell(table: Table, **settings: object) -> Cell:
    return {"batch": 1, "protection": "none", **_usual(table), **settings}


def _indistinguishable(table: Table) -> Found:
    """A structural similarity of 0.95 on average, for one of the adversaries."""
    return either(*(told(table.values("ssim", **_cell(table, adversary=who)), 0.95) for who in ADVERSARIES[1:]))


def _no_better(table: Table, *settings: Cell) -> Outcome:
    """No adversary comes nearer than the mean image, which needs no gradient, does."""
    guess = _cell(table, adversary="guess")
    return both(*(told(table.gains("psnr", {**_usual(table), **each}, guess)) for each in settings))


CROWD = {"adversary": "plain", "batch": LOCAL_BATCH, "clients": HOSPITALS}
UNDER_DP = tuple({"protection": "dp", "batch": 1, "adversary": who} for who in ("plain", "components"))
NETWORK = "BatchNorm by its running averages, an eighth of ResNet-18's width at 28 pixels"
STUDY = Study(
    id="zen/case-study",
    title="Chest radiographs, ResNet-18 and inverting gradients",
    source="Zen, section 6, figures 7 and 8",
    version=2,
    versions={"pneumoniamnist": 3},  # halves without common images
    cells=cells,
    run=run,
    data={"fast": ("digits",), "real": ("pneumoniamnist",), "paper": ("pneumoniamnist", LARGE)},
    seeds={"fast": 1, "real": 2, "paper": 4},
    knob="adversary",
    metrics=METRICS,
    claims=(
        Claim(
            "recovered chest x-rays that were almost indistinguishable from the original images used for training",
            "section 6",
            _indistinguishable,
            f"{NETWORK}; a structural similarity of 0.95 for the best of three adversaries",
        ),
        Claim(
            "We changed the effective batch size to 30 […] which did not result in an accurate reconstruction for the "
            "adversary",
            "section 6",
            lambda table: _no_better(table, CROWD),
            f"{NETWORK}; ten images from each of three hospitals: no better than the mean radiograph",
        ),
        Claim(
            "DP at ε = 6 stops the reconstruction",
            "section 6, figure 8",
            lambda table: _no_better(table, *UNDER_DP),
            f"{NETWORK}; two adversaries no better than the mean radiograph",
            ours=True,
        ),
    ),
    large=lambda cell: cell["width"] == 64,
    checksum=checksum,
    load=dataset,
    takes=Takes(least=500, side=9),  # of 8 pixels one is left, and BatchNorm has no statistics of a single value
)
