"""A chapter's notebook in plain Markdown, as Colab, Binder and a download show it: no directive, no role, no dead link.

The student's holds an empty cell where the page holds a solution; the teacher's holds the solutions too.
"""

import functools
import re
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from pybtex.database import parse_file

BOOK = Path(__file__).resolve().parent
FENCE = re.compile(r"^( *)(`{3,}|:{3,})\{([\w-]+)\} *(.*)$")
SOLUTION = re.compile(r"^`{3,}\{solution-(start|end)\}[^\n]*\n(?::[^\n]*\n)*`{3,} *$", re.M)
ROLE = re.compile(r"\{([\w:]+)\}`([^`]+)`")
LINK = re.compile(r"(?<!\!)\[([^\]]+)\]\(([^)\s]+)\)")
LABEL = re.compile(r"^\(([\w-]+)\)=$", re.M)
EQUATION = re.compile(r"^\$\$ *\(([\w-]+)\) *$", re.M)


@functools.cache
def places() -> dict[str, Path]:
    """On which page each label stands."""
    found = {}
    for page in BOOK.rglob("*.md"):
        text = page.read_text()
        labels = [*LABEL.findall(text), *EQUATION.findall(text), *re.findall(r"^:label: ([\w-]+)$", text, re.M)]
        found |= dict.fromkeys([*labels, *re.findall(r"^ +name: ([\w-]+)$", text, re.M)], page)
    return found


def title(page: Path) -> str:
    """A page's first heading."""
    return re.search(r"^# (.+)$", page.read_text(), re.M)[1]


@functools.cache
def citations() -> dict[str, tuple[str, str, str]]:
    """Of each entry of the bibliography the names, the year, and an address or nothing."""
    found = {}
    for key, entry in parse_file(str(BOOK / "references.bib")).entries.items():
        people = [" ".join(person.last_names).strip("{}") for person in entry.persons.get("author", [])]
        names = people[0] if len(people) == 1 else " and ".join(people) if len(people) == 2 else f"{people[0]} et al."
        doi, address = entry.fields.get("doi"), entry.fields.get("url", "")
        found[key] = names, entry.fields.get("year", ""), f"https://doi.org/{doi}" if doi else address
    return found


@dataclass
class Cleaner:
    """One chapter. site: where the built pages are, without a last slash; None while they are nowhere."""

    page: Path
    site: str | None = None
    equations: dict[str, int] = field(default_factory=dict)
    figures: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        text = self.page.read_text()
        named = re.findall(r"^ +name: (fig[\w-]+)$", text, re.M)
        self.equations = {label: number for number, label in enumerate(EQUATION.findall(text), 1)}
        self.figures = {label: number for number, label in enumerate(named, 1)}

    def address(self, target: Path, anchor: str = "") -> str | None:
        """Of a place in the book: within this notebook, on the built site, or nowhere."""
        if target == self.page:
            return f"#{anchor}" if anchor else None
        if self.site is None:
            return None
        page = target.relative_to(BOOK).with_suffix(".html").as_posix()
        return f"{self.site}/{page}" + (f"#{anchor}" if anchor else "")

    def text(self, source: str) -> str:
        """A cell's Markdown without directives, roles, labels and dead links."""
        source = EQUATION.sub(lambda found: f"\\tag{{{self.equations[found[1]]}}}\n$$", source)
        source = LABEL.sub(lambda found: f'<a id="{found[1]}"></a>', source)
        lines = self._blocks(source.splitlines())
        parts = re.split(r"(```.*?```)", "\n".join(lines), flags=re.S)  # code stays as it is
        parts[::2] = [LINK.sub(self._link, ROLE.sub(self._role, part)) for part in parts[::2]]
        return re.sub(r"\n{3,}", "\n\n", "".join(parts)).strip()

    def _blocks(self, lines: list[str]) -> list[str]:
        made, at = [], 0
        while at < len(lines):
            found = FENCE.match(lines[at])
            if not found:
                made.append(lines[at])
                at += 1
                continue
            end = next(k for k in range(at + 1, len(lines)) if lines[k].strip() == found[2])
            body, given = lines[at + 1 : end], {}
            while body and (option := re.match(r"^:([\w-]+): *(.*)$", body[0])):
                given[option[1]], body = option[2], body[1:]
            if "label" in given:
                made += ["", f'<a id="{given["label"]}"></a>']
            made += self._directive(found[3], found[4], body)
            at = end + 1
        return made

    def _directive(self, name: str, argument: str, body: list[str]) -> list[str]:
        if name == "quiz":
            return self._quiz(argument, body)
        inner = self._blocks(body)
        if name in ("dropdown", "toggle"):
            return ["", f"<details><summary>{argument}</summary>", "", *inner, "", "</details>", ""]
        if name == "exercise":
            return ["", "#### Exercise", "", *inner, ""]
        if name in ("admonition", "note", "tip", "warning", "important"):
            return ["", f"> **{argument or name.capitalize()}**", ">", *(f"> {line}".rstrip() for line in inner), ""]
        if name in ("grid", "grid-item-card"):
            return ["", *([f"**{argument}**", ""] if name == "grid-item-card" else []), *inner, ""]
        raise ValueError(f"{self.page.name}: a notebook has no form yet for {{{name}}}; see book/clean.py")

    def _quiz(self, question: str, body: list[str]) -> list[str]:
        from _ext.course import options

        made = ["", f"**{question}**", ""]
        for _, says, answer in options(body):
            made += [f"<details><summary>{says}</summary>", "", answer, "", "</details>", ""]
        return made

    def _role(self, found: re.Match) -> str:
        name, inside = found[1], found[2]
        said, _, target = inside.rstrip(">").partition(" <") if inside.endswith(">") else (inside, "", inside)
        if name.startswith("cite"):
            return self._cited(name, inside.split(","))
        if name == "eq":
            return f"({self.equations[inside]})" if inside in self.equations else f"({title(places()[inside])})"
        if name == "numref":
            number = self.figures.get(target)
            return f"Figure {number}" if number else f"a figure of *{title(places()[target])}*"
        if name == "doc":
            page = (self.page.parent / f"{target}.md").resolve()
            return self._to(title(page) if said == target else said, self.address(page), emphasis=True)
        if name in ("term", "ref"):
            return said
        raise ValueError(f"{self.page.name}: a notebook has no form yet for the role {name}; see book/clean.py")

    @staticmethod
    def _cited(name: str, keys: list[str]) -> str:
        made = []
        for key in keys:
            names, year, address = citations()[key.strip()]
            said = f"{names} ({year})" if name == "cite:t" else f"{names}, {year}"
            made.append(f"[{said}]({address})" if address else said)
        return ", ".join(made) if name == "cite:t" else f"({'; '.join(made)})"

    def _link(self, found: re.Match) -> str:
        said, target = found[1], found[2]
        if "://" in target or target.startswith("#"):
            return found[0]
        if target in places():
            return self._to(said, self.address(places()[target], target))
        page, _, anchor = target.partition("#")
        return self._to(said, self.address((self.page.parent / page).resolve(), anchor), emphasis=True)

    @staticmethod
    def _to(said: str, address: str | None, *, emphasis: bool = False) -> str:
        if address:
            return f"[{said}]({address})"
        return f"*{said}*" if emphasis else said


def cells(notebook: nbformat.NotebookNode, page: Path, *, solutions: bool, site: str | None) -> list:
    """The cells of a clean notebook."""
    cleaner, made, inside, label = Cleaner(page, site), [], False, 0
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            if not inside or solutions:
                made += [cell, *_caption(cell, cleaner)]
            continue
        kept, at = [], 0
        for mark in SOLUTION.finditer(cell.source):
            if not inside or solutions:
                kept.append(cell.source[at : mark.start()])
            inside, at = mark[1] == "start", mark.end()
            if inside:
                label += 1
                kept.append("\n**Solution**\n" if solutions else "")
        if not inside or solutions:
            kept.append(cell.source[at:])
        if text := cleaner.text("".join(kept)):
            made.append(nbformat.v4.new_markdown_cell(text))
    return made


def _caption(cell: nbformat.NotebookNode, cleaner: Cleaner) -> list:
    figure = cell.metadata.get("mystnb", {}).get("figure", {})
    if not figure:
        return []
    number = cleaner.figures.get(figure.get("name", ""))
    said = cleaner.text(figure["caption"])
    return [nbformat.v4.new_markdown_cell(f"*Figure {number}.* {said}" if number else f"*{said}*")]
