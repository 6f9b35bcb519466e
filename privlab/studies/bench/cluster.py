"""Cells on a Ray cluster: rows come back one by one, and a worker that dies has its cells run again."""

import contextlib
import logging
import os
import socket
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from privlab.studies.bench import machine
from privlab.studies.bench.measure import code_version, rows_of
from privlab.studies.bench.registry import get
from privlab.studies.bench.shards import Task
from privlab.studies.bench.store import Row
from privlab.studies.bench.study import Study

DEATHS = 3  # of a cell's workers, after which it is not run again
PATIENCE = 5.0  # seconds without a row, after which it is looked whether any machine is left
FOLDERS = ("PRIVLAB_DATA", "PRIVLAB_CACHE")


@dataclass
class _Batch:
    """Tasks that one worker measures one after the other; those that are measured leave it."""

    tasks: list[Task]
    deaths: int = 0


def needs(device: str, gpus: float | None) -> tuple[str, float]:
    """The device of a worker, and the share of a card that it holds: of `cuda` a whole one unless said.

    Raises ValueError for a share that Ray cannot give, or one beside another device than cuda.
    """
    if gpus is None:
        return ("cuda", 1.0) if device.startswith("cuda") else (device, 0.0)
    if not (0 < gpus <= 1 or (gpus > 1 and gpus == int(gpus))):
        raise ValueError(f"gpus_per_cell={gpus:g} cannot be shared out; give a share in (0, 1], or a whole number")
    if device not in ("auto", "cuda"):
        raise ValueError(f"gpus_per_cell={gpus:g} is for cells on a card; leave device={device!r} out")
    return "cuda", gpus


def rows(
    address: str, study: Study, groups: Sequence[Sequence[Task]], device: str, gpus: float, origin: Mapping[str, str]
) -> Iterator[Row]:
    """The groups' rows as a Ray cluster finishes them, `study.workers` groups at most at a time.

    address: HOST:PORT of its head, `auto` for the one that this machine belongs to, `local` to start one here. gpus:
    the share of a card that a group holds. What a cell raises is raised here, once the rows that are there have been
    handed over. Raises ImportError without ray, ConnectionError where no cluster answers, ValueError for an address
    that is none, RuntimeError where no machine can run a cell, where a cell's worker died `DEATHS` times more than it
    may, and where a worker has another version of the study, or other data, than are here.
    """
    with _connected(address) as ray:
        _check_room(ray, gpus)
        yield from _checked(study, _collected(ray, study, groups, device, gpus, origin), origin["code"])


@contextlib.contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray, with a cluster; one that was there before stays."""
    try:
        import ray
    except ImportError:
        raise ImportError("--ray needs the package ray: python -m pip install 'privlab[cluster]'") from None
    _check_address(address)
    if ray.is_initialized():
        yield ray
        return
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):  # of what later versions of Ray do
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise ConnectionError(
            f"--ray {address}: no Ray cluster is found here; start one with `ray start --head`, give the HOST:PORT of "
            "its head, or use --ray local"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def _check_address(address: str) -> None:
    if address in ("auto", "local"):
        return
    host, colon, port = address.rpartition(":")
    if "://" in address or not colon or not host or not port.isdigit():
        hint = "; or hand the command over with `ray job submit`, and --ray auto" if "://" in address else ""
        raise ValueError(f"ray={address!r} is no address; give HOST:PORT of the cluster's head, auto or local{hint}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()  # Ray itself would ask for minutes
    except (OSError, OverflowError) as error:
        raise ConnectionError(f"--ray {address}: nothing answers there ({error}); is the head running?") from error


def _check_room(ray: Any, gpus: float) -> None:
    """See that some machine could run a cell: Ray would wait for one for ever."""
    have = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(each.get("CPU", 0) >= 1 and each.get("GPU", 0) >= gpus for each in have):
        cards = f" and {gpus:g} of a card" if gpus else ""
        there = "; ".join(f"{each.get('CPU', 0):g} cores, {each.get('GPU', 0):g} cards" for each in have) or "none"
        advice = "use --device cpu, or start a node with a card" if gpus else "start a node with a core"
        raise RuntimeError(f"a cell needs a core{cards}, and no machine of the cluster has them ({there}); {advice}")


def _measure(
    study_id: str, tasks: Sequence[Task], device: str, origin: Mapping[str, str], folder: str, named: Mapping[str, str]
) -> Iterator[Row]:
    """On a worker. Folders are those of its machine, else those of the driver where they are there as well."""
    for name, value in named.items():
        if Path(value).is_dir():
            os.environ.setdefault(name, value)
    if Path(folder).is_dir():
        os.chdir(folder)  # where a path to one's own data begins
    torch.set_num_threads(1)
    yield from rows_of(get(study_id), list(tasks), str(machine.device(device)), {**origin, "code": code_version()})


def _collected(
    ray: Any, study: Study, groups: Sequence[Sequence[Task]], device: str, gpus: float, origin: Mapping[str, str]
) -> Iterator[Row]:
    """Rows as they come. Workers that die are ours to replace, so that only what is missing is measured again."""
    remote = ray.remote(_measure).options(num_gpus=gpus, max_retries=0, num_returns="streaming")
    named = {name: str(Path(os.environ[name]).expanduser().resolve()) for name in FOLDERS if os.environ.get(name)}
    left, running = [_Batch(list(group)) for group in reversed(groups)], {}

    def send(batch: _Batch) -> None:
        running[remote.remote(study.id, batch.tasks, device, dict(origin), os.getcwd(), named)] = batch

    failed: BaseException | None = None
    try:
        while running or (left and failed is None):
            while failed is None and left and len(running) < (study.workers or len(groups)):
                send(left.pop())
            ready, _ = ray.wait(list(running), timeout=0 if failed else PATIENCE)
            if not ready and failed:
                break
            if not ready:
                _check_room(ray, gpus)
            for stream in ready:
                batch = running[stream]
                try:
                    row = ray.get(next(stream))
                except StopIteration:
                    del running[stream]
                except ray.exceptions.RayTaskError as error:
                    del running[stream]
                    failed = failed or _said(error)
                except ray.exceptions.RayError as error:
                    del running[stream]
                    batch.deaths += 1
                    if batch.deaths > DEATHS:
                        failed = failed or _died(study, batch, error)
                    else:
                        left.append(batch)
                else:
                    batch.tasks.pop(0)
                    batch.deaths = 0
                    yield row
    finally:
        for stream in running:
            ray.cancel(stream, force=True)
    if failed:
        raise failed


def _said(error: Any) -> BaseException:
    """What a cell raised, as it would have been raised here."""
    cause = error.cause if isinstance(error.cause, Exception) else error
    if isinstance(cause, ModuleNotFoundError) and (cause.name or "").startswith("privlab"):
        return ImportError(f"a worker cannot import privlab ({cause}); install it on every machine of the cluster")
    return cause


def _died(study: Study, batch: _Batch, error: Exception) -> RuntimeError:
    cell, seed = batch.tasks[0]
    words = " ".join(str(error).split())[:200]
    return RuntimeError(
        f"{study.id}: the worker of {cell}, seed {seed}, died {batch.deaths} times, the last time with "
        f"{type(error).__name__} ({words}); is the machine's memory too small?"
    )


def _checked(study: Study, found: Iterator[Row], code: str) -> Iterator[Row]:
    """See that a row counts here as well: that it is of the same version of the study, and about the same data."""
    here: dict[str, str] = {}
    codes = {code}
    for row in found:
        name, origin = row["cell"]["data"], row["provenance"]
        here[name] = here.get(name) or study.checksum(name)[0]
        version = study.version_on(name)
        if origin["version"] != version:
            raise RuntimeError(
                f"a worker measures version {origin['version']} of {study.id}, and here is version {version}: it has "
                f"privlab {origin['code']} and not {code}; install the same on every machine"
            )
        if origin["data_checksum"] != here[name]:
            raise RuntimeError(
                f"a worker's copy of {name!r} is another one than is here; let PRIVLAB_DATA of every machine name "
                "the same data"
            )
        if origin["code"] not in codes:
            codes.add(origin["code"])
            tqdm.write(f"privlab: a worker has privlab {origin['code']}, here is {code}; its rows say so", sys.stderr)
        yield row
