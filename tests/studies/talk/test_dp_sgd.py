"""The noise that stops each attack, at a small size: what a cell measures."""

from dataclasses import replace

import pytest
import torch

from privlab import data
from privlab.defences import dp_sgd as defence
from privlab.studies.talk import dp_sgd

CPU = torch.device("cpu")
SMALL = {"BATCH": 4, "DECOYS": 60, "NEURONS": 120, "VICTIMS": 2, "IMAGES": 120, "DP_BATCH": 60, "EPOCHS": 40}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    for name, value in {**SMALL, "WIDTH": 32}.items():
        monkeypatch.setattr(dp_sgd, name, value)
    inner = dp_sgd.deep_leakage.reconstruct
    monkeypatch.setattr(dp_sgd.deep_leakage, "reconstruct", lambda *a, **k: inner(*a, **{**k, "iterations": 40}))
    dp_sgd._trained.cache_clear()
    yield
    dp_sgd._trained.cache_clear()


def measured(attack, noise, seed=0):
    return dp_sgd.run({"data": "digits", "attack": attack, "noise": noise}, seed, CPU)


@pytest.mark.parametrize(
    ("attack", "noise", "least", "blind"),
    [
        ("labels", 3.0, 0.7, None),
        ("extraction", 3.0, 0.5, 4 / 64),
        ("trap_weights", 3.0, 0.5, 4 / 64),
        ("dlg", 3.0, 1.0, 1 / 61),
        ("membership", 10.0, 0.4, 0.0),
    ],
)
def test_an_attack_succeeds_without_noise_and_is_a_guess_under_much_of_it(attack, noise, least, blind):
    plain, noisy = measured(attack, 0.0), measured(attack, noise)
    assert plain["success"] >= least
    assert noisy["success"] - noisy["blind"] < dp_sgd.HALF * (plain["success"] - plain["blind"])
    assert noisy["success"] <= (0.5 if attack == "labels" else 0.25)
    assert plain["blind"] == noisy["blind"]
    if blind is not None:
        assert plain["blind"] == pytest.approx(blind)


@pytest.mark.parametrize("attack", ["labels", "extraction", "trap_weights"])
def test_a_draw_is_the_same_again(attack):
    assert measured(attack, 0.1) == measured(attack, 0.1)


def test_training_learns_and_spends_what_the_accountant_says():
    plain, noisy = measured("training", 0.0), measured("training", 3.0)
    assert plain["accuracy"] > 0.6 > noisy["accuracy"]
    assert "epsilon_spent" not in plain
    spent = defence.epsilon(3.0, dp_sgd.DELTA, sample_rate=0.5, steps=80, accountant="rdp")
    assert noisy["epsilon_spent"] == pytest.approx(spent)


def labelled(*labels):
    made = data.load("digits")[: len(labels)]
    return replace(made, labels=torch.tensor(labels))


def test_labels_are_counted_as_multisets():
    parts = [labelled(1, 1, 2, 3), labelled(0, 0, 0, 4)]
    found = torch.tensor([[1, 2, 2, 3], [4, 4, 4, 0]])
    assert dp_sgd._overlap(found, parts, 10) == (3 + 2) / 8  # 1, 2, 3 once each; 0 and 4 once each
    assert dp_sgd._overlap(torch.tensor([[3, 2, 1, 1], [0, 4, 0, 0]]), parts, 10) == 1.0
    assert dp_sgd._overlap(torch.full((2, 4), 9), parts, 10) == 0.0


def test_the_noise_of_a_step_is_that_which_the_adversary_is_told(monkeypatch):
    """Of the mean of the clipped gradients: noise times clip divided by how many images there are."""
    told = []
    inner = dp_sgd.noisy_extraction.reconstruct

    def reconstruct(sent, *, std, shape):
        told.append((sent, std))
        return inner(sent, std=std, shape=shape)

    monkeypatch.setattr(dp_sgd.noisy_extraction, "reconstruct", reconstruct)
    measured("extraction", 0.0)
    measured("extraction", 2.0)
    (plain, _), (noisy, std) = told
    assert std == 2.0 / dp_sgd.BATCH
    assert (noisy["fc1.weight"] - plain["fc1.weight"]).std().item() == pytest.approx(std, rel=0.02)
