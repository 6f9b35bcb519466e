"""The sentences on the talk's questions: each can hold, fail and be left open by rows made for it."""

import pytest

from privlab.studies import Table
from privlab.studies.bench.sentence import UNDECIDED
from privlab.studies.talk import dp_sgd
from tests.studies.sentences import Case, badly_put, judged, made, of, wide
from tests.studies.talk import cases_of_attacks, cases_of_defences, cases_of_scale

EVERY = {*dp_sgd.READERS, "membership"}


def attacked(noise, rest, *changes, plain=0.9):
    """What each attack gets without noise and with such, where a guess gets a tenth: half of the gain is 0.5."""
    own = [({"attack": attack, "noise": noise}, {"success": value}) for attack, value in changes]
    settings = [({"noise": 0.0}, {"success": plain, "blind": 0.1}), ({"noise": noise}, {"success": rest})]
    return made("talk/dp-sgd", "mnist", {"success": 0.7, "blind": 0.1}, *settings, *own)


def stops(text, noise, attacks):
    """A sentence that a noise stops each of some attacks."""
    some = {"labels", "dlg"}
    return Case(
        "talk/dp-sgd",
        text,
        holds=[attacked(noise, 0.48), attacked(noise, 0.1), attacked(noise, 0.05)],
        fails=[attacked(noise, 0.52), attacked(noise, 0.95)],
        unsure=[attacked(noise, 0.3, (attack, wide(0.475, 0.5))) for attack in sorted(attacks)],
        depends=(attacked(noise, 0.52, *((attack, 0.48) for attack in some)), some, attacks - some),
    )


def costs(scheme, metric, than, value):
    """The other scheme costs 100; all others 300, which is more than twice as much and less than ten times."""
    other = ({"scheme": than}, {metric: (100.0, 101.0, 99.0)})
    return made("talk/sums", "mnist", {metric: 300.0}, other, ({"scheme": scheme}, {metric: value}))


def dearer(text, scheme, metric, than):
    low, high = ({"scheme": scheme, "clients": count} for count in (3, 5))
    other = ({"scheme": than}, {metric: (100.0, 101.0, 99.0)})
    split = made("talk/sums", "mnist", {metric: 300.0}, other, (low, {metric: 230.0}), (high, {metric: 170.0}))
    return Case(
        "talk/sums",
        text,
        holds=[costs(scheme, metric, than, 210.0)],
        fails=[costs(scheme, metric, than, 190.0)],
        unsure=[costs(scheme, metric, than, wide(210.0, 200.0))],
        depends=(split, {"3 clients"}, {"5 clients"}),
    )


def errors(rest, *changes):
    own = [({"scheme": scheme}, {"relative_error": value}) for scheme, value in changes]
    plain = ({"scheme": "plain"}, {"relative_error": 1.0})
    return made("talk/sums", "mnist", {"relative_error": rest}, plain, *own)


SPOILT = (1.2e-3, 1.3e-3, 1.25e-3)
SPOILED = ("masks", SPOILT), ("shares", SPOILT), ("ciphertexts", SPOILT)
FINE = (8e-4, 8.1e-4, 7.9e-4)

CASES = [
    stops("A noise multiplier of 1", 1.0, EVERY),
    stops("A tenth of it", 0.1, set(dp_sgd.READERS)),
    dearer("Communication overhead", "shares", "bytes", "plain"),
    dearer("Computational overhead", "ciphertexts", "seconds", "plain"),
    dearer("Ciphertexts take longer", "ciphertexts", "seconds", "masks"),
    Case(
        "talk/sums",
        "A sum of updates loses nothing",
        holds=[errors(FINE)],
        fails=[errors(FINE, *SPOILED)],
        unsure=[errors(FINE, ("masks", (9e-4, 1.2e-3, 8.5e-4)))],
        depends=(
            errors(FINE, ("shares", SPOILT)),
            {f"{each}, {count} clients" for each in ("masks", "ciphertexts") for count in (3, 5)},
            {f"shares, {count} clients" for count in (3, 5)},
        ),
    ),
]

EVERY_CASE = [*CASES, *cases_of_attacks.CASES, *cases_of_defences.CASES, *cases_of_scale.CASES]


@pytest.mark.parametrize("case", EVERY_CASE, ids=str)
def test_a_sentence_holds_fails_or_cannot_be_told(case):
    assert not case.wrong()


def test_every_sentence_is_tried_once_for_each_verdict():
    assert judged(EVERY_CASE) == sorted(of("talk"))
    assert not {case.text: case.untried() for case in EVERY_CASE if case.untried()}


def test_sentences_are_short_and_say_once_in_which_settings_they_were_tested():
    assert not badly_put("talk")


def test_what_is_left_is_told_by_the_draw():
    table = attacked(1.0, [0.2, 0.5, 0.8], plain=[0.9, 0.7, 0.9])
    assert dp_sgd.stopped(table, "dlg", 1.0) == pytest.approx([0.3, -0.1, -0.3], abs=2e-3)
    short = Table([row for row in table.rows if row["cell"]["noise"] or row["seed"]])
    assert dp_sgd.stopped(short, "dlg", 1.0) == pytest.approx([-0.1, -0.3], abs=2e-3)
    assert dp_sgd.stopped(Table([row for row in table.rows if row["cell"]["noise"]]), "dlg", 1.0) == []


def test_an_attack_that_gains_next_to_nothing_is_not_said_to_be_stopped():
    case = CASES[0]
    assert dp_sgd.stopped(attacked(1.0, 0.1, plain=[0.15, 0.18, 0.19]), "labels", 1.0) == []
    assert case.outcomes(attacked(1.0, 0.1, plain=[0.15, 0.18, 0.19])) == dict.fromkeys(EVERY, None)
    assert case.outcomes(attacked(1.0, 0.1, plain=[0.15, 0.5, 0.5])) == dict.fromkeys(EVERY, UNDECIDED)
