"""Bins: a gradient in memory to the images alone in theirs, against a loop over pairs of neighbouring neurons.

The gradients are made without a network, of a hundred colour pictures in random bins. A read is the time of one sum
over the gradient. Where a thousand neurons hold a hundred pictures, a tenth of it has to be written besides.
"""

import statistics
import time
from collections.abc import Iterator

import loops
import torch
from extraction import RACES, Size
from races import SEED, Duel, Row, main

from privlab.attacks import bins
from privlab.sharing.federated import Gradient

READS = 2  # the goal: at most so many


def gradient(size: Size) -> tuple[Gradient, int]:
    """A gradient, and how many images are alone in their bins."""
    random = torch.Generator().manual_seed(SEED)
    images = torch.randint(0, 256, (100, 3 * size.side**2), generator=random) / 255
    places = torch.randint(0, size.neurons, (100,), generator=random)
    slopes = torch.randn(100, generator=random).sign() / 100
    active = (torch.arange(size.neurons)[:, None] <= places) * slopes
    alone = int((places.bincount() == 1).sum())
    return Gradient({"fc1.weight": active @ images, "fc1.bias": active.sum(1)}, examples=100), alone


def duel(size: Size) -> Duel:
    """Both ways of taking one gradient apart; raises where one of them does not find all images."""
    shared, alone = gradient(size)

    def ours() -> torch.Tensor:
        return bins.extract(shared, shape=(3, size.side, size.side)).images

    def loop() -> torch.Tensor:
        return loops.bins(*shared.layer("fc1"))

    for way in (ours, loop):
        if len(found := way()) != alone:
            raise RuntimeError(f"bins-{size.form}: {len(found)} images instead of {alone}")
    return Duel(f"bins-{size.form}", ours, loop)


def raced(size: Size) -> Iterator[Row]:
    """The rows of one race: time, and reads of the gradient."""
    weight, _ = gradient(size)[0].layer("fc1")
    reads = []
    for _ in range(2 * size.rounds):
        start = time.process_time()
        weight.sum()
        reads.append(time.process_time() - start)
    ours, loop = duel(size).seconds(size.rounds)
    read = statistics.median(reads)
    measured = {"ours": ours, "loop": loop, "read": read}
    yield Row(f"bins-{size.form}", *[f"{1e3 * each:.1f} ms" for each in (ours, loop)], loop / ours, measured=measured)
    texts = [f"{each / read:.1f} reads" for each in (ours, loop)]
    yield Row(f"bins-{size.form}", *texts, None, f"at most {READS} reads", ours <= READS * read, measured)


def rows(quick: bool) -> Iterator[Row]:
    """All races of this script."""
    for size in (Size(200, 32, 2),) if quick else RACES:
        yield from raced(size)


if __name__ == "__main__":
    main(__doc__, rows)
