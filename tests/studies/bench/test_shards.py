"""Parts of a grid: of all parts each cell is in one, whenever they are begun and whatever is stored."""

import dataclasses
import json
import multiprocessing
import os
import subprocess
import sys
from collections import Counter

import pytest

from privlab import cli, studies
from privlab.studies.bench import shards
from privlab.studies.bench.store import Store
from privlab.studies.bench.study import alone, cell_key

from .test_compare import study

FAST = "curious/table-5"


def keys(tasks):
    return [(cell_key(cell), seed) for cell, seed in tasks]


@pytest.mark.parametrize("name", [FAST, "curious/table-9", "linkability/figure-11", "membership/lira", "zen/table-9"])
def test_of_all_parts_each_cell_is_in_one_and_draws_stay_together(name):
    found = studies.get(name)
    cells = [cell for data in found.data["real"] for cell in found.cells(data)]
    grid = [(cell, seed) for seed in range(3) for cell in cells]
    shared = {
        key: cell_key(c) if found.together is alone else found.together(c)
        for key, (c, _) in zip(keys(grid), grid, strict=True)
    }
    largest = max(Counter((shared[key], key[1]) for key in shared).values())
    for count in (1, 2, 7, len(grid) + 1):
        parts = [keys(shards.part(found, grid, f"{number}/{count}")) for number in range(1, min(count, 9) + 1)]
        if count <= 9:
            assert Counter(key for each in parts for key in each) == Counter(keys(grid))
        owners = [{(shared[key], key[1]) for key in each} for each in parts]
        assert sum(map(len, owners)) == len(set().union(*owners))
        assert max(map(len, parts)) <= -(-len(grid) // count) + largest - 1
        assert max(map(len, parts)) - min(map(len, parts)) <= largest


def test_a_part_does_not_take_every_other_cell():
    """Costly cells come in turn in a grid; a part that took every third would have all of them, or none."""
    made = study(cells=lambda name: [{"data": name, "s": place} for place in range(90)])
    grid = [(cell, 0) for cell in made.cells("digits")]
    for number in (1, 2, 3):
        rests = [cell["s"] % 3 for cell, _ in shards.part(made, grid, f"{number}/3")]
        assert len(rests) == 30
        assert all(4 <= rests.count(rest) <= 18 for rest in range(3))


def test_a_part_is_the_same_in_another_process_and_whatever_is_stored(tmp_path, capsys):
    arguments = ["run", FAST, "--data", "digits", "--seeds", "2", "--device", "cpu", "--results", str(tmp_path)]
    shown = []
    for part in ("1/3", "2/3"):
        assert cli.main([*arguments, "--shard", part, "--json"]) == 0
        shown.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    stored = Store(studies.get(FAST), tmp_path).rows()
    assert sorted(map(Store.key, stored)) == sorted(Store.key(row) for rows in shown for row in rows)
    assert [len(rows) for rows in shown] == [9, 9]
    found = studies.get(FAST)
    grid = [(cell, seed) for seed in range(2) for cell in found.cells("digits")]
    code = (
        "import sys, json; from privlab import studies; from privlab.studies.bench import shards;"
        "print(json.dumps(shards.part(studies.get(sys.argv[1]), json.loads(sys.argv[2]), '2/3')))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    command = [sys.executable, "-c", code, FAST, json.dumps(grid)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert keys(json.loads(done.stdout)) == keys((row["cell"], row["seed"]) for row in shown[1])


def test_a_part_without_a_cell_says_so_and_is_no_mistake(capsys, tmp_path):
    made = ["run", FAST, "--data", "digits", "--seeds", "1", "--device", "cpu", "--results", str(tmp_path)]
    parts = [cli.main([*made, "--shard", f"{number}/14"]) for number in range(1, 15)]
    assert parts == [0] * 14
    said = capsys.readouterr().out.splitlines()
    assert sorted(line.split(" ")[0] for line in said) == ["0"] + ["1"] * 13
    assert said[0].startswith(f"1 rows of {FAST} in shard 1/14; ")


def measure(folder, shard):
    """In a process of its own: its part, which it then says in a file of its own."""
    found = studies.get(FAST)
    options = {"data": "digits", "seeds": 3, "device": "cpu", "progress": False, "shard": shard}
    rows = studies.run(found, store=Store(found, folder), **options)
    (folder / f"said-{shard[0]}").write_text(json.dumps([Store.key(row) for row in rows]))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_shards_at_once_write_one_file_and_lose_nothing(tmp_path):
    """Four processes, begun together, of a study whose cells take hundredths of a second, so that their writes meet."""
    fork = multiprocessing.get_context("fork")
    running = [fork.Process(target=measure, args=(tmp_path, f"{number}/4")) for number in range(1, 5)]
    for process in running:
        process.start()
    for process in running:
        process.join()
    assert [process.exitcode for process in running] == [0] * 4
    said = [tuple(key) for path in tmp_path.glob("said-*") for key in json.loads(path.read_text())]
    lines = (tmp_path / f"{FAST}.jsonl").read_text().splitlines()
    assert len(lines) == len(said) == 39
    assert {Store.key(json.loads(line)) for line in lines} == set(said)
    assert len(set(said)) == 39


@pytest.mark.parametrize("shard", ["0/4", "5/4", "0/0", "a/b", "1", "1/", "-1/4", "1.5/4", "1/4/2", ""])
def test_what_is_no_part_is_refused_before_any_work(tmp_path, shard):
    made = study(run=lambda *_: pytest.fail("it was measured"))
    with pytest.raises(ValueError, match="shard="):
        studies.run(made, device="cpu", store=Store(made, tmp_path), progress=False, shard=shard)


def test_cells_that_share_draws_are_in_one_part_of_a_run(tmp_path):
    made = dataclasses.replace(study(), together=lambda cell: cell["s"] == 2)
    options = {"seeds": 1, "device": "cpu", "store": Store(made, tmp_path), "progress": False}
    parts = [[row["cell"]["s"] for row in studies.run(made, shard=f"{n}/2", **options)] for n in (1, 2)]
    assert sorted(parts) == [[1, 3], [2]]
