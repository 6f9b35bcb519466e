"""Each exercise can be worked: an empty cell that says what is wanted, a hint, and a solution that reaches it."""

import io
import re
from contextlib import redirect_stdout

import pytest

from privlab.exercises import NOT_YET, NOTHING, REACHED, check

from .pages import CHAPTERS, build, cells_of, name

FORMED = [page for page in CHAPTERS if "tags: [exercise]" in page.read_text()]
EXERCISE = re.compile(
    r"^```\{exercise\}\n:label: (?P<label>[\w-]+)\n"
    r"\*\*(?P<title>.+?)\*\* · (?P<minutes>\d+) minutes · (?P<hard>[●○]{3})\n\n(?P<text>.*?)"
    r"^````\{solution-start\} (?P=label)\n:class: dropdown\n````\n(?P<solution>.*?)^````\{solution-end\}",
    re.M | re.S,
)


def exercises(page):
    return list(EXERCISE.finditer(page.read_text()))


def blank(found):
    """The cell to work in: its options and its source."""
    options, source = next(iter(cells_of(found["text"])))
    assert options["tags"] == ["exercise"]
    return options, source


def checks(source):
    return re.findall(r"^check\(.*\)$", source, re.M)


def printed(source, **answers):
    with redirect_stdout(io.StringIO()) as out:
        exec(source, {"check": check, **answers})
    return out.getvalue().splitlines()


@pytest.mark.parametrize("page", FORMED, ids=name)
def test_every_exercise_has_all_its_parts(page):
    made, text = exercises(page), page.read_text()
    assert len(made) == text.count("```{exercise}") == text.count("tags: [exercise]") >= 3
    for found in made:
        _, source = blank(found)
        assert re.search(r"^\w+ = \.\.\.  # ", source, re.M), "nothing to fill in"
        assert ":::{dropdown} A hint" in found["text"]
        assert checks(source)
        assert set(checks(source)) <= set(checks(found["solution"])), "the solution is not checked as the answer is"


@pytest.mark.parametrize("page", FORMED, ids=name)
def test_an_empty_answer_is_none_and_a_wrong_one_fails_its_check(page):
    for found in exercises(page):
        options, source = blank(found)
        empty = printed(re.sub(r"^from .*$", "", source, flags=re.M))
        assert len(empty) == len(checks(source))
        assert all(line.startswith(NOTHING) for line in empty)
        wrong = printed("\n".join(checks(source)), **options["wrong"])
        assert len(wrong) == len(empty)
        assert all(line.startswith(NOT_YET) for line in wrong), (found["label"], wrong)


@pytest.mark.parametrize("page", FORMED, ids=name)
def test_each_solution_reaches_what_its_exercise_wants(page):
    """As it ran when the chapter was executed."""
    outputs = {
        cell.source.strip("\n"): "".join(each.get("text", "") for each in cell.outputs)
        for cell in build.execute(page).cells
        if cell.cell_type == "code"
    }
    for found in exercises(page):
        said = "".join(outputs[source] for _, source in cells_of(found["solution"]))
        assert said.count(REACHED) == len(checks(blank(found)[1])), (found["label"], said)
        assert NOT_YET not in said
        assert NOTHING not in said
