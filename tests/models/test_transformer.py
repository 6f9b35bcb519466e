"""The transformer against attention written out, one place after the other."""

import pytest
import torch

from privlab import models
from privlab.defences import dp_sgd
from privlab.sharing import federated, predictions, together

SMALL = {"words": 30, "length": 6, "dim": 16, "heads": 4}


@pytest.fixture
def sentences(seeded):
    return torch.randint(30, (5, 7), generator=seeded)


def normed(row, layer):
    return (row - row.mean()) / (row.var(unbiased=False) + layer.eps).sqrt() * layer.weight + layer.bias


def written_out(model, tokens):
    """Logits of one sentence: every place looks back at itself and those before, head by head."""
    rows = [model.embedding.weight[token] + model.positions.weight[place] for place, token in enumerate(tokens)]
    for block in model.blocks:
        width, part = len(rows[0]), len(rows[0]) // block.self_attn.num_heads
        normal = [normed(row, block.norm1) for row in rows]
        query, key, value = (
            [block.self_attn.in_proj_weight[at : at + width] @ row for row in normal] for at in (0, width, 2 * width)
        )
        for place in range(len(rows)):
            heads = []
            for at in range(0, width, part):
                here = slice(at, at + part)
                likes = torch.stack([query[place][here] @ key[back][here] / part**0.5 for back in range(place + 1)])
                heads.append(sum(p * value[back][here] for back, p in enumerate(likes.softmax(0))))
            rows[place] = rows[place] + block.self_attn.out_proj(torch.cat(heads))
        rows = [row + block.linear2(torch.nn.functional.gelu(block.linear1(normed(row, block.norm2)))) for row in rows]
    return torch.cat([model.output(normed(row, model.norm)) for row in rows])


@pytest.mark.parametrize("positions", ["learnt", "fixed"])
def test_it_is_attention_written_out(sentences, positions):
    model = models.transformer(**SMALL, positions=positions, init="gaussian:0.3", seed=2)
    expected = torch.stack([written_out(model, sentence[:-1]) for sentence in sentences])
    for mode in (True, False):
        torch.testing.assert_close(model.train(mode)(sentences[:, :-1]), expected, rtol=1e-4, atol=1e-4)
        with torch.no_grad():  # where torch takes another path
            torch.testing.assert_close(model(sentences[:, :-1]), expected, rtol=1e-4, atol=1e-4)


def test_a_word_changes_what_follows_it_and_nothing_before(sentences):
    model = models.transformer(**SMALL, seed=0)
    tokens = sentences[:1, :-1]
    other = tokens.clone()
    other[0, 3] = (other[0, 3] + 1) % 30
    moved = (model(tokens) - model(other)).view(6, 30).abs().amax(1)
    assert moved[:3].max() < 1e-6 < 1e-4 < moved[3:].min()
    torch.testing.assert_close(model(tokens[:, :4]), model(tokens)[:, : 4 * 30])


def test_fixed_positions_are_the_waves_of_the_paper_and_are_not_trained(sentences):
    model = models.transformer(**SMALL, positions="fixed")
    size = 2**0.5 * model.embedding.weight.std()
    assert model.positions.weight.square().mean().sqrt() == pytest.approx(size.item() / 2**0.5)
    for place, dim in ((0, 1), (3, 4), (5, 15)):
        angle = torch.tensor(place / 10_000 ** (2 * (dim // 2) / 16))
        wave = angle.cos() if dim % 2 else angle.sin()
        torch.testing.assert_close(model.positions.weight[place, dim], size * wave)
    sent = federated.gradient(model, sentences[:, :-1], sentences[:, 1:], loss=models.next_word)
    assert "positions.weight" not in set(sent)
    assert "embedding.weight" in set(sent)


def test_the_loss_is_the_mean_surprise_at_each_next_word(sentences):
    model = models.transformer(**SMALL)
    logits = model(sentences[:, :-1])
    surprises = [
        -logits[row].view(6, 30)[place].log_softmax(0)[sentences[row, place + 1]]
        for row in range(5)
        for place in range(6)
    ]
    torch.testing.assert_close(models.next_word(logits, sentences[:, 1:]), torch.stack(surprises).mean())
    only_first = sentences[:, 1:].clone()
    only_first[:, 1:] = -100
    torch.testing.assert_close(models.next_word(logits, only_first), torch.stack(surprises[::6]).mean())


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_state_alone():
    before = torch.get_rng_state()
    first, again, other = (models.transformer(**SMALL, seed=seed).output.weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())
    wide = models.transformer(words=3000, dim=64)
    for weight in (wide.embedding.weight, wide.blocks[1].self_attn.in_proj_weight, wide.output.weight):
        assert weight.std().item() == pytest.approx(0.02, rel=0.02)


def test_clients_train_it_alone_together_and_privately(sentences, recwarn):
    model, (tokens, following) = models.transformer(**SMALL), (sentences[:, :-1], sentences[:, 1:])
    sent = federated.gradient(model, tokens, following, loss=models.next_word)
    slopes = torch.autograd.grad(models.next_word(model(tokens), following), list(model.parameters()))
    private = dp_sgd.gradient(model, tokens, following, clip=1e6, noise=0.0, loss=models.next_word)
    each = dp_sgd.per_example(model, tokens, following, clip=0.1, loss=models.next_word)
    assert torch.stack([part.flatten(1).square().sum(1) for part in each.values()]).sum(0).max() <= 0.1**2 + 1e-6
    client = federated.Client(tokens, following)
    how = {"epochs": 1, "batch": 5, "lr": 0.1, "loss": models.next_word}
    update = federated.local_update(model, client, **how, random=torch.Generator())
    (beside,) = together.local_updates(model, [client], **how, random=torch.Generator())
    for (name, _), slope in zip(model.named_parameters(), slopes, strict=True):
        for found in (sent[name], private[name], update[name] / -0.1, beside[name] / -0.1):
            torch.testing.assert_close(found, slope, rtol=1e-3, atol=1e-6)
    assert not recwarn.list


def test_it_learns_a_sentence_by_heart():
    line = torch.tensor([[3, 1, 4, 1, 5, 9, 2]])
    model = models.transformer(**SMALL, seed=1)
    trained = predictions.fit(model, line[:, :-1], line[:, 1:], epochs=60, batch=1, lr=0.01, loss=models.next_word)
    said = predictions.predict(trained, line[:, :-1]).view(6, 30).argmax(1)
    assert said.tolist() == [1, 4, 1, 5, 9, 2]
    client = federated.Client(line[:, :-1], line[:, 1:])
    shared = federated.fed_avg(model, [client, client], rounds=2, loss=models.next_word)
    assert models.next_word(shared(line[:, :-1]), line[:, 1:]) < models.next_word(model(line[:, :-1]), line[:, 1:])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"dim": 10}, "dim=10 is no multiple of heads=4"),
        ({"layers": 0}, "layers=0"),
        ({"words": 2.5}, "words=2.5"),
        ({"positions": "none"}, "choose one of learnt, fixed"),
        ({"init": "he"}, "init"),
    ],
)
def test_bad_settings_are_refused(options, words):
    with pytest.raises((ValueError, TypeError), match=words):
        models.transformer(**SMALL | options)


def test_bad_sentences_and_labels_are_refused(sentences):
    model = models.transformer(**SMALL)

    def refused(words, tokens, labels, loss=models.next_word):
        with pytest.raises((ValueError, TypeError), match=words):
            federated.gradient(model, tokens, labels, loss=loss)

    refused("7 words, and this model takes up to 6", sentences, sentences)
    refused("do not pass through the model", sentences[:, :-1] + 30, sentences[:, 1:])
    refused("next_word takes the next word", sentences[:, :-1], sentences[:, 0])
    refused("in \\[0, 1\\]", sentences[:, :-1], sentences)
    refused("give one column for each", sentences[:, :-1], sentences[:, 1:], federated.cross_entropy)
    refused("knows 0 and 1", sentences[:, :-1], sentences[:, 1:], federated.binary_cross_entropy)
