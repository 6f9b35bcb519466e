"""The inversion explorer: a mini-batch, and what a server makes of its gradient while it optimises."""

import functools

import torch
from torch import Tensor

from privlab import checks, data, models
from privlab.attacks import inverting_gradients, label_inference
from privlab.explore.explorer import Explorer, Knob
from privlab.explore.frame import LEVELS, Frame, mosaic, pixels
from privlab.metrics import reconstruction
from privlab.sharing import federated

BATCHES = (1, 4, 8)
WEIGHTS = (0, 0.01, 0.1, 1)
SEEN = (0, 30, 100, 300)
TOTAL, MOST = 300, 8
_Path = dict[int, tuple[Tensor, Tensor]]  # after how many iterations -> images (V, B, C, H, W), losses (V,)


@functools.lru_cache(maxsize=4)
def _client(batch: int, name: str, seed: int) -> tuple[data.Dataset, torch.nn.Module, federated.Gradient]:
    """The mini-batch, the shared model and the gradient that is sent."""
    client = data.load(name).sample(batch, seed)
    model = models.lenet(client.shape, len(client.classes), filters=(12, 12), fc=(), pool="stride", seed=seed)
    return client, model, federated.gradient(model, client.images, client.labels)


@functools.lru_cache(maxsize=8)
def _run(batch: int, weights: tuple[float, ...], name: str, seed: int) -> _Path:
    """One optimisation for each weight, all at once, remembered at every iteration."""
    client, model, sent = _client(batch, name, seed)
    copies = [sent] * len(weights)
    labels = label_inference.labels(model, copies, shape=client.shape)
    path: _Path = {}

    def watch(iteration: int, images: Tensor, losses: Tensor) -> None:
        path[iteration] = images[:, 0].half(), losses[:, 0].clone()

    inverting_gradients.reconstruct(
        model,
        copies,
        labels,
        shape=client.shape,
        alpha=torch.tensor(weights),
        iterations=TOTAL,
        ease=False,
        seed=seed,
        watch=watch,
    )
    return path


def invert(batch: int, tv: float, iterations: int, *, name: str = "digits", seed: int = 0) -> Frame:
    """One client's mini-batch, and beside it what a server has after some iterations of its optimisation.

    batch: images in the mini-batch, 1 to 8; tv: weight λ of the total variation; iterations: how many of the 300 have
    been done. The server reads the labels off the gradient. The first mini-batch and one beginning are shown (seed 0),
    not the best. The truth puts the images in order and scores them; it does nothing else.
    """
    checks.whole("batch", batch, 1, MOST)
    checks.number("tv", tv, 0)
    checks.whole("iterations", iterations, 0, TOTAL)
    weights = WEIGHTS if tv in WEIGHTS else (tv,)
    images, losses = _run(batch, weights, name, seed)[iterations]
    place = weights.index(tv)
    truth = _client(batch, name, seed)[0].images
    guesses = images[place].float()
    guesses = guesses[reconstruction.match(guesses, truth)]
    quality = reconstruction.psnr(guesses, truth)
    variation = inverting_gradients.total_variation(guesses).mean().item()
    loss = losses[place].item()
    numbers = {
        "server's own loss": f"{loss:.4f}",
        "cosine distance in it": f"{max(0.0, loss - tv * variation):.4f}",
        "total variation": f"{variation:.3f}",
        "PSNR, mean (worst)": f"{quality.mean():.1f} ({quality.min():.1f}) dB",
    }
    alt = (
        f"{_count(batch)} of a client, and beside what the server has after {iterations} iterations with "
        f"λ = {tv}: {numbers['PSNR, mean (worst)']} mean and worst PSNR."
    )
    panels = (
        mosaic("the client's", pixels(truth)),
        mosaic("the server's", pixels(guesses, LEVELS), f"after {iterations} iterations"),
    )
    return Frame(panels, alt, numbers, beside=True)


def _count(images: int) -> str:
    return "The image" if images == 1 else f"The {images} images"


def invert_explorer(name: str = "digits") -> Explorer:
    """Batch size, total variation and iterations as controls of `invert`."""
    knobs = (
        Knob("batch", "Batch size", BATCHES, live=(1, MOST, 1), unit="images"),
        Knob("tv", "Weight λ of total variation", WEIGHTS, live=(0, 1, 0.01)),
        Knob("iterations", "Iterations done", SEEN, live=(0, TOTAL, 1)),
    )
    start = {"batch": 1, "tv": 0.01, "iterations": 30}
    title = "Inverting a gradient, step by step"
    return Explorer(functools.partial(invert, name=name), knobs, start=start, name="invert", title=title)
