"""Flower as it is deployed: a SuperLink and SuperNodes as processes, here on loopback."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import psutil

from privlab import checks

_APP = Path(__file__).parent / "app"
_START = 60.0  # seconds that a process has to start


def write_app(folder: str | Path) -> Path:
    """Write the Flower app whose server attacks into `folder`, to be read, changed and run; returns its path.

    Raises FileExistsError where the folder holds something already.
    """
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; give a new folder for the app")
    shutil.copytree(_APP, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


class Deployment:
    """A SuperLink and `nodes` SuperNodes as processes on this machine, which end with the `with` block.

    folder: for their logs, and all that Flower writes. port: the SuperLink's, a free one by default. Node i has
    partition i. What it starts is what stands in the chapter, command by command; none of it is encrypted.
    Raises OSError for a port in use, RuntimeError with its last lines for a process that does not start.
    """

    def __init__(self, folder: str | Path, nodes: int = 3, *, port: int | None = None) -> None:
        checks.whole("nodes", nodes)
        self.folder = Path(folder).resolve()
        self.port = _free() if port is None else _checked(port)
        self.address = f"127.0.0.1:{self.port}"
        self.nodes = nodes
        self.ids: dict[int, int] = {}  # Flower's number of the node of each partition
        self._running: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> Self:
        home = self.folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        (home / "config.toml").write_text(
            f'[superlink]\ndefault = "loop"\n\n[superlink.loop]\naddress = "{self.address}"\ninsecure = true\n'
        )
        try:
            self.start_link()
            for part in range(self.nodes):
                self._start_node(part)
            for part in range(self.nodes):
                log = self._wait(f"node-{part}", "SuperNode ID: ")
                self.ids[part] = int(log.split("SuperNode ID: ")[-1].split()[0])
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start_link(self) -> None:
        """Start the SuperLink, anew where it was killed: it knows its nodes from its file, and they come back to it."""
        options = [
            "--database",
            str(self.folder / "link.db"),
            "--insecure",
            "--disable-runtime-dependency-installation",
            "--host",
            "127.0.0.1",
        ]
        self._start("link", "flower-superlink", *options, "--port", str(self.port))
        self._wait("link", "Uvicorn running")

    def _start_node(self, part: int) -> None:
        own = f"partition-id={part} num-partitions={self.nodes}"
        options = ["--insecure", "--superlink", self.address, "--host", "127.0.0.1", "--port", str(_free())]
        self._start(f"node-{part}", "flower-supernode", *options, "--node-config", own)

    def run(self, app: str | Path, *, patience: float = 300, **config: object) -> str:
        """`flwr run` an app, and wait for it; returns its log. config: what to change in its configuration.

        Raises RuntimeError with the log's last lines where the run fails, TimeoutError where it takes longer than
        `patience` seconds.
        """
        self.submit(app, **config)
        return self.wait(patience)

    def submit(self, app: str | Path, **config: object) -> None:
        """`flwr run` an app, and do not wait for it."""
        given = " ".join(f"{name}={_written(value)}" for name, value in config.items())
        extra = ["--run-config", given] if given else []
        self._start("run", "flwr", "run", str(Path(app).resolve()), "loop", "--stream", *extra)

    def wait(self, patience: float = 300) -> str:
        """Until the run that was submitted ends; returns its log. Raises as `run` does."""
        process = self._running["run"]
        try:
            process.wait(patience)
        except subprocess.TimeoutExpired:
            self.kill("run")
            said = self.log("run")[-500:]
            raise TimeoutError(f"the run took longer than {patience:g} seconds; its log ends with: {said}") from None
        log = self.log("run")
        if process.returncode or "ERROR" in log:
            raise RuntimeError(f"the run failed; its log ends with: {log[-1500:]}")
        return log

    def kill(self, name: str) -> None:
        """End `link`, `run` or `node-0` at once, with all that it started, as a power cut does."""
        checks.one_of("name", name, self._running)
        _end([self._running.pop(name)], patience=0)

    def log(self, name: str) -> str:
        """What a process has said so far."""
        path = self.folder / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> None:
        """End every process, and what they started."""
        _end(list(self._running.values()), patience=10)
        self._running.clear()

    def _start(self, name: str, program: str, *options: str) -> None:
        tools = Path(sys.executable).parent
        quiet = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONUNBUFFERED": "1"}
        path = os.pathsep.join([str(tools), os.environ.get("PATH", "")])
        with (self.folder / f"{name}.log").open("w") as log:
            self._running[name] = subprocess.Popen(
                [str(tools / program), *options],
                cwd=self.folder,
                env={**os.environ, **quiet, **self._places(), "PATH": path},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _places(self) -> dict[str, str]:
        """Where Flower, and torch in its processes, write: inside the folder alone."""
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        return {"FLWR_HOME": str(self.folder / "home"), "TMPDIR": str(scratch)}

    def _wait(self, name: str, said: str) -> str:
        until = time.monotonic() + _START
        while said not in (log := self.log(name)):
            if self._running[name].poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"{name} did not start; its log ends with: {log[-1500:] or '(nothing)'}")
            time.sleep(0.1)
        return log


def _end(started: Sequence[subprocess.Popen], patience: float) -> None:
    """End processes and all that they started: asked first, where there is patience, then at once."""
    family = []
    for process in started:
        with contextlib.suppress(psutil.NoSuchProcess):
            head = psutil.Process(process.pid)
            family += [head, *head.children(recursive=True)]
    for how in ("terminate", "kill") if patience else ("kill",):
        for each in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                getattr(each, how)()
        psutil.wait_procs(family, patience or 10)
    for process in started:
        process.wait()


def _free() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _checked(port: int) -> int:
    checks.whole("port", port, 1, 65535)
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            raise OSError(
                f"port {port} is in use or not to be had ({error}); choose another, or leave port out"
            ) from None
    return port


def _written(value: object) -> str:
    return f'"{value}"' if isinstance(value, str | Path) else str(value).lower()
