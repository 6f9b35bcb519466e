"""Measure what is missing of all studies, cheapest verdict first, within a budget of time."""

import functools
import signal
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
from tqdm import tqdm

from privlab import checks, runtime
from privlab.data import fetch
from privlab.studies.bench import machine
from privlab.studies.bench.measure import code_version, rows_of, run_group
from privlab.studies.bench.registry import STUDIES
from privlab.studies.bench.runner import not_done
from privlab.studies.bench.shards import Task, shared
from privlab.studies.bench.store import Row, Store
from privlab.studies.bench.study import Cell, Study, cell_key


class OutOfTimeError(Exception):
    """The budget is spent."""


@dataclass(frozen=True)
class Unit:
    """Tasks of one study that are run one after the other, since they share random draws, or are draws of one cell.

    values: how many printed values they are for; seconds: what they may take, None where no row tells.
    """

    study: Study
    tasks: tuple[Task, ...]
    values: int
    seconds: tuple[float | None, ...]

    @property
    def order(self) -> tuple[Any, ...]:
        """Printed values first, those of known cost before others, the cheapest a value first."""
        known = [each for each in self.seconds if each is not None]
        unknown = len(known) < len(self.seconds)
        return not self.values, unknown, sum(known) / max(1, self.values), self.study.id


@dataclass(frozen=True)
class Left:
    """What a run did, and what it left: tasks still to be run, and those whose data are not here, by data set."""

    measured: int
    tasks: tuple[tuple[Study, Task, float | None], ...]
    absent: dict[str, int]

    def __str__(self) -> str:
        studies = len({study.id for study, _, _ in self.tasks})
        known = [seconds for _, _, seconds in self.tasks if seconds is not None]
        cost = f", about {sum(known) / 3600:.1f} hours" if known else ""
        unknown = len(self.tasks) - len(known)
        said = [f"{self.measured} rows measured", f"{len(self.tasks)} left in {studies} studies{cost}"]
        if unknown:
            said.append(f"{unknown} of them of unknown cost")
        if self.absent:
            names = ", ".join(f"{name} ({count})" for name, count in sorted(self.absent.items()))
            said.append(f"{sum(self.absent.values())} whose data are not here: {names}")
        return "; ".join(said)


def run_missing(
    *,
    profile: str | None = None,
    paper: str | None = None,
    budget: float | None = None,
    device: str = "auto",
    workers: int = 1,
    folder: Path | None = None,
    progress: bool = True,
) -> Left:
    """Run the missing cells of every study, each finished row written at once; nothing is downloaded.

    budget: in seconds; a cell is begun when it should end in time, and with one worker broken off where it does not.
    paper: the studies of one paper only. Raises ValueError for an unknown paper or profile.
    """
    profile = runtime.profile(profile)
    checks.whole("workers", workers)
    if paper is not None:
        checks.one_of("paper", paper, sorted({name.partition("/")[0] for name in STUDIES}))
    where, origin = str(machine.device(device)), {"profile": profile, "code": code_version()}
    fetch.local_folder()  # says that PRIVLAB_DATA names no folder, before all that is in it counts as absent
    units, absent = find(profile, paper, folder)
    for study in {unit.study.id: unit.study for unit in units}.values():
        Store(study, folder).prepare()
    deadline = None if budget is None else time.monotonic() + budget
    done: set[tuple[str, str, int]] = set()
    bar = tqdm(total=sum(len(unit.tasks) for unit in units), desc="missing", unit="cell", disable=not progress)
    run = _alone if workers == 1 else _together
    with bar:
        for row in run(units, where, origin, folder, deadline, workers):
            done.add((row["study"], cell_key(row["cell"]), row["seed"]))
            bar.update()
    left = [
        (unit.study, task, seconds)
        for unit in units
        for task, seconds in zip(unit.tasks, unit.seconds, strict=True)
        if (unit.study.id, cell_key(task[0]), task[1]) not in done
    ]
    return Left(len(done), tuple(left), absent)


def find(profile: str, paper: str | None = None, folder: Path | None = None) -> tuple[list[Unit], dict[str, int]]:
    """What is missing, in the order in which it should be run, and how many tasks lack their data, by data set."""
    units: list[Unit] = []
    absent: dict[str, int] = {}
    for study in STUDIES.values():
        if paper is not None and not study.id.startswith(f"{paper}/"):
            continue
        store, tasks = Store(study, folder), []
        here = functools.cache(functools.partial(is_here, study))
        for cell, seed in not_done(store, _whole_grid(study, profile)):
            lacking = [name for name in (cell["data"], *study.others(cell)) if not here(name)]
            if lacking:
                absent[lacking[0]] = absent.get(lacking[0], 0) + 1
            else:
                tasks.append((cell, seed))
        units += _units(study, tasks, store.rows())
    return sorted(units, key=lambda unit: unit.order), absent


def _whole_grid(study: Study, profile: str) -> list[Task]:
    cells = [cell for name in study.data[profile] for cell in study.cells(name)]
    cells = [cell for cell in cells if profile == "paper" or not study.large(cell)]
    return [(cell, seed) for seed in range(study.seeds[profile]) for cell in cells]


def is_here(study: Study, name: str) -> bool:
    """Whether a data set can be had without a download."""
    try:
        study.checksum(name)
    except (FileNotFoundError, ValueError):
        return False
    return True


def _units(study: Study, tasks: Sequence[Task], rows: Sequence[Row]) -> list[Unit]:
    groups: dict[Any, list[Task]] = {}
    for cell, seed in tasks:
        groups.setdefault(shared(study, cell), []).append((cell, seed))
    return [
        Unit(
            study,
            tuple(group),
            len({item for cell, _ in group for item in _printed(study, cell)}),
            tuple(cost(study, cell, rows) for cell, _ in group),
        )
        for group in groups.values()
    ]


def _printed(study: Study, cell: Cell) -> list[Any]:
    dataset = study.called(cell["data"])[0]
    return [item.printed for item in study.printed(dataset, cell).values()]


def cost(study: Study, cell: Cell, rows: Sequence[Row]) -> float | None:
    """The median seconds of the stored rows that have most settings in common with a cell; None where there are none.

    Rows of cells that only the paper profile runs tell nothing of others, nor others of them.
    """
    near = [row for row in rows if study.large(row["cell"]) == study.large(cell)]
    if not near:
        return None
    alike = [len(row["cell"].items() & cell.items()) if _plain(row["cell"]) and _plain(cell) else 0 for row in near]
    best = max(alike)
    return statistics.median(row["seconds"] for row, same in zip(near, alike, strict=True) if same == best)


def _plain(cell: Cell) -> bool:
    return not any(isinstance(value, list) for value in cell.values())


def _in_time(seconds: float | None, deadline: float | None) -> bool:
    return deadline is None or time.monotonic() + (seconds or 0.0) < deadline


def _alone(
    units: Sequence[Unit],
    device: str,
    origin: dict[str, str],
    folder: Path | None,
    deadline: float | None,
    _workers: int,
) -> Iterator[Row]:
    """Cell by cell in this process."""
    for unit in units:
        store = Store(unit.study, folder)
        for task, seconds in zip(unit.tasks, unit.seconds, strict=True):
            if not _in_time(seconds, deadline):
                continue
            try:
                with _alarm(deadline):  # while it is measured, and not while a row is written
                    (row,) = rows_of(unit.study, [task], device, origin)
            except OutOfTimeError:
                return
            store.add(row)
            yield row


def _together(
    units: Sequence[Unit],
    device: str,
    origin: dict[str, str],
    folder: Path | None,
    deadline: float | None,
    workers: int,
) -> Iterator[Row]:
    """The draws of each unit in processes of their own, which write their rows themselves."""

    def calls() -> Iterator[Any]:
        for unit in units:
            for seed in dict.fromkeys(seed for _, seed in unit.tasks):
                part = [(t, s) for t, s in zip(unit.tasks, unit.seconds, strict=True) if t[1] == seed]
                if _in_time(sum(seconds or 0.0 for _, seconds in part), deadline):
                    store = Store(unit.study, folder)
                    yield joblib.delayed(run_group)(unit.study.id, [t for t, _ in part], device, origin, store.folder)

    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch=workers)
    for rows in parallel(calls()):
        yield from rows


@contextmanager
def _alarm(deadline: float | None) -> Iterator[None]:
    """Raise OutOfTimeError at the deadline, where the system has such an alarm and this is the main thread."""
    able = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if deadline is None or not able:
        yield
        return

    def ring(_number: int, _frame: Any) -> None:
        raise OutOfTimeError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, max(0.001, deadline - time.monotonic()))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
