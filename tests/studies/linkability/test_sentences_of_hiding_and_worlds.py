"""The sentences of figures 10 and 11 and of Table 8: each can hold, fail and be left open by rows made for it."""

import pytest

from privlab.studies.linkability import figure_10, figure_11, table_8
from tests.studies.sentences import Case, badly_put, judged, made, of, wide

STUDIES = ("linkability/figure-10", "linkability/figure-11", "linkability/table-8")
REDUCTIONS = ("reduction_above_random", "reduction_best", "reduction_waiting")
PLAIN = {**dict.fromkeys(REDUCTIONS, 0.0), "relative_utility": 1.0}


def hidden(*changes, data="mnist-writers", **rest):
    """What mitigations leave: nothing is taken and nothing lost, but for what is said, and without one for sure."""
    none = ({"mitigation": "none"}, {name: [value] * 3 for name, value in PLAIN.items()})
    return made("linkability/figure-11", data, {**PLAIN, **rest}, none, *changes)


def at(kind, alpha, privacy, utility, of="reduction_above_random"):
    return {"mitigation": kind, "alpha": alpha}, {of: privacy, "relative_utility": utility}


def noises(privacy, utility, *changes, of="reduction_above_random"):
    """Noise of all scales of both kinds, and some of its scales otherwise."""
    own = [({"mitigation": kind}, at(kind, 0, privacy, utility, of)[1]) for kind in ("noise", "relative noise")]
    return hidden(*own, *changes)


SCALES = {figure_11._named(cell) for cell in figure_11.NOISES}
ONE = {"mitigation": "noise", "alpha": 1.0}


def points(kinds, privacy, utility, *changes, rival=(0.4, 0.6)):
    """Some mitigations of all settings at one place of the plane, their rivals, noise and replacing, at another."""
    others = [kind for kind in ("noise", "relative noise", "bkg-repl") if kind not in kinds]
    rivals = [({"mitigation": kind}, at(kind, 0, *rival)[1]) for kind in others]
    own = [({"mitigation": kind}, at(kind, 0, privacy, utility)[1]) for kind in kinds]
    return hidden(*rivals, *own, *changes)


def beats(text, kinds, rivals):
    """The line of the rivals goes from (0, 1) to (0.4, 0.6): at 0.2 it is at 0.8."""
    names = {
        f"{kind}, {alpha:g}, against {name}" for kind in kinds for alpha in figure_11.SHARES[kind] for name in rivals
    }
    first = kinds[0], figure_11.SHARES[kinds[0]][1]
    odd = {name for name in names if name.startswith(f"{first[0]}, {first[1]:g},")}
    return Case(
        "linkability/figure-11",
        text,
        holds=[points(kinds, 0.2, 0.85), points(kinds, 0.6, 0.65), points(kinds, 0.2, 1.1)],
        fails=[points(kinds, 0.2, 0.75), points(kinds, 0.6, 0.55), points(kinds, -0.1, 0.95)],
        unsure=[points(kinds, 0.2, 0.85, at(*first, 0.2, wide(0.82, 0.8)))],
        depends=(points(kinds, 0.2, 0.85, at(*first, 0.2, 0.7)), names - odd, odd),
    )


def more(text, rivals, names):
    """mm-aug against others in what they take: they take 0.4."""
    others = [({"mitigation": kind}, {"reduction_above_random": 0.4}) for kind in ("rand-aug", "bkg-repl")]

    def table(*taken, base=0.4):
        own = [({"mitigation": "mm-aug"}, {"reduction_above_random": base})]
        places = [({"mitigation": kind, "alpha": alpha}, {"reduction_above_random": v}) for kind, alpha, v in taken]
        return hidden(*others, *own, *places)

    kind, alpha = rivals[-1]
    return Case(
        "linkability/figure-11",
        text,
        holds=[table(base=0.45), table((kind, alpha, 0.3), base=0.41)],
        fails=[table(base=0.35), table(base=0.0)],
        unsure=[table((kind, alpha, wide(0.43, 0.45)), base=0.45)],
        depends=(table((kind, alpha, 0.5), base=0.45), names - {f"{kind}, {alpha:g}"}, {f"{kind}, {alpha:g}"}),
    )


def convinces(text, of):
    def table(privacy, utility, *changes):
        return noises(privacy, utility, *(at(*change, of) for change in changes), of=of)

    one, other = ("noise", 1.0), ("relative noise", 4.0)
    return Case(
        "linkability/figure-11",
        text,
        holds=[table(0.3, 1.0), table(0.9, 0.7), table(0.3, 0.5)],
        fails=[table(0.7, 0.95), table(0.3, 0.7, (*one, 0.7, 1.0), (*other, 0.7, 1.0))],
        unsure=[table(0.3, 0.7, (*one, wide(0.55, 0.5), 1.0)), table(0.7, wide(0.87, 0.9))],
        depends=(table(0.3, 1.0, (*one, 0.7, 1.0)), {"relative noise"}, {"noise"}),
    )


def convinced(privacy, utility, **other):
    return hidden(at("mm-aug", 0.5, privacy, utility), **other)


def budgets(metric, value, *changes):
    changed = [({"mitigation": "dp", "epsilon": epsilon}, {metric: v}) for epsilon, v in changes]
    return hidden(({"mitigation": "dp"}, {metric: value}), *changed)


def of_dp(text, metric, good, bad, limit):
    eight, more_ = "ε = 8", "ε = 64"
    return Case(
        "linkability/figure-11",
        text,
        holds=[budgets(metric, good)],
        fails=[budgets(metric, bad)],
        unsure=[budgets(metric, good, (64.0, wide((good + limit) / 2, limit)))],
        depends=(budgets(metric, good, (64.0, bad)), {eight}, {more_}),
    )


def summed(value, *changes):
    changed = [({"mitigation": "sums", "alpha": count}, {"reduction_best": v}) for count, v in changes]
    return hidden(({"mitigation": "sums"}, {"reduction_best": value}), *changed)


SUMS = {"2 in a sum", "5 in a sum", "all of a round"}
SHORT = {"top-k, 0.01", "top-k, 0.1", "signs", "only output", "only fc1"}


def shortened(value, *changes):
    own = [({**cell}, {"reduction_best": value}) for cell in figure_11.LESS]
    return hidden(*own, *(({"mitigation": kind}, {"reduction_best": v}) for kind, v in changes), reduction_best=0.9)


def matching(ap, *changes, data="mnist-writers"):
    return made("linkability/table-8", data, {"ap": ap}, *((cell, {"ap": v}) for cell, v in changes))


FIRST, BOTH = {"observed": "first"}, {"observed": "both"}
COSINE = {"attack": "cosine"}
LEARNED = {f"{attack}, random, observed {way}" for attack in table_8.LEARNED for way in ("first", "both")}
AGAINST = {f"{name}, observed {way}" for name in ("mlp, random", "siamese, random") for way in ("first", "both")}


def pairs_are(text, limit, names, changed):
    """Above a limit for each attack and way to observe. Chance is below in all, which is not counted."""
    chance = ({"attack": "chance"}, 0.5)
    name = next(
        each for each in names if each.startswith(f"{changed['attack']}, random, observed {changed['observed']}")
    )
    return Case(
        "linkability/table-8",
        text,
        holds=[matching(limit + 0.05, chance)],
        fails=[matching(limit - 0.05, ({"attack": "chance"}, 1.0))],
        unsure=[matching(limit + 0.05, chance, (changed, wide(limit + 0.02, limit)))],
        depends=(matching(limit + 0.05, chance, (changed, limit - 0.02)), names - {name}, {name}),
    )


def opened(*changes, ap=0.5, times_random=2.0, times_chance=2.0):
    rest = {"ap": ap, "times_random": times_random, "times_chance": times_chance}
    return made("linkability/figure-10", "mnist-writers", rest, *changes)


def ends(metric, few, most):
    """Identification at both ends; in between it says otherwise, and so does matching."""
    return opened(
        ({"attack": "siamese", "seen": 0.1}, {metric: most if isinstance(most, float) else 1.0}),
        ({"attack": "siamese", "seen": 0.9}, {metric: few}),
        ({"attack": "mlp", "seen": 0.1}, {metric: few}),
        ({"attack": "mlp", "seen": 0.9}, {metric: most}),
    )


WORLDS = {f"mlp, {share:.0%} seen" for share in figure_10.SEEN}
WORLDS |= {f"siamese, {share:.0%} seen" for share in (0.0, *figure_10.SEEN)}


def both_attacks(random, chance, *changes):
    """Identification over random, matching over chance; the other way round each says otherwise."""
    return opened(
        ({"attack": "mlp"}, {"times_random": random, "times_chance": 3.0 - random}),
        ({"attack": "siamese"}, {"times_chance": chance, "times_random": 3.0 - chance}),
        *changes,
    )


def unseen(value, cosine=0.6, metric="ap"):
    return opened(
        ({"attack": "siamese"}, {metric: 0.0}),  # with seen users; not counted
        ({"attack": "siamese", "seen": 0.0}, {metric: value}),
        (COSINE, {metric: cosine}),
    )


CASES = [
    Case(
        "linkability/figure-11",
        "the noise baseline decreases",
        holds=[noises(0.3, 0.7)],
        fails=[noises(0.6, 0.7), noises(0.3, 0.9), noises(0.9, 1.0)],
        unsure=[noises(0.3, 0.7, at("noise", 1.0, wide(0.45, 0.5), 0.7)), noises(0.3, wide(0.75, 0.8))],
        depends=(
            noises(0.3, 0.7, at("noise", 1.0, 0.7, 0.7)),
            SCALES - {figure_11._named(ONE)},
            {figure_11._named(ONE)},
        ),
    ),
    convinces("adding random noise does not", "reduction_above_random"),
    convinces("Against an adversary who waits, noise", "reduction_waiting"),
    beats("replacing data with background", ("bkg-repl",), ("noise",)),
    beats("the augmentation-based strategies", ("rand-aug", "mm-aug"), ("noise", "bkg-repl")),
    Case(
        "linkability/figure-11",
        "for the mm-aug strategy, already",
        holds=[convinced(0.6, 0.95), convinced(0.9, 1.1)],
        fails=[
            convinced(0.4, 0.95, reduction_above_random=0.9),
            convinced(0.6, 0.8, reduction_above_random=0.9),
            convinced(0.1, 0.2),
        ],
        unsure=[convinced(wide(0.55, 0.5), 0.95), convinced(0.6, wide(0.92, 0.9))],
    ),
    more("75% decrease", (("rand-aug", 0.5), ("bkg-repl", 0.5)), {"rand-aug, 0.5", "bkg-repl, 0.5"}),
    more("We find the strategy", (("rand-aug", 0.5), ("rand-aug", 2.0)), {f"rand-aug, {a}" for a in ("0.5", "1", "2")}),
    Case(
        "linkability/figure-11",
        "the utility for mm-aug can be",
        holds=[hidden(at("mm-aug", 2.0, 0.6, 1.05), relative_utility=0.9)],
        fails=[
            hidden(at("mm-aug", 2.0, 0.6, 0.95), at("mm-aug", 1.0, 0.4, 1.05), relative_utility=0.9),
            hidden(({"mitigation": "rand-aug"}, {"reduction_above_random": 0.6, "relative_utility": 1.1})),
        ],
        unsure=[hidden(at("mm-aug", 2.0, 0.6, wide(1.02, 1.0)), relative_utility=0.9)],
    ),
    of_dp("Client-level differential", "reduction_best", 0.95, 0.7, 0.9),
    of_dp("Among so few clients", "relative_utility", 0.6, 0.9, 0.8),
    Case(
        "linkability/figure-11",
        "Of a sum the best attack",
        holds=[summed(0.6)],
        fails=[summed(0.4)],
        unsure=[summed(0.6, (5.0, wide(0.55, 0.5)))],
        depends=(summed(0.6, (2.0, 0.3)), SUMS - {"2 in a sum"}, {"2 in a sum"}),
    ),
    Case(
        "linkability/figure-11",
        "Sending less hides",
        holds=[shortened(0.2), shortened(-0.3)],
        fails=[shortened(0.7)],
        unsure=[shortened(0.2, ("signs", wide(0.45, 0.5)))],
        depends=(shortened(0.2, ("only fc1", 0.6)), SHORT - {"only fc1"}, {"only fc1"}),
    ),
    pairs_are("Across all datasets and splits", 0.9, LEARNED, {"attack": "mlp", **FIRST}),
    pairs_are(
        "There is ample, generalizable",
        0.6,
        LEARNED | {"cosine, random, observed first"},
        {"attack": "siamese", **BOTH},
    ),
    Case(
        "linkability/table-8",
        "Who learned from observed",
        holds=[matching(0.8, (COSINE, 0.7))],
        fails=[matching(0.8, (COSINE, 0.9))],
        unsure=[matching(0.8, (COSINE, 0.7), ({"attack": "mlp", **BOTH}, wide(0.72, 0.7)))],
        depends=(
            matching(0.8, (COSINE, 0.7), ({"attack": "mlp", **FIRST}, 0.6)),
            AGAINST - {"mlp, random, observed first"},
            {"mlp, random, observed first"},
        ),
    ),
    Case(
        "linkability/table-8",
        "Who heard both devices",
        holds=[matching(0.7, (BOTH, 0.9))],
        fails=[matching(0.9, (BOTH, 0.7))],
        unsure=[matching(0.7, (BOTH, 0.9), ({"attack": "mlp", **BOTH}, wide(0.72, 0.7)))],
        depends=(matching(0.7, (BOTH, 0.9), ({"attack": "mlp", **BOTH}, 0.6)), {"siamese, random"}, {"mlp, random"}),
    ),
    Case(
        "linkability/figure-10",
        "even in the open-world",
        holds=[both_attacks(2.0, 1.7)],
        fails=[both_attacks(1.2, 1.3)],
        unsure=[both_attacks(2.0, 1.7, ({"attack": "siamese", "seen": 0.0}, {"times_chance": wide(1.6, 1.5)}))],
        depends=(
            both_attacks(2.0, 1.7, ({"attack": "mlp", "seen": 0.1}, {"times_random": 1.1})),
            WORLDS - {"mlp, 10% seen"},
            {"mlp, 10% seen"},
        ),
    ),
    Case(
        "linkability/figure-10",
        "we notice a slight drop",
        holds=[ends("ap", 0.6, 0.4)],
        fails=[ends("ap", 0.4, 0.6)],
        unsure=[ends("ap", 0.6, wide(0.55, 0.6))],
    ),
    Case(
        "linkability/figure-10",
        "performance compared to",
        holds=[ends("times_random", 2.0, 5.0)],
        fails=[ends("times_random", 5.0, 2.0)],
        unsure=[ends("times_random", 2.0, wide(2.5, 2.0))],
    ),
    Case(
        "linkability/figure-10",
        "the Siamese model performs",
        holds=[unseen(1.7, metric="times_chance")],
        fails=[unseen(1.3, metric="times_chance")],
        unsure=[unseen(wide(1.6, 1.5), metric="times_chance")],
    ),
    Case(
        "linkability/figure-10",
        "What other people's pairs",
        holds=[unseen(0.7)],
        fails=[unseen(0.5)],
        unsure=[unseen(wide(0.65, 0.6))],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_sentence_holds_fails_or_cannot_be_told(case):
    assert not case.wrong()


def test_every_sentence_is_tried_once_for_each_verdict():
    assert judged(CASES) == sorted(each for each in of("linkability") if each[0] in STUDIES)
    assert not {case.text: case.untried() for case in CASES if case.untried()}


def test_sentences_are_short_and_say_once_in_which_settings_they_were_tested():
    own = {text for study, text in of("linkability") if study in STUDIES}
    assert not own & set(badly_put("linkability"))


def test_a_draw_without_an_attack_is_not_spoken_of():
    """Where nothing is above random without a mitigation there is no reduction: two draws tell nothing."""
    case = next(case for case in CASES if case.text.startswith("for the mm-aug"))
    table = case.holds[0]
    for row in table.rows:
        if row["seed"] == 0:
            del row["metrics"]["reduction_above_random"]
    assert case.outcomes(table) == {"": "cannot tell"}
