"""Update analysis: who is named among honest clients and liars, against slow versions."""

import numpy as np
import pytest
import torch

from privlab import data, models
from privlab.attacks import poisoning
from privlab.defences import aggregation, update_analysis
from privlab.sharing import federated, together
from privlab.sharing.federated import Client
from privlab.sharing.messages import Update

DIGITS = data.load("digits")


def vectors(*rows):
    return [Update({"w": torch.as_tensor(row, dtype=torch.float64).clone()}, {}) for row in rows]


def honest(count=10, size=50, seed=0):
    random = torch.Generator().manual_seed(seed)
    common = torch.randn(size, generator=random).double()
    return common + 0.5 * torch.randn(count, size, generator=random).double()


def of_digits(seed, count=12):
    """What IID clients send in one round, and the clients."""
    parts = data.iid(DIGITS.labels, count, seed=seed)
    clients = [Client(DIGITS[part].images, DIGITS[part].labels) for part in parts]
    model = models.fully_connected(DIGITS.shape, 10, widths=(16,), seed=seed)
    random = torch.Generator().manual_seed(seed)
    return together.local_updates(model, clients, epochs=1, batch=16, lr=0.1, random=random)


def by_length_slowly(updates, limit=3.5):
    lengths = [sum(float(x) ** 2 for x in each["w"]) ** 0.5 for each in updates]
    middle = np.median(lengths)
    spread = np.median([abs(each - middle) for each in lengths]) * 1.4826
    return [place for place, each in enumerate(lengths) if abs(each - middle) > limit * spread]


@pytest.mark.parametrize("limit", [0.5, 1.5, 3.5])
def test_lengths_are_held_against_robust_standard_deviations(limit):
    for seed in range(5):
        rows = honest(seed=seed)
        rows[[2, 7]] *= torch.tensor([[3.0], [0.1]])
        found = update_analysis.by_length(vectors(*rows), limit)
        assert found == by_length_slowly(vectors(*rows), limit)
        assert limit < 3 or found == [2, 7]


@pytest.mark.parametrize("seed", range(3))
def test_long_ones_and_turned_ones_are_named_on_digits(seed):
    """Three of twelve: a flipped sign shows in the direction, more length in the length."""
    sent = of_digits(seed)
    for factor, long, turned in ((10.0, [0, 1, 2], []), (-1.0, None, [0, 1, 2]), (-10.0, [0, 1, 2], [0, 1, 2])):
        lie = poisoning.scale(sent[:3], factor)
        lies = [lie, lie, lie, *sent[3:]]
        assert long is None or update_analysis.by_length(lies) == long
        assert update_analysis.by_direction(lies) == turned
        if factor == -10:
            rule = update_analysis.without(update_analysis.by_length, update_analysis.by_direction)
            kept = aggregation.mean(sent[3:])
            assert all(torch.equal(each, kept[name]) for name, each in rule(lies).items())


def test_how_often_honest_iid_clients_are_named():
    """False alarms in twenty draws of twelve clients: directions none, lengths 10 of 240, as a median of twelve has."""
    long = turned = 0
    for seed in range(20):
        sent = of_digits(seed)
        long += len(update_analysis.by_length(sent))
        turned += len(update_analysis.by_direction(sent))
    assert turned == 0
    assert long <= 0.06 * 12 * 20


def test_two_clusters_are_told_by_how_far_apart_they_lie():
    """In the plane, by angles: the smaller is named where the gap is more than twice the widest join within."""

    def at(*degrees):
        angles = np.radians(degrees)
        return vectors(*np.stack([np.cos(angles), np.sin(angles)], 1))

    assert update_analysis.by_direction(at(0, 1, 2, 90, 3)) == [3]
    assert update_analysis.by_direction(at(90, 91, 0, 1, 2)) == [0, 1]
    assert update_analysis.by_direction(at(0, 1, 90, 91)) == [], "neither is the smaller"
    assert update_analysis.by_direction(at(0, 180)) == [], "too few to tell"
    assert update_analysis.by_direction(at(0, 0, 180)) == [2]
    assert update_analysis.by_direction(at(0, 10, 5, 27, 8)) == [3]
    assert update_analysis.by_direction(at(0, 10, 5, 15, 8)) == []


def by_direction_slowly(rows):
    """Joins the two clusters that lie nearest in the mean, until there are two."""
    units = [row / np.linalg.norm(row) for row in rows]
    groups, joins = [[place] for place in range(len(rows))], []

    def apart(one, other):
        return np.mean([1 - units[i] @ units[j] for i in one for j in other])

    while len(groups) > 1:
        pairs = [(apart(groups[i], groups[j]), i, j) for i in range(len(groups)) for j in range(i)]
        width, i, j = min(pairs)
        joins.append(width)
        last = groups[j], groups[i]
        groups[j] = groups[j] + groups.pop(i)
    few = sorted(min(last, key=len))
    return few if 2 * len(few) < len(rows) and joins[-1] > 2 * joins[-2] else []


def test_the_clusters_are_those_of_the_slow_way():
    named = 0
    for seed in range(40):
        rows = honest(9, 6, seed).numpy()
        rows[: seed % 5] *= -1
        found = update_analysis.by_direction(vectors(*rows))
        assert found == by_direction_slowly(rows)
        named += bool(found)
    assert 10 < named < 40


def test_equal_updates_are_no_alarm_and_neither_are_roundings():
    """As of clients who all clip to the same length, or who hold the same data."""
    row = honest(1)[0]
    same = [row.float() * (1 + 1e-7 * n) for n in range(9)]
    updates = [Update({"w": each}, {}) for each in same]
    assert update_analysis.by_length(updates) == []
    assert update_analysis.by_direction(updates) == []
    rounded = row * (1 + 1e-6 * honest(1, seed=1)[0])
    assert update_analysis.by_direction(vectors(*[row] * 7, rounded, rounded)) == []
    assert update_analysis.by_direction(vectors(*[row] * 7, row * honest(1, seed=1)[0])) == [7]
    units = honest(9)
    clipped = [Update({"w": (each / each.norm()).float()}, {}) for each in units]
    assert update_analysis.by_length(clipped) == []
    assert update_analysis.by_length([*clipped, Update({"w": clipped[0]["w"] * 1.1}, {})]) == [9]


@pytest.mark.parametrize("size", [1e-12, 1e12])
def test_the_unit_of_updates_does_not_matter(size):
    rows = honest()
    rows[4] *= -5
    updates = vectors(*(size * rows))
    assert update_analysis.by_length(updates) == [4]
    assert update_analysis.by_direction(updates) == [4]


def test_an_update_of_zeros_has_no_direction_of_the_others():
    rows = honest()
    rows[6] = 0
    assert 6 in update_analysis.by_length(vectors(*rows))
    assert update_analysis.by_direction(vectors(*rows)) == [6]


def test_without_averages_what_no_test_names_and_all_where_each_is_named():
    updates = vectors(*honest(6))

    def names(*places):
        return lambda _updates: list(places)

    def made(*tests, **how):
        return update_analysis.without(*tests, **how)(updates)["w"]

    for places, kept in (((), range(6)), ((0, 3), (1, 2, 4, 5)), (range(6), range(6))):
        wanted = torch.stack([updates[place]["w"] for place in kept]).mean(0)
        torch.testing.assert_close(made(names(*places)), wanted)
    both = made(names(0), names(3), rule=aggregation.median)
    torch.testing.assert_close(both, aggregation.median([updates[place] for place in (1, 2, 4, 5)])["w"])
    torch.testing.assert_close(made(), aggregation.mean(updates)["w"])


def test_a_federation_goes_on_without_who_is_named():
    parts = data.iid(DIGITS.labels, 6, seed=0)
    clients = [Client(DIGITS[part].images, DIGITS[part].labels) for part in parts]
    model = models.fully_connected(DIGITS.shape, 10, widths=(8,), seed=0)
    how = {"rounds": 2, "batch": 16, "aggregate": update_analysis.without(update_analysis.by_length)}
    liar = poisoning.Colluders(clients[:1], lambda known: poisoning.scale(known, 50.0), train=_one_by_one)
    made = federated.fed_avg(model, clients, **how, train=liar)
    other = poisoning.Colluders(clients[:1], lambda known: poisoning.scale(known, -500.0), train=_one_by_one)
    again = federated.fed_avg(model, clients, **how, train=other)
    assert torch.equal(made.fc1.weight, again.fc1.weight), "whatever it sends"


def _one_by_one(model, some, **how):
    return [federated.local_update(model, each, **how) for each in some]


@pytest.mark.parametrize("test", [update_analysis.by_length, update_analysis.by_direction])
def test_what_no_rule_takes_no_test_takes(test):
    with pytest.raises(ValueError, match="there are no updates"):
        test([])
    with pytest.raises(ValueError, match="update 1 has numbers that are not finite"):
        test(vectors([1.0, 2.0], [float("nan"), 0.0], [1.0, 1.0]))
    with pytest.raises(ValueError, match="update 1 is of another model"):
        test(vectors([1.0, 2.0], [1.0], [1.0, 1.0]))


@pytest.mark.parametrize("limit", [0, -1, float("nan"), "3"])
def test_a_limit_that_is_none_is_refused(limit):
    with pytest.raises((ValueError, TypeError), match="limit="):
        update_analysis.by_length(vectors([1.0], [2.0]), limit)
