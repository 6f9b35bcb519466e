"""What can go wrong while a user's file is read, in one sentence that begins with the file's name."""

import contextlib
import gzip
import lzma
import struct
import sys
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image, UnidentifiedImageError

_HERE = __name__.rpartition(".")[0]
_CUT = (EOFError, zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, struct.error)
_STARTS = {
    b"": "is empty (0 bytes); fetch it again",
    b"<": "holds a page or a drawing in XML rather than data; fetch it again from where it really lies",
    b"version https://git-lfs": "is a pointer of Git LFS; run `git lfs pull` where it came from",
}


def starts_as(raw: bytes) -> str:
    """What the first bytes of a file say where they are none of its kind; empty where they say nothing."""
    head = raw[:200].removeprefix(b"\xef\xbb\xbf").lstrip()
    for start, words in reversed(_STARTS.items()):
        if head.startswith(start) if start else not raw:
            return words
    return ""


def reason(error: BaseException) -> str:
    """Why a file could not be read, and what to do, as the end of a sentence that begins with its name."""
    words = str(error) or type(error).__name__
    if isinstance(error, PermissionError):
        return "may not be read by you; change its permissions"
    if isinstance(error, FileNotFoundError):
        return "is not there, or is a link to nothing; remove it or mend the link"
    if isinstance(error, IsADirectoryError):
        return "is a folder; give a file"
    if isinstance(error, MemoryError):
        return "needs more memory than there is; make it smaller"
    if isinstance(error, Image.DecompressionBombError):
        return f"is larger than is safe to open ({words}); make it smaller"
    if isinstance(error, UnidentifiedImageError):
        return "is no picture that Pillow can open; convert it to PNG, or remove it"
    if isinstance(error, RuntimeError) and ("encrypted" in words or "password" in words.lower()):
        return "is encrypted; unpack it yourself and load the folder"
    if isinstance(error, NotImplementedError):
        return f"is packed in a way that Python cannot unpack ({words}); unpack it yourself and load the folder"
    if isinstance(error, _CUT) or "truncated" in words:
        return f"cannot be read ({words}); was it cut off? Fetch it again"
    return f"cannot be read ({type(error).__name__}: {words}); fetch it again, or remove it"


def tell(words: str) -> None:
    """Warn, at the line that called this folder: that of the person whose file it is."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(_HERE):
        level, frame = level + 1, frame.f_back
    warnings.warn(words, stacklevel=level)


@contextlib.contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Around a decoder: whatever it raises becomes a ValueError, or an OSError of its kind, that begins with the path.

    Decoders of users' files raise nearly anything, an error of theirs being a fact about the file.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError | OSError) and str(error).startswith(str(path)):  # it has its sentence already
            raise
        same = isinstance(error, PermissionError | FileNotFoundError | IsADirectoryError)
        raise (type(error) if same else ValueError)(f"{path} {reason(error)}") from error
