"""`load`: by name or by path, from the first place that has it."""

import gzip
import hashlib
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

from privlab import checks, runtime
from privlab.data import embedded, fetch, formats, text
from privlab.data.catalogue import CATALOGUE, Entry
from privlab.data.dataset import Dataset, Text, to_pixels


def load(
    name: str,
    split: str = "train",
    *,
    size: int | None = None,
    words: int = 10_000,
    length: int = 250,
    progress: bool = True,
    download: bool = True,
) -> Any:
    """A data set by name, or from a path to your own: a `.npz` in the MedMNIST layout, a folder or zip of images.

    Sources, in order: the folder in PRIVLAB_DATA, the user's cache, the publisher's address.
    `size` is the side in pixels for `patches` (32, 64, 224) and for folders and zips of images (224).
    `words` and `length` are the size of the vocabulary and the tokens a passage, for text.
    With `download=False` nothing is fetched.
    Returns a `Dataset` (images) or a `Text`. Raises ValueError for an unknown name or split, or an altered
    file, and FileNotFoundError when the data are neither here nor to be had.
    """
    checks.one_of("split", split, formats.SPLITS)
    try:
        return _load(name, split, size, words, length, progress, download)
    except (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{name}: a file of it cannot be read ({error}); was it cut off? Fetch it again") from error


def _load(
    name: str, split: str, size: int | None, words: int, length: int, progress: bool, download: bool
) -> Dataset | Text:
    if name in CATALOGUE:
        entry = CATALOGUE[name]
        if entry.embedded:
            return _embedded(entry, split, size, words, length)
        found = locate(entry, progress=progress, online=download)
        return _read(entry, found, split, size, words, length)
    path = Path(name).expanduser()
    if path.exists():
        return _own(path, split, size)
    folder = fetch.local_folder()
    if folder and (folder / f"{name}.npz").is_file():
        return _own(folder / f"{name}.npz", split, size, folder)
    raise ValueError(f"{name!r} is neither a file nor a known data set; `privlab data list` shows those known")


def locate(entry: Entry, *, progress: bool = True, online: bool = True) -> list[fetch.Found]:
    """The checked files of a data set; with `online`, missing ones are downloaded."""
    folder = fetch.local_folder()
    if folder:
        copies = [folder / f"{entry.name}.npz"]
        if entry.kind == "images":
            copies += [folder / f"{entry.name}.zip", folder / entry.name]
        own = [path for path in copies if path.exists()]
        if own and entry.kind != "npz":
            return [fetch.check(own[0], folder=folder) if own[0].is_file() else fetch.Found(own[0], "", "local copy")]
        here = [folder / file.path for file in entry.files]
        if here and all(path.is_file() for path in here):
            pairs = zip(here, entry.files, strict=True)
            return [fetch.check(path, published=file.checksum, folder=folder) for path, file in pairs]
    cached = [fetch.cache_folder() / file.path for file in entry.files]
    if cached and all(path.is_file() for path in cached):
        return [fetch.check(p, published=f.checksum) for p, f in zip(cached, entry.files, strict=True)]
    try:
        if not (online and entry.files):
            raise FileNotFoundError("it has no address to download from" if online else "not downloaded yet")
        return [fetch.download(file, progress=progress) for file in entry.files]
    except OSError as error:
        files = ", ".join(file.path for file in entry.files) or f"{entry.name}.zip or a folder {entry.name}"
        raise FileNotFoundError(
            f"{entry.name} is not here: looked for {files} (or {entry.name}.npz) in "
            f"PRIVLAB_DATA={folder or '(not set)'} and in {fetch.cache_folder()}, then at its address "
            f"({type(error).__name__}: {error}). The embedded set {entry.stand_in!r} can stand in."
        ) from None


def of_profile(name: str, profile: str | None = None) -> str:
    """The data set that an embedded one stands for, or, in the `fast` profile, the embedded one itself.

    >>> of_profile("patches", "fast"), of_profile("patches", "real")
    ('patches', 'cifar10')
    """
    checks.one_of("name", name, [entry.name for entry in CATALOGUE.values() if entry.embedded])
    return name if runtime.profile(profile) == "fast" else CATALOGUE[name].stands_for


def available(entry: Entry) -> bool:
    """Whether a data set can be loaded with no network."""
    if entry.embedded:
        return True
    try:
        return bool(locate(entry, online=False))
    except FileNotFoundError:
        return False


def _dataset(
    entry_name: str,
    split: str,
    images: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    found: list[fetch.Found],
    users: np.ndarray | None = None,
) -> Dataset:
    flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if not classes:
        classes = tuple(str(value) for value in range(int(flat.max()) + 1))
    checksum, source = _origin(found, images, labels)
    owner = None if users is None else torch.from_numpy(users.astype(np.int64))
    numbers = torch.from_numpy(flat.astype(np.int64))
    return Dataset(entry_name, split, to_pixels(images), numbers, classes, source, checksum, owner)


def _origin(found: list[fetch.Found], *arrays: np.ndarray) -> tuple[str, str]:
    """One checksum and one source for the files of a split; a folder has no checksum of its own."""
    source = "publisher" if all(item.source == "publisher" for item in found) else "local copy"
    if len(found) == 1:
        return found[0].sha256 or embedded.checksum(*arrays), source
    return hashlib.sha256("".join(item.sha256 for item in found).encode()).hexdigest(), source


def fingerprint(name: str, split: str = "train") -> tuple[str, str]:
    """The checksum and the source that `load(name, split)` would report, without reading the images where it can.

    Raises like `load`, but never downloads.
    """
    entry = CATALOGUE.get(name)
    if entry and not entry.embedded and split != "val":
        found = locate(entry, online=False)
        if found[0].sha256:  # a folder has none
            return _origin(_of_split(found, split) if entry.kind == "idx" and len(found) > 1 else found)
    dataset = load(name, split, download=False)
    return dataset.checksum, dataset.source


def _of_split(found: list[fetch.Found], split: str) -> list[fetch.Found]:
    """Images and labels of one split, of the four files of an IDX data set."""
    return found[:2] if split == "train" else found[2:]


def _embedded(entry: Entry, split: str, size: int | None, words: int, length: int) -> Any:
    _no_validation(entry, split)
    if entry.name == "manual":
        checks.whole("length", length)
        texts, topics, names = embedded.manual()
        parts, labels = text.passages(texts, topics, length)
        return _text(entry.name, split, parts, labels, parts, names, words, length, "embedded")
    if entry.name == "patches":
        checks.one_of("size", size or 32, embedded.PATCH_SIZES)
        images, targets = embedded.patches(split, size or 32)
    else:
        images, targets = embedded.digits(split)
    numbers = torch.from_numpy(targets.astype(np.int64))
    checksum = embedded.checksum(images, targets)
    return Dataset(entry.name, split, to_pixels(images), numbers, entry.classes, "embedded", checksum)


def _text(name, split, parts, labels, known, classes, words, length, source, checksum="") -> Text:
    checks.whole("words", words, 3)
    checks.whole("length", length)
    vocabulary = text.vocabulary(known, words)
    tokens, numbers = text.encode(parts, vocabulary, length), torch.tensor(labels)
    if source == "embedded":
        chosen = torch.from_numpy(embedded._hold_out(len(tokens), split))
        tokens, numbers = tokens[chosen], numbers[chosen]
        checksum = embedded.checksum(tokens.numpy())
    return Text(name, split, tokens, numbers, tuple(classes), vocabulary, source, checksum)


def _read(entry: Entry, found: list[fetch.Found], split: str, size: int | None, words: int, length: int) -> Any:
    path = found[0].path
    if entry.kind == "imdb":
        known = [text.split_words(review) for review, _ in formats.imdb(path, "train")]
        pairs = list(formats.imdb(path, split))
        parts = [text.split_words(review) for review, _ in pairs]
        labels = [label for _, label in pairs]
        if not parts:
            raise ValueError(f"imdb has no split {split!r}; choose one of train, test")
        return _text(
            entry.name, split, parts, labels, known, entry.classes, words, length, found[0].source, found[0].sha256
        )
    if path.suffix == ".npz":
        images, targets, users = formats.npz(path, split)
        return _dataset(entry.name, split, images, targets, entry.classes, found, users)
    if entry.kind == "images":
        return _pictures(entry.name, path, split, size, found)
    _no_validation(entry, split)
    if entry.kind == "omniglot":
        _only_train(entry.name, split)
        images, targets, users, classes = formats.omniglot([item.path for item in found])
        return _dataset(entry.name, split, images, targets, classes, found, users)
    if entry.kind == "idx":
        found = _of_split(found, split)
        images, targets = (formats.idx(item.path.read_bytes()) for item in found)
    elif entry.kind == "emnist":
        images, targets = formats.emnist(path, entry.name.removeprefix("emnist-"), split)
    else:
        images, targets = formats.cifar(path, split)
    return _dataset(entry.name, split, images, targets, entry.classes, found)


def _no_validation(entry: Entry, split: str) -> None:
    if split == "val":
        raise ValueError(f"{entry.name} has no split 'val'; choose one of train, test")


def _only_train(name: str, split: str) -> None:
    if split != "train":
        raise ValueError(f"{name} is one set of images, taken as split='train'; for split={split!r} load another path")


def _pictures(name: str, path: Path, split: str, size: int | None, found: list[fetch.Found]) -> Dataset:
    _only_train(str(path), split)
    images, labels, classes = formats.images(path, size or 224)
    return _dataset(name, split, images, labels, classes, found)


def _own(path: Path, split: str, size: int | None, folder: Path | None = None) -> Dataset:
    found = [fetch.check(path, folder=folder) if path.is_file() else fetch.Found(path, "", "local copy")]
    if path.suffix == ".npz":
        images, labels, users = formats.npz(path, split)
        return _dataset(path.stem, split, images, labels, (), found, users)
    if path.is_dir() or path.suffix == ".zip":
        return _pictures(path.stem, path, split, size, found)
    raise ValueError(f"{path} is not a data set: give a .npz in the MedMNIST layout, or a folder or zip of images")
