"""Deep leakage from gradients (DLG): optimise an image, and its label, until their gradient is the one sent.

Source: Zhu et al. 2019, "Deep leakage from gradients"; "Curious", section 3.2 and Algorithm 2; "Zen", section 3.2.1.
With labels that are known, or read by `label_inference`, it is iDLG (Zhao et al. 2020).
The objective is DLG's. Ours are the optimiser (L-BFGS that backtracks, `_lbfgs`), the coordinates in which it works
and where it begins (`prior`), and that a new beginning is tried only where the last one failed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from privlab import checks, runtime
from privlab.attacks._distances import clipped, squared
from privlab.attacks._lbfgs import Minima, minimise
from privlab.attacks._matching import Matcher, Reconstruction, as_labels, number_of_classes, targets_of, with_slopes
from privlab.attacks.threat import threats
from privlab.sharing.federated import Gradient, Loss, binary_cross_entropy, cross_entropy

(THREAT,) = threats("deep_leakage")
TOLERANCE = 1e-13  # of the relative squared distance: what float32 reaches is about the square of its 1e-7
FOUND = 1e-6  # of the same: whoever is below needs no other beginning
PRIORS = ("smooth", "none")
KNEE = 4.0  # the half-periods an image beyond which amplitudes fall; between 2 and 8 it makes little difference
GREY = 0.5
SPREADS = (0.01, 0.1, 0.3, 1.0)  # of the beginnings around grey, in turn: images of one mini-batch must part
_GUESSES: dict[Loss, Callable[[Tensor], Tensor]] = {
    cross_entropy: lambda logits: logits.softmax(-1),
    binary_cross_entropy: torch.sigmoid,
}


class Coordinates:
    """Coordinates in which photographs are round: frequencies, each in the unit of how much of it there usually is.

    Of images `(*shape)`: the last two axes are places where there are three, the last where there are two.

    An image has little of high frequencies, and L-BFGS, which begins with steps of equal length in all coordinates,
    finds what has large coordinates first. In these it finds the image several times sooner. Every image has such
    coordinates, so that nothing is ruled out; and they begin at grey, from which no image in [0, 1] is far.
    Source of the spectrum, amplitude falling as one over the frequency: Field 1987, as usual for natural images.
    """

    def __init__(self, shape: Sequence[int], like: Tensor) -> None:
        self.sides = list(shape[1:])[-2:]
        self.bases = [_cosines(side).to(like) for side in self.sides]
        squares = [torch.arange(side).square() for side in self.sides]
        grid = torch.meshgrid(*squares, indexing="ij") if squares else ()
        amounts = (1 + sum(grid, torch.zeros(1)) / KNEE**2).rsqrt()
        self.amounts = (amounts / amounts.square().mean().sqrt()).to(like)

    def images(self, points: Tensor) -> Tensor:
        """`(..., *shape)` of coordinates of the same shape."""
        return GREY + self._turned(points * self.amounts, inverse=True)

    def points(self, images: Tensor) -> Tensor:
        """The coordinates `(..., *shape)` of images."""
        return self._turned(images - GREY, inverse=False) / self.amounts

    def _turned(self, values: Tensor, *, inverse: bool) -> Tensor:
        turns = [basis if inverse else basis.mT for basis in self.bases]
        if turns:
            values = values @ turns[-1]
        return turns[0].mT @ values if len(turns) > 1 else values


def _cosines(side: int) -> Tensor:
    """The orthonormal cosine transform: rows are waves, of 0 to `side` - 1 half-periods."""
    place, wave = torch.arange(side, dtype=torch.float64), torch.arange(side, dtype=torch.float64)[:, None]
    waves = torch.cos(math.pi * (2 * place + 1) * wave / (2 * side)) * math.sqrt(2 / side)
    waves[0] /= math.sqrt(2)
    return waves


def reconstruct(
    model: nn.Module,
    gradients: Gradient | Sequence[Gradient],
    *,
    shape: Sequence[int],
    labels: Tensor | None = None,
    restarts: int = 16,
    iterations: int = 1000,
    prior: str = "smooth",
    every: bool = False,
    tolerance: float = TOLERANCE,
    clip: float | None = None,
    loss: Loss = cross_entropy,
    seed: int = 0,
    watch: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Reconstruction:
    """The mini-batch behind each of V victims' gradients, from at most `restarts` beginnings each.

    shape: of one image, as in (1, 28, 28), or signal, as in (2, 128). labels: `(V, B)` where they are known (iDLG), or
    `(V, B, K)`, as the clients' `loss` takes them; else they are optimised too, as logits. clip: the bound to which
    clients clip a gradient, if they do. The adversary then does the same to its own, since the squared distance takes a
    shortened gradient for one of another image.

    prior: `smooth`, the adversary expects images in [0, 1] with little of high frequencies, begins near grey and works
    in coordinates where such images are round (`_smooth`); `none`, it begins at N(0, 1) and works on pixels, as DLG.
    A trial runs L-BFGS for `iterations`, or until the squared distance is `tolerance` of the gradient's own. One, one,
    two, four ... restarts are begun at a time, and only for victims of whom none has come below `FOUND`; with `every`
    all of them, all at once, as who counts single successes needs. A trial that was not begun has an infinite loss.
    `watch(iteration, images (V, R, B, C, H, W), losses (V, R))` sees every iteration.

    A trial draws from its own seed, and no trial's result depends on those beside it but for the rounding of float32
    (matrix products of another size add up in another order). Raises ValueError for a shape that does not fit the
    model, labels that are not `(V, B)`, gradients of different sizes, unknown labels under a loss of one's own, a
    network that draws at random or reads tokens, and one whose gradient has no slope.
    """
    gradients = [gradients] if isinstance(gradients, Gradient) else list(gradients)
    checks.sizes(restarts=[restarts], iterations=[iterations])
    checks.one_of("prior", prior, PRIORS)
    checks.if_given(checks.number, "clip", clip, 0, open_low=True)
    matcher = Matcher(model, gradients, squared if clip is None else clipped(clip), loss=loss)
    problem = _problem(matcher, model, shape, labels, prior, loss)
    form = len(gradients), restarts
    how = partial(minimise, iterations=iterations, tolerance=tolerance)
    found = _begun(problem, problem.starts(*form, seed), form, every, how, watch)
    chosen = as_labels(problem.targets(found.points, _victims(form, found.points)), loss)
    images = problem.images(found.points).view(*form, *problem.batch)
    guessed = chosen.view(*form, *chosen.shape[1:])
    return Reconstruction(images, guessed, found.values.view(form), found.iterations.view(form))


def _victims(form: tuple[int, int], like: Tensor) -> Tensor:
    """Whose each trial is, `(V * R,)`."""
    return torch.arange(form[0], device=like.device).repeat_interleave(form[1])


def _begun(
    problem: "_Problem",
    points: Tensor,
    form: tuple[int, int],
    every: bool,
    how: Callable[..., Minima],
    watch: Callable[[int, Tensor, Tensor], None] | None,
) -> Minima:
    """Trials minimised in waves from `points` `(V * R, n)`: where each ends, or begins if it was not begun."""
    victim = _victims(form, points)
    values = points.new_full((len(points),), torch.inf)
    done = torch.full_like(values, torch.nan)

    def show(trials: Tensor, iteration: int, at: Tensor, found: Tensor) -> None:
        if watch:
            points[trials], values[trials] = at, found
            watch(iteration, problem.images(points).view(*form, *problem.batch).clone(), values.view(form).clone())

    for first, last in _waves(form[1], every):
        wanted = torch.arange(first, last).to(victim) + form[1] * torch.arange(form[0]).to(victim)[:, None]
        trials = wanted[~(values.view(form).amin(1) < FOUND)].flatten()
        if not len(trials):
            break
        value = partial(problem.value, victim[trials])
        found = how(value, points[trials], watch=partial(show, trials) if watch else None)
        points[trials], values[trials], done[trials] = found.points, found.values, found.iterations.to(done)
    return Minima(points, values, done)


def _waves(restarts: int, every: bool) -> list[tuple[int, int]]:
    """Which restarts are begun together: the first, the second, two more, four more ..., or all."""
    if every:
        return [(0, restarts)]
    ends = [min(restarts, 2**power) for power in range(restarts.bit_length() + 1)]
    return [(first, last) for first, last in zip([0, *ends], ends, strict=False) if first < last]


@dataclass(frozen=True)
class _Problem:
    """What is minimised: points `(T, n)` hold the coordinates of B images and, where unknown, their labels' logits."""

    matcher: Matcher
    batch: tuple[int, ...]
    classes: int
    known: Tensor | None
    smooth: Coordinates | None
    loss: Loss

    def images(self, points: Tensor) -> Tensor:
        flat = points[:, : math.prod(self.batch)].unflatten(1, self.batch)
        return flat if self.smooth is None else self.smooth.images(flat)

    def targets(self, points: Tensor, victim: Tensor) -> Tensor:
        if self.known is not None:
            return self.known[victim]
        return _GUESSES[self.loss](points[:, math.prod(self.batch) :].unflatten(1, (self.batch[0], self.classes)))

    def value(self, victims: Tensor, points: Tensor, trial: Tensor) -> tuple[Tensor, Tensor]:
        """The distance and its slope at the points of some trials, `victims` being those of all trials."""
        victim = victims[trial]
        return with_slopes(lambda at: self.matcher(self.images(at), self.targets(at, victim), victim), points)

    def starts(self, victims: int, restarts: int, seed: int) -> Tensor:
        """Where each trial begins, each from a seed of its own, whatever the number of trials."""
        drawn, size = [], math.prod(self.batch) + (0 if self.known is not None else self.batch[0] * self.classes)
        for v in range(victims):
            for r in range(restarts):
                random = runtime.generator(runtime.derive(seed, "start", v, r))
                spread = 1.0 if self.smooth is None else SPREADS[r % len(SPREADS)]
                drawn.append(spread * torch.randn(size, generator=random))
        return torch.stack(drawn).to(self.matcher.like)


def _problem(
    matcher: Matcher, model: nn.Module, shape: Sequence[int], labels: Tensor | None, prior: str, loss: Loss
) -> _Problem:
    classes = number_of_classes(model, shape, matcher.like)
    known = None if labels is None else targets_of(matcher, labels, classes, loss)
    if known is None and loss not in _GUESSES:
        raise ValueError("unknown labels can be optimised under cross_entropy and binary_cross_entropy; give labels=")
    if known is None and loss is cross_entropy and classes == 1:
        raise ValueError("cross_entropy of one logit is always 0; give the client's own: binary_cross_entropy")
    smooth = Coordinates(shape, matcher.like) if prior == "smooth" else None
    return _Problem(matcher, (matcher.examples, *shape), classes, known, smooth, loss)
