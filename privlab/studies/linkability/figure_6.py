"""Figure 6: how many updates of a user the adversary has to have observed."""

import functools
import itertools
from collections.abc import Mapping
from typing import Any

import torch

from privlab import runtime
from privlab.studies.bench.printed import Printed, reported
from privlab.studies.bench.sentence import Found, ratio, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table
from privlab.studies.linkability._federation import (
    BASE,
    UNITS,
    Recorded,
    cells_of,
    devices,
    kept,
    recorded,
    scored,
    study,
)

ALL = BASE["rounds"]  # no client sends more
OBSERVED = (1, 2, 3, 5, ALL)
FEW, HALF, PRINTED, ABOVE = 5, 0.5, 21.5, 1.5


def cells(name: str) -> list[Cell]:
    """The network's attack after so many updates of each user, of the first device, at most."""
    return cells_of(name, *({"observed": count} for count in OBSERVED))


def observed(log: Recorded, count: int, seed: int) -> Recorded:
    """The second devices' updates, and `count` of each first device, drawn; more of them are these and others."""
    random = runtime.generator(runtime.derive(seed, "observed"))
    chosen = log.numbers != 0
    for user in log.users.unique():
        own = ((log.users == user) & (log.numbers == 0)).nonzero().flatten()
        chosen[own[torch.randperm(len(own), generator=random)[:count]]] = True
    return kept(log, chosen)


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Identification after so many observed updates a user."""
    log = recorded(cell, seed, device)
    return scored(cell, observed(log, cell["observed"], seed), devices(cell, seed, device), seed)


def _place(row: Printed) -> Mapping[str, Any] | None:
    place = {"split": row.split, "attack": "mlp"}
    counts = {"MLP one training update per user": 1, "MLP": ALL}
    return {**place, "observed": counts[row.variant]} if row.variant in counts else None


_read = functools.partial(reported, "linkability", readings=_place, units=UNITS)


def _each_more_helps(table: Table) -> Found:
    return {
        f"{few} to {'all' if more == ALL else more}": told(table.gains("ap", {"observed": few}, {"observed": more}))
        for few, more in itertools.pairwise(OBSERVED)
    }


def _one_is_enough(table: Table) -> Found:
    return told(table.values("times_strangers", observed=1), ABOVE)


STUDY = study(
    "figure-6",
    "How many updates of a user have to be observed",
    "section 8.2, Figure 6; the abstract",
    cells=cells,
    run=run,
    knob="observed",
    reported=(*_read(table="fig6", step=0.1), *_read(table="abstract", step=1.0)),
    claims=(
        Claim(
            "the adversary already achieves 21.5x chance-level performance with single training example per user",
            "section 8.2, Figure 6",
            lambda table: told(table.values("times_random", observed=1), PRINTED),
            "a hundred writers, one update each: the precision over that of random scores, more than 21.5",
            data=("mnist-writers",),
        ),
        Claim(
            "the adversary can perform reasonable attacks based on a small number of updates per user",
            "section 8.2, Figure 6",
            lambda table: ratio(table.values("ap", observed=FEW), table.values("ap", observed=ALL), HALF),
            "five updates a user: more than half of the precision that all of them give",
        ),
        Claim(
            "One observed update of each user is enough to recognise users.",
            "Figure 6",
            _one_is_enough,
            "the precision over that of the same scores for strangers: more than one and a half",
            ours=True,
        ),
        Claim(
            "The more updates of a user were observed, the better the user is recognised.",
            "Figure 6",
            _each_more_helps,
            "1, 2, 3, 5 and all: a larger precision at each step, in the same draws",
            ours=True,
        ),
    ),
)
