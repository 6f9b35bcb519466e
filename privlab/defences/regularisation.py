"""Cheap defences against membership inference that promise nothing: less to say, or less learned by heart.

Early stopping, weight decay and label smoothing are settings of `privlab.sharing.predictions.fit`; dropout is a layer.
Here is what remains: `mask` acts on the release, `distil` and `prune_weights` in training. How much each takes is
measured (`membership/defences`), against an adversary whose references were treated alike.
"""

import functools

import torch
from torch import Tensor, nn

from privlab import checks, networks
from privlab.sharing import losses, predictions

# What a loss compares with: shares of classes, which are a softmax, or a chance for each logit, a sigmoid.
SHARES: tuple = (losses.cross_entropy, nn.CrossEntropyLoss)
CHANCES: tuple = (losses.binary_cross_entropy, nn.functional.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss)


def mask(logits: Tensor, kept: int = 1) -> Tensor:
    """Answers that tell the order of the `kept` likeliest classes and no confidence: logits `(N, K)`, ranks in place
    of numbers (kept, kept - 1, ... 1), and 0 for all others. Of one logit, whose sign is yes or no, 1 or -1.

    kept = 1 is the label alone. Source: Shokri et al. 2017, section VIII (restrict the prediction vector); Yeom et al.
    2018 attack the label alone, by whether it is right. Raises ValueError for other shapes, NaN, or more than K kept.
    """
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        what = logits.dtype if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        raise TypeError(f"logits are {what}; give a torch tensor of floats (N, K)")
    if logits.dim() != 2 or not logits.numel():
        raise ValueError(f"logits are {tuple(logits.shape)}; give (N, K) with at least one answer")
    checks.whole("kept", kept, 1, logits.shape[1])
    if unclear := int(logits.isnan().any(1).sum()):
        raise ValueError(f"{unclear} of {len(logits)} answers hold NaN, and have no order; the training diverged")
    if logits.shape[1] == 1:
        return (logits > 0).to(logits.dtype) * 2 - 1
    places = logits.topk(kept, dim=1).indices
    ranks = torch.arange(kept, 0, -1, dtype=logits.dtype, device=logits.device)
    return torch.zeros_like(logits).scatter(1, places, ranks.expand(len(logits), -1))


def distil(
    teacher: nn.Module, student: networks.Model, inputs: Tensor, *, temperature: float = 1.0, **training
) -> networks.Model:
    """A copy of the student, trained to say of public `inputs` `(N, ...)` what the teacher says.

    The student never sees a private example; what it learns of one it learns through the teacher's answers. They are
    softened by `temperature`, and are shares of classes, or with a binary cross-entropy a chance for each logit.
    training: as of `predictions.fit`, with its errors; loss: a cross-entropy of `federated` or of torch, or a
    functools.partial of one. Raises ValueError for other losses, of which it is not known what they compare with.
    Source: Shejwalkar and Houmansadr 2021; Hinton et al. 2015 (temperature).
    """
    checks.number("temperature", temperature, 0, open_low=True)
    answers = predictions.predict(teacher, inputs) / temperature
    chances = _takes_chances(training.get("loss", losses.cross_entropy))
    if not chances and answers.shape[1] == 1:
        raise ValueError("a share of one class is always 1; give loss=federated.binary_cross_entropy for one logit")
    return predictions.fit(student, inputs, answers.sigmoid() if chances else answers.softmax(1), **training)


def _takes_chances(loss: object) -> bool:
    plain = loss.func if isinstance(loss, functools.partial) else loss
    for known in (SHARES, CHANCES):
        if any(plain is each or (isinstance(each, type) and isinstance(plain, each)) for each in known):
            return known is CHANCES
    raise ValueError(
        f"loss={loss!r} is not known to distil: whether it compares with shares of classes or with a chance for each "
        "logit; give federated.cross_entropy or federated.binary_cross_entropy, one of torch's, or a functools.partial "
        "of one"
    )


def prune_weights(model: networks.Model, share: float) -> networks.Model:
    """A copy of the model in which the `share` of all weights that are smallest in magnitude are 0; biases stay.

    Of dense and convolutional layers, over all of them together; a weight that two of them share counts once. Train it
    on to let it recover. Raises ValueError for a share outside [0, 1), a model without such layers, and one that
    computes their weights.
    Source: Han et al. 2015; Wang et al. 2021 (against membership inference).
    """
    checks.number("share", share, 0, 1)
    if share == 1:
        raise ValueError("share=1 leaves no weights; give less than 1")
    smaller = networks.duplicate(model)
    layers = {n: each for n, each in smaller.named_modules() if isinstance(each, nn.Linear | nn.modules.conv._ConvNd)}
    if not layers:
        raise ValueError(f"this {type(model).__name__} has no dense or convolutional layer whose weights to prune")
    for name, layer in layers.items():
        if "weight" not in layer._parameters:
            raise ValueError(
                f"layer {name!r} computes its weight (a parametrization, such as weight_norm), so that none can be "
                "pruned; torch.nn.utils.parametrize.remove_parametrizations leaves it a plain one"
            )
    weights = list({id(each.weight): each.weight for each in layers.values()}.values())
    sizes = torch.cat([each.detach().abs().flatten() for each in weights])
    kept = torch.ones_like(sizes, dtype=torch.bool)
    kept[sizes.argsort()[: round(float(share) * len(sizes))]] = False
    with torch.no_grad():
        for each, mine in zip(weights, kept.split([each.numel() for each in weights]), strict=True):
            each.masked_fill_(~mine.view_as(each), 0)
    return smaller
