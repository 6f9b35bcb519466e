"""A run on a Ray cluster of two nodes, both on this machine: whoever is killed, each row is there, and once.

Nodes and drivers have a copy of the package with one study more, `made/slow`, as they would have one installed: its
cells write down who began them, and wait while a file says so.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from privlab import studies
from privlab.studies.bench import cluster, registry
from privlab.studies.bench.store import Store
from tests.studies import made_slow

ray = pytest.importorskip("ray", reason="ray is not installed: python -m pip install 'privlab[cluster]'")
ROOT = Path(__file__).resolve().parents[2]
SLOW = dataclasses.replace(made_slow.STUDY)
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1", "RAY_DEDUP_LOGS": "0"}


def wait_for(told, what, seconds=60):
    deadline = time.monotonic() + seconds
    while not (found := told()):
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.02)
    return found


def alive(pid):
    """Whether a process runs; one that is dead and not yet waited for does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def processes(mark):
    """Who has a text in its environment, which its children have too: pids."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark.encode() in path.read_bytes():
                found.add(int(path.parent.name))
    return {pid for pid in found if alive(pid)} - {os.getpid()}


class Nodes:
    """The cluster, and the folder of the files by which its cells are held and let go."""

    def __init__(self, folder, environment):
        from ray.cluster_utils import Cluster

        self.folder, self.environment = folder, environment
        self.ray = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        self.second = self.ray.add_node(num_cpus=1)
        self.address = self.ray.address

    def two(self):
        """See that both nodes are there, whatever an earlier test has done to them."""
        if self.second is None:
            self.second = self.ray.add_node(num_cpus=1)
        self.ray.wait_for_nodes()
        for path in self.folder.iterdir():
            path.unlink()

    def say(self, word, place):
        (self.folder / f"{word}-{place}").touch()

    def release(self):
        for path in self.folder.glob("hold-*"):
            path.unlink()

    def began(self, place):
        """Who began a cell: the process and its node's, one pair each time."""
        path = self.folder / f"began-{place}"
        return [tuple(map(int, line.split())) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture(scope="module")
def nodes():
    base = Path(tempfile.mkdtemp(prefix="made-", dir="/tmp"))  # sockets' paths must be short
    folder, package = base / "cells", base / "package"
    folder.mkdir()
    shutil.copytree(ROOT / "privlab", package / "privlab", ignore=shutil.ignore_patterns("__pycache__"))
    room = package / "privlab" / "studies" / "made"
    room.mkdir()
    (room / "__init__.py").touch()
    shutil.copy(made_slow.__file__, room / "slow.py")
    settings = {**SETTINGS, "MADE_FOLDER": str(folder), "PYTHONPATH": str(package), "RAY_TMPDIR": str(base)}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        patch.setattr(cluster, "PATIENCE", 0.5)
        patch.setitem(registry.STUDIES, SLOW.id, SLOW)
        made = Nodes(folder, {**os.environ})
        with contextlib.chdir(base):  # Ray's workers look for modules where their driver was, too: not in the checkout
            ray.init(address=made.address, log_to_driver=False)  # once, so that workers are kept from test to test
        yield made
        made.release()
        if ray.is_initialized():
            ray.shutdown()
        made.ray.shutdown()
        with contextlib.suppress(AssertionError):
            wait_for(lambda: not processes(f"MADE_FOLDER={folder}"), "all processes to end", 20)
        left = processes(f"MADE_FOLDER={folder}")
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(base, ignore_errors=True)
        assert not left, "processes of the cluster were left"


@pytest.fixture
def options(nodes, tmp_path):
    nodes.two()
    store = Store(SLOW, tmp_path / "results")
    yield {"device": "cpu", "progress": False, "store": store, "ray": nodes.address}
    nodes.release()
    lines = store.path.read_text().splitlines() if store.path.exists() else []
    assert len({Store.key(json.loads(line)) for line in lines}) == len(lines), "a cell was stored twice"


@contextlib.contextmanager
def beside(work):
    """Something done while the driver waits; what it raises is raised."""
    wrong = []

    def watch():
        try:
            work()
        except BaseException as error:
            wrong.append(error)

    thread = threading.Thread(target=watch)
    thread.start()
    yield
    thread.join()
    if wrong:
        raise wrong[0]


def metrics(rows):
    return {(row["cell"]["s"], row["seed"]): row["metrics"] for row in rows}


def test_rows_are_those_of_a_run_in_this_process_and_say_which_code_ran(nodes, options, tmp_path, capsys):
    here = studies.run(SLOW, seeds=2, **{**options, "ray": None, "store": Store(SLOW, tmp_path / "here")})
    found = studies.run(SLOW, seeds=2, **options)
    assert metrics(found) == metrics(here)
    assert len(found) == 12
    assert len({pid for place in range(6) for pid in nodes.began(place)} - {(os.getpid(), os.getppid())}) > 1
    # The workers' copy lies in no checkout, so that its version has no commit.
    assert {row["provenance"]["code"] for row in here} == {studies.code_version()} != {"0.1.0"}
    assert {row["provenance"]["code"] for row in found} == {"0.1.0"}
    assert capsys.readouterr().err.count("a worker has privlab 0.1.0, here is 0.1.0-g") == 1


def test_a_study_of_the_package_gives_the_rows_of_this_process(options, tmp_path):
    name, how = "curious/table-9", {"device": "cpu", "progress": False, "data": "digits", "seeds": 1}
    rows = [
        studies.run(name, **how, shard="1/3", store=Store(studies.get(name), tmp_path / str(ray)), ray=ray)
        for ray in (None, options["ray"])
    ]
    here, there = ({json.dumps(row["cell"]): row["metrics"] for row in each} for each in rows)
    assert here == there
    assert len(here) == 8


def test_a_worker_that_is_killed_has_its_cell_run_again_and_no_other(nodes, options):
    nodes.say("hold", 2)

    def kill():
        ((pid, _),) = wait_for(lambda: nodes.began(2), "cell 2 to begin")
        wait_for(lambda: len(options["store"].rows()) == 5, "the other rows, written as they come")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(nodes.began(2)) == 2, "cell 2 to begin again")
        nodes.release()

    with beside(kill):
        found = studies.run(SLOW, **options)
    assert sorted(row["cell"]["s"] for row in found) == list(range(6))
    assert [len(nodes.began(place)) for place in range(6)] == [1, 1, 2, 1, 1, 1]


def test_cells_that_share_draws_run_in_one_process_and_only_the_rest_runs_again(nodes, options, monkeypatch):
    together = dataclasses.replace(SLOW, together=lambda cell: "all")
    monkeypatch.setitem(registry.STUDIES, SLOW.id, together)
    nodes.say("hold", 3)

    def kill():
        ((pid, _),) = wait_for(lambda: nodes.began(3), "cell 3 to begin")
        wait_for(lambda: len(options["store"].rows()) == 3, "three rows")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: len(nodes.began(3)) == 2, "cell 3 to begin again")
        nodes.release()

    with beside(kill):
        assert len(studies.run(together, **options)) == 6
    assert [len(nodes.began(place)) for place in range(6)] == [1, 1, 1, 2, 1, 1]
    first, second = ({pid for place in part for pid in nodes.began(place)} for part in ((0, 1, 2), (4, 5)))
    assert len(first) == len(second) == 1 != len(first | second)


def test_a_cell_that_raises_is_run_once_and_the_others_rows_are_kept(nodes, options):
    nodes.say("hold", 0)
    nodes.say("raise", 2)

    def release():
        wait_for(lambda: nodes.began(2), "cell 2 to begin")
        nodes.release()

    with pytest.raises(ValueError, match=r"^cell 2 cannot be measured$"), beside(release):
        studies.run(SLOW, **options)
    assert len(nodes.began(2)) == 1
    assert 1 in {row["cell"]["s"] for row in options["store"].rows()}
    (nodes.folder / "raise-2").unlink()
    assert len(studies.run(SLOW, **options)) == 6


def test_a_cell_whose_workers_die_is_given_up_in_words(nodes, options, monkeypatch):
    monkeypatch.setattr(cluster, "DEATHS", 1)
    nodes.say("die", 5)
    with pytest.raises(RuntimeError, match=r"made/slow: the worker of .*'s': 5.*, seed 0, died 2 times"):
        studies.run(SLOW, **options)
    assert len(nodes.began(5)) == 2
    assert sorted(row["cell"]["s"] for row in options["store"].rows()) == [0, 1, 2, 3, 4]


def test_a_driver_that_is_killed_goes_on_where_it_was(nodes, options):
    store = options["store"]
    command = [sys.executable, "-m", "privlab", "run", SLOW.id, "--device", "cpu", "--json"]
    command += ["--results", str(store.folder), "--ray"]

    def start(address):
        environment = {**nodes.environment, "RAY_ADDRESS": nodes.address}  # what `auto` reads first
        how = {"cwd": store.folder, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([*command, address], text=True, **how)

    store.folder.mkdir()
    for place in (3, 4, 5):
        nodes.say("hold", place)
    first = start(nodes.address)
    wait_for(lambda: len(store.rows()) == 3, "three rows, written as they come")
    wait_for(lambda: len([place for place in (3, 4, 5) if nodes.began(place)]) == 2, "two cells to be under way")
    under_way = [pid for place in (3, 4, 5) for pid, _ in nodes.began(place)]
    first.kill()
    first.communicate()
    before = store.path.read_text()
    wait_for(lambda: not any(map(alive, under_way)), "the workers of a dead driver to end")
    nodes.release()
    second = start("auto")
    said, words = second.communicate(timeout=120)
    assert second.returncode == 0, words
    assert sorted(json.loads(line)["cell"]["s"] for line in said.splitlines()) == list(range(6))
    assert store.path.read_text().startswith(before)
    assert [len(nodes.began(place)) for place in (0, 1, 2)] == [1, 1, 1]


def test_what_no_machine_can_do_is_refused_before_anything_is_sent(nodes, options):
    for how in ({"gpus_per_cell": 0.25, "device": "auto"}, {"gpus_per_cell": 2, "device": "cuda"}):
        with pytest.raises(RuntimeError, match=r"no machine of the cluster has them \(1 cores, 0 cards"):
            studies.run(SLOW, **{**options, **how})
    assert not any(nodes.began(place) for place in range(6))


def test_a_worker_of_another_version_or_with_other_data_is_said():
    """Its row would not count here, and would be measured again by each run."""
    origin = {"version": 1, "data_checksum": "made", "code": "0.1.0"}
    row = {"cell": {"data": "gaussian", "s": 1}, "seed": 0, "metrics": {"recall": 1.0}, "provenance": origin}
    assert list(cluster._checked(SLOW, iter([row]), "0.1.0")) == [row]
    changed = {"version": 2}, {"checksum": lambda name: ("mine", "made")}
    for change, words in zip(
        changed, ("measures version 1 of made/slow, and here is version 2", "copy of"), strict=True
    ):
        with pytest.raises(RuntimeError, match=words):
            list(cluster._checked(dataclasses.replace(SLOW, **change), iter([row]), "0.1.0"))


def test_without_one_of_its_nodes_the_rest_is_measured(nodes, options):
    for place in range(6):
        nodes.say("hold", place)

    def remove():
        busy = wait_for(
            lambda: len(owners := {b for p in range(6) for b in nodes.began(p)}) == 2 and owners, "both nodes"
        )
        assert len({node for _, node in busy}) == 2
        nodes.ray.remove_node(nodes.second, allow_graceful=False)
        nodes.second = None
        wait_for(lambda: sum(alive(pid) for place in range(6) for pid, _ in nodes.began(place)) == 1, "one to end")
        nodes.release()

    with beside(remove):
        assert len(studies.run(SLOW, **options)) == 6
    assert sum(len(nodes.began(place)) for place in range(6)) == 7  # the lost node's cell once more


def test_folders_of_the_driver_are_taken_where_they_are_there_and_a_node_has_none_of_its_own(monkeypatch, tmp_path):
    """What a worker does first, here: its environment is put back by the fixture."""
    monkeypatch.setitem(registry.STUDIES, SLOW.id, SLOW)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    named = {"PRIVLAB_DATA": str(tmp_path / "there"), "PRIVLAB_CACHE": str(tmp_path / "no")}
    monkeypatch.setenv("PRIVLAB_DATA", "")
    monkeypatch.delenv("PRIVLAB_DATA")
    monkeypatch.delenv("PRIVLAB_CACHE")
    assert list(cluster._measure(SLOW.id, [], "cpu", {}, str(tmp_path / "there"), named)) == []
    assert os.environ["PRIVLAB_DATA"] == str(tmp_path / "there")
    assert "PRIVLAB_CACHE" not in os.environ
    assert Path.cwd() == tmp_path / "there"
    monkeypatch.setenv("PRIVLAB_DATA", "its own")
    list(cluster._measure(SLOW.id, [], "cpu", {}, "/no/where", named))
    assert os.environ["PRIVLAB_DATA"] == "its own"


def test_when_the_last_machine_is_lost_that_is_said_and_what_was_sent_is_taken_back():
    class Lost:
        """Ray, as it is when nobody is left: what is sent waits."""

        exceptions, sent, taken, how = ray.exceptions, [], [], {}

        def remote(self, *_arguments):
            self.sent.append(len(self.sent))
            return self if callable(_arguments[0]) else self.sent[-1]

        def options(self, **how):
            self.sent.clear()
            self.how.update(how)
            return self

        def wait(self, streams, timeout):
            return [], streams

        def nodes(self):
            return [{"Alive": False, "Resources": {"CPU": 4.0}}]

        def cancel(self, stream, force):
            self.taken.append(stream)

    groups = [[(cell, 0)] for cell in SLOW.cells("gaussian")]
    with pytest.raises(RuntimeError, match=r"a cell needs a core and 0\.25 of a card, and no machine .* \(none\)"):
        list(cluster._collected(Lost(), SLOW, groups, "cuda", 0.25, {}))
    assert Lost.how["num_gpus"] == 0.25
    assert Lost.taken == Lost.sent == list(range(6))


@pytest.mark.parametrize(
    ("address", "kind", "words"),
    [
        ("127.0.0.1:9", ConnectionError, "--ray 127.0.0.1:9: nothing answers there"),
        ("nowhere.invalid:6379", ConnectionError, "nothing answers there"),
        ("ray://127.0.0.1:10001", ValueError, "hand the command over with `ray job submit`"),
        ("head", ValueError, "ray='head' is no address; give HOST:PORT"),
        (":6379", ValueError, "is no address"),
    ],
)
def test_an_address_at_which_there_is_no_cluster(tmp_path, address, kind, words, monkeypatch):
    monkeypatch.setitem(registry.STUDIES, SLOW.id, SLOW)
    monkeypatch.setattr(ray, "init", lambda **_: pytest.fail("it was sent"))
    with pytest.raises(kind, match=words):
        studies.run(SLOW, device="cpu", ray=address, store=Store(SLOW, tmp_path), progress=False)


def test_no_cluster_on_this_machine_is_said(tmp_path, monkeypatch):
    def none(**_):
        raise ConnectionError("Could not find any running Ray instance.")

    monkeypatch.setitem(registry.STUDIES, SLOW.id, SLOW)
    monkeypatch.setattr(ray, "init", none)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(ConnectionError, match=r"--ray auto: no Ray cluster is found here; start one with `ray start"):
        studies.run(SLOW, device="cpu", ray="auto", store=Store(SLOW, tmp_path), progress=False)


@pytest.mark.parametrize(
    ("device", "gpus", "wanted"),
    [
        ("cpu", None, ("cpu", 0.0)),
        ("cuda", None, ("cuda", 1.0)),
        ("cuda:1", None, ("cuda", 1.0)),
        ("auto", 0.25, ("cuda", 0.25)),
        ("cuda", 2, ("cuda", 2)),
        ("cpu", 0.25, "leave device='cpu' out"),
        ("auto", 0, "gpus_per_cell=0 cannot be shared out; give a share in .0, 1., or a whole number"),
        ("auto", 1.5, "gpus_per_cell=1.5 cannot be shared out"),
        ("auto", float("nan"), "gpus_per_cell=nan cannot be shared out"),
    ],
)
def test_how_much_of_a_card_a_cell_holds(device, gpus, wanted):
    if isinstance(wanted, str):
        with pytest.raises(ValueError, match=wanted):
            cluster.needs(device, gpus)
    else:
        assert cluster.needs(device, gpus) == wanted


def test_a_share_of_a_card_belongs_to_a_cluster(tmp_path):
    with pytest.raises(ValueError, match=r"gpus_per_cell=0\.5 is for cells on a Ray cluster; name it with --ray"):
        studies.run(SLOW, gpus_per_cell=0.5, store=Store(SLOW, tmp_path), progress=False)
