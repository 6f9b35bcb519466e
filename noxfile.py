"""Every command that a person or CI runs: `python -m nox`, or `python -m nox -s book`.

All sessions share one environment in .nox/shared, so that a fresh machine installs torch once.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import nox

nox.needs_version = ">=2024.4"
nox.options.sessions = ["lint", "tests", "book", "browser"]
nox.options.default_venv_backend = "none"

ROOT = Path(__file__).parent
SHARED = ROOT / ".nox" / "shared"
BIN = SHARED / ("Scripts" if os.name == "nt" else "bin")
BROWSED = (ROOT / "tests" / "book").glob("test_pages*.py")
SLIDES = ROOT / "_build" / "slides"
SITE = ROOT / "_build" / "html" / "index.html"
OWN = ROOT / ".nox" / "oracles"
ORACLES = ("jax_privacy==2.0.0", "foolbox==3.3.4")
EXTRAS = "book,tests,encrypt,flower"
CORES = str(min(2, os.cpu_count() or 1))


def run(session: nox.Session, *command: str, **environment: str) -> None:
    """Run a command of the shared environment, which is made or renewed when pyproject.toml has changed."""
    wanted = hashlib.sha256((ROOT / "pyproject.toml").read_bytes() + sys.version.encode()).hexdigest()
    stamp = SHARED / "installed"
    if not stamp.exists() or stamp.read_text() != wanted:
        venv.create(SHARED, with_pip=True, clear=True)
        session.run(str(BIN / "python"), "-m", "pip", "install", "--quiet", "-e", f"{ROOT}[{EXTRAS}]", external=True)
        stamp.write_text(wanted)
    path = os.pathsep.join([str(BIN), os.environ.get("PATH", "")])
    # Many small networks: one thread in each of two processes is faster than two threads.
    settings = {"PATH": path, "OMP_NUM_THREADS": "1", "JUPYTER_PLATFORM_DIRS": "1", **environment}
    session.run(str(BIN / command[0]), *command[1:], env=settings, external=True)


@nox.session
def lint(session: nox.Session) -> None:
    """Format, lint, types, and the notebooks beside the chapters, whose cells must parse and name what exists."""
    run(session, "ruff", "format", "--check", ".")
    run(session, "ruff", "check", ".")
    run(session, "ruff", "check", "--isolated", "--select", "E9,F", "book")
    run(session, "mypy")
    run(session, "python", "book/build.py", "notebooks", "--check")


@nox.session
def tests(session: nox.Session) -> None:
    """Every test but those in a browser; each chapter is executed as a test of its own."""
    run(session, "pytest", "-n", CORES, "--durations=15", "-m", "not browser", *session.posargs)


@nox.session
def book(session: nox.Session) -> None:
    """Execute the chapters that have changed since they were last executed, and build the book."""
    run(session, "python", "book/build.py", "execute", "--workers", CORES)
    for stale in (SITE.parent, ROOT / "_build" / ".doctrees"):  # pages keep the outputs of an earlier execution
        shutil.rmtree(stale, ignore_errors=True)
    options = ["--config", "_config.yml", "--path-output", ".", "-W", "-n", "--keep-going"]
    run(session, "jupyter-book", "build", "book", *options)
    session.log(f"the book is in {SITE}")


@nox.session
def browser(session: nox.Session) -> None:
    """Open the built book, and a live explorer in JupyterLab, in headless Chromium."""
    if not any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))):
        if os.environ.get("CI"):
            session.error("no Chromium here; install it (Debian: apt-get install chromium)")
        session.skip("no Chromium here; install it to test the built pages")
    if not SITE.exists():
        book(session)
    if not SLIDES.exists():
        slides(session)
    # Only these: to read all other tests takes seconds.
    run(session, "pytest", "-n", CORES, "-m", "browser", *(session.posargs or sorted(map(str, BROWSED))))


@nox.session(default=False)
def slides(session: nox.Session) -> None:
    """Write the slides of each chapter into _build/slides, out of the chapters as the book's build executed them."""
    run(session, "python", "book/slides.py", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Every race against the straightforward way, in one table; `-- --quick` or `-- --json`."""
    run(session, "python", "benchmarks", *session.posargs)


@nox.session(default=False)
def gpu(session: nox.Session) -> None:
    """Every attack, every defence and a cell of every study on a CUDA card, beside the CPU's result."""
    sees = "import sys, torch; sys.exit(not torch.cuda.is_available())"
    if subprocess.run([BIN / "python", "-c", sees]).returncode:
        session.error("torch sees no CUDA card here, so that every one of these tests would be skipped")
    run(session, "pytest", "-n", str(min(8, os.cpu_count() or 1)), "--durations=15", "-m", "gpu", *session.posargs)


@nox.session(default=False)
def oracles(session: nox.Session) -> None:
    """Tests against libraries too large for the shared environment, in one of their own."""
    python = OWN / BIN.name / "python"
    if not python.exists():
        venv.create(OWN, with_pip=True)
    session.run(str(python), "-m", "pip", "install", "--quiet", "-e", str(ROOT), *ORACLES, "pytest>=8.2", external=True)
    session.run(
        str(python),
        "-m",
        "pytest",
        *(session.posargs or sorted(map(str, (ROOT / "tests" / "oracles").glob("[!_]*.py")))),
        external=True,
    )


@nox.session(default=False)
def notebooks(session: nox.Session) -> None:
    """Write the .ipynb beside every chapter, which Colab and Binder open; `-- --solutions` writes the teacher's."""
    run(session, "python", "book/build.py", "notebooks", *session.posargs)


@nox.session(default=False)
def lab(session: nox.Session) -> None:
    """Open the chapters in JupyterLab."""
    run(session, "jupyter", "lab", "--notebook-dir", "book", *session.posargs)
