"""Ways to share a data set out: among clients, one index tensor each, and each user's images among their devices."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from privlab import checks, runtime
from privlab.data.pictures import some

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


@dataclass(frozen=True)
class Device:
    """One device: whose it is, which of that user's (from 0), and which images are on it, int64 indices."""

    user: int
    number: int
    chosen: Tensor


def devices(
    users: Tensor,
    how: str = "random",
    *,
    sessions: Tensor | None = None,
    times: Tensor | None = None,
    images: Tensor | None = None,
    devices: int = 2,
    least: int = 1,
    seed: int = 0,
) -> list[Device]:
    """Each user's images shared out over as many devices: a list by user, then by number.

    users: int64 `(N,)`. `random`: equal parts by chance. `chronological`: equal parts by `times` `(N,)`, the earliest
    on device 0, ties in their order. `session`: each of a user's `sessions`, int64 `(N,)`, is on one device as a whole;
    the largest goes first, to the device with the fewest images yet. The kind reads what it needs and leaves the rest.
    images: `(N, ...)`, if no two devices are to have equal ones: of copies the first alone is shared out.
    Raises ValueError, with the users, where a device would get fewer than `least` images; also for what the kind needs
    and is missing or not finite, and for other lengths.
    """
    checks.one_of("how", how, ("random", "session", "chronological"))
    checks.whole("devices", devices, 2)
    checks.whole("least", least)
    needs = {"session": "sessions", "chronological": "times"}.get(how)
    for name, value in {"users": users, "sessions": sessions, "times": times, "images": images}.items():
        if value is not None or name in ("users", needs):
            _check_rows(name, value, users, how)
    random, found, short = runtime.generator(seed), [], []
    everyone, kept = users.unique().tolist(), torch.arange(len(users)) if images is None else _firsts(images)
    for user in everyone:
        own = kept[users.cpu()[kept] == user]
        parts, of = own[torch.randperm(len(own), generator=random)].tensor_split(devices), ""
        if sessions is not None and how == "session":
            parts, count = _by_session(own, sessions.cpu()[own], devices, random)
            of = f" of {count} session{'s' * (count != 1)}"
        elif times is not None and how == "chronological":
            parts = own[times.cpu()[own].argsort(stable=True)].tensor_split(devices)
        if min(map(len, parts)) < least:
            short.append(f"{user} ({len(own)} image{'s' * (len(own) != 1)}{of})")
        found += [Device(user, number, part) for number, part in enumerate(parts)]
    if short:
        few = f"{len(short)} of {len(everyone)} users have too few for {devices} devices of {least} images or more"
        raise ValueError(f"{few}: user {some(short)}; drop them first")
    return found


def _check_rows(name: str, value: object, users: Tensor, how: str) -> None:
    """Raise unless `value` holds a row for each of `users`."""
    if value is None:
        raise ValueError(f"how={how!r} needs {name}, which this data set may not say; give {name}=, or choose another")
    kind = {"images": "(N, ...)", "times": "(N,)"}.get(name, "int64 (N,)")
    fits = name == "images" or (isinstance(value, Tensor) and value.dim() == 1)
    if not isinstance(value, Tensor) or not fits or (kind.startswith("int64") and value.dtype != torch.int64):
        what = f"{value.dtype} of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise TypeError(f"{name} is {what}; give a tensor {kind}")
    if not len(users):
        raise ValueError("users is empty; there is nothing to share out")
    if len(value) != len(users):
        raise ValueError(f"{name} holds {len(value)} for {len(users)} users; give one for each image")
    if name == "times" and not value.isfinite().all():
        raise ValueError("times holds values that are not finite (NaN, inf); drop those images first")


def _firsts(images: Tensor) -> Tensor:
    """The places of images `(N, ...)` that no earlier one is equal to."""
    seen: dict[bytes, int] = {}
    for place, image in enumerate(images):
        seen.setdefault(image.cpu().numpy().tobytes(), place)
    return torch.tensor(list(seen.values()))


def _by_session(own: Tensor, sessions: Tensor, devices: int, random: torch.Generator) -> tuple[tuple[Tensor, ...], int]:
    """Whole sessions of one user for each device, ties by chance; and how many sessions there are."""
    groups = [own[sessions == each] for each in sessions.unique()]
    order = torch.randperm(len(groups), generator=random).tolist()
    parts: list[list[Tensor]] = [[own[:0]] for _ in range(devices)]
    for place in sorted(order, key=lambda place: -len(groups[place])):
        min(parts, key=lambda part: sum(map(len, part))).append(groups[place])
    return tuple(torch.cat(part) for part in parts), len(groups)
