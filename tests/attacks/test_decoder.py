import functools

import numpy as np
import pytest
import torch
from sklearn import linear_model

from privlab import data, models, runtime
from privlab.attacks import decoder
from privlab.defences import laplace
from privlab.metrics import reconstruction
from privlab.sharing import federated, split

NETS = {
    "lenet": models.lenet,
    "lenet with strides": functools.partial(models.lenet, pool="stride"),
    "lenet with average pooling": functools.partial(models.lenet, pool="average"),
    "alexnet": functools.partial(models.alexnet, width=0.03),
    "resnet18": functools.partial(models.resnet18, width=4),
    "vgg_inspired": functools.partial(models.vgg_inspired, filters=(3, 4), neurons=9),
    "fully_connected": functools.partial(models.fully_connected, widths=(30, 20)),
    "split_cnn": functools.partial(models.split_cnn, filters=(3, 4), units=20),
}


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(scope="module")
def target(digits):
    """A network in split learning, what the adversary has, and its victims: 400, 600 and 359 digits."""
    part = digits.sample(1000)
    owners = [federated.Client(part.images[:400], part.labels[:400])]
    model = models.split_cnn(digits.shape, 10, filters=(6, 8), units=60)
    parts = split.train(model, owners, cut="tanh3", epochs=12)
    return parts, part[400:], data.load("digits", split="test")


NOISY = functools.partial(laplace, scale=1.0)
OFTEN = decoder.mean_of_copies(NOISY, 64)


@pytest.fixture(scope="module")
def attack(target):
    """Reconstructions of victims whose activations `seen` protects, by a decoder that knows of `protect`."""
    parts, own, victims = target

    @functools.cache  # one decoder can be held against several victims
    def trained(protect):
        network = decoder.mirror(parts.owner, victims.shape)
        pairs = split.send(parts.owner, own.images), own.images
        return decoder.train(network, *pairs, epochs=15, lr=2e-3, protect=protect)

    def reconstruct(protect=None, seen=None):
        sent = split.send(parts.owner, victims.images, protect=seen, seed=5)
        return decoder.reconstruct(trained(protect), sent)

    return reconstruct


def quality(images, target):
    return reconstruction.psnr(images, target[2].images).mean().item()


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (3, 64, 64), (2, 17, 23)])
@pytest.mark.parametrize("name", NETS)
def test_the_decoder_fits_every_cut_of_every_network(name, shape):
    model = NETS[name](shape, 10)
    images = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    for cut in [layer for layer, _ in model.named_children()][:-1]:
        owner = split.segments(model, cut).owner
        found = decoder.mirror(owner, shape)(split.send(owner, images))
        assert found.shape == images.shape, cut


def test_it_has_as_many_transposed_convolutions_as_the_segment_has_convolutions():
    for depth in (1, 2, 4):
        model = models.lenet((1, 28, 28), 10, filters=(4,) * depth, pooled=1)
        undone = decoder.mirror(split.segments(model, f"relu{depth}").owner, (1, 28, 28))
        assert sum(isinstance(layer, torch.nn.ConvTranspose2d) for layer in undone) == depth


def test_it_knows_the_layers_and_not_the_weights():
    first, second = (split.segments(models.lenet((1, 28, 28), 10, seed=s), "pool2").owner for s in (0, 1))
    same = zip(
        decoder.mirror(first, (1, 28, 28)).parameters(), decoder.mirror(second, (1, 28, 28)).parameters(), strict=True
    )
    assert all(torch.equal(a, b) for a, b in same)
    other = decoder.mirror(first, (1, 28, 28), seed=1)
    assert not torch.equal(next(other.parameters()), next(decoder.mirror(first, (1, 28, 28)).parameters()))


def test_building_it_leaves_the_global_generator_and_the_segment_alone():
    owner = split.segments(models.resnet18((1, 28, 28), 10, width=4), "norm1").owner.train()
    before, state = torch.random.get_rng_state(), {k: v.clone() for k, v in owner.state_dict().items()}
    decoder.mirror(owner, (1, 28, 28))
    assert torch.equal(before, torch.random.get_rng_state())
    assert owner.training
    assert all(torch.equal(state[k], v) for k, v in owner.state_dict().items())


def test_a_segment_that_only_flattens_is_undone_exactly(digits):
    owner = split.segments(models.fully_connected(digits.shape, 10), "flatten").owner
    images = digits.images[:5]
    network = decoder.train(decoder.mirror(owner, digits.shape), split.send(owner, images), images)
    assert torch.equal(decoder.reconstruct(network, split.send(owner, images)), images)


def test_it_reconstructs_images_it_has_never_seen(target, attack):
    found, truth = attack(), target[2].images
    mean = target[1].images.mean(0).expand_as(truth)
    assert quality(found, target) > quality(mean, target) + 5
    nearest = reconstruction.identify(found, truth)
    assert (nearest == torch.arange(len(truth))).float().mean() > 0.5


def test_noise_that_it_does_not_expect_stops_it_and_noise_it_knows_of_does_so_less(target, attack):
    naive, aware = attack(seen=NOISY), attack(protect=NOISY, seen=NOISY)
    mean = quality(target[1].images.mean(0).expand_as(naive), target)
    assert quality(naive, target) < mean + 1
    assert quality(aware, target) > quality(naive, target) + 2
    assert quality(attack(), target) > quality(aware, target) + 1


def test_repeated_queries_undo_the_noise(target, attack):
    found = [quality(attack(protect=p, seen=p), target) for p in (NOISY, OFTEN)]
    assert found[1] > found[0] + 1


def test_the_adversary_sees_its_own_loss_fall_and_training_is_repeatable(target):
    parts, own, _ = target
    losses = []
    network = decoder.mirror(parts.owner, own.shape)
    pairs = split.send(parts.owner, own.images), own.images
    first = decoder.train(network, *pairs, epochs=3, watch=lambda epoch, loss: losses.append((epoch, loss)))
    assert [epoch for epoch, _ in losses] == [0, 1, 2]
    assert losses[2][1] < losses[0][1]
    again, other = (decoder.train(network, *pairs, epochs=3, seed=s) for s in (0, 1))
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(next(first.parameters()), next(other.parameters()))
    assert not torch.equal(next(first.parameters()), next(network.parameters()))


def test_what_does_not_fit_is_refused(target):
    parts, own, _ = target
    sent = split.send(parts.owner, own.images)
    network = decoder.mirror(parts.owner, own.shape)
    with pytest.raises(ValueError, match="there are 10 activations for 11 images"):
        decoder.train(network, sent[:10], own.images[:11])
    small = torch.nn.functional.interpolate(own.images, (14, 14))
    with pytest.raises(ValueError, match=r"the decoder makes \(1, 28, 28\) .* the images are \(1, 14, 14\)"):
        decoder.train(network, sent, small)
    with pytest.raises(ValueError, match=r"does not take images of shape \(3, 28, 28\)"):
        decoder.mirror(parts.owner, (3, 28, 28))
    with pytest.raises(ValueError, match="epochs=0"):
        decoder.train(network, sent, own.images, epochs=0)


def test_fit_is_the_mirror_trained_on_the_adversarys_own_activations():
    images = data.load("digits")[:70].images
    segment = split.segments(models.lenet((1, 28, 28), 10, seed=0), "pool1").owner
    fitted = decoder.fit(segment, images, epochs=1, steps=5, seed=3)
    own = runtime.derive(3, "decoder")
    blank = decoder.mirror(segment, (1, 28, 28), seed=own)
    trained = decoder.train(blank, split.send(segment, images), images, epochs=3, seed=own)  # 5 steps of 32 of 70
    for one, other in zip(fitted.parameters(), trained.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("size", [9, 10])
@pytest.mark.parametrize(
    "options",
    [
        {"dilation": 2},
        {"dilation": 3, "padding": 2},
        {"stride": 2},
        {"stride": 3, "padding": 1},
        {"stride": 2, "dilation": 2},
        {"groups": 2},
        {"padding": "same"},
        {"padding": "same", "dilation": 3},
        {"padding": "valid"},
        {"padding": 1, "padding_mode": "circular"},
        {"padding": 1, "padding_mode": "reflect", "stride": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize(("kind", "kernel"), [("1d", 3), ("1d", 2), ("2d", (3, 2))])
def test_every_convolution_has_a_mirror_of_the_right_size(kind, kernel, options, size):
    nn = torch.nn
    layer = {"1d": nn.Conv1d, "2d": nn.Conv2d}[kind](2, 4, kernel, **options)
    shape = (2, *[size + 1, size][-int(kind[0]) :])
    segment = nn.Sequential(layer, nn.ReLU())
    network = decoder.mirror(segment, shape)
    inputs = torch.rand(3, *shape)
    assert network(segment(inputs)).shape == inputs.shape
    [undone] = [part for part in network if list(part.parameters())]
    assert (undone.groups, undone.stride, undone.dilation) == (layer.groups, layer.stride, layer.dilation)


def test_a_layer_without_a_mirror_is_named():
    class Rows(torch.nn.Module):
        def forward(self, images):
            return images.mean(3)

    segment = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.Sequential(Rows()))
    with pytest.raises(
        ValueError, match=r"layer '1.0', a Rows from \(2, 4, 3\) to \(2, 4\), has no mirror; cut before"
    ):
        decoder.mirror(segment, (1, 6, 5))


def test_a_decoder_of_ones_own_with_named_layers_is_trained():
    layers = {"up": torch.nn.Linear(3, 30), "shape": torch.nn.Unflatten(1, (1, 6, 5))}
    own = torch.nn.Sequential()
    for name, layer in layers.items():
        own.add_module(name, layer)
    images = torch.rand(8, 1, 6, 5)
    trained = decoder.train(own, images.flatten(1)[:, :3], images, epochs=1)
    assert decoder.reconstruct(trained, images.flatten(1)[:, :3]).shape == images.shape


def test_the_mean_of_many_copies_has_less_noise():
    many = decoder.mean_of_copies(functools.partial(laplace, scale=1.0), 25)
    found = many(torch.full((200, 50), 7.0), seed=2)
    assert found.mean().item() == pytest.approx(7, abs=0.02)
    assert found.std().item() == pytest.approx(2**0.5 / 5, rel=0.05)
    with pytest.raises(ValueError, match="copies=0"):
        decoder.mean_of_copies(laplace, 0)


def pairs(count, size, shape=(1, 4, 5), kind=torch.float32):
    """Activations of an uneven scale, and images that depend on them, not in a line."""
    random = torch.Generator().manual_seed(count)
    known = torch.randn(count, *size, generator=random) * 3 + 2
    mixed = known.flatten(1) @ torch.randn(known[0].numel(), 20, generator=random) / 9
    return known.to(kind), mixed.sigmoid().view(count, *shape).to(kind)


@pytest.mark.parametrize("size", [(8,), (3, 4, 5)])
@pytest.mark.parametrize("ridge", [0.3, 20.0])
@pytest.mark.parametrize("count", [12, 90])  # fewer and more images than numbers an activation
def test_least_squares_is_scikit_learns_ridge_regression(count, ridge, size):
    known, images = pairs(count, size)
    sent = torch.randn(7, *size, generator=torch.Generator().manual_seed(1))
    spread = known.std().item()
    other = linear_model.Ridge(alpha=ridge).fit(known.flatten(1).numpy() / spread, images.flatten(1).numpy())
    wanted = torch.tensor(other.predict(sent.flatten(1).numpy() / spread)).view(7, 1, 4, 5).clamp(0, 1)
    found = decoder.reconstruct(decoder.least_squares(known, images, ridge=ridge), sent)
    torch.testing.assert_close(found, wanted.float(), rtol=1e-4, atol=1e-5)


def test_with_a_tiny_ridge_it_is_the_shortest_of_the_best_solutions():
    for count in (12, 90):
        known, images = pairs(count, (30,), kind=torch.float64)
        a, b = (each - each.mean(0) for each in (known.flatten(1), images.flatten(1)))
        wanted = np.linalg.lstsq(a.numpy(), b.numpy(), rcond=None)[0]
        found = decoder.least_squares(known, images, ridge=1e-9)
        torch.testing.assert_close(found[1].weight.T, torch.tensor(wanted), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", [torch.float16, torch.float32, torch.float64])
def test_a_linear_segment_is_undone_and_the_dtype_stays(kind):
    random = torch.Generator().manual_seed(0)
    images = torch.rand(100, 2, 3, 3, generator=random)
    turn = torch.randn(18, 25, generator=random)
    known = (images.flatten(1) @ turn).to(kind)
    found = decoder.reconstruct(decoder.least_squares(known[:60], images[:60].to(kind), ridge=1e-4), known[60:])
    assert found.dtype == kind
    assert (found.float() - images[60:]).abs().max() < (0.05 if kind == torch.float16 else 1e-3)


def test_least_squares_takes_signals_and_activations_that_say_nothing():
    signals = torch.rand(9, 2, 30)
    blank = decoder.least_squares(torch.ones(9, 4), signals)
    found = decoder.reconstruct(blank, torch.ones(3, 4))
    torch.testing.assert_close(found, signals.mean(0).expand(3, 2, 30))


def test_least_squares_sees_images_that_it_has_never_seen(target):
    parts, own, victims = target
    mean = quality(own.images.mean(0).expand_as(victims.images), target)
    linear = decoder.least_squares(split.send(parts.owner, own.images), own.images)
    assert quality(decoder.reconstruct(linear, split.send(parts.owner, victims.images)), target) > mean + 5
    strangers = decoder.least_squares(split.send(parts.owner, own.images).flip(0), own.images)  # pairs that are none
    assert quality(decoder.reconstruct(strangers, split.send(parts.owner, victims.images)), target) < mean + 1


def test_what_least_squares_cannot_take_is_refused():
    known, images = pairs(12, (8,))
    with pytest.raises(ValueError, match="there are 12 activations for 11 images"):
        decoder.least_squares(known, images[:11])
    with pytest.raises(ValueError, match="there is 1 pair; give 2 or more"):
        decoder.least_squares(known[:1], images[:1])
    with pytest.raises(ValueError, match="ridge=0 is out of range"):
        decoder.least_squares(known, images, ridge=0)
    with pytest.raises(TypeError, match=r"activations are torch\.int64; a linear decoder needs floats"):
        decoder.least_squares(known.long(), images)
    with pytest.raises(TypeError, match=r"images are torch\.int64"):
        decoder.least_squares(known, torch.ones(12, 5, dtype=torch.int64))
    with pytest.raises(ValueError, match="not finite"):
        decoder.least_squares(known * float("nan"), images)
    with pytest.raises(ValueError, match="images has values in"):
        decoder.least_squares(known, images * 255)
