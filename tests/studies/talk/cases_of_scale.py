"""Cases of the talk's closing points, and of a hidden attribute."""

from privlab.studies.talk import attributes, scale
from tests.studies.sentences import Case, made, wide
from tests.studies.talk.cases import about

STUDY, GAIN = "talk/scale", "attack_success"
SUMMED = {"attack": "inversion", "defence": "secure_sum"}
MEMBERS = {"attack": "membership"}
NOISY = {"defence": "client_dp"}
METHODS = {name: {"method": name} for name in attributes.WITH_THE_MODEL}


def of_sums(first, second, rest):
    """What is read in the sum of 1, 5 and 40 clients: so much less from each to the next."""
    values = {1: 0.9, 5: 0.9 - first, 40: 0.9 - first - second if isinstance(second, float) else second}
    own = [({**SUMMED, "clients": count}, {GAIN: value}) for count, value in values.items()]
    return made(STUDY, "mnist", {GAIN: rest}, *own)


def of_mixtures(mixed, many, rest):
    """Membership's advantage: 0.2 of 20 clients of one mixture and of 5 of their own, and what it is of others."""
    own = [
        ({**MEMBERS, "clients": 20, "skew": None}, {GAIN: 0.2}),
        ({**MEMBERS, "clients": 5, "skew": 0.5}, {GAIN: 0.2}),
        ({**MEMBERS, "clients": 20, "skew": 0.1}, {GAIN: mixed}),
        ({**MEMBERS, "clients": 40, "skew": 0.5}, {GAIN: many}),
    ]
    return made(STUDY, "mnist", {GAIN: rest}, *own)


def of_noise(few, rest, *changes):
    """Accuracy: 40 clients lose a tenth by each noise, 5 keep so much of 0.8 that they had; changes: of one noise."""
    own = [
        ({**NOISY, "clients": 40}, {"accuracy": 0.8}),
        ({**NOISY, "clients": 40, "noise": 0.0}, {"accuracy": 0.9}),
        ({**NOISY, "clients": 5}, {"accuracy": few}),
        ({**NOISY, "clients": 5, "noise": 0.0}, {"accuracy": 0.8}),
        *(({**NOISY, "clients": 5, "noise": noise}, {"accuracy": value}) for noise, value in changes),
    ]
    return made(STUDY, "mnist", {"accuracy": rest}, *own)


LOUD = {f"noise of {noise}": noise for noise in scale.NOISES[1:]}

CASES = [
    about(
        STUDY,
        "The more clients you have, the easier it is",
        {name: {"attack": name, "clients": 40} for name in scale.CONCEALED},
        ("noticed", 0.77, 0.79, wide(0.775, 0.78)),
        *(({"attack": name, "clients": 5}, {"noticed": 0.8}) for name in scale.CONCEALED),
    ),
    Case(
        STUDY,
        "The more devices you have",
        holds=[of_sums(0.12, 0.12, 0.9)],
        fails=[of_sums(0.08, 0.08, 0.0)],
        unsure=[of_sums(0.12, wide(0.67, 0.68), 0.9)],
        depends=(of_sums(0.12, 0.08, 0.9), {"1 to 5 clients"}, {"5 to 40 clients"}),
    ),
    Case(
        STUDY,
        "The more clients you have, the more personalised",
        holds=[of_mixtures(0.23, 0.23, 0.2)],
        fails=[of_mixtures(0.21, 0.21, 0.3)],
        unsure=[of_mixtures(wide(0.225, 0.22), 0.23, 0.2), of_mixtures(0.23, wide(0.225, 0.22), 0.2)],
        depends=(of_mixtures(0.23, 0.21, 0.2), {"data of one's own kind"}, {"more clients"}),
    ),
    Case(
        STUDY,
        "DP can be used at scale",
        holds=[of_noise(0.68, 0.9)],
        fails=[of_noise(0.7, 0.1)],
        unsure=[of_noise(0.68, 0.9, (noise, wide(0.6875, 0.69))) for noise in LOUD.values()],
        depends=(of_noise(0.68, 0.9, (0.3, 0.7)), {"noise of 0.1", "noise of 1.0"}, {"noise of 0.3"}),
    ),
    about(
        STUDY,
        "it can result in utility reduction",
        {f"{count} clients": {**NOISY, "clients": count, "noise": 1.0} for count in scale.COUNTS},
        ("accuracy", 0.885, 0.895, wide(0.8875, 0.89)),
        ({**NOISY, "noise": 0.03}, {"accuracy": 0.9}),
    ),
    about(
        STUDY,
        "inversion attacks are oversold",
        {name: {"without": name} for name in scale.ASSUMED[1:]},
        (GAIN, 0.78, 0.82, wide(0.79, 0.8)),
        ({"without": "none"}, {GAIN: 0.9}),
    ),
    about(
        "talk/attributes",
        "Attacker uses model access",
        METHODS,
        (GAIN, 0.72, 0.704, wide(0.715, 0.71)),
        ({"method": "impute"}, {GAIN: 0.7}),
        outside=0.5,
    ),
    about(
        "talk/attributes",
        "A model tells more of those",
        METHODS,
        (GAIN, 0.72, 0.704, wide(0.715, 0.71)),
        outside=0.7,
    ),
]
