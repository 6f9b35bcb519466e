"""Read the labels of a mini-batch off the gradient of the last layer: one sign, or one subtraction.

Source: Zhao et al. 2020, "iDLG: Improved deep leakage from gradients"; for batches, the same equation summed up.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from privlab import checks, networks, runtime
from privlab.attacks.threat import threats
from privlab.sharing.federated import Gradient, Loss, binary_cross_entropy, cross_entropy

(THREAT,) = threats("label_inference")


def _bias(gradient: Gradient, layer: str, loss: Loss) -> Tensor:
    """The last layer's bias gradient `(K,)`, if `loss` is one whose labels it tells; else ValueError."""
    bias = gradient.layer(layer)[1]
    if loss is not cross_entropy and not (loss is binary_cross_entropy and len(bias) == 1):
        raise ValueError(
            f"labels of {getattr(loss, '__name__', loss)} with {len(bias)} outputs are not read off a gradient; those "
            "of federated.cross_entropy, and federated.binary_cross_entropy of one output are"
        )
    if loss is cross_entropy and len(bias) == 1:
        given = f"layer={layer!r} has one output, of which cross_entropy is always 0"
        raise ValueError(f"{given}; name the client's own: loss=federated.binary_cross_entropy")
    return bias


def single(gradient: Gradient, layer: str = "output", *, loss: Loss = cross_entropy) -> int:
    """The label of a mini-batch of one: the only class whose bias gradient, p_k - [k = y], is negative.

    layer: the last one, whose outputs are the logits, unchanged. loss: the client's, which its gradient does not tell:
    cross-entropy with class numbers, or binary cross-entropy of one output, whose sign alone is the label.
    Raises ValueError for a larger mini-batch, another loss, and where no class or several are negative: under noise or
    label smoothing, or when the model is so sure that its loss is zero in float32 and nothing is sent.
    Source: iDLG, eq. 3 (there for weights, whose sign also depends on that of the layer's inputs).
    """
    if gradient.examples != 1:
        raise ValueError(f"the gradient is of {gradient.examples} examples; for more than one use label_counts")
    bias = _bias(gradient, layer, loss)
    if len(bias) == 1:
        if bias == 0:
            raise ValueError(f"the gradient of {layer!r} is zero, and its sign would be the label")
        return int(bias < 0)
    negative = (bias < 0).nonzero().flatten()
    if len(negative) != 1:
        raise ValueError(
            f"{len(negative)} classes of {layer!r} have a negative gradient, where one label gives exactly one; "
            "the gradient is noisy, its loss is not cross-entropy on one-hot labels, or the loss is zero"
        )
    return int(negative[0])


def label_counts(
    gradient: Gradient, probabilities: Tensor, layer: str = "output", *, loss: Loss = cross_entropy
) -> Tensor:
    """How often each class occurs in a mini-batch: `(K,)` whole numbers that add up to its size.

    The bias gradient is the mean of p_k - [k = y] over the mini-batch, so that B (mean p_k - gradient) counts the
    labels. probabilities: `(K,)`, what the model predicts on average; the adversary does not know this
    for the private mini-batch and takes it from data of its own, or noise. The counts are rounded so that they
    add up, the largest remainders up. Of one output with binary cross-entropy, probabilities are those of 0 and 1,
    `(2,)`, and so are the counts. layer, loss: see `single`.
    Raises ValueError for another loss, probabilities of another length, or that do not sum to one.
    """
    bias = _bias(gradient, layer, loss)
    if len(bias) == 1:
        bias = torch.cat([-bias, bias])  # the sigmoid of one logit is the softmax of 0 and it
    if probabilities.shape != bias.shape:
        raise ValueError(f"probabilities are {tuple(probabilities.shape)}; expected {tuple(bias.shape)}, one a class")
    checks.number("the sum of probabilities", float(probabilities.sum()), 0.99, 1.01)
    expected = (gradient.examples * (probabilities.to(bias) - bias)).clamp_min(0)
    counts = expected.floor().long()
    while (missing := gradient.examples - int(counts.sum())) != 0:
        gap = expected - counts
        if missing > 0:
            counts[gap.argmax()] += 1
        else:
            counts[torch.where(counts > 0, gap, torch.inf).argmin()] -= 1
    return counts


def labels(
    model: nn.Module,
    gradients: Sequence[Gradient],
    *,
    shape: Sequence[int],
    layer: str | None = None,
    loss: Loss = cross_entropy,
    seed: int = 0,
) -> Tensor:
    """The labels of each victim's mini-batch, `(V, B)`, in rising order: by sign for one image, else by counting.

    shape: of one image, or (length,) of tokens. For batches the adversary does not know what the model predicts for the
    private images, and takes its mean prediction for images of uniform noise instead: good while the model is
    untrained. layer: the last one, found where it is not given. Raises ValueError where the logits are not a dense
    layer's outputs, unchanged, and like `single`.
    """
    checks.some("gradients", gradients)
    noise = _noise(model, shape, runtime.generator(runtime.derive(seed, "noise")))
    with networks.untouched(model), networks.dice(model, seed), torch.no_grad():
        made = networks.logits(model, noise, "noise")
    last = networks.last_layer(model, noise[:2])
    if layer not in (None, last):
        raise ValueError(f"layer={layer!r} does not give this model's logits; {last!r} does")
    expected = (torch.cat([0 * made, made], 1) if made.shape[1] == 1 else made).softmax(1).mean(0)
    found = []
    for each in gradients:
        if each.examples == 1:
            found.append(torch.tensor([single(each, last, loss=loss)], device=made.device))
        else:
            counts = label_counts(each, expected, last, loss=loss)
            found.append(torch.arange(len(counts), device=made.device).repeat_interleave(counts))
    return torch.stack(found)


def _noise(model: nn.Module, shape: Sequence[int], random: torch.Generator) -> Tensor:
    """Inputs of `shape` that the adversary makes up: pixels, or words that the model has an embedding of."""
    if len(shape) > 1:
        return torch.rand(64, *shape, generator=random).to(networks.device(model), networks.dtype(model))
    words = [each.num_embeddings for each in model.modules() if isinstance(each, nn.Embedding)]
    return torch.randint(min(words, default=1), (64, *shape), generator=random).to(networks.device(model))
