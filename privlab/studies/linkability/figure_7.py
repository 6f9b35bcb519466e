"""Figure 7: a map of updates, and one of images: does one see users?

t-SNE after PCA to fifty dimensions, as in the paper, of the updates of both devices of everyone, and of as many images
of each device, by their features. The paper maps what the adversary trains on, so that a user is one device: so do the
sentences, of the points of the first devices. Whether a cluster is a user's or a device's shows the second one's.
"""

from dataclasses import dataclass

import torch
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from torch import Tensor

from privlab import runtime
from privlab.studies.bench.sentence import Found, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table
from privlab.studies.linkability._federation import Devices, Recorded, devices, recorded, study
from privlab.studies.linkability.table_3 import unattacked

DIMENSIONS, NEAREST = 50, 10
HALF, LARGER = 0.5, 0.1
UPDATES, IMAGES = {"shown": "updates"}, {"shown": "images"}


def cells(name: str) -> list[Cell]:
    """Two maps."""
    return unattacked(name, UPDATES, IMAGES)


@dataclass(frozen=True)
class Map:
    """Points `(N, 2)`, and user and device of each `(N,)`."""

    points: Tensor
    users: Tensor
    numbers: Tensor


def drawn(cell: Cell, seed: int, device: torch.device) -> Map:
    """The map of a cell's updates, or of as many images of each device."""
    log, about = recorded(cell, seed, device), devices(cell, seed, device)
    rows = log.layers["output"] if cell["shown"] == "updates" else _images(log, about, seed)
    few = PCA(min(DIMENSIONS, *rows.shape), random_state=0, svd_solver="full").fit_transform(rows.cpu().numpy())
    points = TSNE(2, random_state=runtime.derive(seed, "map") % 2**32).fit_transform(few)
    return Map(torch.from_numpy(points), log.users, log.numbers)


def _images(log: Recorded, about: Devices, seed: int) -> Tensor:
    """Features of random images, one of the same device in the place of each update."""
    random, rows = runtime.generator(runtime.derive(seed, "shown")), []
    order = [iter(torch.randperm(len(each.labels), generator=random).tolist() * 100) for each in about.clients]
    place = {client: i for i, client in enumerate(zip(about.users.tolist(), about.numbers.tolist(), strict=True))}
    for client in zip(log.users.tolist(), log.numbers.tolist(), strict=True):
        rows.append(about.clients[place[client]].images[next(order[place[client]]), 0])
    return torch.stack(rows)


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Of the first devices' points: `agreement`, of each one's ten nearest the share that is its user's; `within`, the
    share of the variance that lies within users; `silhouette` by users. Of all: `agreement_of_devices`, of each one's
    ten nearest of other devices the share of its user's; `expected`, the share of these that is.
    """
    found = drawn(cell, seed, device)
    first, points = found.numbers == 0, found.points.double()
    same = found.users[:, None] == found.users
    own = same & (found.numbers[:, None] == found.numbers)
    mine, users = points[first], found.users[first]
    centres = torch.stack([mine[users == user].mean(0) for user in users])
    return {
        "agreement": _nearest(mine, same[first][:, first], torch.eye(len(mine), dtype=torch.bool)),
        "within": ((mine - centres).pow(2).sum() / (mine - mine.mean(0)).pow(2).sum()).item(),
        "silhouette": float(silhouette_score(mine.numpy(), users.numpy())),
        "agreement_of_devices": _nearest(points, same, own),
        "expected": ((same & ~own).sum(1) / (~own).sum(1)).mean().item(),
    }


def _nearest(points: Tensor, same: Tensor, out: Tensor) -> float:
    """The share of the same user among each point's ten nearest that are not left out."""
    apart = torch.cdist(points, points).masked_fill(out, torch.inf)
    nearest = apart.topk(min(NEAREST, len(points) - 1), largest=False).indices
    return same.gather(1, nearest).double().mean().item()


def _coherent(metric: str, table: Table) -> Found:
    return told(table.values(metric, **UPDATES), HALF)


STUDY = study(
    "figure-7",
    "A map of updates, and a map of images",
    "section 8.2, Figure 7",
    cells=cells,
    run=run,
    knob="shown",
    metrics=("agreement", "within", "silhouette", "agreement_of_devices", "expected"),
    subject=drawn,
    claims=(
        Claim(
            "distinctiveness of the user updates, which is characterized by the coherent clusters of updates per user",
            "section 8.2, Figure 7",
            lambda table: _coherent("agreement", table),
            "the map of first devices' updates: of each one's ten nearest more than half are of the same user",
        ),
        Claim(
            "the images exhibit larger variances per user in this embedding space, compared to the model updates",
            "section 8.2, Figure 7",
            lambda table: told(table.gains("within", UPDATES, IMAGES), LARGER),
            "the share of a map's variance within users, of first devices: larger by more than a tenth for images",
        ),
        Claim(
            "A cluster holds both devices of a user.",
            "Figure 7",
            lambda table: _coherent("agreement_of_devices", table),
            "of each update's ten nearest of other devices more than half are of the same user",
            ours=True,
        ),
    ),
)
