"""The ε that is spent and the ε that is shown, at a small size: what a cell measures."""

import math

import pytest
import torch

from privlab.defences import dp_sgd
from privlab.metrics import auditing
from privlab.studies.membership import dp

CPU = torch.device("cpu")
FAINT, LOUD = 0.05, 100.0


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    for name, value in {"NETWORKS": 4, "STEPS": 4, "CANARIES": 60, "OTHERS": 60}.items():
        monkeypatch.setattr(dp, name, value)
    dp._trained.cache_clear()
    dp.noise.cache_clear()
    kept = dp._trained.cache_clear, dp.noise.cache_clear
    yield
    for clear in kept:
        clear()


def measured(attack, noise, monkeypatch, epsilon=1e6):
    """One cell, with a noise that is given in the place of a budget."""
    monkeypatch.setattr(dp, "noise", lambda _: noise)
    monkeypatch.setattr(dp_sgd, "epsilon", lambda *_, **__: epsilon)
    return dp.run({"data": "digits", "epsilon": epsilon, "attack": attack}, 0, CPU)


def test_who_sees_every_step_tells_all_coins_where_there_is_next_to_no_noise(monkeypatch):
    found = measured("steps", FAINT, monkeypatch)
    assert found["auc"] > 0.99
    assert found["epsilon_shown_gaussian"] >= found["epsilon_shown"] > 0.5
    assert found["above_spent"] == found["above_spent_gaussian"] == 0.0
    assert measured("steps", FAINT, monkeypatch, epsilon=0.1)["above_spent"] == 1.0


def test_noise_hides_the_coins(monkeypatch):
    found = measured("steps", LOUD, monkeypatch)
    assert found["auc"] == pytest.approx(0.5, abs=0.1)
    assert found["epsilon_shown"] < 0.2


@pytest.mark.parametrize("attack", ["loss", "lira"])
def test_the_finished_model_tells_less_than_its_steps(attack, monkeypatch):
    found = measured(attack, FAINT, monkeypatch)
    assert 0.4 < found["auc"] < measured("steps", FAINT, monkeypatch)["auc"]
    assert found.keys() == measured("steps", FAINT, monkeypatch).keys() == set(dp.STUDY.metrics)


@pytest.mark.parametrize("epsilon", [1.0, 8.0])
def test_full_batches_make_of_dp_sgd_a_gaussian_mechanism(epsilon):
    found = dp.run({"data": "digits", "epsilon": epsilon, "attack": "loss"}, 0, CPU)
    noise = dp_sgd.noise_multiplier(epsilon, dp.DELTA, sample_rate=1.0, steps=dp.STEPS)
    assert found["noise"] == noise
    assert found["epsilon_spent"] == dp_sgd.epsilon(noise, dp.DELTA, sample_rate=1.0, steps=dp.STEPS)
    gaussian = auditing.gaussian_epsilon(math.sqrt(dp.STEPS) / noise, dp.DELTA)
    assert found["epsilon_spent"] == pytest.approx(gaussian, abs=0.02)
    assert found["epsilon_spent"] <= epsilon


def test_the_coins_are_solved_for_as_by_hand(monkeypatch):
    """All steps' clipped gradients of the canaries, put one below the other, and one linear system for the coins."""
    monkeypatch.setattr(dp, "STEPS", 1)
    images, labels, canaries, classes = dp._records("digits", 3)
    inside = torch.arange(canaries) % 2 == 0
    model = dp.models.fully_connected(images.shape[1:], classes, widths=(dp.WIDTH,), seed=0)
    rows = dp_sgd.per_example(model, images[:canaries], labels[:canaries], clip=dp.CLIP)
    rows = torch.cat([value.flatten(1) for value in rows.values()], 1).double()
    assert rows.norm(dim=1).max() <= dp.CLIP + 1e-4
    monkeypatch.setattr(dp, "noise", lambda _: 2.0)
    read = dp._train(model, images, labels, inside, 1.0, 5)
    size = rows.shape[1]
    random = dp.runtime.generator(dp.runtime.derive(5, "noise"))
    seen = rows.T @ (inside.double() - 0.5) + 2.0 * torch.randn(size, generator=random).double()
    system = torch.cat([rows.T / 2.0, 2 * torch.eye(canaries).double()])  # a coin less a half is a half away from zero
    wanted = torch.linalg.lstsq(system, torch.cat([seen / 2.0, torch.zeros(canaries).double()])[:, None])
    assert torch.allclose(read.double(), wanted.solution[:, 0], atol=1e-3)


def test_records_of_a_table_are_images_of_one_line():
    images, labels, canaries, classes = dp._records("tumours", 0)
    drawn = dp.dataset("tumours").sample(len(images), dp.runtime.derive(0, "records"))
    assert torch.equal(images, drawn.values[:, None, None])
    assert torch.equal(labels[canaries:], drawn.labels[canaries:])
    assert (canaries, classes) == (dp.CANARIES, 2)
    assert dp.run({"data": "tumours", "epsilon": 8.0, "attack": "steps"}, 0, CPU).keys() == set(dp.STUDY.metrics)


def test_labels_of_canaries_are_drawn_anew_and_those_of_the_others_kept():
    images, labels, canaries, _ = dp._records("digits", 0)
    drawn = dp.dataset("digits").sample(len(images), dp.runtime.derive(0, "records"))
    assert canaries == dp.CANARIES
    assert torch.equal(labels[canaries:], drawn.labels[canaries:])
    assert (labels[:canaries] == drawn.labels[:canaries]).float().mean() < 0.35
