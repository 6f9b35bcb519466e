import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from privlab import data, models
from privlab.attacks import gradient_extraction as attack
from privlab.attacks import trap_weights
from privlab.metrics import extraction
from privlab.sharing import federated


def client(name="patches", batch=100, seed=0, split="train"):
    return data.load(name, split).sample(batch, seed)


def answer(part, neurons=300, seed=0, s=None, dtype=torch.float32):
    model = models.fully_connected(part.shape, len(part.classes), widths=(neurons,), seed=seed).to(dtype)
    if s is not None:
        model = trap_weights.plant(model, s, seed=seed)
    return model, federated.gradient(model, part.images.to(dtype), part.labels)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(2, 12), st.integers(2, 12)),
    neurons=st.integers(2, 40),
    seed=st.integers(0, 999),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_one_example_is_read_exactly_at_any_neuron_with_a_bias_gradient(shape, neurons, seed, dtype):
    random = torch.Generator().manual_seed(seed)
    image = torch.rand(1, *shape, generator=random, dtype=dtype)
    model = models.fully_connected(shape, 3, widths=(neurons,), seed=seed).to(dtype)
    shared = federated.gradient(model, image, torch.tensor([1]))
    rows = attack.candidates(shared)
    assert len(rows) == int((shared["fc1.bias"] != 0).sum())
    if len(rows):
        assert (rows - image.flatten(1)).norm(dim=1).max() < 1e-4


def test_a_candidate_of_a_batch_is_the_weighted_mean_of_the_examples_that_were_active():
    part = client(batch=8)
    model, shared = answer(part, neurons=50)
    deltas = []
    for image, label in zip(part.images, part.labels, strict=True):  # the slow way: one example at a time
        deltas.append(federated.gradient(model, image[None], label[None])["fc1.bias"])
    weights = torch.stack(deltas)
    active = attack.active_neurons(shared)
    assert torch.equal(active, weights.any(0).nonzero().flatten())
    expected = (weights.T @ part.images.flatten(1))[active] / weights.sum(0)[active, None]
    torch.testing.assert_close(attack.candidates(shared), expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["digits", "patches"])
@pytest.mark.parametrize("s", [None, 0.9, 0.95])
def test_the_adversarys_judgement_is_right_for_99_percent_of_neurons(name, s):
    right = total = 0
    for seed in range(4):
        part = client(name, batch=60, seed=seed)
        _, shared = answer(part, neurons=500, seed=seed, s=s)
        truth = extraction.match(attack.candidates(shared), part.images) >= 0
        judged = torch.isin(attack.active_neurons(shared), attack.extract(shared, shape=part.shape).neurons)
        right += int((truth == judged).sum())
        total += len(truth)
    assert total > 100
    assert right / total >= 0.99


def test_extracted_images_are_the_clients_each_once():
    part = client(batch=50)
    _, shared = answer(part, neurons=1000, s=0.95)
    found = attack.extract(shared, shape=part.shape)
    places = extraction.match(found.images, part.images)
    assert len(found.images) > 10
    assert (places >= 0).all()
    distinct = len({image.numpy().tobytes() for image in part.images[places]})
    assert distinct == len(found.images)  # the same picture at two places of the batch is one image
    rows = attack.candidates(shared, neurons=found.neurons).view(-1, *part.shape)
    torch.testing.assert_close(found.images[found.shows], rows, rtol=0, atol=1e-4)


def test_the_attack_does_not_depend_on_the_scale_of_the_gradient():
    part = client(batch=30)
    _, shared = answer(part, neurons=400, s=0.95)
    scaled = federated.Gradient({name: shared[name] * 0.37 for name in shared}, shared.examples)
    assert torch.equal(attack.extract(scaled, shape=part.shape).images, attack.extract(shared, shape=part.shape).images)


def test_data_off_the_grid_are_found_by_the_gradient_that_they_reproduce(seeded):
    part = client(batch=15)
    images = torch.rand(15, 3, 8, 8, generator=seeded)
    model = models.fully_connected((3, 8, 8), 7, widths=(200,), seed=0)
    shared = federated.gradient(model, images, part.labels)
    truth = extraction.match(attack.candidates(shared), images) >= 0
    found = attack.extract(shared, shape=(3, 8, 8), levels=None, model=model, classes=7)
    judged = torch.isin(attack.active_neurons(shared), found.neurons)
    assert truth.sum() >= 10
    assert judged[truth].all()  # none is missed
    assert (judged & ~truth).sum() <= 0.02 * len(truth)  # a mixture agrees by accident only
    by_grid = attack.extract(shared, shape=(3, 8, 8))
    assert len(by_grid.images) == 0


def test_noise_ends_exact_extraction(seeded):
    part = client(batch=20)
    _, shared = answer(part, neurons=500, s=0.95)
    assert len(attack.extract(shared, shape=part.shape).images) > 5
    noisy = {name: shared[name] + 1e-5 * torch.randn(shared[name].shape, generator=seeded) for name in shared}
    blurred = federated.Gradient(noisy, shared.examples)
    assert len(attack.extract(blurred, shape=part.shape).images) == 0
    assert extraction.score(attack.candidates(blurred), part.images, neurons=500).recall == 0


def test_averaging_over_clients_lowers_recall_and_clients_that_send_nothing_do_not():
    model = trap_weights.plant(models.fully_connected((3, 32, 32), 7, widths=(500,), seed=0), 0.95, seed=0)
    parts = [client(batch=20, seed=seed) for seed in range(8)]
    sent = [federated.gradient(model, part.images, part.labels) for part in parts]
    everyone = torch.cat([part.images for part in parts])

    def recall(gradient, images):
        return extraction.score(attack.candidates(gradient), images, neurons=500).recall

    alone = recall(sent[0], parts[0].images)
    assert recall(federated.average(sent), everyone) < 0.5 * alone
    nobody = federated.Gradient({name: torch.zeros_like(sent[0][name]) for name in sent[0]}, 20)
    assert recall(federated.average([sent[0], nobody, nobody, nobody]), parts[0].images) == pytest.approx(
        alone, abs=0.05
    )


def test_a_smooth_activation_mixes_everything():
    part = client(batch=20)
    model = models.fully_connected(part.shape, 7, widths=(300,), activation="tanh", seed=0)
    shared = federated.gradient(model, part.images, part.labels)
    assert extraction.score(attack.candidates(shared), part.images, neurons=300).recall == 0


@pytest.mark.parametrize("levels", [255, 15, 1])
def test_the_grid_test_knows_its_levels(levels, seeded):
    on = torch.randint(0, levels + 1, (20, 60), generator=seeded) / levels
    off = on.clone()
    off[:, 7] += 0.3 / levels
    assert attack.on_pixel_grid(on, levels).all()
    assert not attack.on_pixel_grid(off, levels).any()
    assert not attack.on_pixel_grid(on + 1, levels)[on.amax(1) > 0].any()  # on the grid, but no image


def test_distinct_keeps_one_of_each_and_says_which(seeded):
    images = torch.rand(10, 50, generator=seeded)
    order = torch.tensor([3, 1, 3, 7, 1, 9])
    kept, place = attack.distinct(images[order] + 1e-7)
    assert kept.tolist() == [0, 1, 3, 5]
    torch.testing.assert_close(images[order][kept][place], images[order])
    assert [len(part) for part in attack.distinct(images[:0])] == [0, 0]


def test_nothing_active_yields_nothing():
    _, shared = answer(client(batch=3), neurons=50, s=0.01)
    found = attack.extract(shared, shape=(3, 32, 32))
    assert found.active == 0
    assert found.images.shape == (0, 3, 32, 32)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"shape": (1, 28, 28)}, "784 values, but the gradient"),
        ({"shape": (3, 32, 0)}, "shape=0"),
        ({"shape": (3, 32, 32), "layer": "conv1"}, "choose one of fc1, output"),
        ({"shape": (3, 32, 32), "levels": 0}, "levels=0"),
        ({"shape": (3, 32, 32), "levels": None}, "needs model= and classes="),
    ],
)
def test_bad_calls_are_refused(arguments, words):
    _, shared = answer(client(batch=2), neurons=10)
    with pytest.raises(ValueError, match=words):
        attack.extract(shared, **arguments)


def test_a_hundredth_of_a_step_is_off_the_grid():
    steps = torch.full((1, 40), 100.0)
    steps[0, 3] += 0.01
    assert not attack.on_pixel_grid(steps / 255).any()


def test_rows_below_zero_are_no_image(seeded):
    on = torch.randint(1, 256, (5, 40), generator=seeded) / 255
    assert attack.on_pixel_grid(on).all()
    assert not attack.on_pixel_grid(-on).any()


def test_active_counts_every_active_neuron_not_only_those_that_show_an_image():
    _, shared = answer(client(batch=60))
    found = attack.extract(shared, shape=(3, 32, 32))
    assert found.active == len(attack.active_neurons(shared)) > len(found.neurons)


@pytest.mark.parametrize("scale", [1, 255])
def test_images_one_step_apart_are_two_images(scale, seeded):
    one = torch.randint(0, 255, (1, 50), generator=seeded) / scale
    other = one.clone()
    other[0, 7] += 1 / scale
    assert len(attack.distinct(torch.cat([one, other, one]))[0]) == 2
