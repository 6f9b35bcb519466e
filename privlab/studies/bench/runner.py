"""Run the missing cells of a study: resumable, in several processes, with a progress bar."""

import datetime
import itertools
import platform
import subprocess
import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import joblib
import numpy
import torch
from tqdm import tqdm

import privlab
from privlab import checks, runtime
from privlab.data import fetch
from privlab.studies.bench.registry import STUDIES, get
from privlab.studies.bench.shards import Task, numbers, part
from privlab.studies.bench.store import Row, Store
from privlab.studies.bench.study import Cell, Study, cell_key


def code_version() -> str:
    """The package's version and, in a checkout, its commit (`+` behind it where files have changed)."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return privlab.__version__
    return f"{privlab.__version__}-g{commit}"


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
    shard: str | None = None,
) -> list[Row]:
    """Measure what is missing of a study's grid; return every row of that grid, stored ones included.

    data: one data set instead of the profile's (a name, or a path to your own). seeds: how many, from 0. shard: one
    part of the grid only, as in `2/8`, see `shards.part`.
    Each finished cell is written at once, so that a stopped run goes on where it was. With `workers` > 1
    groups of cells run in as many processes, one thread each; with `ray` on the Ray cluster at that address.
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
    where = str(runtime.device(device))
    store = store or Store(study)
    grid = part(study, _grid(study, profile, data, seeds), shard)
    missing = _ready(study, store, grid)
    groups = _groups(study, missing)
    origin = {"profile": profile, "code": code_version()}
    bar = tqdm(total=len(grid), initial=len(grid) - len(missing), desc=study.id, unit="cell", disable=not progress)
    with bar:
        for row in _measured(study, groups, where, origin, store, workers, ray):
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


def _groups(study: Study, tasks: list[Task]) -> list[list[Task]]:
    """Tasks that can share random draws, together."""
    groups: dict[Any, list[Task]] = {}
    for cell, seed in tasks:
        groups.setdefault((study.together(cell), seed), []).append((cell, seed))
    return list(groups.values())


def _measured(
    study: Study,
    groups: list[list[Task]],
    device: str,
    origin: dict[str, str],
    store: Store,
    workers: int,
    ray: str | None,
) -> Iterable[Row]:
    """Rows as they are measured: here, in other processes, or on a cluster."""
    if workers == 1 and not ray:
        return itertools.chain.from_iterable(rows_of(study, group, device, origin) for group in groups)
    # Processes on this machine write their rows themselves; a cluster's send them back.
    calls = [(study.id, group, device, origin, None if ray else store.folder) for group in groups]
    if ray:
        return itertools.chain.from_iterable(_on_ray(ray, calls, study.workers))
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")
    return itertools.chain.from_iterable(parallel(joblib.delayed(run_group)(*call) for call in calls))


def _on_ray(address: str, calls: list[tuple], most: int | None) -> Iterable[list[Row]]:
    """The groups' rows as a Ray cluster finishes them, at most `most` at a time (`local` starts one here)."""
    try:
        import ray
    except ImportError:
        raise ImportError("--ray needs the package ray: python -m pip install 'privlab[cluster]'") from None
    ray.init(address=None if address == "local" else address, ignore_reinit_error=True, log_to_driver=False)
    remote = ray.remote(run_group)
    left = iter(calls)
    waiting = [remote.remote(*call) for call in itertools.islice(left, most)]
    while waiting:
        ready, waiting = ray.wait(waiting)
        waiting += [remote.remote(*call) for call in itertools.islice(left, len(ready))]
        yield from ray.get(ready)


def exact() -> AbstractContextManager[None]:
    """On a card what a CPU computes: convolutions in float32, not in TF32, and the same result each time."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def rows_of(study: Study, group: list[Task], device: str, origin: dict[str, str]) -> Iterable[Row]:
    """One row a task, as it is measured."""
    for cell, seed in group:
        checksum, source = study.checksum(cell["data"])
        start = time.perf_counter()
        with exact():
            metrics = study.run(cell, seed, torch.device(device))
        seconds = time.perf_counter() - start
        yield {
            "study": study.id,
            "cell": cell,
            "seed": seed,
            "metrics": {name: float(value) for name, value in metrics.items() if value == value},  # NaN: not measured
            "seconds": round(seconds, 3),
            "provenance": {
                **origin,
                "version": study.version_on(cell["data"]),
                "data_checksum": checksum,
                "data_source": source,
                **({"data_examples": len(study.load(cell["data"]))} if study.load else {}),
                "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
                "python": platform.python_version(),
                "torch": torch.__version__,
                "numpy": numpy.__version__,
                "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
            },
        }


def run_group(study_id: str, group: list[Task], device: str, origin: dict[str, str], folder: Path | None) -> list[Row]:
    """Run one group in a worker process."""
    torch.set_num_threads(1)
    study = get(study_id)
    rows = []
    for row in rows_of(study, group, device, origin):
        if folder:
            Store(study, folder).add(row)
        rows.append(row)
    return rows
