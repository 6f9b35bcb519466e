"""Table 5, its colour columns through convolutions."""

import functools
import math

import torch

from privlab import models, runtime
from privlab.attacks import gradient_extraction, transmission, trap_weights
from privlab.metrics import extraction
from privlab.sharing import federated
from privlab.studies._data import dataset
from privlab.studies.bench.printed import Printed, Reading, Reported
from privlab.studies.bench.sentence import Found, alike, both
from privlab.studies.bench.study import Cell, Claim, Metrics, Table, Takes
from privlab.studies.curious._paper import printed, study

SCALES = (0.9, 0.95, 0.96, 0.97, 0.98)
NEURONS, BATCH = 1000, 100
PAPER_FILTERS, SMALL_FILTERS = (128, 256, 512), (8, 16, 32)


@functools.lru_cache(maxsize=1)
def _transmitting(name: str, filters: tuple[int, ...], seed: int, device: torch.device) -> transmission.Transmission:
    """The paper's CNN with its convolutions set to pass the image on: with 512 filters it weighs 2.1 GB."""
    images = dataset(name)
    model = models.vgg_inspired(
        images.shape,
        len(images.classes),
        filters=filters,
        neurons=NEURONS,
        seed=runtime.derive(seed, "network"),
    )
    return transmission.transmit(model.to(device), images.shape, seed=runtime.derive(seed, "transmit"))


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Trap weights behind three convolutions, with the batch and the draws of the same cell on flat pixels."""
    images = dataset(cell["data"])
    batch = images.sample(BATCH, runtime.derive(seed, "batch")).to(device)
    carried = _transmitting(cell["data"], tuple(cell["filters"]), seed, device)
    drawn = trap_weights.draw(NEURONS, math.prod(images.shape), seed=runtime.derive(seed, "trap"))
    planted = carried.load(drawn.weights(cell["s"]).to(device))
    sent = carried.restore(federated.gradient(planted, batch.images, batch.labels, layers=("fc1",)))
    score = extraction.score(gradient_extraction.candidates(sent), batch.images, neurons=NEURONS)
    own = gradient_extraction.extract(sent, shape=images.shape)
    return {**vars(score), "adversary_count": float(len(own.images))}


def cells(name: str) -> list[Cell]:
    """The paper's filters on its data; on others, few."""
    filters = PAPER_FILTERS if name == "cifar10" else SMALL_FILTERS
    return [{"data": name, "filters": list(filters), "s": s, "batch": BATCH, "neurons": NEURONS} for s in SCALES]


FLAT = {"data", "s", "batch", "neurons"}  # the keys of a cell of curious/table-5
TWO_IMAGES = 0.0201


def _unaltered(table: Table) -> Found:
    """Recall behind convolutions is that on flat pixels, at every s, on the mean of the same draws, to two images.

    Single draws may differ: an image with a loss of exactly zero sends no gradient, in one network or the other.
    """
    through, flat = (
        {(row["cell"]["s"], row["seed"]): row["metrics"]["recall"] for row in rows}
        for rows in (
            [row for row in table.select(batch=BATCH, neurons=NEURONS).rows if "filters" in row["cell"]],
            [row for row in table.select(batch=BATCH, neurons=NEURONS).rows if row["cell"].keys() == FLAT],
        )
    )
    apart: dict[float, list[float]] = {}
    for s, seed in through.keys() & flat.keys():
        apart.setdefault(s, []).append(through[s, seed] - flat[s, seed])
    return both(*(alike(differences, TWO_IMAGES) for differences in apart.values())) if apart else None


def _at_scales(items: tuple[Reported, ...]) -> tuple[Reported, ...]:
    return tuple(item for item in items if item.printed.dataset == "CIFAR-10" and item.readings[0].cell["s"] in SCALES)


def behind_convolutions(_row: Printed) -> tuple[Reading, ...]:
    """The paper's own network, with its 128, 256 and 512 filters; on other data one with fewer."""
    return Reading({"filters": list(PAPER_FILTERS)}), Reading({"filters": list(SMALL_FILTERS)}, "fewer filters")


STUDY = study(
    "table-5-cnn",
    "Trap weights behind convolutions",
    "sections 7 and 8.3, Table 5",
    cells=cells,
    run=run,
    data={"fast": ("patches",), "real": ("cifar10",), "paper": ("cifar10",)},
    knob="s",
    metrics=("active", "precision", "recall", "precision_all", "adversary_count"),
    reported=_at_scales(printed("5", behind_convolutions)),
    claims=(
        Claim(
            "transmit the model input unaltered up to the fully-connected layers of the model architecture",
            "section 7",
            _unaltered,
            "recall behind three convolutions against that on flat pixels, at each s, the same draws, to two images",
        ),
    ),
    beside=("curious/table-5",),
    takes=Takes(channels=(3,), widest=64),
    together=lambda cell: (cell["data"], tuple(cell["filters"])),
    workers=1,
)
