"""Table 1: training with NoPeek and noise."""

import itertools

import torch

from privlab import runtime
from privlab.defences.laplace_noise import relative
from privlab.sharing import split
from privlab.studies import _split_learning as common
from privlab.studies.bench.printed import Printed, reported
from privlab.studies.bench.sentence import POINT, Found, both, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table
from privlab.studies.splitnn._paper import BATCH, SMALL, base, protection, sizes, small, study, target

GRID = tuple((noise, alpha) for noise in (0.0, 0.1, 0.2, 0.5) for alpha in (0.0, 0.1, 0.2, 0.5))
PRINTED = [pair for pair in GRID if pair[1] != 0.2 or pair[0] == 0]  # the table's twelve rows, and (0, 0)
CORRELATION = "distance_correlation_squared"
UNITS = {"accuracy": ("accuracy", 100.0, 1e-4), "distance_correlation": (CORRELATION, 1.0, 1e-3)}


def _cells(name: str, size: int) -> list[Cell]:
    """The paper's twelve rows and (0, 0); once more with the textbook's distances where there is a loss at all."""
    rows = [base(name, size, noise=noise, noise_in="training", alpha=alpha) for noise, alpha in PRINTED]
    return rows + [{**row, "loss": "distances"} for row in rows if row["alpha"] and row["noise"] in (0.0, 0.5)]


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Training under noise and NoPeek; accuracy, and what the noisy activations tell of the images.

    On the images 45,000 to 50,000, distance correlation over batches of 32. relative_noise: the noise's standard
    deviation over that of the activations.
    """
    victims = common.shares(cell["data"], 1, 28)[2].to(device)
    parts, protect = target(cell, seed, device), protection(cell["noise"])
    clean = split.send(parts.owner, victims.images)
    sent = protect(clean, seed=runtime.derive(seed, "release")) if protect else clean
    return {
        "accuracy": split.accuracy(parts, victims.images, victims.labels, protect=protect),
        **common.correlations(victims.images, sent, BATCH),
        "relative_noise": relative(clean, cell["noise"]),
    }


def readings(row: Printed) -> Cell:
    """The table's distance correlation is that of squared distances: it comes from the released code."""
    noise, alpha = (float(part.partition("=")[2]) for part in row.variant.split(","))
    return {"noise": noise, "alpha": alpha, "loss": "squared"}


def _way(table: Table, noise: float, alpha: float) -> Cell:
    return small(table, loss="squared", noise=noise, alpha=alpha)


def _reduces(table: Table) -> Found:
    weights = (0.5, 0.2, 0.1, 0.0)
    steps = [(_way(table, 0.0, a), _way(table, 0.0, b)) for a, b in itertools.pairwise(weights)]
    return both(*(told(table.gains(CORRELATION, *step)) for step in steps))


def _noise_cancels(table: Table) -> Found:
    return {
        f"α = {alpha}": told(table.gains(CORRELATION, _way(table, 0.0, alpha), _way(table, 0.5, alpha)))
        for alpha in (0.1, 0.5)
    }


def _costs_little(table: Table, pairs: list[tuple[float, float]]) -> Found:
    """No pair of noise and weight costs two points of accuracy."""
    plain = _way(table, 0.0, 0.0)
    return both(*(told(table.gains("accuracy", plain, _way(table, *pair)), -TWO_POINTS) for pair in pairs))


TWO_POINTS = 2 * POINT
STUDY = study(
    "table-1",
    "Training with NoPeek and noise",
    "Table 1",
    cells=sizes(_cells),
    run=run,
    knob="alpha",
    metrics=("accuracy", *common.DEPENDENCE, "distance_correlation_sd", "relative_noise"),
    reported=reported("splitnn", "1", readings, step=1.0, units=UNITS),
    claims=(
        Claim(
            "A greater NoPeekNN weight typically reduces distance correlation",
            "appendix C.2",
            _reduces,
            f"{SMALL}: that of squared distances, at weights of 0, 0.1, 0.2 and 0.5, from each to the next",
        ),
        Claim(
            "there is a correlation between training noise scale and distance correlation, suggesting that additive "
            "noise may cancel out some of NoPeekNN’s work",
            "appendix C.2",
            _noise_cancels,
            f"{SMALL}: noise of 0.5 in training against none, by two standard errors",
        ),
        Claim(
            "NoPeekNN do[es] not significantly impact the classification model’s accuracy",
            "section 5",
            lambda table: _costs_little(table, [(0.0, alpha) for alpha in (0.1, 0.2, 0.5)]),
            f"{SMALL}: less than two points of accuracy lost, by two standard errors",
        ),
        Claim(
            "Noise in training does not cost much accuracy, with NoPeek or without",
            "appendix B, Table 1",
            lambda table: _costs_little(table, [pair for pair in PRINTED if pair[0]]),
            f"{SMALL}: less than two points of accuracy lost in each row, by two standard errors",
            ours=True,
        ),
    ),
)
