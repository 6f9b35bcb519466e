"""Cheap defences against membership inference, at a small size: what a cell measures."""

import pytest
import torch
from torch import nn

from privlab.attacks import membership
from privlab.defences import dp_sgd
from privlab.metrics import membership as metrics
from privlab.sharing import predictions
from privlab.studies.membership import defences

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    for name, value in {"NETWORKS": 4, "EPOCHS": 8, "EARLY": 1, "EXAMPLES": 120, "PUBLIC": 60, "DP_BATCH": 30}.items():
        monkeypatch.setattr(defences, name, value)
    early = defences.functools.partial(defences._plain, epochs=1)
    monkeypatch.setattr(defences, "DEFENCES", {**defences.DEFENCES, "early_stopping": early})
    forget = defences.noise.cache_clear
    forget()
    yield
    forget()


def measured(name, seed=0):
    return defences.run({"data": "digits", "adaptation": name}, seed, CPU)


@pytest.mark.parametrize("name", defences.DEFENCES)
def test_each_defence_is_measured_again_to_the_same(name, monkeypatch):
    monkeypatch.setattr(defences, "noise", lambda batch, count: 1.0)  # to search for it takes seconds
    found = measured(name)
    assert found.keys() == set(defences.STUDY.metrics)
    assert found["auc"] == max(found["auc_loss"], found["auc_lira"])
    assert 0.0 <= found["model_accuracy"] <= 1.0
    assert found == measured(name)


def test_an_early_end_leaves_less_of_a_gap():
    late, early = measured("none"), measured("early_stopping")
    assert early["gap"] < late["gap"]
    assert early["auc"] < late["auc"]


def test_who_masks_confidence_shows_the_label_alone(monkeypatch):
    """Both adversaries see one of two answers: right or wrong."""
    seen = []
    inner = defences._measured
    monkeypatch.setattr(defences, "_measured", lambda logits, *rest: seen.append(logits) or inner(logits, *rest))
    masked, plain = measured("confidence_masking"), measured("none")
    hidden, shown = seen
    assert hidden.unique().tolist() == [0.0, 1.0]
    assert torch.equal(hidden.argmax(2), shown.argmax(2))
    assert (hidden.sum(2) == 1).all()
    assert masked["model_accuracy"] == plain["model_accuracy"]
    assert masked["gap"] == plain["gap"]
    labels, used = torch.arange(40) % 10, predictions.halves(4, 40, 0)
    answers = nn.functional.one_hot(torch.arange(160).view(4, 40) % 7, 10).float()
    for scores in (membership.negative_loss(answers, labels), membership.scaled_confidence(answers, labels)):
        assert len((scores * 1e4).round().unique()) == 2
    right = (answers.argmax(2) == labels).float()
    found = inner(answers, labels, used, 40, slice(0, 40))
    assert found["auc_loss"] == pytest.approx(metrics.auc(right, used), abs=0.01)  # but for rounding, which parts ties


def test_dp_sgd_spends_no_more_than_its_epsilon(monkeypatch):
    asked = []
    monkeypatch.setattr(defences.dp_sgd, "train", lambda model, client, **how: asked.append(how) or model)
    monkeypatch.setattr(defences, "EPOCHS", 2)
    x = torch.rand(60, 1, 4, 4)
    defences.DEFENCES["dp_sgd"](nn.Flatten(), x, torch.zeros(60).long(), x, 0)
    (how,) = asked
    assert (how["batch"], how["epochs"], how["clip"]) == (30, 2, defences.CLIP)
    spent = dp_sgd.epsilon(how["noise"], defences.DELTA, sample_rate=30 / 60, steps=2 * 2)
    assert 0.95 * defences.EPSILON < spent <= defences.EPSILON
    assert defences.DELTA < 1 / 600


def test_a_defence_changes_the_network_only_where_it_is_in_the_network():
    layers = {name: list(dict(defences.network(name, (1, 6, 6), 3, 0).named_children())) for name in defences.DEFENCES}
    plain = layers.pop("none")
    assert [name for name, found in layers.items() if found != plain] == ["dropout", "laplace_noise"]
    assert sum(name.startswith("drop") for name in layers["dropout"]) == len(defences.WIDTHS)
    assert layers["laplace_noise"].index("noise") == plain.index("relu1") + 1


def test_the_noise_of_a_network_is_that_of_its_own_dice():
    """Other noise for each use, the same again with the same dice, of the scale that is said."""
    model, x = defences.Noisy(), torch.zeros(4000)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first, second = model(x), model(x)
        torch.manual_seed(0)
        again = model(x)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert first.abs().mean().item() == pytest.approx(defences.LAPLACE, rel=0.1)  # the mean of |Laplace(b)| is b


def test_students_and_accuracy_have_records_on_which_nobody_is_trained(monkeypatch):
    asked = []

    def trainer(model, x, y, public, seed):
        asked.append((x, public))
        return model

    monkeypatch.setitem(defences.DEFENCES, "none", trainer)
    measured("none")
    records, _, _ = defences.inputs("digits", defences.EXAMPLES + defences.PUBLIC, 0)
    spare = len(records) // 6
    for own, public in asked:
        assert torch.equal(public, records[-spare:])
        assert len(own) == pytest.approx((len(records) - 2 * spare) / 2, rel=0.25)
        assert not (own.flatten(1)[:, None] == records[-2 * spare :].flatten(1)).all(2).any()
