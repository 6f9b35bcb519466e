"""The leakage explorer: a client's mini-batch, and what a passive server has made of its gradient so far."""

import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from privlab import checks, data, models
from privlab.attacks import deep_leakage, label_inference
from privlab.explore import frames
from privlab.explore.explorer import Explorer, Frame, Knob
from privlab.explore.figures import labelled
from privlab.metrics import reconstruction
from privlab.sharing import federated

SIZE = (600, 144)
BATCHES = (1, 2, 4, 8)
ACTIVATIONS = ("sigmoid", "tanh", "relu")
ARCHITECTURES: dict[str, Callable[..., nn.Sequential]] = {
    "LeNet with strides": functools.partial(models.lenet, filters=(12,) * 3, fc=(), pool="stride"),
    "LeNet with average pooling": functools.partial(models.lenet, filters=(12,) * 3, fc=(), pool="average"),
    "LeNet with max pooling": functools.partial(models.lenet, filters=(12,) * 3, fc=(), pool="max"),
    "AlexNet with strides": functools.partial(models.alexnet, width=0.125, pool="stride"),
}
ITERATIONS = (10, 30, 100, 1000)  # after which the guess is shown
MATCHED = 1e-10  # the own loss at which the attack ends: no eye sees what is left
GREYS = 15  # levels a picture is shown in, grey itself among them: noise does not compress otherwise


def leak(batch: int, activation: str, architecture: str, *, name: str = "digits", seed: int = 0) -> Frame:
    """A client's mini-batch, and what a passive server has after 10, 30, 100 and 1000 iterations of L-BFGS.

    batch: 1 to 8 images. activation, architecture: of the network (see `ARCHITECTURES`). The server has read the labels
    off the gradient, and expects smooth images (the attack's default prior). The first start is shown (seed 0), not the
    best of several; an attack that has converged or is stuck ends sooner, and keeps its last guess.
    """
    checks.whole("batch", batch, 1, BATCHES[-1])
    checks.one_of("activation", activation, ACTIVATIONS)
    checks.one_of("architecture", architecture, ARCHITECTURES)
    client = data.load(name).sample(batch, seed)
    classes, steps = len(client.classes), []
    model = ARCHITECTURES[architecture](client.shape, classes, activation=activation, seed=seed)
    sent = federated.gradient(model, client.images, client.labels)
    labels = label_inference.labels(model, [sent], shape=client.shape, seed=seed)
    found = deep_leakage.reconstruct(
        model,
        sent,
        shape=client.shape,
        labels=labels,
        restarts=1,
        iterations=ITERATIONS[-1],
        tolerance=MATCHED,
        seed=seed,
        watch=lambda _, images, __: steps.append(images[0, 0].clamp(0, 1)),
    )
    last = found.images[0, 0].clamp(0, 1)  # the beginning, where no step helped
    order = reconstruction.match(last, client.images)
    guesses = {f"after {n}": (steps[n - 1] if n <= len(steps) else last)[order] for n in ITERATIONS}
    quality = [reconstruction.psnr(guess, client.images).clamp_max(99).mean().item() for guess in guesses.values()]
    read = torch.minimum(*(part.bincount(minlength=classes) for part in (labels[0], client.labels))).sum()
    numbers = {
        "PSNR at the end": f"{quality[-1]:.0f} dB",
        "server's own loss": f"{found.loss.item():.0e}",
        "iterations": f"{len(steps)}" + (", where the attack ended" if len(steps) < ITERATIONS[-1] else ""),
        "labels read right": f"{read} of {batch}",
    }
    what = "one image" if batch == 1 else f"{batch} images"
    course = ", ".join(f"{decibels:.0f}" for decibels in quality)
    alt = (
        f"On the left {what} of the client, beside it the server's guess after 10, 30, 100 and 1000 iterations "
        f"through a network ({architecture}) with {activation}: {course} dB."
    )
    shown = {"the client's": client.images, **guesses}
    return Frame(labelled({title: _mosaic(part) for title, part in shown.items()}, SIZE, lossless=True), alt, numbers)


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
    """Batch size, activation and architecture as sliders over `leak`; the frames of the digits are stored."""
    knobs = (
        Knob("batch", "Batch size", BATCHES, live=(1, BATCHES[-1], 1)),
        Knob("activation", "Activation", ACTIVATIONS),
        Knob("architecture", "Network", tuple(ARCHITECTURES)),
    )
    start = {"batch": 1, "activation": "sigmoid", "architecture": "LeNet with strides"}
    return Explorer(
        functools.partial(leak, name=name),
        knobs,
        start=start,
        size=SIZE,
        title="What a passive server makes of a gradient",
        stored=frames.load("leak") if name == "digits" else None,
    )
