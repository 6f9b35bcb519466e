"""Measured rows on disk: one file a study, one JSON object a line, safe against kills and concurrent runs."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock

from privlab.studies.study import Study, cell_key

Row = dict[str, Any]


def results_folder() -> Path:
    """PRIVLAB_RESULTS, else `results/` of the checkout, else a folder of the user's."""
    if named := os.environ.get("PRIVLAB_RESULTS"):
        return Path(named)
    checkout = Path(__file__).parents[2] / "results"
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
        for line in self.path.read_text().splitlines():
            try:
                row = json.loads(line)
                rows[self.key(row)] = row
            except (json.JSONDecodeError, KeyError, TypeError):
                continue
        return list(rows.values())

    @staticmethod
    def key(row: Mapping[str, Any]) -> tuple[str, int, int, str]:
        """What makes two rows the same measurement."""
        origin = row["provenance"]
        return cell_key(row["cell"]), row["seed"], origin["version"], origin["data_checksum"]

    def is_fresh(self, row: Row) -> bool:
        """Whether the study still means what the row measured, on the data that are here.

        Where the data are not here the row is taken at its word.
        """
        origin = row["provenance"]
        if origin["version"] != self.study.version:
            return False
        try:
            checksum, _ = self.study.checksum(row["cell"]["data"])
        except (FileNotFoundError, ValueError):
            return True
        return origin["data_checksum"] == checksum

    def rows(self) -> list[Row]:
        """The fresh rows."""
        return [row for row in self.all_rows() if self.is_fresh(row)]

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
