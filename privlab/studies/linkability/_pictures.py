"""What Tables 5 and 7 share: who made this one image."""

import dataclasses
import json
from typing import Any

import torch
from torch import Tensor

from privlab import models, runtime
from privlab.metrics import linkability as metrics
from privlab.sharing import predictions
from privlab.studies.bench.printed import Printed, reported
from privlab.studies.bench.sentence import Found, told
from privlab.studies.bench.study import Cell, Metrics, Study, Table
from privlab.studies.linkability._closed_world import splits, splits_in
from privlab.studies.linkability._federation import (
    METRICS,
    NEURONS,
    UNITS,
    WIDTH,
    everyone,
    of_people,
    pretrained,
    shared_out,
    study,
)

EPOCHS, LR = 40, 1e-3


def cells(name: str, users: int | None = None) -> list[Cell]:
    """One network, on each split that the data allow: the devices of the attacks on updates."""
    base = {**of_people(name, users), "attack": "image"}
    return [{**base, "split": split} for split in splits(name)]


def scores(cell: Cell, seed: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Log probabilities of the users `(Z, U)` for each image of the second devices, and whose they are.

    The whole network is trained on the first devices' images, from where it learned the task on the background: as the
    paper's begins with ImageNet. A smaller attack would make updates look better.
    """
    found = everyone(cell, seed)
    where, _ = shared_out(found, cell["split"], seed)
    first, second = (
        [(each.user, found.images[each.chosen].to(device)) for each in where if each.number == number]
        for number in (0, 1)
    )
    (known, users), (asked, truth) = (_joined(each) for each in (first, second))
    net = models.mobile(known.shape[1:], len(first), width=WIDTH, neurons=NEURONS, seed=runtime.derive(seed, "image"))
    start = pretrained(found, seed, str(device)).state_dict()
    net.load_state_dict({name: each for name, each in start.items() if not name.startswith("output")}, strict=False)
    net = predictions.fit(net.to(device), known, users, epochs=EPOCHS, lr=LR, seed=runtime.derive(seed, "image"))
    return predictions.predict(net, asked).log_softmax(1).cpu(), truth.cpu()


def _joined(devices: list[tuple[int, Tensor]]) -> tuple[Tensor, Tensor]:
    """Images of all devices, and whose each is."""
    users = torch.cat([torch.full((len(images),), user) for user, images in devices])
    images = torch.cat([images for _, images in devices])
    return images, users.to(images.device)


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Identification from one raw image."""
    found = dataclasses.asdict(metrics.score(*scores(cell, seed, device), seed=runtime.derive(seed, "attack")))
    return {**found, "times_chance_at_least": found["times_chance"]}  # printed as a bound too


def _place(row: Printed) -> dict[str, Any] | None:
    return {"split": row.split, "attack": "image"}


def declared(name: str, title: str, sets: tuple[str, ...], **particular: Any) -> Study:
    """Table 5 or 7, by what is particular to it."""
    return study(
        name,
        title,
        f"section 8.2, Table {name[-1]}",
        run=run,
        data={"fast": ("digits",), "real": sets, "paper": sets},
        knob="split",
        metrics=(*(each for each in METRICS if each != "utility"), "times_chance_at_least"),
        reported=reported("linkability", name[-1], _place, step=1.0, units=UNITS),
        together=lambda cell: json.dumps([cell["data"], cell["users"]]),
        subject=scores,
        **particular,
    )


def identify(table: Table, times: float) -> Found:
    """So many times what random scores have, for each split."""
    return {split: told(table.values("times_random", attack="image", split=split), times) for split in splits_in(table)}


def harder(table: Table) -> Found:
    """Less, in multiples of random scores, than the network's attack on updates has of the same devices."""
    image, update = {"attack": "image"}, {"attack": "mlp", "layer": "output", **sole(table, "attack", "image")}
    return {
        split: told(table.gains("times_random", {**image, "split": split}, {**update, "split": split}))
        for split in splits_in(table)
    }


def sole(table: Table, knob: str, value: Any) -> Cell:
    """How many users the cells with a setting have, for those beside them."""
    rows = table.select(**{knob: value}).rows
    return {"users": rows[0]["cell"]["users"]} if rows else {}
