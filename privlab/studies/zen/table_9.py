"""Table 9: membership inference and differential privacy."""

from privlab.studies.bench.printed import Printed, Reading, Reported, reported
from privlab.studies.bench.sentence import Found, told
from privlab.studies.bench.study import Cell, Claim, Table
from privlab.studies.zen import _membership as common
from privlab.studies.zen._membership import BASE, NOTABLE, SHADOWS, UNITS, study

IMAGES, EPSILON = 2500, 1.751  # of one owner; the paper's three have some four thousand each


def cells(name: str) -> list[Cell]:
    """Without noise, and with such as spends epsilon 1.751 on each example; two kinds of shadow models."""
    return common.both_attacks(
        *({"data": name, **BASE, "images": IMAGES, "epsilon": epsilon} for epsilon in (0.0, EPSILON))
    )


def _printed() -> tuple[Reported, ...]:
    def ways(row: Printed) -> list[Reading]:
        epsilon = EPSILON if row.variant == "dp=1.751" else 0.0
        return [
            Reading({"epsilon": epsilon, "attack": attack}, name)
            for attack, name in (("dense", ""), ("mirrored", "shadows like the target"))
        ]

    return reported("zen", "9", ways, step=1e-3, units=UNITS)


def _scale(cell: Cell, _item: Reported) -> str:
    return f"{cell['images']:,} images, {cell['epochs']} of 50 epochs, one client of three"


def _gains(table: Table, metric: str, attack: str) -> list[float]:
    """By how much a number is larger without noise."""
    plain = {"attack": attack}
    return table.gains(metric, {**plain, "epsilon": EPSILON}, {**plain, "epsilon": 0.0})


def _reduces(table: Table) -> Found:
    return {attack: told(_gains(table, "attack_accuracy", attack), NOTABLE) for attack in SHADOWS}


STUDY = study(
    "table-9",
    "Membership inference and differential privacy",
    "Table 9",
    cells=cells,
    data={"fast": ("digits",), "real": ("mnist", "cifar10"), "paper": ("mnist", "cifar10")},
    knob="epsilon",
    reported=_printed(),
    scale=_scale,
    large=lambda cell: False,
    claims=(
        Claim(
            "The addition of DP reduced the effectiveness of this attack",
            "section 5.3, Table 9",
            _reduces,
            "epsilon 1.751 against no noise, more than two points of attack accuracy",
        ),
        Claim(
            "for small values of ε (up to 1.8) resulted in a performance degradation",
            "section 5.3, Table 9",
            lambda table: told(_gains(table, "model_accuracy", "dense"), NOTABLE),
            "accuracy on others' images, more than two points",
        ),
    ),
)
