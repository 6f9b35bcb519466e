"""A client's guard: look at what came, and at what is about to be sent, before it is sent."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from flwr.app import ArrayRecord, Context, Error, Message
from flwr.common.constant import ErrorCode
from torch import Tensor

from privlab import checks
from privlab.attacks import gradient_extraction
from privlab.defences import detection
from privlab.sharing.messages import Gradient

_NEAR = 0.2  # of a step between pixel values: what weights that were rounded still show
_TRAP = 0.5  # of `pinned_rows`, and of `one_hot_filters`: honest layers score about 0, traps about 1
Call = Callable[[Message, Context], Message]


@dataclass(frozen=True)
class Audit:
    """What a client finds in one round, without its data.

    traps: of each suspicious layer of the received model its score. images: how many examples one division of the
    update shows, by the adversary's own count. labels: how many classes its last bias shows to be there. norm: of the
    whole update, in l2.
    """

    traps: Mapping[str, float]
    images: int
    labels: int
    norm: float


def audit(received: Mapping[str, Tensor], update: Mapping[str, Tensor], *, levels: int = 255) -> Audit:
    """Look at a received model, and at the update that answers it, both by parameter name.

    A dense layer whose row sums are all alike, or filters with one weight each, are taken for traps: Algorithm 1 of
    "Curious" and `trap_weights.hide` are caught, balanced traps are not. Images are counted in the first dense layer
    with a bias, if its inputs are nearly those of an 8-bit image (`levels` + 1 values); labels by the sign of the last
    bias' change, which after one step of SGD is certain. Others may be in it still. Source: "Curious", section 10.1.
    """
    dense = [name.removesuffix(".weight") for name, each in received.items() if _is_dense(name, each, received)]
    images = labels = 0
    if dense and f"{dense[0]}.weight" in update and f"{dense[0]}.bias" in update:
        rows = gradient_extraction.candidates(Gradient(update, 1), dense[0])
        near = rows[gradient_extraction.on_pixel_grid(rows, levels, _NEAR)]
        images = len((near * levels).round().unique(dim=0))
    if dense and f"{dense[-1]}.bias" in update:
        labels = int((update[f"{dense[-1]}.bias"] > 0).sum())
    norm = torch.cat([each.flatten() for each in update.values()]).norm() if update else torch.zeros(())
    return Audit(traps(received), images, labels, float(norm))


def traps(received: Mapping[str, Tensor]) -> dict[str, float]:
    """The layers of a received model that look like traps, with their scores (see `audit`)."""
    found = {}
    for name, each in received.items():
        if not name.endswith("weight") or not each.is_floating_point():
            continue
        score = 0.0
        if each.dim() == 2 and min(each.shape) > 1:
            score = detection.pinned_rows(each)
        elif each.dim() == 4 and each[0].numel() > 1:
            score = detection.one_hot_filters(each)
        if score > _TRAP:
            found[name.removesuffix(".weight")] = score
    return found


def _is_dense(name: str, each: Tensor, received: Mapping[str, Tensor]) -> bool:
    return name.endswith(".weight") and each.dim() == 2 and f"{name.removesuffix('weight')}bias" in received


def audit_mod(
    *, images: int = 0, labels: int | None = None, norm: float | None = None, refuse: bool = True
) -> Callable[[Message, Context, Call], Message]:
    """A mod for any ClientApp of Flower: `ClientApp(mods=[audit_mod()])`.

    A received model with traps is refused before anything is trained on it; so is an answer that shows more than
    `images` examples or `labels` classes, or is longer than `norm` (None: no limit). With refuse=False it warns in
    Flower's log, and sends. The server gets an error with the reason, and Flower's strategies leave the client out.
    """
    checks.whole("images", images, 0)
    if labels is not None:
        checks.whole("labels", labels, 0)
    if norm is not None:
        checks.number("norm", norm, 0)

    def mod(message: Message, context: Context, call_next: Call) -> Message:
        received = _tensors(message)
        found = [f"{layer} looks like a trap ({score:.2f})" for layer, score in traps(received).items()]
        if found and refuse:
            return _refused(message, found)
        answer = call_next(message, context)
        if answer.has_error():
            return answer
        sent = _tensors(answer)
        update = {
            name: sent[name] - each for name, each in received.items() if name in sent and _differ(each, sent[name])
        }
        told = audit(received, update)
        limits = (("images", told.images, images), ("labels", told.labels, labels), ("norm", told.norm, norm))
        found += [f"{name} {value:.4g} > {most:g}" for name, value, most in limits if most is not None and value > most]
        if found and refuse:
            return _refused(message, found)
        for each in found:
            logging.getLogger("flwr").warning("audit: %s", each)
        return answer

    return mod


def _differ(a: Tensor, b: Tensor) -> bool:
    return a.is_floating_point() and a.shape == b.shape and not torch.equal(a, b)


def _tensors(message: Message) -> dict[str, Tensor]:
    records: list[ArrayRecord] = list(message.content.array_records.values())
    return {name: each for one in records for name, each in one.to_torch_state_dict().items()}


def _refused(message: Message, reasons: list[str]) -> Message:
    return Message(Error(ErrorCode.MOD_FAILED_PRECONDITION, f"audit: {'; '.join(reasons)}"), reply_to=message)
