"""What a course page has beside its text: quizzes that answer each option, and terms that explain themselves.

A quiz needs no kernel and no script:

    ```{quiz} Why can the server not choose its best start by PSNR?
    - It takes too long :: No: it is one mean over the pixels.
    + It compares with the private image :: Yes. The server has its own loss alone.
    ```

`+` marks what is right. An option may go on in lines that begin with a space.
"""

import re

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

MARK = {"+": "right", "-": "wrong"}


def options(lines: list[str]) -> list[tuple[str, str, str]]:
    """Each option as (right or wrong, what it says, what is answered). Raises ValueError in words."""
    found: list[str] = []
    for line in lines:
        if line[:2] in ("+ ", "- "):
            found.append(line.strip())
        elif found and line.startswith(" "):
            found[-1] += " " + line.strip()
        elif line.strip():
            raise ValueError(f"{line!r} is no option; begin it with + (right) or - (wrong)")
    parted = [re.fullmatch(r"([+-]) (.+?) :: (.+)", each) for each in found]
    if None in parted:
        raise ValueError(f"{found[parted.index(None)]!r} has no answer; write it after ::")
    made = [(MARK[each[1]], each[2], each[3]) for each in parted if each]
    if sum(kind == "right" for kind, _, _ in made) != 1 or len(made) < 3:
        raise ValueError("a quiz has three options or more, and one of them is right")
    return made


class Quiz(SphinxDirective):
    """A question with options, each of which opens and says why it is right or wrong."""

    required_arguments = 1
    final_argument_whitespace = True
    has_content = True

    def run(self) -> list[nodes.Node]:
        try:
            made = options(list(self.content))
        except ValueError as error:
            raise self.error(f"quiz {self.arguments[0]!r}: {error}") from error
        quiz = nodes.container(classes=["quiz"])
        quiz += self._inline(self.arguments[0], "quiz-question")
        for kind, says, answer in made:
            quiz += nodes.raw("", f'<details class="quiz-option {kind}"><summary>', format="html")
            quiz += self._inline(says, "quiz-says")
            quiz += nodes.raw("", "</summary>", format="html")
            quiz += self._inline(answer, "quiz-answer")
            quiz += nodes.raw("", "</details>", format="html")
        return [quiz]

    def _inline(self, text: str, name: str) -> nodes.Node:
        paragraph = nodes.container(classes=[name])
        self.state.nested_parse(StringList([text], self.state.document.current_source), self.content_offset, paragraph)
        return paragraph


def collect_terms(app: Sphinx, doctree: nodes.document) -> None:
    """Keep the first sentence of each definition of a glossary."""
    kept = app.env.__dict__.setdefault("course_terms", {})
    for item in doctree.findall(nodes.definition_list_item):
        definition = next(item.findall(nodes.definition), None)
        for term in item.findall(nodes.term):
            if definition is not None and term["ids"]:
                text = re.sub(r"\s+", " ", definition.astext())
                kept[app.env.docname, term["ids"][0]] = re.split(r"(?<=[.!?]) (?=[A-Z])", text)[0]


def explain_terms(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Let a link to a term say its definition where a pointer rests on it."""
    kept = app.env.__dict__.get("course_terms", {})
    for link in doctree.findall(nodes.reference):
        page, _, name = link.get("refuri", "").partition("#")
        for (of, term), text in kept.items():
            if name == term and page.endswith(app.builder.get_target_uri(of).rpartition("/")[2]):
                link["reftitle"] = text


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("quiz", Quiz)
    app.connect("doctree-read", collect_terms)
    app.connect("doctree-resolved", explain_terms)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
