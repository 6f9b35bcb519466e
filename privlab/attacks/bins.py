"""Bins: a malicious server makes a dense layer measure images, so that neighbouring neurons differ by one of them.

Every neuron takes the same measurement, mean brightness for one, and fires above a threshold of its own. An image
activates all neurons up to its place. What the gradients of two neighbours differ by comes from the images between the
two thresholds; where that is one image, a division shows it.
Source: Fowl et al., "Robbing the Fed", ICLR 2022, section 4 (arXiv 2110.13057).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from privlab import checks, networks, runtime
from privlab.attacks import gradient_extraction
from privlab.attacks.gradient_extraction import Extraction
from privlab.attacks.threat import threats
from privlab.sharing.federated import Gradient

(THREAT,) = threats("bins")
_ROUNDINGS = 16  # of the larger of two sums: a smaller difference is no image, but what was rounded off
_NEAR = 0.1  # of a step of the pixels' grid: a difference is less exact than a row, and few mixtures are on it
_BLOCK = 2**17  # numbers at a time, which fit the processor's cache


def expected_recall(bins: int, batch: int) -> float:
    """The share of a mini-batch that is alone in its bin, of `bins` equally likely ones: (1 - 1 / bins)^(batch - 1).

    For a measurement without ties whose quantiles are known. Source: "Robbing the Fed", section 4.
    """
    checks.sizes(bins=[bins], batch=[batch])
    return (1 - 1 / bins) ** (batch - 1)


@torch.no_grad()
def plant(
    model: nn.Module, public: Tensor, *, random: int | None = None, normal: bool = False, layer: str | None = None
) -> nn.Module:
    """A copy of `model` whose dense layer `layer`, by default the first, parts inputs into as many bins as it is wide.

    public: inputs `(P, ...)` like the client's, three or more, of whose measurements the thresholds are the quantiles;
    with `normal` those of a normal law with their mean and spread, for which few inputs are enough. The measurement is
    the mean of what the layer reads or, with a seed `random`, its product with Gaussian weights, which seldom ties.
    The lowest threshold is below all that is public or in [0, 1], so that N neurons make N bins.
    The dense layer that reads the neurons, behind a ReLU, gets its first column N times: to all neurons that an input
    activates the same number comes back. Raises ValueError, in words, where that is not so, for less than three neurons
    or inputs, for a layer that reads several rows an input, and for inputs that measure alike.
    Source: "Robbing the Fed", section 4.
    """
    checks.inputs("public", public)
    layer = networks.first_dense(model) if layer is None else layer
    bins, inputs = networks.plain_dense(model, layer).weight.shape
    with networks.measured(model):
        read = networks.input_of(model, layer, public).double()
    row = torch.full_like(read[0], 1 / read.shape[-1])
    if random is not None:
        row = torch.randn(row.shape, generator=runtime.generator(random)).to(row) / len(row)
    if (
        read.shape[1:] != (inputs,)
        or min(bins, len(read)) < 3
        or not (read @ row).std() > 1e-9 * (read @ row).abs().max()
    ):
        found = (
            f"{layer!r} has {bins} neurons and is given {tuple(read.shape)} by public; bins need three neurons, three"
        )
        raise ValueError(f"{found} inputs of one row of {inputs} numbers, and not all of them may measure the same")
    seen, shares = read @ row, torch.arange(1, bins).to(row) / bins
    edges = seen.mean() + seen.std() * torch.special.ndtri(shares) if normal else seen.quantile(shares)
    lowest = torch.stack([row.clamp_max(0).sum(), seen.min(), edges[0]]).amin(0, keepdim=True) - seen.std()
    made, unit = networks.duplicate(model), bins * seen.std()  # over it all neurons add up to about one: none saturates
    dense = networks.plain_dense(made, layer)
    dense.weight.copy_(row.expand_as(dense.weight) / unit)
    dense.bias.copy_(-torch.cat([lowest, edges]) / unit)
    for behind in (each for each in made.modules() if isinstance(each, nn.Linear) and each.in_features == bins):
        if behind is not dense and "weight" in behind._parameters:
            before = behind.weight.clone()
            behind.weight.copy_(before[:, :1].expand_as(before))
            if _comes_back(made.requires_grad_(), dense, public[seen.argsort()[(len(seen) - 1) // 2]][None]):
                for old, new in zip(model.parameters(), made.parameters(), strict=True):
                    new.requires_grad_(old.requires_grad)
                return made
            behind.weight.copy_(before)
    found = f"what comes back to {layer!r} is not one number for the neurons that fire and zero for others; bins need"
    raise ValueError(f"{found} a ReLU behind it, and behind that a dense layer that reads its neurons and nothing else")


def _comes_back(model: nn.Module, dense: nn.Linear, one: Tensor) -> bool:
    """Whether an input that measures neither much nor little gives the same to all lower neurons, none to the upper."""
    with networks.untouched(model), networks.dice(model, 0), torch.enable_grad():
        value = networks.logits(model, one, "public").square().sum()
        found = torch.autograd.grad(value, (dense.weight, dense.bias), allow_unused=True, materialize_grads=True)
    slopes = torch.cat([found[0], found[1][:, None]], 1)
    fired = int(slopes.any(1).sum())
    return 0 < fired < len(slopes) and bool((slopes[:fired] - slopes[0]).abs().max() < 1e-3 * slopes[0].abs().max())


def active_neurons(gradient: Gradient, layer: str = "fc1") -> Tensor:
    """The neurons whose bins hold an image: their bias gradient is not that of their upper neighbour, but for rounding.

    Raises ValueError for a layer that is not in the gradient.
    """
    bias = gradient.layer(layer)[1]
    above = torch.cat([bias[1:], bias.new_zeros(1)])
    lost = _ROUNDINGS * torch.finfo(bias.dtype).eps * torch.maximum(bias.abs(), above.abs())
    return ((bias - above).abs() > lost).nonzero().flatten()


def candidates(gradient: Gradient, layer: str = "fc1", neurons: Tensor | None = None) -> Tensor:
    """What each bin holds, `(A, L)`: an image, or a mixture of several; the topmost bin has no upper neighbour.

    neurons: `(A,)`, by default the active ones; of all others not a number is read. In float32 a difference is known to
    some 1e-7 of the sums that it is taken of, so that an image whose part in them is small comes out less exact.
    Source: "Robbing the Fed", section 4.
    """
    full, parts = active_neurons(gradient, layer) if neurons is None else neurons, []
    for each in gradient.layer(layer):
        upper = each.index_select(0, (full + 1).clamp_max(len(each) - 1))
        upper[full == len(each) - 1] = 0
        parts.append(each.index_select(0, full).sub_(upper))
    return parts[0].div_(parts[1][:, None])


def extract(gradient: Gradient, *, shape: Sequence[int], layer: str = "fc1", levels: int = 255) -> Extraction:
    """Every image that is alone in its bin, by the adversary's own judgement; `neurons` are its bins.

    shape: of one input. An image counts that is nowhere a tenth of a step off the grid of `levels` + 1 pixel values,
    and is put on it: that mends what float32 lost, and mixtures seldom pass. Raises ValueError for a layer that is not
    in the gradient, and a shape that is not its own.
    """
    checks.whole("levels", levels)
    weight, _ = gradient_extraction.fitting_layer(gradient, layer, shape)
    neurons = active_neurons(gradient, layer)
    images, shown = weight.new_empty(len(neurons), weight.shape[1]), neurons[:0]
    for part in neurons.split(max(1, _BLOCK // weight.shape[1])):
        rows = candidates(gradient, layer, part).mul_(levels)
        near = rows.round().clamp_(0, levels)
        alone = rows.sub_(near).abs_().amax(1) < _NEAR
        begin, shown = len(shown), torch.cat([shown, part[alone]])
        torch.div(near[alone], levels, out=images[begin : len(shown)])
    images, place = images[: len(shown)].view(-1, *shape), torch.arange(len(shown), device=weight.device)
    return Extraction(images, shown, place, len(neurons))
