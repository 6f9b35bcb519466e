"""Membership inference: was this example used to train that model?

All attacks but `shadow` work on matrices of *signals*, one number that a model gives for an example, and give scores,
larger for members:

    target      (T, N)  signals of the attacked models, or (N,) for one
    references  (M, N)  signals of models that the adversary trained itself on data of the same kind
    used        (M, N)  bool, whether reference m was trained on example n

*Online* attacks have references that were trained on an example and others that were not; *offline* ones know only the
others, as the examples come after the references were trained. What differs between the attacks is how much they
estimate for each example (Brännvall 2026, Table 1):

    attack          of each example                          shared by all
    rmia            one mean of the references               nothing
    lira, shared    the means with and without it            the two variances
    bavaria         the means, the variances in part         a prior of the variances
    lira            the means and the variances              nothing

`bavaria` with an infinite `strength` is `lira` with shared variances, and has its own with a small one, up to the
heavier tails of a Student distribution.
"""

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from privlab import checks
from privlab.attacks.threat import threats

THREATS = threats("membership")


def negative_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The signal log p(label), minus the cross-entropy, `(..., N)`, of logits `(..., N, K)` and class numbers `(N,)`.

    Source: Yeom et al. 2018; Sablayrolles et al. 2019.
    """
    _check_logits(logits, labels)
    return logits.log_softmax(-1).gather(-1, _places(logits, labels))[..., 0]


def scaled_confidence(logits: Tensor, labels: Tensor) -> Tensor:
    """The signal log(p / (1 - p)) with p the confidence in the label, nearly normal; `(..., N)`. Computed without 1 -
    p.

    Source: Carlini et al. 2022, section VI-A.
    """
    _check_logits(logits, labels)
    places = _places(logits, labels)
    others = logits.scatter(-1, places, -torch.inf)
    return logits.gather(-1, places)[..., 0] - others.logsumexp(-1)


def calibrated_threshold(references: Tensor, used: Tensor) -> float:
    """The threshold that tells members from others best on average over the adversary's own models.

    references: signals `(M, N)`; used: bool `(M, N)`. Whoever holds a target's signal above it is called a member: the
    threshold attack, with nothing learned from the target. Source: Yeom et al. 2018; Shokri et al. 2017 for the models.
    """
    _check_matrix(references, used)
    order = references.flatten().argsort(descending=True)
    inside = used.flatten()[order]
    if inside.all() or not inside.any():
        raise ValueError("the references were trained on all of the examples or on none; a threshold needs both")
    caught = inside.double().cumsum(0) / inside.sum()
    accused = (~inside).double().cumsum(0) / (~inside).sum()
    return float(references.flatten()[order[(caught - accused).argmax()]])


def lira(target: Tensor, references: Tensor, used: Tensor, *, online: bool = True, shared: bool = False) -> Tensor:
    """The likelihood-ratio attack on `scaled_confidence`, `(T, N)`: normal distributions of an example's signals.

    Online, the log-likelihood of the target's signal under models trained on the example, minus that under the others.
    Offline, how many standard deviations it lies above the others. `shared`: one variance for all examples, pooled
    within examples, for few references; else each its own, for which every example needs two references of each sort.
    Source: Carlini et al. 2022, Algorithm 1 and equations 3 and 4 (their code shares the variance of all signals taken
    together, that between examples included).
    """
    outside = _Moments(references, used, trained=False, online=online, target=target)
    spread = outside.pooled() if shared else outside.own("not trained")
    if not online:
        return (target - outside.mean) / spread.sqrt()
    inside = _Moments(references, used, trained=True, online=online, target=target)
    wide = inside.pooled() if shared else inside.own("trained")
    return _normal(target, inside.mean, wide) - _normal(target, outside.mean, spread)


def bavaria(target: Tensor, references: Tensor, used: Tensor, *, online: bool = True, strength: float = 8.0) -> Tensor:
    """`lira` with a conjugate prior on each variance: neither each its own nor one for all, `(T, N)`.

    The variance of an example has an inverse gamma prior with the pooled variance for its mean, worth `strength`
    observations; its mean a flat one. The signal of a further model then follows a Student distribution. Online, the
    log of its density with the example minus without; offline, the signal's distance in the predictive's own scale.
    Source: Brännvall 2026, BaVarIA-t (our prior's location is the pooled variance; theirs is set likewise from all
    examples).
    """
    checks.number("strength", strength, 0, open_low=True)
    outside = _Moments(references, used, trained=False, online=online, target=target)
    if not online:
        centre, scale, _ = outside.predictive(strength)
        return (target - centre) / scale
    inside = _Moments(references, used, trained=True, online=online, target=target)
    return _student(target, *inside.predictive(strength)) - _student(target, *outside.predictive(strength))


def rmia(
    target: Tensor,
    references: Tensor,
    used: Tensor,
    *,
    population: tuple[Tensor, Tensor],
    online: bool = True,
    gamma: float = 1.0,
    slope: float = 0.3,
) -> Tensor:
    """The relative attack on `negative_loss`, `(T, N)`: the share of the population that an example beats.

    population: signals of Z examples on which neither the target nor a reference was trained, of the targets `(T, Z)`
    and of the references `(M, Z)`. An example's ratio is p(target) / p(any model), and it beats another one if its
    ratio is at least `gamma` times the other's. p(any model) is half the mean over references trained on it and half
    that over the others; offline ((1 + `slope`) p_out + 1 - `slope`) / 2.
    Means go over the models that were (not) trained on the example, by mask: both public codes average the k largest
    signals in their place, which is the same only where every example is out of exactly k models.
    Source: Zarifzadeh et al. 2024, equations 4, 9 and 10.
    """
    checks.number("gamma", gamma, 0, open_low=True)
    checks.number("slope", slope, 0, 1)
    of_target, of_references = population
    flat = target if target.dim() == 2 else target[None]
    if of_references.shape[:1] != references.shape[:1] or of_references.shape[1:] != of_target.shape[-1:]:
        given = f"population signals have shapes {tuple(of_target.shape)} and {tuple(of_references.shape)}"
        raise ValueError(f"{given}; expected ({len(flat)}, Z) and ({len(references)}, Z)")
    outside = _Moments(references.exp(), used, trained=False, online=online, target=target).mean
    if online:
        any_model = (outside + _Moments(references.exp(), used, trained=True, online=online, target=target).mean) / 2
    else:
        any_model = ((1 + slope) * outside + 1 - slope) / 2
    everywhere = of_references.exp().mean(0)
    if not online:
        everywhere = ((1 + slope) * everywhere + 1 - slope) / 2
    ratio = flat - any_model.log()
    other = (of_target.reshape(len(flat), -1) - everywhere.log()).sort(1).values
    beaten = torch.searchsorted(other.contiguous(), (ratio - torch.tensor(gamma).log()).contiguous(), right=True)
    return (beaten.to(target.dtype) / other.shape[1]).view(target.shape)


def shadow(
    logits: Tensor, labels: Tensor, references: Tensor, reference_labels: Tensor, used: Tensor, *, by_class: bool = True
) -> Tensor:
    """Shadow training: a classifier for each class learns from the adversary's models what a member looks like; `(N,)`.

    logits `(N, K)`: the target's answers for the examples in question, of the classes `labels` `(N,)`. references
    `(M, P, K)`: the shadow models' answers for the adversary's own examples, of the classes `reference_labels`
    `(P,)`; used: bool `(M, P)`. The features are the log-confidence in the label, then all others by size; a logistic
    regression gives the log-odds of membership. A class of which no two members and two others are known has the
    classifier of all classes.
    Source: Shokri et al. 2017, section V (there small neural networks); "Zen", section 4.2.
    """
    _check_logits(logits, labels)
    _check_logits(references, reference_labels)
    if references.dim() != 3 or references.shape[:2] != used.shape or references.shape[2] != logits.shape[1]:
        shapes = f"references {tuple(references.shape)} and used {tuple(used.shape)}"
        raise ValueError(f"{shapes} must be (M, P, {logits.shape[1]}) and (M, P)")
    mine, theirs = _features(logits, labels), _features(references, reference_labels)
    inside = used.cpu()
    everybody = _member_odds(theirs.flatten(0, 1), inside.flatten())
    scores = torch.empty(len(logits), dtype=torch.float64)
    for group in labels.unique() if by_class else [None]:
        asked: slice | Tensor = slice(None) if group is None else (labels == group).cpu()
        known: slice | Tensor = slice(None) if group is None else (reference_labels == group).cpu()
        members = inside[:, known].flatten()
        enough = 2 <= int(members.sum()) <= len(members) - 2
        learned = _member_odds(theirs[:, known].flatten(0, 1), members) if enough else everybody
        scores[asked] = torch.from_numpy(learned.decision_function(mine[asked].numpy()))
    return scores.to(logits.device)


def _features(logits: Tensor, labels: Tensor) -> Tensor:
    """The log-confidence in the label, then the other classes' by falling size; float64 `(..., N, K)`, on the CPU."""
    logs = logits.double().log_softmax(-1).clamp_min(-30)
    places = _places(logits, labels)
    others = logs.scatter(-1, places, -torch.inf).sort(-1, descending=True).values[..., :-1]
    return torch.cat([logs.gather(-1, places), others], -1).cpu()


def _member_odds(features: Tensor, inside: Tensor) -> LogisticRegression:
    return LogisticRegression(max_iter=1000).fit(features.numpy(), inside.cpu().numpy())


def update_alignment(update: Tensor, slopes: Tensor) -> Tensor:
    """How much a client's update points where training on an example would have: cosines `(N,)`.

    update `(P,)`: new weights minus old ones; slopes `(N, P)`: each example's own gradient at the old weights. The
    server's attack. Source: Nasr et al. 2019, section III, in its simplest form; Li et al. 2023 (cosine attack).
    """
    if update.dim() != 1 or slopes.dim() != 2 or slopes.shape[1] != len(update):
        raise ValueError(f"update {tuple(update.shape)} and slopes {tuple(slopes.shape)} must be (P,) and (N, P)")
    return torch.cosine_similarity(-slopes, update[None], dim=1)


class _Moments:
    """Count, mean and sum of squares of each example's signals over the references that were (not) trained on it."""

    def __init__(self, references: Tensor, used: Tensor, *, trained: bool, online: bool, target: Tensor) -> None:
        _check_references(references, used, online=online)
        chosen = used if trained else ~used
        if target.dim() not in (1, 2) or target.shape[-1] != references.shape[1] or not target.isfinite().all():
            given = f"target has shape {tuple(target.shape)}, expected (T, {references.shape[1]}) finite signals"
            raise ValueError(f"{given}; did it diverge?")
        self.count = chosen.sum(0).to(references.dtype)
        self.mean = torch.where(chosen, references, 0).sum(0) / self.count
        self.squares = torch.where(chosen, references - self.mean, 0).square().sum(0)

    def own(self, sort: str) -> Tensor:
        """The variance of each example."""
        few = int((self.count < 2).sum())
        if few:
            raise ValueError(f"{few} examples have fewer than two references that were {sort} on them; set shared=True")
        return (self.squares / (self.count - 1)).clamp_min(1e-12)

    def pooled(self) -> Tensor:
        """One variance within examples for all."""
        free = self.count.sum() - len(self.count)
        if free <= 0:
            few = "no example has two references of a sort, so that no variance can be told"
            raise ValueError(f"{few}; give more references")
        return (self.squares.sum() / free).clamp_min(1e-12)

    def predictive(self, strength: float) -> tuple[Tensor, Tensor, Tensor]:
        """Location, scale and degrees of freedom of the signal of a further model."""
        free = strength + self.count - 1
        variance = (strength * self.pooled() + self.squares) / free
        return self.mean, (variance * (1 + 1 / self.count)).sqrt(), free


def _normal(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    return -((x - mean).square() / variance + variance.log()) / 2


def _student(x: Tensor, location: Tensor, scale: Tensor, free: Tensor) -> Tensor:
    return torch.distributions.StudentT(free, location, scale).log_prob(x)


def _places(logits: Tensor, labels: Tensor) -> Tensor:
    return labels.to(logits.device)[..., None].expand(*logits.shape[:-1], 1)


def _check_logits(logits: Tensor, labels: Tensor) -> None:
    if logits.dim() not in (2, 3) or not logits.is_floating_point() or logits.shape[-1] < 2:
        given = f"logits are {logits.dtype} of shape {tuple(logits.shape)}"
        raise ValueError(f"{given}; expected floats (N, K) or (M, N, K), K > 1")
    checks.labels("labels", labels, logits.shape[-2])
    if len(labels) and labels.max() >= logits.shape[-1]:
        raise ValueError(f"labels reach {int(labels.max())}, logits have {logits.shape[-1]} classes")
    if not logits.isfinite().all():
        raise ValueError(f"{int((~logits.isfinite()).sum())} logits are not finite; did the training diverge?")


def _check_matrix(references: Tensor, used: Tensor) -> None:
    if references.dim() != 2 or references.shape != used.shape or used.dtype != torch.bool:
        given = f"references {tuple(references.shape)} and used {tuple(used.shape)} ({used.dtype})"
        raise ValueError(f"{given} must both be (M, N), a row for each reference model; used is bool")
    if not references.isfinite().all():
        models = (~references.isfinite()).any(1).nonzero()[:, 0].tolist()
        given = f"signals of the references {models} are not finite"
        raise ValueError(f"{given}; did their training diverge? Leave them out")


def _check_references(references: Tensor, used: Tensor, *, online: bool) -> None:
    _check_matrix(references, used)
    alone = int(used.all(0).sum())
    if alone:
        given = f"{alone} of {used.shape[1]} examples were used by every reference"
        raise ValueError(f"{given}; give references without them")
    unused = int((~used).all(0).sum())
    if online and unused:
        given = f"{unused} of {used.shape[1]} examples were used by no reference"
        raise ValueError(f"{given}; use online=False, or train more")
