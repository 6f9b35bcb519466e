import json
import runpy
import subprocess
import sys

import pytest

from privlab import cli, data, studies

FAST = "curious/table-5"


def lines(capsys):
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_list_shows_every_study(capsys):
    assert cli.main(["list"]) == 0
    text = capsys.readouterr().out
    assert all(study in text for study in studies.STUDIES)
    assert cli.main(["list", "--json"]) == 0
    assert [item["study"] for item in lines(capsys)] == list(studies.STUDIES)


def test_the_package_runs_as_the_command_does(monkeypatch):
    done = subprocess.run([sys.executable, "-m", "privlab", "list", "--json"], capture_output=True, text=True)
    assert [json.loads(line)["study"] for line in done.stdout.splitlines()] == list(studies.STUDIES)
    monkeypatch.setattr(sys, "argv", ["privlab", "run", "no/such"])
    with pytest.raises(SystemExit) as end:  # what `python -m` does, without loading everything in another process
        runpy.run_module("privlab", run_name="__main__", alter_sys=True)
    assert end.value.code == 2


def test_run_prints_one_object_a_cell_and_seed_stored_ones_too(capsys):
    arguments = ["run", FAST, "--profile", "fast", "--data", "digits", "--seeds", "1", "--device", "cpu", "--json"]
    for _ in range(2):
        assert cli.main(arguments) == 0
        rows = lines(capsys)
        assert len(rows) == 13
        for row in rows:
            assert set(row) == {"study", "cell", "seed", "metrics", "seconds", "provenance"}
            assert row["study"] == FAST
            assert set(row["cell"]) == {"data", "s", "batch", "neurons"}
            assert set(row["metrics"]) == {"active", "precision", "recall", "precision_all", "adversary_count"}


def test_compare_prints_rows_then_claims(capsys):
    cli.main(["run", FAST, "--data", "digits", "--seeds", "2", "--device", "cpu"])
    capsys.readouterr()
    assert cli.main(["compare", FAST, "--json"]) == 0
    found = lines(capsys)
    rows = [item for item in found if "metric" in item]
    claims = [item for item in found if "claim" in item]
    assert len(rows) + len(claims) == len(found)
    said = {"verdict", "scale", "reading", "speaks"}
    assert set(rows[0]) == {"cell", "metric", "reported", "measured_mean", "measured_sd", "n", *said}
    measured = [row for row in rows if row["cell"]["data"] == "digits" and row["metric"] == "recall"]
    assert len(measured) == 13
    assert {row["n"] for row in measured} == {2}
    verdicts = {claim["data"]: claim["verdict"] for claim in claims if "very few neurons" in claim["claim"]}
    assert verdicts["digits"] == "cannot tell"  # two draws
    assert verdicts["mnist"] == "not run"
    assert cli.main(["compare", FAST]) == 0
    text = capsys.readouterr().out
    assert "paper" in text
    assert "not run" in text


def test_compare_says_how_many_rows_are_stale(capsys, tmp_path):
    path = tmp_path / "results" / f"{FAST}.jsonl"
    cli.main(["run", FAST, "--data", "digits", "--seeds", "1", "--device", "cpu"])
    path.write_text(path.read_text().replace('"version":1', '"version":0'))
    capsys.readouterr()
    assert cli.main(["compare", FAST]) == 0
    assert "13 stored rows are stale" in capsys.readouterr().out


def test_data_list_shows_size_licence_and_what_is_here(capsys):
    assert cli.main(["data", "list"]) == 0
    text = capsys.readouterr().out
    assert "CC BY 4.0" in text
    assert "embedded" in text
    assert cli.main(["data", "list", "--json"]) == 0
    found = {item["name"]: item for item in lines(capsys)}
    assert found["digits"]["here"]
    assert not found["mnist"]["here"]
    assert found["mnist"]["megabytes"] == pytest.approx(11.5, abs=0.5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nope"], "curious/table-2, curious/table-3"),
        (["compare", "nope"], "curious/table-2, curious/table-3"),
        (["run", FAST, "--workers", "0"], "workers=0"),
        (["run", FAST, "--device", "gpu"], "not known to torch"),
        (["run", FAST, "--data", "nowhere.npz"], "neither a file nor a known data set"),
    ],
)
def test_mistakes_are_one_line_and_no_traceback(capsys, arguments, words):
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("privlab: ")
    assert words in said


def test_an_interrupted_run_says_that_it_can_go_on(capsys, monkeypatch):
    def stop(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(studies, "run", stop)
    assert cli.main(["run", FAST]) == 130
    assert "finished cells are kept" in capsys.readouterr().err


def test_ray_that_is_not_installed_is_named(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not there
    assert cli.main(["run", FAST, "--ray", "local", "--data", "digits", "--seeds", "1"]) == 2
    assert "privlab[cluster]" in capsys.readouterr().err


def test_options_reach_the_run(monkeypatch, tmp_path):
    got = {}
    monkeypatch.setattr(studies, "run", lambda study, **options: got.update(options) or [])
    options = {"profile": "real", "data": "x", "seeds": 4, "device": "cpu", "workers": 3, "ray": "a"}
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    assert cli.main(["run", FAST, *words, "--results", str(tmp_path)]) == 0
    assert got.pop("store").folder == tmp_path
    assert got == options


def test_compare_reads_the_results_that_it_is_told_to(tmp_path, capsys):
    cell = {"data": "digits", "s": 0.4, "batch": 100, "neurons": 1000}
    origin = {"version": studies.get(FAST).version, "data_checksum": data.fingerprint("digits")[0]}
    row = {"cell": cell, "seed": 0, "metrics": {"recall": 0.123}, "provenance": origin}
    studies.Store(studies.get(FAST), tmp_path).add(row)
    assert cli.main(["compare", FAST, "--results", str(tmp_path)]) == 0
    assert "0.123" in capsys.readouterr().out


def test_an_altered_file_is_listed_as_such_and_the_list_goes_on(monkeypatch, tmp_path, capsys):
    (tmp_path / "pathmnist.npz").write_bytes(b"altered")
    monkeypatch.setenv("PRIVLAB_DATA", str(tmp_path))
    assert cli.main(["data", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("pathmnist ") and "altered: " in line for line in lines)
    assert len(lines) > 50
