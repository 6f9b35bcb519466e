"""Sentences out of an honest gradient: against a loop over every token, and against every sentence that there is."""

import itertools
import math

import pytest
import torch
from torch import nn

from privlab import data, models, networks
from privlab.attacks import span_check
from privlab.defences import dp_sgd, perturbation
from privlab.sharing import federated

WORDS, LENGTH = 200, 8


def network(dim=64, seed=0, **options):
    return models.transformer(**{"words": WORDS, "length": LENGTH, "dim": dim, **options}, seed=seed)


def batch(count, seed=0, words=WORDS, length=LENGTH):
    tokens = torch.randint(words, (count, length + 1), generator=torch.Generator().manual_seed(seed))
    return tokens[:, :-1].clone(), tokens[:, 1:].clone()


def sent(model, tokens, following, loss=models.next_word):
    return federated.gradient(model, tokens, following, loss=loss)


def read(model, gradient, **options):
    return span_check.reconstruct(model, gradient, **{"words": WORDS, "length": LENGTH, **options})


def as_sets(found):
    return {tuple(each.tolist()) for each in found.sentences}


def rows(tokens):
    return {tuple(each) for each in tokens.tolist()}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("positions", ["learnt", "fixed"])
def test_every_sentence_comes_back_whole_and_certified(dtype, positions):
    for seed, count in itertools.product(range(3), (1, 4, 7)):  # 7 x 8 of 64
        model, (tokens, following) = network(positions=positions, seed=seed).to(dtype), batch(count, seed)
        found = read(model, sent(model, tokens, following))
        assert as_sets(found) == rows(tokens)
        assert found.certified
        assert not found.why
        assert found.prefixes == found.ranks[1] == len({row[: k + 1] for row in rows(tokens) for k in range(LENGTH)})


class Own(nn.Module):
    """A transformer by other names, without norms, whose positions are no embedding."""

    def __init__(self, dim=64, words=WORDS, length=LENGTH):
        super().__init__()
        self.table = nn.Embedding(words, dim)
        self.where = nn.Parameter(torch.zeros(length, dim))
        self.one, self.two = (nn.MultiheadAttention(dim, 2, batch_first=True) for _ in range(2))
        self.end = nn.Linear(dim, words)

    def forward(self, tokens):
        count = tokens.shape[1]
        later = torch.ones(count, count).triu(1).bool()
        state = self.table(tokens) + self.where[:count]
        for layer in (self.one, self.two):
            state = state + layer(state, state, state, attn_mask=later, need_weights=False)[0].tanh()
        return self.end(state).flatten(1)


def test_no_certificate_lies_in_three_hundred_draws():
    """At every size up to beyond the wall: certified are exactly the client's sentences, or nothing is."""
    held, options = 0, {"words": 30, "length": 4}
    model = Own(16, **options)
    for seed in range(300):
        models.initialise(model, "gaussian:0.3", seed)
        tokens, following = batch(1 + seed % 5, seed, 30, 4)
        found = read(model, sent(model, tokens, following), **options)
        assert as_sets(found) == rows(tokens) or not found.certified
        held += found.certified
        assert found.certified or 1 + seed % 5 >= 3
    assert held >= 120


def test_the_wall_is_where_prefixes_reach_the_width():
    for seed in range(3):
        model = network(48, seed)
        for count, below in ((5, True), (6, False)):  # 40 and 48 prefixes, where 47 dimensions are left by the norm
            tokens, following = batch(count, seed)
            found = read(model, sent(model, tokens, following))
            assert found.certified == below
            assert len(found.sentences) == (count if below else 0)
            assert below or "does not tell" in found.why


def test_words_and_prefixes_are_those_of_the_slow_and_obvious_loop():
    """Least squares for every token at every place; then for every sentence of three words."""
    model, (tokens, following) = network(32, words=8, length=3).double(), batch(3, 5, 8, 3)
    gradient = sent(model, tokens, following)
    found = read(model, gradient, words=8, length=3)

    def away(layer, sentence):
        state = networks.input_of(model, f"blocks.{layer}.self_attn", torch.tensor([sentence]))[0, -1].detach()
        basis = gradient[f"blocks.{layer}.self_attn.in_proj_weight"].T
        inside = basis @ torch.linalg.lstsq(basis, state[:, None], rcond=1e-12, driver="gelsd").solution
        return (inside[:, 0] - state).norm() / state.norm()

    for place in range(3):
        near = [token for token in range(8) if away(0, [0] * place + [token]) < 1e-6]
        assert found.words[place].tolist() == near
        assert set(tokens[:, place].tolist()) <= set(near)
    near = {each: away(1, each) < 1e-6 for k in range(3) for each in itertools.product(range(8), repeat=k + 1)}
    whole = {each for each in itertools.product(range(8), repeat=3) if all(near[each[: k + 1]] for k in range(3))}
    assert whole == as_sets(found) == rows(tokens)


def test_copies_order_and_common_beginnings_do_not_matter():
    model = network()
    tokens, following = batch(4)
    tokens[1, :5] = tokens[0, :5]
    tokens[2] = tokens[0]
    found = read(model, sent(model, tokens, following))
    again = read(model, sent(model, tokens.flip(0), following.flip(0)))
    assert as_sets(found) == as_sets(again) == rows(tokens)
    assert len(found.sentences) == 3
    assert found.certified
    assert found.prefixes == 3 * LENGTH - 5


def test_padding_is_a_word_on_the_left_and_the_end_on_the_right():
    model = network()
    tokens, following = batch(3)
    tokens[0, :5], tokens[1, :2] = 0, 0
    assert as_sets(read(model, sent(model, tokens, following))) == rows(tokens)
    right, after = batch(3)
    right[0, 3:], after[0, 3:] = 0, -100  # what no loss is taken of, and nothing looks at
    found = read(model, sent(model, right, after))
    assert as_sets(found) == {tuple(right[0, :3].tolist())} | rows(right[1:])
    assert found.certified


@pytest.mark.parametrize("heads", [2, 4])
def test_a_loss_of_the_last_word_alone_hides_what_is_longer_than_twice_the_heads_and_one(heads):
    """A sentence gives the second layer one direction of its query, and one a head of keys and of values."""

    def last(logits, labels):
        return nn.functional.cross_entropy(logits.unflatten(1, (LENGTH, -1))[:, -1], labels[:, -1])

    model, (tokens, following) = network(heads=heads), batch(4)
    found = read(model, sent(model, tokens, following, last))
    assert found.ranks[1] == 4 * min(LENGTH, 2 * heads + 1)
    assert found.certified == (2 * heads + 1 >= LENGTH)
    if found.certified:
        assert as_sets(found) == rows(tokens)
        return
    assert f"span of {found.ranks[1]} dimensions" in found.why
    for place, fits in enumerate(found.words):
        assert set(tokens[:, place].tolist()) <= set(fits.tolist())


def test_the_first_layer_alone_tells_words_but_not_their_places():
    """Embeddings of word and place are summed: with as many words as link all places, each fits at each."""
    model, (tokens, following) = network(64, words=12), batch(5, 0, 12)
    found = read(model, sent(model, tokens, following), words=12)
    everywhere = tokens.flatten().unique()
    assert all(torch.equal(fits, everywhere) for fits in found.words)
    assert found.ranks[0] == len(everywhere) + LENGTH - 1
    assert as_sets(found) == rows(tokens)


def test_tied_and_frozen_embeddings_change_nothing():
    tied, frozen = network(), network()
    tied.output.weight = tied.embedding.weight
    frozen.embedding.requires_grad_(False)
    for model in (tied, frozen):
        tokens, following = batch(5)
        found = read(model, sent(model, tokens, following))
        assert found.certified
        assert as_sets(found) == rows(tokens)


def test_a_transformer_of_ones_own_is_read_too():
    model = models.initialise(Own(), "gaussian:0.3", seed=0)
    tokens, following = batch(6)
    found = read(model, sent(model, tokens, following))
    assert found.certified
    assert as_sets(found) == rows(tokens)


def test_who_knows_the_noise_reads_through_a_little_and_certifies_nothing():
    model, (tokens, following) = network(), batch(4)
    gradient = sent(model, tokens, following)
    size = gradient["blocks.1.self_attn.in_proj_weight"].std().item()
    for share, exact in ((1e-4, 4), (1.0, 0)):
        noisy = perturbation.gaussian(gradient, share * size, seed=1)
        naive, knowing = read(model, noisy), read(model, noisy, noise=share * size)
        assert not naive.certified
        assert not naive.sentences
        assert "does not tell" in naive.why
        assert not knowing.certified
        assert "the noise is" in knowing.why
        assert len(as_sets(knowing) & rows(tokens)) == exact


def test_dp_sgd_leaves_nothing_certified():
    model, (tokens, following) = network(), batch(4)
    for noise in (0.1, 1.0):
        released = dp_sgd.gradient(model, tokens, following, clip=1.0, noise=noise, loss=models.next_word)
        assert not read(model, released).certified
        known = read(model, released, noise=noise * 1.0 / 4)
        assert not known.certified
        assert not as_sets(known) & rows(tokens)
    clipped = dp_sgd.gradient(model, tokens, following, clip=1e-3, noise=0.0, loss=models.next_word)
    assert as_sets(read(model, clipped)) == rows(tokens)  # it is the noise that helps


def test_the_manual_is_read_in_words():
    text = data.load("manual", length=LENGTH + 1)
    full = text[(text.tokens > 0).all(1).nonzero()[:, 0]].sample(5, 3)
    model = network(words=len(text.vocabulary))
    found = read(model, sent(model, full.tokens[:, :-1], full.tokens[:, 1:]), words=len(text.vocabulary))
    said = {" ".join(text.vocabulary[token] for token in each) for each in found.sentences}
    assert said == {full.words(index).rsplit(" ", 1)[0] for index in range(5)}


def test_the_model_and_the_global_state_are_left_as_they_were():
    model, (tokens, following) = network().train(), batch(2)
    gradient, before = sent(model, tokens, following), torch.get_rng_state()
    state = {name: each.clone() for name, each in model.state_dict().items()}
    read(model, gradient)
    assert model.training
    assert all(torch.equal(each, state[name]) for name, each in model.state_dict().items())
    assert torch.equal(before, torch.get_rng_state())
    assert not any(layer._forward_pre_hooks for layer in model.modules())


def test_bad_calls_are_refused_in_words():
    model, (tokens, following) = network(), batch(2)
    gradient = sent(model, tokens, following)
    name = "blocks.0.self_attn.in_proj_weight"

    def refused(match, model=model, changed=None, **options):
        given = federated.Gradient({**gradient.tensors, **(changed or {})}, 2)
        with pytest.raises((ValueError, TypeError), match=match):
            read(model, given, **options)

    refused("0 layers of nn.MultiheadAttention", models.embedding_classifier(words=9, length=4, dim=4, neurons=4))
    refused("1 layers of nn.MultiheadAttention", network(layers=1))
    refused(r"is \(192, 64\); give that of this model", network(32))
    refused("not finite", changed={name: torch.full((192, 64), math.nan)})
    refused("zero everywhere", changed={name: torch.zeros(192, 64)})
    refused("tensor of floats", changed={name: torch.zeros(192, 64, dtype=torch.int64)})
    refused("do not pass through the model", words=WORDS + 1)
    refused("takes up to 8", length=LENGTH + 1)
    refused("words=0", words=0)
    refused("noise=-1", noise=-1.0)
    refused("noise=nan", noise=math.nan)
    refused(r"noise=inf is out of range; give a number in \[0, inf\)", noise=math.inf)
    refused("sparse", changed={name: torch.eye(192)[:, :64].to_sparse()})
    dropping = network().train()
    dropping.blocks[0].self_attn.dropout = 0.1
    refused("at random", dropping)
    both = network()
    both.later.zero_()
    refused("give a causal model", both)
    frozen = network()
    frozen.blocks[0].requires_grad_(False)
    with pytest.raises(ValueError, match="not there"):
        read(frozen, sent(frozen, tokens, following))
    with pytest.raises(ValueError, match="not there"):
        read(model, federated.gradient(model, tokens, following, loss=models.next_word, layers=("output",)))
