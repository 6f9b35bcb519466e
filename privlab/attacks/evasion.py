"""Evasion: change an image a little at test time, so that a trained model no longer says what it should.

With the model in hand (`fgsm`, `pgd`, `patch`) the change follows the slope of the loss at the image; with questions
alone (`square`) it is found by trying. The model is attacked in eval mode, as it is deployed, and left as it was.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from privlab import checks, networks, runtime
from privlab.attacks.threat import threats
from privlab.sharing.losses import Loss, cross_entropy, of_logits, value

THREATS = threats("evasion")
Seed = int | torch.Generator
_HALVED = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)  # of the queries: when a square loses half its area


def fgsm(model: nn.Module, images: Tensor, labels: Tensor, *, epsilon: float, loss: Loss = cross_entropy) -> Tensor:
    """Images `(N, C, H, W)` with each pixel moved by epsilon to where the loss rises, though not out of [0, 1].

    images: in [0, 1], or signals `(N, C, L)`; labels: what the loss takes, `(N,)` for `cross_entropy`. Raises
    ValueError or TypeError, in words, for what does not fit, and for a model whose loss has no slope.
    Source: Goodfellow et al. 2015, section 4.
    """
    images = _checked(images, labels, epsilon)
    with networks.measured(model):
        return (images + epsilon * _slope(model, images, labels, loss).sign()).clamp(0, 1)


def pgd(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    epsilon: float,
    steps: int = 40,
    step: float | None = None,
    norm: str = "linf",
    restarts: int = 1,
    seed: Seed = 0,
    loss: Loss = cross_entropy,
) -> Tensor:
    """Images `(N, C, H, W)` after `steps` up the loss, each put back into the ball of radius epsilon and into [0, 1].

    step: its length in the norm; 2.5 epsilon / steps by default. norm: `linf`, or `l2` over all pixels of an image.
    restarts: how many random starts in the ball; the adversary keeps of each image the one with the largest loss,
    which it sees itself. 0 starts once, at the image. Raises like `fgsm`.
    Source: Madry et al. 2018, section 2.1, eq. 3.
    """
    images, random = _checked(images, labels, epsilon), runtime.generator(seed)
    checks.whole("steps", steps)
    checks.whole("restarts", restarts, 0)
    checks.one_of("norm", norm, ("linf", "l2"))
    length = 2.5 * epsilon / steps if step is None else step
    checks.number("step", length, 0)

    def inside(moved: Tensor) -> Tensor:
        change = moved.sub_(images)
        change = change.clamp_(-epsilon, epsilon) if norm == "linf" else change.renorm_(2, 0, epsilon)
        return change.add_(images).clamp_(0, 1)

    made = []
    with networks.measured(model):
        for _ in range(max(1, restarts)):
            noise = 2 * torch.rand(images.shape, generator=random).to(images) - 1
            here = inside(images + epsilon * noise) if restarts else images
            for _ in range(steps):
                slope = _slope(model, here, labels, loss)
                way = slope.sign() if norm == "linf" else _unit(slope)
                here = inside(way.mul_(length).add_(here))
            made.append(here)
        if len(made) == 1:
            return made[0]
        answers = [networks.logits(model, each).split(1) for each in made]
    own = [[of_logits(*pair, loss) for pair in zip(each, labels.split(1), strict=True)] for each in answers]
    best = torch.tensor(own).argmax(0)
    return torch.stack(made)[best, torch.arange(len(images))]


def patch(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    size: int,
    steps: int,
    step: float,
    seed: Seed,
    target: int | None = None,
    loss: Loss = cross_entropy,
) -> Tensor:
    """One sticker `(C, size, size)` in [0, 1] that raises the loss of images `(N, C, H, W)` wherever it is stuck.

    Each of its `steps` sticks it at other places, and moves each of its pixels by `step` to where the mean loss rises;
    with a `target`, a class number, to where the loss of that class falls. Raises like `fgsm`, and for a size that is
    larger than an image. Source: Brown et al. 2017, section 2, without their turns and scales.
    """
    images, random = _checked(images, labels), runtime.generator(seed)
    checks.whole("size", size, 1, min(images.shape[2:]))
    checks.whole("steps", steps)
    checks.number("step", step, 0)
    if target is not None:
        checks.whole("target", target, 0)
        labels, step = torch.full_like(labels, target), -step
    sticker = torch.rand(images.shape[1], size, size, generator=random).to(images)
    with networks.measured(model):
        for _ in range(steps):
            slope = _slope(model, sticker, labels, loss, lambda each: stick(images, each, seed=random))
            sticker = (sticker + step * slope.sign()).clamp(0, 1)
    return sticker


def stick(images: Tensor, sticker: Tensor, *, seed: Seed) -> Tensor:
    """Images `(N, C, H, W)` with the sticker `(C, h, w)` at a place of each that is drawn from `seed`.

    Raises ValueError or TypeError for a sticker that does not fit on the images.
    """
    checks.images("images", images)
    checks.images("sticker", sticker[None] if isinstance(sticker, Tensor) else sticker)
    (channels, *sides), form = sticker.shape, images.shape[1:]
    if channels != form[0] or sides[0] > form[1] or sides[1] > form[2]:
        raise ValueError(f"a sticker {tuple(sticker.shape)} does not fit on images {tuple(form)}; give a smaller one")
    return _pasted(images, sticker.expand(len(images), -1, -1, -1), runtime.generator(seed))


def square(
    ask: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, *, epsilon: float, queries: int, seed: Seed
) -> tuple[Tensor, Tensor]:
    """Images `(N, C, H, W)` within epsilon of each pixel, and how often each was asked about, int64 `(N,)`.

    ask: what the deployed model answers to images `(n, C, H, W)`: logits or probabilities `(n, K)`; nothing else is
    known of it. labels: class numbers `(N,)`. Squares of random place and sign are tried, and kept where the label's
    lead over all other classes falls. An image that is fooled is not asked about again, and none more often than
    `queries`. Raises ValueError for answers of another form.
    Source: Andriushchenko et al. 2020, Algorithms 1 and 2, with their p = 0.05 and its halving.
    """
    checks.images("images", images)
    checks.labels("labels", labels, len(images))
    images, random = _checked(images, labels, epsilon), runtime.generator(seed)
    checks.whole("queries", queries)
    signs = _signs((*images.shape[:2], 1, images.shape[3]), images, random).expand_as(images).clone()
    lead = _lead(ask, (images + epsilon * signs).clamp(0, 1), labels)
    spent = torch.ones_like(labels)
    for number in range(1, queries):
        left = (lead >= 0).nonzero()[:, 0]
        if not len(left):
            break
        area = 0.05 * images[0, 0].numel() / 2 ** sum(number >= part * queries for part in _HALVED)
        side = min(max(1, round(area**0.5)), *images.shape[2:])
        pieces = _signs((len(left), images.shape[1], 1, 1), images, random).expand(-1, -1, side, side)
        tried = _pasted(signs[left], pieces, random)
        found = _lead(ask, (images[left] + epsilon * tried).clamp(0, 1), labels[left])
        better = left[found < lead[left]]
        signs[better], lead[better] = tried[found < lead[left]], found[found < lead[left]]
        spent[left] += 1
    return (images + epsilon * signs).clamp(0, 1), spent


def _checked(images: Tensor, labels: Tensor, epsilon: float = 0.0) -> Tensor:
    checks.inputs("images", images)
    if not images.is_floating_point():
        raise TypeError("images are tokens, and tokens have no slope to follow; attack images or signals")
    checks.targets("labels", labels, len(images))
    checks.number("epsilon", epsilon, 0)
    return images.detach()


@torch.enable_grad()
def _slope(model: nn.Module, point: Tensor, labels: Tensor, loss: Loss, show: Callable | None = None) -> Tensor:
    """Of the loss of a point, or of what `show` makes of it, at the point."""
    at = point.detach().requires_grad_()
    made = value(model, show(at) if show else at, labels, loss)
    slope = torch.autograd.grad(made, at, allow_unused=True)[0] if made.requires_grad else None
    if slope is None or not slope.sum().isfinite():  # a sum takes half the time of a look at each
        what = "no slope" if slope is None else "a slope that is not finite"
        raise ValueError(f"the loss of this {type(model).__name__} has {what}; attack by its answers alone (`square`)")
    return slope


def _unit(slope: Tensor) -> Tensor:
    """Of length 1 for each image; by the largest first, as squares of small numbers would be 0."""
    tiny = torch.finfo(slope.dtype).tiny
    flat = nn.functional.normalize(slope.flatten(1), torch.inf, eps=tiny)
    return nn.functional.normalize(flat, eps=tiny).view_as(slope)


def _signs(shape: tuple[int, ...], images: Tensor, random: torch.Generator) -> Tensor:
    return (2 * torch.randint(2, shape, generator=random) - 1).to(images)


def _pasted(images: Tensor, pieces: Tensor, random: torch.Generator) -> Tensor:
    """Each image with its own of the pieces `(N, C, h, w)` at a random place."""
    count, _, high, wide = pieces.shape
    top = torch.randint(images.shape[2] - high + 1, (count, 1, 1), generator=random) + torch.arange(high)[:, None]
    left = torch.randint(images.shape[3] - wide + 1, (count, 1, 1), generator=random) + torch.arange(wide)
    made = images.clone()
    made[torch.arange(count)[:, None, None], :, top, left] = pieces.permute(0, 2, 3, 1)
    return made


@torch.no_grad()
def _lead(ask: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> Tensor:
    """How far the label's class is ahead of all others."""
    answers = torch.as_tensor(ask(images)).to(images)
    if answers.dim() != 2 or len(answers) != len(images) or not answers.isfinite().all():
        raise ValueError(f"ask answers {tuple(answers.shape)} to {len(images)} images; give finite numbers (n, K)")
    of_logits(answers, labels, cross_entropy)  # are the labels among its classes?
    own = labels[:, None]
    return (answers.gather(1, own) - answers.scatter(1, own, -torch.inf).amax(1, keepdim=True))[:, 0]
