"""Rank inversion: whole mini-batches, exactly, with a certificate that is never given to anything else."""

import itertools
import math
from collections import OrderedDict

import pytest
import torch
from torch import nn

from privlab import data, models
from privlab.attacks import bins, gradient_extraction, rank_inversion
from privlab.defences import perturbation
from privlab.sharing import federated

DIGITS = data.load("digits")
SHAPE = DIGITS.shape


def network(seed=0, *, widths=(200, 100), classes=10, dtype=torch.float32):
    return models.fully_connected(SHAPE, classes, widths=widths, seed=seed).to(dtype)


def victim(batch, seed, *, dtype=torch.float32, **how):
    """A network, a mini-batch and its gradient."""
    model, some = network(seed, dtype=dtype, **how), DIGITS.sample(batch, seed)
    images = some.images.to(dtype)
    return model, images, federated.gradient(model, images, some.labels % model[-1].out_features)


def distance(found, images):
    """From each image to the nearest of the others, either way: the largest."""
    far = torch.cdist(found.flatten(1).double(), images.flatten(1).double())
    return max(far.amin(0).max().item(), far.amin(1).max().item())


def read(model, sent, **how):
    return rank_inversion.reconstruct(model, sent, shape=SHAPE, **how)


@pytest.mark.parametrize(("dtype", "near"), [(torch.float32, 1e-4), (torch.float64, 1e-8)])
@pytest.mark.parametrize("batch", [1, 2, 5, 10])
def test_the_whole_mini_batch_comes_out_exactly_and_says_so(batch, dtype, near):
    model, images, sent = victim(batch, seed=3, dtype=dtype)
    found = read(model, sent)
    assert found.certified
    assert found.reason == ""
    assert found.images.shape == images.shape
    assert found.images.dtype == dtype
    assert distance(found.images, images) < near


def test_a_single_image_is_a_row_over_its_bias():
    model, images, sent = victim(1, seed=0)
    weight, bias = sent.layer("fc1")
    neuron = bias.abs().argmax()
    assert torch.allclose(read(model, sent).images.flatten(), weight[neuron] / bias[neuron], atol=1e-6)
    assert torch.allclose(images.flatten(), weight[neuron] / bias[neuron], atol=1e-6)


def test_no_certificate_is_wrong_and_guesses_without_one_are():
    """Small networks, of which many do not tell: of 300 mini-batches a part is certified, and all of that is right."""
    right, wrong, guessed = 0, 0, 0
    for seed in range(300):
        random = torch.Generator().manual_seed(seed)
        batch, width = (int(torch.randint(low, high, (), generator=random)) for low, high in ((1, 6), (8, 60)))
        widths, classes = ((width,), (width, 30))[seed % 2], (10, 2)[seed % 3 == 0]
        dtype = (torch.float32, torch.float64)[seed % 5 < 2]
        model, images, sent = victim(batch, seed, widths=widths, classes=classes, dtype=dtype)
        found = read(model, sent, samples=4096)
        if found.certified:
            right += distance(found.images, images) < 1e-3
            wrong += distance(found.images, images) >= 1e-3
        elif len(found.images):
            guessed += distance(found.images, images) > 1e-3
    assert wrong == 0
    assert right >= 100
    assert guessed >= 25


def test_copies_come_out_once_and_black_images_too():
    model, images, _ = victim(4, seed=1)
    batch = torch.cat([images, images[:2], torch.zeros(1, *SHAPE)])
    with torch.no_grad():
        model.fc1.bias.copy_(0.1 * torch.randn(200, generator=torch.Generator().manual_seed(0)))
    found = read(model, federated.gradient(model, batch, torch.arange(7)))
    assert found.rank == 5
    assert found.certified
    assert len(found.images) == 5
    assert distance(found.images, torch.cat([images, torch.zeros(1, *SHAPE)])) < 1e-4


def test_neither_the_order_nor_a_sum_in_place_of_the_mean_matters():
    model, images, _ = victim(6, seed=2, dtype=torch.float64)
    labels = torch.arange(6)
    mean = federated.gradient(model, images, labels)
    sent = [
        mean,
        federated.gradient(model, images.flip(0), labels.flip(0)),
        federated.Gradient({name: 6 * mean[name] for name in mean}, 6),
    ]
    found = [read(model, each) for each in sent]
    assert all(each.certified for each in found)
    assert all(distance(each.images, images) < 1e-8 for each in found)


@pytest.mark.parametrize("batch", [3, 17])
def test_the_rank_is_that_of_the_gradient_with_its_bias(batch):
    model, _, sent = victim(batch, seed=4, dtype=torch.float64)
    weight, bias = sent.layer("fc1")
    rank = torch.linalg.matrix_rank(torch.cat([weight, bias[:, None]], 1), rtol=1e-10)
    assert read(model, sent, samples=1).rank == rank == batch


def test_directions_are_hit_as_often_as_chance_has_it():
    """Counted over all triples of rows: a column is hit where it is zero at all three, and nothing else is."""
    random = torch.Generator().manual_seed(0)
    columns = torch.randn(40, 4, generator=random, dtype=torch.float64)
    columns *= torch.rand(40, 4, generator=random) < torch.tensor([0.4, 0.5, 0.6, 0.7])
    columns = columns[columns.any(1)]
    q, r = torch.linalg.qr(columns)
    rows = nn.functional.normalize(q, dim=1)
    made = torch.cat([rank_inversion._sample(rows, rows[:0], random) for _ in range(4)])
    triples = torch.tensor(list(itertools.combinations(range(len(rows)), 3)))
    for number in range(4):
        others = [other for other in range(4) if other != number]
        zero = (columns[triples][:, :, number] == 0).all(1)
        sure = zero & (torch.linalg.matrix_rank(columns[triples][:, :, others]) == 3)  # else two columns may come out
        low, high = (4 * rank_inversion._BLOCK * each.double().mean().item() for each in (sure, zero))
        direction = nn.functional.normalize(r[:, number], dim=0)
        hits = int(((made @ direction).abs() > 1 - 1e-9).sum())
        assert low - 4 * math.sqrt(low) < hits < high + 4 * math.sqrt(high)
        assert high < 2 * low


def test_zeros_of_what_is_known_guide_to_the_rest():
    """Of seven images, in as many draws: the mini-batches that come out are more."""
    plain, guided = 0, 0
    for seed in range(4):
        model, _, sent = victim(7, seed)
        plain += read(model, sent, samples=4096, guided=False).certified
        guided += read(model, sent, samples=4096).certified
    assert plain < guided
    assert guided >= 3


def test_what_two_images_share_of_their_zeros_is_not_told_apart():
    """Without biases half an image opens the neurons of the whole one: any mixture of both has these zeros."""
    model, images, _ = victim(1, seed=5, dtype=torch.float64)
    sent = federated.gradient(model, torch.cat([images, images / 2]), torch.tensor([3, 4]))
    found = read(model, sent, samples=4096)
    assert found.rank == 2
    assert not found.certified
    assert "sparse directions" in found.reason


@pytest.mark.parametrize("std", [1e-7, 1e-4, 1.0])
def test_noise_is_noticed_and_nothing_is_certified(std):
    model, images, sent = victim(4, seed=0, dtype=torch.float64)
    found = read(model, perturbation.gaussian(sent, std, seed=1), samples=4096)
    assert not found.certified
    assert found.rank == 5
    assert "noise" in found.reason
    if std < 1e-6:
        assert 1e-9 < distance(found.images, images) < 0.05


def test_local_steps_keep_the_rank_and_what_is_certified_of_them_is_right():
    """All steps add the same images' rows; where a neuron opened along the way, the zeros no longer fit."""
    model, images, _ = victim(4, seed=0, dtype=torch.float64)
    client, certified = federated.Client(images, torch.arange(4)), []
    for lr in (1e-4, 0.5):
        random = torch.Generator().manual_seed(0)
        update = federated.local_update(model, client, epochs=3, batch=2, lr=lr, random=random)
        found = read(model, federated.update_as_gradient(update, 4, lr=lr, steps=6), samples=4096)
        certified.append(found.certified)
        assert found.rank == 4
        assert not found.certified or distance(found.images, images) < 1e-6
    assert certified == [True, False]


@pytest.mark.parametrize(("batch", "width", "step"), [(8, 6, 1), (12, 12, 1), (40, 200, 7)])
def test_a_gradient_of_full_rank_does_not_tell(batch, width, step):
    """As many images as neurons, or as pixels and one more."""
    images = DIGITS.sample(batch, 0).images[..., ::step, ::step]
    model = models.fully_connected(images.shape[1:], 10, widths=(width,), seed=0)
    sent = federated.gradient(model, images, torch.arange(batch) % 10)
    found = rank_inversion.reconstruct(model, sent, shape=images.shape[1:])
    assert (found.certified, found.tried, len(found.images)) == (False, 0, 0)
    assert "any images would do" in found.reason


def test_an_empty_gradient_tells_nothing():
    model, _, sent = victim(2, seed=0)
    found = read(model, federated.Gradient({name: torch.zeros_like(sent[name]) for name in sent}, 2))
    assert (found.rank, found.certified, len(found.images)) == (0, False, 0)


@pytest.mark.parametrize("batch", [4, 8])
def test_batch_norm_in_train_mode_hides_the_scale_and_one_dimension(batch):
    model, images, _ = victim(batch, seed=0)
    layers = OrderedDict()
    for name, layer in model.named_children():
        layers[name] = layer
        if name == "fc1":
            layers["norm"] = nn.BatchNorm1d(200)
    normed = nn.Sequential(layers).train()
    sent = federated.gradient(normed, images, DIGITS.sample(batch, 0).labels)
    found = read(normed, sent)
    assert (found.certified, found.rank, len(found.images)) == (False, batch - 1, 0)
    assert "BatchNorm" in found.reason
    normed.eval()
    by_averages = read(normed, federated.gradient(normed, images, DIGITS.sample(batch, 0).labels))
    assert by_averages.certified
    assert distance(by_averages.images, images) < 1e-3


def test_too_few_draws_find_nothing_and_say_so():
    model, _, sent = victim(30, seed=0)
    found = read(model, sent, samples=2000)
    assert (found.rank, found.certified) == (30, False)
    assert "more submatrices" in found.reason


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "leaky_relu"])
def test_without_a_relu_there_are_no_zeros_to_read(activation):
    kinds = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "leaky_relu": nn.LeakyReLU}
    model, images, _ = victim(2, seed=0)
    model.relu1 = kinds[activation]()
    with pytest.raises(ValueError, match="has no ReLU behind it"):
        read(model, federated.gradient(model, images, torch.arange(2)))


@pytest.mark.parametrize(("dtype", "near"), [(torch.float16, 0.05), (torch.bfloat16, 0.5)])
def test_halves_show_the_images_and_certify_nothing(dtype, near):
    model, images, sent = victim(4, seed=0)
    found = read(model, federated.Gradient({name: sent[name].to(dtype) for name in sent}, 4))
    assert not found.certified
    assert "zeros" in found.reason
    assert distance(found.images.float(), images) < near


@pytest.mark.parametrize("size", [1e-150, 1e150])
def test_the_unit_of_a_gradient_does_not_matter(size):
    model, images, sent = victim(4, seed=0, dtype=torch.float64)
    found = read(model, federated.Gradient({name: sent[name] * size for name in sent}, 4))
    assert found.certified
    assert distance(found.images, images) < 1e-8


@pytest.mark.parametrize("attack", [rank_inversion.reconstruct, gradient_extraction.extract, bins.extract])
@pytest.mark.parametrize("change", [torch.Tensor.long, torch.Tensor.cfloat, torch.Tensor.to_sparse])
def test_what_are_no_floats_is_refused_in_words(attack, change):
    model, _, sent = victim(2, seed=0)
    given = (model,) if attack is rank_inversion.reconstruct else ()
    with pytest.raises(TypeError, match=r"gradient of 'fc1' is torch.*give floats"):
        attack(*given, federated.Gradient({name: change(sent[name]) for name in sent}, 2), shape=SHAPE)


def test_other_bad_calls_are_refused():
    model, images, sent = victim(2, seed=0)
    weight, bias = sent.layer("fc1")
    with pytest.raises(ValueError, match="choose one of fc1, fc2, output"):
        read(model, sent, layer="relu1")
    with pytest.raises(ValueError, match="do not pass through the model"):
        rank_inversion.reconstruct(model, sent, shape=(200,), layer="fc2")
    with pytest.raises(ValueError, match="has 36 values"):
        rank_inversion.reconstruct(model, sent, shape=(1, 6, 6))
    with pytest.raises(ValueError, match="samples=0"):
        read(model, sent, samples=0)
    with pytest.raises(ValueError, match="not finite"):
        read(model, federated.Gradient({"fc1.weight": weight / 0, "fc1.bias": bias}, 2))
    with pytest.raises(ValueError, match="not finite"):
        read(model, federated.Gradient({"fc1.weight": weight, "fc1.bias": bias * torch.nan}, 2))
    with pytest.raises(ValueError, match=r"is \(200, 784\), its weights \(300, 784\)"):
        read(network(widths=(300, 100)), sent)
    with pytest.raises(ValueError, match="examples=0"):
        read(model, federated.Gradient(sent.tensors, 0))
    unbiased = nn.Sequential(nn.Flatten(), nn.Linear(784, 30, bias=False), nn.ReLU(), nn.Linear(30, 10))
    with pytest.raises(ValueError, match="has no bias"):
        read(unbiased, federated.gradient(unbiased, images, torch.arange(2)), layer="1")
    lenet = models.lenet(SHAPE, 10, seed=0)
    with pytest.raises(ValueError, match="does not arrive at 'fc1' unaltered"):
        read(lenet, federated.gradient(lenet, images, torch.arange(2)))
