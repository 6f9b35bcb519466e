"""Made rows for the sentences of "Zen" on membership inference: Tables 7 and 8, and section 5.3."""

from privlab.studies.zen._membership import BASE
from privlab.studies.zen.section_5_3 import EARLY, FEDERATED
from privlab.studies.zen.table_7 import WIDTHS
from tests.studies.sentences import Case, made, wide, with_one

DENSE, MIRRORED = {"dense"}, {"mirrored"}


def attacked(study, data, *changes, rest=0.75):
    """How often the attack is right about targets that differ from the plain one as said, one by one."""
    return made(
        study,
        data,
        {"attack_accuracy": rest},
        *(
            ({**BASE, **change, **own}, {"attack_accuracy": value})
            for change, value in changes
            for own in _both(change)
        ),
    )


def _both(change):
    """A change of the shadow models alone is of these; any other of both kinds."""
    return [{}] if "attack" in change else [{"attack": "dense"}, {"attack": "mirrored"}]


def of_one(attack, changes):
    """The same changes, seen by one kind of shadow models."""
    return [({**change, "attack": attack}, value) for change, value in changes]


def larger(study, text, data, low, high):
    """A sentence that one target is attacked with more success than another, by more than two points."""

    def table(gain):
        return attacked(study, data, (low, 0.55), (high, 0.55 + gain if isinstance(gain, float) else gain))

    split = [*of_one("dense", ((low, 0.55), (high, 0.6))), *of_one("mirrored", ((low, 0.55), (high, 0.56)))]
    return Case(
        study,
        text,
        holds=[table(0.03)],
        fails=[table(0.01), table(-0.03)],
        unsure=[table(wide(0.575, 0.57)), table(wide(0.565, 0.57))],
        depends=(attacked(study, data, *split), DENSE, MIRRORED),
    )


def all_alike(study, text, data, changes):
    """A sentence that none of several changes moves the attack by two points, each tried alone."""

    def table(*values, plain=0.6):
        return attacked(study, data, ({}, plain), *zip(changes, values, strict=True))

    still, places = [0.6] * len(changes), range(len(changes))
    split = [*of_one("dense", [({}, 0.6), *((c, 0.6) for c in changes)])]
    split += of_one("mirrored", [({}, 0.6), *((c, 0.65) for c in changes)])
    return Case(
        study,
        text,
        holds=[table(*[0.6 + off] * len(changes)) for off in (0.01, -0.01)],
        fails=[table(*with_one(len(changes), 0.6, place, off)) for place in places for off in (0.03, -0.03)],
        unsure=[table(*still[:place], wide(0.615, 0.62), *still[place + 1 :]) for place in places],
        depends=(attacked(study, data, *split), DENSE, MIRRORED),
    )


def widths(*values):
    return attacked("zen/table-7", "cifar10", *(({"fc": width}, v) for width, v in zip(WIDTHS, values, strict=True)))


def no_matter(text, knob, values):
    """A sentence that a setting does not matter, whose verdict is one of each of its values."""
    study, changes = "zen/section-5.3", [{knob: value} for value in values]

    def table(*accuracies):
        return attacked(study, "cifar10", ({}, 0.6), *zip(changes, accuracies, strict=True))

    first, second = ({f"{value}, {attack}" for attack in ("dense", "mirrored")} for value in values)
    return Case(
        study,
        text,
        holds=[table(0.61, 0.59)],
        fails=[table(0.63, 0.57)],
        unsure=[table(wide(0.615, 0.62), 0.6), table(0.6, wide(0.585, 0.58))],
        depends=(table(0.6, 0.65), first, second),
    )


def at_chance(text, names, *changes):
    """A sentence that an attack is at most two points above chance, in each of several settings."""
    study = "zen/section-5.3"

    def table(*accuracies):
        return attacked(study, "cifar10", *zip(changes, accuracies, strict=True))

    plain = [0.51] * len(changes)
    if len(changes) > 1:
        split = table(0.51, 0.55)
        sides = [{f"{name}, {attack}" for attack in ("dense", "mirrored")} for name in names]
    else:
        split = attacked(
            study, "cifar10", *of_one("dense", [(changes[0], 0.51)]), *of_one("mirrored", [(changes[0], 0.55)])
        )
        sides = [DENSE, MIRRORED]
    return Case(
        study,
        text,
        holds=[table(*plain), table(*[0.49] * len(changes))],
        fails=[table(*[0.53] * len(changes))],
        unsure=[table(wide(0.515, 0.52), *plain[1:]), table(wide(0.525, 0.52), *plain[1:])],
        depends=(split, *sides),
    )


def trained_on(metric, plain, longer, attacks=(0.58, 0.63), one="attack"):
    """Targets of fifteen and of thirty epochs, by another number and by the attack's accuracy."""
    kinds = ["dense", "mirrored"]
    numbers = [({}, plain, attacks[0]), ({"epochs": 30}, longer, attacks[1])]
    return made(
        "zen/section-5.3",
        "cifar10",
        {metric: 0.9, "attack_accuracy": 0.9},
        *(
            ({**BASE, **change, "attack": kind}, {metric: value, "attack_accuracy": accuracy if kind != one else 0.58})
            for change, value, accuracy in numbers
            for kind in kinds
        ),
    )


def rounds(late, early, **own):
    return [({**FEDERATED, "iid": False, **own}, late), ({**EARLY, "iid": False, **own}, early)]


def seen(*settings):
    return attacked("zen/section-5.3", "cifar10", *settings)


SIMPLE = ("mnist", "fashion-mnist")


def beside(mnist, fashion):
    return attacked(
        "zen/table-8", "cifar10", ({}, 0.6), ({"private": SIMPLE[0]}, mnist), ({"private": SIMPLE[1]}, fashion)
    )


def private(attacks, accuracies=(0.5, 0.3), rest=0.9):
    """Table 9: attacks and accuracies without noise and with it."""
    both = zip((0.0, 1.751), attacks, accuracies, strict=True)
    cells = [({"epsilon": e}, {"attack_accuracy": attack, "model_accuracy": accuracy}) for e, attack, accuracy in both]
    return made("zen/table-9", "mnist", {"attack_accuracy": rest, "model_accuracy": rest}, *cells)


PRIVATE = made(
    "zen/table-9",
    "mnist",
    {"attack_accuracy": 0.6, "model_accuracy": 0.9},
    ({"epsilon": 1.751, "attack": "dense"}, {"attack_accuracy": 0.5}),
)
MEMBERSHIP = [
    Case(
        "zen/table-9",
        "The addition of DP reduced",
        holds=[private((0.6, 0.55))],
        fails=[private((0.6, 0.59)), private((0.55, 0.6))],
        unsure=[private((0.6, wide(0.575, 0.58)))],
        depends=(PRIVATE, DENSE, MIRRORED),
    ),
    Case(
        "zen/table-9",
        "for small values of ε",
        holds=[private((0.6, 0.6), (0.5, 0.45))],
        fails=[private((0.6, 0.6), (0.5, 0.49))],
        unsure=[private((0.6, 0.6), (0.5, wide(0.475, 0.48)))],
    ),
    larger("zen/table-7", "increasing the number of filters", "cifar10", {"conv": 16}, {"conv": 128}),
    Case(
        "zen/table-7",
        "neither an increase in the number or the width",
        holds=[widths(0.55, 0.56, 0.55, 0.56, 0.55, 0.555)],
        fails=[widths(*with_one(6, 0.55, place, off)) for place in range(6) for off in (0.03, -0.03)],
        unsure=[widths(*[0.55] * place, wide(0.565, 0.57), *[0.55] * (5 - place)) for place in range(5)],
        depends=(
            attacked(
                "zen/table-7",
                "cifar10",
                *of_one("dense", [({"fc": width}, 0.55) for width in WIDTHS]),
                *of_one("mirrored", [({"fc": width}, 0.55 + 0.01 * step) for step, width in enumerate(WIDTHS)]),
            ),
            DENSE,
            MIRRORED,
        ),
    ),
    Case(
        "zen/table-8",
        "it is easier to exploit images of larger dimensions",
        holds=[beside(0.57, 0.57)],
        fails=[beside(0.59, 0.62)],
        unsure=[beside(wide(0.575, 0.58), 0.57), beside(0.57, wide(0.585, 0.58))],
        depends=(
            beside(0.57, 0.62),
            {f"{attack}, mnist" for attack in ("dense", "mirrored")},
            {f"{attack}, fashion-mnist" for attack in ("dense", "mirrored")},
        ),
    ),
    larger("zen/section-5.3", "the deeper the model is", "cifar10", {"depth": 4}, {}),
    all_alike(
        "zen/section-5.3",
        "neither an increase in the number […] of the FC layers",
        "cifar10",
        [{"dense": 1}, {"dense": 3}],
    ),
    no_matter("no effects on the results of the attack when adapting batch size", "batch", (8, 256)),
    no_matter(
        "no effects on the results of the attack when adapting […] activation", "activation", ("tanh", "sigmoid")
    ),
    at_chance("poorly trained or untrained models", ("0 epochs", "1 epochs"), {"epochs": 0}, {"epochs": 1}),
    Case(
        "zen/section-5.3",
        "the accuracy of the target model has on its own",
        holds=[trained_on("model_accuracy", 0.4, 0.41)],
        fails=[trained_on("model_accuracy", 0.4, 0.43), trained_on("model_accuracy", 0.4, 0.4, (0.58, 0.59))],
        unsure=[
            trained_on("model_accuracy", 0.4, wide(0.415, 0.42)),
            trained_on("model_accuracy", 0.4, 0.4, (0.58, wide(0.605, 0.6))),
        ],
        depends=(trained_on("model_accuracy", 0.4, 0.4, one="mirrored"), DENSE, MIRRORED),
    ),
    Case(
        "zen/section-5.3",
        "overfitting of the target model",
        holds=[trained_on("gap", 0.2, 0.3)],
        fails=[trained_on("gap", 0.2, 0.21), trained_on("gap", 0.2, 0.3, (0.58, 0.59))],
        unsure=[trained_on("gap", 0.2, wide(0.225, 0.22)), trained_on("gap", 0.2, 0.3, (0.58, wide(0.605, 0.6)))],
        depends=(trained_on("gap", 0.2, 0.3, one="mirrored"), DENSE, MIRRORED),
    ),
    Case(
        "zen/section-5.3",
        "attacking during an earlier training round",
        holds=[seen(*rounds(0.55, 0.6)), seen(*rounds(0.51, 0.53))],
        fails=[seen(*rounds(0.6, 0.55)), seen(*rounds(0.53, 0.51))],
        unsure=[seen(*rounds(0.55, wide(0.555, 0.55))), seen(*rounds(0.49, 0.515)), seen(*rounds(0.51, 0.49))],
        depends=(
            seen(*rounds(0.55, 0.6, attack="dense"), *rounds(0.6, 0.55, attack="mirrored")),
            DENSE,
            MIRRORED,
        ),
    ),
    at_chance("for a larger number of clients", (), {**FEDERATED, "clients": 10}),
]
