"""Inverting gradients: directions show images where lengths do not, and an update of several steps does too."""

import itertools

import numpy as np
import pytest
import torch

from privlab import data, defences, models
from privlab.attacks import LocalTraining, inverting_gradients
from privlab.attacks.inverting_gradients import DECAY_AT, EASED, total_variation
from privlab.metrics import reconstruction
from privlab.sharing import federated
from privlab.sharing.federated import Client


@pytest.fixture(scope="module")
def digits():
    return data.load("digits").sample(8, 0)


@pytest.fixture(scope="module")
def model(digits):
    return models.lenet(digits.shape, 10, filters=(16, 16, 16), fc=(), pooled=0, pool="stride", seed=0)


@pytest.fixture(scope="module")
def small(digits):
    return models.lenet(digits.shape, 10, filters=(4,), fc=(), pooled=1, pool="stride", seed=0)


def each(model, part):
    return [federated.gradient(model, part[i : i + 1].images, part[i : i + 1].labels) for i in range(len(part))]


def psnr(found, images):
    best = found.best()
    return [
        reconstruction.psnr(b[reconstruction.match(b, i)], i).mean().item() for b, i in zip(best, images, strict=True)
    ]


@pytest.mark.parametrize("size", [1, 4])
def test_a_mini_batch_is_recovered_through_relus(model, digits, size):
    part = digits[:size]
    found = inverting_gradients.reconstruct(
        model,
        federated.gradient(model, part.images, part.labels),
        part.labels[None],
        shape=digits.shape,
        iterations=200,
    )
    assert psnr(found, part.images[None])[0] > 30
    assert torch.equal(found.best_labels()[0], part.labels)
    assert found.iterations.isnan().all()


def test_an_update_of_several_steps_is_recovered_by_who_follows_the_steps(digits):
    model = models.lenet(digits.shape, 10, filters=(8, 8), fc=(), pooled=0, pool="stride", seed=0)
    part, local = digits[:1], LocalTraining(3, 1, 0.05)
    random = torch.Generator().manual_seed(0)
    update = federated.local_update(model, Client(part.images, part.labels), epochs=3, batch=1, lr=0.05, random=random)
    sent = federated.update_as_gradient(update, 1, lr=0.05, steps=3)
    settings = {"shape": digits.shape, "iterations": 150}
    found = inverting_gradients.reconstruct(model, sent, part.labels[None], local=local, **settings)
    assert psnr(found, part.images[None])[0] > 25
    naive = inverting_gradients.reconstruct(model, sent, part.labels[None], **settings)
    assert psnr(naive, part.images[None])[0] < 15


@pytest.mark.parametrize(("noise", "readable"), [(1e-6, True), (1.0, False)])
def test_clipping_leaves_the_direction_and_only_noise_hides_the_image(model, digits, noise, readable):
    part = digits[:1]
    sent = defences.dp_sgd.gradient(model, part.images, part.labels, clip=1.0, noise=noise)
    found = inverting_gradients.reconstruct(model, sent, part.labels[None], shape=digits.shape, iterations=150)
    assert (psnr(found, part.images[None])[0] > 25) == readable
    if not readable:
        assert psnr(found, part.images[None])[0] < 12


def slow_variation(image):
    """Neighbour by neighbour."""
    channels, height, width = image.shape
    down = [
        abs(image[c, i + 1, j] - image[c, i, j])
        for c in range(channels)
        for i in range(height - 1)
        for j in range(width)
    ]
    across = [
        abs(image[c, i, j + 1] - image[c, i, j])
        for c in range(channels)
        for i in range(height)
        for j in range(width - 1)
    ]
    return np.mean(down) + np.mean(across)


@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 4, 7), (2, 9, 5)])
def test_total_variation_is_that_of_a_slow_loop(shape, seeded):
    images = torch.rand(2, 3, *shape, generator=seeded, dtype=torch.float64)
    found = total_variation(images)
    assert found.shape == (2, 3)
    for place in ((0, 0), (1, 2)):
        assert found[place].item() == pytest.approx(slow_variation(images[place].numpy()), rel=1e-9)
    assert total_variation(images[0, 0]).shape == ()


def test_total_variation_by_hand():
    stripes = torch.tensor([0.0, 1.0, 0.0]).expand(1, 3, 3)
    assert total_variation(stripes) == 1
    assert total_variation(stripes.mT) == 1
    assert total_variation(0 * stripes + 0.3) == 0
    assert total_variation(stripes * stripes.mT) == pytest.approx(4 / 6, abs=1e-6)


@pytest.mark.parametrize("shape", [(4, 4), (1, 1, 5), (1, 5, 1), (5,)])
def test_an_image_without_neighbours_has_no_variation(shape):
    with pytest.raises(ValueError, match=r"expected .* with sides of two pixels or more"):
        total_variation(torch.rand(*shape))


@pytest.mark.parametrize("iterations", [8, 10, 80])
@pytest.mark.parametrize("box", [True, False])
def test_steps_are_those_of_adam_fed_with_signs(iterations, box, seeded):
    """torch's own, with its own scheduler, and the box after every step; on hills that differ from trial to trial."""
    goals, scales = 3 * torch.rand(2, 4, 5, generator=seeded) - 1, torch.logspace(-4, 4, 5)
    begin, seen = torch.rand(4, 5, generator=seeded), []

    def function(points, times):
        seen.append(points.clone())
        away = points - goals[0]
        return (scales * away.square() / 2).sum(1), scales * away

    inverting_gradients._signed_adam(function, begin, iterations, 0.1, box=box, watch=lambda *_: None)
    weights = torch.nn.Parameter(begin.clone())
    optimiser = torch.optim.Adam([weights], lr=0.1)
    first = [next(i for i in range(iterations + 1) if i >= share * iterations) for share in (3 / 8, 5 / 8, 7 / 8)]
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, first, gamma=0.1)
    assert len(seen) == iterations + 1
    for points in seen:
        torch.testing.assert_close(points, weights.detach(), rtol=1e-4, atol=1e-5)
        weights.grad = (weights.detach() - goals[0]).sign()
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            if box:
                weights.clamp_(0, 1)
    assert (not box) or max(points.max() for points in seen) <= 1
    assert DECAY_AT == (3 / 8, 5 / 8, 7 / 8)


def test_a_trial_keeps_its_best_point_and_one_that_is_not_a_number_spoils_no_other():
    calls = []

    def function(points, times):
        values = (points - 0.3).square().sum(1)
        slopes = 2 * (points - 0.3)
        calls.append(points.clone())
        if len(calls) > 5:
            values[1], slopes[1] = torch.nan, torch.nan
        if len(calls) > 8:
            values[2] = values[2] + 10  # worse from here on
        return values, slopes

    begin = torch.tensor([[0.9], [0.9], [0.9]])
    points, lowest = inverting_gradients._signed_adam(function, begin, 60, 0.1, box=True, watch=lambda *_: None)
    assert points[0].item() == pytest.approx(0.3, abs=0.02)
    assert lowest[0] == (points[0] - 0.3).square().sum()
    before = torch.stack(calls[:5])[:, 1]
    assert points[1] == before[(before - 0.3).square().argmin()]
    assert lowest[2] == (points[2] - 0.3).square().sum()
    assert lowest[2] < 1
    assert torch.stack(calls).isfinite().all()
    assert torch.equal(begin, torch.tensor([[0.9], [0.9], [0.9]]))


def test_the_variation_counts_four_times_then_twice_and_what_is_compared_has_its_own_weight():
    asked = []

    def objective(points):
        return points.square().sum(1), points.sum(1)

    def function(points, phase):
        asked.append(EASED[phase])
        values, slopes = inverting_gradients._eased(objective, EASED, points, phase)
        torch.testing.assert_close(values, points.square().sum(1))
        torch.testing.assert_close(slopes, 2 * points + EASED[phase] - 1)
        return values, slopes

    inverting_gradients._signed_adam(function, torch.ones(1, 2), 8, 0.1, box=True, watch=lambda *_: None)
    assert asked == [4, 4, 4, 2, 2, 1, 1, 1, 1]


def test_easing_gains_decibels_on_photographs():
    """Where the attack falls short of the image, on colour patches through ReLUs."""
    patches = data.load("patches")
    drawn = patches.sample(4, 950)
    model = models.lenet(patches.shape, 7, filters=(12,) * 3, fc=(), pool="stride", seed=950)
    sent = [federated.gradient(model, x[None], y[None]) for x, y in zip(drawn.images, drawn.labels, strict=True)]
    labels, images = drawn.labels[:, None], drawn.images[:, None]
    quality, losses = [], []
    for ease in (False, True):
        found = run(model, sent, labels, patches.shape, iterations=300, restarts=2, ease=ease)
        quality.append(reconstruction.psnr(found.best(), images).mean())
        losses.append(found.loss)
    assert quality[1] > quality[0] + 0.5
    assert losses[1].mean() < 1.5 * losses[0].mean()  # measured by one rule


def run(model, gradients, labels, shape, **settings):
    return inverting_gradients.reconstruct(model, gradients, labels, shape=shape, **{"iterations": 12, **settings})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_trial_that_breaks_down_does_not_spoil_its_neighbours(small, digits, monkeypatch, value):
    part = digits[:2]
    arguments = (small, each(small, part), part.labels[:, None], digits.shape)
    sound = run(*arguments, restarts=2)
    starts = inverting_gradients._starts

    def broken(*given):
        points = starts(*given)
        points[1, 0, 0, 5, 5] = value
        return points

    monkeypatch.setattr(inverting_gradients, "_starts", broken)
    found = run(*arguments, restarts=2)
    if value != value:  # the box makes a large number of an infinite one
        assert found.loss[0, 1] == float("inf")
        assert found.chosen[0] == 0
    for place in ((0, 0), (1, 0), (1, 1)):
        torch.testing.assert_close(found.images[place], sound.images[place], rtol=1e-3, atol=1e-3)


def test_a_trial_does_not_depend_on_those_beside_it(small, digits):
    part = digits[:2]
    sent, labels = each(small, part), part.labels[:, None]
    many = run(small, sent, labels, digits.shape, restarts=3)
    one = run(small, sent, labels, digits.shape, restarts=1)
    alone = run(small, sent[0], labels[:1], digits.shape, restarts=1)
    torch.testing.assert_close(one.images[:, 0], many.images[:, 0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(alone.images[0, 0], many.images[0, 0], rtol=1e-3, atol=1e-4)
    assert torch.equal(run(small, sent, labels, digits.shape, restarts=3).images, many.images)
    assert not torch.equal(run(small, sent, labels, digits.shape, restarts=3, seed=1).images, many.images)
    assert torch.pdist(many.images.flatten(0, 1).flatten(1)).min() > 0.5


def slow_loss(model, images, labels, sent, alpha):
    value = torch.nn.functional.cross_entropy(model(images), labels)
    found = torch.cat([g.flatten() for g in torch.autograd.grad(value, list(model.parameters()))])
    truth = torch.cat([sent[name].flatten() for name in sent])
    rough = np.mean([slow_variation(image.numpy()) for image in images])
    return 1 - torch.cosine_similarity(found, truth, dim=0).item() + alpha * rough


def distance_to_one_hot(logits, labels):
    return (logits.softmax(1) - torch.nn.functional.one_hot(labels, 10)).square().mean()


@pytest.mark.parametrize(
    ("make", "loss"),
    [
        (lambda labels: 0.7 * torch.nn.functional.one_hot(labels, 10) + 0.03, federated.cross_entropy),
        (lambda labels: torch.nn.functional.one_hot(labels, 10).float(), federated.binary_cross_entropy),
        (lambda labels: labels, distance_to_one_hot),
    ],
    ids=["soft labels", "decisions", "a loss of one's own"],
)
def test_the_clients_own_loss_and_labels_are_what_the_trials_minimise(small, digits, make, loss):
    """The loss of a guess is that of plain autograd, steps lower it, and the image itself has none."""
    part, labels = digits[:2], make(digits[:2].labels)
    sent = federated.gradient(small, part.images, labels, loss=loss)
    options = {"alpha": 0.0, "loss": loss}
    found = run(small, sent, labels[None], digits.shape, **options)
    first = run(small, sent, labels[None], digits.shape, iterations=1, **options)
    value = loss(small(found.images[0, 0]), labels)
    again = torch.cat([g.flatten() for g in torch.autograd.grad(value, list(small.parameters()))])
    truth = torch.cat([sent[name].flatten() for name in sent])
    assert found.loss.item() == pytest.approx(1 - torch.cosine_similarity(again, truth, dim=0).item(), abs=1e-5)
    assert found.loss < first.loss / 2
    assert found.best_labels().shape == ((1, 2, 10) if loss is federated.binary_cross_entropy else (1, 2))
    one = federated.gradient(small, part.images[:1], labels[:1], loss=loss)
    there = run(small, one, labels[None, :1], digits.shape, iterations=1, lr=1e-9, start=part.images[0], **options)
    assert there.loss.item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("alphas", [(0.3, 0.3), (0.0, 2.0)])
def test_the_loss_is_the_sum_of_distance_and_roughness_of_the_image_beside_it(small, digits, alphas):
    """One weight for all, and one for each victim."""
    parts = digits[:2], digits[2:4]
    sent = [federated.gradient(small, part.images, part.labels) for part in parts]
    alpha = alphas[0] if alphas[0] == alphas[1] else torch.tensor(alphas)
    labels = torch.stack([part.labels for part in parts])
    found = run(small, sent, labels, digits.shape, alpha=alpha, restarts=2)
    for v in range(2):
        for r in range(2):
            expected = slow_loss(small, found.images[v, r], labels[v], sent[v], alphas[v])
            assert found.loss[v, r].item() == pytest.approx(expected, rel=1e-3, abs=1e-4)
    assert torch.equal(found.chosen, found.loss.argmin(1))


def test_images_stay_in_the_box_and_every_iteration_is_shown(small, digits):
    seen = []
    found = run(
        small,
        each(small, digits[:2]),
        digits.labels[:2, None],
        digits.shape,
        restarts=2,
        lr=5.0,
        watch=lambda iteration, images, losses: seen.append((iteration, images.clone(), losses.clone())),
    )
    assert [iteration for iteration, _, _ in seen] == list(range(13))
    assert all(images.min() >= 0 and images.max() <= 1 for _, images, _ in seen)
    assert seen[0][1].shape == (2, 2, 1, *digits.shape)
    assert torch.equal(seen[-1][1], found.images)
    assert torch.equal(seen[-1][2], found.loss)
    assert all((after[2] <= before[2]).all() for before, after in itertools.pairwise(seen))
    first = seen[0][1]
    assert first.mean().item() == pytest.approx(0.5, abs=0.02)
    assert first.std().item() == pytest.approx(12**-0.5, abs=0.02)


def begins(small, digits, **settings):
    seen = []
    found = run(
        small,
        federated.gradient(small, digits[:2].images, digits[:2].labels),
        digits.labels[None, :2],
        digits.shape,
        restarts=3,
        iterations=20,
        watch=lambda iteration, images, losses: seen.append(images.clone()),
        **settings,
    )
    return seen[0][0], found


def test_a_prior_image_is_where_the_first_restart_begins_and_the_others_are_near(small, digits):
    prior = data.load("digits").images.mean(0)
    first, _ = begins(small, digits, start=prior)
    assert torch.equal(first[0], prior.expand(2, *prior.shape))
    for other in first[1:]:
        inside = (prior > 0.3) & (prior < 0.7)
        away = (other - prior)[:, inside]
        assert away.std().item() == pytest.approx(0.1, rel=0.2)
        assert other.min() >= 0
        assert other.max() <= 1
    assert not torch.equal(first[1], first[2])
    assert not torch.equal(first[1, 0], first[1, 1])


def test_the_first_restart_of_every_victim_begins_at_the_prior(small, digits):
    seen, prior = [], data.load("digits").images.mean(0)
    run(
        small,
        each(small, digits[:2]),
        digits.labels[:2, None],
        digits.shape,
        restarts=2,
        iterations=1,
        start=prior,
        watch=lambda iteration, images, losses: seen.append(images.clone()),
    )
    for victim in range(2):
        assert torch.equal(seen[0][victim, 0, 0], prior)
        assert not torch.equal(seen[0][victim, 1, 0], prior)


def test_in_double_precision_the_prior_and_the_weights_of_the_variation_may_be_single(digits):
    from privlab import models

    model = models.lenet(digits.shape, 10, filters=(2, 2), fc=(), pool="stride", seed=0).double()
    sent = [federated.gradient(model, digits[:1].images.double(), digits.labels[:1])]
    how = {"shape": digits.shape, "restarts": 2, "iterations": 2, "start": digits[1:2].images[0]}
    found = run(model, sent, digits.labels[:1, None], alpha=torch.tensor([0.1]), **how)
    assert found.images.dtype == found.loss.dtype == torch.float64
    exact = run(model, sent, digits.labels[:1, None], alpha=torch.tensor([0.1]).double(), **how)
    assert torch.equal(found.images, exact.images)


def test_a_decoder_is_looked_through_and_its_codes_have_no_box(small, digits):
    """Codes of a linear map: the images lie in its span, and the codes go where they like."""
    everything = data.load("digits")
    mean, axes = everything.images.mean(0), torch.pca_lowrank(everything.images.flatten(1), 12)[2].T
    asked = []

    def decode(codes):
        asked.append(codes.detach().clone())
        return mean + (codes @ axes).view(-1, *mean.shape)

    first, found = begins(small, digits, start=torch.zeros(12), decode=decode, alpha=0.0, lr=0.5)
    torch.testing.assert_close(first[0], mean.expand(2, *mean.shape))
    assert min(codes.view(3, 2, 12)[0].min() for codes in asked) < -0.1  # of the one that begins at zero
    spread = asked[0].view(3, 2, 12)[1:]
    assert 0.6 < spread.std() < 1.4
    best = found.images[0, 0]
    assert best.min() >= 0
    assert best.max() <= 1
    unclamped = asked[-1].view(3, 2, 12)[0] @ axes
    away = (best - mean).flatten(1)
    inside = (best > 0).flatten(1) & (best < 1).flatten(1)
    torch.testing.assert_close(away[inside], unclamped[inside], rtol=1e-4, atol=1e-4)
    truth = digits[:2].images
    assert (best - truth).square().mean() < (mean - truth).square().mean()


def test_a_known_average_is_a_help(model, digits):
    part, prior = digits[:1], data.load("digits").images.mean(0)
    sent = federated.gradient(model, part.images, part.labels)
    losses = [
        run(model, sent, part.labels[None], digits.shape, iterations=15, start=start).loss.item()
        for start in (prior, None)
    ]
    assert losses[0] < losses[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"restarts": 0}, "restarts=0"),
        ({"iterations": 0}, "iterations=0"),
        ({"lr": 0.0}, "lr=0.0"),
        ({"alpha": -0.1}, "alpha=-0.1"),
        ({"alpha": float("nan")}, "alpha=nan"),
        ({"alpha": torch.ones(2)}, r"alpha is \(2,\); give one number, or one for each of 1"),
        ({"alpha": torch.ones(1, 1)}, r"alpha is \(1, 1\)"),
        ({"decode": lambda codes: codes}, "decode= needs start="),
        ({"shape": (1, 30, 28)}, "does not fit the model"),
        ({"labels": torch.tensor([1])}, r"labels are \(1,\); expected \(1, 1\)"),
        ({"labels": torch.tensor([[10]])}, "largest label=10"),
    ],
)
def test_what_does_not_fit_is_refused(small, digits, arguments, words):
    settings = {"labels": digits.labels[None, :1], "shape": digits.shape, **arguments}
    with pytest.raises(ValueError, match=words):
        inverting_gradients.reconstruct(small, each(small, digits[:1]), **settings)
