import pytest
import torch
from torch import nn

from privlab import data, models
from privlab.attacks import gradient_extraction, trap_weights
from privlab.defences import soteria
from privlab.metrics import extraction
from privlab.sharing import federated


@pytest.fixture
def small():
    """Images of which a Jacobian is quickly made."""
    return torch.rand(11, 2, 5, 5, generator=torch.Generator().manual_seed(0)), torch.arange(11) % 3


def convolutional():
    return models.vgg_inspired((2, 5, 5), 3, filters=(3, 4), neurons=20, seed=0)


def dense():
    return models.fully_connected((2, 5, 5), 3, widths=(30, 20), seed=0)


def smooth():
    """Half of the inputs of its second layer are negative."""
    return models.fully_connected((2, 5, 5), 3, widths=(30, 20), activation="tanh", seed=0)


def slow_mask(front, images, share):
    """Example by example, input by input."""
    rows = []
    for image in images:
        inputs = front(image[None])[0]
        jacobian = torch.autograd.functional.jacobian(lambda x: front(x[None])[0], image)
        ratio = []
        for value, slope in zip(inputs.tolist(), jacobian, strict=True):
            size = slope.square().sum().sqrt().item()
            ratio.append(abs(value) / size if size else 0.0)
        count = int(share * len(ratio))
        hidden = set(sorted(range(len(ratio)), key=lambda i: -ratio[i])[:count])
        rows.append([i not in hidden for i in range(len(ratio))])
    return torch.tensor(rows)


@pytest.mark.parametrize(
    ("network", "layer", "before"),
    [
        (dense, "fc1", "flatten"),
        (dense, "fc2", "relu1"),
        (smooth, "fc2", "tanh1"),
        (convolutional, "fc1", "flatten"),
    ],
)
@pytest.mark.parametrize("share", [0.1, 0.3])  # more than that are not active, and tie
def test_the_telling_inputs_are_those_large_beside_their_slope(network, layer, before, share, small):
    model = network()
    front, _ = models.cut(model, before)
    mask = soteria.telling_mask(model, small[0], layer=layer, share=share)
    assert torch.equal(mask, slow_mask(front, small[0], share))
    assert ((~mask).sum(1) == int(share * mask.shape[1])).all()


def test_of_raw_pixels_the_brightest_are_hidden(small):
    mask = soteria.telling_mask(dense(), small[0], layer="fc1", share=0.4)
    pixels = small[0].flatten(1)
    for kept, row in zip(mask, pixels, strict=True):
        assert row[~kept].min() > row[kept].max()


@pytest.mark.parametrize(("network", "layer", "before"), [(dense, "fc2", "relu1"), (convolutional, "fc1", "flatten")])
def test_the_layers_weights_see_each_example_masked_and_other_layers_see_it_whole(network, layer, before, small):
    images, labels = small
    model = network()
    front, back = models.cut(model, before)
    honest = federated.gradient(model, images, labels)
    defended = soteria.gradient(model, images, labels, layer=layer, share=0.3)
    mask = slow_mask(front, images, 0.3)
    expected = torch.zeros_like(honest[f"{layer}.weight"])
    for image, label, kept in zip(images, labels, mask, strict=True):  # the slow way: one example at a time
        inputs = front(image[None]).detach()
        outputs = back[0](inputs).detach().requires_grad_()
        loss = nn.functional.cross_entropy(back[1:](outputs), label[None])
        (delta,) = torch.autograd.grad(loss, outputs)
        expected += delta[0][:, None] * (inputs[0] * kept) / len(images)
    torch.testing.assert_close(defended[f"{layer}.weight"], expected, rtol=1e-4, atol=1e-7)
    assert not torch.allclose(defended[f"{layer}.weight"], honest[f"{layer}.weight"])
    assert defended.examples == 11
    assert list(defended) == list(honest)
    for name in honest:
        if name != f"{layer}.weight":
            assert torch.equal(defended[name], honest[name])


@pytest.mark.parametrize("layer", ["fc1", "fc2"])
def test_hiding_nothing_is_the_plain_gradient_and_hiding_all_leaves_no_weights(layer, small):
    model = dense()
    honest = federated.gradient(model, *small)
    nothing, everything = (soteria.gradient(model, *small, layer=layer, share=share) for share in (0, 1))
    for name in honest:
        torch.testing.assert_close(nothing[name], honest[name])
    assert not everything[f"{layer}.weight"].any()
    assert everything[f"{layer}.bias"].any()


def test_the_loss_is_the_clients(small):
    doubled = lambda logits, labels: 2 * nn.functional.cross_entropy(logits, labels)  # noqa: E731
    once, twice = (soteria.gradient(dense(), *small, loss=loss) for loss in (federated.cross_entropy, doubled))
    for name in once:
        torch.testing.assert_close(twice[name], 2 * once[name])


@pytest.mark.parametrize(("layer", "stolen"), [("fc2", True), ("fc1", False)])
def test_defending_a_later_layer_does_not_stop_extraction_at_the_first(layer, stolen):
    for seed in range(3):
        part = data.load("digits").sample(20, seed)
        model = trap_weights.plant(models.fully_connected(part.shape, 10, widths=(300, 12), seed=seed), 0.9, seed=seed)
        shared = soteria.gradient(model, part.images, part.labels, layer=layer, share=0.8)
        rows = gradient_extraction.candidates(shared)
        assert len(rows) > 100
        recall = extraction.score(rows, part.images, neurons=300).recall
        assert recall > 0.4 if stolen else recall == 0


def test_the_model_is_left_as_it_was(small):
    model = dense()
    before = [value.clone() for value in model.parameters()]
    soteria.gradient(model, *small)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert all(value.grad is None for value in model.parameters())
    assert not model.fc1._forward_hooks


def test_the_defence_follows_the_device_and_dtype_of_the_images(small):
    model, images = dense().double(), small[0].double()
    with torch.device("meta"):  # what is made on another device than the images' cannot be used with it
        defended = soteria.gradient(model, images, small[1], layer="fc2", share=0.3)
    assert defended["fc2.weight"].dtype == torch.float64
    assert defended["fc2.weight"].device.type == "cpu"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"layer": "relu1"}, "choose one of fc1, fc2, output"),
        ({"share": 1.2}, r"share=1.2 is out of range; give a number in \[0, 1\]"),
        ({"share": -0.1}, "share=-0.1"),
    ],
)
def test_bad_calls_are_refused(arguments, words, small):
    with pytest.raises(ValueError, match=words):
        soteria.gradient(dense(), *small, **arguments)


def test_a_layer_with_nothing_before_it_is_refused():
    bare = torch.nn.Sequential(torch.nn.Linear(4, 2), torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="layer='0' has no layer of the model before it; choose one of 1"):
        soteria.telling_mask(bare, torch.rand(2, 4), layer="0", share=0.5)
