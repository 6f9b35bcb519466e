"""What server and clients of these tests have agreed on."""

import torch
from torch import nn

from privlab import data, models
from privlab.sharing.federated import Client

LR, BATCH = 0.1, 12


def network() -> nn.Module:
    """Two dense layers, 200 neurons wide."""
    return models.fully_connected((1, 28, 28), 10, widths=(200,), seed=0)


def client(part: int, parts: int) -> Client:
    """Twelve digits of one's own, and of odd partitions half as many."""
    own = data.load("digits").sample(BATCH * parts, seed=0)[part * BATCH : (part + 1) * BATCH]
    count = BATCH // 2 if part % 2 else BATCH
    return Client(own.images[:count], own.labels[:count])


def normed() -> nn.Module:
    """With running averages, which are buffers."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 20), nn.BatchNorm1d(20), nn.ReLU(), nn.Linear(20, 10))
