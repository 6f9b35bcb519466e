"""Matching, and the open world, at a small size: who trains and who is asked about."""

import pytest
import torch

from privlab.attacks import linkability
from privlab.studies.linkability import _federation, _pairs, figure_10, table_8
from tests.studies.linkability.small import CELL, SEED, small

__all__ = ["small"]
CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("small")


def log():
    return _federation.recorded(CELL, SEED, CPU)


def places(rows):
    """Where rows stand among the recorded updates; each is there once."""
    equal = (rows[:, None] == log().layers["output"]).all(2)
    assert (equal.sum(1) == 1).all()
    return equal.int().argmax(1)


@pytest.fixture
def trained(monkeypatch):
    """What the attacks were given: known updates with their numbers, and those asked about."""
    seen = []
    match, identify = linkability.match, linkability.identify

    def matching(known, users, clients, first, second, **how):
        seen.append({"known": known, "users": users, "clients": clients, "first": first, "second": second})
        return match(known, users, clients, first, second, **how)

    def identifying(known, users, asked, **how):
        seen.append({"known": known, "users": users, "asked": asked})
        return identify(known, users, asked, **how)

    monkeypatch.setattr(linkability, "match", matching)
    monkeypatch.setattr(linkability, "identify", identifying)
    return seen


def test_pairs_across_devices_are_balanced_and_what_they_say():
    firsts, seconds = torch.tensor([0, 0, 1, 2, 2]), torch.tensor([2, 1, 0, 1])
    first, second, same = _pairs.across(firsts, seconds, 100, 0)
    assert same.sum() * 2 == len(same)
    assert torch.equal(firsts[first] == seconds[second], same)
    assert len({*zip(first.tolist(), second.tolist(), strict=True)}) == len(same)
    assert len(_pairs.across(firsts, seconds, 2, 0)[2]) == 4


@pytest.mark.parametrize("cell", table_8.cells("digits"), ids=lambda cell: f"{cell['attack']} {cell['observed']}")
def test_pairs_that_are_asked_about_hold_no_update_that_was_trained_on(cell, trained):
    found = table_8.run({**CELL, **{name: cell[name] for name in ("attack", "observed")}}, SEED, CPU)
    assert found.keys() == set(table_8.STUDY.metrics)
    assert found["times_chance"] == 2 * found["ap"]
    (given,) = trained
    known, first, second = (places(given[name]) for name in ("known", "first", "second"))
    record = log()
    assert not set(known.tolist()) & {*first.tolist(), *second.tolist()}
    assert (record.rounds[known] % 2 == 0).all()
    assert (record.rounds[torch.cat([first, second])] % 2 == 1).all()
    assert (record.numbers[first] == 0).all()
    assert (record.numbers[second] == 1).all()
    assert set(record.numbers[known].tolist()) == ({0} if cell["observed"] == "first" else {0, 1})
    asked_about = set(record.users[torch.cat([first, second])].tolist())
    assert asked_about <= set(record.users[known].tolist())  # a closed world
    assert len(torch.stack([given["users"].cpu(), record.users[known]]).unique(dim=1)[0]) == len(
        record.users[known].unique()
    )


def test_who_heard_both_devices_learns_from_pairs_of_both(trained):
    table_8.run({**CELL, "attack": "siamese", "observed": "both"}, SEED, CPU)
    table_8.run({**CELL, "attack": "siamese", "observed": "first"}, SEED, CPU)
    both, alone = trained
    record = log()
    assert torch.equal(both["clients"], record.clients[places(both["known"])])
    assert len(alone["clients"].unique()) == len(alone["known"])  # another round is as another client


@pytest.mark.parametrize("share", [0.0, *figure_10.SEEN])
def test_worlds_part_the_users(share):
    users = torch.arange(3, 33)
    seen, unseen, held = figure_10.worlds(users, share, 5)
    assert torch.equal(torch.cat([seen, unseen, held]).sort().values, users)
    assert len(held) == 10
    assert len(seen) == round(20 * share)
    more, _, same = figure_10.worlds(users, 0.9, 5)
    assert torch.equal(held, same)
    assert set(seen.tolist()) <= set(more.tolist())
    assert len(figure_10.worlds(torch.arange(6), 0.1, 5)[0]) == 1  # one at least, but for none


@pytest.mark.parametrize(("attack", "share"), [("mlp", 0.3), ("mlp", 0.9), ("siamese", 0.0), ("siamese", 0.5)])
def test_unknown_users_are_never_in_training(attack, share, trained):
    found = figure_10.run({**CELL, "attack": attack, "seen": share}, SEED, CPU)
    assert {"ap", "times_chance", "utility"} <= found.keys() <= set(figure_10.STUDY.metrics)
    record = log()
    seen, unseen, held = (set(each.tolist()) for each in figure_10.worlds(_pairs.heard_twice(record), share, SEED))
    (given,) = trained
    known = places(given["known"])
    owners = record.users[known]
    assert not unseen & set(owners.tolist())
    assert set(owners.tolist()) == seen | held
    of_seen = torch.isin(owners, torch.tensor(sorted(seen), dtype=torch.long))
    assert (record.numbers[known][of_seen] == 0).all()
    assert set(record.numbers[known][~of_seen].tolist()) == {0, 1}
    asked = given.get("asked", torch.cat([given.get("first", known[:0]), given.get("second", known[:0])]))
    about = places(asked)
    assert not set(about.tolist()) & set(known.tolist())
    assert set(record.users[about].tolist()) <= seen | unseen
    if attack == "mlp":  # the held-out users are one class, the last
        assert (record.numbers[about] == 1).all()
        assert (given["users"][~of_seen] == len(seen)).all()
        assert (given["users"][of_seen] < len(seen)).all()
        assert {*given["users"].tolist()} == set(range(len(seen) + 1))


def test_in_an_open_world_chance_is_one_of_the_seen_and_unknown():
    found = figure_10.run({**CELL, "attack": "mlp", "seen": 0.9}, SEED, CPU)
    seen = len(figure_10.worlds(_pairs.heard_twice(log()), 0.9, SEED)[0])
    assert found["times_chance"] == pytest.approx(found["ap"] * (seen + 1))


def test_the_papers_numbers_are_read_right():
    found = {
        (each.printed.dataset, each.printed.variant + each.printed.split.replace("random", ""), each.printed.metric): (
            each.metric,
            each.value,
            each.readings,
        )
        for study in (figure_10.STUDY, table_8.STUDY)
        for each in study.reported
    }
    assert len(found) == 8
    most = found["PIPA", "MLP open world", "times_chance_max"]
    assert (most[0], most[1], most[2][0].cell) == ("times_chance", 14, {"attack": "mlp", "seen": 0.9})
    least = found["PIPA", "MLP open world fewest seen users", "identification_ap"]
    assert (least[0], least[1], least[2][0].cell) == ("ap", 0.67, {"attack": "mlp", "seen": 0.1})
    none = found["OpenImages", "Siamese open world", "times_chance_no_seen_user"]
    assert (none[0], none[1], none[2][0].cell) == ("times_chance", 1.8, {"attack": "siamese", "seen": 0.0})
    closed = found["PIPA", "MLP", "matching_ap"]
    assert (closed[0], closed[1]) == ("ap", 0.995)
    assert [way.cell["observed"] for way in closed[2]] == ["first", "both"]
    album = found["PIPA", "MLPphotoset", "matching_ap"]
    assert (album[1], album[2][0].cell["split"]) == (0.912, "session")
