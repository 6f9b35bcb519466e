import json
import os
import runpy
import signal
import subprocess
import sys

import pytest

from privlab import cli, data, studies
from privlab.studies import _data

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
    options = {
        "profile": "real",
        "data": "x",
        "seeds": 4,
        "device": "cpu",
        "workers": 3,
        "ray": "a",
        "gpus_per_cell": 0.5,
        "shard": "1/2",
    }
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "table-5-cnn"], "(did you mean curious/table-5-cnn?)"),
        (["run", "table-9"], "(did you mean curious/table-9 or zen/table-9?)"),
        (["run", "curious/tabel_4"], "(did you mean curious/table-4"),
        (["run", FAST, "--data", ""], "data='' names nothing"),
        (["run", FAST, "--data", "EMPTY"], "holds no image"),
        (["run", FAST, "--seeds", "0"], "seeds=0"),
        (["run", FAST, "--device", "meta"], "device='meta' cannot compute here"),
        (["run", FAST, "--results", "FILE"], "results cannot be written to"),
        (["run", FAST, "--budget", "5m"], "belong to --missing"),
        (["run", "--missing", "--seeds", "0"], "leave the study, --data, --seeds, --ray and --shard out"),
        (["run", "--missing", "--shard", "1/2"], "leave the study, --data, --seeds, --ray and --shard out"),
        (["run", FAST, "--shard", "0/4"], "shard='0/4' is none of the parts; they go from 1/4 to 4/4"),
        (["run", FAST, "--shard", "5/4"], "shard='5/4' is none of the parts; they go from 1/4 to 4/4"),
        (["run", FAST, "--shard", "0/0"], "they go from 1/N to N/N"),
        (["run", FAST, "--shard", "a/b"], "shard='a/b' names no part; write I/N, as in 2/8"),
        (["run", FAST, "--shard", ""], "shard='' names no part"),
        (["run", "zen/figure-2", "--profile", "real"], "no data of its own under --profile real"),
        (["run", "curious/table-3", "--data", "digits"], "reads text; 'digits' holds images"),
        (["explore", "nonsense"], "choose one of decode, fool"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_before_any_work(capsys, tmp_path, arguments, words):
    (tmp_path / "EMPTY").mkdir()
    (tmp_path / "FILE").touch()
    places = {name: str(tmp_path / name) for name in ("EMPTY", "FILE")}
    assert cli.main([places.get(word, word) for word in arguments]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.err.startswith("privlab: ")
    assert (said.err.count("\n"), said.out) == (1, "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "required: command"),
        (["run", FAST, "--profile", "huge"], "'huge'"),
        (["run", FAST, "--workers", "two"], "'two'"),
        (["run", "--missing", "--budget", "soon"], "'soon' is not a span of time; write 90s, 8m or 2h"),
        (["data"], "required: what"),
    ],
)
def test_a_mistake_in_the_call_is_one_line_too(capsys, arguments, words):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert words in said
    assert said.startswith("privlab")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("variable", "value", "arguments", "words"),
    [
        ("PRIVLAB_PROFILE", "huge", ["run", FAST], "PRIVLAB_PROFILE='huge' is not known"),
        ("PRIVLAB_DEVICE", "gpu", ["run", FAST], "PRIVLAB_DEVICE='gpu' is not known"),
        ("PRIVLAB_DATA", "/no/where", ["run", FAST], "PRIVLAB_DATA='/no/where' is not a folder"),
        ("PRIVLAB_DATA", "/no/where", ["run", "--missing"], "PRIVLAB_DATA='/no/where' is not a folder"),
        ("PRIVLAB_DATA", "/no/where", ["data", "list"], "PRIVLAB_DATA='/no/where' is not a folder"),
    ],
)
def test_a_variable_that_is_wrong_is_named(capsys, monkeypatch, variable, value, arguments, words):
    monkeypatch.setenv(variable, value)
    assert cli.main(arguments) == 2
    assert capsys.readouterr().err.startswith(f"privlab: {words}")


class OddError(Exception):
    """What no one of ours has thought of."""


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (ValueError("one\n  two"), 2, "privlab: one two\n"),
        (MemoryError(), 2, "privlab: MemoryError\n"),
        (KeyError("mnist"), 1, "privlab: a fault of privlab itself (KeyError: 'mnist'); please report it with what --"),
        (OddError("odd"), 1, "privlab: a fault of privlab itself (OddError: odd)"),
    ],
)
def test_every_error_is_one_line_and_its_traceback_is_shown_when_asked_for(capsys, monkeypatch, error, status, words):
    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(studies, "run", fail)
    assert cli.main(["run", FAST]) == status
    said = capsys.readouterr().err
    assert said.startswith(words)
    assert said.count("\n") == 1
    for arguments in (["--traceback", "run", FAST], ["run", FAST, "--traceback"]):
        assert cli.main(arguments) == status
        assert "in fail\n" in capsys.readouterr().err
    monkeypatch.setenv("PRIVLAB_TRACEBACK", "1")
    assert cli.main(["run", FAST]) == status
    shown = capsys.readouterr().err
    assert shown.startswith("Traceback")
    assert words in shown


def test_what_a_reader_of_data_raises_is_said_with_the_name_of_the_data(capsys, monkeypatch):
    def broken(_name):
        raise OddError("not a picture")

    monkeypatch.setattr(data, "load", broken)
    _data.dataset.cache_clear()
    assert cli.main(["run", FAST, "--data", "mine.npz"]) == 2
    assert capsys.readouterr().err == "privlab: 'mine.npz' cannot be read (OddError: not a picture)\n"


def test_the_help_says_what_a_status_means(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    text = capsys.readouterr().out
    for status, words in ((1, "a fault of privlab itself"), (2, "a mistake"), (130, "interrupted")):
        assert f"  {status:<4} {words}" in text


def test_where_nothing_is_measured_that_is_said_beside_the_table(capsys, tmp_path):
    for arguments in (["compare", FAST], ["compare", FAST, "--json"], ["coverage", "--json"]):
        assert cli.main([*arguments, "--results", str(tmp_path / "nothing")]) == 0
        said = capsys.readouterr()
        assert "no rows " in said.err
        assert f"in {tmp_path / 'nothing'}; `privlab run" in said.err
        assert said.out


def command(*arguments, **environment):
    return [sys.executable, "-m", "privlab", *arguments], {**os.environ, "OMP_NUM_THREADS": "1", **environment}


def test_a_terminal_without_the_letters_and_a_reader_that_goes_away():
    run, environment = command("compare", "curious/table-4", PYTHONIOENCODING="ascii")
    done = subprocess.run(run, env=environment, capture_output=True, text=True)
    assert done.returncode == 0
    assert "mean ? standard deviation" in done.stdout
    run, environment = command("coverage")  # more than a pipe holds
    with subprocess.Popen(run, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writing:
        writing.stdout.close()
        said = writing.stderr.read().decode()
        assert writing.wait() == 141
    assert [line for line in said.splitlines() if "no rows in" not in line] == []


def test_control_c_keeps_the_rows_there_are(tmp_path):
    run, environment = command("run", FAST, "--data", "digits", "--device", "cpu", "--results", str(tmp_path))
    with subprocess.Popen(run, env=environment, stderr=subprocess.PIPE, start_new_session=True) as running:
        path = tmp_path / f"{FAST}.jsonl"
        while not (path.exists() and path.read_text().count("\n") > 1):
            assert running.poll() is None
        os.killpg(running.pid, signal.SIGINT)
        said = running.stderr.read().decode()
        assert running.wait() == 130
    assert said.splitlines()[-1].startswith("privlab: stopped; finished cells are kept")
    assert "Traceback" not in said
    kept = [json.loads(line) for line in path.read_text().splitlines()]
    assert 2 <= len(kept) < 39
