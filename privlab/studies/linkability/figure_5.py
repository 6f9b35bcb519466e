"""Figure 5: which layer's update tells whose it is.

A whole network of nine layers, trained before on the background, goes on in a federation of ten users, with nothing
frozen. Updates of one layer after the other are attacked, all of one federation. As many numbers as there are updates
suffice for those of a large layer: `spanned`.
"""

import dataclasses
import functools
import json

import torch
from torch import Tensor

from privlab.sharing import federated
from privlab.studies.bench.sentence import Found, Outcome, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table, cell_key
from privlab.studies.linkability._federation import (
    FEDERATION,
    METRICS,
    Devices,
    Recorded,
    cells_of,
    everyone,
    pretrained,
    record,
    scored,
    shared_out,
    study,
    users_of,
)

BLOCKS = (1, 2, 3)
LAYERS = ("conv1", *(f"{kind}{block}" for block in BLOCKS for kind in ("depth", "point")), "fc1", "output")
USERS, LR = 10, 0.01  # the paper's learning rate


def cells(name: str) -> list[Cell]:
    """The network's attack on each layer."""
    return cells_of(name, *({"users": min(USERS, users_of(name)), "layer": layer} for layer in LAYERS))


@functools.lru_cache(maxsize=1)
def _recorded(key: str, seed: int, device: str) -> tuple[Recorded, Devices]:
    cell = json.loads(key)
    found = everyone(cell, seed)
    network = pretrained(found, seed, device)
    images, labels = found.images.to(device), found.labels.to(device)
    where, held = shared_out(found, cell["split"], seed)
    about = Devices(
        tuple(federated.Client(images[each.chosen], labels[each.chosen]) for each in where),
        torch.tensor([each.user for each in where]),
        torch.tensor([each.number for each in where]),
        network,
        federated.Client(images[held], labels[held]),
        federated.Client(found.background.to(device), found.background_labels.to(device)),
    )
    return record(cell, about, seed, LAYERS, lr=LR), about


def _shared(cell: Cell, seed: int, device: torch.device) -> tuple[Recorded, Devices]:
    return _recorded(cell_key({name: cell[name] for name in FEDERATION if name in cell}), seed, str(device))


def recorded(cell: Cell, seed: int, device: torch.device) -> Recorded:
    """The updates of all layers in a federation that trains the whole network."""
    return _shared(cell, seed, device)[0]


def spanned(rows: Tensor) -> Tensor:
    """Rows `(N, D)` in coordinates of the space that they span, `(N, N)` where D is larger: lengths and angles stay.

    What is learned from such rows by steps along them, from zero, is the same: a network differs in its first weights.
    """
    return rows if rows.shape[1] <= len(rows) else torch.linalg.qr(rows.T, mode="r").R.T.contiguous()


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Identification by the updates of one layer. parameters: how many numbers they have."""
    log, about = _shared(cell, seed, device)
    layer = cell["layer"]
    part = dataclasses.replace(log, layers={layer: spanned(log.layers[layer])})
    return {**scored(cell, part, about, seed), "parameters": log.layers[layer].shape[1]}


def _more(table: Table, low: str, high: str) -> Outcome:
    return told(table.gains("ap", {"layer": low}, {"layer": high}))


def _above_chance(table: Table) -> Found:
    return {layer: told(table.values("times_strangers", layer=layer), 1.0) for layer in LAYERS}


def _higher_layers(table: Table) -> Found:
    """Of layers of one kind, the last against the first."""
    first, last = BLOCKS[0], BLOCKS[-1]
    return {name: _more(table, f"{kind}{first}", f"{kind}{last}") for kind, name in KINDS.items()}


def _more_parameters(table: Table) -> Found:
    return {f"block {block}": _more(table, f"depth{block}", f"point{block}") for block in BLOCKS}


KINDS = {"depth": "depthwise", "point": "pointwise"}
STUDY = study(
    "figure-5",
    "Which layer tells whose update it is",
    "section 8.2, Figure 5",
    cells=cells,
    run=run,
    knob="layer",
    metrics=(*METRICS, "parameters"),
    subject=recorded,
    claims=(
        Claim(
            "all layers provide above-chance level information to the adversary to perform the identification attack",
            "section 8.2, Figure 5 (i)",
            _above_chance,
            "nine layers: the network's precision over that of its scores for strangers, more than one",
        ),
        Claim(
            "higher level layers contain more identifiable information",
            "section 8.2, Figure 5 (ii)",
            _higher_layers,
            "of three depthwise and of three pointwise convolutions: a larger precision by the last than by the first",
        ),
        Claim(
            "for two convolutional layers at similar depths, the layer with a higher number of parameters is more "
            "informative",
            "section 8.2, Figure 5 (iii)",
            _more_parameters,
            "three pairs of a depthwise convolution and the larger pointwise one after it: a larger precision",
        ),
        Claim(
            "the final Fully Connected (FC) layer updates are the most informative",
            "section 8.2, Figure 5 (iv)",
            lambda table: {layer: _more(table, layer, LAYERS[-1]) for layer in LAYERS[:-1]},
            "a larger precision than by each other layer, in the same draws",
        ),
    ),
)
