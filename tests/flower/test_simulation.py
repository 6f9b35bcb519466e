"""Flower's own simulation: one start of it, and of Ray."""

import pytest

pytest.importorskip("flwr", reason="needs Flower: pip install 'privlab[flower]'")

import os
import subprocess
import sys

import psutil
import torch
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

from privlab import flower
from privlab.attacks import trap_weights
from tests.flower.agreed import BATCH, LR, client, network

NODES = 3


def _server():
    with flower.quietly():
        everyone = FedAvg(fraction_evaluate=0.0, min_train_nodes=NODES, min_available_nodes=NODES)
    return flower.Malicious(everyone, network(), lambda model: trap_weights.plant(model, 0.9, sigma=5e-4), rounds=[1])


def test_a_simulation_reads_what_one_process_reads_and_ends_with_all_it_started(tmp_path):
    """Two rounds, to the last bit, in processes of Ray that are gone when it returns."""
    app = flower.client_app(network, client, batch=BATCH, lr=LR)
    simulated, local = _server(), _server()
    server = ServerApp()

    @server.main()
    def main(grid, _context):
        flower.rounds(simulated, grid, 2, folder=tmp_path / "simulated")

    before = {process.pid for process in psutil.Process().children(recursive=True)}
    flower.simulate(server, app, NODES, cores=0.5)
    left = [process for process in psutil.Process().children(recursive=True) if process.pid not in before]
    _, alive = psutil.wait_procs(left, timeout=20)
    assert not [each for each in alive if each.status() != psutil.STATUS_ZOMBIE]
    with flower.quietly():
        flower.rounds(local, flower.LocalGrid(app, NODES), 2, folder=tmp_path / "local")
    found, wanted = ({(h.round, h.partition): h for h in each.heard} for each in (simulated, local))
    assert found.keys() == wanted.keys() == {(round_, part) for round_ in (1, 2) for part in range(NODES)}
    for key, heard in found.items():
        assert heard.trapped is (key[0] == 1)
        assert all(torch.allclose(heard.update[name], each, atol=1e-7) for name, each in wanted[key].update.items())


def test_without_flower_it_says_what_to_install(tmp_path):
    """As where the extra is missing: a package of that name that cannot be imported."""
    (tmp_path / "flwr.py").write_text("raise ImportError('not here')")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    told = subprocess.run(
        [sys.executable, "-c", "import privlab.flower"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert told.returncode
    assert "python -m pip install 'privlab[flower]'" in told.stderr
