"""Ways to share a data set out among clients. Each returns one index tensor per client."""

from collections.abc import Sequence

import torch
from torch import Tensor

from privlab import checks, runtime

# Below this, draws of a Gamma(alpha) can be smaller than the smallest double: torch's sampler then shares out evenly.
_TINY = 0.01


def _check(labels: Tensor, clients: int) -> None:
    checks.labels("labels", labels, len(labels) if isinstance(labels, Tensor) else 0)
    if not len(labels):
        raise ValueError("labels is empty; there is nothing to share out")
    checks.whole("clients", clients, 1, len(labels))


def iid(labels: Tensor, clients: int, seed: int = 0) -> list[Tensor]:
    """Random parts of equal size (differing by one at most)."""
    _check(labels, clients)
    order = torch.randperm(len(labels), generator=runtime.generator(seed))
    return list(order.tensor_split(clients))


def by_label(labels: Tensor, clients: int, seed: int = 0) -> list[Tensor]:
    """Each client holds labels that no other has, as evenly shared out as the number of classes allows.

    Raises ValueError for more clients than classes. Source: "Zen", section 4.2 (non-IID).
    """
    _check(labels, clients)
    classes = labels.unique().cpu()
    if clients > len(classes):
        raise ValueError(f"clients={clients} cannot each have labels of their own; there are {len(classes)} classes")
    shuffled = classes[torch.randperm(len(classes), generator=runtime.generator(seed))]
    return [torch.isin(labels.cpu(), part).nonzero().flatten() for part in shuffled.tensor_split(clients)]


def dirichlet(labels: Tensor, clients: int, alpha: float = 0.5, seed: int = 0) -> list[Tensor]:
    """Each class is shared out in proportions drawn from Dirichlet(alpha): small alpha, unequal clients.

    A client may get nothing at all when alpha is small; in the limit each class is on one client, and for large alpha
    it is shared out evenly. Source: Hsu et al. 2019.
    """
    _check(labels, clients)
    checks.number("alpha", alpha, 0, open_low=True)
    random = runtime.generator(seed)
    parts: list[list[Tensor]] = [[] for _ in range(clients)]
    for value in labels.unique().tolist():
        members = (labels.cpu() == value).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=random)]
        shares = _shares(clients, float(alpha), random)
        ends = (shares.cumsum(0)[:-1] * len(members)).round().long().tolist()
        for part, piece in zip(parts, members.tensor_split(ends), strict=True):
            part.append(piece)
    return [torch.cat(part) for part in parts]


def _shares(clients: int, alpha: float, random: torch.Generator) -> Tensor:
    """One draw of Dirichlet(alpha), float64 `(clients,)`, that neither underflows nor overflows."""
    if alpha >= _TINY:
        # Beyond 1e15 shares are equal to the last bit, and the sum of as many Gammas would overflow in the end.
        return torch._sample_dirichlet(torch.full((clients,), min(alpha, 1e15), dtype=torch.float64), random)
    # log Gamma(alpha) = log Gamma(alpha + 1) + log(U) / alpha, and shares are a softmax of logarithms.
    uniform = 1 - torch.rand(clients, generator=random, dtype=torch.float64)
    gamma = torch._standard_gamma(torch.full((clients,), alpha + 1, dtype=torch.float64), random)
    return (gamma.log() + uniform.log() / max(alpha, 1e-300)).softmax(0)


def disjoint(examples: Tensor, shares: Sequence[float], seed: int = 0) -> list[Tensor]:
    """Random parts that have no example in common by *content*: data sets hold copies, which an index does not show.

    examples: `(N, ...)`; shares: how much of it each part but the last gets; what is left is the last. Copies of an
    example go where the first of them in the random order goes. Raises ValueError for shares that add up to 1 or more.
    """
    for share in shares:
        checks.number("shares", share, 0, 1)
    if sum(shares) >= 1:
        raise ValueError(f"shares={tuple(shares)} add up to {sum(shares):g}; leave something for the last part")
    order = torch.randperm(len(examples), generator=runtime.generator(seed))
    ends = [int(sum(shares[: i + 1]) * len(examples)) for i in range(len(shares))]
    part = torch.bucketize(torch.arange(len(examples)), torch.tensor(ends), right=True).tolist()
    seen: dict[bytes, int] = {}
    parts: list[list[int]] = [[] for _ in range(len(shares) + 1)]
    for place, index in enumerate(order.tolist()):
        parts[seen.setdefault(examples[index].cpu().numpy().tobytes(), part[place])].append(index)
    return [torch.tensor(each, dtype=torch.long) for each in parts]
