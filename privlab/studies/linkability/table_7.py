"""Table 7: who made this one image, of many users: the devices of `table-6`, and their images themselves."""

from privlab.studies.bench.study import Cell, Claim
from privlab.studies.linkability import _pictures as pictures
from privlab.studies.linkability.table_6 import MADE

PRINTED = 25.0


def cells(name: str) -> list[Cell]:
    """One network on each split, of as many users as in `table-6`."""
    return pictures.cells(name, MADE if name == "digits" else None)


STUDY = pictures.declared(
    "table-7",
    "Who made this image, of many users",
    ("mnist-writers",),
    cells=cells,
    beside=("linkability/table-6",),
    claims=(
        Claim(
            "All attack models are reasonably effective at this task "
            "(≥18x chance-level in PIPA and ≥25x in OpenImages)",
            "section 8.2 (i)",
            lambda table: pictures.identify(table, PRINTED),
            "many users, one image: the precision over that of random scores, more than 25",
        ),
        Claim(
            "this task is more difficult than the identification based on model updates",
            "section 8.2 (ii)",
            pictures.harder,
            "many users, the same devices: on updates the network is more times better than random",
        ),
    ),
)
