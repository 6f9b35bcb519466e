"""Ways to share a data set out among clients. Each returns one index tensor per client."""

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
