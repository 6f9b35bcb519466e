"""Read sentences out of a gradient: extract their embeddings, and look each of them up in the dictionary.

Source: Boenisch et al., "When the curious abandon honesty", section 8 (attack instantiation) and Table 3.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from privlab import checks, runtime
from privlab.attacks import gradient_extraction, trap_weights
from privlab.attacks.threat import threats
from privlab.sharing.federated import Gradient

(THREAT,) = threats("text_extraction")
TOLERANCE = 1e-3  # of an embedding, relative to the length of the dictionary's: rounding is below 1e-5
_PROBES = 8


@dataclass(frozen=True)
class TextExtraction:
    """What the adversary reads, by its own judgement.

    tokens: `(K, length)`, each sentence once. neurons: `(M,)`, the neurons judged to show one sentence; shows:
    `(M,)`, which of them. active: how many neurons had a gradient at all.
    """

    tokens: Tensor
    neurons: Tensor
    shows: Tensor
    active: int


@torch.no_grad()
def plant(
    model: nn.Module,
    s: float = 0.99,
    *,
    sigma: float = 0.5,
    seed: int = 0,
    layer: str | None = None,
    embedding: str | None = None,
) -> nn.Module:
    """A copy of a text model with embeddings uniform in [0, 1] and trap weights in the dense layer `layer`.

    layer, embedding: by default the first dense layer, and the one embedding that there is.
    Raises ValueError for a model without an embedding. Source: "Curious", section 8.
    """
    tables = [name for name, each in model.named_modules() if isinstance(each, nn.Embedding)]
    embedding = tables[0] if embedding is None and len(tables) == 1 else embedding or "embedding"
    checks.layer(model, embedding, nn.Embedding)
    planted = trap_weights.plant(model, s, sigma=sigma, seed=seed, layer=layer)
    table = planted.get_parameter(f"{embedding}.weight")
    random = runtime.generator(runtime.derive(seed, "embedding"))
    table.copy_(torch.empty(table.shape).uniform_(0, 1, generator=random))
    return planted


def look_up(vectors: Tensor, dictionary: Tensor) -> Tensor:
    """The number of the dictionary's entry that each vector equals, or -1: `(..., D)` -> `(...)`.

    dictionary: `(V, D)`. Entries are sorted by one random projection; a vector is compared in full with the two
    nearest to its own. Equal means an l2 distance of at most 1e-3 of an entry's typical length.
    """
    flat = vectors.reshape(-1, vectors.shape[-1])
    random = torch.Generator().manual_seed(0)  # any fixed direction does: this is a search, not a statistic
    direction = torch.randn(dictionary.shape[1], generator=random, dtype=torch.float64).to(dictionary.device)
    keys, order = (dictionary.double() @ direction).sort()
    right = torch.searchsorted(keys, flat.double() @ direction).clamp(1, len(keys) - 1)
    two = torch.stack([order[right - 1], order[right]], dim=1)
    distances = torch.stack([(dictionary[two[:, side]] - flat).norm(dim=1) for side in (0, 1)], dim=1)
    nearest = two.gather(1, distances.argmin(1, keepdim=True)).flatten()
    close = distances.amin(1) <= TOLERANCE * dictionary.norm(dim=1).median()
    return torch.where(close, nearest, -1).view(vectors.shape[:-1])


def read(gradient: Gradient, dictionary: Tensor, *, layer: str = "fc1") -> TextExtraction:
    """Every sentence that the adversary finds in one gradient, each once.

    dictionary: `(V, D)`, the embeddings of the model that was sent. A neuron shows one sentence when *every*
    position of its candidate is an entry of the dictionary; a mixture of two sentences is not.
    Raises ValueError when the layer's inputs are not a whole number of embeddings.
    """
    weight, _ = gradient.layer(layer)
    dim = dictionary.shape[1]
    if weight.shape[1] % dim:
        raise ValueError(f"{layer!r} has {weight.shape[1]} inputs, no multiple of the dictionary's {dim} dimensions")
    length = weight.shape[1] // dim
    neurons = gradient_extraction.active_neurons(gradient, layer)
    active = len(neurons)
    some = torch.linspace(0, length - 1, min(_PROBES, length)).round().long().unique().to(weight.device)
    for places in (some, torch.arange(length, device=weight.device)):
        columns = (places[:, None] * dim + torch.arange(dim, device=weight.device)).flatten()
        part = Gradient({f"{layer}.weight": weight[:, columns], f"{layer}.bias": gradient.layer(layer)[1]}, 1)
        vectors = gradient_extraction.candidates(part, layer, neurons).view(len(neurons), len(places), dim)
        tokens = look_up(vectors, dictionary)
        known = (tokens >= 0).all(1)
        neurons, tokens = neurons[known], tokens[known]
    sentences, shows = tokens.unique(dim=0, return_inverse=True)
    return TextExtraction(sentences.view(-1, length), neurons, shows, active)
