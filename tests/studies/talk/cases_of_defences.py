"""Cases of the talk's table of defences, and of two defences at once."""

from privlab.studies import Table
from privlab.studies.talk import _sentences as said
from privlab.studies.talk import interactions
from tests.studies.sentences import Case, made, wide
from tests.studies.talk.cases import about

STUDY, GAIN = "talk/defences", "attack_success"
REPLACED = ("backdoor", "model_replacement")
# Without a defence an attack gains 0.8 over 0.1; half of it is left at 0.5.
STOPPED, KEPT, OPEN = 0.48, 0.52, wide(0.475, 0.5)


def pairs(attacks, defences):
    return {
        f"{defence}, {attack}": {"attack": attack, "defence": defence} for attack in attacks for defence in defences
    }


def left(text, cells, yes, no, metric=GAIN):
    """A sentence of what is left of an attack's gain, to the adversary who knows the defence or to the other one."""
    own = {"attack_success": 0.5, "naive": 0.5, "baseline": 0.1}
    without = ({"defence": "none"}, {"attack_success": 0.9, "naive": 0.9})
    return about(STUDY, text, cells, (metric, yes, no, OPEN), without, **own)


def stops(text, cells, metric=GAIN):
    return left(text, cells, STOPPED, KEPT, metric)


def lets_through(text, cells):
    return left(text, cells, KEPT, STOPPED)


def beside_none(text, cells, numbers, plain, attack="evasion"):
    """A sentence of one number of a defence beside the same without it, by the rows of one attack."""
    metric = numbers[0]
    return about(STUDY, text, cells, numbers, ({"attack": attack, "defence": "none"}, {metric: plain}))


def by_evasion(*defences):
    return {name: {"attack": "evasion", "defence": name} for name in defences}


def only(attack, defence):
    return {"": {"attack": attack, "defence": defence}}


LESS = ("accuracy", 0.885, 0.895, wide(0.8875, 0.89))  # of 0.9, a point
HARDENED = only("evasion", "adversarial_training")

SUITED = {
    **pairs(said.POISONING, (*said.RULES, "update_analysis")),
    **pairs(("data_poisoning", *REPLACED), ("data_analysis",)),
    **pairs(("evasion",), ("adversarial_training",)),
}

OF_DEFENCES = [
    stops("Empirically effective", SUITED),
    stops("Robust rules stop whoever", pairs(("sign_flipping", "model_replacement"), said.RULES), "naive"),
    stops("Robust rules stop backdoors", pairs(REPLACED, said.RULES)),
    beside_none("Can reduce model utility", by_evasion(*said.RULES), LESS, 0.9),
    lets_through("Not effective against backdoors", pairs(REPLACED, ("update_analysis",))),
    beside_none("No computation overhead", HARDENED, ("seconds", 1.45, 1.6, wide(1.45, 1.5)), 1.0),
    beside_none("Has a small impact", HARDENED, ("accuracy", 0.86, 0.84, wide(0.86, 0.85)), 0.9),
    lets_through("Susceptible to privacy attacks", only("inversion", "adversarial_training")),
    beside_none(
        "Adversarial training raises",
        only("membership", "adversarial_training"),
        (GAIN, 0.23, 0.21, wide(0.225, 0.22)),
        0.2,
        "membership",
    ),
    beside_none(
        "Prevents overfitting",
        {name: {"attack": "membership", "defence": name} for name in ("distillation", "pruning")},
        (GAIN, 0.17, 0.19, wide(0.175, 0.18)),
        0.2,
        "membership",
    ),
    lets_through("Often ineffective", pairs((*REPLACED, "sign_flipping"), ("pruning",))),
    lets_through("Susceptible to reconstruction attacks", only("inversion", "split_learning")),
    lets_through(
        "Susceptible to utility and membership attacks",
        pairs(("membership", "data_poisoning", "backdoor"), ("split_learning",)),
    ),
    beside_none(
        "Reduced communication overhead",
        only("evasion", "split_learning"),
        ("bytes", 900.0, 1100.0, wide(950.0, 1000.0)),
        1000.0,
    ),
    stops("Improved robustness", pairs(("sign_flipping", "model_replacement", "evasion"), ("dp_sgd",))),
    beside_none("Reduced model utility", by_evasion("dp_sgd"), LESS, 0.9),
]

ALONE = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)  # what each of the seven defences leaves
SINGLE = sorted({defence for pair in interactions.PAIRS for defence in pair})
BOTH = [
    (f"{one} and {other}, {attack}", one, other, attack)
    for (one, other), attacks in interactions.PAIRS.items()
    for attack in attacks
]


def at_once(less, rest, order=ALONE, **others):
    """Each pair leaves so much less than the better of the two alone; others: of some settings another number."""
    alone = dict(zip(SINGLE, order, strict=True))
    attacks = {attack for *_, attack in BOTH}
    usual = [
        ({"attack": attack, "defence": defence}, {GAIN: value})
        for attack in attacks
        for defence, value in alone.items()
        if defence != "labels_only" or attack in ("membership", "extraction")
    ]
    made_of = []
    for name, one, other, attack in BOTH:
        best, own = min(alone[one], alone[other]), others.get(name, less)
        value = best - own if isinstance(own, float) else [best - each for each in own]
        made_of.append(({"attack": attack, "defence": one, "beside": other}, {GAIN: value}))
    return made("talk/interactions", "mnist", {GAIN: rest}, *usual, *made_of)


NAMES = [name for name, *_ in BOTH]
ADDING, APART = set(NAMES[::2]), set(NAMES[1::2])

OF_INTERACTIONS = [
    about(
        "talk/interactions",
        "Some of these methods are incompatible",
        {
            f"{attack}, sums of {group}": {"attack": attack, "group": group}
            for attack in ("sign_flipping", "model_replacement")
            for group in (2, 4, 10, 20)
        },
        (GAIN, 0.42, 0.38, wide(0.41, 0.4)),
        ({"group": 1}, {GAIN: 0.3}),
    ),
    Case(
        "talk/interactions",
        "Two defences stop more",
        holds=[*(at_once(0.03, 0.1, order) for order in (ALONE, ALONE[::-1])), Table(at_once(0.03, 0.1).rows[::-1])],
        fails=[at_once(0.01, 0.9, order) for order in (ALONE, ALONE[::-1])],
        unsure=[at_once(0.03, 0.1, **{name: wide(0.025, 0.02)}) for name in NAMES],
        depends=(at_once(0.03, 0.1, **dict.fromkeys(APART, 0.01)), ADDING, APART),
    ),
]

CASES = [*OF_DEFENCES, *OF_INTERACTIONS]
