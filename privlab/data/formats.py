"""Readers of publishers' formats. Archives are read in memory: nothing in one can write to the disk."""

import gzip
import io
import itertools
import re
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from privlab.data.reading import reading, tell
from privlab.data.tree import opened

# MIT-BIH: WFDB's codes of five kinds of beats; records of paced hearts, which AAMI EC57 leaves out, as two of them have
# no lead MLII; and the window around a beat, in samples at 360 Hz.
_BEATS = {1: "N", 2: "L", 3: "R", 8: "A", 5: "V"}
_RECORDS, _PACED, _RATE, _TRAIN = 48, ("102", "104", "107", "217"), 360, 20 * 60
_BEFORE, _AFTER = 100, 156


def idx(raw: bytes, dtype: str = "u1") -> np.ndarray:
    """An array in MNIST's IDX format (gzipped or not) of one to four dimensions: uint8, or int32 as asked for by `>i4`.

    Raises ValueError when the header is not IDX of that type or promises more than there is.
    """
    code, what = {"u1": (8, "bytes"), ">i4": (12, "whole numbers of 32 bits")}[dtype]
    data = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    if len(data) < 4 or data[:3] != bytes([0, 0, code]) or not 1 <= data[3] <= 4:
        raise ValueError(f"not an IDX file of {what}: it starts with {data[:4]!r}")
    dims = np.frombuffer(data, ">i4", count=data[3], offset=4)
    body, needs = data[4 + 4 * data[3] :], dims.prod(dtype=np.int64) * np.dtype(dtype).itemsize
    if len(body) != needs:
        raise ValueError(f"an IDX file of shape {tuple(dims)} needs {needs} bytes, has {len(body)}")
    return np.frombuffer(body, dtype).reshape(dims).astype(np.dtype(dtype).newbyteorder("="))


def writers(path: Path, labels: np.ndarray, split: str) -> np.ndarray:
    """Who wrote each digit of a split of MNIST, int64 `(N,)`: its NIST writer, from the label file of QMNIST.

    Row i is image i: column 0 its digit, column 2 its writer. QMNIST's test file goes on after MNIST's images.
    Raises ValueError for another number of rows or columns, and where `labels`, MNIST's own `(N,)`, are other digits.
    Source: Yadav and Bottou 2019.
    """
    with reading(path):
        rows = idx(path.read_bytes(), ">i4")
    count = len(labels)
    if rows.ndim != 2 or rows.shape[1] != 8:
        raise ValueError(f"{path} is of shape {rows.shape}; give QMNIST's labels, (N, 8)")
    if len(rows) < count or (split == "train" and len(rows) > count):
        raise ValueError(f"{path} holds {len(rows)} rows for {count} images of {split}; give QMNIST's of that split")
    other = rows[:count, 0] != labels
    if other.any():
        row = int(other.argmax())
        given = f"{path} has the digit {rows[row, 0]} in its row {row}"
        raise ValueError(f"{given}, and MNIST's label of that image is {labels[row]}; fetch both again")
    return rows[:count, 2].astype(np.int64)


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
        kinds = "images-idx3", "labels-idx1"
        images, labels = (idx(archive.read(names[f"emnist-{group}-{split}-{kind}-ubyte.gz"])) for kind in kinds)
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


def beats(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], dict[str, np.ndarray]]:
    """Heartbeats int16 `(N, 256)`, labels, the names of the classes, users and times, from MIT-BIH's own records.

    Of each record all beats N, L, R, A and V in lead MLII that have 100 samples before and 156 after; train is the
    first twenty minutes, test the rest. A user is the record's number, but 202 is patient 201 again. The four records
    of paced hearts are left out. Raises ValueError for what is no record in WFDB's format 212 at 360 Hz.
    Source: Moody and Mark 2001; the formats: WFDB's manual, header(5), signal(5), annot(5).
    """
    heads = sorted(folder.glob("*.hea"))
    if len(heads) != _RECORDS:
        tell(f"{folder} holds {len(heads)} of the {_RECORDS} records of MIT-BIH")
    window, codes = np.arange(-_BEFORE, _AFTER), list(_BEATS)
    cut, labels, users, times = [], [], [], []
    for head in heads:
        if head.stem in _PACED:
            continue
        signal = _lead(head)
        for time, code in _annotations(_bytes(head.with_suffix(".atr"))):
            whole = _BEFORE <= time <= len(signal) - _AFTER
            if code in _BEATS and whole and (time < _TRAIN * _RATE) == (split == "train"):
                cut.append(signal[time + window])
                labels.append(codes.index(code))
                users.append(201 if head.stem == "202" else int(head.stem))
                times.append(time)
    if not cut:
        raise ValueError(f"{folder} holds no beats of {split}; give whole records, with their annotations (.atr)")
    return np.stack(cut), np.array(labels), tuple(_BEATS.values()), {"users": np.array(users), "times": np.array(times)}


def _bytes(path: Path) -> bytes:
    with reading(path):
        return path.read_bytes()


def _lead(head: Path) -> np.ndarray:
    """The lead MLII of a record, int16 `(T,)`: two samples of 12 bits in three bytes, the leads by turns."""
    with reading(head):
        lines = [line.split() for line in head.read_text().splitlines() if line.strip() and not line.startswith("#")]
        rate, length = float(lines[0][2].split("/")[0]), int(lines[0][3])
        leads = [" ".join(line[8:]) for line in lines[1:]]
        if rate != _RATE or {line[1] for line in lines[1:]} != {"212"} or "MLII" not in leads:
            is_of = f"is of {rate:g} Hz, formats {', '.join(line[1] for line in lines[1:])}, leads {', '.join(leads)}"
            raise ValueError(f"{head} {is_of}; give a record at 360 Hz in format 212 with the lead MLII")
    raw, needs = _bytes(head.with_suffix(".dat")), -(-length * len(leads) // 2) * 3
    if len(raw) < needs:
        raise ValueError(f"{head.with_suffix('.dat')} needs {needs} bytes, has {len(raw)}; was it cut off?")
    low, both, high = np.frombuffer(raw[:needs], np.uint8).reshape(-1, 3).T.astype(np.int16)
    samples = np.stack([low | (both & 15) << 8, high | (both >> 4) << 8], 1).ravel()
    return (samples - 4096 * (samples > 2047)).astype(np.int16)[leads.index("MLII") : length * len(leads) : len(leads)]


def _annotations(raw: bytes) -> Iterator[tuple[int, int]]:
    """Times in samples and WFDB's codes: words of 16 bits, six of them a code and ten the time since the last one."""
    words, time = iter(np.frombuffer(raw[: len(raw) // 2 * 2], "<u2").tolist()), 0
    for word in words:
        code, step = word >> 10, word & 1023
        if word == 0:  # the end
            return
        if code == 59:  # a longer time: the upper half of its 32 bits, then the lower
            time += (next(words, 0) << 16) + next(words, 0)
        elif code == 63:  # a remark of so many bytes
            list(itertools.islice(words, (step + 1) // 2))
        elif code not in (60, 61, 62):  # what says something of the beat before
            time += step
            yield time, code


def imdb(path: Path, split: str) -> Iterator[tuple[str, int]]:
    """Reviews and labels (0 negative, 1 positive), in the archive's order."""
    place = re.compile(rf"aclImdb/{split}/(neg|pos)/\d+_\d+\.txt$")
    with tarfile.open(path) as archive:
        for member in archive:
            match = place.search(member.name)
            if match and member.isfile():
                yield archive.extractfile(member).read().decode("utf-8"), int(match[1] == "pos")  # type: ignore[union-attr]
