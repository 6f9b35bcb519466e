"""The cosine attack with restarts together, against one restart after the other with plain autograd.

Speed is restart-iterations per CPU second on one thread, set-up included, on DLG's LeNet and on a narrow ResNet-18;
where there is a GPU the same there, per second that passes. Quality is that of a LeNet with ReLU at equal iterations.
"""

import dataclasses
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import loops
import torch
from races import SEED, Duel, Row, main
from torch import nn

from privlab import data, models
from privlab.attacks import inverting_gradients
from privlab.metrics import reconstruction
from privlab.sharing import federated

UNSEEN = SEED + 1  # victims of the quality race: the default weight was chosen on those of SEED
NORMALISED = 4  # times that the total variation weighs more on images divided by their deviation
LENET = {"filters": (12, 12, 12), "fc": (), "pool": "stride"}


@dataclass(frozen=True)
class Speed:
    """A race for speed. restarts: of ours at once; batch: images behind the gradient; goal: of the ratio."""

    network: str
    restarts: int
    iterations: int
    goal: float
    batch: int = 1

    @property
    def name(self) -> str:
        """What the table calls it."""
        several = f"-batch{self.batch}" if self.batch > 1 else ""
        return f"cosine-{self.network}{several}-x{self.restarts}"


RACES = (
    Speed("lenet", 1, 500, 1.2),
    Speed("lenet", 8, 300, 6),
    Speed("lenet", 32, 150, 6),
    Speed("resnet-batchnorm", 1, 150, 1.2),
    Speed("resnet-batchnorm", 32, 50, 3),
    Speed("resnet-batchnorm", 8, 60, 2, batch=4),
    Speed("resnet-groupnorm", 1, 150, 1.2),
)
ON_GPU = (*RACES, Speed("lenet", 1024, 60, 0))


def network(name: str, shape: tuple[int, ...], classes: int) -> nn.Module:
    """The network of a race."""
    if name == "lenet":
        return models.lenet(shape, classes, activation="sigmoid", seed=SEED, **LENET)
    return models.resnet18(shape, classes, width=8, norm=name.removeprefix("resnet-")[:5], seed=SEED).eval()


def duel(race: Speed, device: str = "cpu") -> Duel:
    """Ours with all restarts, against one restart of the loop."""
    victims = data.load("patches").sample(race.batch, SEED).to(device)
    shape, labels = victims.shape, victims.labels
    model = network(race.network, shape, len(victims.classes)).to(device)
    sent = federated.gradient(model, victims.images, labels)

    def ours(iterations: int) -> float:
        options = {"shape": shape, "restarts": race.restarts, "iterations": iterations, "seed": SEED}
        return inverting_gradients.reconstruct(model, sent, labels[None], **options).loss.sum().item()

    def loop(iterations: int) -> float:
        return loops.cosine(model, sent, labels, shape, iterations=iterations, seed=SEED)[1]

    each = race.iterations
    return Duel(race.name, partial(ours, each), partial(loop, each), warm=lambda: (ours(2), loop(2)))


def speed(race: Speed, rounds: int, device: str = "cpu") -> Row:
    """The row of one race for speed."""
    ours, loop = duel(race, device).seconds(rounds, time.process_time if device == "cpu" else time.perf_counter)
    rates = race.restarts * race.iterations / ours, race.iterations / loop
    ratio, goal = rates[0] / rates[1], race.goal if device == "cpu" else 0
    return Row(
        race.name + ("" if device == "cpu" else f"-{device}"),
        f"{rates[0]:.0f} a second",
        f"{rates[1]:.0f} a second",
        ratio,
        f"at least {goal:g} times" if goal else "",
        ratio >= goal if goal else None,
        {"ours": rates[0], "loop": rates[1]},
    )


def quality(iterations: int, count: int, restarts: int) -> Iterator[Row]:
    """Decibels of the restart of lowest own loss, mean over victims: ours by default and with the loop's weight.

    The loop's weight of the total variation is that of its paper, in the images' own units. Its code works on images
    that are divided by their deviation, where the variation weighs about four times as much: that is raced too.
    """
    victims = data.load("patches").sample(count, UNSEEN)
    model = models.lenet(victims.shape, len(victims.classes), seed=UNSEEN, **LENET)
    pairs = list(zip(victims.images[:, None], victims.labels[:, None], strict=True))
    sent = [federated.gradient(model, *pair) for pair in pairs]

    def loop(alpha: float) -> float:
        best = []
        for gradient, (_, label) in zip(sent, pairs, strict=True):
            how = {"alpha": alpha, "iterations": iterations}
            tried = [
                loops.cosine(model, gradient, label, victims.shape, seed=UNSEEN + restart, **how)
                for restart in range(restarts)
            ]
            best.append(min(tried, key=lambda each: each[1])[0])
        return reconstruction.psnr(torch.cat(best), victims.images).mean().item()

    published, normalised = loop(loops.ALPHA), loop(NORMALISED * loops.ALPHA)
    for name, options, theirs in (
        ("defaults", {}, max(published, normalised)),
        ("loop's-alpha", {"alpha": loops.ALPHA}, published),
    ):
        settings = {"shape": victims.shape, "restarts": restarts, "iterations": iterations, "seed": UNSEEN, **options}
        found = inverting_gradients.reconstruct(model, sent, victims.labels[:, None], **settings)
        ours = reconstruction.psnr(found.best()[:, 0], victims.images).mean().item()
        yield Row(
            f"cosine-quality-{name}",
            f"{ours:.1f} dB",
            f"{theirs:.1f} dB",
            None,
            f"at least {theirs:.1f} dB",
            ours >= theirs,
            {"ours": ours, "loop": theirs, "published": published, "normalised": normalised},
        )


def tiny(race: Speed) -> Speed:
    """The same with two restarts at most and two iterations, to see that it works."""
    return dataclasses.replace(race, restarts=min(race.restarts, 2), iterations=2)


def rows(quick: bool) -> Iterator[Row]:
    """All races of this script."""
    for race in RACES:
        yield speed(tiny(race) if quick else race, rounds=3)
    if torch.cuda.is_available():
        for race in ON_GPU:
            yield speed(tiny(race) if quick else race, rounds=3, device="cuda")
    yield from quality(*((3, 2, 2) if quick else (500, 8, 4)))


if __name__ == "__main__":
    main(__doc__, rows)
