"""Section 5.3 in words: membership inference and one adaptation at a time."""

from collections.abc import Callable

from privlab.studies.bench.sentence import UNDECIDED, Found, Outcome, alike, both, negated, told
from privlab.studies.bench.study import Cell, Claim, Table
from privlab.studies.zen._membership import BASE, CHANCE, NOTABLE, SHADOWS, both_attacks, gains, study

FEDERATED: Cell = {"clients": 3, "rounds": 3, "epochs": 5}
EARLY: Cell = {"clients": 3, "rounds": 1, "epochs": 5}
CHANGES: tuple[Cell, ...] = (
    *({}, {"depth": 3}, {"depth": 4}, {"dense": 1}, {"dense": 3}, {"batch": 8}, {"batch": 256}),
    *({"activation": "tanh"}, {"activation": "sigmoid"}, {"epochs": 0}, {"epochs": 1}, {"epochs": 30}),
    *(FEDERATED, {**FEDERATED, "clients": 10}, {**FEDERATED, "iid": False}, {**EARLY, "iid": False}),
)


def cells(name: str) -> list[Cell]:
    """One adaptation at a time."""
    return both_attacks(*({"data": name, **BASE, **change} for change in CHANGES))


def _each(test: Callable[[Table, str], Outcome]) -> Callable[[Table], Found]:
    return lambda table: {attack: test(table, attack) for attack in SHADOWS}


def _deeper_hurts(table: Table, attack: str) -> Outcome:
    return told(gains(table, {"depth": 4}, {}, attack), NOTABLE)


def _number_of_layers(table: Table, attack: str) -> Outcome:
    return both(*(alike(gains(table, {}, {"dense": count}, attack), NOTABLE) for count in (1, 3)))


def _unmoved(knob: str, *values: object) -> Callable[[Table], Found]:
    def test(table: Table) -> Found:
        return {
            f"{value}, {attack}": alike(gains(table, {}, {knob: value}, attack), NOTABLE)
            for value in values
            for attack in SHADOWS
        }

    return test


def _above_chance(table: Table, change: Cell, attack: str) -> list[float]:
    return [value - CHANCE for value in table.values("attack_accuracy", **{**BASE, **change, "attack": attack})]


def _little_from(table: Table, change: Cell, attack: str) -> Outcome:
    return negated(told(_above_chance(table, change, attack), NOTABLE))


def _poorly_trained(table: Table) -> Found:
    return {
        f"{epochs} epochs, {attack}": _little_from(table, {"epochs": epochs}, attack)
        for epochs in (0, 1)
        for attack in SHADOWS
    }


def _overfitted(table: Table, attack: str) -> Outcome:
    """Thirty epochs leave a wider gap than fifteen, and an attack that is right more often."""
    return both(*(told(gains(table, {}, {"epochs": 30}, attack, name), NOTABLE) for name in ("gap", "attack_accuracy")))


def _accuracy_says_little(table: Table, attack: str) -> Outcome:
    """As accurate on others' images, and yet attacked otherwise."""
    accuracy = alike(gains(table, {}, {"epochs": 30}, attack, "model_accuracy"), NOTABLE)
    return both(accuracy, told(gains(table, {}, {"epochs": 30}, attack), NOTABLE))


def _earlier(table: Table, attack: str) -> Outcome:
    """Undecided where neither attack is for sure above chance: an order of guesses says nothing."""
    late, early = {**FEDERATED, "iid": False}, {**EARLY, "iid": False}
    succeeds = [told(_above_chance(table, change, attack), NOTABLE) for change in (late, early)]
    order = told(gains(table, late, early, attack))
    return UNDECIDED if order is not None and True not in succeeds else order


def _more_clients(table: Table, attack: str) -> Outcome:
    return _little_from(table, {**FEDERATED, "clients": 10}, attack)


TWO = "two points of attack accuracy"
STUDY = study(
    "section-5.3",
    "Membership inference and one adaptation at a time",
    "section 5.3",
    cells=cells,
    knob="depth",
    claims=(
        Claim(
            "the deeper the model is, the less accurate the result of the attack is likely to be",
            "section 5.3",
            _each(_deeper_hurts),
            f"four convolutions against two, by more than {TWO}",
        ),
        Claim(
            "neither an increase in the number […] of the FC layers resulted in notable difference in MIA results",
            "section 5.3",
            _each(_number_of_layers),
            f"one and three dense layers against two, within {TWO}",
        ),
        Claim(
            "no effects on the results of the attack when adapting batch size",
            "section 5.3",
            _unmoved("batch", 8, 256),
            f"8 and 256 against 32, as many epochs, within {TWO}",
        ),
        Claim(
            "no effects on the results of the attack when adapting […] activation functions",
            "section 5.3",
            _unmoved("activation", "tanh", "sigmoid"),
            f"tanh and sigmoid against ReLU, within {TWO}",
        ),
        Claim(
            "poorly trained or untrained models provide severely worse inference results",
            "section 5.3",
            _poorly_trained,
            f"no and one epoch: no more than {TWO} above chance",
        ),
        Claim(
            "the accuracy of the target model has on its "
            "own an insignificant effect […] when comparing two trained models",
            "section 5.3",
            _each(_accuracy_says_little),
            "fifteen and thirty epochs: accuracies within two points of each other, attacks more than two apart, so "
            "that something else decides",
        ),
        Claim(
            "overfitting of the target model […] results in a more accurate inference",
            "section 5.3",
            _each(_overfitted),
            "thirty epochs against fifteen: gap and attack larger by more than two points",
        ),
        Claim(
            "attacking during an earlier training round in the "
            "non-IID setting […] results in a more accurate inference",
            "section 5.3",
            _each(_earlier),
            "three clients with labels of their own, after one round of three and after all three; no order where "
            "neither attack is more than two points above chance",
        ),
        Claim(
            "for a larger number of clients, all attacks we "
            "discuss failed to obtain […] a high confidence inference prediction",
            "section 6",
            _each(_more_clients),
            f"ten clients that share the images: no more than {TWO} above chance",
        ),
    ),
)
