"""Flower as processes on loopback: an attack, a node lost in mid-round, a SuperLink that is started again."""

import socket
import time

import pytest

pytest.importorskip("flwr", reason="needs Flower: pip install 'privlab[flower]'")

import psutil

from privlab import flower
from privlab.attacks import gradient_extraction
from privlab.metrics import extraction

SLOWLY = '''

@app.lifespan()
def slowly(context):
    """Say that this node works, and take three seconds for it."""
    import time
    from pathlib import Path

    Path(context.run_config["results"], "works-%s" % context.node_config["partition-id"]).touch()
    time.sleep(3)
    yield
'''


def _ours(folder):
    """The processes whose environment or command names a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            said = [*process.cmdline(), process.environ().get("FLWR_HOME", "")]
        except psutil.Error:
            continue
        if process.status() != psutil.STATUS_ZOMBIE and any(str(folder) in each for each in said):
            found.append(process)
    return found


def _until(happens, seconds=90):
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end
        time.sleep(0.1)


def test_the_attack_on_real_processes_and_what_becomes_of_it_when_they_are_lost(tmp_path, monkeypatch):
    """One start of Flower. A client is killed while it trains: the round ends with the others, and says who was lost.

    The SuperLink is killed between two rounds and started again: the run goes on from the last round that was written.
    """
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    app = flower.write_app(tmp_path / "app")
    with (app / "attack" / "client_app.py").open("a") as file:
        file.write(SLOWLY)
    results = tmp_path / "results"
    with flower.Deployment(tmp_path / "flower") as here:
        assert sorted(here.ids) == [0, 1, 2]
        here.submit(app, results=results, rounds=1, timeout=25.0)
        _until((results / "works-2").exists)
        here.kill("node-2")
        here.wait(120)
        (first,) = flower.finished(results)
        assert first.missing == {here.ids[2]: "no answer in time"}
        assert sorted(each.partition for each in first.heard) == [0, 1]
        assert {each.partition: each.node for each in first.heard} == {part: here.ids[part] for part in (0, 1)}
        here.kill("link")
        here.start_link()
        here.run(app, results=results, rounds=2, nodes=2, timeout=25.0, patience=120)
        again, second = flower.finished(results)
        assert [each.update.keys() for each in again.heard] == [each.update.keys() for each in first.heard]
        assert sorted(each.partition for each in second.heard) == [0, 1]
        assert not any(each.trapped for each in second.heard)
    _until(lambda: not _ours(tmp_path), 20)
    for each in first.heard:
        assert each.trapped
        assert _recall(each, app) > 0.5
    # The package medmnist makes its folder wherever it is imported.
    assert {path.name for path in tmp_path.iterdir()} - {".medmnist"} == {"app", "results", "flower"}


def _recall(heard, app):
    """How much of a client's images the server has read, by the app's own words of who has which."""
    names: dict = {}
    exec((app / "attack" / "task.py").read_text(), names)
    own = names["client"](heard.partition, 3)
    rows = gradient_extraction.candidates(heard.gradient())
    return extraction.score(rows, own.images, neurons=1000).recall


def test_a_port_in_use_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"port {port} is in use"):
            flower.Deployment(tmp_path, port=port)


def test_a_process_that_does_not_start_says_why(tmp_path):
    here = flower.Deployment(tmp_path, 1)
    here._start("link", "flower-superlink", "--no-such-option")
    with pytest.raises(RuntimeError, match=r"link did not start; its log ends with: (.|\n)*no-such-option"):
        here._wait("link", "Uvicorn running")
    here.stop()
    with pytest.raises(ValueError, match="name"):
        here.kill("node-7")


def test_an_app_is_written_once(tmp_path):
    app = flower.write_app(tmp_path / "app")
    assert {path.name for path in app.rglob("*.py")} == {"__init__.py", "task.py", "client_app.py", "server_app.py"}
    assert (app / "pyproject.toml").exists()
    with pytest.raises(FileExistsError, match="is not empty; give a new folder"):
        flower.write_app(app)
