"""The sentences on membership: each can hold, fail and be left open by rows made for it."""

import pytest

from privlab.studies.bench.sentence import UNDECIDED
from privlab.studies.membership import dp
from privlab.studies.membership.attacks import ATTACKS
from privlab.studies.membership.audit import EPSILONS
from privlab.studies.membership.defences import DEFENCES
from privlab.studies.membership.lira import SMALL, WHOLE
from tests.studies.sentences import Case, badly_put, judged, made, of, wide


def areas(count, best, others, **particular):
    """Areas under the curve online with so many references: of `best`, of the other attacks, and of one of these."""
    own = {"references": count, "online": True}
    values = {best: 0.7, **particular}
    changes = [({**own, "attack": attack}, values.get(attack, others)) for attack in ATTACKS]
    changes = [change for change in changes if not (change[0]["attack"] == "lira" and count == 4)]
    return made("membership/attacks", "digits", {"auc": 0.5}, *((cell, {"auc": value}) for cell, value in changes))


def leads(text, count, best, rival):
    return Case(
        "membership/attacks",
        text,
        holds=[areas(count, best, 0.69)],
        fails=[areas(count, best, 0.69, **{rival: 0.71})],
        unsure=[areas(count, best, 0.69, **{rival: wide(0.695, 0.7)})],
    )


def helped(*gains):
    own = {"references": 64, "online": True}
    changes = [({**own, "attack": attack}, {"auc": gain}) for attack, gain in zip(ATTACKS, gains, strict=True)]
    alone = ({"attack": "loss"}, {"auc": 0.6})
    return made("membership/attacks", "digits", {"auc": 0.9}, alone, *changes)


def positions(outside, client, server):
    places = {"outside": outside, "client": client, "server": server}
    return made(
        "membership/position", "digits", {"auc": 0.5}, *(({"position": p}, {"auc": v}) for p, v in places.items())
    )


def audited(rest, *changes):
    return made("membership/audit", "gaussian", {"above_truth": rest, "epsilon_shown": 1.0}, *changes)


def names(**chosen):
    cells = [row["cell"] for row in audited(0.0).rows if chosen.items() <= row["cell"].items()]
    return {f"ε {cell['epsilon']}, {cell['canaries']}, {cell['attack']}" for cell in cells}


def knowing(*gains):
    return audited(
        0.0,
        *(
            ({"epsilon": epsilon, "canaries": 5000, "attack": "one run, f-DP"}, {"epsilon_shown": value})
            for epsilon, value in zip(EPSILONS, gains, strict=True)
        ),
    )


SIZES = ("1,000 images", "50,000 images")


def ratios(metrics, low, high, *values):
    """Two forms of the attack, on few images and on many; the low one has 0.5 everywhere."""
    rest = dict.fromkeys(("auc", "tpr_at_fpr_1pct"), 0.5)
    changes = [({**size, **low}, rest) for size in (SMALL, WHOLE)]
    for size, value in zip((SMALL, WHOLE), values, strict=True):
        changes.append(({**size, **high}, {**rest, **dict.fromkeys(metrics, value)}))
    return made("membership/lira", "patches", dict.fromkeys(rest, 0.55), *changes)


def better(text, metrics, low, high):
    def table(*values):
        return ratios(metrics, low, high, *values)

    return Case(
        "membership/lira",
        text,
        holds=[table(0.6, 0.51)],
        fails=[table(0.49, 0.4)],
        unsure=[table(wide(0.505, 0.5), 0.6), table(0.6, wide(0.495, 0.5))],
        depends=(table(0.6, 0.4), {SIZES[0]}, {SIZES[1]}),
    )


def spent(above, gaussian, *changes):
    """How many networks show more than was spent, by the bound of any mechanism and of Gaussian ones."""
    return made("membership/dp", "mnist", {"above_spent": above, "above_spent_gaussian": gaussian}, *changes)


def budgets(**chosen):
    cells = [{"epsilon": epsilon, "attack": attack} for epsilon in dp.EPSILONS for attack in dp.ATTACKS]
    return {f"ε {cell['epsilon']:g}, {cell['attack']}" for cell in cells if chosen.items() <= cell.items()}


def watched(*shown):
    """What who sees every step shows at each budget; one is shown by the finished model, and more by its losses."""
    changes = [
        ({"epsilon": epsilon, "attack": "steps"}, {"epsilon_shown_gaussian": value})
        for epsilon, value in zip(dp.EPSILONS, shown, strict=True)
    ]
    return made(
        "membership/dp",
        "mnist",
        {"epsilon_shown_gaussian": 1.0, "epsilon_shown": 5.0},
        ({"attack": "loss"}, {"epsilon_shown_gaussian": 3.0}),
        *changes,
    )


CHEAP = set(DEFENCES) - {"none"}


def defended(metric, none, rest, *changes):
    """A number without defences, under most of them, and under some."""
    own = [({"adaptation": name}, {metric: value}) for name, value in changes]
    return made("membership/defences", "location30", {metric: rest}, ({"adaptation": "none"}, {metric: none}), *own)


CASES = [
    leads("With four references", 4, "rmia", "bavaria"),
    leads("With 64 references", 64, "bavaria", "lira"),
    Case(
        "membership/attacks",
        "Reference models raise",
        holds=[helped(0.66, 0.66, 0.7, 0.7)],
        fails=[helped(0.64, 0.64, 0.6, 0.5)],
        unsure=[helped(0.7, wide(0.655, 0.65), 0.7, 0.7), helped(0.7, 0.7, 0.7, wide(0.645, 0.65))],
        depends=(helped(0.7, 0.7, 0.6, 0.6), {"rmia", "lira"}, {"lira shared", "bavaria"}),
    ),
    Case(
        "membership/position",
        "Who is nearer",
        holds=[positions(0.5, 0.55, 0.6)],
        fails=[positions(0.6, 0.61, 0.55)],
        unsure=[positions(0.5, wide(0.525, 0.52), 0.6), positions(0.5, 0.55, wide(0.575, 0.57))],
        depends=(
            positions(0.6, 0.61, 0.7),
            {"outside to server", "client to server"},
            {"outside to client"},
        ),
    ),
    Case(
        "membership/audit",
        "The bound is above",
        holds=[audited(0.04), audited(0.0)],
        fails=[audited(0.06)],
        unsure=[audited(0.0, ({"epsilon": 0.93, "canaries": 100}, {"above_truth": wide(0.045, 0.05)}))],
        depends=(
            audited(0.0, ({"epsilon": 10.0}, {"above_truth": 0.1})),
            names() - names(epsilon=10.0),
            names(epsilon=10.0),
        ),
    ),
    Case(
        "membership/audit",
        "Who knows that",
        holds=[knowing(1.1, 2, 2, 2)],
        fails=[knowing(0.9, 0.5, 0.5, 0.5)],
        unsure=[knowing(2, wide(1.05, 1.0), 2, 2)],
        depends=(knowing(2, 2, 0.5, 0.5), {"ε = 0.93", "ε = 1.99"}, {"ε = 4.38", "ε = 10.0"}),
    ),
    better(
        "With few references, one variance",
        ["tpr_at_fpr_1pct"],
        {"attack": "lira", "online": True},
        {"attack": "lira shared", "online": True},
    ),
    better(
        "References that were trained",
        ["auc"],
        {"attack": "lira shared", "online": False},
        {"attack": "lira shared", "online": True},
    ),
    better(
        "The likelihood ratio tells",
        ["auc", "tpr_at_fpr_1pct"],
        {"attack": "loss"},
        {"attack": "lira shared", "online": True},
    ),
    Case(
        "membership/dp",
        "What is shown is above",
        holds=[spent(0.04, 0.04), spent(0.0, 0.0)],
        fails=[spent(0.06, 0.06), spent(0.06, 0.0), spent(0.0, 0.06)],
        unsure=[
            spent(0.0, 0.0, ({"epsilon": 0.5, "attack": "lira"}, {metric: wide(0.045, 0.05)}))
            for metric in ("above_spent", "above_spent_gaussian")
        ],
        depends=(
            spent(0.0, 0.0, ({"epsilon": 8.0}, {"above_spent_gaussian": 0.125})),
            budgets() - budgets(epsilon=8.0),
            budgets(epsilon=8.0),
        ),
    ),
    Case(
        "membership/dp",
        "Who sees every step",
        holds=[watched(*[1.1] * 8)],
        fails=[watched(*[0.9] * 8), watched(0.9, *[0.5] * 7)],
        unsure=[watched(*[1.1] * place, wide(1.05, 1.0), *[1.1] * (7 - place)) for place in range(8)],
        depends=(
            watched(*[0.9] * 3, *[1.1] * 5),
            {f"ε = {epsilon:g}" for epsilon in dp.EPSILONS[3:]},
            {f"ε = {epsilon:g}" for epsilon in dp.EPSILONS[:3]},
        ),
    ),
    Case(
        "membership/defences",
        "It takes half",
        holds=[defended("auc", 0.7, 0.59), defended("auc", 0.7, 0.48)],
        fails=[defended("auc", 0.7, 0.61), defended("auc", 0.7, 0.75)],
        unsure=[defended("auc", 0.7, 0.59, (name, wide(0.595, 0.6))) for name in CHEAP],
        depends=(
            defended("auc", 0.7, 0.61, ("dp_sgd", 0.59), ("weight_decay", 0.5)),
            {"dp_sgd", "weight_decay"},
            CHEAP - {"dp_sgd", "weight_decay"},
        ),
    ),
    Case(
        "membership/defences",
        "It costs next to nothing",
        holds=[defended("model_accuracy", 0.7, 0.69), defended("model_accuracy", 0.7, 0.8)],
        fails=[defended("model_accuracy", 0.7, 0.67)],
        unsure=[defended("model_accuracy", 0.7, 0.69, (name, wide(0.675, 0.68))) for name in CHEAP],
        depends=(defended("model_accuracy", 0.7, 0.69, ("dp_sgd", 0.6)), CHEAP - {"dp_sgd"}, {"dp_sgd"}),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_sentence_holds_fails_or_cannot_be_told(case):
    assert not case.wrong()


def test_every_sentence_is_tried_once_for_each_verdict():
    assert judged(CASES) == sorted(of("membership"))
    assert not {case.text: case.untried() for case in CASES if case.untried()}


def test_sentences_are_short_and_say_once_in_which_settings_they_were_tested():
    assert not badly_put("membership")


@pytest.mark.parametrize("text", ["It takes half", "It costs next"])
def test_a_defence_that_was_not_measured_is_not_spoken_of(text):
    case = next(case for case in CASES if case.text.startswith(text))
    table = case.holds[0]
    rows = [row for row in table.rows if row["cell"]["adaptation"] != "dropout"]
    assert case.outcomes(type(table)(rows)) == {**dict.fromkeys(CHEAP, True), "dropout": None}


def test_a_defence_is_compared_with_its_own_draw():
    """Of draws that differ much each pair shows the same; the first draw without a defence is missing."""
    table = defended("auc", [0.6, 0.7, 0.9], [0.8, 0.59, 0.69])
    rows = [row for row in table.rows if row["cell"]["adaptation"] != "none" or row["seed"]]
    case = next(case for case in CASES if case.text.startswith("It takes half"))
    assert case.outcomes(type(table)(rows))["pruning"] == UNDECIDED  # two pairs that hold, not three
