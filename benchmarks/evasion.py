"""Evasion: PGD of 1000 digits and 40 steps against the plain loop of autograd that everyone writes."""

import functools
from collections.abc import Iterator

from loops import pgd
from races import SEED, Duel, Row, main

from privlab import data, models
from privlab.attacks import evasion
from privlab.sharing import predictions

SECONDS = 5  # the goal
HOW = {"epsilon": 0.1, "steps": 40, "step": 0.00625}


def rows(quick: bool = False) -> Iterator[Row]:
    """One race, from the images themselves: both give the same."""
    some = data.load("digits").sample(20 if quick else 1000, SEED)
    blank = models.fully_connected(some.shape, 10, widths=(64,), seed=SEED)
    asked = predictions.fit(blank, some.images, some.labels, epochs=1 if quick else 5), some.images, some.labels
    ours = functools.partial(evasion.pgd, *asked, **HOW, restarts=0)
    duel = Duel(f"pgd-{len(some)}x{HOW['steps']}", ours, functools.partial(pgd, *asked, **HOW), ours)
    mine, loop = duel.seconds(1 if quick else 9)
    measured = {"seconds": mine, "loop_seconds": loop}
    yield Row(
        duel.name, f"{mine:.2f} CPU s", f"{loop:.2f} CPU s", loop / mine, f"{SECONDS} s", mine <= SECONDS, measured
    )


if __name__ == "__main__":
    main(__doc__, rows)
