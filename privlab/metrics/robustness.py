"""What a backdoor achieves, from a model's answers alone."""

from torch import Tensor

from privlab import checks


def backdoor_rate(logits: Tensor, labels: Tensor, target: int) -> float:
    """Of marked inputs that are not of the class `target`, the share that is taken for it: in [0, 1].

    logits: `(N, K)`, answers to marked inputs; one that holds NaN is taken for nothing. Raises ValueError where all are
    of that class.
    """
    if logits.dim() != 2:
        raise ValueError(f"logits have shape {tuple(logits.shape)}; give (N, K)")
    checks.labels("labels", labels, len(logits))
    checks.whole("target", target, 0, logits.shape[1] - 1)
    others = labels != target
    if not others.any():
        raise ValueError(f"all inputs are of class {target}; give some of other classes")
    taken = (logits.argmax(1) == target) & ~logits.isnan().any(1)
    return taken[others].double().mean().item()
