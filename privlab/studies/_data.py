"""What the studies of all papers share: data sets, kept between cells."""

import functools
from typing import Any

from privlab import data


@functools.lru_cache(maxsize=2)
def dataset(name: str) -> Any:
    """The training split of a data set: a `Dataset`, or a `Text`."""
    return data.load(name)


@functools.lru_cache(maxsize=32)
def checksum(name: str) -> tuple[str, str]:
    """Checksum and source of a data set, never downloading it."""
    return data.fingerprint(name)
