"""Read training images out of a dense layer's gradient: one division, no optimisation.

Source: Boenisch et al., "When the curious abandon honesty", section 5.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from privlab import checks
from privlab.attacks import _grid
from privlab.attacks.threat import ThreatModel
from privlab.sharing.federated import Gradient

THREAT = ThreatModel(
    attack="Gradient extraction",
    time="train",
    position="server",
    access="white-box",
    security="honest-but-curious",
    reads="gradient",
    capability="Sees the gradient of one mini-batch and its size; knows the model, its loss and the form of inputs.",
    source="Curious, section 5",
)
GRID_TOLERANCE = _grid.TOLERANCE


@dataclass(frozen=True)
class Extraction:
    """What the adversary takes from one gradient, by its own judgement.

    images: `(K, *shape)`, each image once. neurons: `(M,)`, the neurons judged to show a single example;
    shows: `(M,)`, which image each of them shows. active: how many neurons had a gradient at all.
    """

    images: Tensor
    neurons: Tensor
    shows: Tensor
    active: int


def active_neurons(gradient: Gradient, layer: str = "fc1") -> Tensor:
    """The neurons with a non-zero bias gradient: those that at least one example activated."""
    _, bias = gradient.layer(layer)
    return bias.nonzero().flatten()


def candidates(gradient: Gradient, layer: str = "fc1", neurons: Tensor | None = None) -> Tensor:
    """Each neuron's weight gradient divided by its bias gradient, `(A, L)`: an example, or a mixture of several.

    neurons: `(A,)`, by default every active one. Source: "Curious", eqs. 3 to 6.
    """
    weight, bias = gradient.layer(layer)
    chosen = active_neurons(gradient, layer) if neurons is None else neurons
    return weight[chosen] / bias[chosen, None]


def on_pixel_grid(rows: Tensor, levels: int = 255, tolerance: float = GRID_TOLERANCE) -> Tensor:
    """Which rows `(K, L)` hold nothing but multiples of 1/levels in [0, 1], as an 8-bit image does; bool `(K,)`.

    `tolerance` is in steps of the grid. A weighted mixture of two images falls off the grid somewhere.
    """
    return _grid.on_grid(rows, levels, tolerance)


def distinct(images: Tensor, tolerance: float = 1e-3) -> tuple[Tensor, Tensor]:
    """Each of several equal images once: the numbers of the kept ones, and for every image its place among them.

    images: `(K, L)`; equal means closer than `tolerance` in l2. The first of equal images is kept.
    """
    return _grid.distinct(images, tolerance)


def fitting_layer(gradient: Gradient, layer: str, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The gradients of a layer's weight `(N, L)` and bias `(N,)`; ValueError unless inputs of `shape` have L values."""
    for size in shape:
        checks.whole("shape", size)
    weight, bias = gradient.layer(layer)
    if weight.dim() != 2 or weight.shape[1] != math.prod(shape):
        raise ValueError(
            f"shape={tuple(shape)} has {math.prod(shape)} values, but the gradient of {layer!r} is "
            f"{tuple(weight.shape)}; give the shape of one input of that layer"
        )
    return weight, bias


def extract(
    gradient: Gradient,
    *,
    shape: Sequence[int],
    layer: str = "fc1",
    levels: int | None = 255,
    model: nn.Module | None = None,
    classes: int | None = None,
) -> Extraction:
    """Every image that the adversary finds in one gradient, each once, and the neurons that show it.

    shape: of one input, as in `(1, 28, 28)`. A neuron that one example alone activated shows that example.
    Which neurons those are is decided without the truth: an image lies on the grid of `levels` + 1 pixel
    values. With `levels=None`, for data on no grid, a candidate counts when, sent through `model` with one
    of `classes` labels, it reproduces its neuron's gradient (see `reproduces_gradient`).
    Raises ValueError for a layer that is not in the gradient, or a shape of another size than its rows.
    """
    weight, bias = fitting_layer(gradient, layer, shape)
    neurons = active_neurons(gradient, layer)
    if levels is not None:
        checks.whole("levels", levels)
        neurons, images, shows = _grid.images_of(weight, bias, neurons, levels)
    else:
        if model is None or classes is None:
            raise ValueError("levels=None needs model= and classes=: candidates are tested by their gradients")
        rows = candidates(gradient, layer, neurons)
        single = reproduces_gradient(model, gradient, rows.view(-1, *shape), neurons, layer=layer, classes=classes)
        neurons, rows = neurons[single], rows[single]
        kept, shows = distinct(rows)
        images = rows[kept]
    return Extraction(images.view(-1, *shape), neurons, shows, int((bias != 0).sum()))


def reproduces_gradient(
    model: nn.Module,
    gradient: Gradient,
    images: Tensor,
    neurons: Tensor,
    *,
    classes: int,
    layer: str = "fc1",
    tolerance: float = 1e-3,
) -> Tensor:
    """Which candidates explain their own neuron's gradient; bool `(K,)`.

    images: `(K, *shape)`, the candidate of each of `neurons` `(K,)`. If an example alone activated its neuron,
    its own bias gradient there, divided by the size of the mini-batch, is the neuron's: for one of the
    `classes` labels the two agree to within `tolerance` of the larger. A mixture agrees by accident only.
    The model must be the one that the client used, with cross-entropy as its loss.
    """
    module = checks.layer(model, layer, nn.Linear)
    observed = gradient.layer(layer)[1][neurons] * gradient.examples
    explained = torch.zeros(len(images), dtype=torch.bool, device=images.device)
    outputs: list[Tensor] = []
    hook = module.register_forward_hook(lambda _module, _inputs, output: outputs.append(output))
    try:
        logits = model(images)
    finally:
        hook.remove()
    own = torch.arange(len(images), device=images.device)
    for label in range(classes):
        target = torch.full((len(images),), label, device=images.device)
        total = nn.functional.cross_entropy(logits, target, reduction="sum")
        (per_example,) = torch.autograd.grad(total, outputs[0], retain_graph=True)
        expected = per_example[own, neurons]
        explained |= (expected - observed).abs() <= tolerance * torch.maximum(expected.abs(), observed.abs())
    return explained & (observed != 0)
