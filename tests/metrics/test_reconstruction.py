import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from privlab import data
from privlab.metrics import reconstruction


@settings(max_examples=25, deadline=None)
@given(
    lead=st.lists(st.integers(1, 3), max_size=2),
    shape=st.tuples(st.integers(1, 3), st.integers(2, 9), st.integers(2, 9)),
    seed=st.integers(0, 999),
    double=st.booleans(),
)
def test_psnr_is_that_of_scikit_image(lead, shape, seed, double):
    random = torch.Generator().manual_seed(seed)
    dtype = torch.float64 if double else torch.float32
    one, other = (torch.rand(*lead, *shape, generator=random, dtype=dtype) for _ in range(2))
    found = reconstruction.psnr(one, other)
    assert found.shape == tuple(lead)
    pairs = zip(one.view(-1, *shape), other.view(-1, *shape), strict=True)
    slow = [peak_signal_noise_ratio(b.numpy(), a.numpy(), data_range=1) for a, b in pairs]
    np.testing.assert_allclose(found.flatten().numpy(), slow, rtol=1e-4)


def test_equal_images_have_an_infinite_psnr_and_an_error_of_a_tenth_has_20_db():
    images = torch.full((2, 1, 3, 3), 0.5)
    found = reconstruction.psnr(images, images + torch.tensor([0.0, 0.1])[:, None, None, None])
    assert found[0] == float("inf")
    assert found[1].item() == pytest.approx(20, abs=1e-4)


def slow_identify(guesses, gallery):
    """The largest Pearson correlation, pair by pair."""
    found = []
    for guess in guesses.flatten(1).double().numpy():
        values = [np.corrcoef(guess, image)[0, 1] for image in gallery.flatten(1).double().numpy()]
        found.append(int(np.argmax(values)) if guess.std() > 1e-9 else -1)
    return torch.tensor(found)


@pytest.mark.parametrize("name", ["digits", "patches"])
@pytest.mark.parametrize("noise", [0.05, 1.0])
def test_a_guess_is_taken_for_the_image_that_correlates_most(name, noise, seeded):
    gallery = data.load(name).sample(60, 0).images
    guesses = gallery[:15] + noise * torch.randn(gallery[:15].shape, generator=seeded)
    assert torch.equal(reconstruction.identify(guesses, gallery), slow_identify(guesses, gallery))


def test_a_guess_is_recognised_whatever_its_brightness_and_contrast():
    gallery = data.load("patches").sample(100, 0).images
    for contrast, brightness in ((0.01, 0.6), (0.5, 0.0), (3.0, -1.0)):
        found = reconstruction.identify(gallery[:30] * contrast + brightness, gallery)
        assert torch.equal(found, torch.arange(30))
    negatives = reconstruction.identify(1 - gallery[:30], gallery)
    assert not (negatives == torch.arange(30)).any()


def test_a_guess_with_no_contrast_is_nobody():
    gallery = data.load("digits").sample(10, 0).images
    flat = torch.stack([torch.full((1, 28, 28), grey) for grey in (0.0, 0.3, 1.0)])
    assert reconstruction.identify(torch.cat([flat, gallery[4:5]]), gallery).tolist() == [-1, -1, -1, 4]


def test_few_or_no_images_to_compare_with_are_no_error():
    images = torch.rand(3, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert reconstruction.identify(images[:0], images).tolist() == []
    assert reconstruction.score(images, images, images[:0]).identified == 1


def test_score_by_hand():
    images = torch.zeros(2, 1, 2, 2)
    images[0, 0, 0], images[1, 0, :, 0] = 1, 1
    decoys = torch.eye(2)[None, None]
    halves = 0.5 + 0.4 * (images[:1] - 0.5) / 0.5  # pale: 0.9 and 0.1
    score = reconstruction.score(torch.cat([halves, decoys, halves]), images, decoys)
    assert score.identified == 0.5  # two guesses at one image, one at a decoy
    # image 0: 20 dB from its guess; image 1: two of four pixels of the decoy are wrong, 3 dB
    to_other = -10 * np.log10(0.5)
    best = max(to_other, -10 * np.log10((2 * 0.01 + 2 * 0.81) / 4))
    assert score.psnr == pytest.approx((20 + best) / 2, abs=1e-4)


def test_the_best_guess_for_each_image_counts_and_a_perfect_one_counts_as_100_db(seeded):
    images, decoys = torch.rand(2, 20, 1, 6, 6, generator=seeded)
    bad = torch.rand(7, 1, 6, 6, generator=seeded)
    assert reconstruction.score(images, images, decoys) == reconstruction.ReconstructionScore(100.0, 1.0)
    more = reconstruction.score(torch.cat([bad, images]), images, decoys)
    assert more == reconstruction.ReconstructionScore(100.0, 1.0)
    few = reconstruction.score(images[:5], images, decoys)
    assert few.identified == 0.25
    assert 25 < few.psnr < 60  # five of twenty at 100 dB


def test_b_random_guesses_identify_about_b_of_all():
    """As many guesses as images: each image is hit with a chance of about B / (B + D)."""
    batch, others, shares = 20, 180, []
    for seed in range(60):
        random = torch.Generator().manual_seed(seed)
        images, decoys, guesses = (torch.randn(n, 1, 5, 5, generator=random) for n in (batch, others, batch))
        shares.append(reconstruction.score(guesses, images, decoys).identified)
    expected = batch / (batch + others)
    error = np.sqrt(expected / batch / len(shares))
    assert np.mean(shares) == pytest.approx(expected, abs=4 * error)


def test_images_of_different_sizes_are_refused():
    with pytest.raises(ValueError, match=r"guesses are \(1, 4, 4\) each and the gallery \(1, 5, 5\)"):
        reconstruction.identify(torch.rand(2, 1, 4, 4), torch.rand(2, 1, 5, 5))
    with pytest.raises(ValueError, match="guesses are"):
        reconstruction.score(torch.rand(2, 1, 4, 4), torch.rand(2, 1, 5, 5), torch.rand(2, 1, 5, 5))


def test_who_makes_no_guess_has_guessed_grey():
    images, decoys = torch.rand(3, 1, 8, 8), torch.rand(5, 1, 8, 8)
    nothing = reconstruction.score(torch.empty(0, 1, 8, 8), images, decoys)
    assert nothing == reconstruction.score(torch.full((1, 1, 8, 8), 0.5), images, decoys)
    assert nothing.identified == 0


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
@pytest.mark.parametrize("shape", [(1, 7, 9), (3, 12, 8)])
def test_ssim_and_mse_are_those_of_scikit_image(lead, shape, seeded):
    images = torch.rand(*lead, *shape, generator=seeded)
    guesses = (images + 0.2 * torch.randn(images.shape, generator=seeded)).clamp(0, 1)
    pairs = [(a.numpy(), b.numpy()) for a, b in zip(guesses.view(-1, *shape), images.view(-1, *shape), strict=True)]
    similar, wrong = reconstruction.ssim(guesses, images), reconstruction.mse(guesses, images)
    assert similar.shape == wrong.shape == lead
    # channel by channel, as scikit-image does it for colour
    slow = [np.mean([structural_similarity(x, y, data_range=1.0) for x, y in zip(a, b, strict=True)]) for a, b in pairs]
    np.testing.assert_allclose(similar.flatten().numpy(), slow, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(wrong.flatten().numpy(), [mean_squared_error(a, b) for a, b in pairs], rtol=1e-4)
    torch.testing.assert_close(-10 * wrong.log10(), reconstruction.psnr(guesses, images), rtol=1e-4, atol=1e-4)


def test_one_image_is_held_against_every_guess(seeded):
    image = data.load("digits")[:1].images[0]
    guesses = torch.stack([image, 1 - image, torch.rand(image.shape, generator=seeded)])
    found = reconstruction.ssim(guesses, image)
    assert found[0].item() == pytest.approx(1)
    assert found[1] < 0
    assert abs(found[2]) < 0.3
    torch.testing.assert_close(
        reconstruction.mse(guesses, image)[:2], torch.stack([0 * image.mean(), ((1 - 2 * image) ** 2).mean()])
    )


def test_images_smaller_than_the_window_of_ssim_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 9, 6\); SSIM looks through a window of 7 x 7"):
        reconstruction.ssim(torch.rand(1, 9, 6), torch.rand(1, 9, 6))


def test_a_shuffled_mini_batch_is_put_back_in_order(seeded):
    images = data.load("digits").sample(20, 0).images
    order = torch.randperm(20, generator=seeded)
    guesses = (images + 0.1 * torch.randn(images.shape, generator=seeded))[order]
    chosen = reconstruction.match(guesses, images)
    assert torch.equal(chosen, order.argsort())
    assert torch.equal(order[chosen], torch.arange(20))


def test_the_matching_is_the_best_of_all_permutations_and_not_the_greedy_one(seeded):
    for _ in range(30):
        guesses, images = torch.rand(2, 5, 1, 3, 3, generator=seeded)
        chosen = reconstruction.match(guesses, images)
        every = {p: (guesses[list(p)] - images).square().sum().item() for p in itertools.permutations(range(5))}
        assert tuple(chosen.tolist()) == min(every, key=every.get)
    guesses, images = torch.tensor([0.5, 0.9]).view(2, 1, 1, 1), torch.tensor([0.6, 0.0]).view(2, 1, 1, 1)
    # the first image would take the first guess, which leaves 0.9 for the black one
    assert reconstruction.match(guesses, images).tolist() == [1, 0]


def test_as_many_guesses_as_images_are_matched():
    with pytest.raises(ValueError, match=r"guesses are \(2, 1, 4, 4\) and images \(3, 1, 4, 4\); give as many"):
        reconstruction.match(torch.rand(2, 1, 4, 4), torch.rand(3, 1, 4, 4))
