"""Where a study is measured."""

import os

import torch


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
