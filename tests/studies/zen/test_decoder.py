"""The decoder of "Zen", section 5.2: what a cell measures."""

import numpy as np
import pytest
import torch

from privlab import data, studies
from privlab.defences import dp_sgd
from privlab.studies.bench.study import cell_key
from privlab.studies.zen import _decoder as zen_decoder

CPU = torch.device("cpu")


def test_the_cut_does_not_change_what_is_trained_and_settings_that_matter_do():
    cell = zen_decoder.plain_cell("digits", rounds=1)
    (_, first), (_, later) = (zen_decoder.target({**cell, "cut": cut}, 0, CPU) for cut in ("conv1", "relu4"))
    assert first is later
    other = zen_decoder.target({**cell, "distribution": "non_iid"}, 0, CPU)[-1]
    assert not torch.equal(other.conv1.weight, first.conv1.weight)


def test_untrained_targets_are_fresh_and_rounds_are_kept():
    states = zen_decoder.target(zen_decoder.plain_cell("digits", rounds=1), 0, CPU)
    assert len(states) == 2
    assert len(zen_decoder.target(zen_decoder.plain_cell("digits", rounds=0), 0, CPU)) == 1
    assert not torch.equal(states[0].conv1.weight, states[1].conv1.weight)


def test_the_sum_of_owners_is_the_mean_of_different_activations():
    sent = torch.arange(12.0).view(6, 2)
    summed = zen_decoder._summed(sent, 3)
    assert torch.allclose(summed[0], (sent[0] + sent[5] + sent[4]) / 3)
    assert torch.equal(zen_decoder._summed(sent, 1), sent)


def test_private_training_spends_no_more_than_six():
    noise = zen_decoder.private_noise(32, 3000)
    steps = zen_decoder.ROUNDS * zen_decoder.EPOCHS * 94
    spent = dp_sgd.epsilon(noise, 1e-5, sample_rate=32 / 3000, steps=steps, accountant="rdp")
    assert 5.8 < spent <= 6.01


def printed(study):
    """(data set, settings of the literal reading, metric) -> value."""
    found = studies.get(study).reported
    return {(r.printed.dataset, cell_key(r.readings[0].cell), r.metric): r.value for r in found}


def test_the_papers_numbers_are_read_right():
    found = printed("zen/table-4")
    assert found["MNIST", cell_key({"prior": "fashion-mnist"}), "mse_255"] == 397.4
    assert found["PathMNIST", cell_key({"prior": "cifar100"}), "accuracy"] == pytest.approx(0.351)
    pools = {cell for _, cell, _ in printed("zen/table-5")}
    assert pools == {cell_key({"prior": "same", "pool": p}) for p in ("max", "average")}


def test_only_the_accuracy_that_the_images_were_fitted_to_is_fitted():
    fitted = {(r.printed.dataset, r.metric) for r in studies.get("zen/table-4").reported if r.readings[0].fitted}
    assert fitted == {("MNIST", "accuracy")}


def test_every_cell_of_the_decoder_is_one_the_paper_could_have():
    for study in studies.STUDIES.values():
        if study.run is zen_decoder.run:
            for name in study.data["paper"]:
                assert all(set(zen_decoder.PLAIN) < set(cell) for cell in study.cells(name))


def test_images_of_ones_own_have_a_form_and_a_strange_prior(tmp_path):
    pixels = data.load("patches").pixels[:40]
    np.savez(tmp_path / "own.npz", train_images=pixels.permute(0, 2, 3, 1).numpy(), train_labels=np.arange(40) % 4)
    np.savez(tmp_path / "grey.npz", train_images=pixels[:, 0].numpy(), train_labels=np.arange(40) % 4)
    colour, grey = (str(tmp_path / name) for name in ("own.npz", "grey.npz"))
    assert (zen_decoder.form(colour), zen_decoder.stranger(colour)) == ((3, 32), "digits")
    assert (zen_decoder.form(grey), zen_decoder.stranger(grey)) == ((1, 28), "patches")
    for study in ("zen/table-4", "zen/figure-2", "zen/section-5.2", "zen/figure-6"):
        assert {cell["data"] for cell in studies.get(study).cells(grey)} == {grey}
