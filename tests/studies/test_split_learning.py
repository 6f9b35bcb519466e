"""How the studies of split learning share images out, and how they score a reconstruction."""

import pytest
import torch

from privlab import data
from privlab.sharing import federated
from privlab.studies import _split_learning as split_learning


@pytest.mark.parametrize(("name", "channels", "side"), [("digits", 1, 28), ("patches", 3, 32)])
def test_no_image_is_in_two_shares(name, channels, side):
    """By content: one of the patches is there twice."""
    _apart(split_learning.shares(name, channels, side), len(data.load(name)))


def test_no_radiograph_is_in_two_shares(real_data):
    """PneumoniaMNIST holds eighteen copies."""
    count = len(real_data("pneumoniamnist"))
    _apart(split_learning.shares("pneumoniamnist", 1, 28), count)


def _apart(parts, count):
    own = [{image.numpy().tobytes() for image in part.images} for part in parts]
    assert sum(len(part.labels) for part in parts) == count
    assert sum(map(len, own)) == len(set().union(*own))
    assert min(map(len, own)) > 0.1 * count


def test_mnist_is_shared_out_as_in_the_paper(real_data):
    mnist = real_data("mnist")
    own, attacker, victims = split_learning.shares("mnist", 1, 28)
    assert torch.equal(own.labels, mnist.labels[:40_000])
    assert torch.equal(attacker.images, mnist[40_000:45_000].images)
    assert torch.equal(victims.labels, mnist.labels[45_000:50_000])


def test_pictures_are_brought_into_the_form_of_the_victims():
    grey = split_learning.pictures("patches", 1, 28, 20)
    assert grey.shape == (1, 28, 28)
    colour = split_learning.pictures("digits", 3, 32, 20)
    assert colour.shape == (3, 32, 32)
    assert torch.equal(colour.images[:, 0], colour.images[:, 2])
    assert len(colour.labels) == 20


def test_omniglots_ink_is_made_bright(real_data):
    real_data("omniglot")
    assert split_learning.pictures("omniglot", 1, 28, 50).images.mean() < 0.3


def test_the_judge_reads_true_images():
    victims = split_learning.shares("digits", 1, 28)[2]
    assert federated.accuracy(split_learning.judge("digits", 1, 28), victims.images, victims.labels) > 0.93


def test_quality_is_that_of_the_reconstruction():
    victims = split_learning.shares("digits", 1, 28)[2]
    classifier = split_learning.judge("digits", 1, 28)
    same = split_learning.quality(victims.images, victims, classifier, 64)
    assert same["mse"] == 0
    assert same["psnr"] == 100
    assert same["ssim"] == pytest.approx(1)
    assert same["reconstruction_correlation"] == pytest.approx(1)
    grey = split_learning.quality(torch.full_like(victims.images, 0.5), victims, classifier, 64)
    assert grey["mse_255"] == pytest.approx((victims.images * 255 - 127.5).square().mean().item(), rel=1e-4)
    assert grey["class_accuracy"] < 0.3
    assert grey["reconstruction_correlation"] == pytest.approx(0, abs=1e-6)
