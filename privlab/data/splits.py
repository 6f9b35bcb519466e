"""Ways to share a data set out among clients. Each returns one index tensor per client."""

from collections.abc import Sequence

import torch
from torch import Tensor

from privlab import checks, runtime


def _check(labels: Tensor, clients: int) -> None:
    checks.labels("labels", labels, len(labels))
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

    A client may get nothing at all when alpha is small. Source: Hsu et al. 2019.
    """
    _check(labels, clients)
    checks.number("alpha", alpha, 0, open_low=True)
    random = runtime.generator(seed)
    parts: list[list[Tensor]] = [[] for _ in range(clients)]
    for value in labels.unique().tolist():
        members = (labels.cpu() == value).nonzero().flatten()
        members = members[torch.randperm(len(members), generator=random)]
        shares = torch._sample_dirichlet(torch.full((clients,), float(alpha), dtype=torch.float64), random)
        ends = (shares.cumsum(0)[:-1] * len(members)).round().long().tolist()
        for part, piece in zip(parts, members.tensor_split(ends), strict=True):
            part.append(piece)
    return [torch.cat(part) for part in parts]


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
