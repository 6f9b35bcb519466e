"""Tables for a page and for the terminal: a line a cell, reported beside measured."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd
from pandas.io.formats.style import Styler

from privlab.studies.bench import verdict
from privlab.studies.bench.study import cell_key

SIGNS = {
    verdict.AGREES: "✓",
    verdict.ORDERING: "≈",
    verdict.DIFFERS: "✗",
    verdict.UNDECIDED: "?",
    verdict.DEPENDS: "◐",
    verdict.FITTED: "fitted",
    verdict.NOT_AT_SCALE: "▽",
    verdict.STAND_IN: "○",
    verdict.NOT_JUDGED: "",
    verdict.NOT_RUN: "–",
}
SPELT = {
    verdict.DIFFERS: "differs",
    verdict.STAND_IN: "a stand-in's data, no verdict",
    verdict.NOT_AT_SCALE: "not at the paper's scale, no verdict",
    verdict.FITTED: "chosen by looking at the printed number",
}
RAISED = {  # what has to be said with a verdict, as a raised letter
    "reduced": ("ʳ", "smaller than the paper's"),
    "in another reading": ("ᵒ", "in another reading"),
    "stand-in": ("ˢ", "a stand-in's data"),
    "one draw": ("¹", "one draw"),
    "two draws": ("²", "two draws"),
}
Rows = Sequence[Mapping[str, Any]]


def frame(rows: Rows, data: str, metrics: Sequence[str], settings: Mapping[str, Any]) -> pd.DataFrame:
    """A line a cell of one data set that has these settings, and for each metric `paper`, `here` and `verdict`."""
    same = common(rows, data, settings)
    lines: dict[str, dict[Any, Any]] = {}
    for row in rows:
        fits = row["cell"].get("data") == data and settings.items() <= row["cell"].items()
        if not fits or (metrics and row["metric"] not in metrics):
            continue
        hidden = {"data", *settings, *same}
        knobs = {(name, ""): value for name, value in row["cell"].items() if name not in hidden}
        line = lines.setdefault(cell_key(row["cell"]), knobs)
        line[row["metric"], "paper"] = _printed(row)
        line[row["metric"], "here"] = spread(row)
        line[row["metric"], "verdict"] = row["verdict"] or ""
    found = pd.DataFrame(list(lines.values()), dtype=object).fillna("")
    unprinted = [name for name in found.columns if name[1] in ("paper", "verdict") and not found[name].any()]
    found = found.drop(columns=unprinted)  # the paper has no such numbers
    if len(found):
        found.columns = pd.MultiIndex.from_tuples(found.columns)
    return found


def common(rows: Rows, data: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that all cells of one data set share, where there are several."""
    cells = [row["cell"] for row in rows if {"data": data, **settings}.items() <= row["cell"].items()]
    if len({cell_key(cell) for cell in cells}) < 2:
        return {}
    return {
        name: value
        for name, value in cells[0].items()
        if name not in {"data", *settings} and all(cell.get(name) == value for cell in cells)
    }


def styled(
    rows: Rows, where: str, data: str, metrics: Sequence[str], settings: Mapping[str, Any], signs: bool = True
) -> Styler:
    """The table for a page; the caption says `where` it stands, the draws, and with `signs` the signs that occur."""
    fits = {"data": data, **settings}.items()
    chosen = [row for row in rows if fits <= row["cell"].items() and (not metrics or row["metric"] in metrics)]
    counts = sorted({row["n"] for row in chosen if row["n"]})
    words = {_word(row["verdict"]) for row in chosen if row["verdict"]}
    raised = {said for row in chosen if row["verdict"] for said in _qualifiers(row["verdict"])}
    table = frame(rows, data, metrics, settings)
    table = table.map(lambda value: sign(value) if isinstance(value, str) and _word(value) in SIGNS else value)
    table = table.map(lambda value: re.sub(r" \(n=\d+\)", "", value) if isinstance(value, str) else value)
    table = table.map(lambda value: f"{value:g}" if isinstance(value, float) else value)
    # A word for those who hear the page; course.css hides it from those who see the signs.
    table = table.rename(columns={"verdict": '<span class="pl-heard">verdict</span>'})
    table = table.rename(columns=lambda name: name.replace("_", " "))
    caption = where + (f", n = {' or '.join(map(str, counts))} seed{'' if counts == [1] else 's'}" if counts else "")
    meant = f" {', '.join(_meanings(words, raised))}." if signs and words else ""
    return table.style.hide(axis="index").format(precision=3).set_caption(f"{caption}.{meant}")


def legend() -> str:
    """What every sign of the tables means, for a page that says it once."""
    return f"{' · '.join(_meanings(SIGNS, RAISED))}."


def _meanings(words: Collection[str], raised: Collection[str]) -> list[str]:
    signs = [f"{SIGNS[word]} {SPELT.get(word, word)}" for word in SIGNS if word in words and SIGNS[word]]
    return signs + [f"{letter} {meaning}" for said, (letter, meaning) in RAISED.items() if said in raised]


def title(data: str, printed: str, own: bool) -> str:
    """A data set as a caption names it: as the paper prints it, or as what stands in for that."""
    return data if not printed else printed if own else f"{data}, a stand-in for {printed}"


def sign(said: str) -> str:
    """A verdict with its qualifiers as a sign: `✓ʳ` agrees, reduced."""
    return SIGNS[_word(said)] + "".join(RAISED[each][0] for each in _qualifiers(said))


def _qualifiers(said: str) -> list[str]:
    return [each for each in said[len(_word(said)) :].strip(" ()").split(", ") if each]


def _word(said: str) -> str:
    return re.sub(r" \(.*\)$", "", said)


def _printed(row: Mapping[str, Any]) -> str:
    if row["reported"] is None:
        return "never" if row["verdict"] else ""
    return number(row["reported"])


def spread(row: Mapping[str, Any]) -> str:
    """Mean and standard deviation of what was measured, with the number of draws."""
    if row["measured_mean"] is None:
        nothing = "never" if row["metric"] == "iterations" else "none"  # a row without this number
        return nothing if row["n"] else "not run"
    sd = "" if row["measured_sd"] is None else f" ± {number(row['measured_sd'], row['measured_mean'])}"
    return f"{number(row['measured_mean'])}{sd} (n={row['n']})"


def number(value: float, beside: float | None = None) -> str:
    """Four digits or so, three of them behind the point for numbers around one; powers of ten for very small ones.

    beside: the number that it is the spread of, whose last digit is also its own.
    """
    size = abs(value if beside is None else beside)
    if value and abs(value) < 5e-4 and size < 1:
        return f"{value:.0e}"
    return f"{value:,.{sum(size < limit for limit in (1000, 100, 10))}f}"
