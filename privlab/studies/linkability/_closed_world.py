"""What Tables 4 and 6 share: four attacks on a closed world, and what is asked about them."""

from privlab import data
from privlab.attacks.linkability import IDENTIFY
from privlab.studies._data import dataset
from privlab.studies.bench.sentence import Found, ratio, told
from privlab.studies.bench.study import Cell, Table
from privlab.studies.linkability._federation import cells_of

ATTACKS = tuple(attack for attack in IDENTIFY if attack != "chance")
CLOSE = 0.9  # of the best attack's precision
# What the paper's sets and ours tell of their examples, of which each split but the random one needs something.
ALLOWED = {
    "mitbih": ("random", "chronological"),
    "pipa": ("random", "session"),
    "openimages": ("random", "session", "chronological"),
}


def splits(name: str) -> tuple[str, ...]:
    """The splits that a data set allows: by session and by time where it tells of them."""
    if name in ALLOWED or name in data.CATALOGUE:
        return ALLOWED.get(name, ("random",))
    told = {"session": dataset(name).sessions, "chronological": dataset(name).times}
    return ("random", *(split for split, each in told.items() if each is not None))


def cells(name: str, users: int | None = None) -> list[Cell]:
    """Four attacks on each split that the data allow."""
    some = {} if users is None else {"users": users}
    return cells_of(
        name, *({**some, "split": split, "attack": attack} for split in splits(name) for attack in IDENTIFY)
    )


def splits_in(table: Table) -> list[str]:
    """The splits of a table's rows, in their order."""
    return list(dict.fromkeys(row["cell"]["split"] for row in table.rows))


def above(table: Table, times: float, **settings: str) -> Found:
    """So many times what random scores have, for each attack and split."""
    kinds = [settings["split"]] if settings else splits_in(table)
    return {
        f"{attack}, {split}": told(table.values("times_random", attack=attack, split=split), times)
        for attack in ATTACKS
        for split in kinds
    }


def mlp_is_best(table: Table) -> Found:
    """A larger precision than each other attack's, in the same draws."""
    return {
        f"{other}, {split}": told(
            table.gains("ap", {"attack": other, "split": split}, {"attack": "mlp", "split": split})
        )
        for other in ATTACKS
        if other != "mlp"
        for split in splits_in(table)
    }


def knn_is_as_good(table: Table) -> Found:
    """At nine tenths of the precision of the best other attack."""
    found = {}
    for split in splits_in(table):
        best = max(("svm", "mlp"), key=lambda attack: table.mean("ap", attack=attack, split=split))
        found[split] = ratio(
            table.values("ap", attack="knn", split=split), table.values("ap", attack=best, split=split), CLOSE
        )
    return found
