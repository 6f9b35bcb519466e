import copy
import itertools
import math

import pytest
import torch
from torch import nn

from privlab import data, models
from privlab.attacks import bins, gradient_extraction
from privlab.defences import perturbation
from privlab.metrics import extraction
from privlab.sharing import federated


def random_images(count, seed, shape=(1, 6, 6)):
    """On the 8-bit grid, with a brightness of their own each."""
    random = torch.Generator().manual_seed(seed)
    level = torch.rand(count, 1, 1, 1, generator=random)
    return (255 * level * torch.rand(count, *shape, generator=random)).round() / 255


def network(neurons, seed=0, shape=(1, 6, 6), widths=()):
    return models.fully_connected(shape, 10, widths=(neurons, *widths), seed=seed)


def sent(model, images, seed=0, **options):
    labels = torch.randint(0, 10, (len(images),), generator=torch.Generator().manual_seed(seed))
    return federated.gradient(model, images, labels, **options)


def alone_by_hand(planted, images):
    """Which images are the only ones between two thresholds: told from the weights and the images themselves."""
    weight, bias = planted.fc1.weight.detach().double(), planted.fc1.bias.detach().double()
    places = [int(sum(w @ x + b > 0 for w, b in zip(weight, bias, strict=True))) for x in images.flatten(1).double()]
    return torch.tensor([places.count(place) == 1 and place > 0 for place in places])


def slow_extract(weight, bias):
    """Neighbour by neighbour, in double precision."""
    found = []
    for n in range(len(weight)):
        row, own = (part[n].double() - (part[n + 1].double() if n + 1 < len(part) else 0) for part in (weight, bias))
        image = row / own
        heard = own.abs() > 1e-5 * bias[n].abs()  # else rounding: where rows agree it passes for a black image
        near = (255 * image).round().clamp(0, 255)
        if heard and (255 * image - near).abs().max() < 0.1:
            found.append((near / 255, n))
    return found


def off(neurons, batch, random, draws=25):
    """By how many standard errors the mean recall differs from the formula; those of counts of occupied bins."""
    planted = bins.plant(network(neurons), random_images(4000, 1), random=random)
    mean = 0.0
    for seed in range(draws):
        images = random_images(batch, 100 + seed)
        found = bins.extract(sent(planted, images, seed, layers=("fc1",)), shape=(1, 6, 6))
        mean += extraction.score(found.images, images, neurons=neurons).recall / draws
    one, two = (1 - 1 / neurons) ** (batch - 1), (1 - 1 / neurons) * (1 - 2 / neurons) ** (batch - 2)
    variance = one * (1 - one) / batch + (1 - 1 / batch) * (two - one**2)
    return (mean - bins.expected_recall(neurons, batch)) / math.sqrt(variance / draws)


def test_recall_is_what_the_formula_says():
    """In twelve settings within two standard errors."""
    settings = itertools.product((20, 60, 150), (10, 40), (None, 3))
    errors = torch.tensor([off(*each) for each in settings]).abs()
    assert len(errors) == 12
    assert errors.max() < 2


def test_the_formula_is_the_chance_of_a_bin_of_ones_own():
    """Against counting every way in which three images fall into four bins."""
    ways = torch.cartesian_prod(*[torch.arange(4)] * 3)
    own = (ways[:, :1] != ways[:, 1:]).all(1).double().mean().item()
    assert bins.expected_recall(4, 3) == pytest.approx(own)
    assert bins.expected_recall(5, 1) == 1
    assert bins.expected_recall(1, 2) == 0
    assert bins.expected_recall(1000, 100) == pytest.approx(0.9057, abs=1e-4)


@pytest.mark.parametrize("options", [{}, {"random": 1}, {"normal": True}, {"normal": True, "random": 1}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_image_is_read_if_and_only_if_it_is_alone_in_its_bin(options, dtype):
    planted = bins.plant(network(120, widths=(30,)).to(dtype), random_images(500, 1).to(dtype), **options)
    images = random_images(30, 2).to(dtype)
    gradient = sent(planted, images)
    found = bins.extract(gradient, shape=(1, 6, 6))
    alone = alone_by_hand(planted, images)
    assert 0.3 < alone.double().mean() < 1
    assert extraction.match(images, found.images, 1e-6).ge(0).tolist() == alone.tolist()
    assert len(found.images) == int(alone.sum()) == len(found.neurons) == len(found.shows)
    assert found.images.dtype == dtype
    slow = slow_extract(*gradient.layer("fc1"))
    assert [n for _, n in slow] == found.neurons.tolist()
    torch.testing.assert_close(torch.stack([image for image, _ in slow]).to(dtype), found.images.flatten(1))
    assert found.neurons.tolist() == sorted(set(found.neurons.tolist()))


@pytest.mark.parametrize("normal", [False, True])
@pytest.mark.parametrize("random", [None, 5])
def test_thresholds_part_equally_likely_bins(random, normal):
    """Of fresh images of a normal law, as many fall into each of ten bins."""
    draw = torch.Generator().manual_seed(0)
    public, fresh = ((0.5 + 0.1 * torch.randn(n, 1, 4, 4, generator=draw)).clamp(0, 1) for n in (4000, 20_000))
    planted = bins.plant(network(10, shape=(1, 4, 4)), public[: 300 if normal else 4000], random=random, normal=normal)
    with torch.no_grad():
        fired = (planted.fc1(fresh.flatten(1)) > 0).sum(1)
    shares = torch.bincount(fired, minlength=11) / len(fresh)
    assert shares[0] == 0
    assert (shares[1:] - 0.1).abs().max() < (0.03 if normal else 0.015)


def test_all_neurons_measure_the_same_and_the_next_layer_has_one_column():
    model = network(40, widths=(20,))
    before = copy.deepcopy(model.state_dict())
    planted = bins.plant(model, random_images(200, 1))
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())
    weight = planted.fc1.weight.detach()
    assert (weight == weight[0, 0]).all()
    assert (planted.fc1.bias.diff() < 0).all()
    assert torch.equal(planted.fc2.weight, before["fc2.weight"][:, :1].expand(20, 40))
    for name in ("fc2.bias", "output.weight", "output.bias"):
        assert torch.equal(planted.state_dict()[name], before[name])
    drawn = [bins.plant(model, random_images(200, 1), random=seed).fc1.weight[0] for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_black_and_white_images_are_read_too():
    """They measure less, and more, than all that is public."""
    planted = bins.plant(network(30), random_images(200, 1).clamp(0.1, 0.9))
    images = torch.stack([torch.zeros(1, 6, 6), torch.ones(1, 6, 6)])
    found = bins.extract(sent(planted, images), shape=(1, 6, 6))
    assert sorted(image.mean().item() for image in found.images) == [0, 1]
    assert found.neurons.tolist() == [0, 29]


def test_images_of_one_bin_are_not_taken_for_an_image():
    image = random_images(2, 4)
    planted = bins.plant(network(30), random_images(200, 1))
    two = torch.cat([image[:1], image[:1].flip(3)])  # equally bright, and not the same
    gradient = sent(planted, two)
    assert len(bins.extract(gradient, shape=(1, 6, 6)).images) == 0
    assert len(bins.active_neurons(gradient)) == 1
    copies = sent(planted, image[[0, 0, 0]])
    assert torch.equal(bins.extract(copies, shape=(1, 6, 6)).images, image[:1])


def test_bins_read_more_than_trap_weights_and_passively_of_photographs():
    part, public = data.load("patches").sample(100, 5), data.load("patches").sample(300, 6).images
    model = network(1000, shape=part.shape)
    passive = gradient_extraction.candidates(sent(model, part.images))
    gradient = sent(bins.plant(model, public), part.images)
    found = bins.extract(gradient, shape=part.shape)
    assert extraction.score(passive, part.images, neurons=1000).recall < 0.6
    assert extraction.score(found.images, part.images, neurons=1000).recall > 0.75
    raw = bins.candidates(gradient)
    assert len(raw) == found.active == len(bins.active_neurons(gradient))
    assert extraction.score(raw, part.images, neurons=1000, tolerance=1e-2).recall > 0.75


def test_float32_loses_what_differences_cancel():
    """The same mini-batch, to single and to double precision: as many images, less exact ones."""
    images, errors = random_images(40, 3), []
    for dtype in (torch.float32, torch.float64):
        planted = bins.plant(network(400).to(dtype), random_images(500, 1).to(dtype))
        rows = bins.candidates(sent(planted, images.to(dtype)))
        nearest = (rows.double()[:, None] - images.flatten(1).double()).norm(dim=2).amin(1)
        errors.append(nearest.sort().values[: len(rows) // 2].max().item())
    assert errors[1] < 1e-10 < 1e-7 < errors[0] < 1e-3


def test_noise_and_a_sum_over_many_clients_stop_it():
    planted = bins.plant(network(60), random_images(500, 1))
    images = [random_images(20, 10 + seed) for seed in range(20)]
    gradients = [sent(planted, each, seed) for seed, each in enumerate(images)]
    assert len(bins.extract(gradients[0], shape=(1, 6, 6)).images) > 8
    noisy = perturbation.gaussian(gradients[0], 1e-4, seed=0)
    assert len(bins.extract(noisy, shape=(1, 6, 6)).images) == 0
    total = bins.extract(federated.average(gradients), shape=(1, 6, 6))
    everything = torch.cat(images)
    assert extraction.score(total.images, everything, neurons=60).recall < 0.02
    assert len(bins.active_neurons(federated.average(gradients))) == 60


@pytest.mark.parametrize("act", [nn.GELU(), nn.Sigmoid(), nn.Identity(), nn.LeakyReLU(), nn.Dropout(0.5)])
def test_what_lets_no_single_number_come_back_is_refused(act):
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 20), act, nn.Linear(20, 10))
    with pytest.raises(ValueError, match="is not one number for the neurons that fire"):
        bins.plant(model, random_images(50, 1))


def test_a_layer_that_no_dense_one_reads_is_refused():
    model = nn.Sequential(nn.Flatten(), nn.Linear(36, 20), nn.ReLU())
    with pytest.raises(ValueError, match="behind that a dense layer"):
        bins.plant(model, random_images(50, 1))


def test_the_layer_that_serves_is_found_by_what_comes_back():
    """Two dense layers have the width, and the first of them is not behind the neurons."""

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.aside, self.answer = nn.Linear(12, 12), nn.Linear(12, 10)
            self.first = nn.Linear(36, 12)

        def forward(self, images):
            return self.answer(self.first(images.flatten(1)).relu())

    model = Odd()
    planted = bins.plant(model, random_images(50, 1), layer="first")
    assert torch.equal(planted.aside.weight, model.aside.weight)
    assert (planted.answer.weight == planted.answer.weight[:, :1]).all()
    images = random_images(3, 2)
    assert len(bins.extract(sent(planted, images), shape=(1, 6, 6), layer="first").images) > 0


def test_a_frozen_layer_stays_frozen():
    model = network(20)
    model.fc1.requires_grad_(False)
    planted = bins.plant(model, random_images(50, 1))
    trained = [p.requires_grad for p in planted.parameters()]
    assert trained == [p.requires_grad for p in model.parameters()]


@pytest.mark.parametrize(
    ("public", "words"),
    [
        (torch.full((9, 1, 6, 6), 0.5), "may measure the same"),
        (torch.rand(2, 1, 6, 6), r"is given \(2, 36\) by public"),
        (torch.rand(9, 1, 6, 6) * 255, "scale images"),
        (torch.rand(9, 36), "expected"),
        (torch.full((9, 1, 6, 6), float("nan")), "scale images"),
        (torch.rand(9, 1, 5, 5), "one row of 36 numbers"),
        (torch.rand(0, 1, 6, 6), "at least one image"),
    ],
)
def test_public_images_that_will_not_do_are_refused(public, words):
    with pytest.raises(ValueError, match=words):
        bins.plant(network(20), public)


def test_other_bad_calls_are_refused():
    public = random_images(50, 1)
    with pytest.raises(ValueError, match="choose one of fc1, output"):
        bins.plant(network(20), public, layer="relu1")
    with pytest.raises(ValueError, match="has 2 neurons"):
        bins.plant(network(2), public)
    with pytest.raises(TypeError, match=r"public are torch.float64|float64"):
        bins.plant(network(20), public.double())
    gradient = sent(bins.plant(network(20), public), public[:4])
    with pytest.raises(ValueError, match=r"shape=\(1, 5, 5\)"):
        bins.extract(gradient, shape=(1, 5, 5))
    with pytest.raises(ValueError, match="choose one of fc1, output"):
        bins.extract(gradient, shape=(1, 6, 6), layer="fc7")
    with pytest.raises(TypeError, match="levels=None"):
        bins.extract(gradient, shape=(1, 6, 6), levels=None)
    for bad in (0, -1):
        with pytest.raises(ValueError, match=f"bins={bad}"):
            bins.expected_recall(bad, 3)
        with pytest.raises(ValueError, match=f"batch={bad}"):
            bins.expected_recall(3, bad)


def test_a_gradient_of_nothing_gives_nothing():
    empty = federated.Gradient({"fc1.weight": torch.zeros(5, 36), "fc1.bias": torch.zeros(5)}, examples=2)
    found = bins.extract(empty, shape=(1, 6, 6))
    assert found.images.shape == (0, 1, 6, 6)
    assert found.active == 0
