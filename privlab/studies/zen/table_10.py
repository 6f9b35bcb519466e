"""Table 10: which adaptation mitigates which attack.

The paper says yes or no. The rule here, written before anything was measured: an adaptation *mitigates* an attack if,
in the same draw, what the attack gains over a guess falls to a half or less. The attack is adapted, too: shadow models
and decoders are trained as the target is, and DLG knows the bound to which clients clip. Gains over a guess are

- of the decoder, the decibels above the mean of the adversary's own images,
- of DLG, the share of images that reach 30 dB,
- of membership inference, the accuracy above one half.

Where the attack gains next to nothing without the adaptation there is nothing to mitigate, and no answer.
"""

import functools
import json
from collections.abc import Mapping

import torch

from privlab.studies._data import checksum, dataset
from privlab.studies.bench.printed import Printed, Reading, Reported, reported
from privlab.studies.bench.study import Cell, Metrics, Study, cell_key
from privlab.studies.bench.takes import Takes
from privlab.studies.zen import _decoder, _membership, section_5_1
from privlab.studies.zen._gradients import INNER, ITERATIONS, ITERATIONS_OF_DLG

SHARE = 0.5  # of the gain, that an adaptation which mitigates may leave
LEAST = {"decoder": 3.0, "dlg": 0.25, "membership": 0.03}  # dB, a share, accuracy: gains from which on there is a loss
LARGER = {"size": 48}
RECORDS = {"mnist": "cifar10", "digits": "patches"}  # grey digits are not over-fitted: membership has colour images
SAME: tuple[Cell, Cell] = ({}, {})
SMALLER = {
    "decoder": "a smaller network",
    "dlg": f"{section_5_1.BASE['conv']} of 64 filters, {ITERATIONS[1] // INNER} of {ITERATIONS_OF_DLG} iterations",
    "membership": f"{_membership.IMAGES:,} images, one client of three",
}
# By adaptation and attack: how the setting before it differs from the attack's plain one, and the setting after it.
ADAPTATIONS: Mapping[str, Mapping[str, tuple[Cell, Cell]]] = {
    "more_clients": {
        "decoder": ({}, {"clients": 9}),
        "dlg": ({}, {"clients": 4}),
        "membership": ({}, {"clients": 10, "rounds": 3, "epochs": 5}),
    },
    "larger_images": {"decoder": ({}, LARGER), "dlg": ({}, LARGER), "membership": ({"size": 16}, {"size": 32})},
    "deeper_model": {
        "decoder": ({}, {"depth": 4, "cut": "relu4"}),
        "dlg": ({}, {"depth": 5}),
        "membership": ({}, {"depth": 4}),
    },
    "wider_model": {"decoder": ({}, {"conv": 24}), "dlg": ({}, {"conv": 64}), "membership": ({}, {"conv": 128})},
    "larger_batch": {"decoder": ({}, {"batch": 256}), "dlg": ({}, {"batch": 8}), "membership": ({}, {"batch": 256})},
    "discontinuous_activation": {
        "decoder": ({"activation": "tanh"}, {"activation": "relu"}),
        "dlg": ({"activation": "tanh"}, {"activation": "relu"}),
        "membership": ({"activation": "tanh"}, {"activation": "relu"}),
    },
    "differential_privacy": {
        "decoder": ({}, {"protection": "dp"}),
        "dlg": ({}, {"protection": "dp_client"}),
        "membership": ({}, {"epsilon": 6.0}),
    },
    "secure_aggregation": {
        "decoder": ({}, {"protection": "secure_aggregation"}),
        "dlg": ({}, {"protection": "secure_aggregation"}),
        "membership": SAME,  # the outsider asks the finished model, which is the same one
    },
}
ATTACKS = ("decoder", "dlg", "membership")


def cells(name: str) -> list[Cell]:
    """Eight adaptations, and three attacks on each."""
    return [{"data": name, "adaptation": each, "attack": attack} for each in ADAPTATIONS for attack in ATTACKS]


def setting(cell: Cell, adapted: bool) -> Cell:
    """The settings of the attack's own study, before the adaptation and after it."""
    name, change = cell["data"], ADAPTATIONS[cell["adaptation"]][cell["attack"]][adapted]
    if cell["attack"] == "decoder":
        return _decoder.plain_cell(name, (), **change)
    if cell["attack"] == "dlg":
        channels, side = _decoder.form(name)
        return {**section_5_1.plain_cell(name, channels, side), **change}
    return {"data": name, **_membership.BASE, "attack": "mirrored", "private": RECORDS.get(name, "same"), **change}


def gain(attack: str, found: Metrics) -> float:
    """What the attack gains over a guess."""
    if attack == "decoder":
        return found["psnr"] - found["mean_image_psnr"]
    return found["success_rate"] if attack == "dlg" else found["attack_accuracy"] - _membership.CHANCE


RUN = {"decoder": _decoder.run, "dlg": section_5_1.run, "membership": _membership.run}
USEFUL = {"decoder": "accuracy", "membership": "model_accuracy"}


@functools.lru_cache(maxsize=16)
def _measured(attack: str, key: str, seed: int, device: str) -> Metrics:
    return RUN[attack](json.loads(key), seed, torch.device(device))


def measured(cell: Cell, adapted: bool, seed: int, device: torch.device) -> Metrics:
    """What the attack's own study measures, before the adaptation or after it. Many adaptations share a before."""
    return _measured(cell["attack"], cell_key(setting(cell, adapted)), seed, str(device))


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """The gain before and after the adaptation, in one draw. mitigates: 1 where no more than half is left, else 0;
    missing where there was nothing to lose. accuracy, accuracy_before: the network's, where one is trained.
    """
    attack = cell["attack"]
    before, after = (measured(cell, adapted, seed, device) for adapted in (False, True))
    first, then = gain(attack, before), gain(attack, after)
    made = {"gain_before": first, "gain": then}
    if useful := USEFUL.get(attack):
        made |= {"accuracy_before": before[useful], "accuracy": after[useful]}
    if first >= LEAST[attack]:
        made["mitigates"] = float(then <= SHARE * first)
    return made


def _printed() -> tuple[Reported, ...]:
    def place(row: Printed) -> list[Reading]:
        return [Reading({"adaptation": row.variant, "attack": row.metric.removeprefix("mitigates_")})]

    names = {f"mitigates_{attack}": ("mitigates", 1.0, 1.0) for attack in ATTACKS}
    return reported("zen", "10", place, step=1.0, units=names)


def scale(cell: Cell, _item: Reported) -> str:
    """What is smaller than in the paper."""
    return SMALLER[cell["attack"]]


def _others(cell: Cell) -> tuple[str, ...]:
    return (RECORDS[cell["data"]],) if cell["attack"] == "membership" and cell["data"] in RECORDS else ()


STUDY = Study(
    id="zen/table-10",
    title="Which adaptation mitigates which attack",
    source="Zen, Table 10",
    version=1,
    cells=cells,
    run=run,
    data={"fast": ("digits",), "real": ("mnist",), "paper": ("mnist",)},
    seeds={"fast": 1, "real": 3, "paper": 3},
    knob="adaptation",
    metrics=("gain_before", "gain", "mitigates", "accuracy_before", "accuracy"),
    load=dataset,
    checksum=checksum,
    others=_others,
    scale=scale,
    takes=Takes(least=400),
    together=lambda cell: (cell["data"], cell["attack"]),
    reported=_printed(),
)
