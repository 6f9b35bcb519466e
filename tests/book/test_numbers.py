"""Numbers that the prose says of a measurement are those of the rows, or of the outputs, that it speaks of."""

import re
from dataclasses import dataclass

import nbformat
import pytest
import yaml

from .numbers import CELLS, EXEMPT, ROWS, SETTINGS, About, Between, Held
from .pages import AUDITS, BOOK, CHAPTERS, build, name

POWER = r"10(?:\^\{?-?\d+\}?|[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)"
PLAIN = r"\d+(?:,\d{3})*(?:\.\d+)?"
TIMES = r" ?(?:·|×|\\cdot|\\times) ?"
NUMBER = rf"(?<![\w.,^])(?<![A-Za-z]-)(?:{POWER}|{PLAIN}(?:{TIMES}{POWER})?)(?![\w^]|[.,]\d)"
PARTS = re.compile(rf"(?P<plain>{PLAIN})?(?:{TIMES})?(?:10\^?\{{?(?P<power>-?\d+)\}}?)?")
RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
SHARES = (
    r"\b(?:half|(?:a|one|two|three) (?:half|third|quarter|fifth|tenth)s?) of\b"
    r"|\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|fifteen)(?: \w+)? (?:of|in) (?:the )?"
    r"(?:two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fourteen|sixteen)\b"
    r"|\b(?:half a|an?|one|two|three|four|five|six|seven|eight|nine|ten) (?:decibel|point)s?\b"
)

CELL = re.compile(r"^```\{code-cell\}[^\n]*\n(.*?)^```", re.S | re.M)
HEADING = re.compile(r"^#+ ", re.M)
SHOWS_ROWS = re.compile(r"studies\.compare\(|\.show\(|\.curve\(|\.by_seed\(")


def squeeze(text):
    return " ".join(text.split())


@dataclass(frozen=True)
class Block:
    """Prose between two code cells or headings, and whether it speaks of stored rows."""

    text: str
    of_rows: bool


def described(cell):
    """The caption of a cell's figure, and what is read out for it."""
    if not cell.startswith("---\n"):
        return ""
    shown = (yaml.safe_load(cell.split("---\n")[1]) or {}).get("mystnb", {})
    return f"{shown.get('image', {}).get('alt', '')} {shown.get('figure', {}).get('caption', '')}"


def blocks(text, of_rows=False):
    """The prose of a page in its order, with the captions of its figures. of_rows: all of it speaks of stored rows."""
    text = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.S)
    section, after_rows = of_rows, False
    for place, part in enumerate(CELL.split(text)):
        if place % 2:
            after_rows = bool(SHOWS_ROWS.search(part))
            yield Block(described(part), section or after_rows)
            continue
        for number, piece in enumerate(HEADING.split(part)):
            if number:
                after_rows, section = False, of_rows or piece.startswith("The paper and here")
            yield Block(piece, section or after_rows)


def prose(text):
    return squeeze(" ".join(block.text for block in blocks(text)))


def pattern(fragment):
    """A fragment of prose, in which each {} is a number."""
    return re.compile(rf"({NUMBER})".join(map(re.escape, squeeze(fragment).split("{}"))))


def read(said):
    """The number that is said, and half a unit of its last digit."""
    parts = PARTS.fullmatch(said.translate(RAISED).replace("10-", "10^-"))
    plain, power = (parts["plain"] or "1").replace(",", ""), int(parts["power"] or 0)
    return float(plain) * 10.0**power, 0.5 * 10.0 ** (power - len(plain.partition(".")[2]))


# Of what a cell prints: on another processor a training ends a little elsewhere, and the stored outputs are not those.
ELSEWHERE = 0.1


def problem(text, held, found, slack=0.0):
    """What is wrong with a fragment of a page; empty if nothing is. found: what was measured.

    slack: the share of a measured value that it may be off by, on top of the rounding.
    """
    matches = list(pattern(held.text).finditer(prose(text)))
    if len(matches) != 1:
        return f"{held.page}: “{held.text}” stands {len(matches)} times in the prose; once is needed"
    fragment, said = matches[0][0], list(matches[0].groups())
    found = list(found) if isinstance(found, tuple) else [found]
    if len(said) != sum(not isinstance(value, Between) for value in found):
        return f"{held.page}: “{held.text}” has {len(said)} numbers, and its entry another count: {found}"
    wrong = []
    for value in found:
        if isinstance(value, Between):
            beside = slack * abs(value.value) + 1e-9
            if not value.low - beside <= value.value <= value.high + beside:
                wrong.append(f"in words {value.low:g} to {value.high:g}, where {value.value:.4g} was measured")
            continue
        number, within = read(said[0])
        measured, within = (value.value, value.within) if isinstance(value, About) else (value, within)
        if not abs(measured - number) <= within * (1 + 1e-6) + slack * abs(measured):
            wrong.append(f"{said[0]}, where {measured:.4g} was measured")
        said = said[1:]
    return f"{held.page}: “{fragment}” says " + ", and ".join(wrong) if wrong else ""


def unheld(text, entries, settings, exempt, of_rows=False):
    """Numbers that a page says of stored rows and no entry holds, each with the words around it."""
    found = []
    for block in blocks(text, of_rows):
        if not block.of_rows:
            continue
        whole = rest = squeeze(block.text)
        for form in [*(pattern(fragment) for fragment in [*entries, *exempt]), *map(re.compile, settings)]:
            for match in form.finditer(whole):
                rest = rest[: match.start()] + "_" * len(match[0]) + rest[match.end() :]
        for match in re.finditer(f"{NUMBER}|{SHARES}", rest, re.I):
            found.append(whole[max(0, match.start() - 40) : match.end() + 40])
    return found


def check(held, *outputs):
    """What is wrong with an entry; empty if nothing is."""
    try:
        found = held.says(*outputs)
    except (LookupError, ValueError) as error:
        return f"{held.page}: “{held.text}”: nothing was measured: {error}"
    return problem((BOOK / held.page).read_text(), held, found, ELSEWHERE if outputs else 0.0)


class Outputs:
    """What the cells of an executed chapter printed, line by line."""

    def __init__(self, notebook):
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        self.cells = [(cell.source, [line for out in cell.outputs for line in self._lines(out)]) for cell in code]

    @staticmethod
    def _lines(output):
        data = output.get("data", {})
        text = output.get("text", data.get("text/plain", ""))
        if "text/html" in data:  # a table: a line is a row of it
            text = re.sub(r"<style.*?</style>", "", data["text/html"], flags=re.S).replace("\n", " ")
            text = re.sub(r"<[^>]*>", " ", text.replace("</tr>", "\n"))
        return [squeeze(line) for line in text.splitlines() if line.strip()]

    def each(self, template, cell=""):
        """The numbers at {} in every line that has the template; * is anything. cell: a part of the cell's code."""
        wild = {"{}": r"([+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)", "*": ".*?"}
        search = re.compile("".join(wild.get(part, re.escape(part)) for part in re.split(r"(\{\}|\*)", template)))
        lines = [line for source, printed in self.cells if cell in source for line in printed]
        found = [match.groups() for line in lines for match in search.finditer(line)]
        if not found:
            raise LookupError(f"{template!r} was not printed in\n" + "\n".join(lines))
        return [[float(number.replace(",", "")) for number in numbers] for numbers in found]

    def __call__(self, template, cell=""):
        """The same of the one line that there must be: a number, or a list of several."""
        found = self.each(template, cell)
        if len(found) != 1:
            raise LookupError(f"{template!r} was printed {len(found)} times, once is needed")
        return found[0][0] if len(found[0]) == 1 else found[0]


def of(page, entries):
    return [each for each in entries if each.page == name(page)]


def printing(page):
    """What is said, here or on another page, of this page's cells."""
    return [held for held in CELLS if (held.cells or held.page) == name(page)]


@pytest.mark.parametrize("held", ROWS, ids=lambda held: f"{held.page.split('/')[1]}: {held.text[:40]}")
def test_what_the_prose_says_of_stored_rows_is_what_they_say(held):
    if wrong := check(held):
        pytest.fail(wrong, pytrace=False)


@pytest.mark.parametrize("page", [page for page in [*CHAPTERS, *AUDITS] if printing(page)], ids=name)
def test_what_the_prose_says_of_a_cell_is_what_it_prints(page, monkeypatch):
    for variable in ("PRIVLAB_DATA", "PRIVLAB_RESULTS", "PRIVLAB_CACHE"):
        monkeypatch.delenv(variable, raising=False)  # as where every chapter is executed, whose cache this reads
    printed = Outputs(build.execute(page))
    problems = [check(held, printed) for held in printing(page)]
    if wrong := "\n".join(filter(None, problems)):
        pytest.fail(wrong, pytrace=False)


@pytest.mark.parametrize("page", [*CHAPTERS, *AUDITS], ids=name)
def test_every_number_that_is_said_of_stored_rows_is_held_or_exempt(page):
    text = page.read_text()
    exempt = [fragment for where, _, fragments in EXEMPT if where == name(page) for fragment in fragments]
    missing = [fragment for fragment in exempt if len(pattern(fragment).findall(prose(text))) != 1]
    assert not missing, "an exemption that stands nowhere, or twice"
    left = unheld(text, [held.text for held in of(page, [*ROWS, *CELLS])], SETTINGS, exempt, page in AUDITS)
    if left:
        pytest.fail(f"{name(page)}: add an entry to tests/book/numbers.py for:\n" + "\n".join(left), pytrace=False)


PAGE = """---
kernelspec: {name: python3}
---

# A page of 12 lines

```{code-cell} ipython3
---
mystnb:
  figure:
    caption: A curve at 3.5 dB.
---
print("recall 0.4321")
```

Recall is 0.43, about half of 0.9, at $10^{-4}$.

## The paper and here

```{code-cell} ipython3
studies.compare("a/b")
```

The paper prints 22 dB for a batch of
100; ours is 21.3, a third less. Half of the images are named.
"""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Recall is {}, about", 0.4321),
        ("ours is {}", 21.34),
        ("for a batch of {}; ours", 100.0),
        ("A curve at {} dB.", 3.46),
        ("at ${}$", 1.2e-4),
        ("ours is {}, a third less", (21.26, Between(0.35, 0.3, 0.4))),
        ("prints {} dB", About(22.7, 1)),
    ],
)
def test_a_right_number_passes(text, found):
    assert not problem(PAGE, Held("a.md", text, lambda: found), found)


@pytest.mark.parametrize(
    ("text", "found", "words"),
    [
        ("Recall is {}, about", 0.4251 - 0.001, "a.md: “Recall is 0.43, about” says 0.43, where 0.4241 was measured"),
        ("ours is {}", 21.36, "21.3, where 21.36 was measured"),
        ("ours is {}, a third less", (21.3, Between(0.5, 0.3, 0.4)), "0.5 was measured"),
        ("prints {} dB", About(23.7, 1), "23.7 was measured"),
        ("ours is {}", (21.3, 4.0), "another count"),
        ("Recall was {}", 0.43, "stands 0 times"),
        ("{} dB", 22.0, "stands 2 times"),
        ("recall {}", 0.4321, "stands 0 times"),  # code is no prose
    ],
)
def test_a_number_that_drifted_and_a_fragment_that_is_not_there_once_fail(text, found, words):
    assert words in problem(PAGE, Held("a.md", text, lambda: found), found)


def test_an_entry_of_which_nothing_was_measured_fails_and_is_named():
    page = CELLS[0].page
    for says in (lambda out: out("nowhere {}"), lambda out: [].index(0)):
        assert f"{page}: “a {{}}”: nothing was measured" in check(
            Held(page, "a {}", says), Outputs(nbformat.v4.new_notebook())
        )


@pytest.mark.parametrize(
    ("said", "number", "half"),
    [("0.43", 0.43, 0.005), ("12,500", 12500, 0.5), ("10^{-4}", 1e-4, 5e-5), ("2 \\cdot 10^{-13}", 2e-13, 5e-14),
     ("4·10⁻⁹", 4e-9, 5e-10), ("1.9 \\times 10^{-4}", 1.9e-4, 5e-6), ("10^4", 1e4, 5e3), ("100", 100, 0.5)],
)  # fmt: skip
def test_numbers_are_read_as_they_are_printed(said, number, half):
    assert re.fullmatch(NUMBER, said)
    assert read(said) == pytest.approx((number, half))


def test_a_new_number_beside_stored_rows_needs_an_entry():
    def left(*entries):
        return unheld(PAGE, entries, [r"batch of \d+"], [])

    assert len(left()) == 3  # the printed 22, ours and the half; what precedes the section is not of rows
    ours, half = left("The paper prints {} dB")
    assert "ours is 21.3" in ours
    assert "Half of" in half
    assert not left("The paper prints {} dB", "ours is {}", "Half of the images")
    everywhere = unheld(PAGE, [], [r"batch of \d+"], [], of_rows=True)  # in an audit
    assert any("0.43" in each for each in everywhere)
    assert len(everywhere) > 3


def test_numbers_are_found_in_what_cells_print():
    cell = nbformat.v4.new_code_cell("look(layers)")
    table = "<style>td {x: 1}</style><tr><th>honest</th>\n<td>0.055</td></tr>\n<tr><th>trap</th><td>0.026</td></tr>"
    cell.outputs = [
        nbformat.v4.new_output("stream", text="b = 1.0: accuracy 95% | 12.1 dB\nb = 2.0: accuracy 90% | 9e-05 dB\n"),
        nbformat.v4.new_output("display_data", {"text/html": table, "text/plain": "Styler"}),
    ]
    out = Outputs(nbformat.v4.new_notebook(cells=[cell]))
    assert out("b = 1.0: accuracy {}% | {} dB") == [95, 12.1]
    assert out("b = 2.0*| {} dB") == 9e-5
    assert out("trap {}", cell="look") == 0.026
    assert out.each("accuracy {}%") == [[95], [90]]
    with pytest.raises(LookupError, match="2 times, once is needed"):
        out("accuracy {}%")
    with pytest.raises(LookupError, match="was not printed"):
        out("nowhere {}")
