"""FGSM and PGD against foolbox's: `python -m nox -s oracles`."""

import foolbox
import pytest
import torch

from privlab import data, models
from privlab.attacks import evasion
from privlab.sharing import predictions

TRAIN, TEST = data.load("digits"), data.load("digits", split="test")
THEIRS = {"linf": foolbox.attacks.LinfPGD, "l2": foolbox.attacks.L2PGD}


def trained(seed):
    blank = models.fully_connected(TRAIN.shape, 10, widths=(64,), seed=seed)
    return predictions.fit(blank, TRAIN.images, TRAIN.labels, epochs=10, seed=seed).eval()


def asked(model, attack, epsilon):
    """Their images, and the share that is fooled."""
    outside = foolbox.PyTorchModel(model, bounds=(0, 1))
    _, made, fooled = attack(outside, TEST.images, TEST.labels, epsilons=epsilon)
    return made, fooled.float().mean().item()


def fooled(model, made):
    with torch.no_grad():
        return (model(made).argmax(1) != TEST.labels).float().mean().item()


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("epsilon", [0.03, 0.1, 0.3])
def test_fgsm_is_theirs_to_the_last_bit(seed, epsilon):
    model = trained(seed)
    made, _ = asked(model, foolbox.attacks.LinfFastGradientAttack(), epsilon)
    ours = evasion.fgsm(model, TEST.images, TEST.labels, epsilon=epsilon)
    assert torch.equal(ours, made)
    assert fooled(model, ours) > 0.1


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.05), ("l2", 1.0)])
@pytest.mark.parametrize("steps", [1, 5])
def test_steps_of_pgd_without_chance_are_theirs_to_rounding(seed, norm, epsilon, steps):
    """A pixel whose slope is 0 up to rounding may go either way: one image in a hundred may differ."""
    model = trained(seed)
    made, _ = asked(model, THEIRS[norm](abs_stepsize=0.4 * epsilon, steps=steps, random_start=False), epsilon)
    how = {"epsilon": epsilon, "steps": steps, "step": 0.4 * epsilon, "norm": norm, "restarts": 0}
    apart = (evasion.pgd(model, TEST.images, TEST.labels, **how) - made).flatten(1).abs().amax(1)
    assert (apart < 1e-5).float().mean() > 0.99


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(("norm", "epsilon"), [("linf", 0.05), ("l2", 1.0)])
def test_forty_steps_fool_as_many_as_theirs(seed, norm, epsilon):
    model = trained(seed)
    _, theirs = asked(model, THEIRS[norm](rel_stepsize=2.5 / 40, steps=40, random_start=True), epsilon)
    ours = fooled(model, evasion.pgd(model, TEST.images, TEST.labels, epsilon=epsilon, norm=norm, seed=seed))
    print(f"{norm}, seed {seed}: ours fools {ours:.3f}, theirs {theirs:.3f}")
    assert ours > 0.1
    assert ours == pytest.approx(theirs, abs=0.03)
