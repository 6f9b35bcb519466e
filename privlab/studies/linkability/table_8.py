"""Table 8: are these two updates of one user's, in a closed world?

The paper leaves open which updates the adversary learned from. The two of a pair are always of different clients, and a
user has two, so that one of them is a first device's. The adversary observed every other round, of the first devices
alone (section 6.3), or of both; asked about are pairs of the rounds between, none of whose updates it has seen. Of the
first devices alone the Siamese network learns from pairs of one client, since a user has no other.
"""

import torch

from privlab import runtime
from privlab.attacks.linkability import MATCH
from privlab.sharing import federated
from privlab.studies.bench.printed import Printed, Reading, reported
from privlab.studies.bench.sentence import Found, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table
from privlab.studies.linkability._closed_world import splits
from privlab.studies.linkability._federation import SPLITS, UNITS, cells_of, devices, recorded, study
from privlab.studies.linkability._pairs import heard_twice, matched

OBSERVED = ("first", "both")
LEARNED = ("mlp", "siamese")
SUCCESS, AMPLE = 0.9, 0.6
SHORT = {title: name for name, title in SPLITS.items()}


def cells(name: str) -> list[Cell]:
    """Four attacks, of which two learn, from first devices or from both; with times a chronological split too."""
    ways = [(attack, "first") for attack in MATCH] + [(attack, "both") for attack in LEARNED]
    return cells_of(
        name, *({"split": split, "attack": attack, "observed": way} for split in splits(name) for attack, way in ways)
    )


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """The precision of matching on as many pairs of one user as of two, and the accuracy of the task."""
    log = recorded(cell, seed, device)
    users = heard_twice(log)
    known = (log.rounds % 2 == 0) & torch.isin(log.users, users)
    clients = log.clients
    if cell["observed"] == "first":
        known &= log.numbers == 0
        clients = torch.arange(len(log.users))  # a pair of one user's is of one client: other rounds are as others
    found = matched(cell, log, known, clients, users, runtime.derive(seed, "attack"))
    tested = devices(cell, seed, device).tested
    return {**found, "utility": federated.accuracy(log.model, tested.images, tested.labels)}


def _settings(table: Table) -> list[tuple[str, str]]:
    splits = dict.fromkeys(row["cell"]["split"] for row in table.rows)
    return [(split, way) for split in splits for way in OBSERVED]


def _above(attacks: tuple[str, ...], limit: float, table: Table) -> Found:
    return {
        f"{attack}, {split}, observed {way}": told(
            [value - limit for value in table.values("ap", attack=attack, split=split, observed=way)]
        )
        for split, way in _settings(table)
        for attack in attacks
        if way == "first" or attack in LEARNED
    }


def _learning_helps(table: Table) -> Found:
    cosine = {"attack": "cosine"}
    return {
        f"{attack}, {split}, observed {way}": told(
            table.gains("ap", {**cosine, "split": split}, {"attack": attack, "split": split, "observed": way})
        )
        for split, way in _settings(table)
        for attack in LEARNED
    }


def _both_help(table: Table) -> Found:
    found = {}
    for split in dict.fromkeys(row["cell"]["split"] for row in table.rows):
        for attack in LEARNED:
            own = {"attack": attack, "split": split}
            found[f"{attack}, {split}"] = told(
                table.gains("ap", {**own, "observed": "first"}, {**own, "observed": "both"})
            )
    return found


CLAIMS = (
    Claim(
        "Across all datasets and splits considered, the matching can be done very successfully, all greater than 91.2%",
        "section 8.3",
        lambda table: _above(LEARNED, SUCCESS, table),
        "a precision of more than nine tenths on balanced pairs, of each attack that learns",
    ),
    Claim(
        "There is ample, generalizable user-specific information in the gradient updates "
        "that enable the adversary to match them across clients",
        "section 8.3",
        lambda table: _above(MATCH[1:], AMPLE, table),
        "a precision of more than six tenths, where chance has five",
    ),
    Claim(
        "Who learned from observed updates matches better than by the cosine.",
        "Table 8",
        _learning_helps,
        "a larger precision on the same pairs",
        ours=True,
    ),
    Claim(
        "Who heard both devices before matches their later updates better.",
        "Table 8",
        _both_help,
        "a larger precision on the same pairs than who heard the first device alone",
        ours=True,
    ),
)


def _printed(row: Printed) -> list[Reading] | None:
    """From first devices, as section 6.3 has it, or from both."""
    own = {"split": SHORT.get(row.split, row.split), "attack": row.variant.lower()}
    return [
        Reading({**own, "observed": "first"}),
        Reading({**own, "observed": "both"}, "updates of both devices observed"),
    ]


STUDY = study(
    "table-8",
    "Are two updates of one user: a closed world",
    "section 8.3, Table 8",
    cells=cells,
    run=run,
    knob="attack",
    metrics=("ap", "times_chance", "utility"),
    reported=reported("linkability", "8", _printed, step=0.001, units=UNITS),
    claims=CLAIMS,
)
