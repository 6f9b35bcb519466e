"""What the studies of membership share: records of a data set as inputs of a small network, some with a wrong label;
the attacks by name; and what of a study is usual.
"""

import functools
from typing import Any

import torch
from torch import Tensor, nn

from privlab import data, models, runtime
from privlab.attacks import membership
from privlab.studies._data import checksum, dataset
from privlab.studies.bench.study import Cell, Study
from privlab.studies.bench.takes import Takes

EXAMPLES, WRONG = 1000, 0.15
WIDTHS = (64, 64)


def inputs(name: str, count: int, seed: int) -> tuple[Tensor, Tensor, int]:
    """`count` records `(N, C, H, W)` in [0, 1] (a table's as images of one line), labels, and how many classes there
    are.

    Of the labels 15 in 100 are drawn anew: what is learned of these is learned by heart. As many records as there
    are, if there are fewer.
    """
    source = dataset(name)
    drawn = source.sample(min(count, len(source)), runtime.derive(seed, "records"))
    random = runtime.generator(runtime.derive(seed, "wrong"))
    wrong = torch.rand(len(drawn), generator=random) < WRONG
    anew = torch.randint(len(source.classes), (len(drawn),), generator=random)
    return as_images(drawn), torch.where(wrong, anew, drawn.labels), len(source.classes)


def as_images(records: data.Dataset | data.Table) -> Tensor:
    """Records as inputs `(N, C, H, W)`: a table's are images of one line."""
    return records.values[:, None, None] if isinstance(records, data.Table) else records.images


def network(shape: tuple[int, ...], classes: int, seed: int) -> nn.Sequential:
    """Two dense layers of 64 neurons, and the last one."""
    return models.fully_connected(shape, classes, widths=WIDTHS, seed=seed)


def maker(shape: tuple[int, ...], classes: int):
    """A function from a seed to such a network."""
    return functools.partial(_make, shape, classes)


def _make(shape: tuple[int, ...], classes: int, seed: int) -> nn.Sequential:
    return network(shape, classes, seed)


def scores(
    cell: Cell, targets: Tensor, references: Tensor, labels: Tensor, used: Tensor, examples: int
) -> tuple[Tensor, Tensor]:
    """An attack's scores of the first `examples` records, `(T, P)`, and which P of them it could score, bool.

    targets, references: logits `(T, N, K)` and `(R, N, K)`; used: bool `(R, N)`. The relative attack compares with the
    records beyond the first `examples`, on which nobody was trained.
    """
    attack, online = cell["attack"], cell["online"]
    loss = membership.negative_loss(targets, labels)
    if attack == "loss":
        return loss[:, :examples], torch.ones(examples, dtype=torch.bool)
    inside = used[:, :examples]
    least = 2 if attack == "lira" else 1
    known = ((~inside).sum(0) >= least) & ((inside.sum(0) >= least) | (not online))
    inside = inside[:, known]
    if attack == "rmia":
        theirs = membership.negative_loss(references, labels)
        population = loss[:, examples:], theirs[:, examples:]
        own, others = loss[:, :examples][:, known], theirs[:, :examples][:, known]
        return membership.rmia(own, others, inside, population=population, online=online), known
    own, others = (membership.scaled_confidence(each, labels)[:, :examples][:, known] for each in (targets, references))
    if attack == "bavaria":
        return membership.bavaria(own, others, inside, online=online), known
    return membership.lira(own, others, inside, online=online, shared=attack == "lira shared"), known


def likelihoods(confidence: Tensor, used: Tensor) -> Tensor:
    """LiRA's scores `(M, P)` of each of M networks, all others being its references: `confidence` `(M, P)`, one
    variance for all, online.
    """
    scores = []
    for number in range(len(used)):
        others = torch.arange(len(used)) != number
        own = confidence[number : number + 1]
        scores.append(membership.lira(own, confidence[others], used[others], online=True, shared=True)[0])
    return torch.stack(scores)


def study(name: str, title: str, source: str, **particular: Any) -> Study:
    """A study of membership, by what is particular to it."""
    sets = ("location30", "mnist")
    usual = {
        "version": 1,
        "data": {"fast": ("digits",), "real": sets, "paper": sets},
        "seeds": {"fast": 3, "real": 3, "paper": 3},
        "load": dataset,
        "checksum": checksum,
        "takes": Takes(kind="records", least=500),
    }
    return Study(id=f"membership/{name}", title=title, source=source, **{**usual, **particular})
