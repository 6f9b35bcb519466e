"""Hiding in the crowd: what makes one user's updates like everyone's, or less of them.

`replace`, `augment` and `augment_by_mode` act on a client's examples before it trains: they mix in labelled examples of
others, the background. `noise`, `top_k`, `signs` and `only` act on the release: the update that is to be sent.
Source: linkability, section 9.1.
"""

from collections.abc import Sequence

import torch
from sklearn.cluster import KMeans
from torch import Tensor

from privlab import checks, runtime
from privlab.defences import perturbation
from privlab.sharing.federated import Client, Gradient, Update


def replace(client: Client, background: Client, alpha: float, *, seed: int = 0) -> Client:
    """Replace a share `alpha` of a client's examples, drawn at random, by as many of the background (bkg-repl).

    The background's are drawn without repetition as far as they go. Raises ValueError for a share outside [0, 1], and
    for examples of another form. Source: linkability, section 9.1.
    """
    checks.number("alpha", alpha, 0, 1)
    random, count = runtime.generator(runtime.derive(seed, "replace")), len(client.labels)
    kept = torch.randperm(count, generator=random)[round(alpha * count) :].sort().values
    return _joined(client, kept, background, count - len(kept), random)


def augment(client: Client, background: Client, alpha: float, *, seed: int = 0) -> Client:
    """Add `alpha` times as many examples of the background as a client has to its own (rand-aug, eq. 6).

    Drawn and refused as in `replace`; alpha is 0 or more. Source: linkability, section 9.1.
    """
    checks.number("alpha", alpha, 0)
    random, count = runtime.generator(runtime.derive(seed, "augment")), len(client.labels)
    return _joined(client, torch.arange(count), background, round(alpha * count), random)


def augment_by_mode(
    clients: Sequence[Client], background: Client, groups: Tensor, alpha: float, *, seed: int = 0
) -> list[Client]:
    """Add to each client `alpha` times its number of examples, all of one cluster of the background (mm-aug, eq. 7).

    groups: the cluster of each background example, int64 `(M,)`, see `clusters`. Each client draws its cluster by
    itself and whoever its user is, so that two devices of one user have the same one as often as any two clients: once
    in as many times as there are clusters. Source: linkability, section 9.1.
    """
    checks.labels("groups", groups, len(background.labels))
    kinds = groups.unique()
    made = []
    for number, client in enumerate(clients):
        own = runtime.derive(seed, "client", number)
        kind = kinds[torch.randint(len(kinds), (), generator=runtime.generator(own))]
        inside = (groups == kind).nonzero().flatten().to(background.labels.device)
        part = Client(background.images[inside], background.labels[inside])
        made.append(augment(client, part, alpha, seed=own))
    return made


def clusters(features: Tensor, count: int, *, seed: int = 0) -> Tensor:
    """The cluster of each example by k-means on its features `(M, ...)`: int64 `(M,)`, numbers below `count`.

    Raises ValueError for fewer examples than clusters. Source: linkability, section 9.1 (k-means on the features of the
    network before its training).
    """
    checks.whole("count", count, 1, len(features))
    found = KMeans(count, n_init=1, random_state=runtime.derive(seed, "clusters") % 2**32)
    return torch.from_numpy(found.fit_predict(features.flatten(1).cpu().numpy())).long().to(features.device)


def noise(update: Update, std: float, *, seed: int | torch.Generator = 0) -> Update:
    """Add independent Gaussian noise of standard deviation `std` to every number (eq. 5; `perturbation.gaussian`)."""
    return Update(perturbation.gaussian(Gradient(update, 1), std, seed).tensors, update.buffers)


def top_k(update: Update, share: float) -> Update:
    """Keep the `share`, in (0, 1], of each layer's numbers that are largest in magnitude, at least one; zeros else."""
    checks.number("share", share, 0, 1, open_low=True)
    return Update(perturbation.prune(Gradient(update, 1), 1 - share).tensors, update.buffers)


def signs(update: Update) -> Update:
    """Of every number the sign alone, times the mean magnitude of its tensor: one bit a number, and one number more.

    Source: Karimireddy et al. 2019, section 4 (scaled signs).
    """
    return Update({name: each.sign() * each.abs().mean() for name, each in update.items()}, update.buffers)


def only(update: Update, layer: str) -> Update:
    """What is in the layer called `layer`; the rest is not sent. Raises ValueError for a layer that is not there."""
    kept = {name: each for name, each in update.items() if name.rpartition(".")[0] == layer}
    if not kept:
        layers = dict.fromkeys(name.rpartition(".")[0] for name in update)
        raise ValueError(f"layer={layer!r} is not in the update; choose one of {', '.join(layers) or '(none)'}")
    return Update(kept, {})


def _joined(client: Client, kept: Tensor, background: Client, count: int, random: torch.Generator) -> Client:
    """Some of a client's examples and `count` of the background, none twice before all were drawn."""
    size, parts = len(background.labels), []
    orders = [torch.randperm(size, generator=random) for _ in range(-(-count // size))]
    added = torch.cat([*orders, torch.arange(0)])[:count]
    for name in ("images", "labels"):
        own, other = getattr(client, name), getattr(background, name)
        if own.shape[1:] != other.shape[1:]:
            given = f"{name} of the client are {tuple(own.shape)} and of the background {tuple(other.shape)}"
            raise ValueError(f"{given}; give examples of one form")
        parts.append(torch.cat([own[kept.to(own.device)], other[added.to(other.device)]]))
    return Client(*parts)
