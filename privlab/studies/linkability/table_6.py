"""Table 6: who sent this update, in a closed world of many users: four attacks.

The paper's two tables of this kind, 4 and 6, are of two data sets that are not to be had, one of 53 users and one of
327. Sets with some tens of users stand in `table-4`; here are a hundred writers, and forty users made of the digits.
"""

from privlab.studies.bench.study import Cell, Claim
from privlab.studies.linkability import _closed_world as closed
from privlab.studies.linkability._federation import printed, study

MANY, MADE = 10.0, 40


def cells(name: str) -> list[Cell]:
    """Four attacks on each split that the data allow."""
    return closed.cells(name, MADE if name == "digits" else None)


STUDY = study(
    "table-6",
    "Whose update is it: four attacks, many users",
    "section 8.2, Table 6",
    cells=cells,
    data={"fast": ("digits",), "real": ("mnist-writers",), "paper": ("mnist-writers",)},
    knob="attack",
    reported=printed("6"),
    claims=(
        Claim(
            "All attacks greatly outperform the chance-level performances",
            "section 8.2 (i)",
            lambda table: closed.above(table, MANY),
            "the precision of each attack over that of random scores: more than ten",
        ),
        Claim(
            "Even the most simple K-NN attack is as effective as other attacks",
            "section 8.2 (ii)",
            closed.knn_is_as_good,
            "many users: nine tenths of the precision of the best other attack",
        ),
        Claim(
            "MLP is the most effective attack across both datasets and splits",
            "section 8.2 (iii)",
            closed.mlp_is_best,
            "many users: a larger precision than each other attack's, in the same draws",
        ),
    ),
)
