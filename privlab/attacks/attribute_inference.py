"""Attribute inference: the sensitive attribute of a record, from a model and all else that is known of the record.

All functions give scores `(N, V)`, log-probabilities up to a constant for each record: the larger, the likelier a
value. `impute` never asks the model. What it finds is no leak of this model: an attack has to beat it, with the same
records of the adversary's own (Jayaraman and Evans 2022).
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from privlab import checks
from privlab.attacks.threat import threats

Ask = Callable[[Tensor], Tensor]
_LEAST = 1e-12  # below this a probability is a rounding
THREATS = threats("attribute_inference")


def completed(records: Tensor, columns: Sequence[int], values: Tensor) -> Tensor:
    """Each record with each value of the attribute put in: `(N, V, F)`.

    records `(N, F)`: what they hold in the attribute's `columns` is not looked at. values `(V, C)`: what stands in
    these C columns for each value; for an attribute of one feature a word the rows of `torch.eye(V)`.
    """
    checks.floats("records", records, "(N, F)")
    checks.floats("values", values, "(V, C)")
    places, width = list(columns), records.shape[1]
    if len(places) != values.shape[1] or len({*places} & {*range(width)}) < len(places):
        raise ValueError(f"columns={places} for {values.shape[1]} numbers a value; give as many, from 0 to {width - 1}")
    made = records[:, None].repeat(1, len(values), 1)
    made[..., places] = values.to(made)
    return made


def maximum(ask: Ask, candidates: Tensor, labels: Tensor, *, prior: Tensor, confusion: Tensor | None = None) -> Tensor:
    """Which value best explains the true label: log of prior(v) P(label | what the model answers with v), `(N, V)`.

    ask: probabilities `(M, K)` of inputs `(M, F)`; candidates: as of `completed`; labels `(N,)`: the records' own.
    prior: the marginal of the attribute `(V,)`, or a guess for each record `(N, V)`, such as `impute(...).exp()`.
    With `confusion` `(K, K)`, how often the model decides j (column) where i (row) is true, only its decision is used:
    Fredrikson's attack. Without, P is what the model says of the label: Bayes' rule, if the model is calibrated. A
    decision that was never made tells nothing.
    Source: Fredrikson et al. 2015, section 4.1; 2014, figure 2. Mehnaz et al. 2022 for confidences.
    """
    checks.floats("candidates", candidates, "(N, V, F)")
    checks.labels("labels", labels, len(candidates))
    said = ask(candidates.flatten(0, 1))
    checks.floats("the model's answer", said, "(M, K)")
    (count, values), classes = candidates.shape[:2], said.shape[1]
    if len(said) != count * values or labels.max() >= classes or said.min() < 0 or (said.sum(1) - 1).abs().max() > 1e-3:
        what = f"{tuple(said.shape)} to {count * values} inputs, with labels up to {labels.max()}"
        raise ValueError(f"the model answers {what}; let `ask` give the probabilities of all classes, as softmax does")
    right, said = labels.to(said.device)[:, None], said.view(count, values, classes)
    if confusion is None:
        chance = said.gather(2, right[..., None].expand(-1, values, 1))[..., 0]
    else:
        _check_shares("confusion", confusion, (classes, classes))
        made = confusion.to(said).sum(0)
        chance = torch.where(made > 0, confusion.to(said) / made.clamp_min(_LEAST), 1 / classes)[right, said.argmax(2)]
    _check_shares("prior", prior, (count, values) if getattr(prior, "ndim", 1) == 2 else (values,))
    return prior.to(said).log() + chance.clamp_min(_LEAST).log()


def impute(known: Tensor, values: Tensor, asked: Tensor) -> Tensor:
    """The baseline without the model: a logistic regression from what is public to the attribute, `(N, V)`.

    known `(M, F)`: public attributes of the adversary's own records (with the label as further columns, where it knows
    that of those asked about too); values `(M,)`: their attribute, numbers from 0 without gaps; asked `(N, F)`.
    Raises ValueError for fewer than two values. Source: Jayaraman and Evans 2022.
    """
    checks.floats("known", known, "(M, F)")
    checks.floats("asked", asked, "(N, F)")
    checks.labels("values", values, len(known))
    if known.shape[1] != asked.shape[1]:
        raise ValueError(f"known rows have {known.shape[1]} columns and those asked about {asked.shape[1]}")
    if len(values.unique()) != max(2, int(values.max()) + 1):
        raise ValueError(f"values are {values.unique().tolist()}; give two or more, numbered from 0 without gaps")
    learned = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    learned.fit(known.double().cpu().numpy(), values.cpu().numpy())
    made = torch.from_numpy(learned.predict_proba(asked.double().cpu().numpy()))
    return made.clamp_min(_LEAST).log().to(asked)


def from_updates(known: Sequence[Mapping[str, Tensor]], values: Tensor, sent: Sequence[Mapping[str, Tensor]]) -> Tensor:
    """Which value of an attribute the records of a client's mini-batch carry: scores `(N, V)` of what was `sent`.

    known: gradients, at the same weights, of mini-batches that the adversary drew of its own records, each of records
    with one value `(M,)`. A logistic regression tells them apart, as rows of length one.
    Raises ValueError for gradients of different networks. Source: Melis et al. 2019, section 4 (there random forests).
    """
    forms = [{name: each[name].shape for name in each} for each in [*known, *sent]]
    if not len(known) or not len(sent) or any(form != forms[0] for form in forms):
        raise ValueError(f"{len(known)} known and {len(sent)} sent gradients; give some of both, of one network")
    rows = torch.stack([torch.cat([each[name].flatten() for name in forms[0]]) for each in [*known, *sent]])
    rows = torch.nn.functional.normalize(rows, dim=1)
    return impute(rows[: len(known)], values, rows[len(known) :])


def _check_shares(name: str, given: Tensor, shape: tuple[int, ...]) -> None:
    form = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
    if form != shape or not given.isfinite().all() or given.min() < 0 or given.sum() <= 0:
        raise ValueError(f"{name} is {form}; give a tensor {shape}, finite, at least 0 and not all 0")
