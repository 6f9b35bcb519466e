"""Table 8: membership inference and the data."""

from privlab.studies.bench.sentence import Found, told
from privlab.studies.bench.study import Cell, Claim, Table
from privlab.studies.zen._membership import BASE, NOTABLE, SHADOWS, both_attacks, gains, printed, study

SIMPLE = {"cifar10": ("mnist", "fashion-mnist"), "patches": ("digits",)}  # beside which images, the simpler sets
ALL = ("mnist", "fashion-mnist", "cifar10", "cifar100")


def cells(name: str) -> list[Cell]:
    """LeNet and AlexNet; beside colour images the simpler sets too, for the sentence that compares them."""
    beside = [{"data": name, **BASE, "private": simple} for simple in SIMPLE.get(name, ())]
    return both_attacks({"data": name, **BASE}, {"data": name, **BASE, "model": "alexnet"}, *beside)


def _complex_helps(table: Table) -> Found:
    simple = SIMPLE.get(table.data or "", ())
    found = {(attack, each): gains(table, {"private": each}, {}, attack) for attack in SHADOWS for each in simple}
    return {f"{attack}, {each}": told(values, NOTABLE) for (attack, each), values in found.items()} or None


STUDY = study(
    "table-8",
    "Membership inference and the data",
    "Table 8",
    cells=cells,
    data={"fast": ("digits", "patches"), "real": ALL, "paper": ALL},
    knob="model",
    reported=printed("8"),
    claims=(
        Claim(
            "it is easier to exploit images of larger dimensions "
            "with three channels in comparison to simpler single-channel images",
            "section 5.3",
            _complex_helps,
            "CIFAR-10 against MNIST and against Fashion-MNIST, LeNet, more than two points of attack accuracy",
            data=("cifar10", "patches"),
        ),
    ),
)
