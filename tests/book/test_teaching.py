"""What lecturers get: slides out of the chapters, homework that runs, a plan of all chapters, citations."""

import importlib
import json
import re
import sys
import tomllib

import pytest
import yaml
from pybtex.database import parse_string

from .pages import BOOK, CHAPTERS, ROOT, as_a_reader, front_title, name

sys.path.insert(0, str(BOOK / "_ext"))
cite, links, slides = (importlib.import_module(module) for module in ("cite", "links", "slides"))
TEACHING = BOOK / "teaching"
REAL = "https://github.com/somebody/privlab"
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONTAINER = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text())


def test_each_chapter_has_slides_and_each_thing_on_them_stands_in_one_chapter():
    made = slides.of_chapters()
    assert list(made) == CHAPTERS
    for page, shown in made.items():
        assert 2 <= len(shown) <= 7, name(page)
        assert any(slide.kind in ("drawing", "figure", "explorer") for slide in shown), name(page)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"title": "Nothing"}, "is no slide; it needs a title and one of"),
        ({"figure": "fig-one"}, "is no slide"),
        ({"title": "Two", "figure": "fig-one", "equation": "eq-divide"}, "is no slide"),
        ({"title": "Odd", "figure": "fig-one", "note": "x"}, "is no slide"),
        ({"title": "Lost", "figure": "fig-that-is-not"}, "figure 'fig-that-is-not' stands in no chapter"),
        ({"title": "Common", "output": "import torch"}, "stands in who-is-listening, "),
    ],
)
def test_a_slide_that_is_none_is_refused_in_words(entry, words):
    with pytest.raises(ValueError, match=words):
        slides.of_chapters([entry])


def test_words_on_slides_are_html_with_formulas():
    page = BOOK / "reading-a-gradient" / "a-gradient-is-a-photograph.md"
    made = slides.words("The *same* $s < 1$, as {cite:t}`zhu2019deep` at [start](trap-weights).", page)
    assert made.strip().startswith("<p>The <em>same</em> <span")
    assert "\\(s &lt; 1\\)</span>, as Zhu et al. (2019) at start." in made
    assert "<a " not in made.replace('href="https://', "")


def test_the_plan_and_the_table_of_memory_name_each_chapter():
    for page in ("plan", "running"):
        text = (TEACHING / f"{page}.md").read_text()
        for chapter in CHAPTERS:
            assert name(chapter) in text, (page, name(chapter))


def test_sessions_of_the_plan_are_those_of_its_table():
    text = (TEACHING / "plan.md").read_text()
    listed = re.findall(r"^\| (\d+) \|", text, re.M)
    assert listed == re.findall(r"^### (\d+) · ", text, re.M) == [str(number) for number in range(1, 26)]


def homework():
    text = (TEACHING / "homework.md").read_text()
    return re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)


def test_each_piece_of_homework_has_ten_points():
    text = (TEACHING / "homework.md").read_text()
    pieces = re.split(r"^\(homework-\d\)=$", text, flags=re.M)[1:]
    assert len(pieces) == 5
    for piece in pieces:
        asked = piece.partition(":::{dropdown}")[0]
        assert sum(int(points) for points in re.findall(r"\((\d) points\)", asked)) == 10


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_what_the_grader_is_told_of_homework_comes_out(monkeypatch, number):
    as_a_reader(monkeypatch)
    exec(compile(homework()[number - 1], f"homework {number}", "exec"), {})


def test_what_the_grader_is_told_of_the_audit_is_of_stored_rows():
    told = re.sub(r"\s+", " ", (TEACHING / "homework.md").read_text().partition("(homework-5)=")[2])
    rows = [json.loads(line) for line in (ROOT / "results" / "curious" / "table-2.jsonl").read_text().splitlines()]
    for data in ("digits", "patches"):
        of_init = {}
        for row in rows:
            if row["cell"]["data"] == data and row["provenance"]["profile"] == "fast" and row["seed"] < 3:
                of_init.setdefault(row["cell"]["init"], []).append(row["metrics"]["recall"])
        assert len(of_init) == 7
        means = [sum(recalls) / len(recalls) for recalls in of_init.values()]
        single = [recall for recalls in of_init.values() for recall in recalls]
        for values in (means, single):
            assert f"{min(values):.2f} to {max(values):.2f}" in told, (data, values)


def test_the_container_installs_by_a_command_of_the_readme_what_there_is():
    command = CONTAINER["postCreateCommand"]
    assert command in (ROOT / "README.md").read_text()
    assert set(re.search(r"\.\[([\w,]+)\]", command)[1].split(",")) <= set(PROJECT["optional-dependencies"])
    oldest = PROJECT["requires-python"].removeprefix(">=")
    assert CONTAINER["image"].endswith(f"python:{oldest}")


def test_the_citation_file_is_true():
    about = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    course = about["preferred-citation"]
    assert about["version"] == course["version"] == PROJECT["version"]
    assert about["license"] == PROJECT["license"]
    assert "CC BY 4.0" in CONFIG["sphinx"]["config"]["print_licence"]
    assert course["license"] == "CC-BY-4.0"
    assert course["title"] == CONFIG["title"]
    assert about["authors"] == course["authors"] == [{"name": CONFIG["author"]}]
    assert str(course["year"]) == str(about["date-released"])[:4] == CONFIG["copyright"]
    assert about["keywords"] == PROJECT["keywords"]


@pytest.mark.parametrize("url", [REAL, CONFIG["repository"]["url"]])
def test_a_page_is_cited_with_an_address_only_where_there_is_one(url):
    page = CHAPTERS[1]
    docname = name(page).removesuffix(".md")
    source = cite.address(url, "main", "book", docname)
    shown = url if links.has_address(url) else ""
    text = cite.entries(front_title(page), CONFIG["title"], docname, shown, source)
    made = parse_string(text, "bibtex").entries
    assert list(made) == [f"privlab-{page.stem}", "privlab"]
    own = made[f"privlab-{page.stem}"]
    assert own.fields["title"] == f"{{{front_title(page)}}}"
    assert ("url" in own.fields) is ("url" in made["privlab"].fields) is links.has_address(url)
    if shown:
        assert own.fields["url"] == f"{REAL}/blob/main/book/{docname}.md"


def test_a_title_is_cited_as_it_is_written():
    text = cite.entries('Noise & "pictures" {100 %}', "A_book", "x/y", "", "")
    assert r"Noise \& " in text
    assert r"100 \%" in text
    assert r"A\_book" in text
    assert text.count("{") == text.count("}")


def test_the_link_for_a_hub_opens_the_books_first_notebook():
    link = links.hub_link(REAL, "main", "book")
    assert link.startswith(
        "https://YOUR-HUB/hub/user-redirect/git-pull?repo=https%3A%2F%2Fgithub.com%2Fsomebody%2Fprivlab"
    )
    assert link.endswith("&branch=main&urlpath=lab%2Ftree%2Fprivlab%2Fbook%2Findex.ipynb")
    assert (BOOK / "index.ipynb").exists()
