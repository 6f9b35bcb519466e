import pytest
import torch

from privlab import data, defences, models
from privlab.attacks import gradient_extraction, trap_weights
from privlab.defences import perturbation
from privlab.metrics import extraction
from privlab.sharing import federated


@pytest.fixture
def part():
    return data.load("patches").sample(30, 0)


@pytest.fixture
def sent(part):
    model = trap_weights.plant(models.fully_connected(part.shape, 7, widths=(300,), seed=0), 0.95, seed=0)
    return federated.gradient(model, part.images, part.labels)


def flat(gradient):
    return torch.cat([gradient[name].flatten() for name in gradient])


@pytest.mark.parametrize("bound", [1e-3, 0.1, 1.0])
def test_a_clipped_gradient_has_bounded_norm_and_the_same_direction(sent, bound):
    clipped = flat(defences.clip(sent, bound))
    assert clipped.norm().item() == pytest.approx(min(bound, flat(sent).norm().item()), rel=1e-5)
    assert torch.cosine_similarity(clipped, flat(sent), dim=0).item() == pytest.approx(1, abs=1e-5)


def test_clipping_is_that_of_torch(sent):
    parameter = torch.nn.Parameter(torch.zeros(len(flat(sent))))
    parameter.grad = flat(sent).clone()
    torch.nn.utils.clip_grad_norm_([parameter], 0.05)
    torch.testing.assert_close(flat(defences.clip(sent, 0.05)), parameter.grad, rtol=1e-4, atol=1e-9)
    assert perturbation.norm(sent) == pytest.approx(flat(sent).norm().item(), rel=1e-5)


def test_a_small_gradient_is_not_clipped(sent):
    assert torch.equal(flat(defences.clip(sent, 1e9)), flat(sent))


def test_clipping_alone_does_not_protect(sent, part):
    before = gradient_extraction.extract(sent, shape=part.shape)
    after = gradient_extraction.extract(defences.clip(sent, 1e-3), shape=part.shape)
    assert len(before.images) > 5
    assert torch.equal(before.images, after.images)


def test_noise_has_the_spread_that_was_asked_for_and_depends_on_its_seed(sent):
    noisy, again, other = (flat(defences.gaussian(sent, 0.01, seed)) for seed in (0, 0, 1))
    difference = noisy - flat(sent)
    assert difference.std().item() == pytest.approx(0.01, rel=0.01)
    assert difference.mean().item() == pytest.approx(0, abs=1e-4)
    assert torch.equal(noisy, again)
    assert not torch.equal(noisy, other)
    assert torch.equal(flat(defences.gaussian(sent, 0)), flat(sent))


def test_noise_ends_exact_extraction(sent, part):
    rows = gradient_extraction.candidates(defences.gaussian(sent, 1e-5))
    assert extraction.score(rows, part.images, neurons=300).recall == 0


@pytest.mark.parametrize("share", [0.0, 0.5, 0.8, 0.99])
def test_pruning_keeps_the_largest_of_each_layer(sent, share):
    pruned = defences.prune(sent, share)
    for name in sent:
        before, after = sent[name].flatten(), pruned[name].flatten()
        dropped = (after == 0) & (before != 0)
        assert (after == 0).sum() >= int(share * len(before))
        assert torch.equal(after[~dropped], before[~dropped])
        if dropped.any() and after.any():
            assert before[dropped].abs().max() <= after[after != 0].abs().min()


@pytest.mark.parametrize(
    ("defence", "value", "words"),
    [
        (defences.clip, 0, "bound=0"),
        (defences.gaussian, -1, "std=-1"),
        (defences.prune, 1.2, "share=1.2"),
        (defences.prune, 1, "leaves nothing to send"),
    ],
)
def test_bad_strengths_are_refused(sent, defence, value, words):
    with pytest.raises(ValueError, match=words):
        defence(sent, value)


def test_a_defence_keeps_what_it_does_not_touch(sent):
    for protected in (defences.clip(sent, 0.1), defences.gaussian(sent, 0.1), defences.prune(sent, 0.8)):
        assert protected.examples == sent.examples
        assert list(protected) == list(sent)
        assert all(protected[name].shape == sent[name].shape for name in sent)


@pytest.mark.parametrize(("bound", "noise"), [(0.05, 0.0), (0.05, 2.0), (1.0, 1.0), (100.0, 0.3)])
def test_clipping_and_noise_are_the_one_after_the_other(sent, bound, noise):
    released = defences.clip_and_noise(sent, bound, noise, seed=3)
    clipped = defences.clip(sent, bound)
    assert torch.equal(flat(released), flat(defences.gaussian(clipped, noise * bound / 30, seed=3)))
    difference = flat(released).double() - flat(clipped)
    assert difference.std().item() == pytest.approx(noise * bound / 30, rel=0.01, abs=1e-12)
    assert released.examples == 30


def test_the_noise_multiplier_is_that_of_dp_sgd(sent):
    """Opacus adds noise of sigma x bound to the sum over the examples, then divides by their number."""
    from opacus.optimizers import DPOptimizer

    parameter = torch.nn.Parameter(torch.zeros(1, 100_000))
    optimiser = DPOptimizer(
        torch.optim.SGD([parameter], lr=1.0),
        noise_multiplier=0.7,
        max_grad_norm=0.4,
        expected_batch_size=30,
        generator=torch.Generator().manual_seed(0),
    )
    parameter.grad_sample = torch.zeros(30, 1, 100_000)
    optimiser.step()
    assert defences.noise_std(0.4, 0.7, 30) == pytest.approx(parameter.std().item(), rel=0.02)


def test_noise_depends_on_the_seed_and_a_generator_goes_on(sent):
    one, again, other = (flat(defences.clip_and_noise(sent, 1.0, 1.0, seed)) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    random = torch.Generator().manual_seed(0)
    assert torch.equal(flat(defences.clip_and_noise(sent, 1.0, 1.0, random)), one)
    assert not torch.equal(flat(defences.clip_and_noise(sent, 1.0, 1.0, random)), one)


def test_the_client_may_clip_much_lower_for_the_same_protection(sent):
    """Noise is in units of the bound, so that clipping harder costs the adversary nothing."""
    gentle, hard = (
        flat(defences.clip_and_noise(sent, bound, 1e-3)) / bound
        for bound in (0.5 * perturbation.norm(sent), 1e-3 * perturbation.norm(sent))
    )
    torch.testing.assert_close(gentle, hard, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0, 1, 5), r"bound=0 is out of range; give a number in \(0, inf\)"),
        ((1, -0.1, 5), r"noise=-0.1 is out of range; give a number in \[0, inf\)"),
        ((1, 1, 0), "examples=0"),
        ((float("nan"), 1, 5), "bound=nan"),
    ],
)
def test_bad_noise_is_refused(sent, arguments, words):
    with pytest.raises(ValueError, match=words):
        defences.noise_std(*arguments)
    if arguments[2]:
        with pytest.raises(ValueError, match=words.split("=")[0]):
            defences.clip_and_noise(sent, *arguments[:2])
