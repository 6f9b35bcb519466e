"""People's data, their task and their images at a small size: what a cell measures, against slow and obvious ways."""

import dataclasses

import pytest
import torch
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier

from privlab.attacks import linkability as attack
from privlab.sharing import federated
from privlab.studies import get
from privlab.studies.bench.study import cell_key
from privlab.studies.linkability import _federation as federation
from privlab.studies.linkability import _pictures as pictures
from privlab.studies.linkability import figure_3, figure_4, figure_7, figure_8, table_3

CPU = torch.device("cpu")
WHERE = {"data": "digits", "users": 4, "split": "random"}
TASK = {**WHERE, "fraction": 0.5, "rounds": 20, "mitigation": "none", "alpha": 0.0}
CELLS = {
    "figure-3": {**WHERE, "strength": 1.0},
    "figure-4": TASK,
    "figure-7": {**TASK, "shown": "images"},
    "figure-8": {**WHERE, "attack": "mlp", "aggregate": "max", "images": 2},
    "table-3": {**TASK, "method": "central"},
    "table-5": {**WHERE, "attack": "image"},
    "table-7": {**WHERE, "attack": "image"},
}


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    for name, value in {"BODY_EXAMPLES": 600, "BODY_EPOCHS": 1, "IMAGES": 30, "WIDTH": 4, "NEURONS": 16}.items():
        monkeypatch.setattr(federation, name, value)
        if hasattr(pictures, name):
            monkeypatch.setattr(pictures, name, value)
    monkeypatch.setattr(attack, "STEPS", 40)
    monkeypatch.setattr(attack, "EPOCHS", 1)
    monkeypatch.setattr(pictures, "EPOCHS", 2)
    kept = federation.people, federation._devices, federation._recorded
    for function in kept:
        function.cache_clear()
    yield
    for function in kept:
        function.cache_clear()


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_is_measured_again_to_the_same(name):
    study, cell = get(f"linkability/{name}"), CELLS[name]
    found = study.run(cell, 100, CPU)
    assert found.keys() == set(study.metrics)
    assert all(torch.tensor(value).isfinite() for value in found.values())
    federation._devices.cache_clear()
    federation._recorded.cache_clear()
    assert found == study.run(cell, 100, CPU)


@pytest.mark.parametrize("name", CELLS)
def test_cells_have_known_fields_and_share_what_they_say(name):
    """What tells a federation apart is a field of FEDERATION; the rest is of the study."""
    own = {"attack", "aggregate", "images", "method", "shown"}
    for data in ("digits", "mitbih", "omniglot", "mnist-writers"):
        for cell in get(f"linkability/{name}").cells(data):
            assert set(cell) <= {*federation.FEDERATION, *federation.SHARED, *own}
            assert cell["split"] in ("random", "session", "chronological")
    assert isinstance(get(f"linkability/{name}").together(CELLS[name]), str)


def about():
    return federation.devices(WHERE, 100, CPU)


# How distinctive people are


def test_distances_are_medians_over_pairs():
    found = figure_3.distances(CELLS["figure-3"], 100, CPU)
    devices = about()
    for user in range(4):
        mine = [c for c, u in zip(devices.clients, devices.users.tolist(), strict=True) if u == user]
        rows = torch.cat([each.images[:, 0] for each in mine])
        labels = torch.cat([each.labels for each in mine])
        pairs = [(i, j) for i in range(len(rows)) for j in range(i)]
        apart = torch.tensor([(rows[i] - rows[j]).norm() for i, j in pairs])
        alike = torch.tensor([bool(labels[i] == labels[j]) for i, j in pairs])
        assert found.intra[user].item() == pytest.approx(apart.median().item(), rel=1e-4)
        assert found.intra_of_a_class[user].item() == pytest.approx(apart[alike].median().item(), rel=1e-4)
        others = [c for c, u in zip(devices.clients, devices.users.tolist(), strict=True) if u != user]
        theirs = torch.cat([each.images[:, 0] for each in others])  # fewer than are drawn: all
        assert len(theirs) < figure_3.RANDOM
        assert found.inter[user].item() == pytest.approx(torch.cdist(rows, theirs).median().item(), rel=1e-4)


def test_people_who_differ_are_told_apart_and_names_alone_are_not():
    plain, strong = (figure_3.run({**WHERE, "strength": strength}, 100, CPU) for strength in (0.0, 2.0))
    assert plain["ratio"] == pytest.approx(1, abs=0.05)
    assert strong["ratio"] < 0.85
    assert strong["ratio_low"] < strong["ratio"] < strong["ratio_high"]
    assert strong["closer"] > plain["closer"]


def test_who_has_no_two_examples_of_a_class_has_no_distance_within_it(monkeypatch):
    devices = about()
    apart = [federated.Client(each.images[:3], torch.arange(3)) for each in devices.clients[::2]]
    lone = type(devices)(tuple(apart), devices.users[::2], devices.numbers[::2], *list(vars(devices).values())[3:])
    monkeypatch.setattr(figure_3, "devices", lambda *_: lone)
    assert set(figure_3.run(WHERE, 100, CPU)) == set(figure_3.STUDY.metrics) - {"ratio_of_a_class"}


# The task


def test_neighbours_are_scikit_learns_and_precision_is_over_classes():
    devices = about()
    images, labels = (torch.cat([getattr(each, part) for each in devices.clients]) for part in ("images", "labels"))
    cell = {**TASK, "method": "knn"}
    nearest = KNeighborsClassifier(10).fit(images[:, 0], labels).predict_proba(devices.tested.images[:, 0])
    found, truth = table_3.METHODS["knn"](cell, devices, 100), devices.tested.labels
    assert torch.allclose(found[:, labels.unique()], torch.tensor(nearest).float(), atol=0.101)  # ties apart
    assert (
        found - torch.zeros_like(found).index_copy(1, labels.unique(), torch.tensor(nearest).float())
    ).abs().mean() < 1e-2
    each = [average_precision_score(truth == kind, found[:, kind]) for kind in truth.unique()]
    assert table_3.run(cell, 100, CPU)["utility"] == pytest.approx(sum(each) / len(each))


def test_central_learning_sees_as_many_examples(monkeypatch):
    seen, devices = [], about()
    monkeypatch.setattr(table_3.predictions, "fit", lambda model, *data, **how: seen.append((data, how)) or model)
    table_3.METHODS["central"](TASK, devices, 100)
    ((images, _), how) = seen[0]
    assert len(images) == sum(len(each.labels) for each in devices.clients)
    assert (how["epochs"], how["batch"], how["lr"], how["optimiser"]) == (10, 8, 0.1, "sgd")


def test_chance_is_at_chance():
    found = [table_3.run({**TASK, "method": "chance"}, seed, CPU)["top1"] for seed in range(100, 103)]
    assert sum(found) / 3 < 0.35


def test_a_curve_begins_with_the_network_untrained_and_ends_with_that_of_the_federation():
    devices, found = about(), figure_4.curve(TASK, 100, CPU)
    assert found.loss.shape == found.accuracy.shape == (21,)
    last = federation.recorded(TASK, 100, CPU).model
    for place, model in ((0, devices.head), (20, last)):
        tested = devices.tested
        assert found.accuracy[place].item() == federated.accuracy(model, tested.images, tested.labels)
    assert found.loss[20] < found.loss[0]


def test_shares_are_compared_after_as_many_updates(monkeypatch):
    made = figure_4.Curve(torch.arange(101.0), torch.arange(101.0) / 100)
    monkeypatch.setattr(figure_4, "curve", lambda *_: made)
    sent = {}
    for cell in figure_4.STUDY.cells("digits"):
        found = figure_4.run(cell, 0, CPU)
        assert (found["loss"], found["loss_early"]) == (100, 10)
        sent[cell["fraction"]] = found["loss_sent"]
    assert sent == {0.1: 100, 0.5: 20, 1.0: 10}
    assert len({fraction * count for fraction, count in sent.items()}) == 1


# Images


def test_who_made_an_image_is_asked_of_images_that_nobody_was_trained_on(monkeypatch):
    trained = []
    inner = pictures.predictions.fit
    monkeypatch.setattr(
        pictures.predictions, "fit", lambda *given, **how: trained.append(given) or inner(*given, **how)
    )
    scores, truth = pictures.scores(CELLS["table-5"], 100, CPU)
    assert scores.shape == (len(truth), 4)
    assert torch.allclose(scores.exp().sum(1), torch.ones(len(truth)), atol=1e-5)
    (_, background, _), (net, known, users) = trained
    found = federation.everyone({"data": "digits", "users": 4}, 100)
    where, _ = federation.shared_out(found, "random", 100)
    for number, (images, owners) in enumerate(((known, users), (None, truth))):
        own = [each for each in where if each.number == number]
        assert owners.tolist() == [each.user for each in own for _ in each.chosen]
        if images is not None:
            assert torch.equal(images, found.images[torch.cat([each.chosen for each in own])])
    asked = found.images[torch.cat([each.chosen for each in where if each.number == 1])]
    for others in (background, known):
        assert not {row.numpy().tobytes() for row in asked} & {row.numpy().tobytes() for row in others}
    assert net.output.out_features == 4


def test_the_network_of_images_starts_where_the_task_was_learned(monkeypatch):
    seen = []
    inner = pictures.predictions.fit

    def fit(model, *given, **how):
        made = inner(model, *given, **how)
        seen.append((model, made))
        return made

    monkeypatch.setattr(pictures.predictions, "fit", fit)
    pictures.scores(CELLS["table-5"], 100, CPU)
    learned, begun = dict(seen[0][1].named_parameters()), dict(seen[1][0].named_parameters())
    for name, each in begun.items():
        assert name.startswith("output") or torch.equal(each, learned[name])


def test_tables_5_and_7_have_the_devices_of_tables_4_and_6():
    for one, other in (("table-5", "table-4"), ("table-7", "table-6")):
        mine, theirs = get(f"linkability/{one}"), get(f"linkability/{other}")
        assert mine.data == theirs.data
        for name in {name for names in mine.data.values() for name in names}:
            where = [{cell_key({k: c[k] for k in WHERE}) for c in study.cells(name)} for study in (mine, theirs)]
            assert where[0] == where[1]


def test_sets_are_of_different_images_of_one_device():
    devices = about()
    for way, size in (("mean", 1), ("mean", 3), ("max", 3), ("mean", 99)):
        rows, users, numbers = figure_8.sets({**WHERE, "aggregate": way, "images": size}, devices, 100)
        assert rows.shape == (80, devices.clients[0].images.shape[-1])
        assert torch.allclose(rows.norm(dim=1), torch.ones(80), atol=1e-5)
        assert torch.equal(users.view(8, 10)[:, 0], devices.users)
        assert torch.equal(numbers.view(8, 10)[:, 0], devices.numbers)
    images = torch.nn.functional.normalize(devices.clients[3].images[:, 0], dim=1)
    single, *_ = figure_8.sets({**WHERE, "aggregate": "mean", "images": 1}, devices, 100)
    assert torch.cdist(single[30:40], images).amin(1).max() < 1e-3
    assert len(single[30:40].unique(dim=0)) > 3
    whole = torch.nn.functional.normalize(devices.clients[3].images[:, 0].mean(0), dim=0)
    assert torch.allclose(rows[30:40], whole.expand(10, -1), atol=1e-5)


# Maps


def test_as_many_images_are_shown_as_updates_of_the_same_devices():
    log, devices = federation.recorded(TASK, 100, CPU), about()
    rows = figure_7._images(log, devices, 100)
    assert len(rows) == len(log.users)
    for row, client in zip(rows, log.clients.tolist(), strict=True):
        assert (devices.clients[client].images[:, 0] == row).all(1).any()
    one = rows[log.clients == 5]
    assert len(one.unique(dim=0)) == len(one)  # no image twice, as long as there are others


def test_numbers_of_a_map_are_those_of_loops():
    users, numbers = torch.arange(3).repeat_interleave(16), torch.arange(2).repeat_interleave(8).repeat(3)
    random = torch.Generator().manual_seed(0)
    points = torch.randn(48, 2, generator=random) + 3 * torch.randn(6, 2, generator=random).repeat_interleave(8, 0)
    shown = figure_7.Map(points, users, numbers)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure_7, "drawn", lambda *_: shown)
        found = figure_7.run({}, 0, CPU)

    def nearest(place, among):
        order = sorted(among, key=lambda other: (points[place] - points[other]).norm().item())[:10]
        return sum(users[other] == users[place] for other in order).item() / 10

    first = [place for place in range(48) if numbers[place] == 0]
    inside = [nearest(place, [other for other in first if other != place]) for place in first]
    client = [(users[place], numbers[place]) for place in range(48)]
    beside = [nearest(place, [other for other in range(48) if client[other] != client[place]]) for place in range(48)]
    assert found["agreement"] == pytest.approx(sum(inside) / len(inside))
    assert found["agreement_of_devices"] == pytest.approx(sum(beside) / 48)
    assert found["expected"] == pytest.approx(8 / 40)
    mine = points[first]
    centres = [mine[users[first] == user].mean(0) for user in range(3)]
    inner = sum((row - centres[user]).pow(2).sum() for row, user in zip(mine, users[first].tolist(), strict=True))
    assert found["within"] == pytest.approx((inner / (mine - mine.mean(0)).pow(2).sum()).item(), rel=1e-4)


def test_a_map_keeps_apart_what_is_far_apart():
    log = federation.recorded(TASK, 100, CPU)
    centres = torch.eye(8)[log.clients].repeat(1, 10)
    made = centres + 0.05 * torch.randn(centres.shape, generator=torch.Generator().manual_seed(0))
    far = dataclasses.replace(log, layers={"output": made})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure_7, "recorded", lambda *_: far)
        found = figure_7.run({**TASK, "shown": "updates"}, 100, CPU)
    assert found["within"] < 0.2
    assert found["agreement_of_devices"] < 0.6  # clusters of devices are not of users
