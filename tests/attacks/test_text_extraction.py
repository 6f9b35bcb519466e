import pytest
import torch

from privlab import data, models
from privlab.attacks import gradient_extraction, text_extraction
from privlab.metrics import extraction
from privlab.sharing import federated

SMALL = {"length": 40, "dim": 30, "neurons": 300}


@pytest.fixture(scope="module")
def text():
    return data.load("manual", length=SMALL["length"])


def network(text, seed=0, **options):
    return models.embedding_classifier(words=len(text.vocabulary), **{**SMALL, "classes": 79, **options}, seed=seed)


def embedded(model, part):
    return model.embedding(part.tokens).detach()


def test_one_sentence_comes_back_word_for_word_without_any_trap(text):
    model, part = network(text), text[100:101]
    sent = federated.gradient(model, part.tokens, part.labels)
    found = text_extraction.read(sent, model.embedding.weight)
    assert torch.equal(found.tokens, part.tokens)
    assert len(found.neurons) == found.active > 50
    words = [text.vocabulary[token] for token in found.tokens[0].tolist() if token]
    assert " ".join(words) == text.words(100)


def test_a_batch_is_read_under_trap_weights_and_every_sentence_is_the_clients(text):
    part = text.sample(20, 0)
    model = text_extraction.plant(network(text), 0.95, seed=0)
    sent = federated.gradient(model, part.tokens, part.labels)
    found = text_extraction.read(sent, model.embedding.weight)
    own = {tuple(tokens) for tokens in part.tokens.tolist()}
    assert len(found.tokens) >= 5
    assert {tuple(tokens) for tokens in found.tokens.tolist()} <= own
    rows = gradient_extraction.candidates(sent)
    truth = extraction.match(rows, embedded(model, part)) >= 0
    judged = torch.isin(gradient_extraction.active_neurons(sent), found.neurons)
    assert (truth == judged).float().mean() >= 0.99


def test_looking_up_equals_comparing_with_every_entry(seeded):
    dictionary = torch.rand(500, 20, generator=seeded)
    wanted = torch.randint(500, (6, 7), generator=seeded)
    vectors = dictionary[wanted] + 1e-6 * torch.randn(6, 7, 20, generator=seeded)
    assert torch.equal(text_extraction.look_up(vectors, dictionary), wanted)
    mixtures = 0.5 * vectors + 0.5 * dictionary[torch.randint(500, (6, 7), generator=seeded)]
    slow = torch.cdist(mixtures.view(-1, 20).double(), dictionary.double()).min(1)
    expected = torch.where(slow.values < 1e-3, slow.indices, -1).view(6, 7)
    assert torch.equal(text_extraction.look_up(mixtures, dictionary), expected)


def test_planting_sets_embeddings_and_weights_of_a_copy(text):
    model = network(text)
    planted = text_extraction.plant(model, seed=1)
    assert model.embedding.weight.abs().max() <= 0.05
    assert 0 <= planted.embedding.weight.min() < 0.01 < 0.99 < planted.embedding.weight.max() <= 1
    assert not torch.equal(planted.fc1.weight, model.fc1.weight)
    assert torch.equal(planted.output.weight, model.output.weight)


def test_one_output_takes_the_binary_loss(text):
    model, part = network(text, classes=1), text.sample(4, 0)
    labels = part.labels % 2
    sent = federated.gradient(model, part.tokens, labels, loss=federated.binary_cross_entropy)
    probability = model(part.tokens)[:, 0].sigmoid()
    expected = (probability - labels).mean()
    torch.testing.assert_close(sent["output.bias"][0], expected.detach(), rtol=1e-4, atol=1e-6)


def test_bad_calls_are_refused(text):
    model, part = network(text), text.sample(2, 0)
    sent = federated.gradient(model, part.tokens, part.labels)
    with pytest.raises(ValueError, match="no multiple of the dictionary's 7"):
        text_extraction.read(sent, torch.rand(10, 7))
    with pytest.raises(ValueError, match="Embedding layer of this model"):
        text_extraction.plant(models.fully_connected((4,), 2, widths=(3,)))
    with pytest.raises(ValueError, match="expected tokens"):
        federated.gradient(model, part.tokens[0], part.labels)
    with pytest.raises(ValueError, match="upper end of embedding=0"):
        models.embedding_classifier(**SMALL, embedding=(1, 0))
    with pytest.raises(ValueError, match="dim=0"):
        models.embedding_classifier(dim=0)


def test_noise_makes_sentences_unreadable(text, seeded):
    part = text.sample(5, 0)
    model = text_extraction.plant(network(text), 0.95)
    sent = federated.gradient(model, part.tokens, part.labels)
    noisy = {name: sent[name] + 1e-3 * torch.randn(sent[name].shape, generator=seeded) for name in sent}
    assert len(text_extraction.read(sent, model.embedding.weight).tokens) > 0
    assert len(text_extraction.read(federated.Gradient(noisy, 5), model.embedding.weight).tokens) == 0


def test_an_embedding_by_another_name_is_found_and_two_have_to_be_told_apart():
    def network():
        nn = torch.nn
        return nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3))

    planted = text_extraction.plant(network(), 0.9)
    assert 0 <= planted[0].weight.min() < planted[0].weight.max() <= 1
    two = torch.nn.ModuleDict({"a": network(), "b": network()})
    with pytest.raises(ValueError, match=r"choose one of a.0, b.0"):
        text_extraction.plant(two, layer="a.2")
    assert text_extraction.plant(two, layer="a.2", embedding="a.0")["a"][0].weight.min() >= 0
