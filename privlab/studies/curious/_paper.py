"""What all studies of "When the curious abandon honesty" (Boenisch et al.) share."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from privlab.studies._data import checksum, dataset
from privlab.studies.bench.printed import Printed, Reading, Reported, reported
from privlab.studies.bench.study import Cell, Study

SEEDS = {"fast": 3, "real": 3, "paper": 10}
GREY = {"fast": ("digits",), "real": ("mnist",), "paper": ("mnist",)}
BOTH = {"fast": ("digits",), "real": ("mnist", "cifar10"), "paper": ("mnist", "cifar10")}
IMAGES = {
    "fast": ("digits", "patches"),
    "real": ("mnist", "cifar10", "photos"),
    "paper": ("mnist", "cifar10", "photos"),
}
KNOBS = {
    "B": ("batch", int),
    "N": ("neurons", int),
    "s": ("s", float),
    "averaged": ("averaged", int),
    "epoch": ("epoch", int),
}
PAPER_RUNS = 10  # "All numbers are averaged over 10 runs"


def study(name: str, title: str, place: str, **particular: Any) -> Study:
    """A study of this paper, by what is particular to it."""
    usual = {"version": 1, "data": BOTH, "seeds": SEEDS, "runs": PAPER_RUNS, "checksum": checksum, "load": dataset}
    return Study(id=f"curious/{name}", title=title, source=f"Curious, {place}", **{**usual, **particular})


def settings(row: Printed) -> Cell:
    """The settings in a description like `trap s=0.7 B=100 N=1000 averaged=5`."""
    found = dict(re.findall(r"(\w+)=(.+?)(?=\s\w+=|$)", row.variant))
    cell: Cell = {KNOBS[key][0]: KNOBS[key][1](value) for key, value in found.items() if key in KNOBS}
    if "init" in found:
        spread = found.get("sigma", "")
        cell["init"] = f"gaussian:{spread}" if spread else found["init"].lower().replace(" ", "_")
    return cell


def as_written(_row: Printed) -> Sequence[Reading]:
    """One reading, which leaves nothing open."""
    return (Reading({}),)


def printed(table: str, readings: Callable[[Printed], Sequence[Reading]] = as_written) -> tuple[Reported, ...]:
    """The printed numbers of one table; `readings` add to a row's own settings what the paper leaves open."""

    def ways(row: Printed) -> Sequence[Reading]:
        return [Reading({**settings(row), **way.cell}, way.name, way.fitted) for way in readings(row)]

    return reported("curious", table, ways, step=0.001)
