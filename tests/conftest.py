"""What all tests share. Real data are optional: see CONTRIBUTING.md."""

import os
from pathlib import Path

import pytest
import torch

from privlab import data

ROOT = Path(__file__).resolve().parents[1]
BESIDE = ROOT.parent / "shared" / "data"
REAL_DATA = Path(os.environ.get("PRIVLAB_DATA", BESIDE))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    """One thread, set before each test: numba, which dcor brings along, sets it for all of OpenMP when it is loaded.

    Two threads in each of two workers wait for one another, and small convolutions take twenty times as long.
    """
    torch.set_num_threads(1)


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
