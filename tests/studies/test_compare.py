import math

import pytest

from privlab import studies
from privlab.studies.compare import agrees, same_ordering
from privlab.studies.outcome import UNDECIDED
from privlab.studies.study import Claim, Reported, Study, Table


def study(**changes):
    settings = {
        "id": "made/up",
        "title": "made up",
        "source": "nowhere",
        "version": 1,
        "cells": lambda name: [{"data": name, "s": s} for s in (1, 2, 3)],
        "run": lambda cell, seed, device: {"recall": float(cell["s"])},
        "data": {"fast": ("digits",), "real": ("mnist",), "paper": ("mnist",)},
        "seeds": {"fast": 2, "real": 2, "paper": 2},
        "knob": "s",
        "metrics": ("recall",),
        "reported": tuple(
            Reported("MNIST", {"s": s}, "recall", value, 0.01) for s, value in ((1, 0.1), (2, 0.5), (3, 0.9))
        ),
        "checksum": lambda name: ("sum", "embedded"),
    }
    return Study(**{**settings, **changes})


def rows(values, data="mnist"):
    """values: s -> one number a seed."""
    return [
        {"cell": {"data": data, "s": s}, "seed": seed, "metrics": {"recall": value}}
        for s, numbers in values.items()
        for seed, value in enumerate(numbers)
    ]


def verdicts(values, data="mnist", **changes):
    compared = studies.compare(study(**changes), rows=rows(values, data))
    return [row["verdict"] for row in compared.rows if row["cell"]["data"] == data]


@pytest.mark.parametrize(
    ("reported", "step", "mean", "sd", "expected"),
    [
        (0.5, 0.01, 0.52, 0.01, True),  # within two standard deviations
        (0.5, 0.01, 0.5201, 0.001, True),  # within five per cent
        (0.5, 0.01, 0.5251, 0.001, False),
        (0.5, 0.01, 0.53, 0.0149, False),
        (0.0, 0.001, 0.0005, 0.0, True),  # within the rounding of the print
        (0.0, 0.001, 0.0006, 0.0, False),
        (10, 1.0, 10.5, 0.0, True),
    ],
)
def test_the_rule_for_agreement(reported, step, mean, sd, expected):
    assert agrees(reported, step, mean, sd) is expected


def test_the_papers_own_data_can_agree():
    assert verdicts({1: [0.1, 0.1], 2: [0.5, 0.5], 3: [0.9, 0.9]}) == ["agrees"] * 3


def test_a_stand_in_never_agrees_but_may_be_ordered_alike():
    same = {1: [0.1, 0.1], 2: [0.5, 0.5], 3: [0.9, 0.9]}
    assert verdicts(same, data="digits") == ["same ordering"] * 3


def test_other_values_in_the_same_order():
    assert verdicts({1: [0.2, 0.2], 2: [0.5, 0.5], 3: [0.7, 0.7]}) == ["same ordering", "agrees", "same ordering"]


def test_another_order_differs():
    assert verdicts({1: [0.7, 0.7], 2: [0.5, 0.5], 3: [0.2, 0.2]}) == ["differs", "agrees", "differs"]


def test_what_was_not_measured_is_not_run():
    compared = studies.compare(study(), rows=rows({1: [0.1, 0.1]}))
    assert [row["verdict"] for row in compared.rows] == ["agrees", "not run", "not run"]
    assert compared.rows[1]["measured_mean"] is None
    assert compared.rows[1]["n"] == 0


def test_data_of_ones_own_are_listed_without_a_verdict():
    compared = studies.compare(study(), rows=rows({1: [0.3]}, data="mine"))
    own = [row for row in compared.rows if row["cell"]["data"] == "mine"]
    assert [(row["reported"], row["verdict"], row["n"]) for row in own] == [(None, None, 1)]


def test_mean_and_spread_are_over_seeds():
    row = studies.compare(study(), rows=rows({1: [0.1, 0.3, 0.5]})).rows[0]
    assert row["measured_mean"] == pytest.approx(0.3)
    assert row["measured_sd"] == pytest.approx(0.2)
    assert row["n"] == 3


def test_ordering_needs_more_than_one_point_and_a_curve_that_moves():
    assert not same_ordering([0.1], [0.1])
    assert not same_ordering([0.1, 0.1, 0.1], [0.1, 0.2, 0.3])
    assert same_ordering([0.1, 0.5, 0.9], [1, 2, 3])
    assert not same_ordering([0.1, 0.5, 0.9], [3, 2, 1])


def test_claims_hold_fail_or_were_not_run():
    rising = Claim("rises", "s. 1", lambda t: t.mean("recall", s=3) > t.mean("recall", s=1))
    elsewhere = Claim("of other data", "s. 2", lambda t: True, data=("cifar10",))
    unknown = Claim("needs more", "s. 3", lambda t: None)
    close = Claim("hardly differs", "s. 4", lambda t: UNDECIDED)
    for values, expected in (({1: [0.1], 3: [0.9]}, "holds"), ({1: [0.9], 3: [0.1]}, "does not hold")):
        compared = studies.compare(study(claims=(rising, elsewhere, unknown, close)), rows=rows(values))
        assert [claim["verdict"] for claim in compared.claims] == [expected, "not run", "cannot tell"]
    assert [claim["verdict"] for claim in studies.compare(study(claims=(rising,)), rows=[]).claims] == ["not run"]


def test_tables_for_reading_say_what_was_reported_and_measured():
    compared = studies.compare(study(), rows=rows({1: [0.1, 0.12]}))
    frame = compared.frame("mnist")
    assert frame["recall", "paper"].tolist() == ["0.100", "0.500", "0.900"]
    assert frame["recall", "here"].tolist() == ["0.110 ± 0.014 (n=2)", "not run", "not run"]
    page = compared.show("mnist").to_html()
    assert "n = 2 seeds" in page
    assert "✓ agrees" in page
    curve = compared.curve("mnist", "recall", "s")
    assert curve.s.tolist() == [1]
    assert curve.here.tolist() == pytest.approx([0.11])


def test_a_table_counts_the_seeds_of_the_metrics_that_it_shows():
    made = study(metrics=("recall", "rare"))
    measured = [
        {"cell": {"data": "mnist", "s": 1}, "seed": seed, "metrics": {"recall": 0.1, **({"rare": 1.0} if seed else {})}}
        for seed in range(3)
    ]
    compared = studies.compare(made, rows=measured)
    assert "n = 3 seeds" in compared.show("mnist", ("recall",)).to_html()
    assert "n = 2 or 3 seeds" in compared.show("mnist").to_html()


def test_table_selects_averages_and_sorts():
    table = Table(rows({3: [0.2, 0.4], 1: [0.5]}))
    assert table.mean("recall", s=3) == pytest.approx(0.3)
    assert list(table.curve("recall", "s")) == [1, 3]
    assert math.isnan(table.mean("recall", s=9))


def test_an_unknown_study_lists_those_there_are():
    with pytest.raises(ValueError, match=r"choose one of .*curious/table-2, curious/table-3"):
        studies.compare("curious/table-99")


def test_each_metric_is_ordered_by_itself():
    printed = ((1, 0.1), (2, 0.5), (3, 0.9))
    made = study(
        metrics=("recall", "active"),
        reported=tuple(
            Reported("MNIST", {"s": s}, name, value, 0.01) for name in ("recall", "active") for s, value in printed
        ),
    )
    measured = [
        {"cell": {"data": "mnist", "s": s}, "seed": 0, "metrics": {"recall": up, "active": down}}
        for s, up, down in ((1, 0.2, 0.7), (2, 0.4, 0.3), (3, 0.7, 0.2))
    ]
    found = studies.compare(made, rows=measured).rows
    assert [row["verdict"] for row in found if row["metric"] == "recall"] == ["same ordering"] * 3
    assert [row["verdict"] for row in found if row["metric"] == "active"] == ["differs"] * 3


def test_the_ordering_holds_from_a_tau_of_eight_tenths():
    assert not same_ordering([1, 2, 3, 4], [2, 1, 3, 4])  # 0.67
    assert same_ordering([1, 2, 3, 4, 5], [2, 1, 3, 4, 5])  # 0.8


def test_a_curve_over_names_keeps_them():
    made = study(cells=lambda name: [{"data": name, "s": s} for s in ("wide", "narrow")], reported=())
    measured = [{"cell": {"data": "mnist", "s": s}, "seed": 0, "metrics": {"recall": 0.5}} for s in ("wide", "narrow")]
    assert studies.compare(made, rows=measured).curve("mnist", "recall", "s").s.tolist() == ["narrow", "wide"]


def test_a_cell_that_never_reached_a_metric_is_not_called_unmeasured():
    made = study(metrics=("recall", "precision"))
    compared = studies.compare(
        made, rows=[{"cell": {"data": "mnist", "s": 1}, "seed": 0, "metrics": {"precision": 0.1}}]
    )
    row = next(row for row in compared.rows if row["cell"]["s"] == 1 and row["metric"] == "recall")
    assert (row["measured_mean"], row["n"], row["verdict"]) == (None, 1, "differs")
    shown = compared.frame("mnist", ("recall",))["recall", "here"]
    assert shown.tolist() == ["none", "not run", "not run"]


def test_a_wait_that_does_not_end_ends_never():
    made = study(metrics=("iterations", "precision"))
    measured = [{"cell": {"data": "mnist", "s": 1}, "seed": 0, "metrics": {"precision": 0.1}}]
    assert studies.compare(made, rows=measured).frame("mnist")["iterations", "here"].tolist()[0] == "never"


def test_what_is_not_judged_is_printed_without_a_verdict():
    seconds = Reported("MNIST", {"s": 1}, "recall", 0.1, 0.01, judged=False)
    line = studies.compare(study(reported=(seconds,)), rows=rows({1: [0.1]})).rows[0]
    assert (line["reported"], line["verdict"]) == (0.1, None)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0.000"),
        (2.1e-6, "2e-06"),
        (0.0005, "0.001"),
        (0.5, "0.500"),
        (21.296, "21.30"),
        (-554.12, "-554.1"),
        (35112, "35,112"),
    ],
)
def test_numbers_are_printed_so_that_they_say_something(value, text):
    from privlab.studies.compare import _number

    assert _number(value) == text


def test_settings_that_all_cells_share_are_left_out_of_the_table_and_named_beside_it():
    made = study(cells=lambda name: [{"data": name, "net": "lenet", "s": s} for s in (1, 2)])
    given = [
        {"cell": {"data": "mnist", "net": "lenet", "s": s}, "seed": 0, "metrics": {"recall": 0.1 * s}} for s in (1, 2)
    ]
    compared = studies.compare(made, rows=given)
    assert compared.common("mnist") == {"net": "lenet"}
    assert ("net", "") not in compared.frame("mnist").columns
    assert list(compared.frame("mnist")["s", ""]) == [1, 2]
    one = compared.frame("mnist", s=1)
    assert list(one["net", ""]) == ["lenet"]  # a line alone keeps its settings


def test_a_metric_that_the_paper_does_not_print_has_no_column_for_it():
    compared = studies.compare(study(reported=()), rows=rows({1: [0.1], 2: [0.2], 3: [0.3]}))
    assert list(compared.frame("mnist").columns) == [("s", ""), ("recall", "here")]
    printed = studies.compare(study(), rows=rows({1: [0.1], 2: [0.2], 3: [0.3]}))
    assert ("recall", "verdict") in printed.frame("mnist").columns


def test_a_spread_has_as_many_digits_as_its_mean():
    values = {1: [21.0, 21.1], 2: [554.0, 570.0], 3: [0.001, 0.0011]}
    shown = studies.compare(study(), rows=rows(values)).frame("mnist")["recall", "here"].tolist()
    assert shown == ["21.05 ± 0.07 (n=2)", "562.0 ± 11.3 (n=2)", "0.001 ± 7e-05 (n=2)"]
