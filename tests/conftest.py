"""What all tests share. Real data are optional: see CONTRIBUTING.md."""

import os
from pathlib import Path

import pytest
import torch

from privlab import data

ROOT = Path(__file__).resolve().parents[1]
BESIDE = ROOT.parent / "shared" / "data"
REAL_DATA = Path(os.environ.get("PRIVLAB_DATA", BESIDE))


# By far the longest, so that several workers begin with them: a long test that begins last leaves the others idle.
CHAPTER = "tests/book/test_chapters.py::test_chapter_executes["
PAGE = "tests/book/test_pages"
CARD = "tests/gpu/test_gpu.py::"
FIRST = (CHAPTER, "tests/explore/", "tests/studies/")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file goes to one worker, which computes its fixtures and what it remembers once; chapters, and tests on a card,
    each by itself; of the built pages all tests of one, which is then opened once."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            if nodeid.startswith(PAGE) and "[" in nodeid:
                return nodeid.partition("[")[2]
            return nodeid if nodeid.startswith((CHAPTER, CARD)) else super()._split_scope(nodeid)

    config.option.loadscopereorder = False  # it would put what has the fewest tests last: the chapters
    return Scheduling(config, log)


def pytest_ignore_collect(collection_path, config):
    """`-m gpu` reads nothing but the tests of a card: others import packages that a machine with one may not have."""
    here = collection_path.parent == Path(__file__).parent
    return True if config.option.markexpr == "gpu" and here and collection_path.name != "gpu" else None


def pytest_collection_modifyitems(config, items):
    """For several workers; one is to begin with the quick tests."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: [not item.nodeid.startswith(part) for part in FIRST])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """A test of a card needs one. Each has one thread, set before it, since numba, which dcor brings along, sets it for
    all of OpenMP when it is loaded.

    Two threads in each of two workers wait for one another, and small convolutions take twenty times as long.
    """
    torch.set_num_threads(1)
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA card here")


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    """No test sees the user's cache or data, or writes to the checkout's results."""
    monkeypatch.delenv("PRIVLAB_DATA", raising=False)
    monkeypatch.setenv("PRIVLAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PRIVLAB_RESULTS", str(tmp_path / "results"))
    monkeypatch.delenv("PRIVLAB_PROFILE", raising=False)


@pytest.fixture
def real_data(monkeypatch):
    """Point the library at real data; skip where there are none."""
    if not REAL_DATA.is_dir():
        pytest.skip(f"no real data at {REAL_DATA}")
    monkeypatch.setenv("PRIVLAB_DATA", str(REAL_DATA))

    def load(name, *arguments, **options):
        try:
            return data.load(name, *arguments, download=False, **options)
        except FileNotFoundError as error:
            pytest.skip(str(error))

    return load


@pytest.fixture
def seeded():
    """A generator of its own for each test."""
    return torch.Generator().manual_seed(0)
