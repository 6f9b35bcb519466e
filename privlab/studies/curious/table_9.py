"""Table 9: trap weights when gradients are averaged over mini-batches."""

import itertools
from collections.abc import Sequence

from privlab.studies._data import dataset
from privlab.studies.bench.printed import Printed, Reading
from privlab.studies.bench.sentence import Found, both, told
from privlab.studies.bench.study import Cell, Claim, Table
from privlab.studies.curious._extraction import METRICS, run_trapped, scale
from privlab.studies.curious._paper import GREY, printed, study

BATCHES, COUNTS = (20, 50, 100), (1, 5, 10, 20)


def readings(_row: Printed) -> Sequence[Reading]:
    """An average of gradients, as it is written; the printed recalls fit one mini-batch's over the number of them."""
    return Reading({"reading": "average"}), Reading({"reading": "one batch"}, "one mini-batch", fitted=True)


def cells(name: str) -> list[Cell]:
    """Both readings; as many mini-batches as the data set has images for."""
    return [
        {"data": name, "s": scale(name), "batch": batch, "neurons": 1000, "averaged": count, "reading": reading}
        for reading in ("average", "one batch")
        for batch in BATCHES
        for count in COUNTS
        if name in GREY["paper"] or batch * count <= len(dataset(name))
    ]


def _reduces(table: Table) -> Found:
    steps = []
    for batch in BATCHES:
        fixed = {"batch": batch, "reading": "average"}
        for low, high in itertools.pairwise(COUNTS):
            steps.append(told(table.gains("recall", {**fixed, "averaged": high}, {**fixed, "averaged": low})))
    return both(*steps)


STUDY = study(
    "table-9",
    "Trap weights when gradients are averaged over mini-batches",
    "appendix D, Table 9",
    cells=cells,
    run=run_trapped,
    data=GREY,
    knob="averaged",
    metrics=METRICS,
    reported=printed("9", readings),
    claims=(
        Claim(
            "through averaging, the attack success is significantly reduced",
            "section 8.3",
            _reduces,
            "recall of an average of 1, 5, 10 and 20 gradients, from each to the next, by two standard errors",
        ),
    ),
)
