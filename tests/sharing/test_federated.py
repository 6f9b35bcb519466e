import copy

import pytest
import torch
from opacus import GradSampleModule

from privlab import data, defences, models
from privlab.attacks import gradient_extraction, trap_weights
from privlab.sharing import federated
from privlab.sharing.federated import Client


@pytest.fixture
def digits():
    return data.load("digits")[:60]


@pytest.fixture
def model():
    return models.fully_connected((1, 28, 28), 10, widths=(20,), seed=0)


def test_the_gradient_is_the_mean_of_per_example_gradients(model, digits):
    """Opacus computes each example's gradient by hooks of its own."""
    shared = federated.gradient(model, digits.images, digits.labels)
    network = models.fully_connected((1, 28, 28), 10, widths=(20,), seed=0)
    each = GradSampleModule(network, loss_reduction="sum")
    torch.nn.functional.cross_entropy(each(digits.images), digits.labels, reduction="sum").backward()
    for name, parameter in each.named_parameters():
        torch.testing.assert_close(
            shared[name.removeprefix("_module.")], parameter.grad_sample.mean(0), rtol=1e-4, atol=1e-6
        )


def test_the_gradient_leaves_the_model_as_it_was(model, digits):
    before = {name: value.clone() for name, value in model.named_parameters()}
    federated.gradient(model, digits.images, digits.labels)
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name])
        assert value.grad is None


def test_a_gradient_can_be_limited_to_layers(model, digits):
    whole = federated.gradient(model, digits.images, digits.labels)
    part = federated.gradient(model, digits.images, digits.labels, layers=["fc1"])
    assert set(part) == {"fc1.weight", "fc1.bias"}
    torch.testing.assert_close(part["fc1.weight"], whole["fc1.weight"])
    with pytest.raises(ValueError, match="choose one of"):
        federated.gradient(model, digits.images, digits.labels, layers=["fc9"])


def test_a_missing_layer_of_a_gradient_names_those_there(model, digits):
    shared = federated.gradient(model, digits.images, digits.labels)
    assert shared.examples == 60
    with pytest.raises(ValueError, match="choose one of fc1, output"):
        shared.layer("conv1")


def test_the_average_of_equal_batches_is_the_gradient_of_one_large_batch(model, digits):
    parts = [federated.gradient(model, p.images, p.labels) for p in (digits[:20], digits[20:40], digits[40:])]
    mean = federated.average(parts)
    whole = federated.gradient(model, digits.images, digits.labels)
    assert mean.examples == 60
    for name in whole:
        torch.testing.assert_close(mean[name], whole[name])
    with pytest.raises(ValueError, match="at least one"):
        federated.average([])


def test_one_client_with_full_batches_trains_like_plain_sgd(model, digits):
    client = Client(digits.images, digits.labels)
    by_average = federated.fed_avg(model, [client], rounds=3, epochs=1, batch=60, lr=0.2)
    by_gradient = federated.fed_sgd(model, [client], rounds=3, batch=60, lr=0.2)
    plain = models.fully_connected((1, 28, 28), 10, widths=(20,), seed=0)
    optimiser = torch.optim.SGD(plain.parameters(), lr=0.2)
    for _ in range(3):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(plain(digits.images), digits.labels).backward()
        optimiser.step()
    for expected, one, other in zip(plain.parameters(), by_average.parameters(), by_gradient.parameters(), strict=True):
        torch.testing.assert_close(one, expected, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(other, expected, rtol=1e-4, atol=1e-6)


def test_clients_count_by_their_examples(model, digits):
    large, small = Client(digits.images[:50], digits.labels[:50]), Client(digits.images[50:], digits.labels[50:])
    received = {}
    new = federated.fed_avg(
        model, [large, small], rounds=1, batch=60, listen=lambda _, client, update: received.update({client: update})
    )
    for name, before in model.named_parameters():
        expected = before + (50 * received[0][name] + 10 * received[1][name]) / 60
        torch.testing.assert_close(dict(new.named_parameters())[name], expected)


def test_the_server_hears_every_message(model, digits):
    clients = [Client(digits.images[:30], digits.labels[:30]), Client(digits.images[30:], digits.labels[30:])]
    heard = []
    federated.fed_sgd(
        model, clients, rounds=2, batch=10, listen=lambda number, client, g: heard.append((number, client, g.examples))
    )
    assert heard == [(0, 0, 10), (0, 1, 10), (1, 0, 10), (1, 1, 10)]


def test_federated_averaging_learns_digits_without_touching_its_input():
    digits, test = data.load("digits"), data.load("digits", "test")
    clients = [Client(digits[part].images, digits[part].labels) for part in data.iid(digits.labels, 3)]
    start = models.fully_connected((1, 28, 28), 10, widths=(32,), seed=0)
    before = start.fc1.weight.clone()
    trained = federated.fed_avg(start, clients, rounds=5, epochs=2, batch=16)
    assert federated.accuracy(trained, test.images, test.labels) > 0.9
    assert torch.equal(start.fc1.weight, before)


def test_the_same_seed_gives_the_same_training(model, digits):
    client = Client(digits.images, digits.labels)
    runs = [federated.fed_avg(model, [client], rounds=1, batch=7, seed=seed).fc1.weight for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize(
    "arguments", [{"rounds": 0}, {"epochs": 0}, {"batch": 0}, {"lr": 0.0}, {"lr": float("nan")}, {"clients": []}]
)
def test_bad_training_is_refused(model, digits, arguments):
    settings = {"clients": [Client(digits.images, digits.labels)], **arguments}
    with pytest.raises(ValueError, match="give"):
        federated.fed_avg(model, settings.pop("clients"), **settings)


def test_a_client_needs_a_label_for_every_image(digits):
    with pytest.raises(ValueError, match="one label per image"):
        Client(digits.images, digits.labels[:-1])


def test_fed_sgd_depends_on_its_seed_and_leaves_its_input_alone(model, digits):
    client = Client(digits.images, digits.labels)
    before = model.fc1.weight.clone()
    runs = [federated.fed_sgd(model, [client], rounds=1, batch=7, seed=seed).fc1.weight for seed in (0, 0, 1)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])
    assert torch.equal(model.fc1.weight, before)


@pytest.mark.parametrize("arguments", [{"rounds": 0}, {"batch": 0}, {"lr": 0.0}, {"lr": float("nan")}])
def test_bad_fed_sgd_is_refused(model, digits, arguments):
    with pytest.raises(ValueError, match="out of range; give"):
        federated.fed_sgd(model, [Client(digits.images, digits.labels)], **arguments)


def weights(model):
    return torch.cat([value.detach().flatten() for value in model.parameters()])


@pytest.fixture
def clients(digits):
    return [Client(digits.images[i : i + 20], digits.labels[i : i + 20]) for i in (0, 20, 40)]


def test_gradients_of_trapped_models_are_heard_and_change_nothing(model, clients):
    """Trapping the last client leaves the training of the first two: the mean counts only those."""
    trap, heard = trap_weights.plant(model, 0.9), []
    mixed = federated.fed_sgd(
        model,
        clients,
        rounds=3,
        batch=20,
        send=lambda number, client, shared: trap if client == 2 else shared,
        listen=lambda number, client, sent: heard.append((number, client, sent)),
    )
    alone = federated.fed_sgd(model, clients[:2], rounds=3, batch=20)
    torch.testing.assert_close(weights(mixed), weights(alone), rtol=1e-4, atol=1e-6)
    assert [(number, client) for number, client, _ in heard] == [(n, c) for n in range(3) for c in range(3)]
    expected = federated.gradient(trap, clients[2].images, clients[2].labels)
    for number, client, sent in heard:
        same = torch.allclose(sent["fc1.weight"], expected["fc1.weight"], rtol=1e-3, atol=1e-6)
        assert same == (client == 2), (number, client)


def test_a_copy_of_the_shared_model_is_another_model(model, clients):
    kept = federated.fed_sgd(model, clients, rounds=2, batch=20, send=lambda n, c, shared: copy.deepcopy(shared))
    assert torch.equal(weights(kept), weights(model))


def test_where_all_are_trapped_in_all_rounds_the_model_stays_as_it_was(model, clients):
    trap, heard = trap_weights.plant(model, 0.9), []
    kept = federated.fed_sgd(
        model, clients, rounds=3, send=lambda *_: trap, listen=lambda number, client, sent: heard.append(client)
    )
    assert torch.equal(weights(kept), weights(model))
    assert kept is not model
    assert heard == [0, 1, 2] * 3


def test_a_round_in_which_all_are_trapped_is_left_out_and_the_next_ones_go_on(model, clients):
    trap, losses = trap_weights.plant(model, 0.9), []

    def send(number, client, shared):
        losses.append(weights(shared).clone())
        return trap if number == 1 else shared

    new = federated.fed_sgd(model, clients, rounds=3, batch=20, send=send)
    starts = losses[::3]
    assert not torch.equal(starts[0], starts[1])
    assert torch.equal(starts[1], starts[2])
    assert not torch.equal(starts[2], weights(new))


def test_the_server_sends_the_shared_model_of_that_round_to_each_client(model, clients):
    asked = []
    sent = federated.fed_sgd(
        model, clients, rounds=2, send=lambda number, client, shared: asked.append((number, client)) or shared
    )
    assert asked == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    torch.testing.assert_close(weights(sent), weights(federated.fed_sgd(model, clients, rounds=2)))


def test_a_gradient_is_protected_before_it_is_heard_and_before_it_is_averaged(model, clients):
    calls, heard = [], []

    def protect(number, client, plain):
        calls.append(("protect", number, client))
        return federated.Gradient({name: (client + 1) * plain[name] for name in plain}, plain.examples)

    def listen(number, client, sent):
        calls.append(("listen", number, client))
        heard.append(sent)

    new = federated.fed_sgd(model, clients, rounds=1, batch=20, lr=0.3, protect=protect, listen=listen)
    assert calls == [(what, 0, client) for client in range(3) for what in ("protect", "listen")]
    plain = [federated.gradient(model, client.images, client.labels) for client in clients]
    for name, before in model.named_parameters():
        mean = (1 * plain[0][name] + 2 * plain[1][name] + 3 * plain[2][name]) / 3
        torch.testing.assert_close(new.get_parameter(name), before - 0.3 * mean, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(heard[2][name], 3 * plain[2][name], rtol=1e-4, atol=1e-6)


def test_an_update_is_protected_before_it_is_heard_and_before_it_is_averaged(model, clients):
    calls, heard, plain = [], {}, {}
    alone = {"rounds": 1, "batch": 20, "seed": 3}
    federated.fed_avg(model, clients, **alone, listen=lambda _, client, update: plain.update({client: update}))

    def protect(number, client, update):
        calls.append((number, client))
        return federated.Update({name: (client + 1) * each for name, each in update.items()}, update.buffers)

    new = federated.fed_avg(
        model, clients, **alone, protect=protect, listen=lambda _, client, update: heard.update({client: update})
    )
    assert calls == [(0, client) for client in range(3)]
    counts = [len(client.labels) for client in clients]
    for name, before in model.named_parameters():
        total = sum(counts[client] * (client + 1) * plain[client][name] for client in range(3))
        torch.testing.assert_close(new.get_parameter(name), before + total / sum(counts), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(heard[2][name], 3 * plain[2][name])


def test_an_update_of_one_layer_moves_that_layer_alone(model, clients):
    def protect(_, client, update):
        return federated.Update({name: each for name, each in update.items() if name.startswith("output")}, {})

    new = federated.fed_avg(model, clients, rounds=2, batch=20, protect=protect)
    for name, before in model.named_parameters():
        assert torch.equal(new.get_parameter(name), before) == (not name.startswith("output"))


def test_clients_can_count_equally(model, digits):
    large, small = Client(digits.images[:50], digits.labels[:50]), Client(digits.images[50:], digits.labels[50:])
    received = {}
    new = federated.fed_avg(
        model,
        [large, small],
        rounds=1,
        batch=60,
        equal=True,
        listen=lambda _, client, update: received.update({client: update}),
    )
    for name, before in model.named_parameters():
        expected = before + (received[0][name] + received[1][name]) / 2
        torch.testing.assert_close(dict(new.named_parameters())[name], expected)


def test_a_client_protects_the_gradient_of_a_trapped_model_too(model, clients):
    part, heard = clients[0], []
    trap = trap_weights.plant(model, 0.9)
    for protect in (None, lambda number, client, sent: defences.gaussian(sent, 1e-4, 7)):
        federated.fed_sgd(
            model,
            [part],
            rounds=1,
            batch=20,
            send=lambda *_: trap,
            protect=protect,
            listen=lambda number, client, sent: heard.append(sent),
        )
    stolen = [len(gradient_extraction.extract(sent, shape=(1, 28, 28)).images) for sent in heard]
    assert stolen[0] > 0
    assert stolen[1] == 0


@pytest.mark.parametrize(("epochs", "batch", "steps"), [(1, 60, 1), (2, 60, 2), (1, 25, 3)])
def test_an_update_as_a_gradient_is_the_mean_gradient_on_the_way(model, digits, epochs, batch, steps):
    """Against plain SGD that notes each gradient it takes, in the client's own order."""
    client = Client(digits.images, digits.labels)
    update = federated.local_update(
        model, client, epochs=epochs, batch=batch, lr=0.3, random=torch.Generator().manual_seed(4)
    )
    found = federated.update_as_gradient(update, 60, lr=0.3, steps=steps)
    local, seen, random = copy.deepcopy(model), [], torch.Generator().manual_seed(4)
    for _ in range(epochs):
        for chosen in torch.randperm(60, generator=random).split(batch):
            seen.append(federated.gradient(local, digits.images[chosen], digits.labels[chosen]))
            with torch.no_grad():
                for name, value in local.named_parameters():
                    value -= 0.3 * seen[-1][name]
    assert len(seen) == steps
    assert found.examples == 60
    assert list(found) == list(update)
    for name in found:
        torch.testing.assert_close(found[name], torch.stack([g[name] for g in seen]).mean(0), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("arguments", "words"), [({"lr": 0.0}, "lr=0.0"), ({"steps": 0}, "steps=0")])
def test_an_update_of_no_steps_is_no_gradient(arguments, words):
    with pytest.raises(ValueError, match=words):
        federated.update_as_gradient({"a": torch.ones(2)}, 1, **{"lr": 0.1, "steps": 1, **arguments})


def test_a_gradient_leaves_running_averages_alone():
    model = models.resnet18((1, 8, 8), 2, width=2).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    federated.gradient(model, torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 0, 1]))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def normed():
    """Digits are dark: their running averages are far from where BatchNorm begins."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        nn = torch.nn
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 10))


def forgotten(model):
    """With the running averages that it began with."""
    model = copy.deepcopy(model)
    model[2].reset_running_stats()
    return model


@pytest.mark.parametrize(
    ("train", "options"),
    [(federated.fed_avg, {"rounds": 5, "epochs": 2, "batch": 16}), (federated.fed_sgd, {"rounds": 100, "batch": 32})],
)
def test_a_network_with_batch_norm_is_as_good_as_trained_in_one_place(train, options):
    digits, test = data.load("digits"), data.load("digits", "test")
    clients = [Client(digits[part].images, digits[part].labels) for part in data.iid(digits.labels, 3)]
    apart = train(normed(), clients, **options)
    together = train(normed(), [Client(digits.images, digits.labels)], **options)
    scores = [federated.accuracy(model, test.images, test.labels) for model in (apart, together, forgotten(apart))]
    assert scores[0] > 0.93
    assert scores[0] > scores[1] - 0.02
    assert scores[2] < 0.85


def test_the_server_hears_the_running_averages_beside_what_it_heard_before(clients):
    updates, gradients = [], []
    federated.fed_avg(normed(), clients, rounds=1, listen=lambda number, client, update: updates.append(update))
    federated.fed_sgd(normed(), clients, rounds=1, listen=lambda number, client, g: gradients.append(g))
    names = {name for name, _ in normed().named_parameters()}
    for heard in (*updates, *gradients):
        assert set(heard) == names
        assert set(heard.buffers) == {"2.running_mean", "2.running_var", "2.num_batches_tracked"}
    assert isinstance(updates[0], dict)
    assert federated.update_as_gradient(updates[0], 20, lr=0.1, steps=1).buffers is updates[0].buffers


def test_counters_are_those_of_the_client_that_counted_most(digits):
    large, small = Client(digits.images[:50], digits.labels[:50]), Client(digits.images[50:], digits.labels[50:])
    assert federated.fed_avg(normed(), [small, large], rounds=1, batch=10)[2].num_batches_tracked == 5


def test_defences_let_running_averages_pass(clients):
    sent = federated.gradient(normed(), clients[0].images, clients[0].labels)
    for protected in (defences.clip(sent, 0.1), defences.gaussian(sent, 0.1), defences.prune(sent, 0.5)):
        assert protected.buffers is sent.buffers
        assert protected.examples == sent.examples


def test_fed_bn_keeps_the_norms_of_each_client_and_shares_the_rest(clients):
    heard = []
    own = federated.fed_bn(normed(), clients, rounds=2, batch=10, listen=lambda number, client, u: heard.append(u))
    assert len(own) == len(clients)
    assert all(not name.startswith("2.") for update in heard for name in [*update, *update.buffers])
    states = [model.state_dict() for model in own]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]) == (not name.startswith("2.") or name.endswith("tracked"))
    with pytest.raises(ValueError, match="use fed_avg"):
        federated.fed_bn(models.fully_connected((1, 28, 28), 10, widths=(5,)), clients)


def test_measuring_changes_neither_statistics_nor_modes_and_does_not_depend_on_chance(digits):
    model = torch.nn.Sequential(*normed(), torch.nn.Dropout()).train()
    model[3].eval()
    before, modes = copy.deepcopy(model.state_dict()), [layer.training for layer in model.modules()]
    scores = {federated.accuracy(model, digits.images, digits.labels) for _ in range(5)}
    assert len(scores) == 1
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [layer.training for layer in model.modules()] == modes


def test_what_is_frozen_is_not_in_the_gradient_and_does_not_move(model, digits):
    client = Client(digits.images, digits.labels)
    model.fc1.requires_grad_(False)
    assert set(federated.gradient(model, digits.images, digits.labels)) == {"output.weight", "output.bias"}
    for train in (federated.fed_avg, federated.fed_sgd):
        trained = train(model, [client], rounds=2)
        assert torch.equal(trained.fc1.weight, model.fc1.weight)
        assert not torch.equal(trained.output.weight, model.output.weight)
    model.requires_grad_(False)
    with pytest.raises(ValueError, match="all are frozen"):
        federated.gradient(model, digits.images, digits.labels)
    with pytest.raises(ValueError, match="all are frozen"):
        federated.fed_avg(model, [client])


def test_what_one_client_does_not_train_counts_as_zero():
    one = federated.Gradient({"a": torch.ones(2), "b": torch.ones(1)}, 1)
    other = federated.Gradient({"a": torch.ones(2)}, 1)
    mean = federated.average([other, one])
    assert mean["a"].tolist() == [1, 1]
    assert mean["b"].tolist() == [0.5]
    with pytest.raises(ValueError, match="'a' are"):
        federated.average([one, federated.Gradient({"a": torch.ones(3)}, 1)])


@pytest.mark.parametrize(
    ("classes", "loss", "labels", "error", "words"),
    [
        (10, federated.cross_entropy, torch.tensor([3, 10]), ValueError, "the class 10, and the model has 10 logits"),
        (1, federated.cross_entropy, torch.tensor([0, 1]), ValueError, "give loss=federated.binary_cross_entropy"),
        (3, federated.cross_entropy, torch.ones(2, 3), ValueError, "floats that sum to 1"),
        (3, federated.cross_entropy, torch.ones(2, 3, dtype=torch.long), ValueError, "floats that sum to 1"),
        (3, federated.cross_entropy, torch.full((2, 2), 0.5), ValueError, "one column for each"),
        (3, federated.binary_cross_entropy, torch.tensor([0, 1]), ValueError, "one label, 0 or 1, for each logit"),
        (1, federated.binary_cross_entropy, torch.tensor([0, 2]), ValueError, "knows 0 and 1"),
        (3, federated.cross_entropy, torch.tensor([0.0, 1.0]), TypeError, "give an int64 tensor"),
        (3, federated.cross_entropy, torch.tensor([0, 1, 2]), ValueError, "3 labels for 2 images"),
        (3, lambda logits, labels: logits, torch.tensor([0, 1]), ValueError, "a single number"),
    ],
)
def test_labels_that_a_loss_does_not_take_are_named(classes, loss, labels, error, words):
    model = models.fully_connected((1, 4, 4), classes, widths=(5,))
    with pytest.raises(error, match=words):
        federated.gradient(model, torch.rand(2, 1, 4, 4), labels, loss=loss)


def test_binary_cross_entropy_is_the_mean_over_all_decisions():
    logits, labels = torch.tensor([[0.3, -1.0], [2.0, 0.1]]), torch.tensor([[0, 1], [1, 1]])
    by_hand = -(labels * logits.sigmoid().log() + (1 - labels) * (1 - logits.sigmoid()).log()).mean()
    torch.testing.assert_close(federated.binary_cross_entropy(logits, labels), by_hand)
    one = [federated.binary_cross_entropy(logits[:, :1], each) for each in (labels[:, 0], labels[:, :1])]
    assert torch.equal(*one)


def test_accuracy_counts_decisions_of_every_kind_of_label():
    model, images = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Identity()), torch.tensor([[0.9, 0.1], [0.2, 0.7]])
    images = images[:, None, None]
    assert federated.accuracy(model, images, torch.tensor([0, 0])) == 0.5
    assert federated.accuracy(model, images, torch.tensor([[0.6, 0.4], [0.7, 0.3]])) == 0.5
    assert federated.accuracy(model, images, torch.tensor([[1, 1], [1, 0]])) == 0.75
    assert federated.accuracy(model, images[:, :, :, :1], torch.tensor([1, 0])) == 0.5
    with pytest.raises(ValueError, match="give one for each"):
        federated.accuracy(model, images, torch.tensor([[1], [1]]))


def test_images_of_another_precision_than_the_model_are_named(model, digits):
    with pytest.raises(TypeError, match=r"images are torch.float32 and the model's weights torch.float64.*to\("):
        federated.gradient(model.double(), digits.images, digits.labels)
    assert federated.gradient(model, digits.images.double(), digits.labels)["fc1.weight"].dtype == torch.float64


def test_training_does_not_depend_on_whether_gradients_are_on_around_it(model, clients):
    with torch.no_grad():
        quiet = [train(model, clients, rounds=1) for train in (federated.fed_avg, federated.fed_sgd)]
    for mine, train in zip(quiet, (federated.fed_avg, federated.fed_sgd), strict=True):
        assert torch.equal(weights(mine), weights(train(model, clients, rounds=1)))


def test_the_gradient_of_a_sparse_embedding_is_like_any_other():
    net = torch.nn.Sequential(torch.nn.Embedding(9, 4, sparse=True), torch.nn.Flatten(), torch.nn.Linear(20, 3))
    tokens, labels = torch.arange(20).view(4, 5) % 9, torch.tensor([0, 1, 2, 0])
    dense = copy.deepcopy(net)
    dense[0].sparse = False
    found, wanted = (federated.gradient(each, tokens, labels)["0.weight"] for each in (net, dense))
    torch.testing.assert_close(found, wanted)
    federated.fed_sgd(net, [Client(tokens, labels)] * 2, rounds=1)
