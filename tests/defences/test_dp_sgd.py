"""DP-SGD: its guarantee by name, its accounting against formulas written down here."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm as normal

from privlab import data, models
from privlab.defences import dp_sgd
from privlab.sharing import federated
from privlab.sharing.federated import Client


@pytest.fixture(scope="module")
def digits():
    return data.load("digits").sample(12, 0)


@pytest.fixture
def model(digits):
    return models.lenet(digits.shape, 10, filters=(3, 4), fc=(8,), seed=0)


def flat(gradient):
    return torch.cat([gradient[name].flatten() for name in gradient])


def sent(model, part, clip=1.0, noise=0.0, **settings):
    return dp_sgd.gradient(model, part.images, part.labels, clip=clip, noise=noise, **settings)


def test_without_noise_and_with_a_large_clip_it_is_the_plain_gradient(model, digits):
    released, plain = sent(model, digits, 1e6), federated.gradient(model, digits.images, digits.labels)
    assert list(released) == list(plain)
    assert released.examples == 12
    for name in plain:
        torch.testing.assert_close(released[name], plain[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("clip", [0.3, 5.0, 7.0])
def test_each_example_is_clipped_by_itself(model, digits, clip):
    """Against one example after the other."""
    each = [
        flat(federated.gradient(model, digits[i : i + 1].images, digits[i : i + 1].labels)) for i in range(len(digits))
    ]
    expected = torch.stack([g * min(1, clip / g.norm().item()) for g in each]).mean(0)
    torch.testing.assert_close(flat(sent(model, digits, clip)), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("clip", [0.01, 1.0])
def test_one_example_moves_the_release_by_twice_the_clip_over_the_batch_at_most(model, digits, clip):
    """And leaving nothing of it, by the clip once: what it adds is no longer than that."""
    others = data.load("digits").sample(40, 9)
    before = flat(sent(model, digits, clip))
    moved = []
    for number in range(20):
        images, labels = digits.images.clone(), digits.labels.clone()
        images[3], labels[3] = others.images[number], others.labels[number]
        after = flat(dp_sgd.gradient(model, images, labels, clip=clip, noise=0.0))
        moved.append((after - before).norm().item())
    assert max(moved) <= 2 * clip / 12 * 1.001
    assert max(moved) > 0.8 * clip / 12
    alone = flat(sent(model, digits[3:4], clip))
    assert alone.norm().item() <= clip * 1.001


@pytest.mark.parametrize(("clip", "noise", "size"), [(1.0, 1.0, 12), (0.2, 3.0, 12), (2.0, 0.5, 3)])
def test_noise_is_sigma_times_clip_over_the_batch(digits, clip, noise, size):
    model = models.fully_connected(digits.shape, 10, widths=(60,), seed=0)
    part = digits[:size]
    difference = (flat(sent(model, part, clip, noise)) - flat(sent(model, part, clip))).double()
    spread = noise * clip / size
    assert len(difference) > 40_000
    assert difference.std().item() == pytest.approx(spread, rel=0.02)
    assert difference.mean().item() == pytest.approx(0, abs=4 * spread / len(difference) ** 0.5)


def test_the_same_seed_gives_the_same_noise_and_the_global_state_has_no_part_in_it(model, digits):
    before = torch.get_rng_state()
    one, again, other = (flat(sent(model, digits, noise=1.0, seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(before, torch.get_rng_state())


def test_the_model_stays_as_it_was(model, digits):
    state = copy.deepcopy(model.state_dict())
    sent(model, digits, noise=1.0)
    dp_sgd.train(model, Client(digits.images, digits.labels), clip=1.0, noise=1.0, epochs=1, batch=6, lr=0.1)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and not hasattr(parameter, "grad_sample") for parameter in model.parameters())
    assert all(not layer._forward_hooks and not layer._backward_hooks for layer in model.modules())


def test_another_loss_is_the_one_that_is_clipped(model, digits):
    def smooth(logits, labels):
        return torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.5)

    expected = federated.gradient(model, digits.images, digits.labels, loss=smooth)
    torch.testing.assert_close(flat(sent(model, digits, 1e6, loss=smooth)), flat(expected), rtol=1e-4, atol=1e-6)


def rdp(noise, delta, steps):
    """Renyi accounting of the Gaussian mechanism: order a costs a / 2 sigma^2 a step; Balle et al. 2020, theorem 21."""
    order = np.linspace(1.01, 63, 100_000)
    cost = steps * order / (2 * noise**2)
    return (cost + np.log1p(-1 / order) - np.log(delta * order) / (order - 1)).min()


def exact(noise, delta, steps):
    """Balle and Wang 2018, theorem 8: the Gaussian mechanism, of which several are one of less noise."""
    sigma = noise / math.sqrt(steps)

    def excess(epsilon):
        low, high = 0.5 / sigma - epsilon * sigma, -0.5 / sigma - epsilon * sigma
        return normal.cdf(low) - math.exp(epsilon) * normal.cdf(high) - delta

    return brentq(excess, 1e-6, 100)


@pytest.mark.parametrize(("noise", "delta", "steps"), [(1.0, 1e-5, 1), (4.0, 1e-5, 10), (20.0, 1e-6, 300)])
def test_epsilon_without_subsampling_is_that_of_the_formulas(noise, delta, steps):
    settings = {"sample_rate": 1.0, "steps": steps}
    by_rdp = dp_sgd.epsilon(noise, delta, accountant="rdp", **settings)
    by_prv = dp_sgd.epsilon(noise, delta, **settings)
    assert by_rdp == pytest.approx(rdp(noise, delta, steps), rel=2e-3)
    assert by_prv == pytest.approx(exact(noise, delta, steps), abs=0.03)
    assert by_prv < by_rdp


def test_epsilon_falls_with_noise_and_rises_with_steps_and_share_and_prv_is_the_tighter():
    def spent(noise=1.0, delta=1e-5, sample_rate=0.05, steps=50, accountant="rdp"):
        return dp_sgd.epsilon(noise, delta, sample_rate=sample_rate, steps=steps, accountant=accountant)

    by_noise = [spent(noise) for noise in (0.7, 1.0, 2.0, 5.0)]
    assert by_noise == sorted(by_noise, reverse=True)
    assert spent(steps=100) > spent() > spent(sample_rate=0.01)
    assert spent(delta=1e-6) > spent() > spent(delta=1e-4)
    assert spent(accountant="prv") < spent()


@pytest.mark.parametrize("accountant", ["rdp", "prv"])
def test_noise_and_epsilon_invert_each_other(accountant):
    settings = {"sample_rate": 0.05, "steps": 20, "accountant": accountant}
    noise = dp_sgd.noise_multiplier(2.0, 1e-5, **settings)
    assert 1.97 < dp_sgd.epsilon(noise, 1e-5, **settings) <= 2.0
    if accountant == "prv":
        assert dp_sgd.noise_multiplier(2.0, 1e-5, **{**settings, "accountant": "rdp"}) > noise


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"first": 0.0}, "=0.0 is out of range"),
        ({"delta": 0.0}, "delta=0.0"),
        ({"delta": 1.1}, "delta=1.1"),
        ({"sample_rate": 0.0}, "sample_rate=0.0"),
        ({"sample_rate": 1.5}, "sample_rate=1.5"),
        ({"steps": 0}, "steps=0"),
        ({"accountant": "moments"}, "choose one of prv, rdp"),
    ],
)
def test_bad_accounts_are_refused(arguments, words):
    settings = {"first": 1.0, "delta": 1e-5, "sample_rate": 0.1, "steps": 5, **arguments}
    first, delta = settings.pop("first"), settings.pop("delta")
    for function in (dp_sgd.epsilon, dp_sgd.noise_multiplier):
        with pytest.raises(ValueError, match=words):
            function(first, delta, **settings)


def train(model, client, **settings):
    return dp_sgd.train(
        model, client, **{"clip": 1.0, "noise": 0.0, "epochs": 1, "batch": 3, "lr": 0.1, "seed": 0, **settings}
    )


def weights(model):
    return torch.cat([value.detach().flatten() for value in model.parameters()])


def test_with_little_noise_it_learns_and_with_much_it_does_not(digits):
    some, test = data.load("digits").sample(400, 0), data.load("digits", "test")
    client = Client(some.images, some.labels)
    model = models.fully_connected(digits.shape, 10, widths=(32,), seed=0)
    learnt, lost = (
        federated.accuracy(train(model, client, noise=noise, epochs=8, batch=32, lr=1.0), test.images, test.labels)
        for noise in (0.1, 50.0)
    )
    assert learnt > 0.8
    assert lost < 0.5


def test_a_step_is_that_of_the_release(model, digits):
    """With every example in every mini-batch, train takes what gradient would send, times the rate."""
    client = Client(digits.images, digits.labels)
    trained = train(model, client, batch=12, lr=0.3, clip=0.5)
    expected = weights(model) - 0.3 * flat(sent(model, digits, 0.5))
    torch.testing.assert_close(weights(trained), expected, rtol=1e-4, atol=1e-6)
    assert type(trained) is type(model)
    assert list(trained.state_dict()) == list(model.state_dict())


def test_mini_batches_are_a_poisson_sample(digits, monkeypatch):
    """Each example by a coin of its own: sizes spread like a binomial, and every one comes as often as the rest."""
    everything = data.load("digits").sample(50, 0)
    model = models.fully_connected(digits.shape, 10, widths=(2,), seed=0)
    sizes, drawn, each = [], torch.zeros(50), dp_sgd._each
    wanted = {image.flatten().numpy().tobytes(): i for i, image in enumerate(everything.images)}

    def listen(model, images, labels, loss):
        sizes.append(len(images))
        for image in images:
            drawn[wanted[image.flatten().numpy().tobytes()]] += 1
        return each(model, images, labels, loss)

    monkeypatch.setattr(dp_sgd, "_each", listen)
    train(model, Client(everything.images, everything.labels), epochs=60, batch=8)
    count = 60 * math.ceil(50 / 8)
    assert count - len(sizes) <= 3  # empty ones
    assert np.mean(sizes) == pytest.approx(8, abs=4 * (8 * 0.84 / count) ** 0.5)
    assert np.var(sizes) == pytest.approx(8 * 0.84, rel=0.3)
    assert ((drawn - count * 0.16).abs() < 4.5 * (count * 0.16 * 0.84) ** 0.5).all()


def test_an_empty_mini_batch_still_takes_a_step_of_noise(digits):
    """One image of one, with a rare draw: its absence must not show in the weights."""
    model = models.fully_connected(digits.shape, 10, widths=(20,), seed=0)
    private, random = dp_sgd._private(model, 0.5, 2.0, 0)
    moved = torch.cat([each.flatten() for each in dp_sgd._release(private, {}, 2.0 * 0.5, 4, random).values()])
    assert len(moved) == len(weights(model))
    assert moved.std().item() == pytest.approx(2.0 * 0.5 / 4, rel=0.03)
    assert moved.mean().item() == pytest.approx(0, abs=1e-2)


def test_training_goes_on_through_empty_mini_batches_with_the_noise_of_every_step(digits):
    model = models.fully_connected(digits.shape, 10, widths=(20,), seed=0)
    client = Client(digits.images, digits.labels)
    noisy = train(model, client, batch=1, clip=1e-6, noise=1e6, lr=0.1, epochs=2)
    moved = weights(noisy) - weights(model)
    assert moved.std().item() == pytest.approx(0.1 * 24**0.5, rel=0.03)  # a third of the 24 are empty
    quiet = train(model, client, batch=1, clip=1e-6, noise=0.0, lr=0.1, epochs=2)
    torch.testing.assert_close(weights(quiet), weights(model), rtol=0, atol=1e-5)


def test_training_depends_on_its_seed(model, digits):
    client = Client(digits.images, digits.labels)
    for noise in (0.0, 1.0):
        one, again, other = (weights(train(model, client, noise=noise, seed=seed)) for seed in (0, 0, 1))
        assert torch.equal(one, again)
        assert not torch.equal(one, other)


def test_batch_norm_is_refused_with_the_remedy_and_group_norm_is_taken(digits):
    part, settings = digits[:2], {"width": 2, "seed": 0}
    with pytest.raises(ValueError, match=r"BatchNorm.*resnet18 has norm='group'"):
        sent(models.resnet18(digits.shape, 10, **settings), part)
    model = models.resnet18(digits.shape, 10, norm="group", **settings)
    released = sent(model, part, 1e6)
    plain = federated.gradient(model, part.images, part.labels)
    torch.testing.assert_close(flat(released), flat(plain), rtol=1e-3, atol=1e-5)
    with pytest.raises(ValueError, match="it takes a model in train mode"):
        sent(model.eval(), part)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"clip": 0.0}, "clip=0.0"),
        ({"noise": -1.0}, "noise=-1.0"),
        ({"epochs": 0}, "epochs=0"),
        ({"batch": 0}, "batch=0"),
        ({"lr": 0.0}, "lr=0.0"),
    ],
)
def test_bad_training_is_refused(model, digits, arguments, words):
    with pytest.raises(ValueError, match=words):
        train(model, Client(digits.images, digits.labels), **arguments)
    if "clip" in arguments or "noise" in arguments:
        with pytest.raises(ValueError, match=words):
            sent(model, digits, **arguments)
