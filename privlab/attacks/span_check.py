"""Read whole sentences out of an honest gradient of a transformer: the span of its attention weights' gradients.

The gradient of a weight that reads the states x_1 ... x_n is a sum of outer products with them, so that its rows lie in
their span; where there are fewer states than dimensions, almost nothing else does. The first layer's states are words
at places: which were used is told by their distance to the span. A second layer's state is that of a whole prefix,
where nothing looks ahead: sentences are found word by word, and certified by counting dimensions.
Source: Petrov et al. 2024, "DAGER: Exact Gradient Inversion for Large Language Models", section 4.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from privlab import checks, networks
from privlab.attacks import _steady
from privlab.attacks.threat import threats
from privlab.sharing.federated import Gradient

(THREAT,) = threats("span_check")
ROUNDING, OWN = 4, 8  # times the precision: of the largest singular value, below which there is none; and of a state
AT_ONCE, MOST = 2**24, 4  # numbers of states held together; and prefixes a dimension at which the search ends


@dataclass(frozen=True)
class SpanCheck:
    """What the adversary reads, by its own judgement.

    sentences: the tokens of each, int64 `(its length,)`, each sentence once, ordered by their tokens. One with which
    another begins is not told apart from it. certified: whether these are all that the client has, and none else.
    words: for each place the tokens that fit the first layer, int64. ranks: of the first and the second layer's
    gradient. prefixes: how many fit the second layer. why: the reason, where nothing is certified.
    """

    sentences: tuple[Tensor, ...]
    certified: bool
    words: tuple[Tensor, ...]
    ranks: tuple[int, int]
    prefixes: int
    why: str


@dataclass(frozen=True)
class _Span:
    """The row space of a gradient: directions `(r, d)`, and how far noise and rounding turn each of them."""

    rows: Tensor
    turned: Tensor

    def holds(self, states: Tensor) -> Tensor:
        """Whether states `(..., d)` lie in the span, up to twice what noise and rounding make of one that does."""
        units = nn.functional.normalize(states.double(), dim=-1)
        inside = units @ self.rows.T
        return (units - inside @ self.rows).norm(dim=-1) <= 2 * (inside * self.turned).norm(dim=-1)


def reconstruct(model: nn.Module, gradient: Gradient, *, words: int, length: int, noise: float = 0.0) -> SpanCheck:
    """The sentences of one mini-batch, from an honest client's gradient of a causal transformer.

    model: as it was sent, with two layers or more of nn.MultiheadAttention, whose `in_proj_weight` is trained; its
    other weights may be frozen, tied or missing in the gradient. words: V, tokens are 0 to V - 1, and padding is one of
    them; length: the longest sentence. noise: standard deviation of the noise on each number of the gradient, where the
    adversary knows of it; then nothing is certified. Where a rank reaches d - 1 (a norm takes one dimension), as with
    as many tokens or with noise, the gradient does not tell, and `why` says so.
    Raises ValueError for a network that looks ahead, drops units at random or has no such layers, and for a gradient of
    another model, all zero or not finite.
    """
    checks.sizes(words=[words], length=[length])
    checks.number("noise", noise, 0)
    layers = _attention(model, words, length)
    with networks.measured(model):
        first, second = (_span(model, f"{name}.in_proj_weight", gradient, noise) for name in layers)
        ranks, full = (len(first.rows), len(second.rows)), first.rows.shape[1] - 1
        found: tuple[Tensor, ...] = ()
        if ranks[0] < full:
            tokens = torch.arange(words, device=networks.device(model))[:, None].expand(words, length)
            found = tuple(each.nonzero().flatten() for each in _fits(model, layers[0], first, tokens).T)
        sentences, prefixes = _grow(model, layers[1], second, found) if max(ranks) < full else ((), 0)
    why = f"{prefixes} prefixes fit a span of {ranks[1]} dimensions, and the noise is {noise:g}"
    why = "" if prefixes == ranks[1] and not noise else why
    why = f"the gradient does not tell: its ranks {ranks} reach {full}" if max(ranks) >= full else why
    return SpanCheck(sentences, not why, found, ranks, prefixes, why)


def _attention(model: nn.Module, words: int, length: int) -> list[str]:
    """The names of the first two attention layers; ValueError unless what they read is a word's, and a prefix's."""
    layers = [name for name, each in model.named_modules() if isinstance(each, nn.MultiheadAttention)][:2]
    if len(layers) < 2:
        raise ValueError(f"the model has {len(layers)} layers of nn.MultiheadAttention; give one with two or more")
    probe = torch.zeros(2, length, dtype=torch.int64, device=networks.device(model))
    probe[1, length // 2] = words - 1  # which may move what is read of this word, and of later ones in the second layer
    _steady.check(model, probe)
    for name, later in zip(layers, (False, True), strict=True):
        with networks.measured(model):
            state = networks.input_of(model, name, probe)
        moved = (state[0] - state[1]).norm(dim=-1) > 1e-4 * state[0].norm(dim=-1)
        moved[length // 2 : length if later else length // 2 + 1] = False
        if state.shape[:2] != probe.shape or moved.any():
            raise ValueError(f"what layer {name!r} reads depends on words that it should not; give a causal model")
    return layers


def _span(model: nn.Module, name: str, gradient: Gradient, noise: float) -> _Span:
    like, sent = dict(model.named_parameters()).get(name), gradient.tensors.get(name)
    if like is None or sent is None or sent.shape != like.shape:
        form = "not there" if sent is None else tuple(sent.shape)
        raise ValueError(f"the gradient of {name!r} is {form}; give that of this model, with its attention trained")
    checks.floats(f"the gradient of {name!r}", sent, "(3 d, d)")
    _, sizes, rows = torch.linalg.svd(sent.double(), full_matrices=False)
    if not sizes[0]:
        raise ValueError(f"the gradient of {name!r} is zero everywhere, and tells nothing; give one of a mini-batch")
    eps = max(torch.finfo(each.dtype).eps for each in (like, sent))
    floor = noise * sum(side**0.5 for side in sent.shape)  # the largest singular value of noise alone
    rank = int((sizes > floor + ROUNDING * eps * sizes[0]).sum())
    return _Span(rows[:rank], (noise * (len(rows) - rank) ** 0.5 + eps * sizes[0]) / sizes[:rank] + OWN * eps)


def _fits(model: nn.Module, layer: str, span: _Span, tokens: Tensor, first: int = 0) -> Tensor:
    """Which of the states that reach the layer, from place `first` on, lie in the span, bool `(n, L - first)`."""
    rows = max(1, AT_ONCE // (tokens.shape[1] * span.rows.shape[1]))
    return torch.cat([span.holds(networks.input_of(model, layer, part)[:, first:]) for part in tokens.split(rows)])


def _grow(model: nn.Module, layer: str, span: _Span, words: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], int]:
    """Prefixes that fit the span, each a word longer than one that does: those that no word continues, and how many."""
    ended, grown, count = list[Tensor](), words[0].new_zeros(1, 0), 0
    for here in words:
        longer = torch.cat([grown.repeat_interleave(len(here), 0), here.repeat(len(grown))[:, None]], 1)
        kept = _fits(model, layer, span, longer, grown.shape[1])[:, 0] if len(longer) else here.new_zeros(0).bool()
        ended += grown[~kept.view(len(grown), len(here)).any(1)]
        grown, count = longer[kept], count + int(kept.sum())
        if count > MOST * len(span.rows):
            return (), count
    return tuple(sorted((each for each in [*ended, *grown] if len(each)), key=Tensor.tolist)), count
