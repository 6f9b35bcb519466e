"""Client-level differential privacy: what one client can move, and which noise lies where."""

import math

import numpy as np
import pytest
import torch

from privlab import data, models
from privlab.attacks import gradient_extraction
from privlab.defences import client_dp
from privlab.metrics import reconstruction
from privlab.sharing import federated, messages
from privlab.sharing.federated import Client, Update

SHAPES = {"first.weight": (4, 3), "first.bias": (4,), "answer": (2, 2, 2)}


def drawn(length, random, shapes=SHAPES):
    """An update of this l2 norm in a random direction."""
    made = {name: torch.randn(shape, generator=random, dtype=torch.float64) for name, shape in shapes.items()}
    scale = length / math.sqrt(sum(float(x) ** 2 for each in made.values() for x in each.flatten()))
    return Update({name: each * scale for name, each in made.items()}, {})


@pytest.fixture
def unequal():
    """From a client that has hardly changed anything to one whose training all but diverged."""
    random = torch.Generator().manual_seed(0)
    return [drawn(length, random) for length in (1e-3, 0.4, 1.0, 30.0, 1e6)]


def flat(update):
    return torch.cat([update[name].flatten() for name in sorted(update)])


def total(updates, clip):
    """The sum before the noise."""
    return len(updates) * flat(client_dp.aggregate(updates, clip=clip, noise=0.0).mean)


@pytest.mark.parametrize("clip", [0.1, 1.0, 1e9])
def test_clipping_is_that_of_a_loop_over_all_numbers(unequal, clip):
    for update in unequal:
        length = math.sqrt(sum(x * x for each in update.values() for x in each.flatten().tolist()))
        clipped = client_dp.clip_update(update, clip)
        assert client_dp.norm(update) == pytest.approx(length)
        assert {name: each.shape for name, each in clipped.items()} == {
            name: each.shape for name, each in update.items()
        }
        for name, each in update.items():
            wanted = [x * min(1, clip / length) for x in each.flatten().tolist()]
            assert clipped[name].flatten().tolist() == pytest.approx(wanted, rel=1e-12)
        assert client_dp.norm(clipped) <= clip * (1 + 1e-12)


def test_without_noise_the_release_is_the_plain_mean_of_what_is_clipped_and_the_updates_stay(unequal):
    before = [flat(update).clone() for update in unequal]
    found = client_dp.aggregate(unequal, clip=0.5, noise=0.0)
    wanted = torch.zeros_like(before[0])
    for update in before:
        wanted += update * min(1, 0.5 / update.norm().item()) / 5
    torch.testing.assert_close(flat(found.mean), wanted)
    assert all(torch.equal(flat(update), old) for update, old in zip(unequal, before, strict=True))
    assert all(client_dp.norm(each) <= 0.5 * (1 + 1e-12) for each in found.arrived)


@pytest.mark.parametrize("clip", [0.01, 1.0, 100.0])
def test_no_client_moves_the_sum_by_more_than_the_clip_however_unequal_they_are(unequal, clip):
    """Leaving or joining by the clip, replaced by another twice that; the large ones come that far."""
    whole, moved, replaced = total(unequal, clip), [], []
    for place, update in enumerate(unequal):
        rest = unequal[:place] + unequal[place + 1 :]
        moved.append((whole - total(rest, clip)).norm().item())
        other = Update({name: -1e3 * each for name, each in update.items()}, {})
        replaced.append((whole - total([*rest, other], clip)).norm().item())
    assert max(moved) <= clip * (1 + 1e-9)
    assert max(moved) == pytest.approx(clip)
    assert max(replaced) <= 2 * clip * (1 + 1e-9)
    assert max(replaced) == pytest.approx(2 * clip)


def test_weights_by_examples_would_let_a_large_client_move_more():
    """A client of 990 images beside nine of ten: that clipping alone does not bound what FedAvg's mean shows of it."""
    random = torch.Generator().manual_seed(0)
    sent, counts = [drawn(50.0, random) for _ in range(10)], [990] + [10] * 9
    clipped = [client_dp.clip_update(update, 1.0) for update in sent]
    silent = Update({name: torch.zeros_like(each) for name, each in sent[0].items()}, {})
    weighted = flat(messages.mean_update(clipped, counts)) - flat(messages.mean_update([silent, *clipped[1:]], counts))
    equal = (total(sent, 1.0) - total([silent, *sent[1:]], 1.0)) / 10
    assert equal.norm().item() == pytest.approx(1 / 10)
    assert weighted.norm().item() == pytest.approx(990 / 1080)


@pytest.mark.parametrize("where", client_dp.WHERE)
@pytest.mark.parametrize(("clip", "noise", "count"), [(1.0, 1.0, 4), (0.2, 3.0, 9), (5.0, 0.5, 1)])
def test_the_noise_of_the_mean_is_the_same_wherever_it_is_added_and_what_arrives_is_not(where, clip, noise, count):
    shapes, numbers = {"a": (300, 100), "b": (20_000,)}, 50_000
    updates = [Update({name: torch.full(shape, i + 1.0) for name, shape in shapes.items()}, {}) for i in range(count)]
    quiet = client_dp.aggregate(updates, clip=clip, noise=0.0)
    noisy = client_dp.aggregate(updates, clip=clip, noise=noise, where=where, seed=3)
    within = 4 / math.sqrt(2 * numbers)  # four standard errors of a standard deviation

    def spread(one, other):
        return (flat(one).double() - flat(other).double()).std().item()

    assert spread(noisy.mean, quiet.mean) == pytest.approx(noise * clip / count, rel=within)
    middle = (flat(noisy.mean) - flat(quiet.mean)).double().mean().item()
    assert abs(middle) < 4 * noise * clip / count / math.sqrt(numbers)
    for got, clipped in zip(noisy.arrived, quiet.arrived, strict=True):
        if where == "server":
            assert torch.equal(flat(got), flat(clipped))
        else:
            assert spread(got, clipped) == pytest.approx(noise * clip / math.sqrt(count), rel=within)


def test_clients_draw_noise_of_their_own(unequal):
    """The noise of two clients is as unlike as any two draws: shared noise would add up to more."""
    wide = [drawn(1.0, torch.Generator().manual_seed(i), {"a": (100, 100)}) for i in range(2)]
    quiet, noisy = (client_dp.aggregate(wide, clip=1.0, noise=n, where="client").arrived for n in (0.0, 1.0))
    one, other = (flat(a) - flat(b) for a, b in zip(noisy, quiet, strict=True))
    assert abs(torch.corrcoef(torch.stack([one, other]))[0, 1].item()) < 4 / 100


@pytest.mark.parametrize("where", client_dp.WHERE)
def test_the_same_seed_gives_the_same_noise_and_a_generator_goes_on(unequal, where):
    def made(seed):
        return flat(client_dp.aggregate(unequal, clip=1.0, noise=1.0, where=where, seed=seed).mean)

    before, random = torch.get_rng_state(), torch.Generator().manual_seed(0)
    assert torch.equal(made(0), made(0))
    assert not torch.equal(made(0), made(1))
    assert torch.equal(made(random), made(0))
    assert not torch.equal(made(random), made(0))
    assert torch.equal(before, torch.get_rng_state())


def reads(update, lr, truth):
    """The PSNR of the best row that extraction divides out of an update, whether or not the adversary knows it."""
    gradient = federated.update_as_gradient(update, 1, lr=lr, steps=1)
    rows = gradient_extraction.candidates(gradient).clamp(0, 1).view(-1, *truth.shape[1:])
    return max(reconstruction.psnr(row[None], truth).item() for row in rows)


@pytest.mark.parametrize("where", client_dp.WHERE)
def test_noise_of_the_server_hides_an_image_from_everyone_but_the_server(where):
    """Each of three clients trains one step on one image: what arrives of it, and what all are told afterwards."""
    part, lr = data.load("patches").sample(3, 0), 0.1
    model = models.fully_connected(part.shape, 7, widths=(50,), seed=0)
    how = {"epochs": 1, "batch": 1, "lr": lr}
    updates = [
        federated.local_update(
            model,
            Client(part.images[i : i + 1], part.labels[i : i + 1]),
            **how,
            random=torch.Generator().manual_seed(0),
        )
        for i in range(3)
    ]
    clip = min(client_dp.norm(update) for update in updates) / 2
    released = client_dp.aggregate(updates, clip=clip, noise=0.1, where=where)
    for place, arrived in enumerate(released.arrived):
        image = part.images[place : place + 1]
        assert (reads(arrived, lr, image) > 60) == (where == "server")
        assert reads(released.mean, lr, image) < 20
    alone = client_dp.aggregate(updates[:1], clip=clip, noise=0.0)
    assert reads(alone.mean, lr, part.images[:1]) > 60  # clipping alone hides nothing


def test_a_mean_with_less_noise_than_any_promise_needs_still_learns():
    """Twenty clients, five rounds: the release is an update that the server can apply."""
    part, test = data.load("digits").sample(400, 0), data.load("digits", "test")
    model = models.fully_connected(part.shape, 10, widths=(32,), seed=0)
    clients = [Client(part.images[i::20], part.labels[i::20]) for i in range(20)]
    random = torch.Generator().manual_seed(0)
    before = federated.accuracy(model, test.images, test.labels)
    for number in range(5):
        how = {"epochs": 2, "batch": 5, "lr": 0.05, "random": random}
        updates = [federated.local_update(model, client, **how) for client in clients]
        mean = client_dp.aggregate(updates, clip=2.0, noise=0.01, seed=number).mean
        with torch.no_grad():
            for name, each in model.named_parameters():
                each.add_(mean[name])
    assert federated.accuracy(model, test.images, test.labels) > before + 0.4


def test_running_averages_are_refused_with_the_remedy():
    part = data.load("digits").sample(4, 0)
    model = models.resnet18(part.shape, 10, width=2, seed=0)
    how = {"epochs": 1, "batch": 4, "lr": 0.1, "random": torch.Generator().manual_seed(0)}
    update = federated.local_update(model, Client(part.images, part.labels), **how)
    with pytest.raises(ValueError, match=r"carries buffers \(.*running_mean.* such as resnet18 with norm='group'"):
        client_dp.aggregate([update], clip=1.0, noise=1.0)


def changed(update, **parts):
    return Update({**update, **parts}, {})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda one: [], "there are no updates; give at least one"),
        (lambda one: [Update({}, {})], "an update is empty; give the changes of at least one parameter"),
        (lambda one: [one, changed(one, more=torch.zeros(2))], "of different models: names or shapes differ"),
        (lambda one: [one, changed(one, answer=torch.zeros(3))], "of different models: names or shapes differ"),
        (lambda one: [one, changed(one, answer=torch.full((2, 2, 2), math.nan))], "is not finite in answer; .* lr"),
        (lambda one: [one, changed(one, answer=torch.full((2, 2, 2), math.inf))], "is not finite in answer; .* lr"),
    ],
)
def test_updates_that_have_no_mean_are_refused(unequal, make, words):
    for where in client_dp.WHERE:
        with pytest.raises(ValueError, match=words):
            client_dp.aggregate(make(unequal[0]), clip=1.0, noise=1.0, where=where)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"clip": 0}, r"clip=0 is out of range; give a number in \(0, inf\)"),
        ({"clip": -1.0}, r"clip=-1.0 is out of range"),
        ({"clip": math.nan}, r"clip=nan is out of range"),
        ({"noise": -0.1}, r"noise=-0.1 is out of range; give a number in \[0, inf\)"),
        ({"where": "cloud"}, "where='cloud' is not known; choose one of server, client"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_settings_that_mean_nothing_are_refused(unequal, settings, words):
    with pytest.raises(ValueError, match=words):
        client_dp.aggregate(unequal, **{"clip": 1.0, "noise": 1.0, **settings})
    with pytest.raises(ValueError, match="bound=0 is out of range"):
        client_dp.clip_update(unequal[0], 0)


@pytest.mark.parametrize(
    ("updates", "words"),
    [
        (Update({"w": torch.ones(2)}, {}), "updates is a Update; give a list of them, one of each client"),
        (torch.ones(2, 2), "updates is a Tensor; give a list"),
        (None, "updates is a NoneType; give a list"),
        ([None], "an update is a NoneType; give the changes of a model's parameters by name"),
        ([torch.ones(2)], "an update is a Tensor; give the changes"),
        ([{"w": np.ones(2)}], "an update holds a ndarray in w; give torch tensors of floats"),
        ([{"w": torch.ones(2).int()}], "an update holds torch.int32 in w; give torch tensors of floats"),
        ([{"w": torch.ones(2) * 1j}], "an update holds torch.complex64 in w"),
    ],
)
def test_what_are_no_updates_is_refused(updates, words):
    with pytest.raises(TypeError, match=words):
        client_dp.aggregate(updates, clip=1.0, noise=1.0)
    if isinstance(updates, list):
        with pytest.raises(TypeError, match=words):
            client_dp.clip_update(updates[0], 1.0)


def test_updates_may_come_one_by_one(unequal):
    one, other = (client_dp.aggregate(each, clip=1.0, noise=1.0).mean for each in (unequal, iter(unequal)))
    assert torch.equal(flat(one), flat(other))


@pytest.mark.parametrize(
    ("value", "kind", "bound"),
    [
        (3e38, torch.float32, 1.0),
        (3e38, torch.float32, 1e-30),
        (6e4, torch.float16, 1e-3),
        (1e300, torch.float64, 1.0),
        (1.7e308, torch.float64, 1.0),
        (1e-200, torch.float64, 1e-220),
    ],
)
def test_an_update_of_any_size_is_clipped_to_the_bound_and_not_to_nothing(value, kind, bound):
    clipped = client_dp.clip_update(Update({"w": torch.full((10,), value, dtype=kind)}, {}), bound)
    assert clipped["w"].dtype == kind
    assert clipped["w"].double().tolist() == pytest.approx([bound / math.sqrt(10)] * 10, rel=1e-2)


def test_the_norm_is_right_where_squares_leave_the_floats():
    for value in (1e300, 1e-300, 0.0):
        update = Update({"w": torch.full((3, 3), value, dtype=torch.float64)}, {})
        assert client_dp.norm(update) == pytest.approx(3 * value)
    assert torch.equal(client_dp.clip_update(update, 1e-300)["w"], update["w"])  # of zeros


def test_a_fixed_divisor_hides_how_many_came():
    updates = [federated.Update({"w": torch.ones(4) / 2}, {}) for _ in range(3)]
    sent = client_dp.aggregate(updates, clip=1.0, noise=0.0, expected=6)
    assert torch.allclose(sent.mean["w"], torch.full((4,), 0.25))
    noise = client_dp.aggregate([federated.Update({"w": torch.zeros(20_000)}, {})], clip=2.0, noise=3.0, expected=6)
    assert noise.mean["w"].std().item() == pytest.approx(2.0 * 3.0 / 6, rel=0.03)
