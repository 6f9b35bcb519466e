"""Membership: all attacks on matrices of signals against a loop over examples; shadow models in two processes against
one.
"""

import functools
import time
from collections.abc import Iterator

import torch
from races import SEED, Duel, Row, main
from scipy.stats import norm

from privlab import models
from privlab.attacks import membership
from privlab.sharing import predictions

SECONDS, TIMES = 0.5, 1.8  # the goals: all attacks within, two processes at least so many times as fast


def signals(targets: int, references: int, examples: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Signals as log-confidences are, below 0: of targets, of references, and which reference used what."""
    random = torch.Generator().manual_seed(SEED)
    used = predictions.halves(references, examples, random)
    made = -torch.rand(targets + references, examples, generator=random) * 4
    return made[:targets], made[targets:] + used * 0.5 - 0.5, used


def attacks(target: torch.Tensor, references: torch.Tensor, used: torch.Tensor) -> list[torch.Tensor]:
    """LiRA, LiRA with shared variance and BaVarIA, online and offline, and RMIA."""
    population = target[:, :400], references[:, :400]
    made = [membership.rmia(target, references, used, population=population)]
    for online in (True, False):
        made.append(membership.lira(target, references, used, online=online))
        made.append(membership.lira(target, references, used, online=online, shared=True))
        made.append(membership.bavaria(target, references, used, online=online))
    return made


def one_by_one(target: torch.Tensor, references: torch.Tensor, used: torch.Tensor) -> torch.Tensor:
    """LiRA online alone, example by example, as the published script does it."""
    found = torch.empty_like(target)
    for place in range(target.shape[1]):
        inside = references[used[:, place], place].numpy()
        outside = references[~used[:, place], place].numpy()
        asked = target[:, place].numpy()
        ratio = norm.logpdf(asked, inside.mean(), inside.std(ddof=1)) - norm.logpdf(
            asked, outside.mean(), outside.std(ddof=1)
        )
        found[:, place] = torch.from_numpy(ratio)
    return found


def make(seed: int) -> torch.nn.Module:
    """A LeNet of 16 and 16 filters for colour images of 16 pixels."""
    return models.lenet((3, 16, 16), 10, filters=(16, 16), seed=seed)


def shadows(workers: int, count: int, epochs: int) -> torch.Tensor:
    """What so many LeNets say of 400 images of noise, half of which each is trained on."""
    random = torch.Generator().manual_seed(SEED)
    images, labels = torch.rand(400, 3, 16, 16, generator=random), torch.randint(10, (400,), generator=random)
    used = predictions.halves(count, 400, random)
    return predictions.fit_and_ask(make, images, labels, used, epochs=epochs, workers=workers, progress=False)


def rows(quick: bool = False) -> Iterator[Row]:
    """Two races."""
    asked = signals(2, 8, 50) if quick else signals(20, 64, 1000)
    duel = Duel("membership-attacks", functools.partial(attacks, *asked), functools.partial(one_by_one, *asked))
    ours, loop = duel.seconds(1 if quick else 5)
    yield Row(
        duel.name,
        f"{ours:.2f} CPU s for seven",
        f"{loop:.2f} CPU s for one",
        loop / ours,
        f"{SECONDS} s",
        ours <= SECONDS,
        {"seconds": ours, "loop_seconds": loop},
    )
    how = {"count": 4, "epochs": 1} if quick else {"count": 16, "epochs": 15}
    shadows(2, 2, 1)  # the processes start
    duel = Duel("membership-shadows", functools.partial(shadows, 2, **how), functools.partial(shadows, 1, **how))
    ours, loop = duel.seconds(1 if quick else 3, time.perf_counter)
    yield Row(
        duel.name,
        f"{ours:.1f} s, two processes",
        f"{loop:.1f} s, one",
        loop / ours,
        f"{TIMES}",
        loop / ours >= TIMES,
        {"seconds": ours, "loop_seconds": loop},
    )


if __name__ == "__main__":
    main(__doc__, rows)
