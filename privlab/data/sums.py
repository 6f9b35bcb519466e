"""Is a file the one it should be? Checksums, the publisher's and those of a folder's own SHA256SUMS."""

import codecs
import functools
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from privlab.data.reading import reading

_NAME = "SHA256SUMS"
# `HEX  NAME` and `HEX *NAME` of sha256sum, `SHA256 (NAME) = HEX` of BSD and OpenSSL.
_GNU = re.compile(r"(?P<escaped>\\?)(?P<hex>[0-9a-fA-F]{64})\s+\*?(?P<name>.+)")
_BSD = re.compile(r"SHA(2-)?256 ?\((?P<name>.+)\) ?= ?(?P<hex>[0-9a-fA-F]{64})")


@dataclass(frozen=True)
class Found:
    """A checked file: where it lies, its SHA-256 (empty for a folder), and `publisher` or `local copy`."""

    path: Path
    sha256: str
    source: str


@functools.lru_cache(maxsize=256)
def _digest(path: Path, algorithm: str, size: int, modified: int) -> str:
    with reading(path), path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def digest(path: Path, algorithm: str = "sha256") -> str:
    """The checksum of a file, computed once as long as the file does not change."""
    state = path.stat()
    return _digest(path, algorithm, state.st_size, state.st_mtime_ns)


def listed(folder: Path) -> dict[str, str]:
    """The folder's own SHA256SUMS, path -> checksum in small letters; empty if it has none.

    Understood are the lines of sha256sum, BSD and OpenSSL, in any case, with `./` or backslashes, in UTF-8 or UTF-16;
    empty lines and those that begin with `#` are left out. Raises ValueError, with the file and the line, for any other
    line, and for two checksums of one file: a check must not pass what it cannot read.
    """
    place = folder / _NAME
    if not (place.exists() or place.is_symlink()):
        return {}
    found: dict[str, str] = {}
    for number, line in enumerate(_text(place).splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        match = _GNU.fullmatch(line) or _BSD.fullmatch(line)
        if not match:
            given = f"{place}, line {number}: {line[:80]!r} is no SHA-256 of a file"
            raise ValueError(f"{given}; write 64 hexadecimal digits, two spaces and the file's name, as sha256sum does")
        name = re.sub(r"\\+", "/", match["name"].strip())
        name = re.sub(r"^(\./)+", "", name).removeprefix(f"{folder.as_posix()}/")
        value = match["hex"].lower()
        if found.setdefault(name, value) != value:
            raise ValueError(f"{place}, line {number}: another checksum of {name} stands above; keep one of them")
    return found


def _text(place: Path) -> str:
    with reading(place):
        raw = place.read_bytes()
    encoding = "utf-16" if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(f"{place} is not text ({error}); write it anew with sha256sum") from error


def check(path: Path, *, published: str = "", folder: Path | None = None) -> Found:
    """Check a file against the SHA256SUMS of `folder`, else against the publisher's checksum (`md5:...`).

    A file of one's own that SHA256SUMS does not list is taken as it is; a folder is checked file by file, as far as it
    is listed. Raises ValueError with both checksums for an altered file, which is left where it is.
    """
    own = listed(folder) if folder else {}
    place = path.relative_to(folder).as_posix() if folder else ""
    if path.is_dir():
        for name, value in own.items():
            if name.startswith(f"{place}/") and folder:
                _same(folder / name, value)
        return Found(path, "", "local copy")
    actual = digest(path)
    algorithm, _, wanted = published.partition(":")
    is_published = bool(wanted) and digest(path, algorithm) == wanted
    if entry := _entry(own, place, folder):
        _same(path, entry)
    elif wanted and not is_published:
        raise ValueError(_altered(path, published, f"{algorithm}:{digest(path, algorithm)}", "the publisher"))
    return Found(path, actual, "publisher" if is_published else "local copy")


def _entry(own: dict[str, str], place: str, folder: Path | None) -> str | None:
    """The checksum of a file; its name may begin with folders above, where the list was made from there."""
    above = (name for name in own if name.endswith(f"/{place}") and folder and not (folder / name).exists())
    return own.get(place) or own.get(next(above, ""))


def _same(path: Path, wanted: str) -> None:
    if not path.is_file():
        raise ValueError(f"{path} is listed in the folder's {_NAME}, and is not there; add it, or take its line out")
    if digest(path) != wanted:
        raise ValueError(_altered(path, f"sha256:{wanted}", f"sha256:{digest(path)}", f"the folder's {_NAME}"))


def _altered(path: Path, wanted: str, actual: str, who: str) -> str:
    given = f"{path} is not the file that {who} describes: expected {wanted}, got {actual}. It was left as it is"
    copy = f"list a copy you trust in a {_NAME} in the folder of PRIVLAB_DATA"
    return f"{given}; delete it and fetch it again, or {copy}."
