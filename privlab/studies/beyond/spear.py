"""Whole mini-batches by the rank of a gradient: where it ends, whether a certificate can be wrong, and what stops it.

The attack's constants were chosen on digits and networks 100 to 104; the cells were tried once, on draw 101.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from privlab import models, runtime
from privlab.attacks import gradient_extraction, rank_inversion
from privlab.defences import dp_sgd, perturbation
from privlab.metrics import extraction
from privlab.sharing import federated
from privlab.studies._data import checksum, dataset
from privlab.studies._local import gradient_of_steps
from privlab.studies.bench.sentence import UNDECIDED, Found, alike, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Study, Table
from privlab.studies.bench.takes import Takes

BATCHES, WIDTHS, NOISES = (1, 2, 4, 6, 8, 10, 12, 16, 24), (50, 100, 200, 800), (1e-7, 1e-5, 1e-3)
WIDTH, VICTIM, LARGE, SAMPLES = 400, 4, 8, 32_768
DEFENCES = ("prune half", "prune nine tenths", "local steps", "sum of 2", "sum of 6", "DP-SGD", "trained")
STEPS, LR, CLIP, SEEN = 4, 0.1, 1.0, 0.01  # SEEN: of the mean squared error, 20 dB
WHOLE, SLIGHT, ENOUGH = 0.5, 0.1, 20  # the last: certificates


def cells(name: str) -> list[Cell]:
    """Mini-batches, then widths of the layer, noise, and other defences of four images."""
    common = {"data": name, "width": WIDTH, "noise": 0.0, "defence": "none"}
    made: list[Cell] = [{**common, "batch": batch} for batch in BATCHES]
    made += [{**common, "batch": LARGE, "width": width} for width in WIDTHS]
    made += [{**common, "batch": VICTIM, "noise": noise, "defence": "noise"} for noise in NOISES]
    return made + [{**common, "batch": VICTIM, "defence": each} for each in DEFENCES]


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """One gradient, and what the adversary makes of it who knows what was done to it.

    exact: the share of the images that come out to an l2 distance of 1e-3; seen: to 20 dB; alone: exactly, by a row
    over its bias, of neurons that one image opens. certified: 1 or 0; false_claims: 1 where that is wrong. rank: as
    seen. Without a defence also predicted: how likely all come out by draws at random alone, by the share of rows at
    which each image's slopes are zero; and plain: 1 where they did, certified. seconds: of the CPU.
    """
    drawn = dataset(cell["data"]).sample(cell["batch"] * _clients(cell), runtime.derive(seed, "images")).to(device)
    drawing = runtime.derive(seed, "network")
    model: nn.Module = models.fully_connected(
        drawn.shape, len(drawn.classes), widths=(cell["width"],) * 2, seed=drawing
    )
    model = model.to(device)
    if cell["defence"] == "trained":
        model = _trained(model, cell, seed, device)
    sent = _sent(cell, model, drawn.images, drawn.labels, seed)
    how: dict[str, Any] = {"shape": drawn.shape, "samples": SAMPLES, "seed": runtime.derive(seed, "draws")}
    timer = runtime.stopwatch()
    found = rank_inversion.reconstruct(model, sent, **how)
    seconds = timer()
    far = _distances(found.images, drawn.images)
    rows = gradient_extraction.candidates(sent) if bool(sent["fc1.bias"].any()) else drawn.images[:0].flatten(1)
    made = {
        "exact": (far < 1e-3).double().mean().item(),
        "seen": (far.square() / drawn.images[0].numel() < SEEN).double().mean().item(),
        "alone": extraction.score(rows, drawn.images, neurons=cell["width"]).recall,
        "certified": float(found.certified),
        "false_claims": float(found.certified and not bool((far < 1e-3).all())),
        "rank": float(found.rank),
        "seconds": seconds,
    }
    if cell["defence"] == "none":
        made["predicted"] = _predicted(model, drawn.images)
        made["plain"] = float(rank_inversion.reconstruct(model, sent, **how, guided=False).certified)
    return made


def _clients(cell: Cell) -> int:
    return int(cell["defence"].rpartition(" ")[2]) if cell["defence"].startswith("sum of") else 1


def _trained(model: nn.Module, cell: Cell, seed: int, device: torch.device) -> nn.Module:
    more = dataset(cell["data"]).sample(500, runtime.derive(seed, "more")).to(device)
    return federated.fed_sgd(model, [federated.Client(more.images, more.labels)], rounds=200, batch=50, lr=LR)


def _sent(cell: Cell, model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> federated.Gradient:
    """What reaches the server."""
    chance, defence = runtime.derive(seed, "noise"), cell["defence"]
    if defence == "DP-SGD":
        return dp_sgd.gradient(model, images, labels, clip=CLIP, noise=1.0, seed=chance)
    if defence == "local steps":
        return gradient_of_steps(model, images, labels, epochs=STEPS, lr=LR, seed=chance)
    sent = federated.gradient(model, images, labels)  # of several clients the mean is one gradient of all their images
    if defence.startswith("prune"):
        return perturbation.prune(sent, {"prune half": 0.5, "prune nine tenths": 0.9}[defence])
    return perturbation.gaussian(sent, cell["noise"], seed=chance) if cell["noise"] else sent


def _distances(found: Tensor, images: Tensor) -> Tensor:
    """Of each image to the nearest that was found, l2."""
    if not len(found):
        return torch.full((len(images),), math.inf)
    return torch.cdist(images.flatten(1).double(), found.flatten(1).double()).amin(1).cpu()


def _predicted(model: nn.Module, images: Tensor) -> float:
    """How likely all columns are hit within so many draws, each by a chance of its own. Source: "SPEAR", section 5."""
    with torch.no_grad():
        opened = model.get_submodule("fc1")(images.flatten(1)) > 0
    opened = opened[:, opened.any(0)]
    rows, rank, likely = opened.shape[1], len(images), 1.0
    for zeros in (~opened).sum(1).tolist():
        chance = math.comb(zeros, rank - 1) / max(1, math.comb(rows, rank - 1))
        likely *= 1 - (1 - chance) ** SAMPLES
    return likely


def _needs_its_own(table: Table) -> Found:
    found: dict = {}
    for batch in BATCHES[1:7]:
        cell = {"defence": "none", "width": WIDTH, "batch": batch}
        pairs = table.by_seed("exact", cell), table.by_seed("alone", cell)
        lost = [alone - exact for (exact,), (alone,) in zip(*pairs, strict=True)]
        found[f"{batch} images"] = told(lost, -SLIGHT)
    return found


def _whole(table: Table) -> Found:
    cell = {"defence": "none", "width": WIDTH}
    return {f"{b} images": told(table.values("certified", **cell, batch=b), WHOLE) for b in (8, 12, 16, 24)}


def _never_false(table: Table) -> Found:
    if not table.rows:
        return None
    if max(table.values("false_claims")) > WHOLE:  # one is enough
        return False
    return True if sum(table.values("certified")) >= ENOUGH else UNDECIDED


def wall(shares: Mapping[int, float]) -> float:
    """The size at which half come out, of shares by size: on the line between the sizes where a half is passed."""
    sizes = sorted(shares)
    for small, large in itertools.pairwise(sizes):
        if shares[small] >= WHOLE > shares[large]:
            return small + (large - small) * (shares[small] - WHOLE) / (shares[small] - shares[large])
    return sizes[-1 if shares[sizes[0]] >= WHOLE else 0]


def _foretold(table: Table) -> Found:
    """By how much of the foretold wall the measured one is off, by draw."""
    gaps = []
    for draw in sorted({row["seed"] for row in table.rows}):
        rows = [row for row in table.select(defence="none", width=WIDTH).rows if row["seed"] == draw]
        if rows:
            found, said = (wall({r["cell"]["batch"]: r["metrics"][of] for r in rows}) for of in ("plain", "predicted"))
            gaps.append(found / said - 1)
    return alike(gaps, SLIGHT) if gaps else None


def _left(metric: str, *defences: str) -> Callable[[Table], Found]:
    def test(table: Table) -> Found:
        return {each: told(table.values(metric, defence=each), WHOLE) for each in defences}

    return test


def _lost(metric: str, *defences: str) -> Callable[[Table], Found]:
    def test(table: Table) -> Found:
        return {each: told([-v for v in table.values(metric, defence=each)], -SLIGHT) for each in defences}

    return test


STUDY = Study(
    id="beyond/spear",
    title="Whole mini-batches by the rank of a gradient",
    source="Dimitrov et al. 2024, SPEAR",
    version=1,
    cells=cells,
    run=run,
    data={"fast": ("digits",), "real": ("mnist",), "paper": ("cifar10",)},
    seeds={"fast": 3, "real": 3, "paper": 3},
    knob="batch",
    metrics=("exact", "certified", "false_claims", "rank", "predicted", "plain", "alone", "seen", "seconds"),
    load=dataset,
    checksum=checksum,
    takes=Takes(least=500),
    claims=(
        Claim(
            "When the inequality holds only for a single data point in a mini-batch, this data point can be "
            "individually extracted from the gradients",
            "“Curious”, section 6.1, taken to say that an image needs a neuron of its own",
            _needs_its_own,
            "400 neurons, an honest server: rows of single images beside rank inversion; a tenth of the images more",
        ),
        Claim(
            "it recovers high-dimensional ImageNet inputs in batches of up to b ≲ 25 exactly while scaling to large "
            "networks",
            "SPEAR, abstract",
            _whole,
            "images of this data set and 400 neurons, 32,768 submatrices; more than half are certified",
        ),
        Claim(
            "No certificate is wrong",
            "ours",
            _never_false,
            "all mini-batches, widths, noises and defences, at least twenty certificates; one wrong one is enough",
            ours=True,
        ),
        Claim(
            "The plain way ends where the zeros of the slopes foretell it",
            "ours",
            _foretold,
            "400 neurons, 32,768 draws at random: the sizes at which half come out differ by less than a tenth",
            ours=True,
        ),
        Claim(
            "Local steps do not hide a mini-batch",
            "ours",
            _left("exact", "local steps"),
            "four steps on all four images: more than half of the images come out to 1e-3",
            ours=True,
        ),
        Claim(
            "A sum over clients is one larger mini-batch",
            "ours",
            _left("exact", "sum of 2", "sum of 6"),
            "clients of four images each: more than half of all images come out to 1e-3",
            ours=True,
        ),
        Claim(
            "Pruning and noise of DP-SGD leave no image to be seen",
            "ours",
            _lost("seen", "prune half", "prune nine tenths", "DP-SGD"),
            "four images, the adversary who knows of it: fewer than a tenth come out to 20 dB",
            ours=True,
        ),
    ),
)
