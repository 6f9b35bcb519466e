"""DP-SGD: a step of it over a plain step, for a LeNet; ours, by example in one pass, against the hooks of Opacus."""

import copy
import statistics
import time
import warnings
from collections.abc import Callable, Iterator

import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from races import SEED, Row, main

from privlab import models
from privlab.defences import dp_sgd
from privlab.sharing.federated import Client, cross_entropy

STEPS = 2  # the goal: plain steps that one of DP-SGD costs at most
HOW = {"clip": 1.0, "noise": 1.0}


def plain(model: torch.nn.Module, client: Client, steps: int) -> torch.nn.Module:
    """Steps of SGD."""
    own = copy.deepcopy(model)
    optimiser = torch.optim.SGD(own.parameters(), lr=0.1)
    for _ in range(steps):
        optimiser.zero_grad()
        cross_entropy(own(client.images), client.labels).backward()
        optimiser.step()
    return own


def ours(model: torch.nn.Module, client: Client, steps: int) -> torch.nn.Module:
    """Steps of DP-SGD with all examples in every mini-batch."""
    return dp_sgd.train(model, client, **HOW, epochs=steps, batch=len(client.labels), lr=0.1)


def hooks(model: torch.nn.Module, client: Client, steps: int) -> torch.nn.Module:
    """The same with Opacus alone: hooks on the layers find each example's gradient."""
    warnings.filterwarnings("ignore", "Full backward hook is firing")
    own = GradSampleModule(copy.deepcopy(model))
    optimiser = DPOptimizer(
        torch.optim.SGD(own.parameters(), lr=0.1),
        noise_multiplier=HOW["noise"],
        max_grad_norm=HOW["clip"],
        expected_batch_size=len(client.labels),
        generator=torch.Generator().manual_seed(SEED),
    )
    for _ in range(steps):
        optimiser.zero_grad()
        cross_entropy(own(client.images), client.labels).backward()
        optimiser.step()
    return own


def seconds(model: torch.nn.Module, client: Client, *, steps: int, rounds: int) -> dict[str, float]:
    """The median time of a step of each way, turn by turn, so that a busy machine slows all."""
    ways: dict[str, Callable] = {"plain": plain, "ours": ours, "hooks": hooks}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():  # what is done once in a process
        way(model, client, 1)
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            way(model, client, steps)
            times[name].append((time.process_time() - start) / steps)
    return {name: statistics.median(each) for name, each in times.items()}


def rows(quick: bool = False) -> Iterator[Row]:
    """One race: 64 colour images of 32 pixels."""
    random = torch.Generator().manual_seed(SEED)
    count = 4 if quick else 64
    client = Client(torch.rand(count, 3, 32, 32, generator=random), torch.randint(10, (count,), generator=random))
    model = models.lenet((3, 32, 32), 10, seed=SEED)
    taken = seconds(model, client, **({"steps": 1, "rounds": 1} if quick else {"steps": 10, "rounds": 9}))
    yield Row(
        "dp-sgd-step",
        f"{taken['ours'] / taken['plain']:.2f} plain steps",
        f"{taken['hooks'] / taken['plain']:.2f} plain steps",
        taken["hooks"] / taken["ours"],
        f"{STEPS} plain steps",
        taken["ours"] <= STEPS * taken["plain"],
        taken,
    )


if __name__ == "__main__":
    main(__doc__, rows)
