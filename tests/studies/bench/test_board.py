"""The scoreboard as HTML: a mark for each printed value that leads to its row; sentences, those that depend first."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from privlab import studies
from privlab.studies.bench import board, sentence, verdict

RESULTS = Path(__file__).resolve().parents[3] / "results"


class Balanced(HTMLParser):
    """Sees that every element is closed."""

    def __init__(self, text):
        super().__init__()
        self.open = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        if tag not in ("path", "circle", "rect", "use"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("path", "circle", "rect", "use"):
            assert self.open.pop() == tag


@pytest.fixture(scope="module")
def comparisons():
    return {name: studies.compare(study, studies.Store(study, RESULTS)) for name, study in studies.STUDIES.items()}


@pytest.fixture(scope="module")
def values(comparisons):
    return studies.values(comparisons)


def test_each_mark_leads_to_a_row_of_its_own(values):
    picture, tables = board.picture(values), board.tables(values)
    aims = re.findall(r'href="#(value-[^"]+)"', picture)
    assert len(aims) == len(set(aims)) == 649
    assert set(aims) == set(re.findall(r'<tr id="([^"]+)"', tables))
    for text in (picture, tables, board.legend(values)):
        Balanced(text)


def test_a_mark_is_that_of_its_rows_verdict(values):
    tables = board.tables(values)
    for place, value in enumerate(values):
        row = re.search(rf'<tr id="value-{value.printed.paper}-{place}">(.*?)</tr>', tables).group(1)
        assert f"mark-{board.slug(value.verdict)}" in row
        assert value.verdict in row
        assert value.printed.metric.replace("_", " ") in row


def test_every_verdict_has_a_shape_of_its_own_and_a_meaning():
    assert set(verdict.VERDICTS) <= board.MARKS.keys() == board.MEANING.keys()
    assert len(set(board.MARKS.values())) == len(board.MARKS)


def test_the_legend_counts_the_marks(values):
    counts = [int(n) for n in re.findall(r"<b>(\d+)</b>", board.legend(values))]
    assert sum(counts) == 649


def test_an_agreement_at_a_smaller_scale_has_another_mark():
    assert board.slug("agrees (reduced, two draws)") == "agrees-reduced"
    assert board.slug("agrees (two draws)") == "agrees"
    assert board.slug("same ordering (stand-in)") == "same-ordering"


def test_sentences_that_depend_come_first_and_ours_are_no_quotations(comparisons):
    found = [each for comparison in comparisons.values() for each in comparison.sentences]
    for ours in (False, True):
        text = board.sentences(found, ours=ours)
        Balanced(text)
        order = re.findall(r'<b class="verdict">([^<]+)</b>', text)
        assert order == sorted(order, key=sentence.VERDICTS.index)
        assert len(order) == sum(each["ours"] == ours for each in found)
        assert ("“" in text) != ours
    assert len(re.findall("board-sentence", board.sentences(found))) == len(found)


def test_what_a_paper_says_is_shown_as_text():
    made = {
        "study": "made/up",
        "claim": "a < b & c",
        "source": "s. 1",
        "ours": False,
        "tested": "x > y",
        "verdict": "holds",
        "where": {"holds": ["<b>"]},
        "stand_ins": {},
    }
    text = board.sentences([made])
    assert "a &lt; b &amp; c" in text
    assert "&lt;b&gt;" in text
