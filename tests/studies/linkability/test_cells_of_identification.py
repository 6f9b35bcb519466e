"""Identification at a small size: what a cell measures, what controls keep and what they take away."""

import math

import numpy as np
import pytest
import torch

from privlab.attacks import linkability as attack
from privlab.metrics import linkability as metrics
from privlab.sharing import federated
from privlab.studies import get
from privlab.studies.bench.study import cell_key
from privlab.studies.linkability import _closed_world as closed
from privlab.studies.linkability import _federation as federation
from privlab.studies.linkability import figure_5, figure_6, figure_9, hand, table_4, table_6

CPU = torch.device("cpu")
SMALL = {"data": "digits", "users": 4, **federation.BASE, "rounds": 20, "fraction": 0.5}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    for name, value in {"BODY_EXAMPLES": 600, "BODY_EPOCHS": 1, "IMAGES": 30, "WIDTH": 4, "NEURONS": 16}.items():
        monkeypatch.setattr(federation, name, value)
    monkeypatch.setattr(attack, "STEPS", 40)
    monkeypatch.setattr(attack, "EPOCHS", 1)
    kept = federation.people, federation._devices, federation._recorded
    kept += figure_5._recorded, figure_9._trained, hand._recorded
    for function in kept:
        function.cache_clear()
    yield
    for function in kept:
        function.cache_clear()


@pytest.mark.parametrize(
    ("study", "cell"),
    [
        ("table-4", {}),
        ("table-6", {"attack": "knn"}),
        ("figure-5", {"layer": "point2"}),
        ("figure-6", {"observed": 2}),
        ("figure-9", {"trained": 0, "asked": 1}),
        ("users", {"attack": "knn"}),
        *(("hand", {**hand.BOTH, "control": control}) for control in hand.CONTROLS),
    ],
    ids=str,
)
def test_a_cell_is_measured_again_to_the_same(study, cell):
    study, cell = get(f"linkability/{study}"), {**SMALL, **cell}
    found = study.run(cell, 100, CPU)
    assert found.keys() == set(study.metrics)
    assert 0 < found["ap"] <= 1
    assert found["times_chance"] == pytest.approx(4 * found["ap"])
    federation._recorded.cache_clear()
    assert found == study.run(cell, 100, CPU)


def test_tables_4_and_6_measure_nothing_twice_and_leave_no_set_out():
    studies = get("linkability/table-4"), get("linkability/table-6")
    every = [
        cell_key(cell) for each in studies for p in ("fast", "real") for d in each.data[p] for cell in each.cells(d)
    ]
    assert len(every) == len(set(every))
    assert {name for each in studies for name in each.data["real"]} == set(federation.SETS["real"])
    assert table_4.STUDY.data["fast"] == table_6.STUDY.data["fast"] == ("digits",)


def test_a_set_is_split_by_time_where_it_tells_of_times():
    assert closed.splits("mitbih") == ("random", "chronological")
    assert closed.splits("digits") == closed.splits("omniglot") == closed.splits("mnist") == ("random",)
    assert {cell["split"] for cell in table_4.STUDY.cells("mitbih")} == {"random", "chronological"}


def test_a_cell_that_changes_the_federation_says_so():
    """Cells of one study share their updates unless a field of FEDERATION or SHARED tells them apart."""
    known = {*federation.FEDERATION, "attack", "layer", "observed", "trained", "asked"}
    for name in ("table-4", "table-6", "figure-5", "figure-6", "figure-9", "users", "hand"):
        for cell in get(f"linkability/{name}").cells("digits"):
            assert set(cell) <= known


# Layers


def test_all_layers_of_a_whole_network_are_read_from_one_federation(monkeypatch):
    calls = []
    inner = federated.fed_avg
    monkeypatch.setattr(federated, "fed_avg", lambda *a, **how: calls.append(how) or inner(*a, **how))
    some = ("conv1", "depth2", "fc1", "output")
    found = {layer: figure_5.run({**SMALL, "layer": layer}, 100, CPU) for layer in some}
    (how,) = calls
    assert how["lr"] == figure_5.LR
    assert how["train"] is None
    log, about = figure_5._shared(SMALL, 100, CPU)
    network = dict(about.head.named_children())
    for layer, each in found.items():
        assert each["parameters"] == sum(p.numel() for p in network[layer].parameters())
    assert set(network) >= set(figure_5.LAYERS)
    assert all(any(p.requires_grad for p in network[layer].parameters()) for layer in figure_5.LAYERS)
    assert set(log.layers) == set(figure_5.LAYERS)
    assert len({each["ap"] for each in found.values()}) == len(some)


def test_rows_in_coordinates_of_their_own_space_keep_lengths_and_angles():
    rows = torch.randn(7, 300, generator=torch.Generator().manual_seed(0))
    short = figure_5.spanned(rows)
    assert short.shape == (7, 7)
    assert torch.allclose(short @ short.T, rows @ rows.T, atol=1e-4)
    assert figure_5.spanned(rows.T) is not short
    assert torch.equal(figure_5.spanned(rows[:, :5]), rows[:, :5])


def test_first_devices_and_second_ones_have_no_example_in_common():
    _, about = figure_5._shared(SMALL, 100, CPU)
    for user in range(4):
        one, other = (set(map(tuple, about.clients[2 * user + n].images.flatten(1).tolist())) for n in (0, 1))
        assert not one & other
    everything = {tuple(row) for each in about.clients for row in each.images.flatten(1).tolist()}
    assert not everything & {tuple(row) for row in about.tested.images.flatten(1).tolist()}


# How many updates, and when


def test_more_observed_updates_are_the_fewer_ones_and_others():
    log = federation.recorded(SMALL, 100, CPU)
    some, more, every = (figure_6.observed(log, count, 100) for count in (1, 3, figure_6.ALL))
    for part, count in ((some, 1), (more, 3)):
        assert torch.bincount(part.users[part.numbers == 0]).tolist() == [count] * 4
        assert (part.numbers == 1).sum() == (log.numbers == 1).sum()
    rows = [{tuple(row) for row in part.layers["output"][part.numbers == 0].tolist()} for part in (some, more, every)]
    assert rows[0] < rows[1] < rows[2]
    assert len(every.users) == len(log.users)


def test_every_round_is_in_one_of_five_ranges():
    log = federation.recorded(SMALL, 100, CPU)
    parts = [figure_9.heard(log, device, when, 20) for device in (0, 1) for when in range(figure_9.RANGES)]
    assert (torch.stack(parts).sum(0) == 1).all()
    assert log.rounds[figure_9.heard(log, 0, 1, 20)].unique().tolist() == [4, 5, 6, 7]


def test_the_attack_learns_from_one_range_and_is_asked_about_another(monkeypatch):
    seen = []
    inner = attack.mlp
    monkeypatch.setattr(attack, "mlp", lambda known, users, **how: seen.append(known) or inner(known, users, **how))
    for asked in range(3):
        figure_9.run({**SMALL, "trained": 2, "asked": asked}, 100, CPU)
    (known,) = seen  # one training for all that is asked
    log = federation.recorded(SMALL, 100, CPU)
    assert torch.equal(known, log.layers["output"][figure_9.heard(log, 0, 2, 20)])


# The labels and the hand


def about_made_users(**changes):
    return federation.devices({**SMALL, **hand.BOTH, **changes}, 100, CPU)


def counts(clients):
    return torch.stack([torch.bincount(each.labels, minlength=10) for each in clients])


def held(clients):
    return {tuple(row) for each in clients for row in each.images.flatten(1).tolist()}


def test_shuffled_devices_have_their_labels_and_anyones_examples():
    about = about_made_users()
    clients = hand.shuffled(about, 100)
    assert torch.equal(counts(clients), counts(about.clients))
    assert held(clients) == held(about.clients)
    moved = [held([mine]) - held([own]) for mine, own in zip(clients, about.clients, strict=True)]
    assert all(moved)


def test_an_equal_mix_has_each_class_as_often_and_own_examples_first():
    about = about_made_users()
    clients = hand.equal_mix(about, 100)
    (count,) = counts(clients).unique().tolist()
    assert count == round(24 / 2 / 10)
    for mine, own, had in zip(clients, about.clients, counts(about.clients), strict=True):
        kept = held([mine]) & held([own])
        assert len(kept) == had.clamp_max(count).sum()
        assert held([mine]) - kept <= held([about.background])


def test_of_the_labels_only_the_counts_are_seen():
    log = hand.recorded({**SMALL, **hand.BOTH, "control": "labels only"}, 100, CPU)
    plain = hand.recorded({**SMALL, **hand.BOTH, "control": "none"}, 100, CPU)
    assert torch.equal(log.users, plain.users)
    assert torch.equal(log.rounds, plain.rounds)
    about = about_made_users()
    mixes = torch.nn.functional.normalize(counts(about.clients).float(), dim=1)
    for row, user, number in zip(log.layers["output"], log.users, log.numbers, strict=True):
        assert torch.equal(row, mixes[2 * user + number])


def test_users_who_differ_in_nothing_are_made_so_and_real_ones_cannot_be():
    cells = hand.cells("digits")
    (plain,) = [cell for cell in cells if hand.NOTHING.items() <= cell.items()]
    made = federation.devices({**SMALL, **hand.NOTHING}, 100, CPU)
    source = federation.everyone({"data": "digits", "users": 4, "strength": 0.0}, 100)
    assert torch.equal(made.users.unique(), source.users.unique())
    assert plain["control"] == "none"
    for name in federation.SETS["real"]:
        assert not any("strength" in cell for cell in hand.cells(name))


def test_scores_that_only_tell_clients_apart_are_as_good_for_strangers():
    """Updates side by side in scores that know no user: better than random scores, and as good for another user."""
    random = torch.Generator().manual_seed(0)
    users = torch.arange(8).repeat_interleave(6)
    own, strangers = [], []
    for _ in range(40):
        scores = torch.rand(8, 8, generator=random)[users] + 1e-3 * torch.rand(48, 8, generator=random)
        own.append(metrics.average_precision(scores, users).mean())
        strangers.append(metrics.stranger_precision(scores, users))
    own, strangers = torch.stack(own).mean().item(), sum(strangers) / len(strangers)
    assert own > 1.3 * metrics.random_precision(users, 8)
    assert own == pytest.approx(strangers, rel=0.1)
    right = metrics.score(torch.eye(8)[users], users)
    assert right.ap == 1
    assert right.times_strangers == pytest.approx(8)  # of equal scores none comes first
    assert math.isnan(metrics.stranger_precision(torch.rand(5, 1), torch.zeros(5).long()))


def test_people_of_ones_own_are_taken_and_some_of_them_are_the_background(tmp_path):
    """Six people with times: four in the federation, split by chance and by time."""
    random = np.random.default_rng(0)
    users, labels = np.arange(240) % 6, np.arange(240) % 4
    images = random.integers(0, 200, (4, 9, 9))[labels] + random.integers(0, 50, (240, 9, 9))
    path = tmp_path / "own.npz"
    np.savez(path, train_images=images.astype("u1"), train_labels=labels, train_users=users, train_times=np.arange(240))
    name = str(path)
    assert federation.users_of(name) == 4
    assert closed.splits(name) == ("random", "chronological")
    for study in ("table-4", "figure-5", "users", "hand"):
        study = get(f"linkability/{study}")
        study.check(name)
        cell = {**study.cells(name)[-1], "rounds": 20, "fraction": 0.5}
        assert cell["users"] <= 4
        assert "strength" not in cell
        assert study.run(cell, 100, CPU).keys() == set(study.metrics)
    about = federation.devices({**table_4.STUDY.cells(name)[-1]}, 100, CPU)
    assert len(about.clients) == 8
    assert len(about.background.labels) == 80
