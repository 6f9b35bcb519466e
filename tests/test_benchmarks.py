"""The races: every script runs and prints its rows, and what ours are raced against is no straw man."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from privlab import data, models
from privlab.attacks import bins, evasion, gradient_extraction
from privlab.metrics import reconstruction
from privlab.sharing import federated

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"
LENET = {"filters": (12, 12, 12), "fc": (), "pool": "stride", "activation": "sigmoid"}
RACES = {
    "dlg.py": 4,
    "cosine.py": 9,
    "membership.py": 2,
    "dp.py": 1,
    "linkability.py": 2,
    "evasion.py": 1,
    "aggregation.py": 4,
    "bins.py": 2,
    "words.py": 1,
    "ranks.py": 1,
}


def _module(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


loops = _module("loops")


def _run(*command):
    settings = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run([sys.executable, *command], cwd=FOLDER.parent, env=settings, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


@pytest.mark.parametrize(("script", "count"), RACES.items())
def test_a_script_prints_a_row_a_race(script, count):
    head, _, *rows = _run(f"benchmarks/{script}", "--quick")
    assert head.startswith("race")
    assert len(rows) == count
    assert all(row.count(" | ") >= 2 for row in rows)


def test_the_races_that_the_pages_show_are_those_that_are_run():
    kept = [json.loads(line) for line in (FOLDER.parent / "results" / "races.jsonl").read_text().splitlines()]
    listed = _run("benchmarks/hot_spots.py", "--help")
    known = set(re.search(r"\{(.+?)\}", "".join(line.strip() for line in listed))[1].split(","))
    raced = [row["race"] for row in kept]
    assert all(any(race == name or race.startswith(f"{name}-") for race in raced) for name in known)
    for row in kept:
        assert (row["ratio"] is None) != (row["why"] == "–") or row["met"] is not None
        assert row["processor"]
        assert row["torch"]


def test_races_are_kept_with_where_and_when(tmp_path):
    _run("benchmarks/extraction.py", "--quick", "--keep", str(tmp_path / "races.jsonl"))
    rows = [json.loads(line) for line in (tmp_path / "races.jsonl").read_text().splitlines()]
    assert [row["race"] for row in rows] == ["extraction-200x3072"] * 2 + ["table-5-digits"]
    assert all(row["torch"] == torch.__version__ and row["processor"] for row in rows)


def test_a_json_line_a_race():
    rows = [json.loads(line) for line in _run("benchmarks/extraction.py", "--quick", "--json")]
    assert [row["race"] for row in rows] == ["extraction-200x3072"] * 2 + ["table-5-digits"]
    assert rows[0]["ratio"] == pytest.approx(rows[0]["measured"]["loop"] / rows[0]["measured"]["ours"])


def test_where_the_time_goes():
    first, *spots = _run("benchmarks/hot_spots.py", "extraction-1000x3072", "--top", "3")
    assert first.startswith("extraction-1000x3072, ours")
    assert len(spots) == 3


def _victim(side, **options):
    victim = data.load("patches").sample(1, 900)
    images = data.resized(victim.images, side, 3)
    model = models.lenet(images.shape[1:], 10, seed=900, **LENET, **options)
    return model, images, victim.labels, federated.gradient(model, images, victim.labels)


@pytest.mark.parametrize("loop", [loops.dlg, loops.line_search])
def test_the_loops_of_deep_leakage_find_an_image(loop):
    model, images, _, sent = _victim(8, init="uniform:0.5")
    guesses = [loop(model, sent, images.shape[1:], 10, seed=seed, steps=100)[0] for seed in range(900, 904)]
    assert max(reconstruction.psnr(guess, images).item() for guess in guesses) > 30


def test_the_cosine_loop_finds_an_image():
    model, images, labels, sent = _victim(16)
    guess, loss = loops.cosine(model, sent, labels, images.shape[1:], iterations=300, seed=900)
    assert reconstruction.psnr(guess, images).item() > 20
    assert loss < 0.1


def test_the_extraction_loop_finds_what_ours_finds():
    images = data.load("patches").sample(20, 900).images.flatten(1)
    random = torch.Generator().manual_seed(900)
    deltas = torch.randn(100, 20, generator=random) * (torch.rand(100, 20, generator=random) < 0.05)
    sent = federated.Gradient({"fc1.weight": deltas @ images, "fc1.bias": deltas.sum(1)}, examples=20)
    found = loops.extraction(*sent.layer("fc1"))
    ours = gradient_extraction.extract(sent, shape=(3, 32, 32)).images.flatten(1)
    assert len(found) == len(ours) > 5
    assert torch.cdist(found, ours).amin(1).max() < 1e-3


def test_the_loop_of_bins_finds_what_ours_finds():
    part = data.load("patches").sample(30, 900)
    model = bins.plant(models.fully_connected(part.shape, 7, widths=(100,), seed=900), part.images)
    sent = federated.gradient(model, part.images, part.labels)
    found = loops.bins(*sent.layer("fc1"))
    assert torch.equal(found, bins.extract(sent, shape=part.shape).images.flatten(1))
    assert len(found) > 10


def test_the_loop_of_pgd_is_ours_from_the_images_themselves():
    some = data.load("digits").sample(30, 900)
    model = models.fully_connected(some.shape, 10, widths=(16,), seed=900)
    how = {"epsilon": 0.1, "steps": 10, "step": 0.025}
    made = evasion.pgd(model, some.images, some.labels, **how, restarts=0)
    torch.testing.assert_close(loops.pgd(model, some.images, some.labels, **how), made)
    assert (made - some.images).abs().max() > 0.09


def test_the_loop_of_rank_inversion_finds_the_images():
    some = data.load("digits").sample(3, 900)
    model = models.fully_connected(some.shape, 10, widths=(100, 100), seed=900).double()
    sent = federated.gradient(model, some.images.double(), some.labels)
    found = loops.rank_inversion(*sent.layer("fc1"), 3)
    assert torch.cdist(found, some.images.double().flatten(1)).amin(0).max() < 1e-6
