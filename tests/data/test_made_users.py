"""Users made out of a data set: as much apart in hand and in likes as one says, or an error in words."""

import math

import numpy as np
import pytest
import torch

from privlab import data
from privlab.data import users as made


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


def slant(images):
    """The shear that stands an image upright: the slope of its ink's columns over its rows."""
    rows, columns = (torch.arange(float(n)) for n in images.shape[-2:])
    ink = images[:, 0] / images.sum((1, 2, 3))[:, None, None].clamp_min(1e-6)
    middle = [(ink.sum(2) * rows).sum(1), (ink.sum(1) * columns).sum(1)]
    off = [rows - middle[0][:, None], columns - middle[1][:, None]]
    both = (ink * off[0][:, :, None] * off[1][:, None, :]).sum((1, 2))
    return both / (ink.sum(2) * off[0] ** 2).sum(1)


def spread(values, owner, users):
    """The standard deviation of users' means, and the mean of those within a user."""
    groups = [values[owner == user] for user in range(users)]
    return torch.stack([group.mean() for group in groups]).std().item(), np.mean([g.std().item() for g in groups])


def test_each_user_has_so_many_images_with_their_labels(digits):
    found = data.made_users(digits, 7, 12, seed=100)
    assert found.users.tolist() == [user for user in range(7) for _ in range(12)]
    assert found.pixels.shape == (84, *digits.shape)
    assert found.pixels.dtype == torch.uint8
    assert (found.name, found.classes, found.checksum) == (digits.name, digits.classes, digits.checksum)
    assert found.sessions is None
    assert found.times is None


@pytest.mark.parametrize("preference", [math.inf, 0.5])
def test_without_strength_pixels_are_the_sources_and_no_user_has_one_twice(digits, preference):
    assert len(digits.pixels.unique(dim=0)) == len(digits)
    found = data.made_users(digits, 5, 60, strength=0.0, preference=preference, seed=100)
    known = {image.numpy().tobytes(): int(label) for image, label in zip(digits.pixels, digits.labels, strict=True)}
    shown = [image.numpy().tobytes() for image in found.pixels]
    assert [known[each] for each in shown] == found.labels.tolist()
    for user in range(5):
        assert len(set(shown[60 * user : 60 * user + 60])) == 60


def test_all_images_of_the_source_are_each_users(digits):
    few = digits[:40]
    found = data.made_users(few, 3, 40, strength=0.0, seed=100)
    for user in range(3):
        own = found.pixels[40 * user : 40 * user + 40].flatten(1)
        assert torch.equal(own.unique(dim=0), few.pixels.flatten(1).unique(dim=0))


def test_hands_differ_more_between_users_than_within_and_with_strength(digits):
    between = {}
    for strength in (0.0, 1.0, 2.0):
        found = data.made_users(digits, 30, 40, strength=strength, seed=100)
        for name, values in {
            "slant": slant(found.images),
            "ink": found.images.mean((1, 2, 3)),
            "contrast": found.images.pow(2).sum((1, 2, 3)) / found.images.sum((1, 2, 3)),
        }.items():
            between[name, strength] = spread(values, found.users, 30)
    for name in ("slant", "ink", "contrast"):
        chance = between[name, 0.0][1] / 40**0.5  # of means of forty images of everyone
        assert between[name, 0.0][0] < 1.5 * chance
        assert between[name, 1.0][0] > 2 * chance
        assert between[name, 2.0][0] > between[name, 1.0][0]
    assert between["slant", 2.0][0] > between["slant", 2.0][1]


def test_a_hand_is_slant_width_contrast_and_size():
    """One at a time, on a bar in the middle of an image."""
    bar = torch.zeros(1, 1, 21, 21)
    bar[:, :, 4:17, 9:12] = 0.6

    def written(**hand):
        return made._written(bar, torch.tensor([[hand.get(n, 0.0) for n in ("slant", "width", "contrast", "size")]]))

    assert torch.allclose(written(), bar, atol=1e-5)
    assert slant(written(slant=1.0)).item() == pytest.approx(-slant(written(slant=-1.0)).item(), abs=1e-3)
    assert abs(slant(written(slant=1.0)).item()) == pytest.approx(made._SLANT, rel=0.1)
    ink = {
        name: written(**{name: value}).sum().item()
        for name, value in (("width", 1.0), ("contrast", 1.0), ("size", 1.0))
    }
    assert written(width=1.0).sum() > 1.4 * bar.sum() > bar.sum() > 1.4 * written(width=-1.0).sum()
    assert written(contrast=1.0).max().item() == pytest.approx(0.6 ** math.exp(made._CONTRAST), abs=1e-5)
    assert ink["size"] == pytest.approx(bar.sum().item() * math.exp(-2 * made._SIZE), rel=0.1)
    for hand in ({"slant": 9.0}, {"width": 9.0}, {"contrast": -9.0}, {"size": 9.0}):
        assert 0 <= written(**hand).min() <= written(**hand).max() <= 1


def test_likes_skew_the_labels(digits):
    """The largest share of a class: a tenth and a little of ten alike, far more with strong likes."""

    def largest(preference):
        found = data.made_users(digits, 40, 50, strength=0.0, preference=preference, seed=100)
        counts = torch.nn.functional.one_hot(found.labels, 10).view(40, 50, 10).sum(1)
        return (counts.amax(1) / 50).mean().item(), (counts.sum(0) / 2000)

    shares = [largest(preference)[0] for preference in (math.inf, 10.0, 1.0, 0.1)]
    assert shares == sorted(shares)
    assert shares[0] < 0.22
    assert shares[3] > 0.6
    assert largest(1.0)[1].min() > 0.04  # no class is lost over all users


def test_likes_are_the_dirichlet_distributions(digits):
    """Its first two moments: shares of 1/10 with variance .1 x .9 / (10 a + 1), and that of drawing 50 of them."""
    users, images, a = 300, 20, 1.0
    found = data.made_users(digits, users, images, strength=0.0, preference=a, seed=100)
    shares = torch.nn.functional.one_hot(found.labels, 10).view(users, images, 10).double().mean(1)
    inner = 0.1 * 0.9 / (10 * a + 1)
    variance = inner + (0.1 * 0.9 - inner) / images
    assert shares.mean(0).tolist() == pytest.approx([0.1] * 10, abs=4 * (variance / users) ** 0.5)
    assert shares.var(0).mean().item() == pytest.approx(variance, rel=0.15)


def test_extreme_likes_are_one_class(digits):
    found = data.made_users(digits, 10, 20, strength=0.0, preference=1e-3, seed=100)
    counts = torch.nn.functional.one_hot(found.labels, 10).view(10, 20, 10).sum(1)
    assert (counts.amax(1) == 20).float().mean() > 0.8


def test_the_seed_alone_decides(digits):
    state = torch.get_rng_state()
    one, same, other = (data.made_users(digits, 3, 5, preference=1.0, seed=seed) for seed in (100, 100, 101))
    assert torch.equal(one.pixels, same.pixels)
    assert torch.equal(one.labels, same.labels)
    assert not torch.equal(one.pixels, other.pixels)
    assert torch.equal(state, torch.get_rng_state())


def test_colour_images_keep_their_channels():
    patches = data.load("patches")[:50]
    found = data.made_users(patches, 2, 10, seed=100)
    assert found.images.shape == (20, *patches.shape)
    assert found.images.std() > 0.1


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"users": 0}, ValueError, "users=0"),
        ({"users": 2.0}, TypeError, r"users=2\.0 is a float"),
        ({"images": 0}, ValueError, "images=0"),
        ({"images": 61}, ValueError, "images=61 is out of range; give a whole number from 1 to 60"),
        ({"strength": -1.0}, ValueError, r"strength=-1\.0"),
        ({"strength": math.nan}, ValueError, "strength=nan"),
        ({"strength": math.inf}, ValueError, "strength=inf"),
        ({"preference": 0.0}, ValueError, r"preference=0\.0"),
        ({"preference": 1e-6}, ValueError, "preference=1e-06 is out of range"),
        ({"preference": -math.inf}, ValueError, "preference=-inf"),
        ({"preference": math.nan}, ValueError, "preference=nan"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(digits, changes, error, words):
    with pytest.raises(error, match=words):
        data.made_users(digits[:60], **{"users": 2, "images": 5, **changes})


def test_sets_that_are_no_images_with_one_label_are_refused_in_words(digits):
    beats = data.Signals("b", "train", torch.rand(9, 1, 20), torch.arange(9) % 2, ("a", "b"), "", "")
    with pytest.raises(TypeError, match="source is a Signals; give a Dataset, of images"):
        data.made_users(beats, 2, 5)
    several = data.Dataset("s", "train", digits.pixels[:9], torch.ones(9, 3).long(), tuple("abc"), "", "")
    with pytest.raises(ValueError, match=r"labels are \(9, 3\); likes take one label an image"):
        data.made_users(several, 2, 5, preference=1.0)
    assert data.made_users(several, 2, 5).labels.shape == (10, 3)
