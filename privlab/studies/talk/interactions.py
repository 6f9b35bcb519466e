"""Two defences at once: whether they add up, leave each other alone, or cannot live together."""

import functools
from collections.abc import Sequence
from dataclasses import fields, replace

import torch
from torch import nn

from privlab import runtime
from privlab.defences import aggregation
from privlab.sharing.federated import Update
from privlab.studies._data import checksum, dataset
from privlab.studies.bench.sentence import Found, Outcome, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Study, Table
from privlab.studies.bench.takes import Takes
from privlab.studies.talk import _federation as federation
from privlab.studies.talk import _readings as readings
from privlab.studies.talk._defences import DEFENCES
from privlab.studies.talk._federation import CLIENTS, MALICIOUS, Defence, World, mean
from privlab.studies.talk._lies import LIES, success

GROUPS = (1, 2, 4, 10, 20)  # clients whose updates a server sees as one sum
PAIRS: dict[tuple[str, str], tuple[str, ...]] = {
    ("dp_sgd", "median"): ("sign_flipping", "model_replacement", "membership"),
    ("dp_sgd", "norm_clipping"): ("sign_flipping", "model_replacement", "membership"),
    ("median", "adversarial_training"): ("sign_flipping", "evasion"),
    ("norm_clipping", "pruning"): ("sign_flipping", "model_replacement", "membership"),
    ("norm_clipping", "distillation"): ("sign_flipping", "model_replacement", "evasion", "membership"),
    ("adversarial_training", "distillation"): ("evasion",),
    ("dp_sgd", "pruning"): ("model_replacement", "membership"),
    ("distillation", "labels_only"): ("membership", "extraction"),
}
BLINDED = ("sign_flipping", "model_replacement")
SEEN = 0.1
LITTLE = 0.02  # of success: less than that is no difference


def cells(name: str) -> list[Cell]:
    """The median of sums of groups; and pairs of defences that do not change the same step."""
    common = {"data": name, "clients": CLIENTS}
    lying = {"malicious": MALICIOUS}
    made: list[Cell] = [
        {**common, **lying, "attack": attack, "defence": "secure_sum", "beside": "median", "group": group}
        for attack in BLINDED
        for group in GROUPS
    ]
    for (one, other), attacks in PAIRS.items():
        for attack in attacks:
            count = MALICIOUS if attack in LIES else 0
            made.append({**common, "malicious": count, "attack": attack, "defence": one, "beside": other})
    return made


def together(one: Defence, other: Defence) -> Defence:
    """Both at once. Raises ValueError where both change the same step."""
    changed = {}
    for field in fields(Defence):
        usual = getattr(Defence(), field.name)
        values = [value for each in (one, other) if (value := getattr(each, field.name)) is not usual]
        if len(values) > 1:
            raise ValueError(f"both defences change the step {field.name!r}; they cannot be put together")
        if values:
            changed[field.name] = values[0]
    return replace(Defence(), **changed)


def in_groups(size: int) -> Defence:
    """The median of what a server sees that gets the means of groups of `size` clients, and nothing else.

    Clients are dealt out to the groups in turn, so that liars are in as many as they can be.
    """

    def rule(updates: Sequence[Update]) -> Update:
        count = max(1, len(updates) // size)
        return aggregation.median([mean(updates[group::count]) for group in range(count)])

    return Defence(rule=lambda _world, _model, _malicious: rule, known=lambda _malicious: rule)


@functools.lru_cache(maxsize=8)
def _honest(
    name: str, seed: int, device: str, one: str, other: str, group: int
) -> tuple[World, Defence, nn.Module, float]:
    world = federation.drawn(name, seed, torch.device(device))
    defence = in_groups(group) if group else together(DEFENCES[one], DEFENCES[other])
    timer = runtime.stopwatch()
    model = federation.train(world, defence)
    return world, defence, model, timer()


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """One attack under two defences; what is measured is what `talk/defences` measures.

    group: how many clients' updates the server sees as one sum; liars are in as many groups as they can be.
    """
    found = (cell["defence"], cell["beside"], cell.get("group", 0))
    world, defence, model, seconds = _honest(cell["data"], seed, str(device), *found)
    attack = cell["attack"]
    if attack in LIES:
        made = [success(attack, federation.train(world, defence, lie), world) for lie in LIES[attack]]
        scores = readings.scores(max(made), made[0], success(attack, model, world))
    elif attack == "evasion":
        scores = readings.evaded(world, model, federation.train(world, Defence()))
    elif attack == "extraction":
        scores = readings.stolen(world, model, defence)
    else:
        scores = readings.told(world, defence, functools.partial(_long, defence))
    return {**scores, "accuracy": 1 - federation.error(model, world), "seconds": seconds}


def _long(defence: Defence, world: World) -> nn.Module:
    return federation.train(world, defence, rounds=readings.LONG)


def _blinds(table: Table) -> Found:
    found: dict[str, Outcome] = {}
    for attack in BLINDED:
        for group in GROUPS[1:]:
            seen, hidden = ({"attack": attack, "group": size} for size in (1, group))
            found[f"{attack}, sums of {group}"] = told(table.gains("attack_success", seen, hidden), SEEN)
    return found


def _adds_up(table: Table) -> Found:
    """Whether the two leave less than the better of them alone, which talk/defences has measured."""
    single = Table([row for row in table.rows if "beside" not in row["cell"]])
    found: dict[str, Outcome] = {}
    for (one, other), attacks in PAIRS.items():
        for attack in attacks:
            alone = [_by_draw(single, attack=attack, defence=each) for each in (one, other)]
            pair = _by_draw(table, attack=attack, defence=one, beside=other)
            draws = set.intersection(*map(set, (pair, *alone)))
            less = [min(each[draw] for each in alone) - pair[draw] for draw in sorted(draws)]
            found[f"{one} and {other}, {attack}"] = told(less, LITTLE)
    return found


def _by_draw(table: Table, **settings: object) -> dict[int, float]:
    return {row["seed"]: row["metrics"]["attack_success"] for row in table.select(**settings).rows}


STUDY = Study(
    id="talk/interactions",
    title="Two defences at once",
    source="the talk Adversarial interference (its first question: how do defences interact)",
    version=1,
    cells=cells,
    run=run,
    data={"fast": ("digits",), "real": (), "paper": ("mnist",)},
    seeds={"fast": 3, "real": 3, "paper": 3},
    knob="attack",
    metrics=("attack_success", "naive", "baseline", "accuracy", "seconds"),
    load=dataset,
    names_data=False,
    checksum=checksum,
    takes=Takes(least=1300),
    beside=("talk/defences",),
    together=lambda cell: (cell["data"], cell["defence"], cell["beside"], cell.get("group", 0)),
    claims=(
        Claim(
            "Some of these methods are incompatible with each other",
            "the talk, of defences",
            _blinds,
            "the median of sums of 2, 4, 10 or all 20 clients lets a tenth more through than that of single updates",
        ),
        Claim(
            "Two defences stop more than the better of them alone.",
            "ours",
            _adds_up,
            "each pair against the attacks that one of them is for: two points of success less",
            ours=True,
        ),
    ),
)
