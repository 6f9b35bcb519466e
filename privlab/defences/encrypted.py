"""Sums under encryption, by the libraries that do it: TenSEAL's CKKS, and MPyC's processes that compute on shares.

Acts on the release, as `secure_sum` does. Needs `pip install 'privlab[encrypt]'`.
Source: Cheon et al. 2017 (CKKS); Schoenmakers 2018 (MPyC).
"""

import importlib
import importlib.util
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from privlab import checks

# For sums alone one level is enough. 4096 with 108 bits of modulus is safe at 128 bits (standard of 2018, table 1).
DEGREE, MODULI, SCALE = 4096, (54, 54), 2.0**40
SLOTS = DEGREE // 2  # numbers in a ciphertext
ROOM = 2.0**12  # sums of scaled numbers stay below this: half of what 54 bits hold at that scale


@dataclass(frozen=True)
class EncryptedSum:
    """total: the sum, of the vectors' type. received: of each client what the server has, its ciphertexts as bytes."""

    total: Tensor
    received: Sequence[Sequence[bytes]]

    @property
    def bytes(self) -> int:
        """What one client sends, the largest of them."""
        return max(sum(map(len, each)) for each in self.received)


@dataclass(frozen=True)
class Computed:
    """results: of each party, what it saved as its result. bytes: the most that one party sent. seconds: the longest.

    Both are as MPyC counts them: without the start of the processes.
    """

    results: Sequence[np.ndarray]
    bytes: int
    seconds: float


def ckks_sum(vectors: Sequence[Tensor], *, bound: float = 1.0) -> EncryptedSum:
    """Sum clients' vectors `(L,)` as CKKS ciphertexts: the clients hold the key, and the server adds without it.

    bound: the largest magnitude that a number may have, on which all agree beforehand: it is scaled to 1. The error of
    a sum of n is at most n x bound x 1e-7, however small the numbers are. Raises ValueError for vectors of other
    shapes, numbers beyond the bound, or more clients than the sum has room for; ImportError without TenSEAL.
    """
    checks.number("bound", bound, 0, open_low=True)
    ts = _library("tenseal")
    if not vectors or len({each.shape for each in vectors}) > 1 or vectors[0].dim() != 1 or not len(vectors[0]):
        shapes = ", ".join(str(tuple(each.shape)) for each in vectors) or "none"
        raise ValueError(f"the vectors are {shapes}; give one vector (L,) of a client, all of one length")
    checks.whole("clients", len(vectors), 1, int(ROOM))
    for number, each in enumerate(vectors):
        if not each.abs().max() <= bound:  # also catches NaN
            raise ValueError(f"client {number} has a number of {each.abs().max():g}, beyond bound={bound:g}; clip it")
    theirs = ts.context(ts.SCHEME_TYPE.CKKS, DEGREE, coeff_mod_bit_sizes=list(MODULI))
    theirs.global_scale = SCALE
    public = theirs.copy()
    public.make_context_public()  # what the server is given: no secret key
    scaled = [(each.detach().double() / bound).split(SLOTS) for each in vectors]
    received = [[ts.ckks_vector(theirs, part.tolist()).serialize() for part in each] for each in scaled]
    sums = [ts.ckks_vector_from(public, part) for part in received[0]]
    for one in received[1:]:
        sums = [total + ts.ckks_vector_from(public, part) for total, part in zip(sums, one, strict=True)]
    opened = [number for part in sums for number in ts.ckks_vector_from(theirs, part.serialize()).decrypt()]
    total = torch.tensor(opened, dtype=torch.float64) * bound
    return EncryptedSum(total.to(vectors[0]), received)


def parties(program: str, inputs: Sequence[np.ndarray], *, timeout: float = 60) -> Computed:
    """Run an MPyC program as one process for each of the inputs, all on this machine; each reads its own input alone.

    program: Python, which reads its input by `np.load(f"input{mpc.pid}.npy")` and saves what it learns by
    `np.save(f"result{mpc.pid}.npy", ...)`. It runs in a folder that is taken away afterwards. Its processes end with
    this call, also when it is interrupted. Raises ImportError without MPyC, TimeoutError after so many seconds, and
    RuntimeError, with what was printed, if a process fails.
    """
    if importlib.util.find_spec("mpyc") is None:  # to import it here would read this program's arguments
        _library("mpyc")
    checks.number("timeout", timeout, 0, open_low=True)
    if not inputs:
        raise ValueError("there are no inputs; give one array a party")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "program.py").write_text(program)
        for number, each in enumerate(inputs):
            np.save(folder / f"input{number}.npy", np.asarray(each))
        printed = _run(folder, len(inputs), timeout)
        results = [np.load(folder / f"result{number}.npy") for number in range(len(inputs))]
    told = [re.findall(r"elapsed time: (\d+):(\d+):([\d.]+)\|bytes sent: (\d+)", text)[-1] for text in printed]
    seconds = [int(hours) * 3600 + int(minutes) * 60 + float(rest) for hours, minutes, rest, _ in told]
    return Computed(results, max(int(sent) for *_, sent in told), max(seconds))


def _run(folder: Path, count: int, timeout: float) -> list[str]:
    """Run the program as so many parties; what each of them printed."""
    addresses = [word for port in _free_ports(count) for word in ("-P", f"localhost:{port}")]
    logs = [folder / f"printed{number}.txt" for number in range(count)]
    running = []
    try:
        for number, log in enumerate(logs):
            command = [sys.executable, "program.py", *addresses, "-I", str(number)]
            with log.open("w") as file:
                running.append(subprocess.Popen(command, cwd=folder, stdout=file, stderr=file))
        end = time.monotonic() + timeout
        while any(each.poll() is None for each in running) and not any(each.poll() for each in running):
            if time.monotonic() > end:
                raise TimeoutError(f"the parties did not end in {timeout:g} seconds; give more, or less to compute")
            time.sleep(0.02)
        failed = [log.read_text() for log, each in zip(logs, running, strict=True) if each.returncode]
        if failed:
            raise RuntimeError(f"a party failed:\n{failed[0].strip()}")
        return [log.read_text() for log in logs]
    finally:
        for each in running:
            each.kill()
            each.wait()


def _free_ports(count: int) -> list[int]:
    """Ports on which nobody listens now."""
    sockets = [socket.create_server(("localhost", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _library(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{name} is not installed; run pip install 'privlab[encrypt]'") from error
