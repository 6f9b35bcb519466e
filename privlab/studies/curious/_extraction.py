"""Passive extraction and trap weights: one mini-batch, one gradient; what Tables 2, 5, 6 and 9 share."""

import functools
import math

import torch
from torch import Tensor, nn

from privlab import data, models, runtime
from privlab.attacks import gradient_extraction, trap_weights
from privlab.metrics import extraction
from privlab.sharing import federated
from privlab.studies._data import dataset
from privlab.studies.bench.study import Cell, Metrics

SCALES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.96, 0.97, 0.98, 0.99, 0.995, 0.999)
# Section 8.3's best s for the paper's data sets; for the stand-ins the best of our own runs of Table 5.
BEST_SCALE = {"mnist": 0.7, "cifar10": 0.95, "photos": 0.99, "digits": 0.9, "patches": 0.95}
METRICS = ("active", "precision", "recall", "precision_all", "adversary_count")
EXACT = 0.995  # a recall that is printed as 1.


def network(name: str, neurons: int, init: str, seed: int) -> nn.Sequential:
    """The paper's network for a data set, `neurons` wide in the layer that is read.

    Grey images: the fully-connected network of Table 7. Colour: the dense part of its CNN, on the flat
    pixels. Convolutions that transmit hand the pixels on unchanged, and with them the first dense layer
    of the paper's CNN would have up to 25.7 billion weights.
    """
    images = dataset(name)
    widths = (neurons, 3000, 3000, 2000, 1000) if images.shape[0] == 1 else (neurons,)
    return models.fully_connected(images.shape, len(images.classes), widths=widths, init=init, seed=seed)


@functools.lru_cache(maxsize=1)
def trapped(name: str, neurons: int, seed: int, device: torch.device) -> tuple[nn.Sequential, trap_weights.Draw]:
    """A network of zero biases and one draw of trap weights for it, shared by all cells of a seed."""
    model = network(name, neurons, "xavier_uniform", runtime.derive(seed, "network")).to(device)
    inputs = math.prod(dataset(name).shape)
    drawn = trap_weights.draw(neurons, inputs, seed=runtime.derive(seed, "trap"))
    return model, trap_weights.Draw(drawn.minus.to(device), drawn.plus.to(device))


def batches(cell: Cell, seed: int, device: torch.device) -> list[data.Dataset]:
    """As many mini-batches as are averaged, disjoint."""
    count = cell.get("averaged", 1)
    chosen = dataset(cell["data"]).sample(cell["batch"] * count, runtime.derive(seed, "batch")).to(device)
    return [chosen[i * cell["batch"] : (i + 1) * cell["batch"]] for i in range(count)]


def measure(gradient: federated.Gradient, images: Tensor, neurons: int) -> Metrics:
    """A, P and R of the rows of one gradient, P over all neurons too, and the adversary's own count."""
    own = gradient_extraction.extract(gradient, shape=images.shape[1:])
    score = extraction.score(gradient_extraction.candidates(gradient), images, neurons=neurons)
    return {**vars(score), "adversary_count": float(len(own.images))}


def run_trapped(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """One trapped network and one mini-batch, or the average of several gradients (Tables 5, 6 and 9)."""
    planted, drawn = trapped(cell["data"], cell["neurons"], seed, device)
    with torch.no_grad():  # what `trap_weights.plant` does, without its copy of the other layers for every s
        planted.get_parameter("fc1.weight").copy_(drawn.weights(cell["s"]))
    parts = batches(cell, seed, device)
    if cell.get("reading") == "one batch":  # what Table 9's numbers fit: one mini-batch's recall, divided
        shared = federated.gradient(planted, parts[0].images, parts[0].labels, layers=("fc1",))
        metrics = measure(shared, parts[0].images, cell["neurons"])
        return {**metrics, "recall": metrics["recall"] / cell["averaged"]}
    images = torch.cat([batch.images for batch in parts])
    gradients = [federated.gradient(planted, b.images, b.labels, layers=("fc1",)) for b in parts]
    shared = gradients[0] if len(gradients) == 1 else federated.average(gradients)
    return measure(shared, images, cell["neurons"])


def scale(name: str) -> float:
    """The s of a data set: the paper's where it has one, else the one that the adversary's own count prefers."""
    return BEST_SCALE.get(name) or _tuned(name)


@functools.lru_cache(maxsize=8)
def _tuned(name: str) -> float:
    batch = dataset(name).sample(min(100, len(dataset(name))), 0)
    model = network(name, 1000, "xavier_uniform", 0)
    best, _ = trap_weights.tune(
        model,
        lambda planted: federated.gradient(planted, batch.images, batch.labels, layers=("fc1",)),
        SCALES,
        shape=batch.shape,
    )
    return best
