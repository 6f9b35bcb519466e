"""What a folder or a zip holds, under the same names on every system. Nothing in a zip is written to the disk."""

import contextlib
import functools
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from privlab.data.names import tidy
from privlab.data.reading import reading, starts_as

# What Pillow reads without another program's help.
_FORMATS = ["PNG", "JPEG", "MPO", "BMP", "DIB", "GIF", "TIFF", "WEBP", "AVIF"]
_FORMATS += ["JPEG2000", "PPM", "TGA", "PCX", "SGI", "ICO", "QOI"]
_SYSTEM = {"thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "__macosx", "lost+found", "$recycle.bin", "icon\r"}
_SYSTEM |= {"system volume information", "#recycle", "@recycle", "__pycache__"}
Read = Callable[[], bytes]


@functools.lru_cache(maxsize=1)
def formats() -> tuple[str, ...]:
    """Pillow's names of the formats that are read; its build may lack some."""
    Image.init()
    return tuple(kind for kind in _FORMATS if kind in Image.OPEN)


@functools.lru_cache(maxsize=1)
def _suffixes() -> frozenset[str]:
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in _FORMATS)


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in _suffixes()


def _is_hidden(name: str) -> bool:
    """Of the system or an editor rather than of the user: `.ipynb_checkpoints`, `._1.png`, `Thumbs.db`, `__MACOSX`."""
    return any(part.startswith(".") or part.lower() in _SYSTEM for part in name.split("/") if part)


@dataclass
class Tree:
    """What a folder or zip holds, hidden things left out: how each file is read, by its path, and all folders."""

    files: dict[str, Read] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)

    def add(self, name: str, read: Read | None) -> None:
        """Add a file, or without `read` a folder."""
        name = tidy(name)
        if name and not _is_hidden(name):
            *above, _ = name.split("/")
            self.folders |= {"/".join(above[: i + 1]) for i in range(len(above))}
            if read is None:
                self.folders.add(name)
            else:
                self.files[name] = read

    @property
    def pictures(self) -> list[str]:
        """The files whose suffix is that of a picture, by name."""
        return sorted(name for name in self.files if _is_picture(name))


def _of_folder(path: Path) -> Tree:
    tree = Tree()

    def refuse(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(path, onerror=refuse, followlinks=True):
        here = os.path.realpath(place)  # a link to a folder that it lies in would go round for ever
        folders[:] = [name for name in folders if not Path(here).is_relative_to(os.path.realpath(Path(place, name)))]
        for name in folders + files:
            full = Path(place, name)
            if name in folders or full.is_file() or full.is_symlink():  # no pipe or device, which can be read for ever
                read = None if name in folders else full.read_bytes
                tree.add(full.relative_to(path).as_posix(), read)
    return tree


def _of_zip(archive: zipfile.ZipFile) -> Tree:
    """Names as any system writes them: Windows' backslashes, and UTF-8 that does not say so; `..` leads nowhere."""
    tree = Tree()
    for member in archive.infolist():
        name = member.filename
        if not member.flag_bits & 0x800:
            try:
                name = name.encode("cp437").decode("utf-8")
            except UnicodeError:
                name = member.filename
        name = name.replace("\\", "/")
        parts = [part for part in name.split("/") if part not in ("", ".", "..") and not part.endswith(":")]
        tree.add("/".join(parts), None if name.endswith("/") else functools.partial(archive.read, member))
    return tree


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Tree]:
    """The tree of a folder or a zip, whose files can be read while it is open.

    Raises ValueError or an OSError, beginning with the path, where it cannot be read.
    """
    with contextlib.ExitStack() as stack:
        with reading(path):
            if path.is_dir():
                tree = _of_folder(path)
            else:
                with path.open("rb") as file:
                    if said := starts_as(file.read(200)):
                        raise ValueError(f"{path} {said}")
                tree = _of_zip(stack.enter_context(zipfile.ZipFile(path)))
        yield tree
