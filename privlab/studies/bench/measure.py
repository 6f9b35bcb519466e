"""One row a cell, wherever it is measured: in this process, in one beside it, or on another machine."""

import datetime
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy
import torch

import privlab
from privlab.studies.bench.registry import get
from privlab.studies.bench.shards import Task
from privlab.studies.bench.store import Row, Store
from privlab.studies.bench.study import Study


def code_version() -> str:
    """The package's version and, in a checkout, its commit (`+` behind it where files have changed)."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return privlab.__version__
    return f"{privlab.__version__}-g{commit}"


def exact() -> AbstractContextManager[None]:
    """On a card what a CPU computes: convolutions in float32, not in TF32, and the same result each time."""
    return torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)


def rows_of(study: Study, group: list[Task], device: str, origin: dict[str, str]) -> Iterator[Row]:
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
