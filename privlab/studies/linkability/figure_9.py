"""Figure 9: an attack that learned from updates of some rounds, asked about those of others.

A hundred rounds are five ranges of twenty. Half of the clients take part in each round, not a tenth as elsewhere: so
everybody is heard about ten times in each range.
"""

import dataclasses
import functools
import json
import math
from collections.abc import Callable

import torch
from torch import Tensor

from privlab import runtime
from privlab.attacks import linkability
from privlab.metrics import linkability as metrics
from privlab.studies.bench.sentence import Found, Outcome, alike
from privlab.studies.bench.study import Cell, Claim, Metrics, Table, cell_key
from privlab.studies.linkability._federation import METRICS, Recorded, cells_of, recorded, study

RANGES, HALF = 5, 0.5
FIRST, LAST = 0, RANGES - 1
LITTLE = math.log(1.1)  # a tenth of the precision


def cells(name: str) -> list[Cell]:
    """The network's attack, trained on updates of one range of rounds and asked about those of one."""
    pairs = [{"trained": trained, "asked": asked} for trained in range(RANGES) for asked in range(RANGES)]
    return cells_of(name, *({"fraction": HALF, **pair} for pair in pairs))


def heard(log: Recorded, device: int, when: int, rounds: int) -> Tensor:
    """Which updates first (0) or second (1) devices sent in a range of rounds, bool `(N,)`."""
    return (log.numbers == device) & (log.rounds * RANGES // rounds == when)


@functools.lru_cache(maxsize=1)
def _trained(key: str, seed: int, device: str) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The attack's network, by updates of one range of rounds, and the users of whom there are some."""
    cell = json.loads(key)
    log = recorded(cell, seed, torch.device(device))
    mine = heard(log, 0, cell["trained"], cell["rounds"])
    rows = log.layers[cell["layer"]][mine]
    users, own = log.users[mine].unique(return_inverse=True)
    return linkability.mlp(rows, own.to(rows.device), seed=runtime.derive(seed, "attack")), users


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Identification of second devices in one range of rounds, by what first ones sent in another."""
    log = recorded(cell, seed, device)
    known = {name: value for name, value in cell.items() if name != "asked"}
    ask, users = _trained(cell_key(known), seed, str(device))
    theirs = heard(log, 1, cell["asked"], cell["rounds"]) & torch.isin(log.users, users)
    scores = ask(log.layers[cell["layer"]][theirs]).cpu()
    truth = torch.searchsorted(users, log.users[theirs])
    return dataclasses.asdict(metrics.score(scores, truth, seed=runtime.derive(seed, "attack")))


def _changes(table: Table, pairs: list[tuple[Cell, Cell]]) -> Outcome:
    """Whether the precision in the second of two cells is that of the first, give or take; a mean over pairs."""
    found = [table.by_seed("ap", *pair) for pair in pairs]
    logs = [[math.log(max(b, 1e-9) / max(a, 1e-9)) for a, b in draws] for draws in zip(*found, strict=False)]
    return alike([sum(each) / len(each) for each in logs], LITTLE)


def _little_influence(table: Table) -> Found:
    every = range(RANGES)
    ends = ((FIRST, LAST), (LAST, FIRST))
    return {
        "what is learned from": _changes(
            table, [({"trained": FIRST, "asked": other}, {"trained": LAST, "asked": other}) for other in every]
        ),
        "what is asked about": _changes(
            table, [({"trained": other, "asked": FIRST}, {"trained": other, "asked": LAST}) for other in every]
        ),
        "how far both are apart": _changes(
            table, [({"trained": one, "asked": one}, {"trained": one, "asked": other}) for one, other in ends]
        ),
    }


STUDY = study(
    "figure-9",
    "Learned from some rounds, asked about others",
    "section 8.2, Figure 9",
    cells=cells,
    run=run,
    knob="asked",
    metrics=METRICS[:-1],
    claims=(
        Claim(
            "the round t at which the update was generated has little influence on the performance",
            "section 8.2, Figure 9",
            _little_influence,
            "five ranges of twenty rounds: first against last, the network's precision changes by less than a tenth",
        ),
    ),
)
