"""Table 7: membership inference and the width of the target."""

from privlab.studies.bench.sentence import Found, Outcome, alike, both, told
from privlab.studies.bench.study import Cell, Claim, Table
from privlab.studies.zen._membership import BASE, NOTABLE, SHADOWS, at_scale, both_attacks, gains, printed, study

FILTERS, WIDTHS = (16, 32, 64, 128), (64, 128, 256, 512, 1024, 2048)


def cells(name: str) -> list[Cell]:
    """Four numbers of filters, and six widths of the first dense layer."""
    small = [{"data": name, **BASE, **knob} for knob in (*({"conv": n} for n in FILTERS), *({"fc": n} for n in WIDTHS))]
    return both_attacks(*small, *map(at_scale, small))


def _more_filters(table: Table) -> Found:
    return {attack: told(gains(table, {"conv": 16}, {"conv": 128}, attack), NOTABLE) for attack in SHADOWS}


def _no_width(attack: str, table: Table) -> Outcome:
    widest = WIDTHS[-1]
    return both(*(alike(gains(table, {"fc": widest}, {"fc": width}, attack), NOTABLE) for width in WIDTHS[:-1]))


STUDY = study(
    "table-7",
    "Membership inference and the width of the target",
    "Table 7",
    cells=cells,
    knob="conv",
    reported=printed("7"),
    claims=(
        Claim(
            "increasing the number of filters in the convolutional "
            "layers could significantly increase the accuracy of the attack",
            "section 5.3, Table 7",
            _more_filters,
            "128 filters against 16, more than two points of attack accuracy",
        ),
        Claim(
            "neither an increase in the number or the width of "
            "the FC layers resulted in notable difference in MIA results",
            "section 5.3, Table 7",
            lambda table: {attack: _no_width(attack, table) for attack in SHADOWS},
            "2048 neurons against each narrower width, within two points of attack accuracy; the number: section 5.3",
        ),
    ),
)
