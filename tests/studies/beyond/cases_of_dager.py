"""Cases of sentences out of an honest gradient."""

from privlab.studies.beyond import dager
from tests.studies.sentences import Case, made, wide

STUDY = "beyond/dager"


def exact(rest, *changes, **metrics):
    """The share of sentences that come back: `rest`, but for some cells'."""
    return made(STUDY, "manual", {"exact": rest, **metrics}, *((cell, {"exact": value}) for cell, value in changes))


def plain(batch, width=128, tokens=12):
    return {"defence": "none", "loss": "next word", "batch": batch, "width": width, "tokens": tokens}


def walls(below, beyond, rest=0.5):
    """What comes back just below each wall and just beyond it."""
    sizes = [(size, batches) for size, batches in dager.WALLS.items()]
    low = [(plain(batches[0], *size), below) for size, batches in sizes]
    return exact(rest, *low, *((plain(batches[1], *size), beyond) for size, batches in sizes))


def claimed(false, certified):
    return made(
        STUDY,
        "manual",
        {"false_claims": 0.0, "certified": 0.0},
        (plain(5), {"false_claims": false, "certified": certified}),
    )


def noisy(naive, knowing, *changes):
    own = [({"defence": "noise", "noise": noise}, {"naive": naive, "exact": knowing}) for noise in dager.NOISES[:2]]
    changes = [({"defence": "noise", "noise": noise}, {"exact": value}) for noise, value in changes]
    return made(STUDY, "manual", {"naive": 0.9, "exact": 0.1}, *own, *changes)


def defended(value, *changes):
    own = [(settings, value) for settings in dager.WITH.values()]
    return exact(0.9, *own, *((dager.WITH[name], other) for name, other in changes))


def averaged(two, three):
    summed = [({"defence": "secure_sum", "clients": count}, value) for count, value in ((2, two), (3, three))]
    return exact(0.1, (plain(5), 0.9), *summed)


WIDTHS = {f"width {width}, {tokens} words" for width, tokens in dager.WALLS}
BATCHES = {f"mini-batches of {batch}" for batch in dager.BELOW}
LAST = {f"{tokens} words": {"loss": "last word", "tokens": tokens} for tokens in dager.LENGTHS}

CASES = [
    Case(
        STUDY,
        "Every sentence of a mini-batch",
        holds=[exact(0.1, *((plain(batch), 0.96) for batch in dager.BELOW))],
        fails=[exact(0.99, *((plain(batch), 0.94) for batch in dager.BELOW))],
        unsure=[exact(0.99, (plain(8), wide(0.97, 0.95)))],
        depends=(exact(0.99, (plain(8), 0.9)), BATCHES - {"mini-batches of 8"}, {"mini-batches of 8"}),
    ),
    Case(
        STUDY,
        "The wall stands",
        holds=[walls(0.96, 0.04)],
        fails=[walls(0.94, 0.04), walls(0.96, 0.06)],
        unsure=[walls(0.96, wide(0.03, 0.05))],
        depends=(
            made(
                STUDY,
                "manual",
                {"exact": 0.02},
                *((plain(batches[0], *size), {"exact": 0.97}) for size, batches in dager.WALLS.items()),
                (plain(6, 64), {"exact": 0.5}),
            ),
            WIDTHS - {"width 64, 12 words"},
            {"width 64, 12 words"},
        ),
    ),
    Case(
        STUDY,
        "No certified sentence",
        holds=[claimed((0.0, 0.0, 0.0), (5.0, 5.0, 5.0))],
        fails=[claimed((0.0, 1.0, 0.0), (5.0, 5.0, 5.0))],
        unsure=[claimed((0.0, 0.0, 0.0), (1.0, 0.0, 0.0))],
        too_few=0,
    ),
    Case(
        STUDY,
        "Who knows of the noise",
        holds=[noisy(0.1, 0.62)],
        fails=[noisy(0.1, 0.58)],
        unsure=[noisy(0.1, wide(0.7, 0.6))],
        depends=(noisy(0.1, 0.9, (1e-5, 0.3)), {"noise of 1e-06"}, {"noise of 1e-05"}),
    ),
    Case(
        STUDY,
        "Each of five defences",
        holds=[defended(0.04)],
        fails=[defended(0.06)],
        unsure=[defended(0.02, ("five local steps", wide(0.03, 0.05)))],
        depends=(
            defended(0.02, ("five local steps", 0.9)),
            {*dager.WITH} - {"five local steps"},
            {"five local steps"},
        ),
    ),
    Case(
        STUDY,
        "A loss of the last word",
        holds=[exact(0.1, *((cell, 0.97) for cell in LAST.values()))],
        fails=[exact(0.99, *((cell, 0.9) for cell in LAST.values()))],
        unsure=[exact(0.1, *((cell, wide(0.97, 0.95)) for cell in LAST.values()))],
        depends=(exact(0.1, (LAST["6 words"], 0.97)), {"6 words"}, {"12 words"}),
    ),
    Case(
        STUDY,
        "the success of this passive",
        holds=[exact(0.5, (plain(1), 0.9), (plain(10), 0.8))],
        fails=[exact(0.5, (plain(1), 0.9), (plain(10), 0.9))],
        unsure=[exact(0.5, (plain(1), 0.9), (plain(10), wide(0.8, 0.85)))],
    ),
    Case(
        STUDY,
        "Table 9 in Appendix",
        holds=[averaged(0.8, 0.2)],
        fails=[averaged(0.9, 0.88)],
        unsure=[averaged(0.2, wide(0.75, 0.85))],
        depends=(averaged(0.9, 0.1), {"3 clients"}, {"2 clients"}),
    ),
]
