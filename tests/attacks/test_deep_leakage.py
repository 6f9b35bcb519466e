"""DLG: it shows a digit to the last pixel, and fails where it must."""

import pytest
import torch

from privlab import data, defences, models
from privlab.attacks import deep_leakage, label_inference
from privlab.attacks._lbfgs import Minima
from privlab.attacks.deep_leakage import FOUND, GREY, SPREADS, Coordinates
from privlab.defences import perturbation
from privlab.metrics import reconstruction
from privlab.sharing import federated


@pytest.fixture(scope="module")
def digits():
    return data.load("digits").sample(8, 0)


@pytest.fixture(scope="module")
def model(digits):
    return network(digits)


def network(digits, activation="sigmoid", init="framework", filters=(12, 12, 12)):
    return models.lenet(
        digits.shape, 10, filters=filters, fc=(), pool="stride", activation=activation, init=init, seed=0
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


def test_nearly_every_digit_is_found_through_the_network_of_dlgs_authors_by_the_defaults(digits):
    """With its weights at U(-0.5, 0.5), which other optimisers and other beginnings seldom see through."""
    model, part = network(digits, init="uniform:0.5"), digits[:3]
    found = deep_leakage.reconstruct(model, each(model, part), shape=digits.shape)
    seen = torch.tensor(psnr(found, part.images[:, None])) > 40
    right = seen & (found.best_labels()[:, 0] == part.labels)
    assert right.sum() >= 2


def test_a_digit_and_its_label_are_recovered_from_a_gradient_alone(model, digits):
    found = deep_leakage.reconstruct(model, each(model, digits[:2]), shape=digits.shape, restarts=2, iterations=200)
    assert min(psnr(found, digits[:2].images[:, None])) > 40
    assert torch.equal(found.best_labels()[:, 0], digits.labels[:2])
    assert found.images.shape == (2, 2, 1, *digits.shape)
    assert found.labels.shape == (2, 2, 1)
    assert found.loss.shape == found.iterations.shape == (2, 2)
    for victim in found.loss:  # the second beginning only where the first one failed
        assert (victim[0] < FOUND) == (victim[1] == torch.inf)


def test_known_labels_help_and_the_tolerance_ends_a_trial(model, digits):
    sent = each(model, digits[:2])
    labels = label_inference.labels(model, sent, shape=digits.shape)
    assert torch.equal(labels[:, 0], digits.labels[:2])
    found = deep_leakage.reconstruct(
        model, sent, shape=digits.shape, labels=labels, restarts=2, iterations=300, tolerance=1e-10, every=True
    )
    assert min(psnr(found, digits[:2].images[:, None])) > 35
    reached = found.loss < 1e-10
    assert reached.sum() >= 3
    assert torch.equal(reached, found.iterations <= 300)
    assert found.iterations[reached].median() < 200
    assert torch.equal(found.labels[:, :, 0], labels.expand(2, 2))


def test_the_loss_is_the_distance_of_the_image_that_it_stands_beside(digits):
    model, part = small(digits), digits[:2]
    sent = each(model, part)
    for prior in ("smooth", "none"):
        found = deep_leakage.reconstruct(
            model,
            sent,
            shape=digits.shape,
            labels=part.labels[:, None],
            restarts=2,
            iterations=8,
            prior=prior,
            every=True,
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


def test_mini_batches_of_four_are_found(digits):
    """Of two at least one, by two beginnings at most."""
    model = network(digits, filters=(16, 16))
    parts = [digits[:4], digits[4:]]
    sent = [federated.gradient(model, part.images, part.labels) for part in parts]
    found = deep_leakage.reconstruct(
        model,
        sent,
        shape=digits.shape,
        labels=torch.stack([part.labels for part in parts]),
        restarts=2,
        iterations=300,
    )
    assert max(psnr(found, torch.stack([part.images for part in parts]))) > 40


def test_more_pixels_than_the_gradient_has_numbers_stay_hidden(digits):
    """However closely the gradient is matched: of eight images there are 6272, and of weights fewer."""
    model = small(digits)
    assert sum(p.numel() for p in model.parameters()) < digits.images.numel() / 2
    sent = federated.gradient(model, digits.images, digits.labels)
    found = deep_leakage.reconstruct(
        model, sent, shape=digits.shape, labels=digits.labels[None], restarts=1, iterations=150
    )
    assert psnr(found, digits.images[None])[0] < 20


def test_a_network_of_relus_is_not_smooth_enough(digits):
    """Its gradient is not matched; and on pixels, as DLG has it, nothing shows."""
    model, part = network(digits, "relu"), digits[:1]
    options = {"shape": digits.shape, "labels": part.labels[:, None], "restarts": 1}
    found = deep_leakage.reconstruct(model, each(model, part), iterations=80, **options)
    assert found.loss.min() > 1e-3
    found = deep_leakage.reconstruct(model, each(model, part), iterations=30, prior="none", **options)
    assert found.loss.min() > 1e-2
    assert max(psnr(found, part.images[:, None])) < 20


class Listened:
    """Stands in for the optimiser: notes who begins where, and lets the trials end as they are told to."""

    def __init__(self, ends):
        self.ends, self.begun, self.victims = ends, [], []

    def __call__(self, function, start, *, iterations, tolerance, watch):
        self.begun.append(start.clone())
        self.victims.append(function.args[0].tolist())
        wave = len(self.begun) - 1
        counts, values = {}, []
        for victim in self.victims[-1]:
            counts[victim] = counts.get(victim, -1) + 1
            values.append(self.ends(victim, wave, counts[victim]))
        if watch:
            watch(1, start, torch.tensor(values))
        return Minima(start + 1, torch.tensor(values), torch.full((len(start),), 7.0))


def listen(monkeypatch, ends=lambda victim, wave, number: 1.0):
    listened = Listened(ends)
    monkeypatch.setattr(deep_leakage, "minimise", listened)
    return listened


def test_new_beginnings_are_tried_only_for_victims_that_are_not_yet_found(digits, monkeypatch):
    """The first is found at once, the second among the third and fourth restarts, the third one nearly."""
    model, shown = small(digits), []

    def ends(victim, wave, number):
        found = victim == 0 or (victim == 1 and wave == 2 and number == 1)
        return FOUND / 2 if found else 2 * FOUND if victim == 2 else torch.nan if number else 1.0

    listened = listen(monkeypatch, ends)
    found = deep_leakage.reconstruct(
        model,
        each(model, digits[:3]),
        shape=digits.shape,
        restarts=9,
        watch=lambda iteration, images, losses: shown.append((iteration, images, losses)),
    )
    assert listened.victims == [[0, 1, 2], [1, 2], [1, 1, 2, 2], [2] * 4, [2]]
    begun = torch.tensor([[True] + [False] * 8, [True] * 4 + [False] * 5, [True] * 9])
    assert torch.equal(found.loss.isfinite(), begun)
    assert (found.loss[~begun] == torch.inf).all()
    assert torch.equal(found.iterations.isfinite(), begun)
    assert found.chosen.tolist() == [0, 3, 0]
    assert [tuple(images.shape) for _, images, _ in shown] == [(3, 9, 1, *digits.shape)] * 5
    assert [losses.isfinite().sum().item() for _, _, losses in shown] == [3, 5, 9, 13, 14]


def test_the_beginnings_of_a_victim_do_not_depend_on_when_they_are_tried(digits, monkeypatch):
    model, sent = small(digits), each(small(digits), digits[:2])
    begun = {}
    for every in (False, True):
        listened = listen(monkeypatch)
        found = deep_leakage.reconstruct(model, sent, shape=digits.shape, restarts=5, every=every)
        assert len(listened.begun) == (1 if every else 4)
        assert found.loss.isfinite().all()
        begun[every] = found.images
    assert torch.equal(begun[True], begun[False])


@pytest.mark.parametrize("restarts", range(1, 20))
def test_one_one_two_four_restarts_are_begun_at_a_time(restarts):
    waves = deep_leakage._waves(restarts, False)
    assert [number for first, last in waves for number in range(first, last)] == list(range(restarts))
    sizes = [last - first for first, last in waves]
    assert sizes[:-1] == [1, 1, 2, 4, 8, 16][: len(sizes) - 1]
    assert 0 < sizes[-1] <= [1, 1, 2, 4, 8, 16][len(sizes) - 1]
    assert deep_leakage._waves(restarts, True) == [(0, restarts)]


def test_every_restart_is_followed_to_its_end_where_all_are_asked_for(model, digits):
    options = {"shape": digits.shape, "labels": digits.labels[:1, None], "restarts": 3, "iterations": 150}
    found = deep_leakage.reconstruct(model, each(model, digits[:1]), every=True, **options)
    assert found.loss.isfinite().all()
    assert (found.loss < FOUND).sum() >= 2


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
            model,
            gradients,
            shape=digits.shape,
            labels=labels,
            restarts=restarts,
            iterations=iterations,
            seed=seed,
            prior="none",
            every=True,
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


def test_trials_begin_at_a_normal_draw(digits, monkeypatch):
    """In pixels, as DLG has it; and each at its own."""
    model, listened = small(digits), listen(monkeypatch)
    deep_leakage.reconstruct(model, each(model, digits[:2]), shape=digits.shape, restarts=8, prior="none", every=True)
    begun = listened.begun[0]
    assert begun.shape == (16, 784 + 10)
    assert begun.std().item() == pytest.approx(1, abs=0.05)
    assert begun.mean().item() == pytest.approx(0, abs=0.05)
    assert torch.pdist(begun).min() > 30


def test_with_the_smooth_prior_they_begin_near_grey_and_further_away_in_turn(digits, monkeypatch):
    model, shown = small(digits), []
    listened = listen(monkeypatch)
    found = deep_leakage.reconstruct(
        model,
        each(model, digits[:2]),
        shape=digits.shape,
        restarts=5,
        every=True,
        watch=lambda iteration, images, losses: shown.append(images),
    )
    begun = listened.begun[0].view(2, 5, -1)
    spreads = [*SPREADS, SPREADS[0]]
    for restart, spread in enumerate(spreads):
        assert begun[:, restart].std().item() == pytest.approx(spread, rel=0.1)
        assert (shown[0][:, restart] - GREY).std().item() == pytest.approx(spread, rel=0.2)
        assert shown[0][:, restart].mean().item() == pytest.approx(GREY, abs=spread / 4)
    smooth = Coordinates(digits.shape, torch.empty(0))
    torch.testing.assert_close(shown[0], smooth.images(begun[..., :784].reshape(2, 5, 1, *digits.shape)))
    torch.testing.assert_close(found.images, smooth.images(begun[..., :784].reshape(2, 5, 1, *digits.shape) + 1))


def test_every_iteration_is_shown_and_lowers_the_losses(digits):
    seen = []
    model = small(digits)
    deep_leakage.reconstruct(
        model,
        each(model, digits[:2]),
        shape=digits.shape,
        restarts=3,
        iterations=3,
        every=True,
        watch=lambda iteration, images, losses: seen.append((iteration, images.clone(), losses.clone())),
    )
    assert [iteration for iteration, _, _ in seen] == [1, 2, 3]
    assert seen[0][1].shape == (2, 3, 1, *digits.shape)
    assert (seen[2][2] < seen[0][2]).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_trial_that_breaks_down_does_not_spoil_its_neighbours(digits, monkeypatch, value):
    model, part = small(digits), digits[:2]
    # few iterations: each multiplies what trials differ by for being computed beside others, in another order of sums
    settings = {"shape": digits.shape, "labels": part.labels[:, None], "restarts": 2, "iterations": 4, "every": True}
    sound = deep_leakage.reconstruct(model, each(model, part), **settings)
    starts = deep_leakage._Problem.starts

    def broken(*arguments):
        points = starts(*arguments)
        points[1, 5] = value
        return points

    monkeypatch.setattr(deep_leakage._Problem, "starts", broken)
    found = deep_leakage.reconstruct(model, each(model, part), **settings)
    assert found.loss[0, 1] == float("inf")
    assert found.chosen[0] == 0
    for place in ((0, 0), (1, 0), (1, 1)):
        torch.testing.assert_close(found.images[place], sound.images[place], rtol=0, atol=0.02)


@pytest.mark.parametrize("loss", [federated.cross_entropy, federated.binary_cross_entropy])
def test_unknown_labels_are_optimised_as_probabilities(digits, monkeypatch, loss):
    """Of classes, which add up to one; or of decisions, each for itself."""
    seen, call = [], deep_leakage.Matcher.__call__

    def follow(matcher, images, labels, victim):
        seen.append(labels.detach())
        return call(matcher, images, labels, victim)

    monkeypatch.setattr(deep_leakage.Matcher, "__call__", follow)
    model, labels = small(digits), digits.labels[:2]
    if loss is not federated.cross_entropy:
        labels = torch.nn.functional.one_hot(labels, 10).float()
    sent = federated.gradient(model, digits[:2].images, labels, loss=loss)
    found = deep_leakage.reconstruct(
        model, sent, shape=digits.shape, restarts=3, iterations=3, loss=loss, prior="none", every=True
    )
    assert seen[0].shape == (3, 2, 10)
    assert all(labels.min() > 0 and labels.max() < 1 for labels in seen)
    sums = torch.cat([labels.sum(2) for labels in seen])
    assert ((sums - 1).abs() < 1e-5).all() == (loss is federated.cross_entropy)
    assert (seen[0] - seen[-1]).abs().max() > 1e-3
    assert found.labels.shape == ((1, 3, 2) if loss is federated.cross_entropy else (1, 3, 2, 10))


def test_unknown_labels_under_a_loss_of_ones_own_are_refused(digits):
    model, loss = small(digits), torch.nn.functional.multi_margin_loss
    sent = federated.gradient(model, digits[:1].images, digits.labels[:1], loss=loss)
    with pytest.raises(ValueError, match=r"unknown labels can be optimised under cross_entropy and .*; give labels="):
        deep_leakage.reconstruct(model, sent, shape=digits.shape, loss=loss)


def test_the_class_of_one_logit_cannot_be_optimised_under_cross_entropy():
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 1))
    sent = federated.gradient(model, torch.rand(1, 1, 2, 2), torch.tensor([1]), loss=federated.binary_cross_entropy)
    with pytest.raises(ValueError, match="cross_entropy of one logit is always 0; give the client's own"):
        deep_leakage.reconstruct(model, sent, shape=(1, 2, 2))


def test_labels_that_a_loss_of_ones_own_does_not_take_are_refused(digits):
    def loss(logits, labels):
        return (logits - labels).square().mean()

    model = small(digits)
    sent = federated.gradient(model, digits[:1].images, torch.zeros(1, 10), loss=loss)
    with pytest.raises(ValueError, match=r"the loss takes no labels \(1, 3\) in torch.float32 for logits \(1, 10\)"):
        deep_leakage.reconstruct(model, sent, labels=torch.zeros(1, 1, 3), shape=digits.shape, loss=loss)


def smoothed(labels):
    return 0.7 * torch.nn.functional.one_hot(labels, 10) + 0.03


def decisions(labels):
    """Several an image: its own class, and the next one."""
    return torch.nn.functional.one_hot(labels, 10).float() + torch.nn.functional.one_hot((labels + 1) % 10, 10).float()


def distance_to_one_hot(logits, labels):
    return (logits.softmax(1) - torch.nn.functional.one_hot(labels, 10)).square().mean()


@pytest.mark.parametrize(
    ("make", "loss", "known"),
    [
        (smoothed, federated.cross_entropy, True),
        (decisions, federated.binary_cross_entropy, True),
        (decisions, federated.binary_cross_entropy, False),
        (lambda labels: labels, distance_to_one_hot, True),
    ],
    ids=["soft labels", "decisions", "unknown decisions", "a loss of one's own"],
)
def test_images_are_recovered_under_other_labels_and_losses(model, digits, make, loss, known):
    part = digits[:2]
    labels = make(part.labels)
    sent = [federated.gradient(model, part.images[i : i + 1], labels[i : i + 1], loss=loss) for i in range(2)]
    found = deep_leakage.reconstruct(
        model,
        sent,
        shape=digits.shape,
        labels=labels[:, None] if known else None,
        loss=loss,
        restarts=2,
        iterations=150,
    )
    assert max(psnr(found, part.images[:, None])) > 35
    expected = labels if loss is not federated.cross_entropy else part.labels
    best = found.best_labels()[:, 0]
    assert torch.equal(best, expected.long()) if known else (best == expected).float().mean() > 0.8


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
        ({"shape": (1, 30, 28)}, r"shape=\(1, 30, 28\) does not fit the model in float32"),
        ({"labels": torch.tensor([[1, 2]])}, r"labels are \(1, 2\); expected \(1, 1\)"),
        ({"labels": torch.tensor([[10]])}, "largest label=10"),
        ({"labels": torch.rand(1, 1, 9)}, r"labels are \(1, 9\), and the model has 10 logits"),
        ({"prior": "rough"}, "prior='rough'"),
        ({"clip": 0.0}, "clip=0"),
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


def test_an_adversary_who_knows_the_bound_reads_a_clipped_gradient(model, digits):
    """Clipping alone shortens a gradient; only who takes the clipped length for the true one is stopped."""
    part = digits[:2]
    whole = each(model, part)
    bound = min(perturbation.norm(gradient) for gradient in whole) / 3
    short = [perturbation.clip(gradient, bound) for gradient in whole]
    options = {"shape": digits.shape, "labels": part.labels[:, None], "restarts": 2, "iterations": 150}
    naive = deep_leakage.reconstruct(model, short, **options)
    knowing = deep_leakage.reconstruct(model, short, clip=bound, **options)
    assert max(psnr(naive, part.images[:, None])) < 20
    assert max(psnr(knowing, part.images[:, None])) > 30
