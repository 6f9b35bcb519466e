"""Extraction, from a gradient in memory to images without copies, and Table 5, each against the straightforward way.

The gradients are made without a network, of a hundred smooth colour pictures, each of which activates one neuron in a
hundred, about as few as at the best s. A read is the time of one sum over the gradient.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import loops
import torch
from races import SEED, Duel, Row, main

from privlab import studies
from privlab.attacks import gradient_extraction
from privlab.sharing.federated import Gradient
from privlab.studies._data import dataset
from privlab.studies.curious import _extraction as curious

READS, TIMES = 3, 5  # the goals: at most so many reads, at least so many times as fast as the loop


@dataclass(frozen=True)
class Size:
    """A gradient of so many neurons, for colour pictures of so many pixels a side; and how often it is taken apart."""

    neurons: int
    side: int
    rounds: int

    @property
    def form(self) -> str:
        """Neurons by numbers of an image."""
        return f"{self.neurons}x{3 * self.side**2}"


RACES = (Size(1000, 32, 15), Size(10_000, 32, 5), Size(1000, 224, 3))


def gradient(size: Size) -> tuple[Gradient, int]:
    """A gradient, and how many images it shows."""
    random = torch.Generator().manual_seed(SEED)
    coarse = torch.rand(100, 3, max(2, size.side // 16), max(2, size.side // 16), generator=random)
    images = torch.nn.functional.interpolate(coarse, size=size.side, mode="bilinear")
    images = (images * 255).round().flatten(1) / 255
    active = torch.rand(size.neurons, 100, generator=random) < 0.01
    deltas = torch.randn(size.neurons, 100, generator=random) * active
    alone = deltas[active.sum(1) == 1].ne(0).any(0).sum()
    return Gradient({"fc1.weight": deltas @ images, "fc1.bias": deltas.sum(1)}, examples=100), int(alone)


def duel(size: Size) -> Duel:
    """Both ways of taking one gradient apart; raises where one of them does not find all images."""
    shared, alone = gradient(size)
    weight, bias = shared.layer("fc1")

    def ours() -> torch.Tensor:
        return gradient_extraction.extract(shared, shape=(3, size.side, size.side)).images

    def loop() -> torch.Tensor:
        return loops.extraction(weight, bias)

    for way in (ours, loop):
        if len(found := way()) != alone:
            raise RuntimeError(f"extraction-{size.form}: {len(found)} images instead of {alone}")
    return Duel(f"extraction-{size.form}", ours, loop)


def raced(size: Size) -> Iterator[Row]:
    """The rows of one race: time, and reads of the gradient."""
    shared, _ = gradient(size)
    read = statistics.median(_seconds(partial(torch.sum, shared["fc1.weight"])) for _ in range(2 * size.rounds))
    ours, loop = duel(size).seconds(size.rounds)
    measured = {"ours": ours, "loop": loop, "read": read}
    times, reads = [f"{1e3 * each:.1f} ms" for each in (ours, loop)], [ours / read, loop / read]
    yield Row(f"extraction-{size.form}", *times, loop / ours, f"at least {TIMES} times", loop >= TIMES * ours, measured)
    texts = [f"{each:.1f} reads" for each in reads]
    yield Row(f"extraction-{size.form}", *texts, None, f"at most {READS} reads", reads[0] <= READS, measured)


def _seconds(call: partial) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def table_5(name: str, seeds: int, profile: str) -> Row:
    """Thirteen values of s: weights from one draw, against drawing them anew for every s."""
    study = studies.get("curious/table-5")
    options = {"profile": profile, "data": name, "seeds": seeds, "device": "cpu", "progress": False}
    dataset(name)
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        studies.run(study, store=studies.Store(study, Path(folder)), **options)
        ours = (time.process_time() - start) / seeds
    start = time.process_time()
    for s in curious.SCALES:  # one seed, every s from scratch
        curious.trapped.cache_clear()
        curious.run_trapped({"data": name, "s": s, "batch": 100, "neurons": 1000}, 0, torch.device("cpu"))
    anew = time.process_time() - start
    texts = [f"{each:.2f} s a seed" for each in (ours, anew)]
    return Row(f"table-5-{name}", *texts, anew / ours, measured={"ours": ours, "loop": anew})


def rows(quick: bool) -> Iterator[Row]:
    """All races of this script."""
    for size in (Size(200, 32, 2),) if quick else RACES:
        yield from raced(size)
    yield table_5("digits", *((1, "fast") if quick else (3, "paper")))


if __name__ == "__main__":
    main(__doc__, rows)
