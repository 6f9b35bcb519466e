"""Coordinates in which images are round: waves of the usual strength, and back without loss."""

import math

import numpy as np
import pytest
import torch
from scipy import fft

from privlab import data
from privlab.attacks import deep_leakage
from privlab.attacks.deep_leakage import GREY, KNEE, Coordinates

DOUBLE = torch.empty(0, dtype=torch.float64)
SHAPES = [(1, 8, 8), (3, 5, 9), (2, 1, 6), (4, 12), (10,), (2, 3, 4, 5)]


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_image_has_coordinates_and_every_point_is_those_of_its_image(shape):
    coordinates, points = Coordinates(shape, DOUBLE), drawn(3, 2, *shape)
    assert coordinates.images(points).shape == points.shape
    torch.testing.assert_close(coordinates.points(coordinates.images(points)), points, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(coordinates.images(coordinates.points(points)), points, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES)
def test_all_begins_at_grey(shape):
    grey = Coordinates(shape, DOUBLE).images(torch.zeros(2, *shape, dtype=torch.float64))
    assert torch.equal(grey, torch.full((2, *shape), GREY, dtype=torch.float64))


@pytest.mark.parametrize("side", [1, 2, 7, 32])
def test_the_waves_are_those_of_the_orthonormal_cosine_transform(side):
    waves = deep_leakage._cosines(side)
    torch.testing.assert_close(waves @ waves.T, torch.eye(side, dtype=torch.float64), rtol=0, atol=1e-12)
    values = drawn(side).numpy()
    np.testing.assert_allclose(waves.numpy() @ values, fft.dct(values, norm="ortho"), atol=1e-12)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 9), (2, 3, 4, 5)])
def test_coordinates_of_images_are_their_cosine_transform_over_the_usual_amounts(shape):
    images, coordinates = drawn(2, *shape), Coordinates(shape, DOUBLE)
    transformed = fft.dctn(images.numpy() - GREY, axes=(-2, -1), norm="ortho")
    np.testing.assert_allclose(coordinates.points(images) * coordinates.amounts, transformed, atol=1e-12)
    down, across = np.arange(shape[-2])[:, None], np.arange(shape[-1])
    usual = (1 + (down**2 + across**2) / KNEE**2) ** -0.5
    np.testing.assert_allclose(coordinates.amounts, usual / np.sqrt((usual**2).mean()), rtol=1e-6)


def test_a_signal_has_waves_along_its_length_alone():
    signals, coordinates = drawn(2, 4, 12), Coordinates((4, 12), DOUBLE)
    transformed = fft.dct(signals.numpy() - GREY, norm="ortho")
    np.testing.assert_allclose(coordinates.points(signals) * coordinates.amounts, transformed, atol=1e-12)
    usual = (1 + np.arange(12) ** 2 / KNEE**2) ** -0.5
    np.testing.assert_allclose(coordinates.amounts, usual / np.sqrt((usual**2).mean()), rtol=1e-6)


def test_what_has_no_places_has_no_waves():
    values = drawn(3, 10)
    torch.testing.assert_close(Coordinates((10,), DOUBLE).points(values), values - GREY, rtol=1e-12, atol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_the_amounts_have_a_mean_square_of_one_and_so_has_white_noise_in_them(shape):
    """A draw at N(0, 1) is then as large as one in pixels."""
    coordinates = Coordinates(shape, DOUBLE)
    assert coordinates.amounts.square().mean().item() == pytest.approx(1, rel=1e-6)
    images = coordinates.images(drawn(4000, *shape))
    assert (images - GREY).square().mean().item() == pytest.approx(1, rel=0.05)


def test_white_coordinates_give_images_of_the_stated_spectrum():
    """The power of each wave, over many draws, falls as one over the square of its frequency, beyond the knee."""
    shape = (1, 32, 32)
    images = Coordinates(shape, DOUBLE).images(drawn(2000, *shape)).numpy() - GREY
    power = (fft.dctn(images, axes=(-2, -1), norm="ortho") ** 2).mean((0, 1))
    frequency = np.hypot(*np.meshgrid(np.arange(32), np.arange(32), indexing="ij"))
    stated = 1 / (1 + (frequency / KNEE) ** 2)
    assert (power / power[0, 0] / stated).mean() == pytest.approx(1, rel=0.1)
    np.testing.assert_allclose(power / power.mean(), stated / stated.mean(), rtol=0.3)
    far = frequency > 4 * KNEE
    slope = np.polyfit(np.log(frequency[far]), np.log(power[far]), 1)[0]
    assert slope == pytest.approx(-2, abs=0.2)


def test_photographs_are_rounder_in_their_coordinates_than_in_pixels():
    """How much more of the first principal axis there is than of the thirtieth."""
    images = data.load("digits").images.double()
    found = {}
    for name, values in {"pixels": images, "waves": Coordinates(images.shape[1:], DOUBLE).points(images)}.items():
        lengths = torch.linalg.svdvals(values.flatten(1) - values.flatten(1).mean(0))
        found[name] = (lengths[0] / lengths[30]).square().item()
    assert found["waves"] < found["pixels"] / 2


def test_coordinates_are_of_the_precision_that_is_asked_for():
    for dtype in (torch.float32, torch.float64):
        coordinates = Coordinates((1, 8, 8), torch.empty(0, dtype=dtype))
        assert coordinates.images(torch.zeros(1, 1, 8, 8, dtype=dtype)).dtype == dtype
    single = Coordinates((1, 28, 28), torch.empty(0)).images(drawn(1, 28, 28).float())
    assert (single - Coordinates((1, 28, 28), DOUBLE).images(drawn(1, 28, 28))).abs().max() < 1e-5
    assert math.isclose(coordinates.amounts[0, 0], coordinates.amounts.max())
