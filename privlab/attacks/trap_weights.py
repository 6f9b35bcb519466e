"""Trap weights: a malicious server sets a dense layer so that each neuron fires for very few images.

Source: Boenisch et al., "When the curious abandon honesty", section 6 and Algorithm 1.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from privlab import checks, networks, runtime
from privlab.attacks import gradient_extraction
from privlab.attacks.threat import threats
from privlab.sharing.federated import Gradient

(THREAT,) = threats("trap_weights")


@dataclass(frozen=True)
class Draw:
    """One random draw of Algorithm 1, from which the trap weights for every s follow: `minus + s * plus`.

    minus, plus: `(N, L)`, each non-zero where the other is zero, the same magnitudes row by row.
    """

    minus: Tensor
    plus: Tensor

    def weights(self, s: float) -> Tensor:
        """The trap weights `(N, L)` for the scaling factor s in (0, 1]."""
        checks.number("s", s, 0, 1, open_low=True)
        return torch.add(self.minus, self.plus, alpha=s)


def draw(neurons: int, inputs: int, *, sigma: float = 0.5, seed: int | torch.Generator = 0) -> Draw:
    """Draw the random part of Algorithm 1 for `neurons` rows of `inputs` weights.

    In each row a random half of the places is negative, -|N(0, sigma)|; the other half holds the same
    magnitudes in another order, positive. (For an odd length the negative half is larger by one.)
    Source: "Curious", Algorithm 1, with mu = 0, which its text leaves open. Shuffling both halves is the
    same as placing them by one random permutation, as here.
    """
    checks.whole("neurons", neurons)
    checks.whole("inputs", inputs, 2)
    checks.number("sigma", sigma, 0, open_low=True)
    random = runtime.generator(seed)
    half = inputs // 2
    minus, plus = torch.zeros(neurons, inputs), torch.zeros(neurons, inputs)
    for row in range(neurons):
        place = torch.randperm(inputs, generator=random)
        size = torch.empty(inputs - half).normal_(0, sigma, generator=random).abs_()
        minus[row, place[half:]] = -size
        plus[row, place[:half]] = size[:half]
    return Draw(minus, plus)


@torch.no_grad()
def plant(
    model: nn.Module,
    s: float = 0.7,
    *,
    sigma: float = 0.5,
    seed: int | torch.Generator = 0,
    layer: str | None = None,
    drawn: Draw | None = None,
    hidden: bool = False,
) -> nn.Module:
    """A copy of `model` whose dense layer `layer`, by default the first, carries trap weights and zero biases.

    s: how large positive weights are beside negative ones, in (0, 1]; a smaller s lets fewer images through.
    `drawn` re-uses one random draw for several s; sigma and seed then play no part. With `hidden` the layer's own
    weights are kept but for their row means (see `hide`), and there is nothing to draw.
    Raises ValueError for an s out of range, or a layer that is not a dense layer of the model with weights of its own.
    Source: "Curious", section 6.2, Algorithm 1.
    """
    checks.number("s", s, 0, 1, open_low=True)
    layer = networks.first_dense(model) if layer is None else layer
    dense = networks.plain_dense(model, layer)
    if drawn is not None and hidden:
        raise ValueError("hidden=True moves the layer's own weights, and drawn= brings others; give one of them")
    if drawn is None and not hidden:
        drawn = draw(dense.out_features, dense.in_features, sigma=sigma, seed=seed)
    if drawn is not None and drawn.minus.shape != dense.weight.shape:
        raise ValueError(f"drawn is {tuple(drawn.minus.shape)}, but {layer!r} needs {tuple(dense.weight.shape)}")
    trapped = hide(dense.weight, s) if drawn is None else drawn.weights(s)
    # What deepcopy finds in its memo it takes as the copy: the large old weight is never copied.
    pairs = ((dense.weight, trapped.to(dense.weight)), (dense.bias, torch.zeros_like(dense.bias)))
    replaced = {id(old): nn.Parameter(new, requires_grad=old.requires_grad) for old, new in pairs}
    return networks.duplicate(model, replaced)


def hide(weight: Tensor, s: float, *, balanced: bool = False) -> Tensor:
    """Trap weights that look like `weight` `(N, L)`, an honest layer's: the mean of each row is set anew.

    A row of Algorithm 1 does two things: its weights vary at random, and their sum is pinned just below zero. Any
    honest row varies at random. Setting its mean to -(1 - s) / 2 E|N(0, 1)| = -0.4 (1 - s), in units of the row's
    standard deviation, pins its sum where Algorithm 1 pins it. For s = 0.95 that is a fiftieth of a standard
    deviation. With `balanced` every other row's mean has the other sign: it traps nothing, but the layer has no
    surplus of negative weights, and its rows no common sum. Raises ValueError for an s out of range.
    Source: ours; the paper leaves open how its weights could be hidden ("Curious", section 10.1).
    """
    checks.number("s", s, 0, 1, open_low=True)
    centred = weight - weight.mean(1, keepdim=True)
    move = (1 - s) / math.sqrt(2 * math.pi) * centred.std(1, keepdim=True)
    if balanced:
        move[1::2] *= -1
    return centred - move


def tune(
    model: nn.Module,
    client: Callable[[nn.Module], Gradient],
    values: Sequence[float],
    *,
    shape: Sequence[int],
    seed: int = 0,
    layer: str | None = None,
) -> tuple[float, list[int]]:
    """The s in `values` that yields most images, and how many each yielded, by the adversary's own count.

    `client` answers a model with the gradient of its mini-batch: one round of training for each value.
    No truth is needed. Of equal counts the first wins. Raises ValueError for no values.
    Source: "Curious", section 6.2 ("over time by evaluating the attack success on the gradients received").
    """
    if not values:
        raise ValueError("values is empty; give at least one s")
    layer = networks.first_dense(model) if layer is None else layer
    neurons, inputs = networks.plain_dense(model, layer).weight.shape
    drawn = draw(neurons, inputs, seed=seed)
    counts = []
    for s in values:
        answer = client(plant(model, s, layer=layer, drawn=drawn))
        counts.append(len(gradient_extraction.extract(answer, shape=shape, layer=layer).images))
    return values[counts.index(max(counts))], counts
