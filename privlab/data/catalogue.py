"""The data sets that `load` knows by name: files, addresses, checksums, licences. They stand in catalogue.toml."""

import tomllib
from dataclasses import dataclass
from importlib import resources
from typing import Any

from medmnist import INFO


@dataclass(frozen=True)
class File:
    """One published file: where it lies in a data folder, its address, its checksum (`md5:...`).

    Of a file that nobody publishes address and checksum are empty, and its `Entry` says in `made` how it comes about.
    """

    path: str
    url: str
    checksum: str
    megabytes: float


@dataclass(frozen=True)
class Entry:
    """One data set. `kind` says which reader opens it; `stands_for` names the real set an embedded one replaces.

    examples: how many its training split holds as published; 0 where that is not known.
    sizes: the sides in pixels that it comes in; none for text, and for pictures of any size.
    several: whether an image has several labels.
    made: how one comes by files that have no address, as the end of a sentence.
    """

    name: str
    title: str
    kind: str
    classes: tuple[str, ...]
    licence: str
    stand_in: str
    files: tuple[File, ...] = ()
    stands_for: str = ""
    examples: int = 0
    sizes: tuple[int, ...] = ()
    several: bool = False
    made: str = ""

    @property
    def embedded(self) -> bool:
        return self.kind == "embedded"

    @property
    def megabytes(self) -> float:
        return sum(file.megabytes for file in self.files)


def _published() -> list[Entry]:
    """What stands in catalogue.toml."""
    held = tomllib.loads(resources.files("privlab.data").joinpath("catalogue.toml").read_text("utf-8"))
    files = {each["path"]: File(**each) for each in held["file"]}
    entries = []
    for each in held["entry"]:
        classes = each["classes"]
        if isinstance(classes, dict):
            classes = [f"{classes['numbered']} {number}" for number in range(classes["count"])]
        own = tuple(files[path] for path in each.get("files", ()))
        entries.append(Entry(**each | {"classes": tuple(classes), "files": own, "sizes": tuple(each.get("sizes", ()))}))
    return entries


_MEDMNIST_SIZES = (28, 64, 128, 224)


def _medmnist() -> list[Entry]:
    entries = []
    for flag, info in INFO.items():
        if flag.endswith("3d"):
            continue
        stand_in = "digits" if info["n_channels"] == 1 else "patches"
        of_all: dict[str, Any] = {"kind": "npz", "classes": tuple(info["label"].values()), "licence": info["license"]}
        of_all |= {"stand_in": stand_in, "examples": info["n_samples"]["train"]}
        of_all |= {"several": info["task"].startswith("multi-label")}
        pixels = sum(info["n_samples"].values()) * info["n_channels"]
        for size in _MEDMNIST_SIZES:
            ending = "" if size == 28 else f"_{size}"
            name = flag if size == 28 else f"{flag}-{size}"
            megabytes = round(pixels * size**2 / 1.4e6, 1)  # their archives compress pixels by about 1.4
            file = File(f"{flag}{ending}.npz", info[f"url{ending}"], f"md5:{info[f'MD5{ending}']}", megabytes)
            sizes = _MEDMNIST_SIZES if size == 28 else (size,)
            entries.append(Entry(name, f"{flag}, {size}x{size}", files=(file,), sizes=sizes, **of_all))
    return entries


CATALOGUE: dict[str, Entry] = {entry.name: entry for entry in [*_published(), *_medmnist()]}
