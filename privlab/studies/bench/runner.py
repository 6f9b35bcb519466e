"""Run the missing cells of a study: resumable, in several processes, with a progress bar."""

import itertools
from collections.abc import Iterable
from typing import Any

import joblib
from tqdm import tqdm

from privlab import checks, runtime
from privlab.data import fetch
from privlab.studies.bench import cluster, machine
from privlab.studies.bench.measure import code_version, rows_of, run_group
from privlab.studies.bench.registry import STUDIES, get
from privlab.studies.bench.shards import Task, numbers, part, shared
from privlab.studies.bench.store import Row, Store
from privlab.studies.bench.study import Cell, Study, cell_key


def run(
    study: str | Study,
    *,
    profile: str | None = None,
    data: str | None = None,
    seeds: int | None = None,
    device: str = "auto",
    workers: int = 1,
    store: Store | None = None,
    progress: bool = True,
    ray: str | None = None,
    gpus_per_cell: float | None = None,
    shard: str | None = None,
) -> list[Row]:
    """Measure what is missing of a study's grid; return every row of that grid, stored ones included.

    data: one data set instead of the profile's (a name, or a path to your own). seeds: how many, from 0. shard: one
    part of the grid only, as in `2/8`, see `shards.part`.
    Each finished cell is written at once, so that a stopped run goes on where it was. With `workers` > 1
    groups of cells run in as many processes, one thread each; with `ray` on the Ray cluster at that address, see
    `cluster.rows`, each holding `gpus_per_cell` of a card.
    Before the first cell is measured the data are downloaded and looked at, and the results' folder is tried.
    Raises ValueError for an unknown study or profile, data that the study cannot take, or nothing to measure;
    FileNotFoundError for data that are not to be had, OSError where results cannot be written.
    """
    study = get(study) if isinstance(study, str) else study
    profile = runtime.profile(profile)
    checks.whole("workers", workers)
    workers = min(workers, study.workers or workers)
    if (workers > 1 or ray) and STUDIES.get(study.id) is not study:
        raise ValueError(
            f"{study.id} is not among the registered studies, so that other processes cannot find it; use workers=1"
        )
    checks.whole("seeds", seeds if seeds is not None else 1)
    shard = "1/1" if shard is None else shard
    numbers(shard)
    where, gpus = _place(device, ray, gpus_per_cell)
    store = store or Store(study)
    grid = part(study, _grid(study, profile, data, seeds), shard)
    missing = _ready(study, store, grid)
    groups = _groups(study, missing, apart=bool(ray))
    origin = {"profile": profile, "code": code_version()}
    bar = tqdm(total=len(grid), initial=len(grid) - len(missing), desc=study.id, unit="cell", disable=not progress)
    with bar:
        for row in _measured(study, groups, where, origin, store, workers, ray, gpus):
            store.add(row)
            bar.update()
    wanted = {_key(cell, seed) for cell, seed in grid}
    return [row for row in store.rows() if _key(row["cell"], row["seed"]) in wanted]


def _grid(study: Study, profile: str, data: str | None, seeds: int | None) -> list[Task]:
    """What is asked for. Raises ValueError where that is nothing, or on data that the study cannot take."""
    fetch.local_folder()  # says that PRIVLAB_DATA names no folder, before what is in it is missed
    if data is not None and not data.strip():
        raise ValueError(f"data={data!r} names nothing; give a data set's name, or a path to your own")
    names = study.data[profile] if data is None else (data,)
    if data is not None and data not in study.data["paper"]:
        study.check(data)  # before its cells are made, which may look at the data
    cells = [cell for name in names for cell in study.cells(name) if profile == "paper" or not study.large(cell)]
    if not cells:
        what = (
            f"no data of its own under --profile {profile}" if not names else f"no cell as small as --profile {profile}"
        )
        raise ValueError(f"{study.id} has {what}; choose --profile paper, or other --data")
    return [(cell, seed) for seed in range(seeds or study.seeds[profile]) for cell in cells]


def _ready(study: Study, store: Store, grid: list[Task]) -> list[Task]:
    """The tasks without a fresh row, once all is there that they need: their data, and a place for their rows."""
    missing = not_done(store, grid)
    if not missing:
        return []
    for name in dict.fromkeys(cell["data"] for cell, _ in missing):
        study.check(name)  # and download it
    for name in dict.fromkeys(other for cell, _ in missing for other in study.others(cell)):
        study.read(name)
    store.prepare()
    return not_done(store, grid)  # rows about other data than those that have come now are stale


def not_done(store: Store, grid: list[Task]) -> list[Task]:
    """Those tasks of a grid for which there is no fresh row."""
    done = {_key(row["cell"], row["seed"]) for row in store.rows()}
    return [(cell, seed) for cell, seed in grid if _key(cell, seed) not in done]


def _key(cell: Cell, seed: int) -> tuple[str, int]:
    return cell_key(cell), seed


def _place(device: str, ray: str | None, gpus: float | None) -> tuple[str, float]:
    """Where cells are computed, and on how much of a card of a cluster."""
    if not ray:
        if gpus is not None:
            raise ValueError(f"gpus_per_cell={gpus:g} is for cells on a Ray cluster; name it with --ray")
        return str(machine.device(device)), 0.0
    return cluster.needs(device if gpus is not None else str(machine.device(device)), gpus)


def _groups(study: Study, tasks: list[Task], *, apart: bool) -> list[list[Task]]:
    """Tasks that can share random draws, together; and with `apart` no others, as for a cluster."""
    groups: dict[Any, list[Task]] = {}
    for cell, seed in tasks:
        what = shared(study, cell) if apart else study.together(cell)
        groups.setdefault((what, seed), []).append((cell, seed))
    return list(groups.values())


def _measured(
    study: Study,
    groups: list[list[Task]],
    device: str,
    origin: dict[str, str],
    store: Store,
    workers: int,
    ray: str | None,
    gpus: float,
) -> Iterable[Row]:
    """Rows as they are measured: here, in other processes, or on a cluster."""
    if ray:
        return cluster.rows(ray, study, groups, device, gpus, origin) if groups else ()
    if workers == 1:
        return itertools.chain.from_iterable(rows_of(study, group, device, origin) for group in groups)
    # Processes on this machine write their rows themselves; a cluster's send them back.
    calls = [(study.id, group, device, origin, store.folder) for group in groups]
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")
    return itertools.chain.from_iterable(parallel(joblib.delayed(run_group)(*call) for call in calls))
