"""Inverting gradients: match the direction of a gradient, and prefer smooth images.

Source: Geiping et al. 2020, "Inverting gradients", section 4 and eq. 4; the talk "Adversarial interference", the
equation of gradient-based model inversion; "Zen", section 6; "Curious", section 8.5.
"""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from privlab import checks, runtime
from privlab.attacks._distances import cosine
from privlab.attacks._matching import LocalTraining, Matcher, Reconstruction, as_labels, number_of_classes, targets_of
from privlab.attacks.threat import threats
from privlab.sharing.federated import Gradient, Loss, cross_entropy

(THREAT,) = threats("inverting_gradients")
DECAY_AT = (3 / 8, 5 / 8, 7 / 8)  # of the iterations: there the step shrinks to a tenth
ALPHA = 0.02  # chosen on eight victims a kind: photographs, where it beats 0.01, and digits, where it does not
EASED = (4.0, 2.0, 1.0, 1.0)  # how often the total variation counts before, between and after those
_BETAS, _EPSILON = (0.9, 0.999), 1e-8  # Adam's own defaults


def total_variation(images: Tensor, places: int = 2) -> Tensor:
    """Mean absolute difference of neighbouring pixels, down plus across: `(*, C, H, W)` -> `(*,)`.

    places: how many of the last axes are places: 2 of images, 1 of signals `(*, C, L)`, 3 of volumes; 0 where none has
    a neighbour, and then nothing varies. Raises ValueError for fewer dimensions or a side of one pixel.
    Source: Rudin et al. 1992, as in Geiping et al. 2020 (a mean keeps its weight whatever the size of the image).
    """
    checks.whole("places", places, 0)
    if not places:
        return images.new_zeros(images.shape[:-1])
    if images.dim() <= places or min(images.shape[-places:]) < 2:
        form = {1: "(*, C, L)", 2: "(*, C, H, W)"}.get(places, f"(*, C) and {places} axes of places")
        raise ValueError(f"images are {tuple(images.shape)}; expected {form} with sides of two pixels or more")
    along = []
    for axis in range(-places, 0):
        steps = images.shape[axis] - 1
        differences = images.narrow(axis, 1, steps) - images.narrow(axis, 0, steps)
        along.append(differences.abs().flatten(-places - 1).mean(-1))
    return sum(along[1:], along[0])


def reconstruct(
    model: nn.Module,
    gradients: Gradient | Sequence[Gradient],
    labels: Tensor,
    *,
    shape: Sequence[int],
    alpha: float | Tensor = ALPHA,
    restarts: int = 1,
    iterations: int = 1000,
    lr: float = 0.1,
    ease: bool = True,
    local: LocalTraining | None = None,
    loss: Loss = cross_entropy,
    start: Tensor | None = None,
    decode: Callable[[Tensor], Tensor] | None = None,
    seed: int = 0,
    watch: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Reconstruction:
    """The images behind each of V victims' gradients: cosine distance + alpha * total variation, by Adam on signs.

    labels: `(V, B)`, known or inferred (`label_inference`), or what the clients' `loss` takes (`(V, B, K)` for soft
    labels, or for one decision an output). shape: of one image `(C, H, W)`, or signal `(C, L)`, whose variation is
    along its one axis. alpha: one weight of the total variation for all, or one a victim `(V,)`. local: how the clients
    trained, where `gradients` are updates (`federated.update_as_gradient`). Images stay within [0, 1] after every step,
    whose length `lr` falls to a tenth at 3/8, 5/8 and 7/8 of the iterations. With `ease` the total variation counts
    four times before the first of these, and twice before the second: smooth images are found first, and details then
    cost less. The losses that are compared and reported have `alpha` alone.

    A prior can enter twice. start: `(*shape)`, an image to begin at instead of one drawn uniformly. decode: a map from
    codes `(T, *code)` to images; then `start` is the first code, and the code is optimised, without the box.

    No trial leaves before the others: on signs none converges before the steps have shrunk. Each ends with the image
    whose own loss was lowest. Trials do not influence one another but for rounding. Raises ValueError for a shape,
    labels or alpha that do not fit, a network that draws at random or reads tokens, or whose gradient has no slope.
    """
    _check(restarts, iterations, lr, start, decode)
    gradients = [gradients] if isinstance(gradients, Gradient) else list(gradients)
    matcher = Matcher(model, gradients, cosine, local, loss)
    victims, size, like = len(gradients), matcher.examples, matcher.like
    targets = targets_of(matcher, labels, number_of_classes(model, shape, like), loss)
    victim = torch.arange(victims, device=like.device).repeat_interleave(restarts)
    weight = _weights(alpha, victims, like)[victim]

    def images_of(points: Tensor) -> Tensor:
        return decode(points.flatten(0, 1)).view(len(points), size, *shape) if decode else points

    def objective(images: Tensor) -> tuple[Tensor, Tensor]:
        rough = weight * total_variation(images, max(0, len(shape) - 1)).mean(1)
        return matcher(images, targets[victim], victim) + rough, rough

    def show(iteration: int, points: Tensor, losses: Tensor) -> None:
        if watch:
            watch(iteration, images_of(points).detach().view(form).clone(), losses.view(form[:2]).clone())

    form = (victims, restarts, size, *shape)
    points = _starts(victims, restarts, (size, *shape), start, decode is not None, seed).to(like)
    function = partial(_eased, lambda at: objective(images_of(at)), EASED if ease else (1.0,) * len(EASED))
    best, lowest = _signed_adam(function, points, iterations, lr, box=decode is None, watch=show)
    guessed, lowest = as_labels(targets, loss)[:, None].repeat_interleave(restarts, 1), lowest.view(form[:2])
    images = images_of(best).detach().clamp(0, 1).view(form)
    return Reconstruction(images, guessed, lowest, torch.full_like(lowest, torch.nan))


def _check(
    restarts: int, iterations: int, lr: float, start: Tensor | None, decode: Callable[[Tensor], Tensor] | None
) -> None:
    """Raise for numbers out of range, or a decoder without a code to begin with."""
    checks.training(lr, restarts=restarts, iterations=iterations)
    if decode is not None and start is None:
        raise ValueError("decode= needs start=, the code to begin with; give that of an average image, as zeros")


def _eased(
    objective: Callable[[Tensor], tuple[Tensor, Tensor]], each: Sequence[float], points: Tensor, phase: int
) -> tuple[Tensor, Tensor]:
    """The losses, and the slopes of what is descended: the same, but the second part counts `each[phase]` times."""
    times = each[phase]
    points = points.detach().requires_grad_()
    values, rough = objective(points)
    descended = values if times == 1 else values + (times - 1) * rough
    return values.detach(), torch.autograd.grad(descended.sum(), points)[0]


def _weights(alpha: float | Tensor, victims: int, like: Tensor) -> Tensor:
    given = torch.as_tensor(alpha, dtype=like.dtype, device=like.device)
    if given.dim() > 1 or (given.dim() == 1 and len(given) != victims):
        raise ValueError(f"alpha is {tuple(given.shape)}; give one number, or one for each of {victims} gradients")
    checks.number("alpha", float(given.min()), 0)
    return given.expand(victims)


def _starts(
    victims: int, restarts: int, shape: tuple[int, ...], start: Tensor | None, coded: bool, seed: int
) -> Tensor:
    """Where each trial begins, from a seed of its own: uniform, or around the prior where there are several."""
    drawn = []
    for trial in range(victims * restarts):
        random = runtime.generator(runtime.derive(seed, "start", *divmod(trial, restarts)))
        if start is None:
            drawn.append(torch.rand(shape, generator=random))
            continue
        around = start.detach().cpu().expand(shape[0], *start.shape)
        spread = (1.0 if coded else 0.1) * (trial % restarts > 0)  # the first restart begins at the prior itself
        moved = around + spread * torch.randn(around.shape, generator=random)
        drawn.append(moved if coded else moved.clamp(0, 1))
    return torch.stack(drawn)


def _signed_adam(
    function: Callable[[Tensor, int], tuple[Tensor, Tensor]],
    points: Tensor,
    iterations: int,
    lr: float,
    *,
    box: bool,
    watch: Callable[[int, Tensor, Tensor], None],
) -> tuple[Tensor, Tensor]:
    """Adam on the signs of the gradient, each trial by itself; its best point and loss, `(T, ...)` and `(T,)`.

    function: points, and how often the step has shrunk -> values and slopes.
    """
    first, second = torch.zeros_like(points), torch.zeros_like(points)
    best, lowest = points.clone(), points.new_full((len(points),), torch.inf)
    for iteration in range(iterations + 1):
        phase = sum(iteration >= part * iterations for part in DECAY_AT)
        values, slopes = function(points, phase)
        better = values < lowest  # False for NaN: such a trial keeps what it had
        best[better], lowest[better] = points[better], values[better]
        watch(iteration, best, lowest)
        if iteration == iterations:
            break
        sign = slopes.nan_to_num(0).sign()
        first = _BETAS[0] * first + (1 - _BETAS[0]) * sign
        second = _BETAS[1] * second + (1 - _BETAS[1]) * sign.square()
        step = lr * 0.1**phase
        mean = first / (1 - _BETAS[0] ** (iteration + 1))
        scale = (second / (1 - _BETAS[1] ** (iteration + 1))).sqrt() + _EPSILON
        points = points - step * mean / scale
        if box:
            points = points.clamp(0, 1)
    return best, lowest
