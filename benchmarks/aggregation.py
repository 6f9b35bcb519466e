"""Robust aggregation: of 100 updates of 100,000 weights beside NumPy's own sort, or the one matrix product that Krum
cannot do without; and a federation of fifty clients with Krum.
"""

import functools
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from races import SEED, Duel, Row, main

from privlab import data, models
from privlab.defences import aggregation
from privlab.sharing import federated, messages, together

TIMES, SECONDS = 2, 20  # the goals: at most so many times as long as the sort or the product, at most so long with Krum


def updates(count: int, size: int) -> list[messages.Update]:
    """So many updates, noise, of a matrix and a vector."""
    random = torch.Generator().manual_seed(SEED)
    shapes = {"fc.weight": (size // 1000, 800), "fc.bias": (size // 5,)}
    made = [{name: torch.randn(shape, generator=random) for name, shape in shapes.items()} for _ in range(count)]
    return [messages.Update(each, {}) for each in made]


def product(rows: torch.Tensor) -> torch.Tensor:
    """All products of two rows, in double."""
    wide = rows.double()
    return wide @ wide.T


def raced(quick: bool) -> Iterator[Row]:
    """Three rules, each against what NumPy or torch takes for the one step that costs."""
    count, size = (10, 5000) if quick else (100, 100_000)
    sent, f = updates(count, size), count // 5
    rows = messages.stack(sent)
    sort = functools.partial(np.sort, rows.numpy(), 0)
    races: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "median": (functools.partial(aggregation.median, sent), sort),
        "trimmed": (functools.partial(aggregation.trimmed_mean, sent, f), sort),
        "krum": (functools.partial(aggregation.krum, sent, f), functools.partial(product, rows)),
    }
    for name, (ours, bare) in races.items():
        mine, least = Duel(f"aggregation-{name}", ours, bare, ours).seconds(1 if quick else 15)
        texts = f"{1000 * mine:.1f} CPU ms", f"{1000 * least:.1f} CPU ms"
        goal = f"at most {TIMES} times"
        measured = {"seconds": mine, "loop_seconds": least}
        yield Row(f"aggregation-{name}", *texts, least / mine, goal, mine <= TIMES * least, measured)


def federation(quick: bool) -> Row:
    """Fifty clients and Krum, side by side, against the mean of the same clients one after the other."""
    source = data.load("digits")
    count, rounds = (7, 1) if quick else (50, 20)
    parts = data.iid(source.labels, count, seed=SEED)
    clients = [federated.Client(source[part].images, source[part].labels) for part in parts]
    model = models.fully_connected(source.shape, 10, widths=(64,), seed=SEED)
    how = {"rounds": rounds, "epochs": 1, "batch": 8, "lr": 0.1, "seed": SEED}
    rule = functools.partial(aggregation.krum, f=count // 5)
    spent = []
    for given in ({"aggregate": rule, "train": together.local_updates}, {"equal": True}):
        start = time.process_time()
        federated.fed_avg(model, clients, **how, **given)
        spent.append(time.process_time() - start)
    texts = [f"{each:.1f} CPU s" for each in spent]
    measured = {"seconds": spent[0], "loop_seconds": spent[1]}
    return Row("krum-50-clients", *texts, spent[1] / spent[0], f"at most {SECONDS} s", spent[0] <= SECONDS, measured)


def rows(quick: bool = False) -> Iterator[Row]:
    """All races of this script."""
    yield from raced(quick)
    yield federation(quick)


if __name__ == "__main__":
    main(__doc__, rows)
