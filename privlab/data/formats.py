"""Readers of publishers' formats. Archives are read in memory: nothing in one can write to the disk."""

import gzip
import io
import re
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

SPLITS = ("train", "val", "test")
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


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


def npz(path: Path, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Images, labels and (where given) users of one split of a file in the MedMNIST layout.

    Raises ValueError when the split or its labels are missing, with the arrays that are there.
    """
    with np.load(path, allow_pickle=False) as arrays:
        if f"{split}_images" not in arrays or f"{split}_labels" not in arrays:
            here = [name for name in SPLITS if f"{name}_images" in arrays]
            raise ValueError(
                f"{path} has no {split}_images with {split}_labels; it has {', '.join(arrays) or 'nothing'}. "
                + (f"Choose split={' or '.join(here)}." if here else "Use the MedMNIST layout: train_images, ...")
            )
        users = arrays.get(f"{split}_users")
        return arrays[f"{split}_images"], arrays[f"{split}_labels"], users


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
        for place, raw in _files(path):
            with Image.open(io.BytesIO(raw)) as image:
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


def _is_image(path: Path) -> bool:
    """By its suffix; what a Mac adds to folders and zips (`._name`, `__MACOSX`) is none."""
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith("._") and "__MACOSX" not in path.parts


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if _is_image(file):
                yield file.relative_to(path).as_posix(), file.read_bytes()
        return
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if _is_image(Path(name)):
                yield name, archive.read(name)


def images(path: Path, size: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """A folder or zip of images: cropped square, resized to `size`, RGB `(N, size, size, 3)`; labels; class names.

    An image's class is its folder, or, where all lie in one folder, the first word of its file name.
    Raises ValueError when there is no image in it.
    """
    pictures, names = [], []
    for name, raw in _files(path):
        with Image.open(io.BytesIO(raw)) as image:
            picture = ImageOps.exif_transpose(image).convert("RGB")  # cameras store photographs on their side
        side = min(picture.size)
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        square = picture.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)
        pictures.append(np.asarray(square))
        names.append(name)
    if not pictures:
        raise ValueError(f"{path} holds no image ({', '.join(_SUFFIXES)})")
    folders = [Path(name).parent.name for name in names]
    groups = folders if len(set(folders)) > 1 else [Path(name).stem.split("_")[0] for name in names]
    classes = tuple(sorted(set(groups)))
    return np.stack(pictures), np.array([classes.index(group) for group in groups]), classes
