"""Measured rows on disk: one file a study, one JSON object a line, safe against kills and concurrent runs."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock

from privlab.data import CATALOGUE
from privlab.studies.bench.study import Study, cell_key

Row = dict[str, Any]


def results_folder() -> Path:
    """PRIVLAB_RESULTS, else `results/` of the checkout, else a folder of the user's."""
    if named := os.environ.get("PRIVLAB_RESULTS"):
        return Path(named)
    checkout = Path(__file__).parents[3] / "results"
    return checkout if checkout.is_dir() else platformdirs.user_data_path("privlab") / "results"


class Store:
    """The rows of one study, in `FOLDER/ID.jsonl`.

    A row is appended under a lock and flushed to the disk before the lock is released. A kill in the
    middle of it leaves a broken last line, which readers skip and the next writer closes.
    """

    def __init__(self, study: Study, folder: Path | None = None) -> None:
        self.study = study
        self.folder = folder or results_folder()
        self.path = self.folder / f"{study.id}.jsonl"

    def all_rows(self) -> list[Row]:
        """Every unbroken row, stale ones included; of rows with one key the last counts."""
        if not self.path.exists():
            return []
        rows = {}
        for line in self.path.read_bytes().splitlines():
            try:
                row = json.loads(line)
                if row["cell"]["data"] and row["metrics"].items():
                    rows[self.key(row)] = row
            except (ValueError, LookupError, TypeError, AttributeError):
                continue  # what a kill or a hand has left of a row
        return list(rows.values())

    @staticmethod
    def key(row: Mapping[str, Any]) -> tuple[str, int, int, str]:
        """What makes two rows the same measurement."""
        origin = row["provenance"]
        return cell_key(row["cell"]), row["seed"], origin["version"], origin["data_checksum"]

    def rows(self) -> list[Row]:
        """The fresh rows: the study still means what they measured, on the data that are here.

        Where the data are not here a row is taken at its word.
        """
        here: dict[str, str | None] = {}
        fresh = []
        for row in self.all_rows():
            name, origin = row["cell"]["data"], row["provenance"]
            if name not in here:
                here[name] = self._checksum(name)
            if origin["version"] == self.study.version_on(name) and here[name] in (None, origin["data_checksum"]):
                fresh.append(row)
        return fresh

    def _checksum(self, name: str) -> str | None:
        try:
            return self.study.checksum(name)[0]
        except (OSError, ValueError):  # not here, or not to be read
            return None

    def part(self, rows: Sequence[Mapping[str, Any]]) -> str:
        """What part of the data set the rows were measured with, in words; empty for the whole of it.

        Rows say how many examples there were; of older ones `data-sets.json` beside them does, by checksum.
        """
        for row in rows:
            origin = row.get("provenance", {})
            if origin.get("data_source") != "local copy":
                continue
            entry, count = CATALOGUE.get(row["cell"]["data"]), self._examples(origin)
            if count is None:
                return "a copy of unknown size"
            if entry and count < entry.examples:
                return f"{count:,} of {entry.examples:,} examples"
        return ""

    def _examples(self, origin: Mapping[str, Any]) -> int | None:
        if "data_examples" in origin:
            return int(origin["data_examples"])
        known = self.folder / "data-sets.json"
        found = json.loads(known.read_text()) if known.exists() else {}
        return found.get(origin.get("data_checksum"))

    def prepare(self) -> None:
        """Make the folder, and see that rows can be written to it. Raises OSError where they cannot."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.path.with_suffix(".lock")):
                if self.path.exists():
                    self.path.open("ab").close()
        except (OSError, NotImplementedError) as error:  # the second where a file system has no locks
            raise OSError(
                f"results cannot be written to {self.path} ({type(error).__name__}: {error}); name another folder with "
                "--results or PRIVLAB_RESULTS"
            ) from error

    def add(self, row: Row) -> None:
        """Append a row, unless the same measurement is there already."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock")):
            if self.key(row) in {self.key(old) for old in self.all_rows()}:
                return
            with self.path.open("a+b") as file:
                if file.tell():
                    file.seek(-1, os.SEEK_END)
                    if file.read(1) != b"\n":
                        file.write(b"\n")  # a killed writer left half a line
                file.write(json.dumps(row, separators=(",", ":")).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
