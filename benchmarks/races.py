"""What the races share: fair timing, the rows of the table, and the options of every script."""

import argparse
import dataclasses
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from privlab import data
from privlab.data import Dataset

SEED = 900  # victims, networks and beginnings that no test and no chapter uses
WIDTHS = (36, 21, 21, 17, 20, 7)
HEAD = ("race", "ours", "public loop", "ratio", "goal", "")
Clock = Callable[[], float]


@dataclass(frozen=True)
class Row:
    """One race. ratio: loop over ours, above one where ours is better; met: whether the goal is, None without one.

    why: what stands in the place of a ratio that there is not.
    """

    race: str
    ours: str
    loop: str
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None
    measured: dict[str, float] = field(default_factory=dict)
    why: str = "–"

    def line(self) -> str:
        """The row of the table."""
        ratio = self.why if self.ratio is None else f"{self.ratio:.2f}"
        verdict = {True: "met", False: "not met", None: ""}[self.met]
        return line(self.race, self.ours, self.loop, ratio, self.goal, verdict)


@dataclass(frozen=True)
class Duel:
    """Two ways of the same work, each a call without arguments; `warm` does what is done once in a process only."""

    name: str
    ours: Callable[[], object]
    loop: Callable[[], object]
    warm: Callable[[], object] = lambda: None

    def seconds(self, rounds: int, clock: Clock = time.process_time) -> tuple[float, float]:
        """The median time of a call of ours and of the loop, turn by turn, so that a busy machine slows both."""
        self.warm()
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(rounds):
            for side, call in zip(times, (self.ours, self.loop), strict=True):
                start = clock()
                call()
                side.append(clock() - start)
        return statistics.median(times[0]), statistics.median(times[1])


def line(*cells: str) -> str:
    """A line of the table."""
    return " | ".join(f"{cell:{width}}" for cell, width in zip(cells, WIDTHS, strict=True)).rstrip()


def colour() -> Dataset:
    """CIFAR-100 where it is to be had without a network, else the embedded colour patches."""
    return data.load("cifar100" if data.available(data.entry_of("cifar100")) else "patches")


def main(description: str, *scripts: Callable[[bool], Iterable[Row]]) -> None:
    """Run the races of some scripts and print each row when it is there."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny settings, to see that all of it works")
    parser.add_argument("--json", action="store_true", help="a JSON line a race in place of the table")
    parser.add_argument("--keep", metavar="FILE", type=Path, help="also write such lines, and where and when, to FILE")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.json:
        print(line(*HEAD), "-" * (sum(WIDTHS) + 3 * len(WIDTHS)), sep="\n", flush=True)
    kept = []
    for script in scripts:
        for row in script(arguments.quick):
            row = dataclasses.replace(row, goal="", met=None) if arguments.quick else row
            kept.append(json.dumps(dataclasses.asdict(row) | origin()))
            print(json.dumps(dataclasses.asdict(row)) if arguments.json else row.line(), flush=True)
    if arguments.keep:
        arguments.keep.write_text("".join(f"{each}\n" for each in kept))


def origin() -> dict[str, str]:
    """Where and when a race was run."""
    processor = platform.processor() or platform.machine()
    if (known := Path("/proc/cpuinfo")).exists():
        names = [each.partition(":")[2].strip() for each in known.read_text().splitlines() if "model name" in each]
        processor = names[0] if names else processor
    return {"processor": processor, "torch": torch.__version__, "date": time.strftime("%Y-%m-%d")}
