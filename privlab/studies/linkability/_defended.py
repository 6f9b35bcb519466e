"""Identification behind a mitigation, and what it costs the task; behind secure aggregation too."""

import functools
import json

import torch
from torch import Tensor, nn

from privlab import runtime
from privlab.attacks import linkability
from privlab.metrics import linkability as metrics
from privlab.sharing import federated
from privlab.studies.bench.study import Cell, Metrics, cell_key
from privlab.studies.linkability import _mitigations as mitigations
from privlab.studies.linkability._federation import devices, known_and_asked, recorded

NONE = {"mitigation": "none"}
SUMMED = {"mitigation": "sums", "fraction": 0.5, "rounds": 20}  # as many updates, of enough clients a round
PROMISED = ("epsilon", "delta", "unit", "where")
ALSO = ("svm", "knn")  # of which, and of the network, the adversary who chooses takes the best
WIDE, NARROW = 4096, 1024  # rows of more numbers are projected, at random, on fewer


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """What a mitigation leaves of identification, and of the task.

    reduction: by which part the network's average precision is smaller than without a mitigation, as the paper says it;
    reduction_above_random: of what it has above random scores; reduction_best: so of an adversary who tries others too
    (a support vector machine and neighbours, of sums a linear regression) and takes the best; reduction_waiting: so of
    one who can tell which updates are one device's, and names the mean of all of them. They are left out where nothing
    is above random without a mitigation. relative_utility: the accuracy of the task, over that without a mitigation.
    """
    plain: Cell = {"alpha": 1.0} if cell["mitigation"] == "sums" else {**NONE, "alpha": 0.0, "layer": "output"}
    undefended = {**{name: cell[name] for name in cell if name not in PROMISED}, **plain}
    found, before = (_measured(cell_key(each), seed, str(device)) for each in (cell, undefended))
    made = {name: value for name, value in found.items() if not name.startswith("random")}
    if before["utility"]:
        made["relative_utility"] = found["utility"] / before["utility"]
    if cell["mitigation"] != "sums":  # of which more are right by chance than of single updates
        made["reduction"] = 1 - found["ap"] / before["ap"]
    chance = (("above_random", "ap", "random"), ("best", "ap_best", "random"), ("waiting", "ap_waiting", "random_once"))
    for name, of, random in chance:
        if of in found:
            gain, most = ((each[of] - each[random]) / (1 - each[random]) for each in (found, before))
            if most > 0:
                made[f"reduction_{name}"] = 1 - gain / most
    return made


@functools.lru_cache(maxsize=4)
def _measured(key: str, seed: int, device: str) -> dict[str, float]:
    cell: Cell = json.loads(key)
    where = torch.device(device)
    log = recorded({**cell, **NONE, "alpha": 0.0} if cell["mitigation"] == "sums" else cell, seed, where)
    tested = devices(cell, seed, where).tested
    utility = federated.accuracy(log.model, tested.images, tested.labels)
    own = runtime.derive(seed, "attack")
    if cell["mitigation"] == "sums":
        return {**_of_sums(cell, seed, where, own), "utility": utility}
    known, users, asked, truth = known_and_asked(log, cell["layer"])
    known, asked = _narrow(known, own), _narrow(asked, own)

    first, second = _means(known, users), _means(asked, truth)

    def ask(attack: str) -> Tensor:
        both = torch.cat([asked, second])
        return linkability.identify(known, users.to(known.device), both, attack=attack, seed=own).cpu()

    scores = {attack: ask(attack).split([len(asked), len(second)]) for attack in ("mlp", *ALSO)}
    found = metrics.score(scores["mlp"][0], truth, seed=own)
    everyone = torch.arange(len(second))
    waiting = [(second @ first.T).cpu(), *(each for _, each in scores.values())]
    return {
        **vars(found),
        "ap_best": max(_precision(each, truth) for each, _ in scores.values()),
        "ap_waiting": max(_precision(each, everyone) for each in waiting),
        "random": found.ap / found.times_random,
        "random_once": (1.0 / (everyone + 1)).mean().item(),  # of one right answer, at a place drawn at random
        "utility": utility,
    }


def _precision(scores: Tensor, truth: Tensor) -> float:
    return metrics.average_precision(scores, truth).nanmean().item()


def _means(rows: Tensor, owners: Tensor) -> Tensor:
    """The mean of each owner's rows, of length one; owners are numbered from 0 without gaps."""
    return nn.functional.normalize(torch.stack([rows[owners == each].mean(0) for each in owners.unique()]), dim=1)


def _narrow(rows: Tensor, seed: int) -> Tensor:
    """Rows without what is not finite, which a training that noise blew up sends; wide ones projected."""
    rows = rows.nan_to_num(0.0, 0.0, 0.0)
    if rows.shape[1] > WIDE:
        random = runtime.generator(runtime.derive(seed, "projection"))
        rows = rows @ torch.randn(rows.shape[1], NARROW, generator=random).to(rows)
    return nn.functional.normalize(rows, dim=1)


def _of_sums(cell: Cell, seed: int, device: torch.device, own: int) -> dict[str, float]:
    """Secure aggregation: sums of first devices are known with who is in them; is a user among a sum of second ones?

    ap: the mean over users of the average precision of all sums, those in which the user is being right ones. More
    summed, more are right by chance, so that random scores have a larger one too.
    """
    log = recorded({**cell, **NONE, "alpha": 0.0}, seed, device)
    counts = torch.tensor([len(each.labels) for each in devices(cell, seed, device).clients])
    raw = log.layers["output"].cpu() * (log.lengths["output"].cpu() * counts[log.clients])[:, None]
    groups = mitigations.grouped(log.numbers, log.rounds, int(cell["alpha"]), own)
    rows = nn.functional.normalize(torch.stack([raw[group].sum(0) for group in groups]), dim=1)
    present = torch.zeros(len(groups), cell["users"], dtype=torch.bool)
    for number, group in enumerate(groups):
        present[number, log.users[group]] = True
    first = torch.tensor([int(log.numbers[group[0]]) == 0 for group in groups])
    asked = present[~first]
    found = {}
    for attack in linkability.AMONG:
        scores = linkability.among(rows[first], present[first], rows[~first], attack=attack, seed=own)
        found[attack] = metrics.average_precision(scores, asked).nanmean().item()
    random = metrics.random_precision(asked, cell["users"], seed=own)
    return {
        "ap": found["mlp"],
        "ap_best": max(found.values()),
        "random": random,
        "times_random": found["mlp"] / random,
    }
