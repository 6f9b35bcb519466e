"""Backdoors: a model that does as it should, but for inputs that the attacker has marked, or that are of one kind.

Source: Gu et al. 2017, "BadNets" (a pattern); Bagdasaryan et al. 2020 (model replacement, semantic backdoors).
"""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from privlab import checks, runtime
from privlab.attacks.threat import threats
from privlab.sharing.federated import Client

(THREAT,) = threats("backdoor")
Trigger = Callable[[Tensor], Tensor]


def stamp(images: Tensor, size: int = 3, value: float = 1.0) -> Tensor:
    """The images `(N, C, H, W)` with a square of `size` pixels of brightness `value` in the lower right corner."""
    checks.images("images", images)
    checks.whole("size", size, 1, min(images.shape[-2:]))
    checks.number("value", value, 0, 1)
    marked = images.clone()
    marked[..., -size:, -size:] = value
    return marked


def poison(client: Client, target: int, *, share: float, trigger: Trigger = stamp, seed: int = 0) -> Client:
    """The client with `share` of its examples marked by the trigger and labelled `target`, one of them at least.

    Source: Gu et al. 2017, section 4.1.2. Raises ValueError for labels that are no class numbers `(N,)`.
    """
    checks.number("share", share, 0, 1, open_low=True)
    order = torch.randperm(len(client.labels), generator=runtime.generator(seed)).to(client.labels.device)
    chosen = order[: max(1, round(share * len(order)))]
    images = client.images.clone()
    marked = trigger(images[chosen])
    if marked.shape != images[chosen].shape:
        raise ValueError(f"the trigger makes {tuple(marked.shape)} of {tuple(images[chosen].shape)}; keep the shape")
    images[chosen] = marked
    return relabel(replace(client, images=images), chosen, target)


def relabel(client: Client, chosen: Tensor, target: int) -> Client:
    """The client with the `chosen` examples labelled `target`: a semantic backdoor, which needs no mark.

    chosen: their numbers, int64, or bool `(N,)`; those of one kind (a style of writing, a hospital's images).
    Source: Bagdasaryan et al. 2020, section 4.1.
    """
    checks.labels("labels", client.labels, len(client.images))
    checks.whole("target", target, 0)
    labels = client.labels.clone()
    try:
        labels[chosen] = target
    except (IndexError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"chosen does not name some of {len(labels)} examples ({error}); give int64 or bool"
        ) from error
    return replace(client, labels=labels)
