"""Reported beside measured, with a verdict. The rule for verdicts stands here and nowhere else."""

import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler
from scipy.stats import kendalltau

from privlab.studies.registry import get
from privlab.studies.store import Row, Store
from privlab.studies.study import PAPER_DATA, Reported, Study, Table, cell_key

AGREES, ORDERING, DIFFERS, NOT_RUN = "agrees", "same ordering", "differs", "not run"
SENTENCE = {True: "holds", False: "does not hold", None: NOT_RUN}
RELATIVE = 0.05  # agreement within 5 % of the reported value
SPREADS = 2  # or within two standard deviations of ours
ORDERED = 0.8  # the ordering over the knob holds from this Kendall's tau on


@dataclass(frozen=True)
class Comparison:
    """`rows`: one a cell and metric; `claims`: one a claim and data set; `stale`: how many rows no longer count."""

    study: Study
    rows: Sequence[Mapping[str, Any]]
    claims: Sequence[Mapping[str, Any]]
    stale: int

    def frame(self, data: str, metrics: Sequence[str] = (), **settings: Any) -> pd.DataFrame:
        """A table to read: a line a cell of one data set, and for each metric reported, measured and verdict.

        Settings that are the same in all of several lines are left out; `common` has them.
        """
        same = self.common(data, **settings)
        lines: dict[str, dict[Any, Any]] = {}
        for row in self.rows:
            fits = row["cell"].get("data") == data and settings.items() <= row["cell"].items()
            if not fits or (metrics and row["metric"] not in metrics):
                continue
            hidden = {"data", *settings, *same}
            knobs = {(name, ""): value for name, value in row["cell"].items() if name not in hidden}
            line = lines.setdefault(cell_key(row["cell"]), knobs)
            line[row["metric"], "paper"] = "" if row["reported"] is None else _number(row["reported"])
            line[row["metric"], "here"] = _spread(row)
            line[row["metric"], "verdict"] = row["verdict"] or ""
        frame = pd.DataFrame(list(lines.values()), dtype=object).fillna("")
        unprinted = [name for name in frame.columns if name[1] in ("paper", "verdict") and not frame[name].any()]
        frame = frame.drop(columns=unprinted)  # the paper has no such numbers
        if len(frame):
            frame.columns = pd.MultiIndex.from_tuples(frame.columns)
        return frame

    def common(self, data: str, **settings: Any) -> dict[str, Any]:
        """The settings that all cells of one data set share, where there are several."""
        cells = [row["cell"] for row in self.rows if {"data": data, **settings}.items() <= row["cell"].items()]
        if len({cell_key(cell) for cell in cells}) < 2:
            return {}
        return {
            name: value
            for name, value in cells[0].items()
            if name not in {"data", *settings} and all(cell.get(name) == value for cell in cells)
        }

    def curve(self, data: str, metric: str, knob: str, **settings: Any) -> pd.DataFrame:
        """One metric over a knob, for a plot: columns knob, `paper`, `here` and `sd`, measured cells only."""
        lines = [
            {knob: row["cell"][knob], "paper": row["reported"], "here": row["measured_mean"], "sd": row["measured_sd"]}
            for row in self.rows
            if row["n"] and row["metric"] == metric and {"data": data, **settings}.items() <= row["cell"].items()
        ]
        numbers = ["paper", "here", "sd"]
        return pd.DataFrame(lines, columns=[knob, *numbers]).astype(dict.fromkeys(numbers, float)).sort_values(knob)

    def show(self, data: str, metrics: Sequence[str] = (), **settings: Any) -> Styler:
        """The table for a page: verdicts as signs, which the caption explains."""
        fits = {"data": data, **settings}.items()
        counts = sorted(
            {
                row["n"]
                for row in self.rows
                if row["n"] and fits <= row["cell"].items() and (not metrics or row["metric"] in metrics)
            }
        )
        frame = self.frame(data, metrics, **settings)
        names = {AGREES: "✓", ORDERING: "≈", DIFFERS: "✗", NOT_RUN: "–"}
        frame = frame.map(lambda value: names.get(value, value) if isinstance(value, str) else value)
        frame = frame.map(lambda value: re.sub(r" \(n=\d+\)", "", value) if isinstance(value, str) else value)
        frame = frame.map(lambda value: f"{value:g}" if isinstance(value, float) else value)
        frame = frame.rename(columns={"verdict": ""}).rename(columns=lambda name: name.replace("_", " "))
        caption = f"{self.study.source}, on {data}" + (
            f", n = {' or '.join(map(str, counts))} seed{'' if counts == [1] else 's'}" if counts else ""
        )
        signs = ", ".join(f"{sign} {verdict}" for verdict, sign in names.items())
        return frame.style.hide(axis="index").format(precision=3).set_caption(f"{caption}. {signs}.")


def _spread(row: Mapping[str, Any]) -> str:
    if row["measured_mean"] is None:
        nothing = "never" if row["metric"] == "iterations" else "none"  # a row without this number
        return nothing if row["n"] else "not run"
    sd = "" if row["measured_sd"] is None else f" ± {_number(row['measured_sd'], row['measured_mean'])}"
    return f"{_number(row['measured_mean'])}{sd} (n={row['n']})"


def _number(value: float, beside: float | None = None) -> str:
    """Four digits or so, three of them behind the point for numbers around one; powers of ten for very small ones.

    beside: the number that it is the spread of, whose last digit is also its own.
    """
    size = abs(value if beside is None else beside)
    if value and abs(value) < 5e-4 and size < 1:
        return f"{value:.0e}"
    return f"{value:,.{sum(size < limit for limit in (1000, 100, 10))}f}"


def agrees(reported: float, step: float, mean: float, sd: float) -> bool:
    """|difference| <= max(2 sd, 5 % of the reported value, the rounding of the print)."""
    return abs(mean - reported) <= max(SPREADS * sd, RELATIVE * abs(reported), step / 2) + 1e-12


def same_ordering(reported: Sequence[float], measured: Sequence[float]) -> bool:
    """Whether two curves over a knob rise and fall alike: Kendall's tau-b of at least 0.8."""
    if len(reported) < 2:
        return False
    return bool(kendalltau(reported, measured).statistic >= ORDERED - 1e-9)


def compare(study: str | Study, store: Store | None = None, rows: Sequence[Row] | None = None) -> Comparison:
    """Every reported number beside what was measured, for each data set measured, and the claims.

    Rows come from the store unless given. Data sets of one's own are listed without a verdict.
    Raises ValueError for an unknown study.
    """
    study = get(study) if isinstance(study, str) else study
    store = store or Store(study)
    fresh = store.rows() if rows is None else rows
    stale = len(store.all_rows()) - len(fresh) if rows is None else 0
    table = Table(fresh)
    names = list(dict.fromkeys([*study.data["paper"], *(row["cell"]["data"] for row in fresh)]))
    lines = [line for name in names for line in _lines(study, table.select(data=name), name)]
    others = [row for other in study.beside for row in Store(get(other), store.folder).rows()]
    return Comparison(study, lines, _claims(study, Table([*fresh, *others]), names), stale)


def _lines(study: Study, table: Table, data: str) -> list[dict[str, Any]]:
    dataset, own = PAPER_DATA.get(data, ("", False))
    cells = {cell_key(row["cell"]): row["cell"] for row in table.rows}
    if data in study.data["paper"]:
        cells = {cell_key(cell): cell for cell in study.cells(data)} | cells
    printed = {(item.metric, cell_key(cell)): item for cell in cells.values() for item in _match(study, dataset, cell)}
    lines = []
    for key, cell in cells.items():
        for metric in study.metrics:
            rows = table.select(**cell)
            values = rows.values(metric)
            item = printed.get((metric, key))
            lines.append(
                {
                    "cell": cell,
                    "metric": metric,
                    "reported": item.value if item else None,
                    "measured_mean": statistics.fmean(values) if values else None,
                    "measured_sd": statistics.stdev(values) if len(values) > 1 else None,
                    "n": len(values) or len(rows.rows),
                    "verdict": _verdict(item, values, own, bool(rows.rows)) if item and item.judged else None,
                }
            )
    return _order(study, lines)


def _match(study: Study, dataset: str, cell: Mapping[str, Any]) -> list[Reported]:
    return [item for item in study.reported if item.dataset == dataset and item.cell.items() <= cell.items()]


def _verdict(item: Reported, values: Sequence[float], own: bool, ran: bool) -> str:
    if not values:  # a cell that ran without reaching what the metric counts, such as convergence, differs
        return DIFFERS if ran else NOT_RUN
    sd = statistics.stdev(values) if len(values) > 1 else 0.0
    return AGREES if own and agrees(item.value, item.step, statistics.fmean(values), sd) else DIFFERS


def _order(study: Study, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Where a line differs, look whether the curve over the knob that it lies on is ordered as printed."""
    curves: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in lines:
        if line["verdict"] in (AGREES, DIFFERS) and line["measured_mean"] is not None:
            rest = {name: value for name, value in line["cell"].items() if name != study.knob}
            curves.setdefault((line["metric"], cell_key(rest)), []).append(line)
    for curve in curves.values():
        if same_ordering([line["reported"] for line in curve], [line["measured_mean"] for line in curve]):
            for line in curve:
                line["verdict"] = AGREES if line["verdict"] == AGREES else ORDERING
    return lines


def _claims(study: Study, table: Table, names: Sequence[str]) -> list[dict[str, Any]]:
    found = []
    for claim in study.claims:
        for name in names:
            if claim.data and name not in claim.data:
                continue
            part = table.select(data=name)
            holds = claim.test(part) if part.rows else None
            verdict = holds if isinstance(holds, str) else SENTENCE[holds]
            found.append({"claim": claim.text, "source": claim.source, "data": name, "verdict": verdict})
    return found


def as_json(comparison: Comparison) -> str:
    """One JSON object a line: first the rows, then the claims."""
    return "\n".join(json.dumps(item) for item in [*comparison.rows, *comparison.claims])
