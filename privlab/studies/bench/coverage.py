"""One verdict for each value that the papers print: what the scoreboard starts from."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from privlab.studies.bench import compare as comparing
from privlab.studies.bench import verdict
from privlab.studies.bench.compare import Comparison, Line
from privlab.studies.bench.printed import CHARACTERS, PAPERS, Printed, printed
from privlab.studies.bench.registry import STUDIES
from privlab.studies.bench.store import Store


def coverage(
    folder: Path | None = None, *, comparisons: Mapping[str, Comparison] | None = None
) -> list[dict[str, Any]]:
    """One object for each row of the papers' files, in their order.

    `paper`, `table`, `dataset`, `model`, `split`, `variant`, `metric`, `value` (as printed; None: did not converge),
    `verdict`, `scale` (`paper`, or what is smaller), `reading`, `n` (draws) and `study` (None: there is none yet).
    folder: of measured rows, the checkout's unless given; comparisons: of all studies, where they are made already.
    """
    if comparisons is None:
        made = {name: study for name, study in STUDIES.items() if study.reported}
        comparisons = {name: comparing.compare(study, Store(study, folder)) for name, study in made.items()}
    speaking: dict[Printed, tuple[str, Line | None]] = {}
    for name, comparison in comparisons.items():
        for item in comparison.study.reported:
            speaking.setdefault(item.printed, (name, None))
        for line in comparison.lines:
            if line.item and line.speaks:
                _, known = speaking[line.item.printed]
                if known is None or comparing.rank(line)[:4] < comparing.rank(known)[:4]:  # of two studies the better
                    speaking[line.item.printed] = (name, line)
    return [_row(row, *speaking.get(row, (None, None))) for paper in PAPERS for row in printed(paper)]


def _row(row: Printed, study: str | None, line: Line | None) -> dict[str, Any]:
    said = {
        "verdict": verdict.NO_STUDY if study is None else verdict.NOT_RUN,
        "scale": None,
        "reading": None,
        "n": 0,
        "study": study,
    }
    if line is not None and line.rows:
        where = line.scale or ("paper" if line.own else "stand-in")
        said |= {"verdict": line.verdict, "scale": where, "reading": line.reading.name or "as written", "n": line.draws}
    return {"paper": row.paper, **{name: getattr(row, name) for name in CHARACTERS}, "value": row.value, **said}


def word(said: str) -> str:
    """A verdict without its qualifiers."""
    return said.partition(" (")[0]
