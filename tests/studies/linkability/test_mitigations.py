"""What clients do to their examples and updates, in a small federation: it is in what the adversary records."""

import math

import pytest
import torch

from privlab import runtime
from privlab.sharing.federated import Client, Update
from privlab.studies.linkability import _federation, _mitigations, figure_11
from tests.studies.linkability.small import CELL, SEED, small

__all__ = ["small"]
CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("small")


def log_of(**change):
    return _federation.recorded({**CELL, **change}, SEED, CPU)


def clients_of(**change):
    about = _federation.devices(CELL, SEED, CPU)
    return about, _mitigations.changed({**CELL, **change}, about.clients, about.background, 0)


def test_without_a_mitigation_nothing_changes():
    about, changed = clients_of()
    assert changed is about.clients
    assert _mitigations.protection(CELL, 18, 0) is None


@pytest.mark.parametrize(("kind", "alpha", "own"), [("bkg-repl", 0.5, 0.5), ("rand-aug", 2.0, 1), ("mm-aug", 1.0, 1)])
def test_clients_train_on_their_own_and_on_the_backgrounds_examples(kind, alpha, own):
    about, changed = clients_of(mitigation=kind, alpha=alpha)
    for before, after in zip(about.clients, changed, strict=True):
        size = len(before.labels)
        kept = (after.images[:, None] == before.images).flatten(2).all(2).any(1)
        borrowed = (after.images[:, None] == about.background.images).flatten(2).all(2).any(1)
        assert kept.sum() == round(size * own)
        assert borrowed.sum() == round(size * alpha)
        assert not (kept & borrowed).any()
    assert not torch.equal(changed[0].labels, changed[1].labels)


def test_of_one_cluster_are_a_clients_added_examples():
    about, changed = clients_of(mitigation="mm-aug", alpha=1.0)
    groups = _mitigations.modes(about.background.images, about.clients, 0)
    places = [
        (each.images[len(each.images) // 2 :, None] == about.background.images).flatten(2).all(2).int().argmax(1)
        for each in changed
    ]
    assert all(len(groups[place].unique()) == 1 for place in places)
    assert len({int(groups[place[0]]) for place in places}) > 1


@pytest.mark.parametrize(("background", "clusters"), [(1000, 12), (200, 10), (15, 2)])
def test_as_many_clusters_as_clients_or_so_few_that_each_is_twice_a_client(background, clusters):
    features = torch.rand(background, 1, 5, generator=runtime.generator(0))
    clients = [Client(torch.rand(10, 1, 5), torch.zeros(10).long())] * 12
    found = _mitigations.modes(features, clients, 0)
    assert len(found.unique()) == clusters


@pytest.mark.parametrize("cell", [cell for cell in figure_11.cells("digits") if cell["mitigation"] != "sums"], ids=str)
def test_every_mitigation_of_the_study_is_one(cell, monkeypatch):
    """A name that nobody knows would be no mitigation at all."""
    monkeypatch.setattr(_mitigations, "multiplier", lambda *_: 1.0)
    about = _federation.devices(CELL, SEED, CPU)
    data = _mitigations.changed(cell, about.clients, about.background, 0) is not about.clients
    release = _mitigations.protection(cell, 18, 0) is not None
    assert data + release == (cell["mitigation"] != "none")


def test_the_signs_alone_are_recorded():
    rows = log_of(mitigation="signs").layers["output"]
    weights = rows[:, :-10].abs()
    assert torch.allclose(weights[weights > 0], weights.amax(1, keepdim=True).expand_as(weights)[weights > 0])


def test_the_largest_numbers_alone_are_recorded():
    assert ((log_of(mitigation="top-k", alpha=0.1).layers["output"] != 0).sum(1) <= 64 + 1).all()
    assert ((log_of().layers["output"] != 0).sum(1) > 100).any()


@pytest.mark.parametrize("layer", ["fc1", "output"])
def test_one_layer_alone_is_sent_and_moved(layer):
    log = log_of(mitigation=f"only {layer}")
    head = _federation.devices(CELL, SEED, CPU).head
    assert list(log.layers) == [layer]
    for name, before in head.named_parameters():
        assert torch.equal(log.model.get_parameter(name), before) == (not name.startswith(layer))


def test_noise_is_in_what_both_devices_of_a_user_send():
    quiet, loud = log_of(), log_of(mitigation="noise", alpha=4.0)
    expected = 2.0 * math.sqrt(loud.layers["output"].shape[1])
    for number in (0, 1):
        lengths = loud.lengths["output"][loud.numbers == number]
        assert lengths.mean().item() == pytest.approx(expected, rel=0.05)
    assert quiet.lengths["output"].max() < 1


def test_lengths_are_those_of_what_is_sent():
    log = log_of(mitigation="noise", alpha=4.0)
    assert torch.allclose(log.layers["output"].norm(dim=1), torch.ones(len(log.users)), atol=1e-5)
    both = (log.lengths["fc1"].square() + log.lengths["output"].square()).sqrt()
    count = sum(each.numel() for each in log.model.parameters())
    assert both.mean().item() == pytest.approx(2.0 * math.sqrt(count), rel=0.02)


def test_relative_noise_has_so_many_times_the_norm_of_the_update():
    update = Update({"output.weight": torch.full((50, 40), 0.3), "output.bias": torch.zeros(50)}, {})
    protect = _mitigations.protection({**CELL, "mitigation": "relative noise", "alpha": 3.0}, 18, 0)
    noise = torch.cat([(protect(0, 0, update)[name] - each).flatten() for name, each in update.items()])
    assert noise.norm().item() == pytest.approx(3 * update["output.weight"].norm().item(), rel=0.05)
    assert not torch.equal(protect(0, 1, update)["output.bias"], protect(0, 0, update)["output.bias"])
    assert not torch.equal(protect(1, 0, update)["output.bias"], protect(0, 0, update)["output.bias"])


def test_clients_of_a_round_share_the_noise_of_differential_privacy(monkeypatch):
    asked = []
    monkeypatch.setattr(_mitigations, "multiplier", lambda *numbers: asked.append(numbers) or 3.0)
    cell = {**CELL, "mitigation": "dp", "epsilon": 8.0, "delta": 1e-3}
    protect = _mitigations.protection(cell, 18, 0)
    assert asked == [(8.0, 1e-3, 0.5, 12)]
    zero = Update({"output.weight": torch.zeros(100, 200)}, {})
    total = sum(protect(0, client, zero)["output.weight"] for client in range(9))  # half of eighteen take part
    assert total.std().item() == pytest.approx(3.0 * _mitigations.CLIP, rel=0.03)
    monkeypatch.setattr(_mitigations, "multiplier", lambda *_: 0.0)
    large = Update({"output.weight": torch.ones(100, 200)}, {})
    sent = _mitigations.protection(cell, 18, 0)(0, 0, large)["output.weight"]
    assert sent.norm().item() == pytest.approx(_mitigations.CLIP, rel=1e-4)


def test_the_budget_is_that_of_all_rounds(monkeypatch):
    asked = []
    monkeypatch.setattr(
        _mitigations.dp_sgd, "noise_multiplier", lambda *numbers, **how: asked.append((numbers, how)) or 1.5
    )
    assert _mitigations.multiplier(4.0, 1e-4, 0.3, 7) == 1.5
    assert asked == [((4.0, 1e-4), {"sample_rate": 0.3, "steps": 7})]
    _mitigations.multiplier.cache_clear()


def test_sums_are_of_one_round_and_of_devices_of_one_kind():
    random = runtime.generator(3)
    rounds = torch.arange(5).repeat_interleave(20)
    numbers = torch.randint(2, (100,), generator=random)
    for most in (1, 2, 5, 50):
        groups = _mitigations.grouped(numbers, rounds, most, 0)
        places = torch.cat(groups)
        assert len(places) == len(places.unique())
        for group in groups:
            assert len(rounds[group].unique()) == len(numbers[group].unique()) == 1
            assert len(group) <= most
        whole = [((rounds == t) & (numbers == d)).sum().item() for t in range(5) for d in (0, 1)]
        if most == 50:
            assert sorted(map(len, groups)) == sorted(whole)
            nobody = _mitigations.grouped(torch.zeros(3).long(), torch.tensor([0, 0, 2]), most, 0)
            assert [each.tolist() for each in nobody] in ([[0, 1], [2]], [[1, 0], [2]])
        else:
            assert {len(group) for group in groups} == {most}
            assert len(places) == sum(count // most * most for count in whole)
