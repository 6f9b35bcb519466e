"""The sentences on identification: each can hold, fail and be left open by rows made for it."""

import itertools

import pytest

from privlab.studies import Table
from privlab.studies.bench.sentence import UNDECIDED
from privlab.studies.linkability import figure_5, figure_6, figure_9, hand, users
from tests.studies.sentences import Case, badly_put, judged, made, of, wide

STUDIES = {
    f"linkability/{name}" for name in ("table-4", "table-6", "figure-5", "figure-6", "figure-9", "users", "hand")
}
ATTACKS = ("svm", "knn", "mlp")
LOW = {"ap": 0.08, "times_random": 1.0, "times_strangers": 1.0}  # of what a sentence is not about


def attacks(study, data, rest, **particular):
    """Numbers of each attack, `particular` or of the rest; random scores have little."""
    changes = [({"attack": attack}, {**LOW, **particular.get(attack, rest)}) for attack in ATTACKS]
    return made(study, data, LOW, *changes)


def times(value):
    return {"times_random": value}


def ap(value):
    return {"ap": value}


def far_above(study, text, data, limit, splits):
    """Three attacks, so many times as good as random scores."""

    def table(rest, **particular):
        return attacks(study, data, times(rest), **{name: times(value) for name, value in particular.items()})

    def named(*chosen):
        return {f"{attack}, {split}" for attack in chosen for split in splits}

    return Case(
        study,
        text,
        holds=[table(limit + 1), table(limit + 0.1)],
        fails=[table(limit - 1)],
        unsure=[table(limit + 1, **{attack: wide(limit + 0.05, limit)}) for attack in ATTACKS],
        depends=(table(limit + 1, svm=limit - 1), named("knn", "mlp"), named("svm")),
    )


def close(study, text):
    """k-NN at 0.9 of the better of the two others."""

    def table(*values):
        return attacks(study, "digits", {}, **dict(zip(("svm", "mlp", "knn"), map(ap, values), strict=True)))

    return Case(
        study,
        text,
        holds=[table(0.4, 0.5, 0.46), table(0.5, 0.4, 0.6)],
        fails=[table(0.4, 0.5, 0.44), table(0.5, 0.4, 0.44)],
        unsure=[table(0.4, 0.5, wide(0.455, 0.45))],
    )


def best(study, text):
    """The network against two others."""

    def table(mlp, **others):
        return attacks(study, "digits", ap(0.5), mlp=ap(mlp), **{name: ap(value) for name, value in others.items()})

    return Case(
        study,
        text,
        holds=[table(0.52)],
        fails=[table(0.48)],
        unsure=[table(0.52, svm=wide(0.515, 0.52)), table(0.52, knn=wide(0.515, 0.52))],
        depends=(table(0.52, svm=0.6), {"knn, random"}, {"svm, random"}),
    )


def patients(late, **early):
    """Each attack's precision by what was sent first, and in a random half; a tenth that of times random."""
    changes = [({"split": "chronological"}, {**LOW, **late})]
    changes += [({"split": "random", "attack": name}, {**LOW, "ap": value}) for name, value in early.items()]
    return made("linkability/table-4", "mitbih", LOW, *changes)


def layers(rest, metric="ap", **particular):
    """The network's precision on each layer."""
    changes = [({"layer": layer}, {metric: value}) for layer, value in particular.items()]
    return made("linkability/figure-5", "digits", {**LOW, metric: rest}, *changes)


def seen(*values, metric="ap", data="digits"):
    """After 1, 2, 3, 5 and all updates of a user."""
    changes = [({"observed": count}, {metric: value}) for count, value in zip(figure_6.OBSERVED, values, strict=False)]
    return made("linkability/figure-6", data, LOW, *changes)


def ranges(rest, *changes):
    """The precision in all pairs of ranges, and in some."""
    own = [(dict(zip(("trained", "asked"), place, strict=True)), ap(value)) for place, value in changes]
    own = [({name: value for name, value in cell.items() if value is not None}, number) for cell, number in own]
    return made("linkability/figure-9", "digits", ap(rest), *own)


def sizes(metric, *values, knn=None):
    """A metric for 5, 10, 20 and 40 users; the neighbours have that of the network unless given."""
    changes = []
    for attack, own in (("mlp", values), ("knn", knn or values)):
        changes += [({"users": n, "attack": attack}, {metric: v}) for n, v in zip(users.USUAL, own, strict=True)]
    return made("linkability/users", "digits", {}, *changes)


STEPS = [f"{few} to {many}" for few, many in itertools.pairwise(users.USUAL)]


def made_users(knob, *values, metric="ap", **rest):
    """Made users who differ in one thing, from nothing on; those who differ in both have the most."""
    places = {"strength": hand.STRENGTHS, "preference": hand.PREFERENCES}[knob]
    changes = [
        ({**hand.NOTHING, knob: place, "control": "none"}, {metric: value})
        for place, value in zip(places, values, strict=False)
    ]
    return made("linkability/hand", "digits", {**LOW, **rest}, *changes)


def controls(none, control, value, data="digits"):
    """How far above chance without a control, and under one; all others have nothing."""
    both = hand.BOTH if data == "digits" else {}
    changes = [
        ({**both, "control": name}, {"times_strangers": each}) for name, each in (("none", none), (control, value))
    ]
    return made("linkability/hand", data, LOW, *changes)


def mostly(text, control):
    return Case(
        "linkability/hand",
        text,
        holds=[controls(5, control, 3.1), controls(5, control, 3.1, "mnist-writers"), controls(5, control, 8)],
        fails=[controls(5, control, 2.9), controls(5, control, 2.9, "mitbih"), controls(5, control, 1)],
        unsure=[controls(5, control, wide(3.1, 3))],
    )


BLOCKS = [f"block {block}" for block in figure_5.BLOCKS]
LATE, EARLY = figure_9.LAST, figure_9.FIRST
LEARNED, ASKED, APART = "what is learned from", "what is asked about", "how far both are apart"
CASES = [
    far_above("linkability/table-6", "All attacks greatly", "mnist-writers", 10, ["random"]),
    close("linkability/table-6", "Even the most simple"),
    best("linkability/table-6", "MLP is the most effective"),
    far_above("linkability/table-4", "There is strong evidence", "mitbih", 5, ["random", "chronological"]),
    close("linkability/table-4", "even simple baselines"),
    best("linkability/table-4", "Of some tens of users too"),
    Case(
        "linkability/table-4",
        "The attack is highly effective",
        holds=[patients(times(11))],
        fails=[patients(times(9))],
        unsure=[patients(times(wide(10.1, 10)))],
        depends=(
            made(
                "linkability/table-4",
                "mitbih",
                {**LOW, "times_random": 9},
                ({"split": "chronological", "attack": "mlp"}, times(12)),
            ),
            {"mlp, chronological"},
            {"svm, chronological", "knn, chronological"},
        ),
    ),
    Case(
        "linkability/table-4",
        "A random split is easier",
        holds=[patients(ap(0.4), svm=0.5, knn=0.5, mlp=0.5)],
        fails=[patients(ap(0.6), svm=0.5, knn=0.5, mlp=0.5)],
        unsure=[patients(ap(0.4), svm=0.5, knn=wide(0.405, 0.4), mlp=0.5)],
        depends=(patients(ap(0.4), svm=0.5, knn=0.3, mlp=0.5), {"svm", "mlp"}, {"knn"}),
    ),
    Case(
        "linkability/figure-5",
        "all layers provide",
        holds=[layers(1.1, "times_strangers")],
        fails=[layers(0.9, "times_strangers")],
        unsure=[layers(1.1, "times_strangers", **{layer: wide(1.05, 1)}) for layer in figure_5.LAYERS],
        depends=(
            layers(1.1, "times_strangers", conv1=0.9, depth1=0.9),
            set(figure_5.LAYERS) - {"conv1", "depth1"},
            {"conv1", "depth1"},
        ),
    ),
    Case(
        "linkability/figure-5",
        "higher level layers",
        holds=[layers(0.3, depth1=0.2, point1=0.2, point2=0.6)],
        fails=[layers(0.3, depth1=0.4, point1=0.4)],
        unsure=[layers(0.3, depth1=0.2, point1=wide(0.295, 0.3)), layers(0.3, depth1=wide(0.295, 0.3), point1=0.2)],
        depends=(layers(0.3, depth1=0.2, point1=0.4), {"depthwise"}, {"pointwise"}),
    ),
    Case(
        "linkability/figure-5",
        "for two convolutional layers",
        holds=[layers(0.3, point1=0.4, point2=0.4, point3=0.4)],
        fails=[layers(0.3, point1=0.2, point2=0.2, point3=0.2)],
        unsure=[layers(0.3, point1=0.4, point2=wide(0.305, 0.3), point3=0.4)],
        depends=(layers(0.3, point1=0.4, point2=0.2, point3=0.4), {BLOCKS[0], BLOCKS[2]}, {BLOCKS[1]}),
    ),
    Case(
        "linkability/figure-5",
        "the final Fully Connected",
        holds=[layers(0.3, output=0.4)],
        fails=[layers(0.3, output=0.2)],
        unsure=[layers(0.3, output=0.4, **{layer: wide(0.395, 0.4)}) for layer in figure_5.LAYERS[:-1]],
        depends=(layers(0.3, output=0.4, fc1=0.5), set(figure_5.LAYERS) - {"fc1", "output"}, {"fc1"}),
    ),
    Case(
        "linkability/figure-6",
        "the adversary already achieves",
        holds=[seen(22, metric="times_random", data="mnist-writers")],
        fails=[seen(21, metric="times_random", data="mnist-writers")],
        unsure=[seen(wide(21.6, 21.5), metric="times_random", data="mnist-writers")],
    ),
    Case(
        "linkability/figure-6",
        "the adversary can perform",
        holds=[seen(0.1, 0.1, 0.1, 0.3, 0.5)],
        fails=[seen(0.4, 0.4, 0.4, 0.2, 0.5)],
        unsure=[seen(0.1, 0.1, 0.1, wide(0.255, 0.25), 0.5)],
    ),
    Case(
        "linkability/figure-6",
        "One observed update",
        holds=[seen(1.6, metric="times_strangers")],
        fails=[seen(1.4, 2, 2, 2, 2, metric="times_strangers")],
        unsure=[seen(wide(1.55, 1.5), metric="times_strangers")],
    ),
    Case(
        "linkability/figure-6",
        "The more updates of a user",
        holds=[seen(0.1, 0.2, 0.3, 0.4, 0.5)],
        fails=[seen(0.5, 0.4, 0.3, 0.2, 0.1)],
        unsure=[seen(0.1, wide(0.15, 0.1), 0.3, 0.4, 0.5), seen(0.1, 0.2, 0.3, 0.4, wide(0.45, 0.4))],
        depends=(seen(0.1, 0.2, 0.3, 0.4, 0.3), {"1 to 2", "2 to 3", "3 to 5"}, {"5 to all"}),
    ),
    Case(
        "linkability/figure-9",
        "the round t at which",
        holds=[ranges(0.5), ranges(0.5, ((2, 2), 0.1), ((EARLY, LATE), 0.48))],
        fails=[
            ranges(0.5, ((LATE, None), 0.3), ((None, LATE), 0.3), ((LATE, LATE), 0.1), ((EARLY, LATE), 0.03)),
        ],
        unsure=[
            ranges(0.5, ((LATE, None), (0.44, 0.452, 0.464))),
            ranges(0.5, ((None, LATE), (0.44, 0.452, 0.464))),
            ranges(0.5, ((EARLY, LATE), wide(0.42, 0.413)), ((LATE, EARLY), wide(0.495, 0.5))),
        ],
        depends=(ranges(0.5, ((LATE, None), 0.3)), {ASKED, APART}, {LEARNED}),
    ),
    Case(
        "linkability/users",
        "the absolute AP scores",
        holds=[sizes("ap", 0.5, 0.6, 0.6, 0.4)],
        fails=[sizes("ap", 0.5, 0.4, 0.4, 0.6)],
        unsure=[sizes("ap", 0.5, 0.4, 0.4, 0.4, knn=(0.5, 0.4, 0.4, wide(0.495, 0.5)))],
        depends=(sizes("ap", 0.5, 0.4, 0.4, 0.4, knn=(0.5, 0.4, 0.4, 0.6)), {"mlp"}, {"knn"}),
    ),
    Case(
        "linkability/users",
        "the increase over chance",
        holds=[sizes("times_random", 2, 1, 1, 3.2)],
        fails=[sizes("times_random", 2, 4, 4, 2.8)],
        unsure=[sizes("times_random", 2, 4, 4, wide(3.05, 3))],
        depends=(sizes("times_random", 2, 1, 1, 3.2, knn=(2, 4, 4, 2.8)), {"mlp"}, {"knn"}),
    ),
    Case(
        "linkability/users",
        "With each further step",
        holds=[sizes("times_strangers", 1, 2, 3, 4)],
        fails=[sizes("times_strangers", 4, 3, 2, 1)],
        unsure=[sizes("times_strangers", 1, 2, 3, wide(3.1, 3)), sizes("times_strangers", 1, wide(1.1, 1), 3, 4)],
        depends=(
            sizes("times_strangers", 1, 2, 3, 2.5),
            {f"{attack}, {step}" for attack in users.ATTACKS for step in STEPS[:2]},
            {f"{attack}, {STEPS[2]}" for attack in users.ATTACKS},
        ),
    ),
    Case(
        "linkability/hand",
        "Users who differ in nothing",
        holds=[made_users("strength", value, metric="times_strangers") for value in (1.1, 0.7, 1.4)],
        fails=[made_users("strength", 1.6, metric="times_strangers")],
        unsure=[made_users("strength", wide(1.4, 1.5), metric="times_strangers")],
    ),
    Case(
        "linkability/hand",
        "The further users' hands",
        holds=[made_users("strength", 0.1, 0.2, 0.3, 0.4)],
        fails=[made_users("strength", 0.4, 0.3, 0.2, 0.1)],
        unsure=[made_users("strength", 0.1, 0.2, wide(0.21, 0.2), 0.4)],
        depends=(made_users("strength", 0.1, 0.2, 0.3, 0.2), {"0 to 0.5", "0.5 to 1"}, {"1 to 2"}),
    ),
    Case(
        "linkability/hand",
        "The stronger users' likes",
        holds=[made_users("preference", 0.1, 0.2, 0.3)],
        fails=[made_users("preference", 0.3, 0.2, 0.1)],
        unsure=[made_users("preference", 0.1, wide(0.11, 0.1), 0.3)],
        depends=(made_users("preference", 0.1, 0.2, 0.1), {"0 to 1"}, {"1 to 0.3"}),
    ),
    mostly("Of the hand alone", "equal mix"),
    mostly("Of the labels alone", "shuffled"),
    Case(
        "linkability/hand",
        "Who knows the label counts",
        holds=[controls(1, "labels only", 2.1), controls(1, "labels only", 2.1, "omniglot")],
        fails=[controls(5, "labels only", 1.9)],
        unsure=[controls(5, "labels only", wide(2.1, 2))],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_sentence_holds_fails_or_cannot_be_told(case):
    assert not case.wrong()


def test_every_sentence_is_tried_once_for_each_verdict():
    assert judged(CASES) == sorted(pair for pair in of("linkability") if pair[0] in STUDIES)
    assert not {case.text: case.untried() for case in CASES if case.untried()}


def test_sentences_are_short_and_say_once_in_which_settings_they_were_tested():
    assert not badly_put("linkability")


def test_the_rounds_of_a_pair_of_ranges_that_was_not_measured_are_not_spoken_of():
    table = ranges(0.5)
    rows = [row for row in table.rows if row["cell"]["trained"] != LATE]
    case = next(case for case in CASES if case.study == "linkability/figure-9")
    assert case.outcomes(Table(rows)) == {LEARNED: None, ASKED: None, APART: None}


def test_half_of_what_is_above_chance_is_judged_in_pairs_of_draws():
    """Draws that differ much: each pair alone shows the same."""
    table = controls([3, 5, 9], "equal mix", [2.2, 3.2, 5.2])
    case = next(case for case in CASES if case.text == "Of the hand alone")
    assert case.outcomes(table) == {"": True}
    table = controls([3, 5, 9], "equal mix", [5.2, 3.2, 2.2])
    assert case.outcomes(table) == {"": UNDECIDED}
