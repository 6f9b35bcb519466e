"""The sentences on people's data and their task: each can hold, fail and be left open by rows made for it."""

import pytest

from privlab.studies.bench.sentence import UNDECIDED
from privlab.studies.linkability import figure_3, figure_4, figure_8
from tests.studies.sentences import Case, badly_put, judged, ladder, made, of, wide, with_one

STUDIES = {f"linkability/{name}" for name in ("figure-3", "figure-4", "figure-7", "figure-8")}
STUDIES |= {f"linkability/{name}" for name in ("table-3", "table-5", "table-7")}


def people(value, data="digits", metric="ratio"):
    """Of made users those of strength 1; the others speak against it."""
    other = {"ratio": 1.5 - value, "ratio_of_a_class": 1.5 - value} if isinstance(value, float) else {}
    rest = {"ratio": 1.0, "ratio_of_a_class": 1.0, **other}
    return made("linkability/figure-3", data, rest, ({"strength": 1.0} if data == "digits" else {}, {metric: value}))


def nearer(text, limit, metric, *data):
    """A ratio of distances below a limit."""
    return Case(
        "linkability/figure-3",
        text,
        holds=[people(limit - 0.01, name, metric) for name in data],
        fails=[people(limit + 0.01, name, metric) for name in data],
        unsure=[people(wide(limit - 0.01, limit), name, metric) for name in data],
    )


def apart(steps, start=0.99):
    cells = [{"strength": strength} for strength in figure_3.STRENGTHS]
    return made("linkability/figure-3", "digits", {}, *ladder(cells, "ratio", steps, start))


def made_apart(values):
    changes = [({"strength": at}, {"ratio": value}) for at, value in zip(figure_3.STRENGTHS, values, strict=True)]
    return made("linkability/figure-3", "digits", {}, *changes)


SPLITS = ("random", "chronological")


def tasks(changes, rest=0.5, data="mitbih"):
    """Mean precision over classes by method, or by method and split."""
    cells = [({"method": each} if isinstance(each, str) else {"method": each[0], "split": each[1]}) for each in changes]
    numbers = [{"utility": value} for value in changes.values()]
    return made("linkability/table-3", data, {"utility": rest}, *zip(cells, numbers, strict=True))


def fractions(few=(0.5, 0.8), more=(1.0, 0.7), everyone=(1.0, 0.7)):
    """Loss and accuracy after as many updates, of a tenth, a half and all; after as many rounds it is the other way."""
    names = ("loss_sent", "utility_sent")
    changes = [
        ({"fraction": fraction}, dict(zip(names, values, strict=True)))
        for fraction, values in zip(figure_4.FRACTIONS, (few, more, everyone), strict=True)
    ]
    return made("linkability/figure-4", "mitbih", {"loss": 0.5, "utility": 0.1}, *changes)


SENT = [f"{name}, C = {fraction}" for name in ("loss", "accuracy") for fraction in ("0.5", "1")]


def rounds(few, more=0.5, everyone=0.5):
    changes = [
        ({"fraction": fraction}, {"loss": value})
        for fraction, value in zip(figure_4.FRACTIONS, (few, more, everyone), strict=True)
    ]
    return made("linkability/figure-4", "digits", {"loss_sent": 0.0, "loss": 0.0}, *changes)


def maps(metric, updates, images=0.5):
    rest = {"agreement": 0.2, "within": 0.9, "agreement_of_devices": 0.2}
    changes = (figure(shown, {metric: value}) for shown, value in (("updates", updates), ("images", images)))
    return made("linkability/figure-7", "omniglot", rest, *changes)


def figure(shown, numbers):
    return {"shown": shown}, numbers


def half(text, metric):
    return Case(
        "linkability/figure-7",
        text,
        holds=[maps(metric, 0.6), maps(metric, 0.6, 0.9)],
        fails=[maps(metric, 0.4, 0.9)],
        unsure=[maps(metric, wide(0.55, 0.5), 0.9)],
    )


def sets(values, other=0.1, update=0.9, data="digits"):
    """Precision of means of 1, 2, 4, 8 and 16 images, of 16 images' maximum, and of updates of the same devices.

    Updates of other numbers of users, and by other attacks, speak against what is expected.
    """
    changes = [
        ({"aggregate": "mean", "images": size}, {"ap": value})
        for size, value in zip(figure_8.SIZES, values, strict=True)
    ]
    changes.append(({"aggregate": "max", "images": figure_8.SIZES[-1]}, {"ap": other}))
    users = {"digits": 20, "mnist-writers": 100}[data]
    changes.append(({"attack": "mlp", "layer": "output", "users": users}, {"ap": update}))
    return made("linkability/figure-8", data, {"ap": 0.3}, *changes)


def climbing(*steps):
    """Means whose precision rises by so much at each doubling."""
    return sets([0.1 + sum(steps[:place]) for place in range(5)])


STEPS = [f"{few} to {more}" for few, more in zip(figure_8.SIZES, figure_8.SIZES[1:], strict=False)]


def images(study, data, image, update=5.0):
    """How many times random the network on images is, and that on updates of the same devices; by split or in all."""
    changes = []
    for attack, given in (("image", image), ("mlp", update)):
        by_split = given if isinstance(given, dict) else {"": given}
        for split, value in by_split.items():
            where = {"split": split} if split else {}
            layer = {"layer": "output"} if attack == "mlp" else {}
            changes.append(({"attack": attack, **layer, **where}, {"times_random": value}))
    return made(study, data, {"times_random": 1.0}, *changes)


def by_split(one, other):
    return dict(zip(SPLITS, (one, other), strict=True))


CASES = [
    nearer("intra-user", 0.8, "ratio", "digits", "omniglot"),
    nearer("A person's", 0.99, "ratio", "digits", "mitbih"),
    nearer("Of the same class", 0.99, "ratio_of_a_class", "digits", "mnist-writers"),
    Case(
        "linkability/figure-3",
        "The further apart",
        holds=[apart([-0.02, -0.02]), apart([-0.5, -0.02])],
        fails=[apart([-0.005, 0.0]), apart([0.1, 0.1])],
        unsure=[
            made_apart([wide(0.515, 0.51), 0.5, 0.4]),
            made_apart([0.9, wide(0.515, 0.51), 0.5]),
        ],
        depends=(apart([-0.1, 0.1]), {"0 to 1"}, {"1 to 2"}),
    ),
    Case(
        "linkability/table-3",
        "the decentralized learning",
        holds=[tasks({"federated": 0.46, "central": 0.5, "knn": 0.9}), tasks({"federated": 0.6}, data="digits")],
        fails=[tasks({"federated": 0.44, "central": 0.5, "knn": 0.1})],
        unsure=[tasks({"federated": wide(0.46, 0.45), "central": 0.5})],
        depends=(
            tasks({("federated", "random"): 0.46, ("federated", "chronological"): 0.4}),
            {"random"},
            {"chronological"},
        ),
    ),
    Case(
        "linkability/table-3",
        "the baselines",
        holds=[tasks({"federated": 0.9, "knn": 0.4, "chance": 0.1, "central": 0.5})],
        fails=[tasks({"federated": 0.9, "knn": 0.5, "chance": 0.5})],
        unsure=[
            tasks({"federated": 0.9, "knn": 0.4, "chance": 0.1, low: wide(0.43, 0.45)}) for low in ("knn", "chance")
        ],
        depends=(
            tasks({"federated": 0.9, "knn": 0.8, "chance": 0.1}),
            {f"chance, {split}" for split in SPLITS},
            {f"k-NN, {split}" for split in SPLITS},
        ),
    ),
    Case(
        "linkability/figure-4",
        "C = 0.1 provides",
        holds=[fractions(), fractions((0.99, 0.695), (1.0, 0.7), (1.1, 0.7))],
        fails=[fractions((1.1, 0.6))],
        unsure=[
            fractions((0.5, 0.8), (wide(0.51, 0.5), 0.7)),
            fractions((0.5, 0.8), (1.0, wide(0.8, 0.81))),
            fractions((0.5, 0.8), everyone=(wide(0.51, 0.5), 0.7)),
            fractions((0.5, 0.8), everyone=(1.0, wide(0.8, 0.81))),
        ],
        depends=(fractions((0.5, 0.6)), set(SENT[:2]), set(SENT[2:])),
    ),
    Case(
        "linkability/figure-4",
        "After as many rounds",
        holds=[rounds(0.59), rounds(0.4)],
        fails=[rounds(0.61), rounds(0.9, 0.7, 0.7)],
        unsure=[rounds(0.59, wide(0.5, 0.49)), rounds(0.59, 0.5, wide(0.5, 0.49))],
        depends=(rounds(0.59, 0.5, 0.4), {"C = 0.5"}, {"C = 1"}),
    ),
    half("distinctiveness", "agreement"),
    half("A cluster holds", "agreement_of_devices"),
    Case(
        "linkability/figure-7",
        "the images exhibit",
        holds=[maps("within", 0.3, 0.41)],
        fails=[maps("within", 0.3, 0.39), maps("within", 0.5, 0.2)],
        unsure=[maps("within", 0.3, wide(0.41, 0.4))],
    ),
    Case(
        "linkability/figure-8",
        "classification AP",
        holds=[climbing(0.01, 0.1, 0.02, 0.01)],
        fails=[climbing(-0.01, -0.01, -0.01, -0.01), climbing(-0.1, *[-0.01] * 3)],
        unsure=[
            sets([wide(0.1 * at + 0.195, 0.1 * at + 0.2) if place == at else 0.1 + 0.1 * place for place in range(5)])
            for at in range(4)
        ],
        depends=(climbing(*with_one(4, 0.1, 3, -0.1)), set(STEPS[:3]), {STEPS[3]}),
    ),
    Case(
        "linkability/figure-8",
        "this occurs",
        holds=[sets([0.1, 0, 0, 0, 0.2], 0.2)],
        fails=[sets([0.2, 0.9, 0.9, 0.9, 0.1], 0.1)],
        unsure=[sets([0.2, 0, 0, 0, wide(0.21, 0.2)], 0.9), sets([0.2, 0, 0, 0, 0.9], wide(0.21, 0.2))],
        depends=(sets([0.2, 0, 0, 0, 0.9], 0.1), {"mean"}, {"max"}),
    ),
    Case(
        "linkability/figure-8",
        "the performance eventually",
        holds=[sets([0.1, 0.2, 0.3, 0.79, 0.8], update=0.85), sets([0, 0, 0, 0.5, 0.5], 0, 0.5, "mnist-writers")],
        fails=[sets([0.1, 0.2, 0.3, 0.7, 0.8], update=0.95), sets([0, 0, 0, 0.9, 0.1], update=0.2)],
        unsure=[
            sets([0, 0, 0, wide(0.79, 0.78), 0.8], update=0.1),
            sets([0, 0, 0, 0.8, 0.8], update=wide(0.88, 0.889)),
        ],
        depends=(sets([0, 0, 0, 0.79, 0.8], update=0.95), {"the last doubling"}, {"beside updates"}),
    ),
    Case(
        "linkability/table-5",
        "raw image pixels",
        holds=[images("linkability/table-5", "mitbih", 1.6, 0.5), images("linkability/table-5", "digits", 9.0)],
        fails=[images("linkability/table-5", "mitbih", 1.4)],
        unsure=[images("linkability/table-5", "mitbih", by_split(1.6, wide(1.55, 1.5)))],
        depends=(images("linkability/table-5", "mitbih", by_split(1.6, 1.4)), {SPLITS[0]}, {SPLITS[1]}),
    ),
    Case(
        "linkability/table-5",
        "update-based",
        holds=[images("linkability/table-5", "mitbih", 4.9), images("linkability/table-5", "omniglot", 2.0)],
        fails=[images("linkability/table-5", "mitbih", 5.1)],
        unsure=[images("linkability/table-5", "mitbih", by_split(4.0, wide(4.9, 5.0)))],
        depends=(
            images("linkability/table-5", "mitbih", 4.0, by_split(5.0, 3.0)),
            {SPLITS[0]},
            {SPLITS[1]},
        ),
    ),
    Case(
        "linkability/table-7",
        "All attack models",
        holds=[images("linkability/table-7", "mnist-writers", 25.1, 1.0)],
        fails=[images("linkability/table-7", "mnist-writers", 24.9, 99.0)],
        unsure=[images("linkability/table-7", "mnist-writers", wide(26.0, 25.0))],
    ),
    Case(
        "linkability/table-7",
        "this task is",
        holds=[images("linkability/table-7", name, 4.9) for name in ("mnist-writers", "digits")],
        fails=[images("linkability/table-7", "digits", 5.1)],
        unsure=[images("linkability/table-7", "digits", wide(4.9, 5.0))],
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


def test_images_are_compared_with_updates_of_their_own_draw_and_devices():
    """Of draws that differ much each pair shows the same."""
    case = next(case for case in CASES if case.text == "this task is")
    assert case.outcomes(images(case.study, "digits", [2.0, 4.0, 9.0], [3.0, 5.0, 10.1])) == {"random": True}
    assert case.outcomes(images(case.study, "digits", [2.0, 4.0, 9.0], [10.1, 5.0, 3.0])) == {"random": UNDECIDED}


def test_without_the_rows_beside_nothing_is_said_of_them():
    for text, left in (("update-based", None), ("the performance eventually", True)):
        case = next(case for case in CASES if case.text == text)
        table = case.holds[0]
        alone = type(table)([row for row in table.rows if "rounds" not in row["cell"]])
        assert list(case.outcomes(alone).values())[:1] == [left]
        assert None in case.outcomes(alone).values()
