"""What a mitigation leaves of the attack and of the task, at a small size."""

import json
import math
import types

import pytest
import torch

from privlab.attacks import linkability
from privlab.studies.linkability import _defended, _mitigations, figure_11
from tests.studies.linkability.small import CELL, SEED, small

__all__ = ["small"]
CPU = torch.device("cpu")
pytestmark = pytest.mark.usefixtures("small")
REDUCED = {"reduction_above_random", "reduction_best", "reduction_waiting"}


def measured(**change):
    return figure_11.STUDY.run({**CELL, **change}, SEED, CPU)


@pytest.mark.parametrize(
    "change",
    [
        {"mitigation": "bkg-repl", "alpha": 1.0},
        {"mitigation": "mm-aug", "alpha": 0.5},
        {"mitigation": "relative noise", "alpha": 8.0},
        {"mitigation": "only fc1", "layer": "fc1"},
        {"mitigation": "dp", "epsilon": 8.0, "delta": 1e-3, "unit": "client", "where": "client"},
    ],
    ids=str,
)
def test_a_cell_is_measured_again_to_the_same(change, monkeypatch):
    monkeypatch.setattr(_mitigations, "multiplier", lambda *_: 1.0)
    found = measured(**change)
    assert set(found) - REDUCED == set(figure_11.STUDY.metrics) - REDUCED
    assert found["ap_best"] >= found["ap"]
    plain = measured()
    assert found["reduction"] == pytest.approx(1 - found["ap"] / plain["ap"])
    assert found["relative_utility"] == pytest.approx(found["utility"] / plain["utility"])
    _defended._measured.cache_clear()
    assert found == measured(**change)


def test_who_waits_sees_through_noise_that_hides_each_update(monkeypatch):
    """Four users, a direction each, in updates that are noise to one part of 65."""
    random = torch.Generator().manual_seed(0)
    numbers = torch.arange(8).repeat(400)
    rows = torch.eye(64)[numbers // 2] + torch.randn(len(numbers), 64, generator=random)
    log = types.SimpleNamespace(
        layers={"output": torch.nn.functional.normalize(rows, dim=1)},
        users=numbers // 2,
        numbers=numbers % 2,
        model=None,
    )
    about = types.SimpleNamespace(tested=types.SimpleNamespace(images=None, labels=None))
    monkeypatch.setattr(_defended, "recorded", lambda *_: log)
    monkeypatch.setattr(_defended, "devices", lambda *_: about)
    monkeypatch.setattr(_defended.federated, "accuracy", lambda *_: 1.0)
    found = _defended._measured.__wrapped__(json.dumps({**CELL, "mitigation": "noise"}), SEED, "cpu")
    assert found["ap_waiting"] == 1.0
    assert found["ap_best"] < 0.7
    assert found["random_once"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_without_a_mitigation_nothing_is_reduced():
    found = measured()
    assert found["reduction"] == 0.0
    assert found["relative_utility"] == 1.0
    assert found.get("reduction_best", 0.0) == 0.0


def test_the_reduction_is_of_what_is_above_random(monkeypatch):
    values = {"none": (0.6, 0.7), "signs": (0.3, 0.5)}
    monkeypatch.setattr(
        _defended,
        "_measured",
        lambda key, *_: dict(zip(("ap", "ap_best", "random", "utility"), (*values[_kind(key)], 0.2, 0.5), strict=True)),
    )
    found = measured(mitigation="signs")
    assert found["reduction"] == pytest.approx(0.5)
    assert found["reduction_above_random"] == pytest.approx(1 - 0.1 / 0.4)
    assert found["reduction_best"] == pytest.approx(1 - 0.3 / 0.5)
    values["none"] = (0.2, 0.1)
    assert not REDUCED & set(measured(mitigation="signs"))  # there was nothing to take


def _of_one_magnitude(rows):
    weights = rows[:, :-10].abs()  # without the biases
    return torch.allclose(weights, (weights > 0) * weights.amax(1, keepdim=True), atol=1e-6)


def _kind(key):
    return "signs" if "signs" in key else "none"


def test_noise_that_blows_the_training_up_leaves_nothing_to_read():
    found = measured(mitigation="relative noise", alpha=1e12)
    assert all(math.isfinite(value) for value in found.values())
    assert found["times_random"] == pytest.approx(1, abs=0.6)


def test_the_adversary_learns_from_defended_updates(monkeypatch):
    asked = []
    inner = linkability.identify

    def watched(known, users, others, **how):
        asked.append((known, others[: -len(users.unique())]))  # the last are means of a device's
        return inner(known, users, others, **how)

    monkeypatch.setattr(linkability, "identify", watched)
    _defended._measured.cache_clear()
    measured(mitigation="signs")
    signs = [[_of_one_magnitude(rows) for rows in both] for both in asked]
    assert signs == [[True, True]] * 3 + [[False, False]] * 3  # three attacks, and the same without a mitigation


@pytest.mark.parametrize("count", [1.0, 2.0, 6.0])
def test_of_sums_there_is_what_there_is_of_single_updates(count):
    found = measured(**{**figure_11.SUMMED, "rounds": 12, "alpha": count})
    assert set(found) - REDUCED == {"ap", "ap_best", "times_random", "utility", "relative_utility"}
    assert found["relative_utility"] == 1.0  # the server has the same mean
    assert found == measured(**{**figure_11.SUMMED, "rounds": 12, "alpha": count})


def test_sums_that_are_known_and_those_asked_about_have_no_client_in_common(monkeypatch):
    seen = []
    inner = linkability.among
    monkeypatch.setattr(linkability, "among", lambda *rows, **how: seen.append(rows) or inner(*rows, **how))
    _defended._measured.cache_clear()
    measured(**{**figure_11.SUMMED, "rounds": 12, "alpha": 2.0})
    known, present, asked = seen[0]
    assert (present.sum(1) == 2).all()
    log = _defended.recorded({**CELL, "rounds": 12}, SEED, CPU)
    for rows, number in ((known, 0), (asked, 1)):
        own = log.layers["output"][log.numbers == number].double()
        weights = torch.linalg.lstsq(own.T, rows.double().T).solution  # each row is made of updates of that kind
        torch.testing.assert_close(own.T @ weights, rows.double().T, atol=1e-5, rtol=0)


def test_a_frontier_goes_straight_from_point_to_point():
    def row(kind, alpha, privacy, utility):
        numbers = {"reduction_above_random": privacy, "relative_utility": utility}
        return {"cell": {"data": "x", "mitigation": kind, "alpha": alpha}, "seed": 0, "metrics": numbers}

    rows = [row("none", 0.0, 0.0, 1.0), row("noise", 1.0, 0.5, 0.8), row("noise", 2.0, 0.4, 0.7)]
    table = figure_11.Table([*rows, row("noise", 3.0, 1.0, 0.2)])
    rivals = [{"mitigation": "noise", "alpha": alpha} for alpha in (1.0, 2.0, 3.0)]
    wanted = {-0.1: 1.0, 0.0: 1.0, 0.2: 0.9, 0.4: 0.8, 0.5: 0.8, 0.75: 0.5, 1.0: 0.2, 1.2: 0.2}
    found = {place: figure_11._frontier(table, rivals, 0, place) for place in wanted}
    assert found == pytest.approx(wanted)
    assert figure_11._frontier(table, [{"mitigation": "signs"}], 0, 0.5) is None


def test_the_papers_reductions_are_read_right():
    found = {
        (item.printed.dataset, item.printed.variant): (item.metric, item.value, item.readings)
        for item in figure_11.STUDY.reported
    }
    assert len(found) == 6
    metric, value, readings = found["OpenImages", "mm-aug alpha=0.5"]
    assert (metric, value, readings[0].cell) == ("reduction", 0.75, {"mitigation": "mm-aug", "alpha": 0.5})
    metric, value, readings = found["PIPA", "bkg-repl alpha=1"]
    assert (metric, value, readings[0].cell["alpha"]) == ("relative_utility", 0.75, 1.0)
    metric, value, readings = found["PIPA", "best mitigation"]
    assert (metric, value, [way.cell["alpha"] for way in readings]) == ("reduction", 0.86, [2.0, 1.0, 0.5])
