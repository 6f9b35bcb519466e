"""What server and clients have agreed on: the network. And each client's own data."""

from torch import nn

from privlab import data, models
from privlab.sharing.federated import Client

BATCH = 20


def network() -> nn.Module:
    """A thousand neurons, then ten classes."""
    return models.fully_connected((1, 28, 28), 10, widths=(1000,), seed=0)


def client(part: int, parts: int) -> Client:
    """One mini-batch of digits; the data of every client are its own."""
    own = data.load("digits").sample(BATCH * parts, seed=0)[part * BATCH : (part + 1) * BATCH]
    return Client(own.images, own.labels)
