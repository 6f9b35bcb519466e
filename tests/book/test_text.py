"""What every chapter must have, read from its source."""

import re

import pytest

from .pages import BOOK, CHAPTERS, PAGES, ROOT, build, cells, front_matter, name, prose, quiz_options

EXPLORER = "explorer("
FORMED = [page for page in CHAPTERS if "```{quiz}" in page.read_text()]


@pytest.mark.parametrize("page", CHAPTERS, ids=name)
def test_front_matter_says_what_a_lecturer_asks(page):
    about = front_matter(page)
    for field in ("paper", "prerequisites", "threat_model"):
        assert len(about[field]) > 3, field
    assert 5 <= about["minutes"] <= 60
    assert 2 <= len(about["objectives"]) <= 4


@pytest.mark.parametrize("page", CHAPTERS, ids=name)
def test_parts_of_a_chapter_are_there_and_in_order(page):
    text = page.read_text()
    parts = [
        "At a glance",
        "## First a thing to try",
        "## Exercises",
        "## Check yourself",
        "## Recap",
        "**Further reading**",
    ]
    places = [text.find(part) for part in parts]
    assert -1 not in places, parts[places.index(-1)]
    assert places == sorted(places)
    assert "?" in text[places[1] : text.index("\n## ", places[1] + 5)], "the first thing to try asks no question"
    assert "Data of this build" in text


@pytest.mark.parametrize("page", FORMED, ids=name)
def test_the_quiz_answers_each_option(page):
    text = page.read_text()
    quiz = text[text.index("## Check yourself") : text.index("## Recap")]
    assert len(re.findall(r"^```\{quiz\} .*\?$", quiz, re.M)) >= 3
    for body in re.findall(r"^```\{quiz\} [^\n]*\n(.*?)^```", quiz, re.M | re.S):
        made = quiz_options(body.splitlines())
        assert all(len(answer.split()) > 3 for _, _, answer in made)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_cells_are_small_and_fit_the_page(page):
    for options, source in cells(page):
        lines = [line for line in source.splitlines() if line.strip()]
        assert len(lines) <= 12 or "remove-input" in options.get("tags", []), source
        if "remove-input" not in options.get("tags", []):
            assert max(map(len, lines)) <= 86, max(lines, key=len)


@pytest.mark.parametrize("page", CHAPTERS, ids=name)
def test_a_sentence_stands_before_each_visible_cell(page):
    text = re.sub(r"^---\n.*?\n---\n", "", page.read_text(), count=1, flags=re.S)
    blocks = re.split(r"(```\{code-cell\}.*?```)", text, flags=re.S)
    seen = 0
    for before, cell in zip(blocks[::2], blocks[1::2], strict=False):
        seen += 1
        figure = "figure:" in cell.partition("---\n")[2].partition("\n---\n")[0]
        assert before.strip() or figure, f"no sentence before:\n{cell}"
    assert seen > 5


def test_notebooks_beside_the_chapters_are_those_of_their_chapters():
    for page in PAGES:
        assert page.with_suffix(".ipynb").read_text() == build.notebook_text(page), name(page)


def test_the_repositorys_address_stands_in_one_place():
    import yaml

    url = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    sources = [p for pattern in ("*.md", "*.py", "*.yml", "*.toml", "*.cff") for p in ROOT.rglob(pattern)]
    skipped = {"_build", ".nox", ".git"}
    holding = [p.name for p in sources if not skipped & set(p.parts) and url in p.read_text(errors="ignore")]
    assert holding == ["_config.yml"]
    setup = (BOOK / "reading-a-gradient" / "a-gradient-is-a-photograph.ipynb").read_text()
    assert url in setup


def test_every_page_is_in_the_table_of_contents():
    listed = (BOOK / "_toc.yml").read_text()
    for page in BOOK.rglob("*.md"):
        assert page.relative_to(BOOK).with_suffix("").as_posix() in listed


def test_every_citation_is_in_the_bibliography():
    entries = set(re.findall(r"@\w+\{(\w+),", (BOOK / "references.bib").read_text()))
    for page in BOOK.rglob("*.md"):
        for keys in re.findall(r"\{cite:\w\}`([^`]+)`", page.read_text()):
            assert set(keys.split(",")) <= entries, name(page)


def test_the_chapters_explorers_are_among_those_tested():
    from ..explore.test_explorers import EXPLORERS

    used = {match for page in PAGES for match in re.findall(r"explore\.(\w+_explorer)\(", page.read_text())}
    assert used == {function.__name__ for function in EXPLORERS.values()}


@pytest.mark.parametrize("page", sorted(BOOK.rglob("*.md")), ids=name)
def test_tables_have_as_many_cells_in_each_row_as_in_the_header(page):
    for table in re.findall(r"(?:^\|.*\|[ ]*\n)+", prose(page), re.M):
        plain = re.sub(r"\$[^$\n]*\$|`[^`\n]*`", "x", table.replace("\\|", "x"))
        assert len({line.count("|") for line in plain.splitlines()}) == 1, table


def test_the_landing_page_lists_the_chapters_in_the_order_of_the_contents():
    listed = re.findall(r"^\| \[[^\]]+\]\(([\w/-]+\.md)\) \|", (BOOK / "index.md").read_text(), re.M)
    order = [name(page) for page in PAGES if name(page) != "index.md"]
    assert listed[: len(order)] == order


@pytest.mark.parametrize("page", sorted(BOOK.rglob("*.md")), ids=name)
def test_chapters_are_named_and_not_counted_from_where_one_is(page):
    text = re.sub(r"\s+", " ", prose(page))
    found = re.search(
        r"(next|previous|last|first|preceding|following) chapters?\b|chapters? (before|after)\b", text, re.I
    )
    assert not found, text[found.start() - 60 : found.end() + 60]


# Where a word is not the term: an activation function, and so on.
EVERYDAY = {
    "activation": {"deep-leakage", "a-gradient-is-a-photograph"},
    "pruning": {"inverting-gradients"},
    "mixture": {"in-the-clinic", "what-a-gradients-rank-says"},
    "clipping": {"deep-leakage"},
    "own loss": {"noise-and-nopeek"},
    "extraction": {"stolen-and-guessed"},
    "prior": {"stolen-and-guessed"},
}
TERMS = re.findall(r"^([^\s:][^\n]*)\n  \S", (BOOK / "reference" / "glossary.md").read_text(), re.MULTILINE)
UNREAD = r"\{term\}`[^`]+`|`[^`]*`|\[[^\]]*\]\([^)]*\)|\$[^$\n]*\$"  # links, code and formulae


@pytest.mark.parametrize("page", CHAPTERS, ids=name)
def test_terms_are_linked_in_each_chapter(page):
    """What the glossary explains, and a chapter says twice, is linked in it: a reader may begin with any chapter."""
    text = page.read_text()
    body = re.sub(r"^\*\*Paper.*?\n:::", "", text.split("---\n", 2)[2], flags=re.DOTALL | re.MULTILINE)
    body = re.sub(r"```\{(code-cell|math|drawing)\}.*?\n```", "", body, flags=re.DOTALL)
    roles = re.findall(r"\{term\}`([^`]+)`", text)
    linked = {" ".join(role.rpartition("<")[2].rstrip(">").split()).lower() for role in roles}
    plain = re.sub(UNREAD, "", body)
    for term in TERMS:
        said = re.findall(rf"(?<![\w-]){re.escape(term)}s?(?![\w-])", plain, re.IGNORECASE)
        if len(said) > 1 and page.stem not in EVERYDAY.get(term, ()):
            assert term.lower() in linked, f"{term} is said {len(said)} times, and linked nowhere"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_figures_are_no_wider_than_the_column(page):
    """6.5 inches are a column of text: a wider figure is scaled down, and its words become too small to read."""
    assert all(float(wide) <= 6.5 for wide in re.findall(r"figsize=\(([\d.]+)", page.read_text()))
