"""The text classifier of "Curious", Table 8."""

from collections import OrderedDict

import torch
from torch import nn

from privlab import checks, runtime
from privlab.models.initialisation import initialise


def embedding_classifier(
    *,
    words: int = 10_000,
    length: int = 250,
    dim: int = 250,
    neurons: int = 1000,
    classes: int = 1,
    embedding: tuple[float, float] = (-0.05, 0.05),
    init: str = "xavier_uniform",
    seed: int = 0,
) -> nn.Sequential:
    """Embedded words, side by side, into one dense layer: tokens `(N, length)` -> `(N, classes)` logits.

    Layers are called embedding, flatten, fc1, relu1, output. The defaults are the paper's: 62.5 million weights
    in fc1. Embeddings start uniform between the two ends of `embedding`; the default is that of the paper's
    framework, and (0, 1) is what the paper sets.
    Raises ValueError for a number below one, or ends out of order. Source: "Curious", Table 8.
    """
    checks.sizes(words=[words], length=[length], dim=[dim], neurons=[neurons], classes=[classes])
    low, high = embedding
    checks.number("the upper end of embedding", high, low, open_low=True)
    layers: OrderedDict[str, nn.Module] = OrderedDict(
        embedding=nn.utils.skip_init(nn.Embedding, words, dim),
        flatten=nn.Flatten(),
        fc1=nn.utils.skip_init(nn.Linear, length * dim, neurons),
        relu1=nn.ReLU(),
        output=nn.utils.skip_init(nn.Linear, neurons, classes),
    )
    network = initialise(nn.Sequential(layers), init, runtime.derive(seed, "initialise"))
    random = runtime.generator(runtime.derive(seed, "embedding"))
    with torch.no_grad():
        table = network.get_parameter("embedding.weight")
        table.copy_(torch.empty(table.shape).uniform_(low, high, generator=random))
    return network  # type: ignore[return-value]
