"""Read training images out of a dense layer's gradient: one division, no optimisation.

Source: Boenisch et al., "When the curious abandon honesty", section 5.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from privlab import checks, networks
from privlab.attacks import _grid, _steady
from privlab.attacks._matching import fitting
from privlab.attacks.threat import threats
from privlab.sharing import losses
from privlab.sharing.federated import Gradient, Loss, binary_cross_entropy, cross_entropy

(THREAT,) = threats("gradient_extraction")
GRID_TOLERANCE = _grid.TOLERANCE
_SEVERAL = 10  # labels an image: of more there are too many combinations to try


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
    """The gradients of a layer's weight `(N, L)` and bias `(N,)`; ValueError unless inputs of `shape` have L values.

    TypeError for what are no floats.
    """
    if not isinstance(gradient, Gradient):
        raise TypeError(f"gradient is a {type(gradient).__name__}; give federated.Gradient(tensors, examples)")
    checks.sizes(shape=shape)
    weight, bias = gradient.layer(layer)
    if not (weight.is_floating_point() and bias.is_floating_point() and weight.layout == torch.strided):
        kinds = f"{weight.dtype} and {bias.dtype}, {weight.layout}"
        raise TypeError(f"the gradient of {layer!r} is {kinds}; give floats (torch.strided)")
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
    labels: Tensor | None = None,
    loss: Loss = cross_entropy,
) -> Extraction:
    """Every image that the adversary finds in one gradient, each once, and the neurons that show it.

    shape: of one input, as in `(1, 28, 28)`. A neuron that one example alone activated shows that example.
    Which neurons those are is decided without the truth: an image lies on the grid of `levels` + 1 pixel
    values. With `levels=None`, for data on no grid, a candidate counts when, sent through `model` with one
    of `classes` labels, or of `labels`, under the client's `loss`, it reproduces its neuron's gradient (see
    `reproduces_gradient`).
    Raises ValueError for a layer that is not in the gradient, a shape of another size than its rows, and without a grid
    for a layer that reads something else than the input as it is.
    """
    weight, bias = fitting_layer(gradient, layer, shape)
    neurons = active_neurons(gradient, layer)
    if levels is not None:
        checks.whole("levels", levels)
        neurons, images, shows = _grid.images_of(weight, bias, neurons, levels)
    else:
        if model is None or (classes is None and labels is None):
            raise ValueError("levels=None needs model= and classes=: candidates are tested by their gradients")
        rows = candidates(gradient, layer, neurons)
        if len(rows):
            _steady.check_arrival(model, rows, shape, layer)
        images = rows.view(-1, *shape)
        single = reproduces_gradient(
            model, gradient, images, neurons, classes=classes, labels=labels, layer=layer, loss=loss
        )
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
    classes: int | None = None,
    labels: Tensor | None = None,
    layer: str = "fc1",
    loss: Loss = cross_entropy,
    tolerance: float = 1e-3,
) -> Tensor:
    """Which candidates explain their own neuron's gradient; bool `(K,)`.

    images: `(K, *shape)`, the candidate of each of `neurons` `(K,)`. If an example alone activated its neuron,
    its own bias gradient there, divided by the size of the mini-batch, is the neuron's: for one of the
    `classes` labels the two agree to within `tolerance` of the larger. A mixture agrees by accident only.
    The model and `loss` must be those that the client used. labels: `(Q,)` or `(Q, C)`, those that come into question,
    as the loss takes them, such as soft ones; by default class numbers, and of binary cross-entropy every combination.

    The model is left as it was. Raises ValueError for a layer that reads several rows an image, a model that draws at
    random, labels that the loss does not take, and, where the mini-batch was larger than one, a model that mixes its
    images or a loss that is not their mean.
    """
    module = checks.layer(model, layer, nn.Linear)
    observed = gradient.layer(layer)[1][neurons] * gradient.examples
    targets = _in_question(classes, labels, loss).to(images.device)
    if not len(images):
        return torch.zeros(0, dtype=torch.bool, device=images.device)
    _steady.check(model, images[:1])
    if not module.bias.requires_grad:  # of the client it did
        model = networks.duplicate(model).requires_grad_(True)
    with networks.untouched(model), torch.no_grad():
        logits = networks.logits(model, images[:1])
    fitting(targets[:, None], logits.shape[1], loss)
    if gradient.examples > 1:
        _check_mean(model, images[:1], logits, targets[:1], loss)
    expected = _expected(model, layer, images, neurons, targets, loss)
    close = (expected - observed).abs() <= tolerance * torch.maximum(expected.abs(), observed.abs())
    return close.any(0) & (observed != 0)


def _in_question(classes: int | None, labels: Tensor | None, loss: Loss) -> Tensor:
    """Labels to try, `(Q, ...)`."""
    if labels is not None:
        checks.targets("labels", labels, len(labels))
        return labels
    if classes is None:
        raise ValueError("classes= or labels= is needed: candidates are tested by their gradients, for each label")
    checks.whole("classes", classes)
    if loss is not binary_cross_entropy:
        return torch.arange(classes)
    if classes > _SEVERAL:
        raise ValueError(f"{classes} labels an image are 2^{classes} combinations; give labels= that come in question")
    return torch.tensor(list(itertools.product((0, 1), repeat=classes)))


def _check_mean(model: nn.Module, image: Tensor, logits: Tensor, target: Tensor, loss: Loss) -> None:
    """Raise ValueError unless a mini-batch's loss is the mean of what its examples have by themselves."""
    with networks.untouched(model), torch.no_grad():
        beside = networks.logits(model, torch.cat([image, 1 - image]))[:1]
    if not torch.allclose(beside, logits, rtol=1e-3, atol=1e-5):
        raise ValueError(
            f"this {type(model).__name__} mixes the images of a mini-batch, as BatchNorm in train mode does, so that "
            "none has a gradient of its own to be reproduced; give levels= of a grid instead"
        )
    once, twice = (losses.of_logits(torch.cat([logits] * n), torch.cat([target] * n), loss) for n in (1, 2))
    if not torch.allclose(once, twice, rtol=1e-3, atol=1e-5):
        raise ValueError("the loss is not the mean over a mini-batch, as what clients send is; give the mean")


def _expected(model: nn.Module, layer: str, images: Tensor, neurons: Tensor, targets: Tensor, loss: Loss) -> Tensor:
    """What each example alone would give its neuron's bias for each of Q labels, `(Q, K)`.

    All in one batch, if the first example by itself confirms it for every label; else one after the other, as in a
    layer that is used twice or has a forward of its own, or where images of a batch mix.
    """
    module = checks.layer(model, layer, nn.Linear)
    bias: Tensor = module.get_parameter("bias")

    def alone(k: int) -> Tensor:
        with networks.untouched(model), torch.enable_grad():
            values = _losses(networks.logits(model, images[k : k + 1]), targets, loss)
            return torch.stack([_slope(each, bias) for each in values])

    first, own = alone(0), torch.arange(len(images), device=images.device)
    made: list[Tensor] = []
    hook = module.register_forward_hook(lambda _module, _inputs, output: made.append(output), prepend=True)
    try:
        with networks.untouched(model), torch.enable_grad():
            logits = networks.logits(model, images)
            if not made or made[0].dim() != 2 or len(made[0]) != len(images):
                raise ValueError(
                    f"layer={layer!r} does not read one row an image, and a neuron's gradient is the sum over all "
                    "that it reads; choose one that does"
                )
            slopes = [_slope(each, made[0]) for each in _losses(logits, targets, loss)]
    finally:
        hook.remove()
    together = torch.stack([slope[0] for slope in slopes])
    if torch.allclose(together, first, rtol=1e-4, atol=1e-6 * float(first.abs().max())):
        return torch.stack([slope[own, neurons] for slope in slopes])
    rest = [alone(k)[:, neurons[k]] for k in range(1, len(images))]
    return torch.stack([first[:, neurons[0]], *rest], 1)


def _slope(value: Tensor, at: Tensor) -> Tensor:
    return torch.autograd.grad(value, at, retain_graph=True, allow_unused=True, materialize_grads=True)[0]


def _losses(logits: Tensor, targets: Tensor, loss: Loss) -> Iterator[Tensor]:
    """For each label in question, the sum of what the examples with these logits have by themselves."""
    for target in targets:

        def one(row: Tensor, target: Tensor = target) -> Tensor:
            return losses.of_logits(row[None], target[None], loss)

        try:
            each = torch.vmap(one)(logits)
        except Exception:  # a loss that looks at its numbers
            each = torch.stack([one(row) for row in logits])
        yield each.sum()
