"""The sentences about DAGER: each can hold, fail and be left open by rows made for it; and what its cells measure."""

import pytest
import torch

from privlab import studies
from privlab.studies.beyond import dager
from tests.studies.beyond.cases_of_dager import CASES, STUDY
from tests.studies.sentences import badly_put, judged, of


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_sentence_holds_fails_or_cannot_be_told(case):
    assert not case.wrong()


def test_every_sentence_is_tried_once_for_each_verdict():
    assert judged(CASES) == sorted(each for each in of("beyond") if each[0] == STUDY)
    assert not {case.text: case.untried() for case in CASES if case.untried()}


def test_sentences_are_short_and_say_once_in_which_settings_they_were_tested():
    assert not badly_put("beyond")


@pytest.mark.parametrize("changes", [{}, {"defence": "local_steps", "steps": 1}, {"loss": "last word", "tokens": 6}])
def test_a_cell_below_the_wall_gives_all_sentences_and_one_beyond_it_none(changes):
    cell = {"data": "manual", "batch": 2, "width": 32, "tokens": 6, "loss": "next word", "defence": "none", **changes}
    found = dager.run(cell, 7, torch.device("cpu"))
    assert (found["exact"], found["predicted"], found["false_claims"], found["rank"] > 9) == (1, 1, 0, True)
    beyond = dager.run({**cell, "batch": 8}, 7, torch.device("cpu"))
    assert (beyond["exact"], beyond["predicted"], beyond["certified"]) == (0, 0, 0)


def test_every_cell_has_a_defence_that_is_measured():
    cells = studies.get(STUDY).cells("manual")
    assert len({tuple(sorted(each.items())) for each in cells}) == len(cells)
    assert {each["defence"] for each in cells} == {
        *("none", "noise", "dp_sgd", "pruning", "local_steps", "secure_sum"),
    }
