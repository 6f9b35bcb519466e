"""Model extraction: a copy of a model from its answers. The adversary never sees its weights, nor a true label."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from privlab import checks, runtime
from privlab.attacks.threat import threats
from privlab.sharing import predictions
from privlab.sharing.losses import Loss, cross_entropy

Ask = Callable[[Tensor], Tensor]
ANSWERS = ("logits", "probabilities", "labels")
(THREAT,) = threats("model_extraction")


def extract(
    ask: Ask,
    student: predictions.Model,
    inputs: Tensor,
    *,
    answers: str = "probabilities",
    queries: int | None = None,
    loss: Loss = cross_entropy,
    seed: int = 0,
    **training,
) -> predictions.Model:
    """A copy of the student, trained to answer `inputs` `(N, ...)` as the model does.

    ask: what the model answers, a row for each input: logits `(M, K)`, probabilities, or labels in the form that `loss`
    takes, as `answers` says. queries: of so many inputs drawn at random, all if None; with the same seed more queries
    hold the fewer ones. Logits are met in the mean square, the others by `loss`. training: as of `predictions.fit`,
    with its errors. Source: Tramèr et al. 2016; Orekondy et al. 2019 (there probabilities, inputs of another data set).
    """
    checks.one_of("answers", answers, ANSWERS)
    if not isinstance(inputs, Tensor) or inputs.dim() < 2 or not len(inputs):
        raise ValueError(f"inputs are {getattr(inputs, 'shape', inputs)}; give a tensor (N, ...) with one at least")
    count = len(inputs) if queries is None else queries
    checks.whole("queries", count, 1, len(inputs))
    order = torch.randperm(len(inputs), generator=runtime.generator(runtime.derive(seed, "queries")))
    asked = inputs[order[:count]]
    said = _said(ask, asked, answers)
    if answers == "logits":  # `fit` takes targets in [0, 1]
        low, span = said.min(), (said.max() - said.min()).clamp_min(torch.finfo(said.dtype).tiny)
        said = ((said - low) / span).clamp(0, 1)
        training["loss"] = lambda made, wanted: nn.functional.mse_loss(made, low + span * wanted)
    return predictions.fit(student, asked, said, seed=seed, **{"loss": loss, **training})


def linear(ask: Ask, features: int, *, answers: str = "logits", queries: int | None = None) -> tuple[Tensor, Tensor]:
    """The weights `(K, F)` and biases `(K,)` of a linear model, from F + 1 answers: at 0, and with one feature 1 each.

    ask: logits of inputs `(M, F)`, or probabilities, which are softmax's (for one output sigmoid's): their logs are the
    logits up to a number for each input, so that the class 0 is given weights of 0, and the model is the same one.
    With fewer `queries` than F + 1 the last features' weights stay 0, since nothing tells them. Exact but for rounding,
    which is large where a probability is close to 0. Source: Tramèr et al. 2016, section 4.1 (equation solving).
    """
    checks.whole("features", features)
    checks.one_of("answers", answers, ANSWERS[:2])
    count = features + 1 if queries is None else queries
    checks.whole("queries", count, 1, features + 1)
    asked = torch.cat([torch.zeros(1, features), torch.eye(features)])[:count]
    said = _said(ask, asked, answers)
    if answers == "probabilities":
        if not (said.min() > 0 and said.max() < 1):
            raise ValueError("an answer is 0 or 1 to all digits, so that its logit cannot be told; ask for logits")
        said = said.logit() if said.shape[1] == 1 else said.log() - said[:, :1].log()
    weight = said.new_zeros(said.shape[1], features)
    weight[:, : count - 1] = (said[1:] - said[0]).T
    return weight, said[0]


def _said(ask: Ask, asked: Tensor, answers: str) -> Tensor:
    said = ask(asked)
    if answers != "labels":
        checks.floats(f"what `ask` answers (answers={answers!r})", said, "(N, K)")
    if len(said) != len(asked):
        raise ValueError(f"`ask` gives {len(said)} answers to {len(asked)} inputs; let it give one for each")
    return said.detach()
