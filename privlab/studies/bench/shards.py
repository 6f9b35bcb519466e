"""Parts of a study's grid, for the tasks of an array job that know nothing of one another."""

import re
import zlib
from collections.abc import Hashable, Sequence

from privlab.studies.bench.study import Cell, Study, alone, cell_key

Task = tuple[Cell, int]


def numbers(shard: str) -> tuple[int, int]:
    """Of `2/8` the number 2 and the count 8. Raises ValueError for what is no such part."""
    found = re.fullmatch(r"(\d+)/(\d+)", str(shard).strip())
    if not found:
        raise ValueError(f"shard={shard!r} names no part; write I/N, as in 2/8 for the second part of eight")
    number, count = map(int, found.groups())
    if not 1 <= number <= count:
        allowed = f"1/{count} to {count}/{count}" if count else "1/N to N/N, where N is the number of parts"
        raise ValueError(f"shard={shard!r} is none of the parts; they go from {allowed}")
    return number, count


def shared(study: Study, cell: Cell) -> Hashable:
    """What cells have in common that must be measured one after the other in one process, since they share draws."""
    return cell_key(cell) if study.together is alone else study.together(cell)


def part(study: Study, grid: Sequence[Task], shard: str) -> list[Task]:
    """One part of a grid, as `numbers` reads it; of all parts each task is in one.

    It depends on the grid alone, not on what is stored, so that parts that are begun at different times do not overlap.
    Tasks that share random draws stay together. As far as these allow, the parts differ by one task. Which tasks a part
    has follows from their checksums, so that not every costly one is in the same part. There may be more parts than
    tasks; some are then empty. Raises ValueError for what is no part.
    """
    number, count = numbers(shard)
    units: dict[Hashable, list[int]] = {}
    for place, (cell, seed) in enumerate(grid):
        units.setdefault((shared(study, cell), seed), []).append(place)

    def order(unit: list[int]) -> tuple[int, int]:
        cell, seed = grid[unit[0]]
        return -len(unit), zlib.crc32(f"{cell_key(cell)} {seed}".encode())

    sizes, mine = [0] * count, []
    for unit in sorted(units.values(), key=order):
        least = sizes.index(min(sizes))
        sizes[least] += len(unit)
        mine += unit if least == number - 1 else []
    return [grid[place] for place in sorted(mine)]
