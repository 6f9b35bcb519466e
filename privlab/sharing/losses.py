"""What a client minimises: a loss of logits and labels, an argument wherever something is trained or measured."""

from collections.abc import Callable

from torch import Tensor, nn

from privlab import networks

Loss = Callable[[Tensor, Tensor], Tensor]
Craft = Callable[[nn.Module, Tensor, Tensor], Tensor]  # of a model as it is, inputs and labels: other inputs
cross_entropy: Loss = nn.functional.cross_entropy


def binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Yes or no, for each output: the mean over all of logits `(N, K)` and labels 0 or 1 `(N, K)`.

    For one output labels may be `(N,)` too. Raises ValueError for other shapes.
    """
    if labels.dim() == 1 and logits.shape[1] == 1:
        labels = labels[:, None]
    if labels.shape != logits.shape:
        given = f"labels are {tuple(labels.shape)} for logits {tuple(logits.shape)}"
        raise ValueError(f"{given}; binary_cross_entropy takes one label, 0 or 1, for each logit")
    return nn.functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))


def value(model: nn.Module, images: Tensor, labels: Tensor, loss: Loss) -> Tensor:
    """The loss of a network on a mini-batch, one number; ValueError or TypeError, in words, for what does not fit."""
    return of_logits(networks.logits(model, images), labels, loss)


def of_logits(logits: Tensor, labels: Tensor, loss: Loss) -> Tensor:
    """The loss of logits `(N, K)`, one number. Raises like `value`."""
    classes = logits.shape[1]
    if loss is cross_entropy:
        _check_classes(labels, classes)
        labels = labels.to(logits.dtype) if labels.dim() == 2 else labels
    elif loss is binary_cross_entropy and labels.max() > 1:
        raise ValueError(f"labels hold {int(labels.max())}, and binary_cross_entropy knows 0 and 1")
    made = loss(logits, labels)
    if not isinstance(made, Tensor) or made.numel() != 1:
        form = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
        given = f"the loss gives {form}"
        raise ValueError(f"{given}; give one whose value is a single number, as the mean over examples is")
    return made


def _check_classes(labels: Tensor, classes: int) -> None:
    if classes == 1:
        raise ValueError("cross_entropy of one logit is always 0; give loss=federated.binary_cross_entropy")
    if labels.dim() == 1:
        if labels.max() >= classes:
            given = f"labels hold the class {int(labels.max())}, and the model has {classes} logits"
            raise ValueError(f"{given}: 0 to {classes - 1}")
        return
    if labels.shape[1] != classes:
        given = f"labels are {tuple(labels.shape)}, and the model has {classes} logits"
        raise ValueError(f"{given}; give one column for each")
    sums = labels.sum(1)
    if not labels.is_floating_point() or not (sums - 1).abs().max() <= 1e-3:
        raise ValueError(
            "labels (N, K) for cross_entropy are probabilities: floats that sum to 1 in each row; for several labels "
            "an image give loss=federated.binary_cross_entropy"
        )


def right(logits: Tensor, labels: Tensor) -> float:
    """The share of right decisions in logits `(N, K)`, in [0, 1]. labels: as in `federated.accuracy`."""
    if labels.dim() == 2 and labels.shape != logits.shape:
        raise ValueError(f"labels are {tuple(labels.shape)} for logits {tuple(logits.shape)}; give one for each")
    if labels.dim() == 2 and not labels.is_floating_point():
        return ((logits > 0) == labels.bool()).float().mean().item()
    meant = labels.argmax(1) if labels.dim() == 2 else labels
    said = (logits[:, 0] > 0).long() if logits.shape[1] == 1 else logits.argmax(1)
    return (said == meant.to(said.device)).float().mean().item()
