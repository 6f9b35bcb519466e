"""The studies of the SplitNN paper: what a cell measures."""

import functools

import pytest
import torch

from privlab import studies
from privlab.defences import laplace
from privlab.sharing import split
from privlab.studies import _split_learning as split_learning
from privlab.studies.bench.study import cell_key
from privlab.studies.splitnn import _paper as splitnn
from privlab.studies.splitnn import figure_4, table_1

CPU = torch.device("cpu")


@functools.lru_cache(maxsize=1)
def attacks():
    """The naive adversary without noise, and three adversaries at noise 1."""
    cells = [splitnn.attacked("digits")]
    cells += [splitnn.attacked("digits", noise=1.0, adversary=who) for who in ("naive", "noise_aware", "averaging")]
    with pytest.MonkeyPatch.context() as patch:  # a third of the steps tell the adversaries apart as well
        patch.setattr(splitnn.decoder, "fit", functools.partial(splitnn.decoder.fit, steps=500))
        found = [splitnn.run_attack(cell, 0, CPU) for cell in cells]
    splitnn._decoder.cache_clear()
    return found


def test_noise_destroys_what_the_naive_adversary_sees_and_not_what_the_aware_one_sees():
    clean, naive, aware, averaging = (each["psnr"] for each in attacks())
    floor = attacks()[0]["mean_image_psnr"]
    assert clean > floor + 4
    assert naive < floor + 1
    assert naive + 3 < aware < averaging <= clean + 0.5


def test_accuracy_is_measured_under_the_noise(monkeypatch):
    clean, naive, *_ = (each["accuracy"] for each in attacks())
    assert naive < clean
    met, retrain = [], split.retrain_server

    def spy(parts, owners, *, protect, **options):
        met.append(protect)
        return retrain(parts, owners, protect=protect, **options)

    monkeypatch.setattr(split, "retrain_server", spy)
    cell = splitnn.base("digits", noise=2.0, epochs=3)
    servers = ("fixed", "longer", "retrained")
    fixed, longer, trained = (figure_4.run({**cell, "server": how}, 0, CPU) for how in servers)
    assert fixed["accuracy"] < clean - 0.1
    assert fixed["relative_noise"] == longer["relative_noise"] == trained["relative_noise"] > 1
    assert met[0] is None  # as long, but without noise
    assert met[1].keywords == {"scale": 2.0}
    assert len(met) == 2


def test_a_naive_decoder_is_trained_once_whatever_noise_comes_later():
    keys = {splitnn._attacked_with(splitnn.attacked("digits", noise=noise)) for noise in (0.0, 0.5, 1.0)}
    assert len(keys) == 1
    aware = {
        splitnn._attacked_with(splitnn.attacked("digits", noise=noise, adversary="noise_aware")) for noise in (0.5, 1.0)
    }
    assert len(aware | keys) == 3
    trained = splitnn.attacked("digits", noise=0.5, noise_in="training")
    assert splitnn._attacked_with(trained) not in keys


def test_nopeek_lowers_the_correlation_that_it_minimises():
    plain = table_1.run(splitnn.base("digits"), 0, CPU)
    hidden = table_1.run(splitnn.base("digits", alpha=0.5), 0, CPU)
    assert hidden["distance_correlation_squared"] < plain["distance_correlation_squared"] - 0.03
    assert hidden["accuracy"] > 0.9
    assert plain["relative_noise"] == 0
    assert 0 < plain["shuffled_floor"] < plain["distance_correlation"] < 1


def test_what_is_averaged_is_what_is_sent_sixteen_times():
    parts = splitnn.target(splitnn.base("digits"), 0, CPU)
    images = split_learning.shares("digits", 1, 28)[2].images[:40]
    clean = split.send(parts.owner, images)
    once, often = (
        split.send(parts.owner, images, protect=p) - clean
        for p in (
            functools.partial(laplace, scale=1.0),
            splitnn.decoder.mean_of_copies(functools.partial(laplace, scale=1.0), 16),
        )
    )
    assert often.std().item() == pytest.approx(once.std().item() / 4, rel=0.05)


def test_the_papers_numbers_are_read_right():
    found = studies.get("splitnn/table-1").reported
    table = {(cell_key(r.readings[0].cell), r.metric): r for r in found}
    cell = cell_key({"noise": 0.2, "alpha": 0.5, "loss": "squared"})
    assert table[cell, "accuracy"].value == pytest.approx(0.9746)
    assert table[cell, "accuracy"].step == 1e-4
    assert table[cell, "distance_correlation_squared"].value == 0.411
    assert table[cell, "distance_correlation_squared"].spread == 0.003
    assert len(table) == 24


def test_the_papers_size_is_for_the_paper_profile_and_sentences_rest_on_the_smaller():
    small, large = (splitnn.base("mnist", size) for size in (0, 1))
    item = studies.get("splitnn/table-1").reported[0]
    assert splitnn.scale(small, item) == "10,000 of 40,000 owners' images, 4 of 10 epochs"
    assert splitnn.scale(large, item) == ""
    assert splitnn.large(large)
    assert not splitnn.large(small)


def test_a_subject_is_the_target_and_the_images_of_both_sides():
    about = splitnn.subject(splitnn.attacked("digits"), 0, CPU)
    own, adversary, victims = split_learning.shares("digits", 1, 28)
    assert len(about.own) == min(350, len(adversary.labels))
    assert torch.equal(about.victims.images, victims.images)
    assert torch.equal(about.parts.owner[0].weight, splitnn.target(splitnn.base("digits"), 0, CPU).owner[0].weight)
    assert len(own.labels) > len(victims.labels)
