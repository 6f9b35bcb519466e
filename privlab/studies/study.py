"""What a study is."""

import csv
import json
import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import torch

from privlab.studies.outcome import Outcome

Cell = dict[str, Any]
Metrics = dict[str, float]

# The papers' data sets by our names: (the name the paper prints, whether ours is that very data set).
PAPER_DATA = {
    "mnist": ("MNIST", True),
    "digits": ("MNIST", False),
    "cifar10": ("CIFAR-10", True),
    "patches": ("CIFAR-10", False),
    "photos": ("ImageNet", False),
    "imdb": ("IMDB", True),
    "manual": ("IMDB", False),
    "pneumoniamnist": ("PneumoniaMNIST", True),
    "pathmnist": ("PathMNIST", True),
}


def cell_key(cell: Mapping[str, Any]) -> str:
    """The cell as one string, the same for equal cells whatever their order."""
    return json.dumps(dict(sorted(cell.items())), separators=(",", ":"))


@dataclass(frozen=True)
class Reported:
    """One printed number. `step` is one unit of its last printed digit.

    judged: whether it can be compared with ours at all; seconds on another machine are printed beside ours, no more.
    """

    dataset: str
    cell: Mapping[str, Any]
    metric: str
    value: float
    step: float
    judged: bool = True


@dataclass(frozen=True)
class Table:
    """Measured rows of one study: `rows` are dicts with `cell`, `seed` and `metrics`."""

    rows: Sequence[Mapping[str, Any]]

    @property
    def data(self) -> str | None:
        """The data set that all rows are about; None where there are several, or no rows."""
        names = {row["cell"]["data"] for row in self.rows}
        return names.pop() if len(names) == 1 else None

    def select(self, **settings: Any) -> "Table":
        """The rows whose cell has these settings."""
        return Table([row for row in self.rows if settings.items() <= row["cell"].items()])

    def values(self, metric: str, **settings: Any) -> list[float]:
        """The metric in every row with these settings, one value a seed."""
        return [row["metrics"][metric] for row in self.select(**settings).rows if metric in row["metrics"]]

    def mean(self, metric: str, **settings: Any) -> float:
        """Its mean over seeds (NaN where nothing was measured)."""
        found = self.values(metric, **settings)
        return statistics.fmean(found) if found else float("nan")

    def curve(self, metric: str, knob: str, **settings: Any) -> dict[Any, float]:
        """Its mean at each value of the knob, in rising order."""
        places = sorted({row["cell"][knob] for row in self.select(**settings).rows if knob in row["cell"]})
        return {place: self.mean(metric, **settings, **{knob: place}) for place in places}


Test = Callable[[Table], Outcome]


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper as a predicate over the rows measured on one data set.

    `test` returns None where the rows it needs are missing, and UNDECIDED where they are there and differ by no more
    than chance may. `data` limits it to some data sets.
    """

    text: str
    source: str
    test: Test
    data: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """One table or figure of a paper.

    `cells(data)` is the grid for one data set; `run(cell, seed, device)` measures one cell. `data` and
    `seeds` say what each profile covers. Raise `version` whenever the meaning of a row changes: older rows
    then count as stale. `knob` is the setting over which the table's ordering is judged, `together` what
    cells must share to be run one after the other in one process (they can share random draws). `beside` names
    other studies whose rows the claims need too. `large` says which cells only the paper profile runs,
    `workers` how many cells at most run at a time (None: any number), where memory is what limits.
    """

    id: str
    title: str
    source: str
    version: int
    cells: Callable[[str], list[Cell]]
    run: Callable[[Cell, int, torch.device], Metrics]
    data: Mapping[str, tuple[str, ...]]
    seeds: Mapping[str, int]
    knob: str
    metrics: tuple[str, ...]
    reported: tuple[Reported, ...] = ()
    claims: tuple[Claim, ...] = ()
    beside: tuple[str, ...] = ()
    checksum: Callable[[str], tuple[str, str]] = field(kw_only=True)
    together: Callable[[Cell], Hashable] = lambda cell: cell.get("data")
    large: Callable[[Cell], bool] = lambda cell: False
    workers: int | None = None


def read_reported(
    paper: str, table: str, cell: Callable[[str, str], Cell | None], *, step: float, with_model: bool = False
) -> tuple[Reported, ...]:
    """The printed numbers of one table, from the paper's CSV file in this package.

    `cell(dataset, variant)` turns the file's description of a cell into its settings (None: leave it out).
    `step` is one unit of the last digit that the table prints (the file does not keep trailing zeros). `with_model`
    adds the file's model to the cell, in small letters.
    """
    text = resources.files("privlab.studies").joinpath(f"reported/{paper}.csv").read_text()
    found = []
    for row in csv.DictReader(text.splitlines()):
        if row["table"] != table or not row["value"]:
            continue
        settings = cell(row["dataset"], row["variant"])
        if settings is not None and with_model:
            settings = {**settings, "model": row["model"].lower()}
        if settings is not None:
            found.append(Reported(row["dataset"], settings, row["metric"], float(row["value"]), step))
    return tuple(found)
