"""A notebook as it is given away, in an environment that has what a notebook server has, and nothing else.

Its own first cell gets the library, unchanged: git takes the repository's address for a snapshot of this checkout,
since the address need not be public. The kernel (`ipykernel`) stands for the server. Torch and torchvision are large,
and Colab has them: they are linked from the environment of the tests, as pip sees them, and all else is installed.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import venv
from pathlib import Path

import pytest
import yaml

from .pages import BOOK, ROOT

NOTEBOOK = BOOK / "sharing" / "who-is-listening.ipynb"  # the quickest
LINKED = ("torch", "torchgen", "functorch", "torchvision", "torchvision.libs")
SECONDS = 900  # on a quiet machine all of it takes about a minute
RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read("chapter.ipynb", as_version=4)
NotebookClient(notebook, timeout=800, kernel_name="python3", record_timing=False).execute()
nbformat.write(notebook, "done.ipynb")
"""


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, **options)
    return done.returncode, done.stdout + done.stderr


def link_torch(python, how):
    """Put torch where the empty environment finds it, by itself and not with its neighbours."""
    _, purelib = run(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])", **how)
    here = Path(importlib.metadata.distribution("torch").locate_file(""))
    names = [*LINKED, *(path.name for part in ("torch", "torchvision") for path in here.glob(f"{part}-*.dist-info"))]
    for each in names:
        if (here / each).exists():
            (Path(purelib.strip()) / each).symlink_to(here / each)


def snapshot(folder):
    """The tracked files as they are now, on the branch that the notebook asks for; and git's words that lead there."""
    repository = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "benchmarks/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    person = ["-c", "user.name=Nobody", "-c", "user.email=nobody@example.org"]
    for command in (["init", "-q", "-b", repository["branch"]], ["add", "-A"], [*person, "commit", "-qm", "now"]):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
    key = f"url.{folder.as_uri()}.insteadOf"
    return {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": key, "GIT_CONFIG_VALUE_0": repository["url"]}


def environment_of(place):
    """What a shell on a notebook server has: the environment's programs first, no paths of the tests."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHONPATH", "JUPYTER", "IPYTHON", "PRIVLAB"))}
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    # Compiling what is installed takes longer than importing the part of it that is used.
    return {**kept, "PATH": path, "PIP_NO_COMPILE": "1", "OMP_NUM_THREADS": "1", "JUPYTER_PREFER_ENV_PATH": "1"}


@pytest.mark.skipif(shutil.which("git") is None or not (ROOT / ".git").exists(), reason="needs git, and a checkout")
@pytest.mark.skipif(os.name == "nt", reason="links torch by a symbolic link")
def test_a_notebook_runs_from_an_empty_environment(tmp_path):
    place, source, work = (tmp_path / part for part in ("empty", "source", "work"))
    source.mkdir()
    work.mkdir()
    venv.create(place, with_pip=True)
    python, how = str(place / "bin" / "python"), {"cwd": work, "env": environment_of(place)}
    status, said = run(python, "-m", "pip", "install", "-q", "ipykernel", "nbclient", **how)
    if status:
        pytest.skip(f"pip cannot get a kernel here: {said.strip()[-200:]}")
    link_torch(python, how)
    assert run(python, "-c", "import privlab", **how)[0] != 0
    shutil.copy(NOTEBOOK, work / "chapter.ipynb")
    how["env"] = how["env"] | snapshot(source)
    status, said = run(python, "-c", RUN, **how)
    assert status == 0, said[-3000:]
    cells = json.loads((work / "done.ipynb").read_text())["cells"]
    printed = ["".join(output.get("text", "")) for cell in cells for output in cell.get("outputs", [])]
    assert any("images of digits (embedded)" in text for text in printed), printed
    assert str(place) in run(python, "-c", "import privlab; print(privlab.__file__)", **how | {"cwd": tmp_path})[1]
