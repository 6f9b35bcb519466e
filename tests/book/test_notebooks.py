"""The notebooks that are given away: plain Markdown, no dead link, a student's without the solutions."""

import ast
import json
import re

import pytest

from .pages import BOOK, CHAPTERS, PAGES, build, name, quiz_options

clean = build.clean


def cells(page, **options):
    return json.loads(build.notebook_text(page, **options))["cells"]


def prose(made):
    return "\n\n".join("".join(cell["source"]) for cell in made if cell["cell_type"] == "markdown")


@pytest.mark.parametrize("solutions", [False, True])
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_a_notebook_is_plain_markdown(page, solutions):
    text = re.sub(r"```.*?```|`[^`]*`", "", prose(cells(page, solutions=solutions)), flags=re.S)
    assert not re.findall(r"\{[\w:]+\}`|^ *[`:]{3,}\{|^\([\w-]+\)=|^:[\w-]+:", text, re.M)
    anchors = set(re.findall(r'<a id="([\w-]+)"></a>', text))
    for said, target in re.findall(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", text):
        assert target.startswith("https://") or target.removeprefix("#") in anchors, (said, target)
    for opened, closed in (("<details>", "</details>"), ("<summary>", "</summary>")):
        assert text.count(opened) == text.count(closed)


@pytest.mark.parametrize("page", CHAPTERS, ids=name)
def test_the_students_notebook_has_the_exercises_and_the_teachers_the_solutions(page):
    student, teacher = cells(page), cells(page, solutions=True)
    count = page.read_text().count("```{exercise}")
    assert prose(student).count("#### Exercise") == prose(teacher).count("#### Exercise") == count > 0
    assert prose(teacher).count("**Solution**") == count
    assert "**Solution**" not in prose(student)
    inside = re.findall(r"\{solution-start\}.*?\{solution-end\}", page.read_text(), re.S)
    for part in inside:
        for source in re.findall(r"```\{code-cell\}[^\n]*\n(.*?)```", part, re.S):
            last = source.strip().splitlines()[-1]
            code = ["".join(cell["source"]) for cell in student if cell["cell_type"] == "code"]
            assert not any(source.strip() in each for each in code), last
    code = [cell for cell in teacher if cell["cell_type"] == "code"]
    assert len(code) == page.read_text().count("```{code-cell}") + 1
    assert len(student) < len(teacher)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_first_cell_gets_privlab_where_it_is_missing(page):
    first = "".join(cells(page)[0]["source"])
    ast.parse("\n".join("    pass" if line.lstrip().startswith(("!", "%")) else line for line in first.splitlines()))
    assert 'find_spec("privlab") is None' in first


def made(text, site=None):
    page = BOOK / "reading-a-gradient" / "a-gradient-is-a-photograph.md"
    cleaner = clean.Cleaner(page, site)
    return cleaner.text(text)


def test_directives_and_roles_become_words():
    def said(text, site=None):
        return made(text, site)

    assert said("Before {cite:t}`zhu2019deep`, {term}`PSNR` and {term}`clients <client>`").startswith("Before ")
    assert "Zhu et al. (2019)" in said("{cite:t}`zhu2019deep`")
    assert "Zhu et al., 2019" in said("{cite:p}`zhu2019deep`")
    assert said("{term}`PSNR` and {term}`clients <client>`") == "PSNR and clients"
    assert said("see {doc}`../guessing-from-a-gradient/deep-leakage`") == "see *Deep leakage*"
    address = "[Deep leakage](https://x.org/guessing-from-a-gradient/deep-leakage.html)"
    assert said("see {doc}`../guessing-from-a-gradient/deep-leakage`", "https://x.org") == f"see {address}"
    assert said("[start](what-the-server-expects)") == "start"
    assert said(":::{admonition} Mind\nA *thing*.\n:::") == "> **Mind**\n>\n> A *thing*."
    assert said(":::{dropdown} Why\n\nSo.\n:::").split() == ["<details><summary>Why</summary>", "So.", "</details>"]
    quiz = said("```{quiz} Which?\n- One :: No: it\n  is not.\n+ Two :: Yes.\n- Three :: No.\n```")
    assert quiz.count("<details>") == 3
    assert "No: it is not." in quiz


def test_a_directive_without_a_form_is_named():
    with pytest.raises(ValueError, match=r"no form yet for \{figure\}"):
        made("```{figure} x.png\n```")
    with pytest.raises(ValueError, match="no form yet for the role download"):
        made("{download}`x`")


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["+ One :: Yes", "- Two"], "'- Two' has no answer; write it after ::"),
        (["* One :: Yes"], "is no option; begin it with \\+"),
        (["+ One :: Yes", "- Two :: No"], "three options or more, and one of them is right"),
        (["+ One :: Yes", "+ Two :: Yes", "- Three :: No"], "one of them is right"),
    ],
)
def test_a_quiz_that_is_none_is_refused_in_words(lines, words):
    with pytest.raises(ValueError, match=words):
        quiz_options(lines)
