"""DLG on its own network, label unknown: CPU seconds an image, against two loops over the framework's L-BFGS.

The network is DLG's LeNet (strides, sigmoid, weights U(-0.5, 0.5)). A victim is found at 30 dB. The loops take a victim
at a time: one beginning, and a new one until it is found or the victim's budget of CPU seconds is spent. `dlg` has
steps of length one, as its authors run it; `dlg-line-search` is the honest plain loop, with the framework's own line
search. There is no ratio unless both sides find something. Loops stop as soon as they are there; ours has its defaults.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import loops
from races import SEED, Duel, Row, colour, main
from torch import Tensor, nn

from privlab import data, models
from privlab.attacks import deep_leakage
from privlab.data import Dataset
from privlab.metrics import reconstruction
from privlab.sharing import federated
from privlab.sharing.federated import Gradient

FOUND = 30.0  # dB
GOAL = 20.0  # CPU seconds a success
LOOPS: dict[str, Callable[..., tuple[Tensor, float]]] = {"dlg": loops.dlg, "dlg-line-search": loops.line_search}


@dataclass(frozen=True)
class Tally:
    """How many of `victims` were found, in how many CPU seconds and from how many beginnings altogether."""

    victims: int
    found: int = 0
    seconds: float = 0.0
    begun: int = 0

    @property
    def each(self) -> float:
        """CPU seconds a success."""
        return self.seconds / self.found if self.found else float("inf")

    def plus(self, found: int, seconds: float, begun: int) -> "Tally":
        """With another attempt."""
        return replace(self, found=self.found + found, seconds=self.seconds + seconds, begun=self.begun + begun)

    def text(self) -> str:
        """The cell of the table."""
        each = f", {self.each:.1f} s each" if self.found else f" in {self.seconds:.0f} s"
        return f"{self.found} of {self.victims}{each}"


def setting(count: int, size: int) -> tuple[nn.Module, Dataset, list[Gradient]]:
    """The network, the victims' images and what each of them sent."""
    victims = colour().sample(count, SEED)
    images = data.resized(victims.images, size, 3)
    options = {"filters": (12, 12, 12), "fc": (), "pool": "stride", "activation": "sigmoid", "init": "uniform:0.5"}
    model = models.lenet(tuple(images.shape[1:]), len(victims.classes), seed=SEED, **options)
    sent = [federated.gradient(model, x[None], y[None]) for x, y in zip(images, victims.labels, strict=True)]
    return model, images, sent


def found(guess: Tensor, image: Tensor) -> int:
    """How many of the guesses are the image."""
    return int((reconstruction.psnr(guess.clamp(0, 1), image) >= FOUND).sum())


def ours(model: nn.Module, sent: list[Gradient], images: Tensor, tally: Tally) -> Tally:
    """The attack with its defaults, on one victim or on several in one call."""
    start = time.process_time()
    guess = deep_leakage.reconstruct(model, sent, shape=images.shape[1:], seed=SEED)
    seconds = time.process_time() - start
    return tally.plus(found(guess.best()[:, 0], images), seconds, int(guess.loss.isfinite().sum()))


def looped(loop: Callable, model: nn.Module, sent: Gradient, image: Tensor, budget: float, tally: Tally) -> Tally:
    """A loop on one victim: beginnings until it is found or the budget is spent."""
    classes, spent, begun, good = len(model(image[None])[0]), 0.0, 0, 0
    while not begun or (not good and spent < budget):
        start = time.process_time()
        guess, _ = loop(model, sent, image.shape, classes, seed=SEED + begun)
        spent, begun, good = spent + time.process_time() - start, begun + 1, found(guess, image[None])
    return tally.plus(good, spent, begun)


def row(name: str, mine: Tally, theirs: Tally) -> Row:
    """The row of the table."""
    ratio = theirs.each / mine.each if mine.found and theirs.found else None
    met = mine.found == mine.victims and mine.each <= GOAL
    goal = f"all, {GOAL:g} s each"
    numbers = {
        f"{side}_{key}": getattr(tally, key)
        for side, tally in (("ours", mine), ("loop", theirs))
        for key in ("found", "seconds", "begun")
    }
    none = next((f"no ratio: {side.found} of {side.victims}" for side in (mine, theirs) if not side.found), "")
    return Row(name, mine.text(), theirs.text(), ratio, goal, met, numbers, none)


def rows(quick: bool) -> Iterator[Row]:
    """Ours victim by victim and all in one call, against each loop."""
    count, size, budget = (1, 8, 1.0) if quick else (8, 32, 12.0)
    model, images, sent = setting(count, size)
    single, tallies = Tally(count), {name: Tally(count) for name in LOOPS}
    for gradient, image in zip(sent, images, strict=True):
        single = ours(model, [gradient], image[None], single)
        for name, loop in LOOPS.items():
            tallies[name] = looped(loop, model, gradient, image, budget, tallies[name])
    together = ours(model, sent, images, Tally(count))
    for how, mine in (("one-a-call", single), (f"{count}-in-one-call", together)):
        for name, theirs in tallies.items():
            yield row(f"{name}-{how}", mine, theirs)


def duel(name: str) -> Duel:
    """The race against a loop, of the first victim alone."""
    model, images, sent = setting(1, 32)
    classes, steps = len(model(images)[0]), 10
    options = {"shape": images.shape[1:], "restarts": 1, "iterations": loops.INNER * steps}

    def mine() -> object:
        return deep_leakage.reconstruct(model, sent, **options)

    def loop() -> object:
        return LOOPS[name](model, sent[0], images.shape[1:], classes, seed=SEED, steps=steps)

    return Duel(name, mine, loop)


if __name__ == "__main__":
    main(__doc__, rows)
