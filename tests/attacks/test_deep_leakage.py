"""DLG: it shows a digit to the last pixel, and fails where it must."""

import pytest
import torch

from privlab import data, defences, models
from privlab.attacks import deep_leakage, label_inference
from privlab.defences import perturbation
from privlab.metrics import reconstruction
from privlab.sharing import federated


@pytest.fixture(scope="module")
def digits():
    return data.load("digits").sample(8, 0)


@pytest.fixture(scope="module")
def model(digits):
    return network(digits)


def network(digits, activation="sigmoid"):
    return models.lenet(
        digits.shape, 10, filters=(12, 12, 12), fc=(), pool="stride", activation=activation, init="framework", seed=0
    )


def small(digits):
    return models.lenet(digits.shape, 10, filters=(4, 4), fc=(), pool="stride", activation="sigmoid", seed=0)


def each(model, part):
    return [federated.gradient(model, part[i : i + 1].images, part[i : i + 1].labels) for i in range(len(part))]


def psnr(found, images):
    """Of each victim, the mean over its images, each held against the guess that is meant for it."""
    best = found.best()
    return [
        reconstruction.psnr(b[reconstruction.match(b, i)], i).mean().item() for b, i in zip(best, images, strict=True)
    ]


def test_a_digit_and_its_label_are_recovered_from_a_gradient_alone(model, digits):
    found = deep_leakage.reconstruct(model, each(model, digits[:2]), shape=digits.shape, restarts=2, iterations=250)
    assert min(psnr(found, digits[:2].images[:, None])) > 40
    assert torch.equal(found.best_labels()[:, 0], digits.labels[:2])
    assert found.images.shape == (2, 2, 1, *digits.shape)
    assert found.labels.shape == (2, 2, 1)
    assert found.loss.shape == found.iterations.shape == (2, 2)


def test_known_labels_help_and_the_tolerance_ends_a_trial(model, digits):
    sent = each(model, digits[:2])
    labels = label_inference.labels(model, sent, shape=digits.shape)
    assert torch.equal(labels[:, 0], digits.labels[:2])
    found = deep_leakage.reconstruct(
        model, sent, shape=digits.shape, labels=labels, restarts=2, iterations=300, tolerance=1e-11
    )
    assert min(psnr(found, digits[:2].images[:, None])) > 35
    assert found.loss.max() < 1e-11
    assert found.iterations.max() < 200
    assert torch.equal(found.labels[:, :, 0], labels.expand(2, 2))


def test_the_loss_is_the_distance_of_the_image_that_it_stands_beside(digits):
    model, part = small(digits), digits[:2]
    sent = each(model, part)
    found = deep_leakage.reconstruct(
        model, sent, shape=digits.shape, labels=part.labels[:, None], restarts=2, iterations=8
    )
    for v in range(2):
        for r in range(2):
            images = found.images[v, r]
            value = torch.nn.functional.cross_entropy(model(images), part.labels[v : v + 1])
            again = torch.autograd.grad(value, list(model.parameters()))
            distance = sum((a - b).square().sum() for a, b in zip(again, sent[v].tensors.values(), strict=True))
            expected = distance / sum(b.square().sum() for b in sent[v].tensors.values())
            assert found.loss[v, r].item() == pytest.approx(expected.item(), rel=1e-3)
    assert torch.equal(found.chosen, found.loss.argmin(1))


def test_a_mini_batch_of_eight_stays_hidden(model, digits):
    sent = federated.gradient(model, digits.images, digits.labels)
    found = deep_leakage.reconstruct(
        model, sent, shape=digits.shape, labels=digits.labels[None], restarts=1, iterations=150
    )
    assert psnr(found, digits.images[None])[0] < 20


def test_a_network_of_relus_is_not_smooth_enough(digits):
    model = network(digits, "relu")
    found = deep_leakage.reconstruct(
        model, each(model, digits[:2]), shape=digits.shape, labels=digits.labels[:2, None], restarts=2, iterations=60
    )
    assert max(psnr(found, digits[:2].images[:, None])) < 20


@pytest.mark.parametrize(
    ("clip", "noise", "readable"),
    [
        (100.0, 1e-8, True),  # beyond the norm of the gradient, so that nothing is clipped
        (100.0, 1e-2, False),
        (1.0, 1.0, False),
        (1.0, 1e-8, False),  # the noise is nothing, but the attack takes the clipped length for the true one
    ],
)
def test_differential_privacy_of_the_client_hides_the_image(model, digits, clip, noise, readable):
    part = digits[:1]
    sent = defences.dp_sgd.gradient(model, part.images, part.labels, clip=clip, noise=noise)
    found = deep_leakage.reconstruct(
        model, sent, shape=digits.shape, labels=part.labels[None], restarts=1, iterations=200
    )
    assert (psnr(found, part.images[None])[0] > 40) == readable
    if not readable:
        assert psnr(found, part.images[None])[0] < 15


def test_a_trial_does_not_depend_on_those_beside_it(digits):
    model, part = small(digits), digits[:2]
    sent = each(model, part)

    def images(gradients, restarts, seed=0, iterations=4, labels=None):
        return deep_leakage.reconstruct(
            model, gradients, shape=digits.shape, labels=labels, restarts=restarts, iterations=iterations, seed=seed
        ).images

    for labels in (None, part.labels[:, None]):
        first = None if labels is None else labels[:1]
        many = images(sent, 3, labels=labels)
        torch.testing.assert_close(images(sent[:1], 1, labels=first)[0, 0], many[0, 0], rtol=0, atol=0.02)
        torch.testing.assert_close(images(sent, 1, labels=labels)[1, 0], many[1, 0], rtol=0, atol=0.02)
        assert torch.equal(images(sent, 3, labels=labels), many)
    starts = images(sent, 3, iterations=1).flatten(0, 1).flatten(1)
    assert torch.pdist(starts).min() > 1
    assert not torch.equal(images(sent, 3, seed=1), images(sent, 3))


def test_trials_begin_at_a_normal_draw(digits):
    seen = []
    model = small(digits)
    deep_leakage.reconstruct(
        model,
        each(model, digits[:2]),
        shape=digits.shape,
        restarts=8,
        iterations=3,
        watch=lambda iteration, images, losses: seen.append((iteration, images.clone(), losses.clone())),
    )
    assert [iteration for iteration, _, _ in seen] == [1, 2, 3]
    assert seen[0][1].shape == (2, 8, 1, *digits.shape)
    assert seen[0][1].std().item() == pytest.approx(1, abs=0.05)
    assert seen[0][1].mean().item() == pytest.approx(0, abs=0.05)
    assert (seen[2][2] < seen[0][2]).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_trial_that_breaks_down_does_not_spoil_its_neighbours(digits, monkeypatch, value):
    model, part = small(digits), digits[:2]
    # few iterations: each multiplies what trials differ by for being computed beside others, in another order of sums
    settings = {"shape": digits.shape, "labels": part.labels[:, None], "restarts": 2, "iterations": 4}
    sound = deep_leakage.reconstruct(model, each(model, part), **settings)
    starts = deep_leakage._starts

    def broken(*arguments):
        points = starts(*arguments)
        points[1, 5] = value
        return points

    monkeypatch.setattr(deep_leakage, "_starts", broken)
    found = deep_leakage.reconstruct(model, each(model, part), **settings)
    assert found.loss[0, 1] == float("inf")
    assert found.chosen[0] == 0
    for place in ((0, 0), (1, 0), (1, 1)):
        torch.testing.assert_close(found.images[place], sound.images[place], rtol=0, atol=0.02)


def test_unknown_labels_are_optimised_as_probabilities(digits, monkeypatch):
    seen, call = [], deep_leakage.Matcher.__call__

    def listen(matcher, images, labels, victim):
        seen.append(labels.detach())
        return call(matcher, images, labels, victim)

    monkeypatch.setattr(deep_leakage.Matcher, "__call__", listen)
    model = small(digits)
    sent = federated.gradient(model, digits[:2].images, digits[:2].labels)
    deep_leakage.reconstruct(model, sent, shape=digits.shape, restarts=3, iterations=3)
    assert seen[0].shape == (3, 2, 10)
    assert all(labels.min() >= 0 for labels in seen)
    torch.testing.assert_close(seen[-1].sum(2), torch.ones(3, 2))
    assert (seen[0] - seen[-1]).abs().max() > 1e-3


def test_a_gradient_of_nothing_gives_no_error_and_no_loss(digits):
    model = small(digits)
    sent = federated.gradient(model, digits[:1].images, digits[:1].labels)
    nothing = federated.Gradient({name: 0 * sent[name] for name in sent}, 1)
    found = deep_leakage.reconstruct(model, nothing, shape=digits.shape, restarts=2, iterations=3)
    assert (found.loss == float("inf")).all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"restarts": 0}, "restarts=0"),
        ({"iterations": 0}, "iterations=0"),
        ({"shape": (1, 30, 28)}, r"shape=\(1, 30, 28\) does not fit the model"),
        ({"labels": torch.tensor([[1, 2]])}, r"labels are \(1, 2\); expected \(1, 1\)"),
        ({"labels": torch.tensor([[10]])}, "largest label=10"),
    ],
)
def test_what_does_not_fit_is_refused(digits, arguments, words):
    model = small(digits)
    with pytest.raises(ValueError, match=words):
        deep_leakage.reconstruct(model, each(model, digits[:1]), **{"shape": digits.shape, **arguments})


def test_the_model_stays_as_it_was(digits):
    model = small(digits)
    before = [value.clone() for value in model.parameters()]
    deep_leakage.reconstruct(model, each(model, digits[:1]), shape=digits.shape, restarts=1, iterations=2)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(value.grad is None for value in model.parameters())


def test_an_adversary_who_knows_the_bound_reads_a_clipped_gradient():
    """Clipping alone shortens a gradient; only who takes the clipped length for the true one is stopped."""
    digits = data.load("digits")
    model = models.lenet(
        digits.shape, 10, filters=(12, 12, 12), fc=(), pool="stride", activation="sigmoid", init="framework"
    )
    victim = digits.sample(1, 3)
    whole = federated.gradient(model, victim.images, victim.labels)
    bound = perturbation.norm(whole) / 3
    short = perturbation.clip(whole, bound)
    options = {"shape": digits.shape, "restarts": 2, "iterations": 300}
    naive = deep_leakage.reconstruct(model, short, **options)
    knowing = deep_leakage.reconstruct(model, short, clip=bound, **options)
    truth = victim.images[None]
    assert reconstruction.psnr(naive.best(), truth).item() < 20
    assert reconstruction.psnr(knowing.best(), truth).item() > 30
    with pytest.raises(ValueError, match="clip"):
        deep_leakage.reconstruct(model, short, clip=0.0, **options)
