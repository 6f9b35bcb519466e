"""Four chapters answer eight questions of understanding each, in sentences that stand in them."""

import pytest

from .pages import BOOK
from .questions import QUESTIONS

ASKED = [(page, question, said) for page, questions in QUESTIONS.items() for question, said in questions]


@pytest.mark.parametrize(("page", "question", "said"), ASKED, ids=lambda each: each if isinstance(each, str) else "")
def test_a_chapter_says_what_answers_a_question(page, question, said):
    text = " ".join((BOOK / page).read_text().split())
    assert said, question
    for sentence in said:
        assert text.count(sentence) == 1, sentence


def test_there_are_eight_questions_for_each_of_four_chapters():
    assert [len(questions) for questions in QUESTIONS.values()] == [8, 8, 8, 8]
