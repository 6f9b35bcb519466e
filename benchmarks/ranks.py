"""Rank inversion of ten images, beside the straightforward way: one submatrix after the other, each by an SVD.

The loop makes a number of draws that is given to it; ours stops by its certificate.
"""

import time
from collections.abc import Iterator

import loops
import torch
from races import SEED, Row, main

from privlab import data, models
from privlab.attacks import rank_inversion
from privlab.sharing import federated

SECONDS = 1  # the goal: at most so long for ten images


def raced(batch: int, width: int, draws: int) -> Row:
    """Both ways on one gradient in double precision; raises where ours does not find all images."""
    client = data.load("digits").sample(batch, SEED)
    model = models.fully_connected(client.shape, 10, widths=(width, width), seed=SEED).double()
    images = client.images.double()
    sent = federated.gradient(model, images, client.labels)
    ways = (
        lambda: rank_inversion.reconstruct(model, sent, shape=client.shape).images.flatten(1),
        lambda: loops.rank_inversion(*sent.layer("fc1"), batch, draws),
    )
    spent, found = [], []
    for way in ways:
        start = time.process_time()
        made = way()
        spent.append(time.process_time() - start)
        found.append(len(made) and torch.cdist(images.flatten(1), made).amin(1).max() < 1e-3)
    if not found[0]:
        raise RuntimeError(f"of {batch} images not all were found")
    texts = [f"{each:.2f} CPU s" for each in spent]
    texts[1] += "" if found[1] else ", not all"
    measured = {"seconds": spent[0], "loop_seconds": spent[1]}
    name = f"ranks-{batch}-images"
    ratio = spent[1] / spent[0] if found[1] else None
    return Row(name, *texts, ratio, f"at most {SECONDS} s", spent[0] <= SECONDS, measured)


def rows(quick: bool = False) -> Iterator[Row]:
    """The race of this script: of six images, and of ten."""
    for setting in [(3, 100, 1000)] if quick else [(6, 400, 20_000), (10, 400, 100_000)]:
        yield raced(*setting)


if __name__ == "__main__":
    main(__doc__, rows)
