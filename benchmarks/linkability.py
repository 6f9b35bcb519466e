"""Linkability: one epoch of forty clients on frozen features, side by side against one after the other."""

import functools
from collections.abc import Iterator

import torch
from races import SEED, Duel, Row, main

from privlab import models
from privlab.sharing import federated, together

TIMES = 10  # the goal: so many times as fast, at least, with features that are pooled to one number a map
CLIENTS, EXAMPLES = 40, 24
HOW = {"epochs": 1, "batch": 8, "lr": 0.1}
SIZES = {"pooled": 64, "whole": 1024}  # numbers of features of `models.mobile`


def clients(features: int, count: int) -> list[federated.Client]:
    """So many clients with noise for features and ten classes."""
    random = torch.Generator().manual_seed(SEED)
    return [
        federated.Client(
            torch.rand(EXAMPLES, 1, features, generator=random), torch.randint(10, (EXAMPLES,), generator=random)
        )
        for _ in range(count)
    ]


def beside(model: torch.nn.Module, some: list[federated.Client]) -> list[federated.Update]:
    """All at once."""
    return together.local_updates(model, some, **HOW, random=torch.Generator().manual_seed(SEED))


def one_by_one(model: torch.nn.Module, some: list[federated.Client]) -> list[federated.Update]:
    """The loop."""
    random = torch.Generator().manual_seed(SEED)
    return [federated.local_update(model, each, **HOW, random=random) for each in some]


def rows(quick: bool = False) -> Iterator[Row]:
    """Two races: a head of 64 neurons on few features, and on many, where the weights no longer fit the cache."""
    for name, features in SIZES.items():
        model = models.fully_connected((1, features), 10, widths=(64,), seed=SEED)
        asked = model, clients(features, 3 if quick else CLIENTS)
        warm = functools.partial(beside, *asked)
        duel = Duel(
            f"clients-together-{name}", functools.partial(beside, *asked), functools.partial(one_by_one, *asked), warm
        )
        ours, loop = duel.seconds(1 if quick else 9)
        yield Row(
            duel.name,
            f"{1000 * ours:.1f} CPU ms",
            f"{1000 * loop:.1f} CPU ms",
            loop / ours,
            f"{TIMES}" if name == "pooled" else "",
            loop / ours >= TIMES if name == "pooled" else None,
            {"seconds": ours, "loop_seconds": loop},
        )


if __name__ == "__main__":
    main(__doc__, rows)
