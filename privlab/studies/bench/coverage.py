"""One verdict for each value that the papers print: what the scoreboard starts from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from privlab.studies.bench import compare as comparing
from privlab.studies.bench import verdict
from privlab.studies.bench.compare import Comparison, Line
from privlab.studies.bench.printed import CHARACTERS, PAPERS, Printed, printed
from privlab.studies.bench.registry import STUDIES
from privlab.studies.bench.store import Store


@dataclass(frozen=True)
class Value:
    """A printed value, the study that measures it (None: there is none yet), and the cell that speaks for it."""

    printed: Printed
    study: str | None
    line: Line | None

    @property
    def verdict(self) -> str:
        """What may be said of it, with what has to be said with it."""
        if self.study is None:  # what describes data needs none
            described = verdict.KINDS[self.printed.metric] == verdict.DESCRIBED
            return verdict.NOT_JUDGED if described else verdict.NO_STUDY
        if self.line is None or not self.line.rows:
            return verdict.NOT_RUN
        return self.line.verdict or verdict.NOT_RUN

    def as_row(self) -> dict[str, Any]:
        """What `privlab coverage --json` prints."""
        ran = self.line if self.line is not None and self.line.rows else None
        return {
            "paper": self.printed.paper,
            **{name: getattr(self.printed, name) for name in CHARACTERS},
            "value": self.printed.value,
            "verdict": self.verdict,
            "scale": (ran.scale or ("paper" if ran.own else "stand-in")) if ran else None,
            "reading": (ran.reading.name or "as written") if ran else None,
            "n": ran.draws if ran else 0,
            "study": self.study,
        }


def values(comparisons: Mapping[str, Comparison]) -> list[Value]:
    """Every printed value in the order of the papers' files; `comparisons` are of all studies that have some."""
    speaking: dict[Printed, tuple[str, Line | None]] = {}
    for name, comparison in comparisons.items():
        for item in comparison.study.reported:
            speaking.setdefault(item.printed, (name, None))
        for line in comparison.lines:
            if line.item and line.speaks:
                _, known = speaking[line.item.printed]
                if known is None or comparing.rank(line)[:4] < comparing.rank(known)[:4]:  # of two studies the better
                    speaking[line.item.printed] = (name, line)
    return [Value(row, *speaking.get(row, (None, None))) for paper in PAPERS for row in printed(paper)]


def coverage(folder: Path | None = None) -> list[dict[str, Any]]:
    """One object for each row of the papers' files, in their order.

    `paper`, `table`, `dataset`, `model`, `split`, `variant`, `metric`, `value` (as printed; None: did not converge),
    `verdict`, `scale` (`paper`, or what is smaller), `reading`, `n` (draws) and `study` (None: there is none yet).
    folder: of measured rows; the checkout's unless given.
    """
    made = {name: study for name, study in STUDIES.items() if study.reported}
    found = {name: comparing.compare(study, Store(study, folder)) for name, study in made.items()}
    return [value.as_row() for value in values(found)]


def word(said: str) -> str:
    """A verdict without its qualifiers."""
    return said.partition(" (")[0]
