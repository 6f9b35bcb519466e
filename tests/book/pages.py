"""What the book's tests share: its chapters, its builder, its built site."""

import importlib.util
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
SITE = ROOT / "_build" / "html"

_spec = importlib.util.spec_from_file_location("book_build", BOOK / "build.py")
build = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(build)

quiz_options = importlib.import_module("_ext.course").options
PAGES = build.chapters()
# Chapters proper teach: they have the parts that a chapter must have. The other pages show tables.
CHAPTERS = [page for page in PAGES if page.parent.name not in ("book", "papers")]
# Audits hold a paper against what was measured, table by table: each number that they say is of stored rows.
AUDITS = [page for page in PAGES if page.parent.name == "papers" and page.stem != "scoreboard"]
SITE_PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html") if "_static" not in path.parts)


def as_a_reader(monkeypatch):
    """No folders but those that somebody has who builds the book."""
    for variable in ("PRIVLAB_DATA", "PRIVLAB_RESULTS", "PRIVLAB_CACHE"):
        monkeypatch.delenv(variable, raising=False)


def name(page):
    return page.relative_to(BOOK).as_posix()


def front_title(page):
    """The first heading."""
    return re.search(r"^# (.+)$", page.read_text(), re.M)[1]


def front_matter(page):
    return yaml.safe_load(page.read_text().split("---")[1])


def cells(page):
    """Each code cell as (options, source)."""
    yield from cells_of(page.read_text())


def cells_of(text):
    """Each code cell of some text as (options, source)."""
    for match in re.finditer(r"```\{code-cell\}[^\n]*\n(.*?)```", text, re.S):
        body = match[1]
        options = {}
        if body.startswith("---"):
            _, raw, body = body.split("---", 2)
            options = yaml.safe_load(raw)
        while body.startswith(":"):
            key, _, value = body.partition("\n")[0][1:].partition(":")
            options[key] = yaml.safe_load(value)
            body = body.partition("\n")[2]
        yield options, body.strip("\n")


def prose(page):
    """The page's text without code cells and front matter."""
    text = re.sub(r"\A---\n.*?\n---\n", "", page.read_text(), flags=re.S)
    return re.sub(r"^```\{code-cell\}.*?^```$", "", text, flags=re.S | re.M)
