"""Table 2: passive extraction from networks under seven initialisations."""

import torch

from privlab import runtime
from privlab.sharing import federated
from privlab.studies.bench.sentence import UNDECIDED, Found, both, interval, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table
from privlab.studies.curious._extraction import METRICS, batches, measure, network
from privlab.studies.curious._paper import IMAGES, printed, study

INITIALISATIONS = (
    *("xavier_normal", "xavier_uniform", "gaussian:0.01", "gaussian:0.1", "gaussian:0.5", "gaussian:1", "gaussian:2"),
)


def cells(name: str) -> list[Cell]:
    """Seven initialisations of one network."""
    return [{"data": name, "init": init, "batch": 100, "neurons": 1000} for init in INITIALISATIONS]


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """One honest network, one mini-batch, one gradient."""
    (batch,) = batches(cell, seed, device)
    model = network(cell["data"], cell["neurons"], cell["init"], runtime.derive(seed, "network")).to(device)
    shared = federated.gradient(model, batch.images, batch.labels, layers=("fc1",))
    return measure(shared, batch.images, cell["neurons"])


def _spread_helps(table: Table) -> Found:
    """A seed draws the same batch, and the same weights but for their scale, so that differences are paired."""
    return told(table.gains("recall", {"init": "gaussian:0.01"}, {"init": "gaussian:2"}))


def _often(table: Table) -> Found:
    """Whether something is read in more than half of the draws, by the interval of their share, under each of them."""
    found = []
    for init in INITIALISATIONS:
        values = table.values("recall", init=init)
        low, high = interval(sum(value > 0 for value in values), len(values)) if values else (0.0, 1.0)
        found.append(None if not values else True if low > 0.5 else False if high < 0.5 else UNDECIDED)
    return both(*found)


STUDY = study(
    "table-2",
    "Passive extraction under seven initialisations",
    "section 8.2, Table 2",
    cells=cells,
    run=run,
    data=IMAGES,
    knob="init",
    metrics=METRICS,
    reported=printed("2"),
    claims=(
        Claim(
            "setting higher standard deviations in random weight distributions alone can already significantly "
            "increase the extraction-recall",
            "section 8.2",
            _spread_helps,
            "σ of 2 against 0.01, the same mini-batches, by two standard errors of the difference",
        ),
        Claim(
            "Even if this attack is passive, and the central party has not modified any of the weights adversarially, "
            "training data extraction is often successful",
            "section 8.2",
            _often,
            "some image of a hundred is read in most draws, by the interval of their share, under each initialisation",
        ),
    ),
)
