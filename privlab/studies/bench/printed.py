"""The numbers that the papers print, row by row, and where a study finds them."""

import csv
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

PAPERS = ("curious", "zen", "splitnn", "linkability")
CHARACTERS = "table", "dataset", "model", "split", "variant", "metric"


@dataclass(frozen=True)
class Printed:
    """One row of a paper's file: a printed value and its place. `value` None: it was printed as *did not converge*."""

    paper: str
    table: str
    dataset: str
    model: str
    split: str
    variant: str
    metric: str
    value: float | None
    note: str = ""


@dataclass(frozen=True)
class Reading:
    """The settings that a cell must have to be a printed number's. A paper that leaves a setting open has several.

    name: what was chosen, where the paper does not say; empty for the literal one. fitted: it was chosen by looking at
    the printed numbers, and so does not count as agreement with them.
    """

    cell: Mapping[str, Any]
    name: str = ""
    fitted: bool = False


@dataclass(frozen=True)
class Reported:
    """A printed number in our units. `step` is one unit of its last printed digit, `spread` what stands behind its ±.

    readings: the cells that may be its, the literal reading first.
    """

    printed: Printed
    metric: str
    value: float | None
    step: float
    readings: tuple[Reading, ...]
    spread: float | None = None


@functools.cache
def printed(paper: str) -> tuple[Printed, ...]:
    """Every row of a paper's file, in its order."""
    text = resources.files("privlab.studies").joinpath(paper, "reported.csv").read_text()
    rows = csv.DictReader(text.splitlines())
    found = []
    for row in rows:
        place = {name: row.get(name) or "" for name in CHARACTERS}
        value = float(row["value"]) if row["value"] else None
        found.append(Printed(paper, **place, value=value, note=row.get("note") or ""))
    return tuple(found)


def reported(
    paper: str,
    table: str,
    readings: Callable[[Printed], Sequence[Reading] | Mapping[str, Any] | None],
    *,
    step: float,
    units: Mapping[str, tuple[str, float, float]] | None = None,
) -> tuple[Reported, ...]:
    """The printed numbers of one table.

    readings(row): where its cells are, the literal reading first; one set of settings where there is one reading only,
    None for a row that is not to be had. step: one unit of the last digit that the table prints (the file
    does not keep trailing zeros). units: of a printed metric our name, the factor to divide by, and its own step.
    """
    found = []
    for row in printed(paper):
        ways = readings(row) if row.table == table else None
        if ways is None:
            continue
        ways = (Reading(ways),) if isinstance(ways, Mapping) else tuple(ways)
        name, factor, own = (units or {}).get(row.metric, (row.metric, 1.0, step))
        value = None if row.value is None else row.value / factor
        found.append(Reported(row, name, value, own, ways, _spread(row.note)))
    return tuple(found)


def _spread(note: str) -> float | None:
    """The number behind ± in a note."""
    return float(note.split()[1]) if note.startswith("± ") else None
