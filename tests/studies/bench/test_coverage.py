"""One verdict for each value that the papers print, and what is missing, cheapest first."""

import json
import time
from collections import Counter
from pathlib import Path

import pytest

from privlab import cli, studies
from privlab.studies.bench import missing, registry, verdict
from privlab.studies.bench.coverage import word

from ..test_studies import NO_STUDY
from .test_compare import study

DESCRIBED = NO_STUDY["linkability"]["2"]
RESULTS = Path(__file__).resolve().parents[3] / "results"
FIELDS = ("paper", "table", "dataset", "model", "split", "variant", "metric", "value")
SAID = ("verdict", "scale", "reading", "n", "study")


@pytest.fixture(scope="module")
def rows():
    return studies.coverage(RESULTS)


def test_there_is_one_object_for_each_printed_value(rows):
    assert len(rows) == 649
    assert len({tuple(row[name] for name in FIELDS[:-1]) for row in rows}) == 649
    assert Counter(row["paper"] for row in rows) == {"curious": 430, "zen": 144, "splitnn": 24, "linkability": 51}
    assert all(tuple(row) == (*FIELDS, *SAID) for row in rows)
    assert sum(row["value"] is None for row in rows) == 5  # did not converge


def test_each_verdict_is_one_of_the_rule(rows):
    assert {word(row["verdict"]) for row in rows} <= set(verdict.VERDICTS)
    for row in rows:
        assert (row["verdict"] == verdict.NO_STUDY) == (row["study"] is None and row["verdict"] != verdict.NOT_JUDGED)
        if row["verdict"] != verdict.NOT_JUDGED:
            assert (row["n"] == 0) == (row["verdict"] in (verdict.NO_STUDY, verdict.NOT_RUN))
        if row["verdict"].startswith("agrees"):
            assert ("reduced" in row["verdict"]) == (row["scale"] != "paper")
            assert ("reading" in row["verdict"]) == (row["reading"] != "as written")
            assert ("draw" in row["verdict"]) == (row["n"] < 3)


def test_what_describes_data_needs_no_study(rows):
    about = [row for row in rows if (row["paper"], row["table"]) == ("linkability", "2")]
    assert {(row["verdict"], row["study"]) for row in about} == {(verdict.NOT_JUDGED, None)}
    assert {row["metric"] for row in about} == {"images", "users", "labels"}


def test_values_of_data_that_are_not_to_be_had_are_spoken_for_by_stand_ins_or_not_run(rows):
    found = [row for row in rows if row["paper"] == "linkability" and row["study"]]
    assert {row["scale"] for row in found} <= {"stand-in", None}
    assert {word(row["verdict"]) for row in found} <= {verdict.STAND_IN, verdict.ORDERING, verdict.NOT_RUN}


def test_the_command_prints_them(capsys):
    assert cli.main(["coverage", "--json", "--results", str(RESULTS)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 649
    assert cli.main(["coverage", "--results", str(RESULTS)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "649 printed values"


def test_without_any_rows_nothing_is_said_to_agree(tmp_path):
    found = Counter(row["verdict"] for row in studies.coverage(tmp_path))
    left = sum(sum(tables.values()) for tables in NO_STUDY.values()) - DESCRIBED
    assert found == +Counter({"not run": 649 - left - DESCRIBED, "no study yet": left, "not judged": DESCRIBED})


# What is missing


@pytest.fixture
def two(monkeypatch):
    """Two studies: one prints three numbers and is slow, the other prints none."""
    calls = []

    def run(name, seconds):
        def measure(cell, seed, device):
            calls.append((name, cell["s"], seed))
            time.sleep(seconds)
            return {"recall": 0.5}

        return measure

    made = {
        "made/printed": study(id="made/printed", run=run("printed", 0), seeds={"fast": 2, "real": 1, "paper": 1}),
        "made/words": study(id="made/words", run=run("words", 0), reported=()),
    }
    monkeypatch.setattr(missing, "STUDIES", made)
    monkeypatch.setattr(registry, "STUDIES", made)
    return made, calls


def test_printed_values_are_measured_first_and_every_draw_of_one_together(two, tmp_path):
    _, calls = two
    left = studies.run_missing(profile="fast", device="cpu", folder=tmp_path, progress=False)
    assert left.measured == len(calls) == 12
    assert [name for name, *_ in calls] == ["printed"] * 6 + ["words"] * 6
    assert [s for _, s, _ in calls[:6]] == [1, 1, 2, 2, 3, 3]
    assert str(left) == "12 rows measured; 0 left in 0 studies"
    again = studies.run_missing(profile="fast", device="cpu", folder=tmp_path, progress=False)
    assert again.measured == 0


def row(cell, seconds, seed=0):
    origin = {"version": 1, "data_checksum": "sum"}
    return {"cell": cell, "seed": seed, "metrics": {"recall": 0.5}, "seconds": seconds, "provenance": origin}


def test_the_cheapest_value_comes_first_by_the_seconds_of_its_neighbours(two, tmp_path):
    made, calls = two
    store = studies.Store(made["made/printed"], tmp_path)
    for s, seconds in ((1, 30.0), (2, 10.0), (3, 20.0)):
        store.add(row({"data": "digits", "s": s}, seconds))
    studies.run_missing(profile="fast", device="cpu", folder=tmp_path, progress=False)
    assert [s for name, s, _ in calls if name == "printed"] == [2, 3, 1]


def test_a_budget_stops_in_time_and_says_what_is_left(two, tmp_path):
    made, calls = two
    store = studies.Store(made["made/printed"], tmp_path)
    store.add(row({"data": "digits", "s": 1}, 7200.0))
    left = studies.run_missing(profile="fast", device="cpu", folder=tmp_path, budget=600, progress=False)
    assert {name for name, *_ in calls} == {"words"}
    assert len(left.tasks) == 5
    assert "5 left in 1 studies, about 10.0 hours" in str(left)


def test_a_cell_that_does_not_end_in_time_is_broken_off_and_what_is_done_is_kept(monkeypatch, tmp_path):
    def slow(cell, seed, device):
        if cell["s"] > 1:
            time.sleep(60)
        return {"recall": 0.5}

    made = {"made/slow": study(id="made/slow", run=slow, seeds={"fast": 1, "real": 1, "paper": 1})}
    monkeypatch.setattr(missing, "STUDIES", made)
    left = studies.run_missing(profile="fast", device="cpu", folder=tmp_path, budget=3, progress=False)
    assert left.measured == 1
    assert len(studies.Store(made["made/slow"], tmp_path).rows()) == 1
    assert [task[0]["s"] for _, task, _ in left.tasks] == [2, 3]


def test_cells_whose_data_are_not_here_are_listed_and_not_tried(monkeypatch, tmp_path):
    def nowhere(name):
        raise FileNotFoundError(name)

    made = {"made/far": study(id="made/far", checksum=nowhere)}
    monkeypatch.setattr(missing, "STUDIES", made)
    left = studies.run_missing(profile="real", device="cpu", folder=tmp_path, progress=False)
    assert left.measured == 0
    assert left.absent == {"mnist": 6}
    assert "6 whose data are not here: mnist (6)" in str(left)


def test_the_cost_of_a_cell_is_that_of_those_most_like_it_and_no_larger_ones_tell():
    made = study(large=lambda cell: cell["s"] == 3)
    known = [row({"data": "digits", "s": 1}, 5.0), row({"data": "mnist", "s": 1}, 50.0)]
    assert missing.cost(made, {"data": "mnist", "s": 2}, known) == 50.0
    assert missing.cost(made, {"data": "mnist", "s": 3}, known) is None


def test_two_processes_measure_what_one_would(tmp_path):
    options = {"profile": "fast", "device": "cpu", "progress": False, "paper": "curious"}
    few = {"curious/table-2": studies.get("curious/table-2")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(missing, "STUDIES", few)
        studies.run_missing(folder=tmp_path / "a", **options)
        studies.run_missing(folder=tmp_path / "b", workers=2, **options)
    for name, each in few.items():
        one, other = (
            {(str(r["cell"]), r["seed"]): r["metrics"] for r in studies.Store(each, tmp_path / f).rows()} for f in "ab"
        )
        assert one.keys() == other.keys()
        assert len(one) > 10, name
        for key, metrics in one.items():
            assert metrics == pytest.approx(other[key])


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("8m", 480), ("1.5h", 5400)])
def test_spans_of_time(text, seconds):
    assert cli._seconds(text) == seconds


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "name a study"),
        (["run", "curious/table-5", "--budget", "8m"], "belong to --missing"),
        (["run", "curious/table-5", "--missing"], "leave the study"),
        (
            ["run", "--missing", "--paper", "nope"],
            "choose one of beyond, curious, linkability, membership, splitnn, talk, zen",
        ),
    ],
)
def test_mistakes_are_told(arguments, words, capsys):
    assert cli.main(arguments) == 2
    assert words in capsys.readouterr().err


def test_a_span_that_is_none_is_told(capsys):
    with pytest.raises(SystemExit):
        cli.main(["run", "--missing", "--budget", "soon"])
    assert "'soon' is not a span of time" in capsys.readouterr().err
