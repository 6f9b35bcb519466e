"""How identification grows with the number of users: the precision falls, and by less than that of random scores."""

import itertools

from privlab.studies.bench.sentence import Found, ratio, told
from privlab.studies.bench.study import Cell, Claim, Table
from privlab.studies.linkability._federation import cells_of, made, study, users_of

# All writers of the training set at most; of the patients and of an alphabet's drawers some are the background.
COUNTS = {
    "mnist-writers": (10, 20, 50, 100, 200, 539),
    "mitbih": (5, 10, 20, 30),
    "omniglot": (5, 10, 14),
}
USUAL = (5, 10, 20, 40)  # of made users
ATTACKS = ("knn", "mlp")
SETS = ("mnist-writers", "mitbih")
GROWTH = 1.5


def counts(name: str) -> tuple[int, ...]:
    """The numbers of users; of one's own people as many as there are."""
    if name in COUNTS or made(name):
        return COUNTS.get(name, USUAL)
    most = users_of(name)
    return (*(count for count in USUAL if count < most), most)


def cells(name: str) -> list[Cell]:
    """Two attacks on so many users."""
    return cells_of(name, *({"users": count, "attack": attack} for count in counts(name) for attack in ATTACKS))


def _sizes(table: Table) -> list[int]:
    return sorted({row["cell"]["users"] for row in table.rows})


def _ends(table: Table, attack: str) -> tuple[Cell, Cell]:
    """The cells of the fewest and of the most users."""
    sizes = _sizes(table) or [0]
    return {"users": sizes[0], "attack": attack}, {"users": sizes[-1], "attack": attack}


def _lower(table: Table) -> Found:
    found = {}
    for attack in ATTACKS:
        few, many = _ends(table, attack)
        found[attack] = told(table.gains("ap", many, few))
    return found


def _further_above(table: Table) -> Found:
    found = {}
    for attack in ATTACKS:
        few, many = (table.values("times_random", **cell) for cell in _ends(table, attack))
        found[attack] = ratio(many, few, GROWTH)
    return found


def _each_step(table: Table) -> Found:
    return {
        f"{attack}, {few} to {many}": told(
            table.gains("times_strangers", {"users": few, "attack": attack}, {"users": many, "attack": attack})
        )
        for attack in ATTACKS
        for few, many in itertools.pairwise(_sizes(table))
    }


STUDY = study(
    "users",
    "How identification grows with the number of users",
    "section 8.2 (iv), Tables 4 and 6",
    cells=cells,
    data={"fast": ("digits",), "real": SETS, "paper": SETS},
    knob="users",
    claims=(
        Claim(
            "the absolute AP scores are lower for the more challenging and larger OpenImages dataset",
            "section 8.2 (iv)",
            _lower,
            "one data set, the most users against the fewest: a smaller precision, in the same draws",
        ),
        Claim(
            "the increase over chance level performance is significantly higher",
            "section 8.2 (iv)",
            _further_above,
            "one data set, the most users against the fewest: half as much again over the precision of random scores",
        ),
        Claim(
            "With each further step in the number of users an attack is further above chance.",
            "Tables 4 and 6",
            _each_step,
            "the precision over that of the same scores for strangers: larger at each step, in the same draws",
            ours=True,
        ),
    ),
)
