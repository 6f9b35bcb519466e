"""The scoreboard as HTML: a picture with a mark for each printed value, the sentences, and the tables behind them."""

import html
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from privlab.studies.bench import sentence, verdict
from privlab.studies.bench.coverage import Value, word
from privlab.studies.bench.show import number, spread

TITLES = {
    "curious": "When the curious abandon honesty",
    "zen": "Zen and the art of model adaptation",
    "splitnn": "Practical defences for split neural networks",
    "linkability": "Linkability of model updates",
}
REDUCED = f"{verdict.AGREES}, reduced"
# A mark in a box of 12 x 12, different in shape as well as in colour.
MARKS = {
    verdict.AGREES: '<circle cx="6" cy="6" r="5"/>',
    REDUCED: '<circle cx="6" cy="6" r="4" class="open"/><circle cx="6" cy="6" r="1.8"/>',
    verdict.ORDERING: '<path d="M6 1 11 11H1Z"/>',
    verdict.DIFFERS: '<path d="M2 2 10 10M10 2 2 10" class="line"/>',
    verdict.DEPENDS: '<circle cx="6" cy="6" r="4" class="open"/><path d="M6 2a4 4 0 0 1 0 8Z"/>',
    verdict.UNDECIDED: '<circle cx="6" cy="6" r="4" class="open"/>',
    verdict.FITTED: '<path d="M6 1 11 6 6 11 1 6Z" class="open"/>',
    verdict.NOT_AT_SCALE: '<path d="M1.5 2h9L6 10.5Z" class="open"/>',
    verdict.STAND_IN: '<rect x="2" y="2" width="8" height="8" class="open"/>',
    verdict.NOT_JUDGED: '<circle cx="6" cy="6" r="2"/>',
    verdict.NOT_RUN: '<path d="M2 6h8" class="line"/>',
    verdict.NO_STUDY: '<circle cx="6" cy="6" r="1.2"/>',
}
MEANING = {
    verdict.AGREES: "at the paper's scale",
    REDUCED: "ours is smaller than the paper's",
    verdict.ORDERING: "another value, or a stand-in's, in the printed order",
    verdict.DIFFERS: "at the paper's scale",
    verdict.DEPENDS: "some draws agree and some do not",
    verdict.UNDECIDED: "more draws may tell",
    verdict.FITTED: "a setting was chosen by looking at the printed number",
    verdict.NOT_AT_SCALE: "does not agree, and ours is smaller than the paper's",
    verdict.STAND_IN: "only other data were measured",
    verdict.NOT_JUDGED: "seconds of another machine",
    verdict.NOT_RUN: "the data, or the time, are missing here",
    verdict.NO_STUDY: "no study yet",
}


HEAD = "".join(f"<th>{name}</th>" for name in ("value", "printed", "here", "verdict", "how it was measured"))


def slug(said: str) -> str:
    """A verdict as a class name: `same-ordering`."""
    return kind(said).replace(",", "").replace(" ", "-")


def kind(said: str) -> str:
    """A verdict without its qualifiers, but for an agreement at a reduced scale."""
    found = word(said)
    return REDUCED if found == verdict.AGREES and "reduced" in said else found


def mark(said: str) -> str:
    """The mark of a verdict, drawn by the symbol that `legend` defines."""
    name = slug(said)
    return f'<svg class="board-mark {name}" viewBox="0 0 12 12" aria-hidden="true"><use href="#mark-{name}"/></svg>'


def legend(values: Sequence[Value]) -> str:
    """Each verdict that occurs, with its mark and how many there are; defines the marks of the whole page."""
    counts = Counter(kind(value.verdict) for value in values)
    symbols = "".join(f'<symbol id="mark-{slug(w)}" viewBox="0 0 12 12">{shape}</symbol>' for w, shape in MARKS.items())
    items = "".join(
        f"<li>{mark(w)} <b>{counts[w]}</b> {html.escape(w)}"
        + (f": {html.escape(MEANING[w])}" if MEANING[w] != w else "")
        + "</li>"
        for w in MARKS
        if counts[w]
    )
    hidden = f'<svg width="0" height="0" aria-hidden="true" style="position:absolute">{symbols}</svg>'
    return f'{hidden}<ul class="board-legend">{items}</ul>'


def picture(values: Sequence[Value]) -> str:
    """One mark a printed value, grouped by paper and table; each leads to its row below.

    The tables say the same in words, so that the marks are no stops for a keyboard or a screen reader.
    """
    parts = []
    for paper, rows in _by_paper(values).items():
        tables = []
        for table, members in itertools.groupby(rows, key=lambda pair: pair[1].printed.table):
            marks = "".join(
                f'<a href="#{_anchor(place, value)}" tabindex="-1" title="{_title(value)}">{mark(value.verdict)}</a>'
                for place, value in members
            )
            tables.append(f'<div class="board-table"><span>{html.escape(_name(table))}</span><div>{marks}</div></div>')
        count = len(rows)
        parts.append(f"<h4>{html.escape(TITLES[paper])} <small>{count} values</small></h4>{''.join(tables)}")
    return f'<div class="board" aria-hidden="true">{"".join(parts)}</div>'


def tables(values: Sequence[Value]) -> str:
    """Every printed value beside ours, folded by paper and table."""
    parts = []
    for paper, rows in _by_paper(values).items():
        inner = []
        for table, group in itertools.groupby(rows, key=lambda pair: pair[1].printed.table):
            members = list(group)
            lines = "".join(_line(place, value) for place, value in members)
            inner.append(
                f"<details><summary>{html.escape(_name(table))}: {_tally(value for _, value in members)}</summary>"
                '<div class="board-scroll" tabindex="0" role="region" '
                f'aria-label="{html.escape(TITLES[paper])}, {html.escape(_name(table))}"><table>'
                f"<thead><tr>{HEAD}</tr>"
                f"</thead><tbody>{lines}</tbody></table></div></details>"
            )
        said = _tally(value for _, value in rows)
        summary = f"<b>{html.escape(TITLES[paper])}</b>: {said}"
        parts.append(f'<details class="board-paper"><summary>{summary}</summary>{"".join(inner)}</details>')
    return "".join(parts)


def sentences(found: Sequence[Mapping[str, Any]], *, ours: bool | None = None) -> str:
    """The papers' sentences, or with `ours` our own, or both, those that depend first."""
    chosen = [each for each in found if ours is None or each["ours"] == ours]
    order = {said: place for place, said in enumerate(sentence.VERDICTS)}
    parts = []
    for each in sorted(chosen, key=lambda each: order[each["verdict"]]):
        quote = html.escape(each["claim"])
        where = [f"<b>{said}</b>: {html.escape('; '.join(names))}" for said, names in each["where"].items()]
        for said in dict.fromkeys(each["stand_ins"].values()):
            names = [name for name, outcome in each["stand_ins"].items() if outcome == said]
            where.append(f"on stand-ins, {said}: {html.escape('; '.join(names))}")
        lines = "".join(f"<li>{line}</li>" for line in where)
        parts.append(
            f'<div class="board-sentence {slug(each["verdict"])}"><p><b class="verdict">{each["verdict"]}</b> '
            f"{quote if each['ours'] else f'“{quote}”'} <small>{html.escape(_source(each))}</small></p>"
            f"<p class='tested'>Tested: {html.escape(each['tested'])}.</p><ul>{lines}</ul></div>"
        )
    return "".join(parts)


def _source(each: Mapping[str, Any]) -> str:
    whose = "ours; " if each["ours"] else ""
    return f"{whose}{each['source']}; {each['study']}"


def _by_paper(values: Sequence[Value]) -> dict[str, list[tuple[int, Value]]]:
    papers: dict[str, list[tuple[int, Value]]] = {}
    for place, value in enumerate(values):
        papers.setdefault(value.printed.paper, []).append((place, value))
    return {
        paper: sorted(rows, key=lambda pair: (_natural(pair[1].printed.table), pair[0]))
        for paper, rows in papers.items()
    }


def _natural(table: str) -> tuple[float, str]:
    digits = "".join(c for c in table if c.isdigit() or c == ".")
    return (float(digits) if table[:1].isdigit() else 100.0 + float(digits or 0), table)


def _anchor(place: int, value: Value) -> str:
    return f"value-{value.printed.paper}-{place}"


def _name(table: str) -> str:
    if table.startswith("fig"):
        return f"figure {table[3:]}"
    return table if table.isalpha() else f"section {table}" if "." in table else f"Table {table}"


def _place(value: Value) -> str:
    row = value.printed
    return " ".join(filter(None, (row.dataset, row.model, row.split, row.variant, row.metric.replace("_", " "))))


def _printed(value: Value) -> str:
    return "never" if value.printed.value is None else f"{value.printed.value:g}"


def _title(value: Value) -> str:
    return html.escape(f"{_place(value)}: {_printed(value)}, {value.verdict}")


def _tally(values: Iterable[Value]) -> str:
    counts = Counter(word(value.verdict) for value in values)
    return ", ".join(f"{counts[said]} {said}" for said in MARKS if counts[said])


def _line(place: int, value: Value) -> str:
    line, row = value.line, value.as_row()
    here, printed_ = "–", _printed(value)
    if line is not None and line.rows and line.item is not None:
        here = spread(line.as_row()).replace("(n=", "(")
        printed_ = "never" if line.item.value is None else number(line.item.value)
    how = [row["scale"], row["reading"] if row["reading"] != "as written" else None, row["study"]]
    cells = (_place(value), printed_, here, None, "; ".join(filter(None, how)))
    filled = [f"{mark(value.verdict)} {html.escape(value.verdict)}" if c is None else html.escape(c) for c in cells]
    return f'<tr id="{_anchor(place, value)}">{"".join(f"<td>{cell}</td>" for cell in filled)}</tr>'
