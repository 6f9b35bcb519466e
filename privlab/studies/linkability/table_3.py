"""Table 3: what is learned together: FedAvg beside central learning, neighbours and chance.

Federated learning as everywhere here (a tenth of the devices a round, one epoch each, a hundred rounds), and the same
head trained on all devices' examples by the same number of epochs, ten. The paper's task has several labels an image,
ours one; both are scored by the mean over classes of the average precision.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from privlab import runtime
from privlab.metrics import linkability as metrics
from privlab.sharing import predictions
from privlab.studies.bench.printed import Printed, reported
from privlab.studies.bench.sentence import Found, Outcome, ratio
from privlab.studies.bench.study import Cell, Claim, Metrics, Table
from privlab.studies.linkability._closed_world import splits, splits_in
from privlab.studies.linkability._federation import (
    BATCH,
    LR,
    SPLITS,
    UNITS,
    Devices,
    cells_of,
    devices,
    recorded,
    study,
)

NEIGHBOURS = 10
COMPARABLE, TWICE = 0.9, 2.0


def _classes(about: Devices) -> int:
    return len(about.head.get_parameter("output.bias"))


def _federated(cell: Cell, about: Devices, seed: int) -> Tensor:
    model = recorded(cell, seed, about.tested.images.device).model
    return predictions.predict(model, about.tested.images)


def _central(cell: Cell, about: Devices, seed: int) -> Tensor:
    images, labels = (torch.cat([getattr(each, part) for each in about.clients]) for part in ("images", "labels"))
    how = {"epochs": round(cell["rounds"] * cell["fraction"]), "lr": LR, "batch": BATCH, "optimiser": "sgd"}
    trained = predictions.fit(about.head, images, labels, **how, seed=runtime.derive(seed, "central"))
    return predictions.predict(trained, about.tested.images)


def _neighbours(_cell: Cell, about: Devices, _seed: int) -> Tensor:
    """The labels of the ten nearest features, averaged."""
    images, labels = (torch.cat([getattr(each, part) for each in about.clients]) for part in ("images", "labels"))
    known = torch.nn.functional.one_hot(labels, _classes(about)).float()
    nearest = [
        torch.cdist(part, images[:, 0]).topk(NEIGHBOURS, largest=False).indices
        for part in about.tested.images[:, 0].split(1024)
    ]
    return known[torch.cat(nearest)].mean(1)


def _chance(_cell: Cell, about: Devices, seed: int) -> Tensor:
    random = runtime.generator(runtime.derive(seed, "chance"))
    return torch.rand(len(about.tested.labels), _classes(about), generator=random)


METHODS: dict[str, Callable[[Cell, Devices, int], Tensor]] = {
    "federated": _federated,
    "central": _central,
    "knn": _neighbours,
    "chance": _chance,
}


def cells(name: str) -> list[Cell]:
    """Four ways, on each split that the data allow."""
    return unattacked(name, *({"split": split, "method": method} for split in splits(name) for method in METHODS))


def unattacked(name: str, *changes: Cell) -> list[Cell]:
    """Cells of a federation that nobody attacks."""
    return [
        {key: value for key, value in cell.items() if key not in ("attack", "layer")}
        for cell in cells_of(name, *changes)
    ]


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """The mean over classes of the average precision on held-out examples, and the share of right decisions."""
    about = devices(cell, seed, device)
    scores, truth = METHODS[cell["method"]](cell, about, seed).cpu(), about.tested.labels.cpu()
    return {
        "utility": metrics.average_precision(scores, truth).nanmean().item(),
        "top1": (scores.argmax(1) == truth).double().mean().item(),
    }


PRINTED = {"FedAvg": "federated", "centralised": "central", "k-NN": "knn", "chance": "chance"}


def _place(row: Printed) -> Cell:
    named = {**{title: name for name, title in SPLITS.items()}, "day": "session"}
    return {"split": named[row.split], "method": PRINTED[row.variant]}


def _against(table: Table, high: str, low: str, factor: float, split: str) -> Outcome:
    return ratio(
        table.values("utility", method=high, split=split), table.values("utility", method=low, split=split), factor
    )


def _comparable(table: Table) -> Found:
    return {split: _against(table, "federated", "central", COMPARABLE, split) for split in splits_in(table)}


def _not_trivial(table: Table) -> Found:
    return {
        f"{title}, {split}": _against(table, "federated", low, TWICE, split)
        for low, title in (("chance", "chance"), ("knn", "k-NN"))
        for split in splits_in(table)
    }


STUDY = study(
    "table-3",
    "What is learned together: the task",
    "section 8.1, Table 3",
    cells=cells,
    run=run,
    knob="method",
    metrics=("utility", "top1"),
    reported=reported("linkability", "3", _place, units=UNITS, step=1e-3),
    claims=(
        Claim(
            "the decentralized learning (FedAvg) achieves a comparable performance to the centralized learning",
            "section 8.1 (ii)",
            _comparable,
            "the mean average precision over classes, after as many epochs: more than nine tenths",
        ),
        Claim(
            "the baselines chance level and K-NN have low performances",
            "section 8.1 (i)",
            _not_trivial,
            "the mean average precision over classes: FedAvg's is more than twice as large",
        ),
    ),
)
