"""How to compute: seeds, profile, seconds."""

import os
import time
import zlib
from collections.abc import Callable

import numpy as np
import torch

from privlab import checks

PROFILES = ("fast", "real", "paper")


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
    chosen = name or os.environ.get("PRIVLAB_PROFILE") or "fast"
    checks.one_of("profile" if name else "PRIVLAB_PROFILE", chosen, PROFILES)
    return chosen


def stopwatch() -> Callable[[], float]:
    """Begin to count; call what it returns for the seconds of this process's CPU time since then.

    CPU time, since a machine's other work does not lengthen it. A GPU that is still computing is not waited for.
    """
    start = time.process_time()
    return lambda: time.process_time() - start
