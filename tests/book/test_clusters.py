"""The commands of the page on more than one machine: they are taken out of the page, and run."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from privlab import cli, studies
from privlab.studies.bench.store import Store

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "book" / "reference" / "clusters.md").read_text()
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.M | re.S)
STUDY = "curious/table-5"


def block(word):
    (found,) = (each for each in BLOCKS if word in each)
    return found


def bash(text, folder, *arguments, **environment):
    """As on a machine where `privlab` is installed: this checkout's."""
    (folder / "bin").mkdir(exist_ok=True)
    command = folder / "bin" / "privlab"
    command.write_text(f'#!/bin/bash\nexec "{sys.executable}" -m privlab "$@"\n')
    command.chmod(0o755)
    (folder / "job.sh").write_text(text)
    settings = {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT), **environment}
    settings |= {"HOME": str(folder), "PRIVLAB_DEVICE": "cpu"}
    done = subprocess.run(
        ["bash", "job.sh", *arguments], cwd=folder, env=settings, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_array_job_measures_each_cell_once_and_its_results_join(tmp_path):
    job = block("#SBATCH")
    assert job.startswith("#!/bin/bash\n#SBATCH")
    assert job.isascii()
    first = int(re.search(r"--array=(\d+)-", job)[1])
    assert first == 1
    for task in (1, 2):
        slurm = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": "2", "RESULTS": f"part-{task}"}
        said = bash(job, tmp_path, STUDY, "--data", "digits", "--seeds", "1", **slurm)
        assert f"{7 if task == 1 else 6} rows of {STUDY} in shard {task}/2; " in said
    parts = [tmp_path / f"part-{task}" / f"{STUDY}.jsonl" for task in (1, 2)]
    lines = [part.read_text().splitlines() for part in parts]
    parts[0].write_text(f'{parts[0].read_text()}{lines[1][0]}\n{{"cell": {{"da')  # one of the other's, and a torn one
    said = bash(block("awk 1"), tmp_path)
    assert "Trap weights" in said or STUDY in said
    joined = Store(studies.get(STUDY), tmp_path / "results")
    assert len(joined.path.read_text().splitlines()) == 13 + 2
    wanted = {Store.key(json.loads(line)) for part in lines for line in part}
    assert {Store.key(row) for row in joined.rows()} == wanted
    assert len(joined.rows()) == len(wanted) == 13


def test_every_command_of_the_page_is_one_that_there_is(monkeypatch):
    """Of those that are too large to be run: the study, and the options."""
    got = []
    monkeypatch.setattr(cli, "_do", lambda parsed: got.append(parsed))
    for line in "\n".join(BLOCKS).splitlines():
        words = line.partition("#")[0].split()
        if "privlab" in words and "$@" not in line and not line.startswith("ray"):
            assert cli.main(words[words.index("privlab") + 1 :]) == 0
    assert {parsed.command for parsed in got} == {"run", "compare", "data"}
    assert {parsed.study for parsed in got if getattr(parsed, "study", None)} <= set(studies.STUDIES)
    assert {parsed.ray for parsed in got if parsed.command == "run"} == {None, "auto"}
