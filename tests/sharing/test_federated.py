import pytest
import torch
from opacus import GradSampleModule

from privlab import data, models
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
