"""Which attack is best with how many reference models."""

import functools

import torch
from torch import Tensor

from privlab import runtime
from privlab.metrics import membership as metrics
from privlab.sharing import predictions
from privlab.studies.bench.sentence import Found, both, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table
from privlab.studies.membership._records import EXAMPLES, inputs, maker, scores, study

TARGETS, MOST, POPULATION, EPOCHS = 8, 64, 400, 100
REFERENCES = (4, 16, 64)
ATTACKS = ("rmia", "lira", "lira shared", "bavaria")


def cells(name: str) -> list[Cell]:
    """The loss alone, and four attacks with 4, 16 and 64 references, which were trained on the example or not, or not
    only.
    """
    base = {"data": name, "model": "mlp"}
    alone = [{**base, "attack": "loss", "references": 0, "online": False}]
    return alone + [
        {**base, "attack": attack, "references": count, "online": online}
        for attack in ATTACKS
        for count in REFERENCES
        for online in (True, False)
        if _possible(attack, count)
    ]


def _possible(attack: str, references: int) -> bool:
    """Of four references, many an example has one of a sort, and so no variance of its own."""
    return not (attack == "lira" and references == REFERENCES[0])


@functools.lru_cache(maxsize=2)
def _answers(name: str, seed: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """What 8 targets and 64 references say of all records, the records' labels, and who was trained on what.

    The last records are the population, on which nobody was trained.
    """
    values, labels, classes = inputs(name, EXAMPLES + POPULATION, seed)
    values, labels = values.to(device), labels.to(device)
    members = len(values) - POPULATION
    used = torch.zeros(TARGETS + MOST, len(values), dtype=torch.bool)
    used[:, :members] = predictions.halves(TARGETS + MOST, members, runtime.derive(seed, "halves"))
    make = maker(tuple(values.shape[1:]), classes)
    made = predictions.fit_and_ask(make, values, labels, used, epochs=EPOCHS, seed=seed, progress=False)
    return made.cpu(), labels.cpu(), used


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Eight targets, each trained on a random half of 1000 records; means over the targets.

    scored: the share of records that the attack could score, having references of both sorts.
    """
    logits, labels, used = _answers(cell["data"], seed, str(device))
    members = len(labels) - POPULATION
    count = TARGETS + cell["references"]
    found, known = scores(cell, logits[:TARGETS], logits[TARGETS:count], labels, used[TARGETS:count], members)
    inside = used[:TARGETS, :members]
    made = metrics.score(found, inside[:, known])
    right = (logits[:TARGETS].argmax(2) == labels).double()
    return {
        "auc": made.auc,
        "tpr_at_fpr_1pct": made.tpr_at_fpr_1pct,
        "scored": known.double().mean().item(),
        "model_accuracy": right[:, members:].mean().item(),
        "gap": (right[:, :members][inside].mean() - right[:, members:].mean()).item(),
    }


def _best(table: Table, count: int, attack: str, metric: str) -> Found:
    own = {"references": count, "online": True}
    others = [name for name in ATTACKS if name != attack and _possible(name, count)]
    return both(*(told(table.gains(metric, {**own, "attack": other}, {**own, "attack": attack})) for other in others))


def _references_help(table: Table) -> Found:
    few = {"attack": "loss", "references": 0}
    return {
        attack: told(table.gains("auc", few, {"attack": attack, "references": MOST, "online": True}), 0.05)
        for attack in ATTACKS
    }


STUDY = study(
    "attacks",
    "Membership attacks over the number of reference models",
    "Carlini et al. 2022; Zarifzadeh et al. 2024; Brännvall 2026",
    cells=cells,
    run=run,
    knob="references",
    metrics=("auc", "tpr_at_fpr_1pct", "scored", "model_accuracy", "gap"),
    claims=(
        Claim(
            "With four references the relative attack has the largest area under the curve.",
            "Zarifzadeh et al. 2024, section 4",
            lambda table: _best(table, 4, "rmia", "auc"),
            "online, against LiRA with shared variance and BaVarIA",
            ours=True,
        ),
        Claim(
            "With 64 references BaVarIA has the largest area under the curve.",
            "Brännvall 2026, section 5",
            lambda table: _best(table, 64, "bavaria", "auc"),
            "online, against LiRA, LiRA with shared variance and the relative attack",
            ours=True,
        ),
        Claim(
            "Reference models raise the area under the curve.",
            "Carlini et al. 2022, section V",
            _references_help,
            "64 of them, online, by more than 0.05 over the loss alone",
            ours=True,
        ),
    ),
)
