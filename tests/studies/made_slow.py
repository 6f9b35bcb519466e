"""A study for the tests of clusters, put into a copy of the package: its cells say who measures them, and wait."""

import os
import signal
import time
from pathlib import Path

from privlab.studies.bench.study import Study
from privlab.studies.bench.takes import Takes


def cells(name):
    return [{"data": name, "s": place} for place in range(6)]


def run(cell, seed, device):
    """Write down which process, and which machine's, measures the cell; wait, raise or die where a file says so."""
    folder, place = Path(os.environ["MADE_FOLDER"]), cell["s"]
    with (folder / f"began-{place}").open("a") as file:
        file.write(f"{os.getpid()} {os.getppid()}\n")
    if (folder / f"raise-{place}").exists():
        raise ValueError(f"cell {place} cannot be measured")
    if (folder / f"die-{place}").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    while (folder / f"hold-{place}").exists():
        time.sleep(0.02)
    return {"recall": place / 10 + seed, "device": float(device.type == "cpu")}


STUDY = Study(
    id="made/slow",
    title="Cells that wait",
    source="tests",
    version=1,
    cells=cells,
    run=run,
    data=dict.fromkeys(("fast", "real", "paper"), ("gaussian",)),
    seeds={"fast": 1, "real": 1, "paper": 1},
    knob="s",
    metrics=("recall",),
    checksum=lambda name: ("made", "made"),
    takes=Takes("made"),
)
