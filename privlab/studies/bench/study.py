"""What a study is."""

import json
import statistics
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from privlab.studies.bench.printed import Reported
from privlab.studies.bench.sentence import Found, Outcome
from privlab.studies.bench.takes import Takes

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
    "fashion-mnist": ("FMNIST", True),
    "cifar100": ("CIFAR-100", True),
    "emnist-digits": ("EMNIST", True),
    "location30": ("Location-30", True),
    "mnist-writers": ("OpenImages", False),
    "mitbih": ("PIPA", False),
    "omniglot": ("PIPA", False),
    "gaussian": ("Gaussian noise", True),
    # The talk names none.
    "mednist": ("MedNIST", True),
    "heart-disease": ("heart disease", True),
    "adult": ("Adult", True),
}


def cell_key(cell: Mapping[str, Any]) -> str:
    """The cell as one string, the same for equal cells whatever their order."""
    return json.dumps(dict(sorted(cell.items())), separators=(",", ":"))


def rising(value: Any) -> tuple[int, Any]:
    """A key that puts the values of a knob in order: numbers, then names, then None."""
    return (2, 0) if value is None else (int(isinstance(value, str)), value)


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
        """Its mean at each value of the knob, in rising order: numbers, then names, then None."""
        found = {row["cell"][knob] for row in self.select(**settings).rows if knob in row["cell"]}
        places = sorted(found, key=rising)
        return {place: self.mean(metric, **settings, **{knob: place}) for place in places}

    def by_seed(self, metric: str, *cells: Mapping[str, Any]) -> list[tuple[float, ...]]:
        """The metric in each of some cells, one tuple a seed that has them all.

        A seed's draws are shared, so that its cells are pairs. A cell is given by some of its settings.
        """
        found = []
        for cell in cells:
            rows = [row for row in self.select(**cell).rows if metric in row["metrics"]]
            found.append({row["seed"]: float(row["metrics"][metric]) for row in rows})
        seeds = sorted(set.intersection(*(set(each) for each in found))) if found else []
        return [tuple(each[seed] for each in found) for seed in seeds]

    def gains(self, metric: str, low: Mapping[str, Any], high: Mapping[str, Any]) -> list[float]:
        """By how much the metric is larger in one cell than in another, one number a seed that has both."""
        return [b - a for a, b in self.by_seed(metric, low, high)]


Test = Callable[[Table], Found]
Single = Callable[[Table], Outcome]  # a test of one setting


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper as a predicate over the rows measured on one data set.

    text: quoted, up to 25 words; with `ours` it is our own sentence, about the paper's object or a control. tested: the
    settings in which, and the margin by which, it is tested; nothing wider is said. `test` returns an outcome (see
    `sentence`), or one for each of several settings. `data` limits it to some data sets.
    """

    text: str
    source: str
    test: Test
    tested: str = ""
    ours: bool = False
    data: tuple[str, ...] = ()


def alone(cell: Cell) -> Hashable:
    """What cells share where a study does not say: their data set, kept between them."""
    return cell.get("data")


def _no_others(_cell: Cell) -> tuple[str, ...]:
    return ()


def _none_absent(_cell: Cell) -> str:
    return ""


def _no_scale(_cell: Cell, _item: Reported) -> str:
    return ""


@dataclass(frozen=True)
class Study:
    """One table or figure of a paper.

    `cells(data)` is the grid for one data set; `run(cell, seed, device)` measures one cell. `data` and
    `seeds` say what each profile covers. Raise `version` whenever the meaning of a row changes: older rows
    then count as stale; `versions` where it changed on one data set alone. `knob` is the setting over which the
    table's ordering is judged, `together` what cells must share to be run one after the other in one process (they
    can share random draws). `beside` names other studies whose rows the claims need too. `large` says which cells
    only the paper profile runs,
    `workers` how many cells at most run at a time (None: any number), where memory is what limits.
    `scale(cell, item)` says what is smaller in a cell than in the paper, as far as a printed number is concerned; empty
    for the paper's own scale. `runs` is of how many runs the paper prints means. `takes`: the data that it can be
    run on; `others(cell)`: further data sets that a cell reads. `stands`: of ours the paper's set that it stands in for
    here, where it is another than elsewhere. `names_data`: False where the document names no data, so that each set
    speaks for itself and none stands in for another. `subject(cell, seed, device)`: what a cell measures,
    such as a trained network, for those who want to look. `absent(cell)`: why a cell is not in the grid, in words;
    empty where it is.
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
    together: Callable[[Cell], Hashable] = alone
    large: Callable[[Cell], bool] = lambda cell: False
    workers: int | None = None
    versions: Mapping[str, int] = field(default_factory=dict)
    scale: Callable[[Cell, Reported], str] = _no_scale
    runs: int = 1
    takes: Takes = field(default_factory=Takes)
    load: Callable[[str], Any] | None = None
    others: Callable[[Cell], tuple[str, ...]] = _no_others
    stands: Mapping[str, str] = field(default_factory=dict)
    names_data: bool = True
    subject: Callable[[Cell, int, torch.device], Any] | None = None
    absent: Callable[[Cell], str] = _none_absent

    def version_on(self, name: str) -> int:
        """The version of the rows about a data set."""
        return self.versions.get(name, self.version)

    def called(self, name: str) -> tuple[str, bool]:
        """What the paper calls a data set of ours, or the one it stands in for; and whether it is that very one."""
        title, own = (self.stands[name], False) if name in self.stands else PAPER_DATA.get(name, ("", False))
        return (title, own) if self.names_data else (title if own else name, True)

    def check(self, name: str) -> None:
        """Load a data set, downloading it where it is missing, and see that the study can take it.

        Raises ValueError in words where it cannot, FileNotFoundError where the data are not to be had.
        """
        if self.load is not None:
            self.takes.check(self.id, name, self.read(name))

    def read(self, name: str) -> Any:
        """A data set, downloaded where it is missing. What a broken file makes a reader raise is a ValueError."""
        assert self.load is not None
        try:
            return self.load(name)
        except (ValueError, TypeError, OSError, RuntimeError, MemoryError):
            raise  # in words already
        except Exception as error:
            raise ValueError(f"{name!r} cannot be read ({type(error).__name__}: {error})") from error

    def printed(self, dataset: str, cell: Mapping[str, Any]) -> dict[str, Reported]:
        """What the paper prints for a cell of a data set, which is named as the paper does: by metric."""
        found = {}
        for item in self.reported:
            if item.printed.dataset in ("", dataset) and any(way.cell.items() <= cell.items() for way in item.readings):
                found[item.metric] = item
        return found
