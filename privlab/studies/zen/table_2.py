"""Table 2: deep leakage and the number of filters."""

from privlab.studies.bench.printed import Reading
from privlab.studies.bench.sentence import Found
from privlab.studies.bench.study import Cell, Claim, Table
from privlab.studies.zen._gradients import AS_WRITTEN, BASE, COLOUR, OWN, hindered, printed, study, tally, wide

READINGS = {"as the paper writes its network": AS_WRITTEN, "DLG's own network": OWN}


def cells(name: str) -> list[Cell]:
    """Five widths of the convolutions, in both readings."""
    return [{"data": name, **BASE, **way, "conv": conv} for way in (OWN, AS_WRITTEN) for conv in (4, 16, 64, 128, 256)]


def _widths(table: Table, conv: int) -> Found:
    return {
        name: hindered(tally(table, **{**BASE, **way, "conv": conv}), tally(table, **{**BASE, **way, "conv": 64}))
        for name, way in READINGS.items()
    }


TESTED = "victims found to 30 dB in colour, against 64 filters; no if it is fewer than a quarter fewer"
STUDY = study(
    "table-2",
    "Deep leakage and the number of filters",
    "Table 2",
    cells=cells,
    data=COLOUR,
    knob="conv",
    reported=printed("2", Reading({**BASE, **AS_WRITTEN}), Reading(BASE, "DLG's own network")),
    claims=(
        Claim(
            "if the number of filters was too low, the attack did not generate any meaningful reconstruction either",
            "section 5.1, Table 2",
            lambda table: _widths(table, 16),
            f"16 filters; {TESTED}",
        ),
        Claim(
            "utilisation of wider convolutional layers in an architecture similar to LeNet did not result in a "
            "successful reconstruction",
            "section 5.1, Table 2",
            lambda table: _widths(table, 256),
            f"256 filters; {TESTED}",
        ),
        Claim(
            "a higher number of filters has a potential to improve the results of the attack",
            "section 5.1",
            lambda table: _widths(table, 4),
            f"4 filters; {TESTED}",
        ),
    ),
    large=lambda cell: wide(cell) or (cell["activation"] == "relu" and cell["conv"] > 16),
)
