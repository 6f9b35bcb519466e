"""Figure 3: how distinctive people's examples are: features within a person, and between people.

Features are those of the frozen layers, which were trained on others' examples. Made users are further apart the larger
their `strength`; 0 is the control, users who are names and nothing else.
"""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from privlab import data, runtime
from privlab.studies._data import dataset
from privlab.studies.bench.sentence import Found, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table
from privlab.studies.linkability._federation import SETS, STRENGTH, devices, study, users_of

RANDOM = 500  # random examples of others that a person's are compared with
STRENGTHS = (0.0, 1.0, 2.0)
MUCH = 0.8  # of the distance between people: less is much less
MARGIN = 0.01


def cells(name: str) -> list[Cell]:
    """One cell, or one for each strength of made users."""
    base = {"data": name, "users": users_of(name), "split": "random"}
    return [{**base, "strength": strength} for strength in STRENGTHS] if _made(name) else [base]


def _made(name: str) -> bool:
    return name not in SETS["real"] and (name in data.CATALOGUE or dataset(name).users is None)


@dataclass(frozen=True)
class Distances:
    """Of each person the median distance within, and to random others, `(U,)`; and both within classes, NaN for who has
    no two examples of a class.
    """

    intra: Tensor
    inter: Tensor
    intra_of_a_class: Tensor
    inter_of_a_class: Tensor


def distances(cell: Cell, seed: int, device: torch.device) -> Distances:
    """Euclidean distances of features, of both devices' examples."""
    about = devices(cell, seed, device)
    images, labels = (torch.cat([getattr(each, part) for each in about.clients]) for part in ("images", "labels"))
    counts = torch.tensor([len(each.labels) for each in about.clients])
    owner = about.users.repeat_interleave(counts).to(labels.device)
    random, rows = runtime.generator(runtime.derive(seed, "others")), []
    for user in owner.unique():
        mine, theirs = (owner == user).nonzero().flatten(), (owner != user).nonzero().flatten()
        theirs = theirs[torch.randperm(len(theirs), generator=random)[:RANDOM].to(theirs.device)]
        inner, outer = (torch.cdist(images[mine, 0], images[other, 0]) for other in (mine, theirs))
        pairs = torch.ones_like(inner, dtype=torch.bool).triu(1)
        same, alike = (labels[mine][:, None] == labels[other] for other in (mine, theirs))
        rows.append([inner[pairs].median(), outer.median(), _median(inner[pairs & same]), _median(outer[alike])])
    return Distances(*torch.tensor(rows).double().T)


def _median(values: Tensor) -> Tensor:
    return values.median() if len(values) else torch.tensor(torch.nan)


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Means over people; `ratio` is that of each person's two distances, `closer` the share of people in whom the one
    within is the smaller.
    """
    found = distances(cell, seed, device)
    ratio, of_a_class = found.intra / found.inter, found.intra_of_a_class / found.inter_of_a_class
    low, high = ratio.quantile(torch.tensor([0.1, 0.9], dtype=ratio.dtype)).tolist()
    metrics = {
        "intra": found.intra.mean().item(),
        "inter": found.inter.mean().item(),
        "ratio": ratio.mean().item(),
        "ratio_low": low,
        "ratio_high": high,
        "closer": (ratio < 1).double().mean().item(),
    }
    if of_a_class.isnan().all():  # of an alphabet everyone draws each character once
        return metrics
    return {**metrics, "ratio_of_a_class": of_a_class.nanmean().item()}


def _usual(table: Table) -> Cell:
    """Of made users those of the usual strength."""
    return {"strength": STRENGTH} if any("strength" in row["cell"] for row in table.rows) else {}


def _nearer(table: Table, metric: str, limit: float) -> Found:
    return told([limit - value for value in table.values(metric, **_usual(table))])


def _with_strength(table: Table) -> Found:
    return {
        f"{low:g} to {high:g}": told(table.gains("ratio", {"strength": high}, {"strength": low}), MARGIN)
        for low, high in itertools.pairwise(STRENGTHS)
    }


STUDY = study(
    "figure-3",
    "How distinctive people's examples are",
    "section 7.3, Figure 3",
    cells=cells,
    run=run,
    knob="strength",
    metrics=("intra", "inter", "ratio", "ratio_low", "ratio_high", "closer", "ratio_of_a_class"),
    subject=distances,
    claims=(
        Claim(
            "intra-user distances are much lower than the inter-user distances",
            "section 7.3",
            lambda table: _nearer(table, "ratio", MUCH),
            "medians of features' distances, the mean over people of the one over the other: less than 0.8",
        ),
        Claim(
            "A person's examples are nearer to one another than to others' examples.",
            "section 7.3, Figure 3",
            lambda table: _nearer(table, "ratio", 1 - MARGIN),
            "medians of features' distances, the mean over people of the one over the other: less than 0.99",
            ours=True,
        ),
        Claim(
            "Of the same class, too, a person's examples are nearer to one another than to others'.",
            "section 7.3",
            lambda table: _nearer(table, "ratio_of_a_class", 1 - MARGIN),
            "pairs of one class alone: the mean over people of the one over the other, less than 0.99",
            ours=True,
            data=("digits", "mnist-writers", "mitbih"),
        ),
        Claim(
            "The further apart users are made, the more distinctive their images are.",
            "Figure 3",
            _with_strength,
            "strengths 0, 1 and 2: at each step the ratio of the distances falls by more than 0.01",
            ours=True,
            data=("digits",),
        ),
    ),
)
