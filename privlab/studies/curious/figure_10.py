"""Figure 10b: trap weights on mini-batches of a single class."""

import torch

from privlab import runtime
from privlab.sharing import federated
from privlab.studies._data import dataset
from privlab.studies.bench.sentence import Found, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table, Takes
from privlab.studies.curious._extraction import METRICS, measure, scale, trapped
from privlab.studies.curious._paper import study

BATCH, NEURONS = 100, 1000


def cells(name: str) -> list[Cell]:
    """A mini-batch of any classes, and one of a single class."""
    fixed = {"data": name, "s": scale(name), "batch": BATCH, "neurons": NEURONS}
    return [{**fixed, "labels": which} for which in ("any", "one class")]


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """One trapped network and one mini-batch; the single class is drawn by the seed among those that have enough."""
    source, random = dataset(cell["data"]), runtime.generator(runtime.derive(seed, "batch"))
    if cell["labels"] == "one class":
        kinds, counts = source.labels.unique(return_counts=True)
        kinds = kinds[counts >= cell["batch"]]
        if not len(kinds):
            raise ValueError(f"no class of {cell['data']!r} has {cell['batch']} images for a mini-batch of its own")
        kind = kinds[torch.randint(len(kinds), (), generator=random)]
        source = source[(source.labels == kind).nonzero().flatten()]
    batch = source.sample(cell["batch"], random).to(device)
    planted, drawn = trapped(cell["data"], cell["neurons"], seed, device)
    with torch.no_grad():
        planted.get_parameter("fc1.weight").copy_(drawn.weights(cell["s"]))
    return measure(federated.gradient(planted, batch.images, batch.labels, layers=("fc1",)), batch.images, NEURONS)


def _one_class(table: Table) -> Found:
    """The mini-batch of one class against one of any classes under the same weights; less than a quarter is lost."""
    pairs = table.by_seed("recall", {"labels": "any"}, {"labels": "one class"})
    return told([one - 0.75 * anything for anything, one in pairs])


STUDY = study(
    "figure-10",
    "Mini-batches of a single class",
    "section 8.3, figure 10b",
    cells=cells,
    run=run,
    data={"fast": ("digits", "patches"), "real": ("cifar10",), "paper": ("cifar10",)},
    knob="labels",
    metrics=METRICS,
    claims=(
        Claim(
            "our method remains able to perfectly extract individual data points from the gradients even when all "
            "points stem from the same class",
            "section 8.3, figure 10b",
            _one_class,
            "s = 0.95: recall at least three quarters of that on mini-batches of any classes, the same weights",
        ),
    ),
    takes=Takes(alike=BATCH),
)
