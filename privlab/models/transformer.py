"""A small causal language model: what reads a sentence word by word, built of torch's own layers."""

import torch
from torch import Tensor, nn

from privlab import checks, runtime
from privlab.models.initialisation import initialise

POSITIONS = ("learnt", "fixed")


class Transformer(nn.Module):
    """Embedded words and positions, causal blocks with the norm first, and logits of the word that follows each.

    Layers are called embedding, positions, blocks, norm, output. Made by `transformer`.
    """

    places: Tensor
    later: Tensor

    def __init__(self, words: int, length: int, dim: int, layers: int, heads: int) -> None:
        super().__init__()
        self.length = length
        self.embedding = nn.utils.skip_init(nn.Embedding, words, dim)
        self.positions = nn.utils.skip_init(nn.Embedding, length, dim)
        made = (_block(dim, heads) for _ in range(layers))
        self.blocks, self.norm = nn.ModuleList(made), nn.LayerNorm(dim)
        self.output = nn.utils.skip_init(nn.Linear, dim, words)
        self.register_buffer("places", torch.arange(length), persistent=False)
        self.register_buffer("later", torch.ones(length, length).triu(1).bool(), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens `(N, L)`, L up to the model's length -> logits `(N, L V)`, V for each place, one after the other."""
        count = tokens.shape[1]
        if count > self.length:
            raise ValueError(f"sentences have {count} words, and this model takes up to {self.length}")
        state = self.embedding(tokens) + self.positions(self.places[:count])
        for block in self.blocks:
            state = block(state, src_mask=self.later[:count, :count])
        return self.output(self.norm(state)).flatten(1)


def _block(dim: int, heads: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # torch draws weights here; ours are drawn from the seed
        return nn.TransformerEncoderLayer(dim, heads, 4 * dim, 0.0, "gelu", batch_first=True, norm_first=True)


def _waves(length: int, dim: int) -> Tensor:
    """Sines and cosines by turns, `(length, dim)`: Vaswani et al. 2017, section 3.5."""
    angles = torch.arange(length)[:, None] / 10_000 ** (torch.arange(dim) // 2 * 2 / dim)
    return torch.where(torch.arange(dim) % 2 == 0, angles.sin(), angles.cos())


def transformer(
    *,
    words: int = 10_000,
    length: int = 12,
    dim: int = 128,
    layers: int = 2,
    heads: int = 4,
    positions: str = "learnt",
    init: str = "gaussian:0.02",
    seed: int = 0,
) -> Transformer:
    """A causal transformer for the next word: tokens int64 `(N, L)` -> logits `(N, L V)`, see `next_word`.

    words: V; length: the longest sentence; dim: d of each embedding, a multiple of `heads`; positions: `learnt`, or
    `fixed` waves, which are frozen. The padding 0 is a word like others. To tie input and output:
    `model.output.weight = model.embedding.weight`.
    Raises ValueError for a number below one, or a `dim` that the heads do not share.
    Source: Radford et al. 2019 (GPT-2: its order of layers, GELU, and weights of standard deviation 0.02).
    """
    checks.sizes(words=[words], length=[length], dim=[dim], layers=[layers], heads=[heads])
    checks.one_of("positions", positions, POSITIONS)
    if dim % heads:
        raise ValueError(f"dim={dim} is no multiple of heads={heads}; give one that the heads can share")
    network = Transformer(words, length, dim, layers, heads)
    initialise(network, init, runtime.derive(seed, "initialise"))
    if positions == "fixed":
        size = 2**0.5 * network.embedding.weight.detach().std()  # waves as large as the words' embeddings
        network.positions.weight = nn.Parameter(size * _waves(length, dim), requires_grad=False)
    return network


def next_word(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean cross-entropy over all places: logits `(N, L V)`, labels int64 `(N, L)`, the word that follows each.

    A label of -100 does not count. Raises ValueError for other shapes.
    """
    if labels.dim() != 2 or logits.dim() != 2 or logits.shape[1] % labels.shape[1]:
        raise ValueError(
            f"labels are {tuple(labels.shape)} for logits {tuple(logits.shape)}; next_word takes the next word of each "
            "place: labels (N, L) for logits (N, L V)"
        )
    return nn.functional.cross_entropy(logits.unflatten(1, (labels.shape[1], -1)).transpose(1, 2), labels)
