"""Table 3: deep leakage and the width of the dense layer."""

from privlab.studies.bench.printed import Reading
from privlab.studies.bench.sentence import Found
from privlab.studies.bench.study import Cell, Claim, Table
from privlab.studies.zen._gradients import AS_WRITTEN, BASE, COLOUR, hindered, printed, study, tally

TANH: Cell = {**BASE, "activation": "tanh"}


def cells(name: str) -> list[Cell]:
    """Four widths. The table names no filters; with the ReLU of the text little is found at any width."""
    return [{"data": name, **TANH, "fc": fc} for fc in (16, 64, 128, 256)]


def _wide_is_worse(table: Table) -> Found:
    return {
        f"256 against {fc}": hindered(tally(table, **TANH | {"fc": 256}), tally(table, **TANH | {"fc": fc}))
        for fc in (16, 64, 128)
    }


STUDY = study(
    "table-3",
    "Deep leakage and the width of the dense layer",
    "Table 3",
    cells=cells,
    data=COLOUR,
    knob="fc",
    reported=printed("3", Reading({**BASE, **AS_WRITTEN}), Reading(TANH, "tanh, DLG's own network", fitted=True)),
    claims=(
        Claim(
            "wider fully connected […] layers also have an ability to reduce the effectiveness of the attack",
            "section 5.1, Table 3",
            _wide_is_worse,
            "DLG's network with tanh, victims found to 30 dB in colour; no if it is fewer than a quarter fewer",
        ),
    ),
)
