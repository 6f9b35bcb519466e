"""Figure 4: the share of devices that take part in a round, and how fast the shared model learns.

By rounds, and by updates sent: a hundred rounds with C = 0.1 send as many as twenty with 0.5 and ten with 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from privlab import runtime
from privlab.sharing import federated, together
from privlab.sharing.losses import cross_entropy, of_logits
from privlab.sharing.predictions import predict
from privlab.studies.bench.sentence import POINT, Found, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table, cell_key
from privlab.studies.linkability._federation import BASE, BATCH, EPOCHS, LR, SHARED, devices, study
from privlab.studies.linkability.table_3 import unattacked

FRACTIONS = (0.1, 0.5, 1.0)
SENT = BASE["rounds"] * BASE["fraction"]  # updates a device, on average, after which fractions are compared
NEAR = 0.1  # of training loss


def cells(name: str) -> list[Cell]:
    """Three shares."""
    return unattacked(name, *({"fraction": fraction} for fraction in FRACTIONS))


@dataclass(frozen=True)
class Curve:
    """The shared model before each round and after the last: its loss on all devices' examples, and its accuracy on
    held-out ones, `(rounds + 1,)`.
    """

    loss: Tensor
    accuracy: Tensor


def curve(cell: Cell, seed: int, device: torch.device) -> Curve:
    """FedAvg with the cell's share."""
    about = devices(cell, seed, device)
    images, labels = (torch.cat([getattr(each, part) for each in about.clients]) for part in ("images", "labels"))
    seen: list[tuple[float, float]] = []

    def look(model: nn.Module) -> None:
        loss = of_logits(predict(model, images), labels, cross_entropy).item()
        seen.append((loss, federated.accuracy(model, about.tested.images, about.tested.labels)))

    def train(model: nn.Module, clients: Sequence[federated.Client], **how: Any) -> Sequence[federated.Update]:
        look(model)
        return together.local_updates(model, clients, **how)

    how = {"rounds": cell["rounds"], "epochs": EPOCHS, "batch": BATCH, "lr": LR, "fraction": cell["fraction"]}
    look(federated.fed_avg(about.head, about.clients, **how, seed=runtime.derive(seed, "federation"), train=train))
    return Curve(*torch.tensor(seen, dtype=torch.float64).T)


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Training loss and accuracy after all rounds, after a tenth of them, and after ten updates of each device."""
    found = curve(cell, seed, device)
    places = {"": cell["rounds"], "_early": cell["rounds"] // 10, "_sent": round(SENT / cell["fraction"])}
    return {
        f"{name}{place}": values[min(at, cell["rounds"])].item()
        for place, at in places.items()
        for name, values in (("loss", found.loss), ("utility", found.accuracy))
    }


def _good_trade_off(table: Table) -> Found:
    few = {"fraction": FRACTIONS[0]}
    found = {}
    for fraction in FRACTIONS[1:]:
        more = {"fraction": fraction}
        found[f"loss, C = {fraction:g}"] = told(table.gains("loss_sent", few, more))
        found[f"accuracy, C = {fraction:g}"] = told(table.gains("utility_sent", more, few), -POINT)
    return found


def _all_are_no_better(table: Table) -> Found:
    few = {"fraction": FRACTIONS[0]}
    return {
        f"C = {fraction:g}": told([NEAR - gain for gain in table.gains("loss", {"fraction": fraction}, few)])
        for fraction in FRACTIONS[1:]
    }


STUDY = study(
    "figure-4",
    "How many devices take part in a round",
    "section 8.1, Figure 4",
    cells=cells,
    run=run,
    knob="fraction",
    metrics=("loss", "loss_early", "loss_sent", "utility", "utility_early", "utility_sent"),
    together=lambda cell: cell_key({name: cell[name] for name in SHARED if name in cell}),
    subject=curve,
    claims=(
        Claim(
            "C = 0.1 provides a good trade-off between the computational efficiency and AP performance",
            "section 8.1, Figure 4",
            _good_trade_off,
            "as many updates sent, ten a device: lower training loss, and accuracy lower by less than a point",
        ),
        Claim(
            "After as many rounds a tenth of the devices has learned nearly as much as all of them.",
            "Figure 4",
            _all_are_no_better,
            "a hundred rounds: training loss larger by less than 0.1",
            ours=True,
        ),
    ),
)
