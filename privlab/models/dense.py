"""The networks of "Curious" without convolutions: of images (Table 7) and of text (Table 8)."""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from privlab import checks, runtime
from privlab.models._layers import Layers, network
from privlab.models.initialisation import initialise


def fully_connected(
    shape: Sequence[int],
    classes: int,
    *,
    widths: Sequence[int] = (1000, 3000, 3000, 2000, 1000),
    activation: str = "relu",
    init: str = "xavier_uniform",
    seed: int = 0,
) -> nn.Sequential:
    """A network of dense layers: `(N, *shape)` -> `(N, classes)` logits.

    Layers are called flatten, fc1, relu1, fc2, ..., and the last one `output`; the activation gives
    relu1 its name. `widths` are the numbers of neurons; the default is the paper's, 20.8 million
    weights for a 28x28 image. For `init` see `models.initialise`.
    Raises ValueError for an empty shape, a width below one or an unknown activation or init.
    Source: "Curious", Table 7 (left).
    """
    for name, sizes in (("shape", shape), ("widths", widths)):
        if not sizes:
            raise ValueError(f"{name} is empty; give at least one number")
    checks.sizes(shape=shape, widths=widths)
    layers: Layers = OrderedDict(flatten=nn.Flatten())
    return network(layers, shape, classes, fc=widths, activation=activation, init=init, seed=seed)


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
    layers: Layers = OrderedDict(embedding=nn.utils.skip_init(nn.Embedding, words, dim), flatten=nn.Flatten())
    layers["fc1"] = nn.utils.skip_init(nn.Linear, length * dim, neurons)
    layers["relu1"] = nn.ReLU()
    layers["output"] = nn.utils.skip_init(nn.Linear, neurons, classes)
    made = initialise(nn.Sequential(layers), init, runtime.derive(seed, "initialise"))
    random = runtime.generator(runtime.derive(seed, "embedding"))
    with torch.no_grad():
        table = made.get_parameter("embedding.weight")
        table.copy_(torch.empty(table.shape).uniform_(low, high, generator=random))
    return made  # type: ignore[return-value]
