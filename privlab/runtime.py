"""Where and how to compute: device, seeds, profile."""

import os
import time
import zlib
from collections.abc import Callable

import numpy as np
import torch

from privlab import checks

PROFILES = ("fast", "real", "paper")


def device(name: str = "auto") -> torch.device:
    """The device called `name`; `auto` takes PRIVLAB_DEVICE, else a CUDA card if there is one, else the CPU.

    Raises ValueError for a name torch does not know and RuntimeError for a card that is not there.
    """
    given = "device"
    if name == "auto" and os.environ.get("PRIVLAB_DEVICE"):
        given, name = "PRIVLAB_DEVICE", os.environ["PRIVLAB_DEVICE"]
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        chosen = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"{given}={name!r} is not known to torch; use cpu, cuda or cuda:0") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(f"{given}={name!r}: torch sees no CUDA card here; use --device cpu")
    if chosen.type == "cuda" and 0 < torch.cuda.device_count() <= (chosen.index or 0):
        raise RuntimeError(f"{given}={name!r}: the last card here is cuda:{torch.cuda.device_count() - 1}")
    if chosen.type not in ("cpu", "cuda", "mps") or (chosen.type == "mps" and not torch.backends.mps.is_available()):
        raise ValueError(f"{given}={name!r} cannot compute here; use cpu, cuda or cuda:0")
    return chosen


def generator(seed: int | torch.Generator) -> torch.Generator:
    """A CPU generator for `seed`; a generator is handed back as it is.

    Random numbers are drawn on the CPU and then moved, so that a seed means the same on every device.
    """
    if isinstance(seed, torch.Generator):
        return seed
    checks.whole("seed", seed, low=0)
    return torch.Generator().manual_seed(int(seed))


def derive(seed: int, *purpose: object) -> int:
    """A seed for one `purpose`, independent of the seeds for other purposes.

    >>> derive(0, "weights") == derive(0, "weights"), derive(0, "weights") == derive(0, "batch")
    (True, False)
    """
    checks.whole("seed", seed, low=0)
    words = [zlib.crc32(str(word).encode()) for word in purpose]
    return int(np.random.SeedSequence([seed, *words]).generate_state(1, np.uint64)[0] >> 1)


def profile(name: str | None = None) -> str:
    """The profile to run: `name`, else PRIVLAB_PROFILE, else `fast`.

    fast: embedded data, two cores, no network. real: real data, under 30 CPU-minutes a study.
    paper: the paper's data, sizes and repetitions.
    """
    given = os.environ.get("PRIVLAB_PROFILE")
    chosen = name or given or "fast"
    checks.one_of("profile" if name else "PRIVLAB_PROFILE", chosen, PROFILES)
    return chosen


def stopwatch() -> Callable[[], float]:
    """Begin to count; call what it returns for the seconds of this process's CPU time since then.

    CPU time, since a machine's other work does not lengthen it. A GPU that is still computing is not waited for.
    """
    start = time.process_time()
    return lambda: time.process_time() - start
