"""Reported beside measured: which cell speaks for a printed number, and what is said of it."""

import math

import pytest

from privlab import studies
from privlab.studies.bench.printed import Printed, Reading, Reported
from privlab.studies.bench.sentence import UNDECIDED
from privlab.studies.bench.study import Claim, Study, Table


def item(s, value, *, metric="recall", dataset="MNIST", step=0.01, readings=None, spread=None):
    row = Printed("made", "1", dataset, "", "", f"s={s}", metric, value)
    return Reported(row, metric, value, step, readings or (Reading({"s": s}),), spread)


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
        "reported": tuple(item(s, value) for s, value in ((1, 0.1), (2, 0.5), (3, 0.9))),
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


THRICE = {1: [0.1] * 3, 2: [0.5] * 3, 3: [0.9] * 3}


def test_the_papers_own_data_can_agree():
    assert verdicts(THRICE) == ["agrees"] * 3


@pytest.mark.parametrize(("draws", "said"), [(1, "agrees (one draw)"), (2, "agrees (two draws)"), (3, "agrees")])
def test_an_agreement_says_how_few_draws_it_has(draws, said):
    assert verdicts({s: values[:draws] for s, values in THRICE.items()}) == [said] * 3


def test_a_stand_in_never_agrees_but_may_be_ordered_alike():
    assert verdicts(THRICE, data="digits") == ["same ordering (stand-in)"] * 3
    assert verdicts({1: [0.9] * 3, 2: [0.5] * 3, 3: [0.1] * 3}, data="digits") == ["stand-in only"] * 3


def test_other_values_in_the_same_order():
    values = {1: [0.2] * 3, 2: [0.5] * 3, 3: [0.7] * 3}
    assert verdicts(values) == ["same ordering", "agrees", "same ordering"]


def test_another_order_differs():
    assert verdicts({1: [0.7] * 3, 2: [0.5] * 3, 3: [0.2] * 3}) == ["differs", "agrees", "differs"]


def test_two_draws_show_no_ordering():
    assert verdicts({1: [0.2] * 2, 2: [0.5] * 2, 3: [0.7] * 2})[0] == "differs (two draws)"


def test_a_reduced_cell_agrees_as_such_or_is_not_at_scale():
    small = {"scale": lambda cell, item: "half the images"}
    assert verdicts(THRICE, **small) == ["agrees (reduced)"] * 3
    assert verdicts({1: [0.7] * 3, 2: [0.5] * 3, 3: [0.2] * 3}, **small)[::2] == ["not at scale"] * 2
    assert verdicts({1: [0.2] * 3, 2: [0.5] * 3, 3: [0.7] * 3}, **small)[0] == "same ordering (reduced)"


def test_part_of_a_data_set_is_a_reduced_scale(tmp_path):
    made = study(
        data={"fast": (), "real": ("cifar10",), "paper": ("cifar10",)}, reported=(item(1, 0.1, dataset="CIFAR-10"),)
    )
    origin = {"data_source": "local copy", "data_examples": 12_500}
    measured = [{**row, "provenance": origin} for row in rows({1: [0.1] * 3}, "cifar10")]
    line = studies.compare(made, studies.Store(made, tmp_path), rows=measured).rows[0]
    assert (line["verdict"], line["scale"]) == ("agrees (reduced)", "12,500 of 50,000 examples")
    whole = [{**row, "provenance": {**origin, "data_examples": 50_000}} for row in measured]
    assert studies.compare(made, studies.Store(made, tmp_path), rows=whole).rows[0]["scale"] == "paper"
    unknown = [{**row, "provenance": {"data_source": "local copy"}} for row in measured]
    line = studies.compare(made, studies.Store(made, tmp_path), rows=unknown).rows[0]
    assert line["scale"] == "a copy of unknown size"


def reading_study(*readings, scale=lambda cell, item: ""):
    """One printed number, 0.5, which any of some cells may be."""
    cells = [way.cell for way in readings]
    return study(
        cells=lambda name: [{"data": name, **cell} for cell in cells],
        reported=(item(1, 0.5, readings=tuple(readings)),),
        scale=scale,
    )


def spoken(made, **measured):
    """The line that speaks, where settings `s=1` and so on were measured with these values."""
    table = [row for s, values in measured.items() for row in rows({int(s[1:]): values})]
    (line,) = [row for row in studies.compare(made, rows=table).rows if row["speaks"]]
    return line["cell"]["s"], line["verdict"]


LITERAL, OTHER, FITTED = (
    Reading({"s": 1}),
    Reading({"s": 2}, "another"),
    Reading({"s": 3}, "chosen", fitted=True),
)


def test_the_literal_reading_speaks_even_where_another_agrees():
    made = reading_study(LITERAL, OTHER, FITTED)
    far, near = [0.8, 0.81, 0.79], [0.5, 0.5, 0.5]
    assert spoken(made, s1=far, s2=near, s3=near) == (1, "differs")
    assert spoken(made, s2=near, s3=near) == (2, "agrees (in another reading)")
    assert spoken(made, s3=near) == (3, "fitted")
    assert spoken(made) == (1, "not run")


def test_the_papers_scale_speaks_before_a_reduced_cell_whatever_its_reading():
    made = reading_study(LITERAL, OTHER, scale=lambda cell, item: "small" if cell["s"] == 1 else "")
    assert spoken(made, s1=[0.5] * 3, s2=[0.8, 0.81, 0.79]) == (2, "differs (in another reading)")
    assert spoken(made, s1=[0.5] * 3) == (1, "agrees (reduced)")


def test_a_stand_in_speaks_last():
    made = study(reported=(item(1, 0.5),))
    both = [*rows({1: [0.9] * 3}), *rows({1: [0.5] * 3}, "digits")]
    found = {row["cell"]["data"]: row["speaks"] for row in studies.compare(made, rows=both).rows if row["reported"]}
    assert found == {"mnist": True, "digits": False}


def test_psnr_and_mse_are_one_number_judged_by_the_worse():
    made = study(
        metrics=("psnr", "mse_255"),
        reported=(item(1, 20.0, metric="psnr", step=0.1), item(1, 650.0, metric="mse_255", step=0.1)),
    )
    cell = {"data": "mnist", "s": 1}
    near = [{"cell": cell, "seed": s, "metrics": {"psnr": 20.1, "mse_255": 900.0 + s}} for s in range(3)]
    assert [row["verdict"] for row in studies.compare(made, rows=near).rows if row["reported"]] == ["differs"] * 2
    same = [{"cell": cell, "seed": s, "metrics": {"psnr": 20.1, "mse_255": 660.0}} for s in range(3)]
    assert [row["verdict"] for row in studies.compare(made, rows=same).rows if row["reported"]] == ["agrees"] * 2


def test_what_was_not_measured_is_not_run():
    compared = studies.compare(study(), rows=rows({1: [0.1] * 3}))
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
    assert "✓²" in page
    assert "² two draws" in page
    assert "✗" not in page  # a sign that does not occur is not explained
    assert "on MNIST" in page
    plain = compared.show("mnist", signs=False).to_html()  # for a page that explains all of them once
    assert "✓²" in plain
    assert "agrees" not in plain
    assert all(said in studies.legend() for said in ("✓ agrees", "✗ differs", "² two draws"))
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


def test_a_curve_puts_numbers_before_names_and_none_last_and_leaves_out_cells_without_the_knob():
    """A cell may say None for *not at all*, which no number can be compared with."""
    without = {"cell": {"data": "mnist"}, "seed": 0, "metrics": {"recall": 0.5}}
    measured = [*rows({None: [0.4], "all": [0.3], 3.0: [0.2], 1: [0.1]}), without]
    assert list(Table(measured).curve("recall", "s").items()) == [(1, 0.1), (3.0, 0.2), ("all", 0.3), (None, 0.4)]
    cells = [row["cell"] for row in measured]
    made = study(cells=lambda name: [cell for cell in cells if cell["data"] == name], reported=())
    curve = studies.compare(made, rows=measured).curve("mnist", "recall", "s")
    assert curve.here.tolist() == [0.1, 0.2, 0.3, 0.4]


def test_an_unknown_study_lists_those_there_are():
    with pytest.raises(ValueError, match=r"choose one of .*curious/table-2, curious/table-3"):
        studies.compare("curious/table-99")


def test_each_metric_is_ordered_by_itself():
    printed = ((1, 0.1), (2, 0.5), (3, 0.9))
    made = study(
        metrics=("recall", "active"),
        reported=tuple(item(s, value, metric=name) for name in ("recall", "active") for s, value in printed),
    )
    measured = [
        {"cell": {"data": "mnist", "s": s}, "seed": seed, "metrics": {"recall": up, "active": down}}
        for s, up, down in ((1, 0.2, 0.7), (2, 0.4, 0.3), (3, 0.7, 0.2))
        for seed in range(3)
    ]
    found = studies.compare(made, rows=measured).rows
    assert [row["verdict"] for row in found if row["metric"] == "recall"] == ["same ordering"] * 3
    assert [row["verdict"] for row in found if row["metric"] == "active"] == ["differs"] * 3


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
    assert (row["measured_mean"], row["n"], row["verdict"]) == (None, 1, "differs (one draw)")
    shown = compared.frame("mnist", ("recall",))["recall", "here"]
    assert shown.tolist() == ["none", "not run", "not run"]


def test_a_wait_that_does_not_end_ends_never():
    made = study(metrics=("iterations", "precision"))
    measured = [{"cell": {"data": "mnist", "s": 1}, "seed": 0, "metrics": {"precision": 0.1}}]
    assert studies.compare(made, rows=measured).frame("mnist")["iterations", "here"].tolist()[0] == "never"


def test_seconds_are_printed_and_not_judged():
    made = study(metrics=("seconds",), reported=(item(1, 0.1, metric="seconds"),))
    measured = [{"cell": {"data": "mnist", "s": 1}, "seed": 0, "metrics": {"seconds": 5.0}}]
    line = studies.compare(made, rows=measured).rows[0]
    assert (line["reported"], line["verdict"]) == (0.1, "not judged")


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
    from privlab.studies.bench.show import number

    assert number(value) == text


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


def test_a_sentence_is_one_verdict_over_the_papers_data_and_stand_ins_are_listed():
    claim = Claim("rises", "s. 1", lambda t: t.mean("recall", s=3) > t.mean("recall", s=1), "s of 1 and 3")
    up, down = {1: [0.1], 3: [0.9]}, {1: [0.9], 3: [0.1]}
    made = study(
        claims=(claim,), data={"fast": ("digits",), "real": ("mnist", "cifar10"), "paper": ("mnist", "cifar10")}
    )

    def sentence(*tables):
        return studies.compare(made, rows=[row for table in tables for row in table]).sentences[0]

    found = sentence(rows(up), rows(down, "cifar10"), rows(down, "digits"))
    assert found["verdict"] == "depends"
    assert found["where"] == {"holds": ["MNIST"], "does not hold": ["CIFAR-10"]}
    assert found["stand_ins"] == {"digits": "does not hold"}
    assert sentence(rows(up), rows(up, "cifar10"), rows(down, "digits"))["verdict"] == "holds"
    assert sentence(rows(down), rows(down, "cifar10"))["verdict"] == "does not hold"
    assert sentence(rows(up))["verdict"] == "cannot tell"  # CIFAR-10 was not run
    assert sentence(rows(up, "digits"))["verdict"] == "not run"


def test_where_nothing_is_the_papers_all_sets_speak_for_a_sentence_of_ours_and_none_for_the_papers():
    up, down = {1: [0.1], 3: [0.9]}, {1: [0.9], 3: [0.1]}
    sets = ("mnist-writers", "mitbih")

    def sentence(ours, *tables):
        claim = Claim("rises", "s. 1", lambda t: t.mean("recall", s=3) > t.mean("recall", s=1), "s", ours=ours)
        made = study(claims=(claim,), data={"fast": ("digits",), "real": sets, "paper": sets})
        return studies.compare(made, rows=[row for table in tables for row in table]).sentences[0]

    everywhere = rows(up, "digits"), rows(down, "mitbih")
    own = sentence(True, *everywhere)
    assert own["verdict"] == "depends"
    assert own["where"] == {"holds": ["digits"], "does not hold": ["mitbih"]}
    assert own["stand_ins"] == {}
    printed = sentence(False, *everywhere)
    assert printed["verdict"] == "not run"
    assert printed["stand_ins"] == {"digits": "holds", "mitbih": "does not hold"}
    assert sentence(True)["verdict"] == "not run"


def test_of_a_document_that_names_no_data_each_set_speaks_and_what_was_not_run_is_silent():
    up, down = {1: [0.1], 3: [0.9]}, {1: [0.9], 3: [0.1]}
    claim = Claim("rises", "s. 1", lambda t: t.mean("recall", s=3) > t.mean("recall", s=1), "s")
    sets = {"fast": ("digits",), "real": ("mnist", "mitbih"), "paper": ("mnist", "mitbih")}
    made = study(claims=(claim,), data=sets, names_data=False)

    def sentence(*tables):
        return studies.compare(made, rows=[row for table in tables for row in table]).sentences[0]

    found = sentence(rows(up, "digits"), rows(down))
    assert found["verdict"] == "depends"
    assert found["where"] == {"holds": ["digits"], "does not hold": ["MNIST"]}
    assert found["stand_ins"] == {}
    assert sentence(rows(up, "digits"))["verdict"] == "holds"
    assert sentence()["verdict"] == "not run"


def test_settings_of_a_sentence_are_named():
    claim = Claim("depends", "s. 1", lambda t: {"with Adam": True, "with SGD": False})
    found = studies.compare(study(claims=(claim,)), rows=rows({1: [0.1]}))
    assert found.claims[0]["verdict"] == "depends"
    assert found.claims[0]["settings"] == {"with Adam": "holds", "with SGD": "does not hold"}
    assert found.sentences[0]["where"] == {"holds": ["MNIST, with Adam"], "does not hold": ["MNIST, with SGD"]}


def test_a_mean_for_a_sentence_of_a_page_is_of_one_cell():
    compared = studies.compare(study(), rows=rows({1: [0.1, 0.3], 2: [0.5]}))
    assert compared.mean("mnist", "recall", s=1) == pytest.approx(0.2)
    with pytest.raises(ValueError, match="2 cells of made/up on 'mnist'"):
        compared.mean("mnist", "recall")
    with pytest.raises(ValueError, match="0 cells"):
        compared.mean("mnist", "recall", s=3)
