"""`load`: by name or by path, from the first place that has it."""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from privlab import checks, runtime
from privlab.data import arrays, embedded, fetch, formats, pictures, sums, tables, text
from privlab.data.catalogue import CATALOGUE, Entry
from privlab.data.dataset import Dataset, Signals, Table, Text, to_pixels
from privlab.data.names import unknown
from privlab.data.reading import reading

_WORDS, _LENGTH, _SIDE = 10_000, 250, 224
_LARGEST_SIDE, _LONGEST = 4096, 100_000
_ADC = 2047
_KINDS = "a .npz in the MedMNIST layout (train_images, train_labels, ...), or a folder or zip of pictures"


def load(
    name: str | os.PathLike[str],
    split: str = "train",
    *,
    size: int | None = None,
    channels: int | None = None,
    words: int | None = None,
    length: int | None = None,
    progress: bool = True,
    download: bool = True,
) -> Any:
    """A data set by name, or from a path to your own: a `.npz` (see `arrays.npz`), a folder or zip (`pictures.images`).

    A known name comes before a file of that name: write `./digits` for a folder called `digits`.
    Sources, in order: the folder in PRIVLAB_DATA, the user's cache, the publisher's address.
    `size`: the side in pixels, for folders and zips of pictures (224), and for sets that come in several: `patches`
    (32, 64, 224) and MedMNIST (28, 64, 128, 224). `channels`: 1 or 3, for folders and zips of pictures.
    `words` (10,000) and `length` (250): the size of the vocabulary and the tokens a passage, for text.
    An argument that a data set has no use for is refused. With `download=False` nothing is fetched.
    Returns a `Dataset` (images), `Signals`, a `Text` or a `Table`. Raises ValueError for an unknown name, split or
    setting, and for a file that is altered or cannot be read, with its name; FileNotFoundError when the data are
    neither here nor to be had.
    """
    if not isinstance(name, str | os.PathLike):
        raise TypeError(f"name={name!r} is a {type(name).__name__}; give a data set's name or a path")
    name = os.fspath(name)
    checks.one_of("split", split, arrays.SPLITS)
    check(size, channels, words, length)
    if name not in CATALOGUE:
        path, folder = _path(name)
        _refuse(name, "text", words=words, length=length)
        return _own(path, split, size, channels, folder)
    entry = CATALOGUE.get(f"{name}-{size}", CATALOGUE[name])  # a MedMNIST set at another size
    _fits(entry, split, size, channels, words, length)
    words, length = words or _WORDS, length or _LENGTH
    if entry.embedded:
        return _embedded(entry, split, size, words, length)
    found = fetch.locate(entry, progress=progress, online=download)
    if entry.kind == "imdb":
        with reading(found[0].path):
            return _reviews(entry, found[0], split, words, length)
    if entry.kind == "table" and found[0].path.suffix.lower() != ".npz":
        return _records(entry, found, split)
    if entry.kind == "beats":
        return _beats(entry, found, split)
    return _images(entry, found, split, size, channels)


def check(size: int | None, channels: int | None, words: int | None = None, length: int | None = None) -> None:
    """Raise for a setting that no data set could have."""
    checks.if_given(checks.whole, "size", size, 1, _LARGEST_SIDE)
    checks.if_given(checks.one_of, "channels", channels, (1, 3))
    checks.if_given(checks.whole, "words", words, 3)
    checks.if_given(checks.whole, "length", length, 1, _LONGEST)


def _path(name: str) -> tuple[Path, Path | None]:
    """Where one's own data lie, and the data folder if that is where. Raises ValueError with the closest names."""
    path = os.path.expanduser(name)
    if name.strip() and os.path.exists(path):
        return Path(path), None
    folder = fetch.local_folder()
    own = fetch.own(folder, name) if folder and name.strip() else None
    if own is None:
        others = [each.stem if each.is_file() else each.name for each in folder.iterdir()] if folder else []
        raise ValueError(unknown(name, [each for each in others if not each.startswith(".")]))
    return own, folder


def _fits(
    entry: Entry, split: str, size: int | None, channels: int | None, words: int | None, length: int | None
) -> None:
    """Raise ValueError for a split that a known set does not have, and for a setting that it would swallow."""
    if entry.name in ("omniglot", "location30", "heart-disease") and split != "train":
        raise ValueError(f"{entry.name} is one set, taken as split='train'; leave split={split!r} out")
    if entry.kind not in ("npz", "images") and split == "val":
        raise ValueError(f"{entry.name} has no split 'val'; choose one of train, test")
    if entry.kind in ("table", "beats") or entry.name == "tumours":
        return _refuse(entry.name, "images and text", size=size, channels=channels, words=words, length=length)
    if entry.kind == "imdb" or entry.name == "manual":
        return _refuse(entry.name, "images", size=size, channels=channels)
    _refuse(entry.name, "text", words=words, length=length)
    if entry.kind != "images":
        _refuse(entry.name, "folders and zips of pictures; data.resized changes what is loaded", channels=channels)
    if entry.sizes and size not in (None, *entry.sizes):
        sizes = ", ".join(map(str, entry.sizes))
        raise ValueError(f"size={size} is not to be had of {entry.name}; choose one of {sizes}, or use data.resized")
    return None


def _refuse(name: str, whose: str, **settings: int | None) -> None:
    for setting, value in settings.items():
        if value is not None:
            raise ValueError(f"{setting}={value} has no meaning for {name}: it is for {whose}; leave it out")


def of_profile(name: str, profile: str | None = None) -> str:
    """The data set that an embedded one stands for, or, in the `fast` profile, the embedded one itself.

    >>> of_profile("patches", "fast"), of_profile("patches", "real")
    ('patches', 'cifar10')
    """
    checks.one_of("name", name, [entry.name for entry in CATALOGUE.values() if entry.embedded])
    return name if runtime.profile(profile) == "fast" else CATALOGUE[name].stands_for


def dataset(
    entry_name: str,
    split: str,
    images: np.ndarray,
    labels: np.ndarray,
    classes: tuple[str, ...],
    about: arrays.About,
    found: list[sums.Found],
) -> Dataset:
    """A `Dataset` of arrays that were read, once they are known to fit each other."""
    if len(images) != len(labels):
        raise ValueError(f"{found[0].path} holds {len(images)} images and {len(labels)} labels; fetch it again")
    numbers = _classes(entry_name, found[0].path, labels, classes)
    checksum, source = _origin(found, images, labels)
    return Dataset(entry_name, split, to_pixels(images), numbers, classes, source, checksum, **_tensors(about))


def _classes(name: str, path: Path, labels: np.ndarray, classes: tuple[str, ...]) -> Tensor:
    """Labels as a tensor, once they are known to be of these classes."""
    low, high = (labels.min(), labels.max()) if labels.size else (0, 0)
    if labels.ndim == 1 and not 0 <= low <= high < len(classes):
        raise ValueError(f"{path} holds labels from {low} to {high}; {name} has {len(classes)} classes")
    return torch.from_numpy(labels.astype(np.int64))


def _tensors(about: arrays.About) -> dict[str, Tensor]:
    return {name: torch.from_numpy(values) for name, values in about.items()}


def _beats(entry: Entry, found: list[sums.Found], split: str) -> Signals:
    """Beats of MIT-BIH in [0, 1]: its converter has 11 bits for 10 mV, so that 0 to 2047 are divided by 2047."""
    path = found[0].path
    with reading(path):
        raw, labels, classes, about = (formats if path.is_dir() else arrays).beats(path, split)
    if raw.min() < 0 or raw.max() > _ADC:
        given = f"{path} holds values from {raw.min()} to {raw.max()}"
        raise ValueError(f"{given}; give those of the converter, 0 to {_ADC}")
    values, numbers = torch.from_numpy((raw / _ADC).astype(np.float32)), _classes(entry.name, path, labels, classes)
    checksum, source = _origin(found, raw, labels)
    return Signals(entry.name, split, values[:, None], numbers, classes, source, checksum, **_tensors(about))


def _origin(found: list[sums.Found], *held: np.ndarray) -> tuple[str, str]:
    """One checksum and one source for the files of a split; a folder has no checksum of its own."""
    source = "publisher" if all(item.source == "publisher" for item in found) else "local copy"
    if len(found) == 1:
        return found[0].sha256 or embedded.checksum(*held), source
    return hashlib.sha256("".join(item.sha256 for item in found).encode()).hexdigest(), source


def fingerprint(name: str, split: str = "train") -> tuple[str, str]:
    """The checksum and the source that `load(name, split)` would report, without reading the images where it can.

    Raises like `load`, but never downloads.
    """
    entry = CATALOGUE.get(name)
    if entry and not entry.embedded and split != "val":
        found = fetch.locate(entry, online=False)
        if found[0].sha256:  # a folder has none
            return _origin(_of_split(entry, found, split))
    dataset = load(name, split, download=False)
    return dataset.checksum, dataset.source


def _of_split(entry: Entry, found: list[sums.Found], split: str) -> list[sums.Found]:
    """The files of one split: half of them, in sets of images and labels and in Adult."""
    half = len(found) // 2 if entry.kind in ("idx", "table") and entry.name != "heart-disease" else 0
    return (found[:half] if split == "train" else found[half:]) if half else found


def _embedded(entry: Entry, split: str, size: int | None, words: int, length: int) -> Any:
    if entry.name == "manual":
        texts, topics, names = embedded.manual()
        parts, labels = text.passages(texts, topics, length)
        return _text(entry.name, split, parts, labels, parts, names, words, length, "embedded")
    if entry.name == "tumours":
        values, kinds, features = embedded.tumours(split)
        held = torch.from_numpy(values), torch.from_numpy(kinds.astype(np.int64))
        checksum = embedded.checksum(values, kinds)
        return Table(entry.name, split, *held, entry.classes, features, "embedded", checksum)
    images, targets = embedded.patches(split, size or 32) if entry.name == "patches" else embedded.digits(split)
    numbers = torch.from_numpy(targets.astype(np.int64))
    checksum = embedded.checksum(images, targets)
    return Dataset(entry.name, split, to_pixels(images), numbers, entry.classes, "embedded", checksum)


def _text(name, split, parts, labels, known, classes, words, length, source, checksum="") -> Text:
    vocabulary = text.vocabulary(known, words)
    tokens, numbers = text.encode(parts, vocabulary, length), torch.tensor(labels)
    if source == "embedded":
        chosen = torch.from_numpy(embedded._hold_out(len(tokens), split))
        tokens, numbers = tokens[chosen], numbers[chosen]
        checksum = embedded.checksum(tokens.numpy())
    return Text(name, split, tokens, numbers, tuple(classes), vocabulary, source, checksum)


def _records(entry: Entry, found: list[sums.Found], split: str) -> Table:
    of_split, about = _of_split(entry, found, split), dict[str, np.ndarray]()
    with reading(of_split[0].path):
        if entry.name == "location30":
            values, labels, features = tables.location(found[0].path)
        elif entry.name == "heart-disease":
            values, labels, features, about["users"] = tables.heart([each.path for each in found])
        else:
            values, labels, features = tables.adult(of_split[0].path, found[0].path)
    checksum, source = _origin(of_split, values, labels)
    held = torch.from_numpy(values), _classes(entry.name, of_split[0].path, labels, entry.classes)
    return Table(entry.name, split, *held, entry.classes, features, source, checksum, **_tensors(about))


def _reviews(entry: Entry, found: sums.Found, split: str, words: int, length: int) -> Text:
    known = [text.split_words(review) for review, _ in formats.imdb(found.path, "train")]
    pairs = list(formats.imdb(found.path, split))
    parts = [text.split_words(review) for review, _ in pairs]
    labels = [label for _, label in pairs]
    if not parts:
        raise ValueError(f"{found.path} holds no reviews of split {split!r}; fetch it again")
    return _text(entry.name, split, parts, labels, known, entry.classes, words, length, found.source, found.sha256)


def _images(entry: Entry, found: list[sums.Found], split: str, size: int | None, channels: int | None) -> Dataset:
    path, classes = found[0].path, entry.classes
    about: arrays.About = {}
    if path.suffix.lower() == ".npz":
        images, targets, own, about = _arrays(path, split, size, channels, entry.several)
        classes = classes or own
    elif entry.kind == "images":
        images, targets, classes = pictures.images(path, size or _SIDE, split, channels)
    elif entry.kind == "omniglot":
        with reading(path):
            images, targets, about["users"], classes = formats.omniglot([item.path for item in found])
    elif entry.kind == "idx":
        found = _of_split(entry, found, split)
        images, targets = map(_idx, found[:2])
        if (images.ndim, targets.ndim) != (3, 1):
            given = f"{path} is of shape {images.shape}, its labels {targets.shape}"
            raise ValueError(f"{given}; expected (N, H, W) and (N,)")
        if found[2:]:
            about["users"] = formats.writers(found[2].path, targets, split)
    else:
        with reading(path):
            group = entry.name.removeprefix("emnist-")
            emnist = entry.kind == "emnist"
            images, targets = formats.emnist(path, group, split) if emnist else formats.cifar(path, split)
    return dataset(entry.name, split, images, targets, classes, about, found)


def _idx(item: sums.Found) -> np.ndarray:
    with reading(item.path):
        return formats.idx(item.path.read_bytes())


def _arrays(
    path: Path, split: str, size: int | None, channels: int | None, several: bool = False
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], arrays.About]:
    _refuse(str(path), "folders and zips of pictures; data.resized changes what is loaded", channels=channels)
    held = arrays.npz(path, split, several=several)
    height, width = held[0].shape[1:3]
    if size is not None and (height, width) != (size, size):
        raise ValueError(f"{path} holds images of {height}x{width}, not size={size}; use data.resized on them")
    return held


def _own(path: Path, split: str, size: int | None, channels: int | None, folder: Path | None) -> Dataset:
    suffix = path.suffix.lower()
    if not (path.is_dir() or (path.is_file() and suffix in (".npz", ".zip"))):
        raise ValueError(f"{path} is not a data set: give {_KINDS}")
    found = [sums.check(path, folder=folder)]
    if suffix != ".npz" or path.is_dir():
        images, labels, classes = pictures.images(path, size or _SIDE, split, channels)
        return dataset(path.stem, split, images, labels, classes, {}, found)
    return dataset(path.stem, split, *_arrays(path, split, size, channels), found)
