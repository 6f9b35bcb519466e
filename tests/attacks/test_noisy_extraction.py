"""Noisy extraction: what two adversaries read out of a gradient that the client has made noisy."""

import functools
import itertools

import numpy as np
import pytest
import torch

from privlab import data, defences, models
from privlab.attacks import gradient_extraction, noisy_extraction, trap_weights
from privlab.metrics import reconstruction
from privlab.sharing.federated import Gradient, gradient

BATCH, GALLERY = 20, 1000
both = pytest.mark.parametrize("adversary", noisy_extraction.ADVERSARIES)


def answer(part, s, *, seed=0, sigma=0.5, widths=(1000,)):
    model = models.fully_connected(part.shape, len(part.classes), widths=widths, seed=seed)
    return gradient(trap_weights.plant(model, s, sigma=sigma, seed=seed), part.images, part.labels)


def made(weight, bias, examples=20):
    return Gradient({"fc1.weight": weight, "fc1.bias": bias}, examples)


def grid(images):
    return {bytes((image * 255).round().byte().numpy()) for image in images}


@both
@pytest.mark.parametrize(("name", "s"), [("digits", 0.9), ("patches", 0.95)])
def test_without_noise_both_adversaries_read_what_gradient_extraction_reads(adversary, name, s):
    for seed in range(3):
        part = data.load(name).sample(BATCH, seed)
        sent = answer(part, s, seed=seed)
        exact = gradient_extraction.extract(sent, shape=part.shape).images
        guess = noisy_extraction.reconstruct(sent, std=0, shape=part.shape, adversary=adversary)
        assert len(exact) >= 10
        assert len(guess.images) == BATCH
        assert grid(exact) <= grid(guess.images)
        assert grid(guess.images) & grid(part.images) == grid(exact) & grid(part.images)


@both
def test_no_more_images_are_guessed_than_asked_for_and_at_most_those_there(adversary):
    part = data.load("digits").sample(BATCH, 0)
    sent = defences.gaussian(answer(part, 0.9), 1e-4)
    read = functools.partial(noisy_extraction.reconstruct, sent, std=1e-4, shape=part.shape, adversary=adversary)
    assert len(read().images) == BATCH
    few = read(guesses=3)
    assert few.images.shape == (3, *part.shape)
    assert len(few.rows) == len(few.noise) == 3
    torch.testing.assert_close(few.images, read().images[:3])
    assert len(read(guesses=5000).images) <= 1000
    nothing = made(torch.zeros(9, 784), torch.zeros(9))
    empty = noisy_extraction.reconstruct(nothing, std=0, shape=part.shape, adversary=adversary)
    assert empty.images.shape == (0, *part.shape)


def synthetic(std, seed, sizes=(6, 4, 3, 2, 2), mixtures=10, noise=8, length=300):
    """Rows in random order: some groups of multiples of an image, of either sign, mixtures of two, and noise."""
    random = torch.Generator().manual_seed(seed)
    images = torch.cat([torch.rand(len(sizes), length, generator=random), torch.ones(len(sizes), 1)], 1).double()
    rows, owner = [], []
    for number, size in enumerate(sizes):
        strength = 0.3 + torch.rand(size, 1, generator=random).double()
        sign = 1 - 2 * torch.randint(2, (size, 1), generator=random)
        rows.append(strength * sign * images[number])
        owner += [number] * size
    for one, other in list(itertools.combinations(range(len(sizes)), 2))[:mixtures]:  # each pair once
        share = 0.2 + 0.6 * torch.rand(1, generator=random).double()
        rows.append((share * images[one] + (1 - share) * images[other])[None])
    rows.append(torch.zeros(noise, length + 1).double())
    rows, owner = torch.cat(rows), torch.tensor(owner + [-1] * (mixtures + noise))
    rows += std * torch.randn(rows.shape, generator=random).double()
    order = torch.randperm(len(rows), generator=random)
    return rows[order], owner[order], images


@pytest.mark.parametrize("std", [0, 1e-4, 1e-2])
@pytest.mark.parametrize("seed", range(4))
def test_rows_of_one_image_are_found_and_nothing_else_large_groups_first(std, seed):
    rows, owner, _ = synthetic(std, seed)
    found = noisy_extraction.same_image(rows, std)
    assert [len(group) for group in found] == [6, 4, 3, 2, 2]
    wanted = {tuple((owner == number).nonzero().flatten().tolist()) for number in range(5)}
    assert {tuple(group.tolist()) for group in found} == wanted


def test_many_weak_rows_do_not_hide_a_few_strong_ones(seeded):
    """A weak row is like any other, within the noise: by their number alone the weak ones would lead."""
    std, length = 0.01, 300
    images = torch.cat([torch.rand(3, length, generator=seeded), torch.ones(3, 1)], 1).double()
    strong = torch.linspace(0.5, 1, 3).double()[:, None]
    others = torch.cat([torch.rand(60, length, generator=seeded), torch.ones(60, 1)], 1).double()
    limit = std * (length + 4 * (2 * length) ** 0.5) ** 0.5
    weak = 1.5 * limit * others / others.norm(dim=1, keepdim=True)
    rows = torch.cat([strong * images[0], strong * images[1], strong * images[2], weak])
    rows += std * torch.randn(rows.shape, generator=seeded).double()
    found = [{row for row in group.tolist() if row < 9} for group in noisy_extraction.same_image(rows, std)]
    assert sorted(map(sorted, filter(None, found))) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]


def test_noise_alone_is_no_image(seeded):
    assert noisy_extraction.same_image(0.3 * torch.randn(200, 101, generator=seeded).double(), 0.3) == []


def test_what_noise_of_the_stated_size_would_not_do_keeps_rows_apart():
    rows, _, _ = synthetic(1e-2, 0)
    assert sum(map(len, noisy_extraction.same_image(rows, 1e-4))) == 0
    assert sum(map(len, noisy_extraction.same_image(rows, 3e-2))) >= 15


@pytest.mark.parametrize("copies", [4, 16, 64])
def test_combining_k_rows_divides_the_error_by_the_root_of_k(copies, seeded):
    """Images of medium grey, so that nothing is clamped, and rows of equal strength."""
    errors, expected = {}, {}
    for _ in range(30):
        image = 0.3 + 0.4 * torch.rand(400, generator=seeded)
        clean = torch.cat([image, torch.ones(1)]).expand(copies, -1)
        rows = clean + 0.02 * torch.randn(copies, 401, generator=seeded)
        read = functools.partial(noisy_extraction.reconstruct, made(rows[:, :-1], rows[:, -1]), std=0.02)
        for adversary, used in (("single_row", 1), ("combined", copies)):
            guess = read(shape=(400,), adversary=adversary, guesses=1, levels=None)
            assert len(guess.rows[0]) == used
            errors.setdefault(adversary, []).append((guess.images[0] - image).square().mean().item())
            expected.setdefault(adversary, []).append(guess.noise[0].item() ** 2)
    alone, together = (np.mean(errors[adversary]) ** 0.5 for adversary in ("single_row", "combined"))
    assert alone / together == pytest.approx(copies**0.5, rel=0.15)
    for adversary, found in (("single_row", alone), ("combined", together)):
        # the bias is noisy too, which `noise` leaves out: a mean square pixel of 0.26 adds an eighth
        assert found == pytest.approx(np.mean(expected[adversary]) ** 0.5 * 1.26**0.5, rel=0.15)


def test_a_groups_image_is_the_total_least_squares_solution_drawn_towards_grey():
    std = 0.05
    rows, owner, _ = synthetic(std, 1, sizes=(5, 3), mixtures=0, noise=0, length=500)
    sent = made(rows[:, :-1], rows[:, -1])
    guess = noisy_extraction.reconstruct(sent, std=std, shape=(500,), guesses=2, levels=None)
    for number in range(2):
        mine = (owner == number).nonzero().flatten()
        assert torch.equal(guess.rows[number], mine)
        line = np.linalg.svd(rows[mine].numpy())[2][0]
        signal = np.square(rows[mine, -1].numpy()).sum() - len(mine) * std**2  # less what noise adds to it
        noise = std / np.sqrt(signal)
        trust = (1 / 12) / (1 / 12 + noise**2)  # the Wiener filter for pixels uniform in [0, 1]
        expected = np.clip(0.5 + trust * (line[:-1] / line[-1] - 0.5), 0, 1)
        np.testing.assert_allclose(guess.images[number].numpy(), expected, atol=1e-9)
        assert guess.noise[number].item() == pytest.approx(noise)
        assert trust < 0.999


@both
def test_an_adversary_told_of_enormous_noise_answers_grey(adversary):
    part = data.load("digits").sample(BATCH, 0)
    sent = answer(part, 0.9)
    distances = []
    for std in (0, 1e-3, 1e-1, 1e3):
        guess = noisy_extraction.reconstruct(sent, std=std, shape=part.shape, adversary=adversary, levels=None)
        distances.append((guess.images - 0.5).abs().max().item())
    assert distances == sorted(distances, reverse=True)
    assert distances[0] == pytest.approx(0.5, abs=1e-6)
    assert distances[-1] < 1e-3


@both
@pytest.mark.parametrize("examples", [1, 20])
def test_an_adversary_who_hears_noise_alone_says_nearly_grey(adversary, examples, seeded):
    sent = Gradient(
        {"fc1.weight": torch.randn(500, 784, generator=seeded), "fc1.bias": torch.randn(500, generator=seeded)},
        examples,
    )
    guess = noisy_extraction.reconstruct(sent, std=1.0, shape=(784,), adversary=adversary)
    assert all(len(rows) == 1 for rows in guess.rows)
    assert (guess.images - 0.5).square().mean().sqrt() < 0.15


def test_of_a_single_image_every_row_is_used(seeded):
    part = data.load("patches").sample(1, 0)
    sent = defences.gaussian(answer(part, 0.98, widths=(300,)), 0.02)
    guess, alone = (
        noisy_extraction.reconstruct(sent, std=0.02, shape=part.shape, adversary=adversary)
        for adversary in ("combined", "single_row")
    )
    assert len(guess.images) == len(alone.images) == 1
    assert len(guess.rows[0]) == 300
    two = Gradient(sent.tensors, 2)
    assert len(noisy_extraction.reconstruct(two, std=0.02, shape=part.shape).rows[0]) < 300  # weak ones are left out
    quality = [reconstruction.psnr(g.images, part.images).item() for g in (guess, alone)]
    assert quality[0] > quality[1] + 3


def test_single_rows_that_can_be_an_image_come_first_and_then_the_strongest():
    image = torch.full((4, 50), 0.5)
    image[1, 3], image[3, 7] = 1.7, -0.4  # a mixture with a negative share
    strength = torch.tensor([0.5, 3.0, 1.0, 2.0])
    sent = made(image * strength[:, None], strength)
    for std, order in ((0, [2, 0, 1, 3]), (1e-3, [2, 0, 1, 3]), (1.0, [1, 3, 2, 0])):  # much noise excuses them
        guess = noisy_extraction.reconstruct(sent, std=std, shape=(50,), adversary="single_row", levels=None)
        assert [int(rows) for rows in guess.rows] == order


@pytest.mark.parametrize(("std", "exact"), [(1e-4, True), (1e-2, False)])
def test_guesses_are_rounded_to_the_grid_where_the_noise_is_small(std, exact, seeded):
    image = (torch.rand(1, 200, generator=seeded) * 255).round() / 255
    rows = torch.cat([image, torch.ones(1, 1)], 1) + std * torch.randn(1, 201, generator=seeded)
    sent = made(rows[:, :-1], rows[:, -1])
    read = functools.partial(noisy_extraction.reconstruct, sent, std=std, shape=(200,))
    assert torch.equal(read().images[0], image[0]) == exact
    assert not torch.equal(read(levels=None).images[0], image[0])
    steps = read().images * 255
    assert ((steps - steps.round()).abs().max() < 1e-3) == exact
    coarse = read(levels=3).images * 3
    assert ((coarse - coarse.round()).abs().max() < 1e-6) == exact or std * 4 < 1 / 6


def test_rows_name_the_neurons_of_the_layer():
    """Neurons without a gradient are passed over, and do not shift the others' numbers."""
    image = torch.rand(40, generator=torch.Generator().manual_seed(0))
    weight, bias = torch.zeros(9, 40), torch.zeros(9)
    for neuron, strength in ((2, 1.0), (5, -0.7), (8, 0.4)):
        weight[neuron], bias[neuron] = strength * image, strength
    guess = noisy_extraction.reconstruct(made(weight, bias), std=0, shape=(5, 8), levels=None, guesses=1)
    assert guess.rows[0].tolist() == [2, 5, 8]
    torch.testing.assert_close(guess.images[0], image.view(5, 8), rtol=0, atol=1e-5)


@both
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("examples", [1, BATCH])
def test_the_attack_follows_the_device_and_dtype_of_the_gradient(adversary, dtype, examples):
    part = data.load("digits").sample(BATCH, 0)
    sent = defences.gaussian(answer(part, 0.9, widths=(200,)), 1e-4)
    sent = Gradient({name: sent[name].to(dtype) for name in sent}, examples)
    with torch.device("meta"):  # what is made on another device than the gradient's cannot be used with it
        guess = noisy_extraction.reconstruct(sent, std=1e-4, shape=part.shape, adversary=adversary)
    assert guess.images.dtype == guess.noise.dtype == dtype
    assert guess.images.device.type == guess.noise.device.type == "cpu"
    assert all(group.device.type == "cpu" for group in guess.rows)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"std": -1}, "std=-1"),
        ({"adversary": "both"}, "adversary='both' is not known; choose one of single_row, combined"),
        ({"shape": (3, 8, 8)}, "192 values, but the gradient of 'fc1'"),
        ({"levels": 0}, "levels=0"),
        ({"guesses": 0}, "guesses=0"),
        ({"layer": "fc9"}, "choose one of fc1"),
    ],
)
def test_bad_calls_are_refused(arguments, words):
    sent = made(torch.rand(5, 64), torch.rand(5))
    with pytest.raises(ValueError, match=words):
        noisy_extraction.reconstruct(sent, **{"std": 0.1, "shape": (1, 8, 8), **arguments})


@functools.lru_cache(maxsize=8)
def clipped(part_of, name, s, sigma, seed):
    """A gallery whose first images are the client's, and the client's gradient after clipping to a norm of 1."""
    gallery = part_of(name).sample(GALLERY, seed)
    sent = answer(gallery[:BATCH], s, seed=seed, sigma=sigma, widths=(1000, 3000, 3000, 2000, 1000))
    sent = defences.clip(sent, 1.0)
    return gallery.images, Gradient({key: sent[key] for key in ("fc1.weight", "fc1.bias")}, BATCH)


def scores(load, name, s, sigma, noise, adversary, seeds):
    """Mean PSNR and share identified over seeds, and those of the adversary reading other noise alone."""
    seen, blind = [], []
    for seed in range(seeds):
        images, sent = clipped(load, name, s, sigma, seed)
        nothing = Gradient({key: torch.zeros_like(sent[key]) for key in sent}, BATCH)
        std = defences.noise_std(1.0, noise, BATCH)
        for found, released, draw in ((seen, sent, seed), (blind, nothing, seed + 100)):
            noisy = defences.gaussian(released, std, draw)
            guess = noisy_extraction.reconstruct(noisy, std=std, shape=images.shape[1:], adversary=adversary).images
            found.append(vars(reconstruction.score(guess, images[:BATCH], images[BATCH:])))
    return [{key: np.mean([row[key] for row in rows]) for key in ("psnr", "identified")} for rows in (seen, blind)]


@both
def test_noise_of_1_after_clipping_at_1_leaves_either_adversary_guessing(adversary):
    seen, blind = scores(data.load, "digits", 0.9, 0.005, 1.0, adversary, 3)
    assert abs(seen["psnr"] - blind["psnr"]) < 0.5
    assert seen["identified"] <= 0.1
    assert blind["identified"] <= 0.1


def test_at_a_noise_of_a_thousandth_the_combining_adversary_still_names_most_images():
    """With the quiet trap weights of `figure-4`: at the paper's spread the digits' gradient is clipped ten-fold."""
    seen, blind = scores(data.load, "digits", 0.9, 0.005, 1e-3, "combined", 3)
    single, _ = scores(data.load, "digits", 0.9, 0.005, 1e-3, "single_row", 3)
    assert seen["identified"] > 0.6
    assert single["identified"] < 0.5 * seen["identified"]
    assert seen["psnr"] > single["psnr"] + 4 > blind["psnr"] + 8


def test_on_mnist_noise_of_1_stops_both_and_a_thousandth_of_it_does_not(real_data):
    for adversary in noisy_extraction.ADVERSARIES:
        seen, blind = scores(real_data, "mnist", 0.7, 0.5, 1.0, adversary, 2)
        assert abs(seen["psnr"] - blind["psnr"]) < 0.5
        assert max(seen["identified"], blind["identified"]) <= 0.1
    combined, _ = scores(real_data, "mnist", 0.7, 0.5, 1e-3, "combined", 2)
    single, _ = scores(real_data, "mnist", 0.7, 0.5, 1e-3, "single_row", 2)
    assert combined["identified"] > 0.6
    assert combined["identified"] > single["identified"] + 0.05
    assert combined["psnr"] > single["psnr"] + 2
