"""Reported beside measured, with a verdict; the paper's sentences, with theirs."""

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from privlab.studies.bench import sentence, show, verdict
from privlab.studies.bench.printed import Reading, Reported
from privlab.studies.bench.registry import get
from privlab.studies.bench.store import Row, Store
from privlab.studies.bench.study import Claim, Study, Table, cell_key, rising


@dataclass
class Line:
    """One metric of one cell: what is printed for it, what was measured, and what that says."""

    cell: dict[str, Any]
    metric: str
    by_seed: dict[int, float]
    rows: int
    item: Reported | None = None
    reading: Reading = field(default_factory=lambda: Reading({}))
    scale: str = ""
    own: bool = False  # whether its data are the paper's
    place: int = 0
    word: str | None = None
    speaks: bool = False

    @property
    def values(self) -> list[float]:
        """The metric, one number a draw that has it."""
        return list(self.by_seed.values())

    @property
    def draws(self) -> int:
        """How many draws have the metric; where none has, how many there are."""
        return len(self.values) or self.rows

    @property
    def verdict(self) -> str | None:
        """The verdict with what has to be said with it; None where nothing is printed."""
        if self.word is None:
            return None
        return str(verdict.Qualified(self.word, self.reading.name, self.scale, self.draws, not self.own))

    def as_row(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "cell": self.cell,
            "metric": self.metric,
            "reported": self.item.value if self.item else None,
            "measured_mean": statistics.fmean(self.values) if self.values else None,
            "measured_sd": statistics.stdev(self.values) if len(self.values) > 1 else None,
            "n": self.draws,
            "verdict": self.verdict,
            "scale": (self.scale or ("paper" if self.own else "stand-in")) if self.item else None,
            "reading": self.reading.name,
            "speaks": self.speaks,
        }


@dataclass(frozen=True)
class Comparison:
    """`lines`: one a cell and metric; `claims`: one a claim and data set; `sentences`: one a claim; `stale`: how many
    rows no longer count.
    """

    study: Study
    lines: Sequence[Line]
    claims: Sequence[Mapping[str, Any]]
    stale: int

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The lines as plain dicts."""
        return [line.as_row() for line in self.lines]

    @property
    def sentences(self) -> list[dict[str, Any]]:
        """One verdict for each sentence, over all settings and all of the paper's data sets."""
        return [_sentence(self.study, claim, self.claims) for claim in self.study.claims]

    def frame(self, data: str, metrics: Sequence[str] = (), **settings: Any) -> pd.DataFrame:
        """A table to read: a line a cell of one data set, and for each metric reported, measured and verdict.

        Settings that are the same in all of several lines are left out; `common` has them.
        """
        return show.frame(self.rows, data, metrics, settings)

    def common(self, data: str, **settings: Any) -> dict[str, Any]:
        """The settings that all cells of one data set share, where there are several."""
        return show.common(self.rows, data, settings)

    def show(self, data: str, metrics: Sequence[str] = (), *, signs: bool = True, **settings: Any) -> Any:
        """The table for a page: verdicts as signs, which the caption explains unless `signs` is false."""
        where = f"{self.study.source}, on {show.title(data, *self.study.called(data))}"
        return show.styled(self.rows, where, data, metrics, settings, signs)

    def curve(self, data: str, metric: str, knob: str, **settings: Any) -> pd.DataFrame:
        """One metric over a knob, for a plot: columns knob, `paper`, `here` and `sd`, of cells that were measured."""
        lines = [
            {knob: row["cell"][knob], "paper": row["reported"], "here": row["measured_mean"], "sd": row["measured_sd"]}
            for row in self.rows
            if row["n"] and row["metric"] == metric and {"data": data, **settings}.items() <= row["cell"].items()
            if knob in row["cell"]
        ]
        lines.sort(key=lambda line: rising(line[knob]))
        numbers = ["paper", "here", "sd"]
        return pd.DataFrame(lines, columns=[knob, *numbers]).astype(dict.fromkeys(numbers, float))

    def by_seed(self, data: str, metric: str, **settings: Any) -> dict[int, float]:
        """A metric of the one cell that has these settings, by draw: for differences of pairs.

        Raises ValueError where there is none, or more than one.
        """
        return self._one(data, metric, settings).by_seed

    def mean(self, data: str, metric: str, **settings: Any) -> float:
        """The mean of a metric over the draws of the one cell that has these settings, for a sentence of a page.

        Raises ValueError where there is none, or more than one.
        """
        return statistics.fmean(self._one(data, metric, settings).values)

    def _one(self, data: str, metric: str, settings: Mapping[str, Any]) -> Line:
        fits = [
            line
            for line in self.lines
            if line.metric == metric and line.values and {"data": data, **settings}.items() <= line.cell.items()
        ]
        if len(fits) != 1:
            raise ValueError(
                f"{len(fits)} cells of {self.study.id} on {data!r} have {metric} and {settings}; one is needed"
            )
        return fits[0]


def compare(study: str | Study, store: Store | None = None, rows: Sequence[Row] | None = None) -> Comparison:
    """Every reported number beside what was measured, for each data set measured, and the claims.

    Rows come from the store unless given. Data sets of one's own are listed without a verdict.
    Raises ValueError for an unknown study.
    """
    study = get(study) if isinstance(study, str) else study
    store = store or Store(study)
    fresh = store.rows() if rows is None else rows
    stale = len(store.all_rows()) - len(fresh) if rows is None else 0
    names = list(dict.fromkeys([*study.data["paper"], *(row["cell"]["data"] for row in fresh)]))
    lines = [line for name in names for line in _lines(study, Table(fresh).select(data=name), name, store)]
    _order(study, lines)
    _speak(lines)
    others = [row for other in study.beside for row in Store(get(other), store.folder).rows()]
    return Comparison(study, lines, _claims(study, Table([*fresh, *others]), names), stale)


def _lines(study: Study, table: Table, data: str, store: Store) -> list[Line]:
    """The cells of one data set, measured or in the paper's grid, with the verdict of each by itself."""
    dataset, own = study.called(data)
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in table.rows:
        groups.setdefault(cell_key(row["cell"]), []).append(row)
    cells = {key: rows[0]["cell"] for key, rows in groups.items()}
    if data in study.data["paper"]:
        cells = {cell_key(cell): cell for cell in study.cells(data)} | cells
    lines = []
    for place, (key, cell) in enumerate(cells.items()):
        rows = sorted(groups.get(key, []), key=lambda row: row["seed"])
        part = store.part(rows) if own else ""
        found = [_line(study, dataset, cell, metric, rows, place, own) for metric in study.metrics]
        for line in found:
            _judge(study, line, part)
        _pair(found)
        lines += found
    return lines


def _line(study: Study, dataset: str, cell: Any, metric: str, rows: Sequence[Any], place: int, own: bool) -> Line:
    values = {row["seed"]: row["metrics"][metric] for row in rows if metric in row["metrics"]}
    line = Line(cell, metric, values, len(rows), own=own, place=place)
    for item in study.reported:
        if item.metric == metric and item.printed.dataset in ("", dataset):
            for reading in item.readings:
                if reading.cell.items() <= cell.items():
                    line.item, line.reading = item, reading
                    return line
    return line


def _judge(study: Study, line: Line, part: str) -> None:
    """What the line says by itself. part: what is missing of its data set."""
    if line.item is None:
        return
    if line.own:
        line.scale = "; ".join(filter(None, (part, study.scale(line.cell, line.item))))
    word = verdict.judge(line.item, line.values, bool(line.rows), study.runs)
    if word not in (verdict.NOT_RUN, verdict.NOT_JUDGED):
        if not line.own:
            word = verdict.STAND_IN
        elif line.reading.fitted:
            word = verdict.FITTED
    line.word = word


def _pair(lines: Sequence[Line]) -> None:
    """PSNR and MSE of one cell are one number, of which the worse verdict speaks; then the scale has its say."""
    by_name = {line.item.printed.metric: line for line in lines if line.item}
    words = {name: line.word for name, line in by_name.items()}
    for name, line in by_name.items():
        twin = words.get(verdict.TWINS.get(name, ""))
        if twin and line.word:
            line.word = verdict.worse(line.word, twin)
        if line.scale and line.word in (verdict.DIFFERS, verdict.UNDECIDED):
            line.word = verdict.NOT_AT_SCALE


def _order(study: Study, lines: Sequence[Line]) -> None:
    """Where values differ, or the data stand in, look whether the curve over the knob is ordered as printed."""
    curves: dict[tuple[str, str], list[Line]] = {}
    for line in lines:
        if line.item and line.item.value is not None and line.values:
            rest = {name: value for name, value in line.cell.items() if name != study.knob}
            curves.setdefault((line.metric, cell_key(rest)), []).append(line)
    for curve in curves.values():
        printed = [line.item.value for line in curve if line.item and line.item.value is not None]
        if verdict.same_ordering(printed, [line.values for line in curve]):
            for line in curve:
                if line.word in (verdict.DIFFERS, verdict.NOT_AT_SCALE, verdict.STAND_IN):
                    line.word = verdict.ORDERING


def _speak(lines: Sequence[Line]) -> None:
    """Of the cells that may be a printed number's the one at the paper's scale in the literal reading speaks.

    Where that was not run, the next: another reading, then a reduced cell (the later of several in the grid, which is
    nearer to the paper), a fitted one, a stand-in. It is never simply the one that agrees best.
    """
    groups: dict[Any, list[Line]] = {}
    for line in lines:
        if line.item:
            groups.setdefault(line.item.printed, []).append(line)
    for group in groups.values():
        min(group, key=rank).speaks = True


def rank(line: Line) -> tuple[Any, ...]:
    """The smaller, the sooner a cell speaks for its printed number."""
    assert line.item is not None
    reading = line.item.readings.index(line.reading)
    return (not line.rows, not line.own, line.reading.fitted, bool(line.scale), reading, -line.place)


def _claims(study: Study, table: Table, names: Iterable[str]) -> list[dict[str, Any]]:
    """One a claim and data set: the verdict there, and the outcome in each setting."""
    found = []
    for claim in study.claims:
        for name in names:
            if claim.data and name not in claim.data:
                continue
            part = table.select(data=name)
            outcomes = sentence.settings(claim.test(part)) if part.rows else {"": None}
            found.append(
                {
                    "claim": claim.text,
                    "source": claim.source,
                    "ours": claim.ours,
                    "tested": claim.tested,
                    "data": name,
                    "verdict": sentence.verdict(outcomes),
                    "settings": {setting: sentence.word(outcome) for setting, outcome in outcomes.items()},
                }
            )
    return found


def _sentence(study: Study, claim: Claim, claims: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The verdict over the paper's own data sets, and where it holds and where not; stand-ins are listed, no more.

    Of a sentence of ours that was measured on none of these all sets speak, and of a document that names no data those
    settings that were measured: nothing stands in for anything there.
    """
    words = {sentence.HOLDS: True, sentence.FAILS: False, sentence.NOT_RUN: None}
    outcomes: dict[str, sentence.Outcome] = {}
    stand_ins: dict[str, str] = {}
    for part in claims:
        if part["claim"] != claim.text:
            continue
        title, own = study.called(part["data"])
        title = title or part["data"]
        for setting, found in part["settings"].items():
            name = f"{title}, {setting}" if setting else title
            if found == sentence.NOT_RUN and not study.names_data:
                continue
            if own:
                outcomes[name] = words.get(found, sentence.UNDECIDED)
            elif found != sentence.NOT_RUN:
                stand_ins[f"{part['data']}, {setting}" if setting else part["data"]] = found
    if claim.ours and not outcomes:
        outcomes = {name: words.get(found, sentence.UNDECIDED) for name, found in stand_ins.items()}
        stand_ins = {}
    where = {word: [n for n, o in outcomes.items() if sentence.word(o) == word] for word in sentence.VERDICTS}
    return {
        "study": study.id,
        "claim": claim.text,
        "source": claim.source,
        "ours": claim.ours,
        "tested": claim.tested,
        "verdict": sentence.verdict(outcomes) if outcomes else sentence.NOT_RUN,
        "where": {word: names for word, names in where.items() if names},
        "stand_ins": stand_ins,
    }


def as_json(comparison: Comparison) -> str:
    """One JSON object a line: first the rows, then the claims."""
    return "\n".join(json.dumps(item) for item in [*comparison.rows, *comparison.claims])
