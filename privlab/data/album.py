"""Photographs of one's own with whose they are: a folder and a table, as copies of PIPA and OpenImages come."""

import csv
import datetime
import io
import itertools
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath

import numpy as np

from privlab import checks
from privlab.data import arrays, embedded, loading, pictures
from privlab.data.dataset import Dataset
from privlab.data.names import in_order, tidy
from privlab.data.reading import reading, starts_as
from privlab.data.sums import Found
from privlab.data.tree import opened

_NEEDED, _OPTIONAL = ("file", "user", "labels"), ("album", "date")
_DATE = re.compile(r"(\d{4})([-:])(\d\d)\2(\d\d)(?:[ T](\d\d):(\d\d)(?::(\d\d))?)?", re.ASCII)


def albums(
    folder: str | os.PathLike[str],
    table: str | os.PathLike[str],
    split: str = "train",
    *,
    size: int = 224,
    channels: int | None = None,
) -> Dataset:
    """Pictures with their users, albums and dates: a folder (or zip) of pictures, and a CSV with a row for each.

    The CSV's first line is `file,user,album,date,labels`, in any order; album and date may be left out. `file` is a
    path inside the folder. `labels` are separated by `;`, and may be none. A date is `2015-03-01`, `2015-03-01 12:30`
    or `2015-03-01T12:30:00`, or as cameras write it `2015:03:01 12:30:00`; it counts as UTC.
    Returns labels int64 `(N, K)` of zeros and ones; users and sessions (the albums), numbered from 0 in the order of
    `names.in_order`, as the classes are; times in seconds since 1970; pixels of the side `size`, read as
    `pictures.images` does. `split` is what the whole is called. Pictures without a row are left out, with a warning.
    Raises ValueError for a table or a picture that cannot be read, a column, value or picture that is missing, one that
    is named twice or lies outside the folder, and another date.
    Source of the two sets: Zhang et al. 2015 (PIPA), Kuznetsova et al. 2020 (OpenImages).
    """
    checks.one_of("split", split, arrays.SPLITS)
    loading.check(size, channels)
    folder, table = Path(folder).expanduser(), Path(table).expanduser()
    columns = _columns(table)
    files = [_place(table, name) for name in columns["file"]]
    if twice := [name for name, count in Counter(files).items() if count > 1]:
        raise ValueError(f"{table} names pictures more than once: {pictures.some(twice)}; keep one row of each")
    given = [[label.strip() for label in cell.split(";") if label.strip()] for cell in columns["labels"]]
    classes = tuple(in_order(itertools.chain.from_iterable(given)))
    if not classes:
        raise ValueError(f"{table} gives no picture a label; write some into its column labels, separated by ;")
    labels = np.array([[name in own for name in classes] for own in given], np.int64)
    about = {"users": _numbered(columns["user"])}
    if "album" in columns:
        about["sessions"] = _numbered(columns["album"])
    if "date" in columns:
        about["times"] = np.array([_seconds(table, *each) for each in zip(files, columns["date"], strict=True)])
    with opened(folder) as tree:
        if absent := [name for name in files if name not in tree.files]:
            missing = f"{len(absent)} of the {len(files)} pictures that {table} names: {pictures.some(absent)}"
            raise ValueError(f"{folder} lacks {missing}; add them, or take their rows out")
        others = {f"pictures without a row in {table.name}, left out": sorted(set(tree.pictures) - set(files))}
        images = pictures.pixels(folder, tree, files, size, channels, others)
    found = Found(folder, embedded.checksum(images, labels, *about.values()), "local copy")
    return loading.dataset(folder.stem, split, images, labels, classes, about, [found])


def _columns(table: Path) -> dict[str, list[str]]:
    """The columns of a CSV by name, each value without blanks around it."""
    with reading(table):
        raw = table.read_bytes()
        if said := starts_as(raw):
            raise ValueError(f"{table} {said}")
        reader = csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline=""))
        lines = [(reader.line_num, [cell.strip() for cell in line]) for line in reader if any(map(str.strip, line))]
    head = [name.lower() for name in lines[0][1]] if lines else []
    if absent := [name for name in _NEEDED if name not in head]:
        has = f"has no column {' and no '.join(absent)}; its first line is {', '.join(head) or 'empty'}"
        raise ValueError(f"{table} {has}; give it {', '.join(_NEEDED)}, and {' and '.join(_OPTIONAL)} where known")
    if len(lines) == 1:
        raise ValueError(f"{table} has no row below its first line; give one for each picture")
    for number, line in lines:
        if len(line) != len(head):
            wrong = f"has {len(line)} columns in its line {number}, and {len(head)} in its first one"
            raise ValueError(f"{table} {wrong}; put what holds a comma in quotes")
        if empty := [name for name, value in zip(head, line, strict=True) if not value and name != "labels"]:
            raise ValueError(f"{table} has no {empty[0]} in its line {number}; add it, or take the line or column out")
    return {name: [line[place] for _, line in lines[1:]] for place, name in enumerate(head)}


def _place(table: Path, name: str) -> str:
    """A picture's path as `Tree` has it. Raises ValueError where it leads out of the folder, on any system."""
    path = PureWindowsPath(tidy(name))
    if path.anchor or ".." in path.parts:
        given = f"{table} names {name!r}, which may lie outside the folder"
        raise ValueError(f"{given}; give paths inside it, like a/1.jpg")
    return path.as_posix()


def _numbered(names: Sequence[str]) -> np.ndarray:
    """The number of each name, int64 `(N,)`, from 0 in the order of `names.in_order`."""
    place = {name: number for number, name in enumerate(in_order(names))}
    return np.array([place[name] for name in names], np.int64)


def _seconds(table: Path, name: str, date: str) -> int:
    """A date in seconds since 1970."""
    found = _DATE.fullmatch(date)
    try:
        parts = [int(part or 0) for part in found.group(1, 3, 4, 5, 6, 7)] if found else [0] * 6  # there is no year 0
        return int(datetime.datetime(*parts, tzinfo=datetime.UTC).timestamp())  # type: ignore[misc, arg-type]
    except ValueError as error:
        forms = "2015-03-01, 2015-03-01 12:30, 2015-03-01T12:30:00 or, as cameras do, 2015:03:01 12:30:00"
        raise ValueError(f"{table} gives {name} the date {date!r}; write {forms}") from error
