"""The leakage explorer: a client's mini-batch, and what a passive server has made of its gradient so far."""

import functools
from collections.abc import Callable

import torch
from torch import nn

from privlab import checks, data, models
from privlab.attacks import deep_leakage, label_inference
from privlab.explore import frames
from privlab.explore.explorer import Explorer, Knob
from privlab.explore.frame import LEVELS, Frame, mosaic, pixels
from privlab.metrics import reconstruction
from privlab.sharing import federated

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
    guesses = [(steps[n - 1] if n <= len(steps) else last)[order] for n in ITERATIONS]
    quality = [reconstruction.psnr(guess, client.images).clamp_max(99).mean().item() for guess in guesses]
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
    panels = [mosaic("the client's", pixels(client.images))]
    for n, guess, decibels in zip(ITERATIONS, guesses, quality, strict=True):
        panels.append(mosaic(f"after {n}", pixels(guess, LEVELS), f"{decibels:.0f} dB"))
    return Frame(tuple(panels), alt, numbers, beside=True)


def leak_explorer(name: str = "digits") -> Explorer:
    """Batch size, activation and architecture as controls of `leak`; the frames of the digits are stored."""
    knobs = (
        Knob("batch", "Batch size", BATCHES, live=(1, BATCHES[-1], 1), unit="images"),
        Knob("activation", "Activation", ACTIVATIONS, choice=True),
        Knob("architecture", "Network", tuple(ARCHITECTURES), choice=True),
    )
    start = {"batch": 1, "activation": "sigmoid", "architecture": "LeNet with strides"}
    return Explorer(
        functools.partial(leak, name=name),
        knobs,
        start=start,
        name="leak",
        title="What a passive server makes of a gradient",
        stored=frames.load("leak") if name == "digits" else None,
    )
