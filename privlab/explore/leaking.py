"""The leakage explorer: a client's mini-batch, and what a passive server has made of its gradient so far."""

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from privlab import checks, data, models
from privlab.attacks import deep_leakage, label_inference
from privlab.explore.explorer import Explorer, Frame, Knob
from privlab.explore.figures import labelled
from privlab.metrics import reconstruction
from privlab.sharing import federated

SIZE = (400, 216)
BATCHES = (1, 2, 4, 8)
ACTIVATIONS = ("sigmoid", "tanh", "relu")
ITERATIONS = (1, 10, 30, 100, 300)
GREYS = 16  # levels a picture is shown in: noise is half a frame, and does not compress otherwise


@dataclass(frozen=True)
class _Trial:
    """images: `(B, C, H, W)`; guesses, in the images' order: `(I, B, C, H, W)`, one an iteration; losses: `(I,)`."""

    images: Tensor
    guesses: Tensor
    losses: Tensor
    labels_right: int


@functools.lru_cache(maxsize=24)
def _trial(batch: int, activation: str, name: str, seed: int) -> _Trial:
    """The first random start of the attack, whatever comes of it. One that has converged or stalled ends sooner."""
    client = data.load(name).sample(batch, seed)
    classes, steps = len(client.classes), []
    model = models.lenet(
        client.shape, classes, filters=(12, 12, 12), fc=(), pool="stride", activation=activation, seed=seed
    )
    sent = federated.gradient(model, client.images, client.labels)
    labels = label_inference.labels(model, [sent], shape=client.shape, seed=seed)
    found = deep_leakage.reconstruct(
        model,
        sent,
        shape=client.shape,
        labels=labels,
        restarts=1,
        iterations=ITERATIONS[-1],
        seed=seed,
        watch=lambda _, images, losses: steps.append((images[0, 0].clamp(0, 1), losses[0, 0].clone())),
    )
    guesses, losses = (torch.stack(part) for part in zip(*steps, strict=True))
    order = reconstruction.match(found.images[0, 0].clamp(0, 1), client.images)
    counts = [part.bincount(minlength=classes) for part in (labels[0], client.labels)]
    return _Trial(client.images, guesses[:, order], losses, int(torch.minimum(*counts).sum()))


def leak(batch: int, activation: str, iteration: int, *, name: str = "digits", seed: int = 0) -> Frame:
    """A client's mini-batch beside what a passive server has after so many iterations of L-BFGS.

    batch: 1 to 8 images; activation: of a LeNet with strides; iteration: 1 to 300. The server has read the labels off
    the gradient. The first random start is shown (seed 0), not the best of several.
    """
    checks.whole("batch", batch, 1, BATCHES[-1])
    checks.one_of("activation", activation, ACTIVATIONS)
    checks.whole("iteration", iteration, 1, ITERATIONS[-1])
    trial = _trial(batch, activation, name, seed)
    at = min(iteration, len(trial.losses)) - 1
    quality = reconstruction.psnr(trial.guesses[at], trial.images).clamp_max(99).mean().item()
    numbers = {
        "server's own loss": f"{trial.losses[at]:.0e}",
        "PSNR": f"{quality:.0f} dB",
        "iteration": str(iteration) if at + 1 == iteration else f"{at + 1}, where the attack ended",
        "labels read right": f"{trial.labels_right} of {batch}",
    }
    what = "one image" if batch == 1 else f"{batch} images"
    alt = (
        f"On the left {what} of the client, on the right the server's guess after {at + 1} iterations "
        f"through a network with {activation}: {quality:.0f} dB."
    )
    shown = {"the client's": _mosaic(trial.images), "the server's guess": _mosaic(trial.guesses[at])}
    return Frame(labelled(shown, SIZE, lossless=True), alt, numbers)


def _mosaic(images: Tensor) -> Tensor:
    """Images `(B, C, H, W)` as one, in few greys, in a square grid with dark lines between; the rest is dark."""
    columns = math.ceil(math.sqrt(len(images)))
    framed = torch.nn.functional.pad(images, (0, 1, 0, 1), value=0.1)
    blank = torch.full_like(framed[:1], 0.1).expand(columns**2 - len(images), -1, -1, -1)
    tiles = torch.cat([framed, blank]).unflatten(0, (columns, columns))
    rows, down = tiles.permute(2, 0, 3, 1, 4), framed.shape[-2] * columns
    whole = rows.reshape(len(rows), down, -1)[:, :-1, :-1]
    return (whole * (GREYS - 1)).round() / (GREYS - 1)


def leak_explorer(name: str = "digits") -> Explorer:
    """Batch size, activation and iteration as sliders over `leak`."""
    knobs = (
        Knob("batch", "Batch size", BATCHES, live=(1, BATCHES[-1], 1)),
        Knob("activation", "Activation", ACTIVATIONS),
        Knob("iteration", "Iteration", ITERATIONS, live=(1, ITERATIONS[-1], 1)),
    )
    start = {"batch": 1, "activation": "sigmoid", "iteration": 30}
    title = "What a passive server makes of a gradient"
    return Explorer(functools.partial(leak, name=name), knobs, start=start, size=SIZE, title=title)
