"""Rows on disk survive kills and concurrent runs; a run computes what is missing and nothing else."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import torch

from privlab import data, studies
from privlab.studies.bench import registry, runner
from privlab.studies.bench.store import Store
from privlab.studies.bench.study import Takes

from .test_compare import study

FAST = "curious/table-5"


def row(s=1, seed=0, version=1, checksum="sum", value=0.5):
    origin = {"version": version, "data_checksum": checksum, "profile": "fast"}
    return {"cell": {"data": "digits", "s": s}, "seed": seed, "metrics": {"recall": value}, "provenance": origin}


@pytest.fixture
def store(tmp_path):
    return Store(study(), tmp_path)


def test_rows_come_back_and_equal_measurements_are_kept_once(store):
    for _ in range(2):
        store.add(row(1))
    store.add(row(2))
    assert [r["cell"]["s"] for r in store.rows()] == [1, 2]
    assert len(store.path.read_text().splitlines()) == 2


def test_rows_of_another_version_or_other_data_are_stale(store):
    store.add(row(1, version=0))
    store.add(row(2, checksum="altered"))
    store.add(row(3))
    assert [r["cell"]["s"] for r in store.rows()] == [3]
    assert len(store.all_rows()) == 3
    assert studies.compare(store.study, store).stale == 2


def test_rows_count_where_their_data_are_not_here(tmp_path):
    def nowhere(name):
        raise FileNotFoundError(name)

    store = Store(study(checksum=nowhere), tmp_path)
    store.add(row(1, checksum="of another machine"))
    assert len(store.rows()) == 1


def test_what_is_no_number_was_not_measured(tmp_path):
    """A rate for which there were too few examples is left out of the row, and the row is compared without it."""
    made = study(run=lambda cell, seed, device: {"recall": float("nan") if cell["s"] == 1 else 0.5, "loss": 1.0})
    store = Store(made, tmp_path)
    studies.run(made, device="cpu", store=store, progress=False)
    assert [row["metrics"] for row in store.rows() if row["cell"]["s"] == 1] == [{"loss": 1.0}] * 2
    assert "NaN" not in store.path.read_text()
    shown = {line.cell["s"]: line.as_row()["measured_mean"] for line in studies.compare(made, store).lines}
    assert shown == {1: None, 2: 0.5, 3: 0.5}


@pytest.mark.parametrize("torn", ['{"cell": {"data"', "[]", "null", "garbage", '{"cell": 3, "seed": 1}'])
def test_a_line_torn_by_a_kill_is_skipped_and_closed(store, torn):
    store.add(row(1))
    with store.path.open("a") as file:
        file.write(torn)
    assert len(store.rows()) == 1
    store.add(row(2))
    assert [r["cell"]["s"] for r in store.rows()] == [1, 2]


@pytest.mark.parametrize("bad", [b"\xff\xfe\x00", b"\x00" * 9, None, "cell", "metrics", "provenance"])
def test_a_line_that_is_no_row_is_skipped(store, bad):
    """Bytes that are no text, and rows that a hand has taken a part from."""
    whole = row(2)
    line = bad if isinstance(bad, bytes) else json.dumps({name: whole[name] for name in whole if name != bad}).encode()
    store.add(row(1))
    with store.path.open("ab") as file:
        file.write(line + b"\n")
    assert [r["cell"]["s"] for r in store.rows()] == ([1] if bad else [1, 2])


def test_a_place_that_cannot_be_written_to_is_found_out_before_any_work(tmp_path):
    (tmp_path / "file").touch()
    made = study(run=lambda *_: pytest.fail("it was measured"))
    with pytest.raises(OSError, match=r"results cannot be written to .*; name another folder with --results"):
        studies.run(made, device="cpu", store=Store(made, tmp_path / "file"), progress=False)


def test_a_place_without_locks_is_found_out_before_any_work(tmp_path, monkeypatch):
    """As filelock says it that has no other way: rows of two runs at once could mix."""

    def none(*_):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("privlab.studies.bench.store.FileLock", none)
    made = study(run=lambda *_: pytest.fail("it was measured"))
    with pytest.raises(OSError, match=r"results cannot be written to .*NotImplementedError.*; name another folder"):
        studies.run(made, device="cpu", store=Store(made, tmp_path), progress=False)


def test_rows_about_other_data_than_those_that_come_are_measured_again(tmp_path):
    """Stored rows count where their data are not here; once these are, rows about another copy are stale."""
    here = []

    def checksum(name):
        if not here:
            raise FileNotFoundError(name)
        return "sum", "publisher"

    made = study(checksum=checksum, load=lambda name: here.append(name) or data.load("digits"))
    store = Store(made, tmp_path)
    store.add(row(1, checksum="another copy"))
    found = studies.run(made, seeds=1, device="cpu", store=store, progress=False)
    assert sorted((r["cell"]["s"], r["provenance"]["data_checksum"]) for r in found) == [(s, "sum") for s in (1, 2, 3)]


def test_many_writers_lose_nothing(store):
    threads = [
        threading.Thread(target=lambda seed=seed: [store.add(row(s, seed)) for s in range(5)]) for seed in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.rows()) == 40
    assert len(store.path.read_text().splitlines()) == 40


def test_a_run_computes_only_what_is_missing(store):
    calls = []

    def measure(cell, seed, device):
        calls.append((cell["s"], seed))
        return {"recall": 1.0}

    counting = study(run=measure)
    store = Store(counting, store.folder)
    first = studies.run(counting, profile="fast", seeds=1, device="cpu", store=store, progress=False)
    assert sorted(calls) == [(1, 0), (2, 0), (3, 0)]
    assert len(first) == 3
    again = studies.run(counting, profile="fast", seeds=2, device="cpu", store=store, progress=False)
    assert sorted(calls[3:]) == [(1, 1), (2, 1), (3, 1)]
    assert len(again) == 6
    newer = study(run=measure, version=2)
    studies.run(newer, profile="fast", seeds=1, device="cpu", store=Store(newer, store.folder), progress=False)
    assert len(calls) == 9


def test_an_interrupted_run_keeps_its_finished_cells(store):
    def measure(cell, seed, device):
        if cell["s"] == 3:
            raise KeyboardInterrupt
        return {"recall": 1.0}

    broken = study(run=measure)
    store = Store(broken, store.folder)
    with pytest.raises(KeyboardInterrupt):
        studies.run(broken, profile="fast", seeds=1, device="cpu", store=store, progress=False)
    assert [r["cell"]["s"] for r in store.rows()] == [1, 2]


def test_every_row_says_where_it_comes_from(tmp_path):
    store = Store(studies.get(FAST), tmp_path)
    found = studies.run(FAST, profile="fast", data="digits", seeds=1, device="cpu", store=store, progress=False)
    origin = found[0]["provenance"]
    assert origin["version"] == studies.get(FAST).version
    assert origin["data_source"] == "embedded"
    assert origin["device"] == "cpu"
    for name in ("code", "python", "torch", "numpy", "date", "profile", "data_checksum"):
        assert origin[name]
    assert found[0]["seconds"] > 0
    assert set(found[0]["metrics"]) == set(studies.get(FAST).metrics)


def test_two_processes_give_the_rows_of_one(tmp_path):
    options = {"profile": "fast", "data": "digits", "seeds": 2, "device": "cpu", "progress": False}
    alone = studies.run(FAST, store=Store(studies.get(FAST), tmp_path / "a"), **options)
    several = studies.run(FAST, workers=2, store=Store(studies.get(FAST), tmp_path / "b"), **options)
    order = lambda r: (r["seed"], r["cell"]["s"])  # noqa: E731
    for one, other in zip(sorted(alone, key=order), sorted(several, key=order), strict=True):
        assert one["cell"] == other["cell"]
        assert one["metrics"] == pytest.approx(other["metrics"])


def start(folder, *options):
    command = [sys.executable, "-m", "privlab.cli", "run", FAST, "--data", "digits", "--device", "cpu"]
    return subprocess.Popen(
        [*command, "--results", str(folder), *options],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def wait_for_rows(path, count, running):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if path.exists() and path.read_text().count("\n") >= count:
            return
        assert running.poll() is None, "the run ended before it was killed"
        time.sleep(0.01)
    raise AssertionError("no rows in two minutes")


@pytest.mark.parametrize(("rows_before", "workers"), [(1, "1"), (4, "2")])
def test_a_killed_run_loses_no_finished_cell_and_goes_on(tmp_path, rows_before, workers):
    path = tmp_path / f"{FAST}.jsonl"
    running = start(tmp_path, "--seeds", "3", "--workers", workers)
    wait_for_rows(path, rows_before, running)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    finished = [line for line in path.read_text().splitlines() if line.endswith("}")]
    before = {Store.key(json.loads(line)): line for line in finished}
    assert rows_before <= len(before) < 39
    store = Store(studies.get(FAST), tmp_path)
    rows = studies.run(FAST, data="digits", seeds=3, device="cpu", store=store, progress=False)
    assert len(rows) == 39
    after = path.read_text().splitlines()
    assert set(before.values()) <= set(after)  # not computed again, not even written again
    assert len({Store.key(r) for r in store.all_rows()}) == len(store.all_rows()) == 39


def test_two_runs_at_once_share_one_folder(tmp_path):
    running = [start(tmp_path, "--seeds", "2") for _ in range(2)]
    assert [process.wait(timeout=300) for process in running] == [0, 0]
    lines = (tmp_path / f"{FAST}.jsonl").read_text().splitlines()
    assert len(lines) == 26
    assert len({Store.key(json.loads(line)) for line in lines}) == 26


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"workers": 0}, "workers=0"),
        ({"seeds": 0}, "seeds=0"),
        ({"profile": "huge"}, "choose one of fast, real, paper"),
        ({"device": "gpu"}, "not known to torch"),
    ],
)
def test_bad_runs_are_refused(store, options, words):
    with pytest.raises(ValueError, match=words):
        studies.run(store.study, store=store, progress=False, **options)


def test_results_lie_in_the_checkout_unless_told_otherwise(monkeypatch, tmp_path):
    from privlab.studies.bench.store import results_folder

    monkeypatch.setenv("PRIVLAB_RESULTS", str(tmp_path / "own"))
    assert results_folder() == tmp_path / "own"
    monkeypatch.delenv("PRIVLAB_RESULTS")
    assert results_folder().name == "results"
    assert (results_folder().parent / "pyproject.toml").exists()


def test_code_version_names_the_commit():
    assert runner.code_version().startswith("0.1.0")


def test_rows_of_one_data_set_can_have_a_version_of_their_own(tmp_path):
    made = study(versions={"mnist": 2})
    store = Store(made, tmp_path)
    store.add(row(1))
    store.add({**row(2), "cell": {"data": "mnist", "s": 2}})
    store.add({**row(3, version=2), "cell": {"data": "mnist", "s": 3}})
    assert [r["cell"]["s"] for r in store.rows()] == [1, 3]
    found = studies.run(made, profile="real", seeds=1, device="cpu", store=store, progress=False)
    assert {r["provenance"]["version"] for r in found} == {2}


def test_data_that_a_study_cannot_take_are_refused_before_any_work(tmp_path, capsys):
    for name, words in (
        ("digits", "curious/table-3 reads text; .digits. holds images. Sets of text: imdb, manual"),
        ("nonsense", "neither a file nor a known data set"),
    ):
        with pytest.raises(ValueError, match=words):
            studies.run("curious/table-3", data=name, store=Store(studies.get("curious/table-3"), tmp_path))
    with pytest.raises(ValueError, match="curious/table-5 reads images; 'manual' holds text"):
        studies.run("curious/table-5", data="manual", store=Store(studies.get("curious/table-5"), tmp_path))
    assert capsys.readouterr().err == ""  # no bar
    assert not list(tmp_path.rglob("*.jsonl"))


def test_registry_ids_are_their_keys():
    assert all(study.id == name for name, study in registry.STUDIES.items())


def test_equal_rows_at_once_are_kept_once(store, monkeypatch):
    """Without its lock every writer would read before any has written."""
    read = Store.all_rows

    def slow(self):
        found = read(self)
        time.sleep(0.05)
        return found

    monkeypatch.setattr(Store, "all_rows", slow)
    threads = [threading.Thread(target=store.add, args=(row(),)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.path.read_text().splitlines()) == 1


def test_the_device_reaches_the_study_and_the_row(monkeypatch, tmp_path):
    seen = set()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a card")
    made = study(run=lambda cell, seed, device: seen.add(device) or {"recall": 1.0})
    options = {"seeds": 1, "store": Store(made, tmp_path), "progress": False}
    assert studies.run(made, device="cuda:0", **options)[0]["provenance"]["device"] == "a card"
    assert seen == {torch.device("cuda:0")}


def test_the_source_of_the_data_reaches_the_row(tmp_path):
    made = study(checksum=lambda name: ("sum", "publisher"))
    found = studies.run(made, seeds=1, device="cpu", store=Store(made, tmp_path), progress=False)
    assert {r["provenance"]["data_source"] for r in found} == {"publisher"}


def test_a_run_returns_the_rows_of_its_grid_only(store):
    options = {"device": "cpu", "store": store, "progress": False}
    studies.run(store.study, seeds=2, **options)
    assert {r["seed"] for r in studies.run(store.study, seeds=1, **options)} == {0}


def test_other_processes_cannot_run_a_study_that_they_cannot_find(store):
    with pytest.raises(ValueError, match="use workers=1"):
        studies.run(store.study, workers=2, device="cpu", store=store, progress=False)


@pytest.mark.parametrize(("profile", "wanted"), [("fast", [1, 3]), ("real", [1, 3]), ("paper", [1, 2, 3])])
def test_large_cells_run_only_under_the_paper_profile(store, profile, wanted):
    calls = []
    made = study(
        run=lambda cell, seed, device: calls.append(cell["s"]) or {"recall": 1.0}, large=lambda cell: cell["s"] == 2
    )
    options = {"seeds": 1, "device": "cpu", "store": Store(made, store.folder), "progress": False}
    found = studies.run(made, profile=profile, **options)
    assert sorted(calls) == sorted(row["cell"]["s"] for row in found) == wanted


def test_no_cell_is_large_and_any_number_of_workers_will_do_unless_said():
    made = study()
    assert not any(made.large(cell) for cell in made.cells("mnist"))
    assert made.workers is None


@pytest.mark.parametrize(("most", "asked", "used"), [(None, 3, 3), (1, 3, None), (2, 3, 2), (5, 3, 3), (5, 1, None)])
def test_a_study_says_how_many_cells_at_most_run_at_a_time(store, monkeypatch, most, asked, used):
    """`used` None: here, in this process."""
    processes = []

    class Parallel:
        def __init__(self, n_jobs, **options):
            processes.append(n_jobs)

        def __call__(self, calls):
            return [function(*arguments) for function, arguments, _ in calls]

    made = study(workers=most)
    monkeypatch.setitem(registry.STUDIES, made.id, made)
    monkeypatch.setattr(runner.joblib, "Parallel", Parallel)
    options = {"seeds": 1, "device": "cpu", "store": Store(made, store.folder), "progress": False}
    assert len(studies.run(made, workers=asked, **options)) == 3
    assert processes == ([used] if used else [])


def test_the_cap_comes_after_the_check_of_what_was_asked(store):
    capped = study(workers=1)
    options = {"seeds": 1, "device": "cpu", "store": Store(capped, store.folder), "progress": False}
    with pytest.raises(ValueError, match="workers=0"):
        studies.run(capped, workers=0, **options)
    assert len(studies.run(capped, workers=4, **options)) == 3  # in this process, which need not find it


@pytest.mark.parametrize(
    ("takes", "words"),
    [
        (Takes(least=10_000), "needs 10000 examples or more; 'digits' holds 1438"),
        (Takes(channels=(3,)), "takes images of 3 channels, 8 pixels wide or more; those of 'digits' are 1x28x28"),
        (Takes(side=64), "64 pixels wide"),
        (Takes("text"), "reads text; 'digits' holds images"),
    ],
)
def test_a_study_says_which_data_it_takes(takes, words):
    made = study(takes=takes, load=data.load)
    with pytest.raises(ValueError, match=words):
        made.check("digits")
    study(takes=Takes(), load=data.load).check("digits")


def test_a_row_says_how_many_examples_its_data_set_holds(store):
    made = study(load=data.load)
    found = studies.run(made, seeds=1, device="cpu", store=Store(made, store.folder), progress=False)
    assert {r["provenance"]["data_examples"] for r in found} == {1438}
