"""Readers of publishers' formats. Archives are read in memory: nothing in one can write to the disk."""

import gzip
import io
import re
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from privlab.data.tree import opened


def idx(raw: bytes) -> np.ndarray:
    """An array in MNIST's IDX format (gzipped or not): uint8 of one to four dimensions.

    Raises ValueError when the header is not IDX or promises more than there is.
    """
    data = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    if len(data) < 4 or data[:3] != b"\0\0\x08" or not 1 <= data[3] <= 4:
        raise ValueError(f"not an IDX file of bytes: it starts with {data[:4]!r}")
    dims = np.frombuffer(data, ">i4", count=data[3], offset=4)
    body = np.frombuffer(data, np.uint8, offset=4 + 4 * data[3])
    if body.size != dims.prod(dtype=np.int64):
        raise ValueError(f"an IDX file of shape {tuple(dims)} needs {dims.prod(dtype=np.int64)} bytes, has {body.size}")
    return body.reshape(dims).copy()


def cifar(path: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images `(N, 32, 32, 3)` and labels of the publisher's binary archive of CIFAR-10 or CIFAR-100."""
    wanted = re.compile(r"(data_batch_\d|train)\.bin$" if split == "train" else r"test(_batch)?\.bin$")
    with tarfile.open(path) as archive:
        members = sorted((m for m in archive.getmembers() if wanted.search(m.name)), key=lambda m: m.name)
        parts = [archive.extractfile(member).read() for member in members]  # type: ignore[union-attr]
        coarse = any(member.name.endswith("train.bin") or member.name.endswith("test.bin") for member in members)
    if not parts:
        raise ValueError(f"{path} holds no {split} batches of CIFAR in its binary form")
    before = 2 if coarse else 1  # CIFAR-100 has the coarse label first, then the fine one
    rows = np.frombuffer(b"".join(parts), np.uint8).reshape(-1, before + 3072)
    return rows[:, before:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).copy(), rows[:, before - 1].copy()


def emnist(path: Path, group: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images `(N, 28, 28)`, upright, and labels from 0 of one group of EMNIST's `gzip.zip`."""
    with zipfile.ZipFile(path) as archive:
        names = {Path(name).name: name for name in archive.namelist()}
        images, labels = (
            idx(archive.read(names[f"emnist-{group}-{split}-{what}-ubyte.gz"]))
            for what in ("images-idx3", "labels-idx1")
        )
    # The publisher stores characters on their side, and counts letters from 1.
    return images.transpose(0, 2, 1).copy(), labels - (group == "letters")


def omniglot(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[str, ...]]:
    """Images `(N, 105, 105)`, black on white, labels, users and the characters' names, from Omniglot's archives.

    A file is called `set/alphabet/character/NNNN_DD.png`, DD being one of twenty drawers. A drawer's number means the
    same person within one alphabet only, so that a user is an alphabet and a drawer. Archives share alphabets (Greek
    and Latin are in both small ones); each image is taken once.
    """
    pictures: dict[str, np.ndarray] = {}
    for path in paths:
        with opened(path) as tree:
            for place in tree.pictures:
                with Image.open(io.BytesIO(tree.files[place]())) as image:
                    pictures.setdefault(place.partition("/")[2], np.asarray(image.convert("L")))
    names = [Path(name) for name in pictures]
    characters = [name.parent.as_posix() for name in names]
    writers = [f"{name.parent.parent.name}/{name.stem.rpartition('_')[2]}" for name in names]
    classes, users = sorted(set(characters)), sorted(set(writers))
    labels, whose = np.array([classes.index(c) for c in characters]), np.array([users.index(w) for w in writers])
    return np.stack(list(pictures.values())), labels, whose, tuple(classes)


def imdb(path: Path, split: str) -> Iterator[tuple[str, int]]:
    """Reviews and labels (0 negative, 1 positive), in the archive's order."""
    place = re.compile(rf"aclImdb/{split}/(neg|pos)/\d+_\d+\.txt$")
    with tarfile.open(path) as archive:
        for member in archive:
            match = place.search(member.name)
            if match and member.isfile():
                yield archive.extractfile(member).read().decode("utf-8"), int(match[1] == "pos")  # type: ignore[union-attr]
