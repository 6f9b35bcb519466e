"""Table 5 of "When the curious abandon honesty" (Boenisch et al.), its colour columns through convolutions."""

import functools
import math
import statistics

import torch

from privlab import models, runtime
from privlab.attacks import gradient_extraction, transmission, trap_weights
from privlab.metrics import extraction
from privlab.sharing import federated
from privlab.studies.curious import SEEDS, checksum, dataset, parse
from privlab.studies.study import Cell, Claim, Metrics, Study, Table, read_reported

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


def _cells(name: str) -> list[Cell]:
    filters = PAPER_FILTERS if name == "cifar10" else SMALL_FILTERS
    return [{"data": name, "filters": list(filters), "s": s, "batch": BATCH, "neurons": NEURONS} for s in SCALES]


def _nothing_is_lost(table: Table) -> bool | None:
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
    both = through.keys() & flat.keys()
    apart: dict[float, list[float]] = {}
    for s, seed in both:
        apart.setdefault(s, []).append(through[s, seed] - flat[s, seed])
    return all(abs(statistics.fmean(differences)) <= 0.0201 for differences in apart.values()) if both else None


FLAT = {"data", "s", "batch", "neurons"}  # the keys of a cell of curious/table-5

TABLE_5_CNN = Study(
    id="curious/table-5-cnn",
    title="Trap weights behind convolutions",
    source="Curious, sections 7 and 8.3, Table 5",
    version=1,
    cells=_cells,
    run=run,
    data={"fast": ("patches",), "real": ("cifar10",), "paper": ("cifar10",)},
    seeds=SEEDS,
    knob="s",
    metrics=("active", "precision", "recall", "precision_all", "adversary_count"),
    reported=tuple(
        item
        for item in read_reported("curious", "5", parse, step=0.001)
        if item.dataset == "CIFAR-10" and item.cell["s"] in SCALES
    ),
    claims=(Claim("Convolutions hand the image on unaltered", "section 7", _nothing_is_lost),),
    beside=("curious/table-5",),
    checksum=checksum,
    together=lambda cell: (cell["data"], tuple(cell["filters"])),
    workers=1,
)

STUDIES = (TABLE_5_CNN,)
