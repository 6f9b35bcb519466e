"""Data analysis: a client's labels are held against clean examples. Acts on the data, which somebody has to see."""

from dataclasses import replace

import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from privlab import checks
from privlab.sharing.federated import Client


def sanitise(client: Client, images: Tensor, labels: Tensor, *, neighbours: int = 5) -> tuple[Client, Tensor]:
    """The client with the labels that its nearest clean examples have, and which were changed, bool `(N,)`.

    images `(M, ...)`, labels `(M,)`: clean examples, which whoever looks has. neighbours: how many vote, by pixels.
    Source: Paudice et al. 2018, "Label sanitization against label flipping", algorithm 1 (there within the set).
    Raises ValueError for labels that are no class numbers, other shapes, or fewer clean examples than neighbours.
    """
    checks.inputs("images", images)
    if not images.is_floating_point():
        raise TypeError("the examples are tokens, of which none is nearer to another; give images or signals")
    checks.labels("labels", labels, len(images))
    checks.labels("the client's labels", client.labels, len(client.images))
    checks.whole("neighbours", neighbours, 1, len(labels))
    clean, own = tuple(images.shape[1:]), tuple(client.images.shape[1:])
    if clean != own:
        raise ValueError(f"clean examples are {clean} and the client's {own}")
    voters = KNeighborsClassifier(neighbours).fit(images.flatten(1).cpu().numpy(), labels.cpu().numpy())
    voted = torch.from_numpy(voters.predict(client.images.flatten(1).cpu().numpy())).to(client.labels)
    return replace(client, labels=voted), voted != client.labels
