"""Arrays from outside, checked at the door: a `.npz` in the MedMNIST layout.

Every error begins with the file and names the key, what it holds, and what is wanted.
"""

import contextlib
import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from privlab.data.names import in_order
from privlab.data.reading import reading, starts_as, tell

SPLITS = ("train", "val", "test")
_MOST_CLASSES = 100_000
_DARK = 1 / 15  # whose brightest pixel is below this is in another unit: 0 and 1, 0 to 16, or 12 of 16 bits
_ROUNDING = 1e-5  # by as much floats may be out of [0, 1]
_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")


class Arrays(Mapping[str, np.ndarray]):
    """The arrays of a `.npz`, read when asked for; whatever is wrong with one becomes an error with its name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with contextlib.ExitStack() as stack, reading(path):
            file = stack.enter_context(path.open("rb"))
            start = file.read(200)
            if not start.startswith(_MAGIC):
                array = "is one array (.npy); save images and labels together: np.savez(path, train_images=..., ...)"
                what = array if start.startswith(b"\x93NUMPY") else starts_as(start)
                raise ValueError(f"{path} {what or f'is no .npz: it begins with {start[:12]!r}'}")
            file.seek(0)
            self._file = np.load(file, allow_pickle=False)
            self.close = stack.pop_all().close

    def __iter__(self):
        return iter(self._file.files)

    def __len__(self) -> int:
        return len(self._file.files)

    def __getitem__(self, key: str) -> np.ndarray:
        if key not in self._file.files:
            raise KeyError(key)
        try:
            with reading(self.place(key)):
                array = self._file[key]
        except ValueError as error:
            if "Object arrays" in str(error):
                code = "holds Python objects, which are not read, as that could run code"
                raise self.wrong(key, code, "plain numbers, or strings") from error
            raise
        if not isinstance(array, np.ndarray):
            raise self.wrong(key, "is no array", "arrays alone, as np.savez writes them")
        return array

    def place(self, key: str) -> str:
        """How errors call one array."""
        return f"{self.path}: {key}"

    def wrong(self, key: str, holds: str, wanted: str) -> ValueError:
        """An error about what one array holds."""
        return wrong(self.place(key), holds, wanted)

    def others(self, what: str) -> list[np.ndarray]:
        """Labels (or users) of all splits, as far as they can be read: only the split asked for has to be right."""
        found = []
        for key in (f"{split}_{what}" for split in SPLITS):
            with contextlib.suppress(ValueError, KeyError):
                found.append(self[key])
        return found


def wrong(place: str, holds: str, wanted: str) -> ValueError:
    """An error about what an array (or a picture) holds."""
    return ValueError(f"{place} {holds}; give {wanted}")


About = dict[str, np.ndarray]  # what a file says of its examples, by the name of the field of `Dataset`


def npz(path: Path, split: str, *, several: bool = False) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], About]:
    """One split of a file in the MedMNIST layout: images, labels, the names of the classes, and what else it says.

    `SPLIT_images`: `(N, H, W)`, `(N, H, W, C)` or `(N, C, H, W)` with C 1 or 3, to uint8 `(N, H, W)` or `(N, H, W, C)`.
    uint8 as it is; other whole numbers if they are in [0, 255]; uint16 beyond that by its upper eight bits; floats in
    [0, 1] times 255, those in [0, 255] rounded (but not where the largest is below 18: that is another unit); False and
    True are 0 and 255.
    `SPLIT_labels`: whole numbers from 0 `(N,)` or `(N, 1)`; strings, numbered in the order of `names.in_order`; one-hot
    `(N, K)`. With `several`, `(N, K)` of zeros and ones stays. The classes are those of all splits together.
    `SPLIT_users`, `SPLIT_sessions` (or `SPLIT_session`): whole numbers or strings `(N,)`. `SPLIT_times` (or
    `SPLIT_time`): finite numbers `(N,)`.
    Raises ValueError for anything else, and when the split or its labels are missing, with the arrays that are there.
    """
    with contextlib.closing(Arrays(path)) as arrays:
        keys = [f"{split}_{what}" for what in ("images", "labels")]
        absent = [key for key in keys if key not in arrays]
        if absent:
            here = [name for name in SPLITS if f"{name}_images" in arrays and f"{name}_labels" in arrays]
            remedy = f"Choose split={' or '.join(here)}." if here else "Use the MedMNIST layout: train_images, ..."
            has = ", ".join(arrays) or "nothing"
            raise ValueError(f"{path} has no {' and no '.join(absent)}; it has {has}. {remedy}")
        raw = arrays[keys[0]]
        pixels = eight_bits(arrays.place(keys[0]), _shaped(arrays, keys[0], raw))
        labels, classes = _labels(arrays, keys[1], len(raw), several)
        about = _about(arrays, split, len(raw))
    return pixels, labels, classes, about


def beats(path: Path, split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], About]:
    """One split of a file of heartbeats: whole numbers `(N, L)`, labels, the names of the classes, users and times.

    `SPLIT_images` `(N, L)`; `SPLIT_labels`, numbers from 0; `SPLIT_users`; `SPLIT_sample`, the times; `label_names`.
    Raises ValueError, with the key, where one of them is missing or something else.
    """
    with contextlib.closing(Arrays(path)) as arrays:
        keys = [f"{split}_{what}" for what in ("images", "labels", "users", "sample")]
        absent = [key for key in [*keys, "label_names"] if key not in arrays]
        if absent:
            raise ValueError(f"{path} has no {' and no '.join(absent)}; it has {', '.join(arrays) or 'nothing'}")
        raw, names = arrays[keys[0]], arrays["label_names"]
        if raw.ndim != 2 or raw.size == 0 or raw.dtype.kind not in "iu":
            raise arrays.wrong(keys[0], _is(raw), "whole numbers (N, L), a beat of L samples in each row")
        if names.ndim != 1 or names.dtype.kind not in "US":
            raise arrays.wrong("label_names", _is(names), "the name of each class, strings (K,)")
        classes = tuple(_text(names).tolist())
        labels = _numbers(arrays, keys[1], len(raw), list(classes))
        about = _about(arrays, split, len(raw)) | {"times": _times(arrays, keys[3], len(raw))}
    return raw, labels, classes, about


def _is(array: np.ndarray) -> str:
    return f"is {array.dtype} of shape {array.shape}"


def _shaped(arrays: Arrays, key: str, raw: np.ndarray) -> np.ndarray:
    """The array as `(N, H, W)` or `(N, H, W, C)`, where it can be read in one way only."""
    wanted = "images (N, H, W), (N, H, W, C) or (N, C, H, W), C being 1 or 3"
    if raw.ndim == 0 or raw.size == 0:
        raise arrays.wrong(key, f"{_is(raw)}: no image", wanted)
    if raw.ndim == 5 or (raw.ndim == 4 and min(raw.shape[1], raw.shape[3]) > 4):
        raise arrays.wrong(key, f"{_is(raw)}, which are volumes", f"{wanted}, for example one slice of each volume")
    if raw.ndim not in (3, 4):
        raise arrays.wrong(key, _is(raw), wanted)
    if raw.ndim == 3:
        if min(raw.shape[1:]) < 5 and max(raw.shape[1:]) > 8:
            flat = "pixels in a row rather than in a square"
            raise arrays.wrong(key, f"{_is(raw)}: {flat}", f"{wanted} (reshape them)")
        return raw
    first, last = raw.shape[1] in (1, 3), raw.shape[3] in (1, 3)
    if first and last:
        both = "channels could be the first or the last"
        raise arrays.wrong(key, f"{_is(raw)}: {both}", "channels last and neither side of 1 or 3 pixels")
    if not first and not last:
        channels = raw.shape[3] if raw.shape[3] <= raw.shape[1] else raw.shape[1]
        raise arrays.wrong(key, f"{_is(raw)}: {channels} channels", f"{wanted} (leave out an alpha channel)")
    return raw.transpose(0, 2, 3, 1) if first else raw


def eight_bits(place: str, raw: np.ndarray) -> np.ndarray:
    """Pixels of any type as uint8, by the rule of `npz`. `place` is how errors call them."""
    kind, wanted = raw.dtype.kind, "uint8 in [0, 255], or floats in [0, 1]"
    if kind == "b":
        return np.ascontiguousarray(raw) * np.uint8(255)
    if kind not in "uif":
        raise wrong(place, _is(raw), wanted)
    if kind == "f" and not np.isfinite(raw).all():
        count = int((~np.isfinite(raw)).sum())
        raise wrong(place, f"{_is(raw)} with {count} values that are not finite (NaN, inf)", wanted)
    low, high, most = raw.min(), raw.max(), 255
    if kind == "f" and low >= -_ROUNDING and high <= 1 + _ROUNDING:
        raw, low, high = raw.clip(0, 1), max(low, 0), min(high, 1)
    if raw.dtype.newbyteorder("=") == np.uint16 and high > 255:
        raw, most = raw >> 8, 65535
    if low < 0 or high > most or (kind == "f" and 1 < high <= _DARK * most):
        raise wrong(place, f"{_is(raw)} with values in [{low:g}, {high:g}]", f"{wanted} (scale them)")
    if kind != "f" and low < high <= _DARK * most:
        tell(f"{place} holds values up to {high} of {most}, all but black; is it scaled rightly?")
    if kind == "f":
        raw = np.rint(raw * 255 if high <= 1 else raw)
    return np.ascontiguousarray(raw, np.uint8)


def _strings(arrays: Arrays, what: str) -> list[str]:
    """All strings that stand for labels (or users) in any split, in the order of their numbers."""
    found = [_text(array).ravel().tolist() for array in arrays.others(what) if array.dtype.kind in "US"]
    return in_order(itertools.chain.from_iterable(found))


def _text(array: np.ndarray) -> np.ndarray:
    return np.char.decode(array, "utf-8", "replace") if array.dtype.kind == "S" else array


def _numbers(arrays: Arrays, key: str, count: int, strings: list[str], low: int | None = 0) -> np.ndarray:
    """One whole number an image, int64 `(N,)`."""
    raw = arrays[key]
    wanted = f"one whole number{'' if low is None else ' from 0'} (or string) an image, ({count},) as there are {count}"
    if raw.ndim == 2 and raw.shape[1] == 1:
        raw = raw[:, 0]
    if raw.ndim != 1 or len(raw) != count:
        raise arrays.wrong(key, _is(arrays[key]), f"{wanted} images")
    if raw.dtype.kind in "US":
        place = {name: number for number, name in enumerate(strings)}
        return np.array([place[name] for name in _text(raw).tolist()], np.int64)
    if raw.dtype.kind not in "buif":
        raise arrays.wrong(key, _is(raw), f"{wanted} images")
    if raw.dtype.kind == "f" and not (np.isfinite(raw).all() and (raw == np.rint(raw)).all()):
        odd = raw[~(np.isfinite(raw) & (raw == np.rint(raw)))][0]
        raise arrays.wrong(key, f"{_is(raw)} holds {odd:g}, no whole number", f"{wanted} images")
    if low is not None and raw.min() < low:
        from_0 = "class numbers from 0 (np.unique(..., return_inverse=True)[1])"
        raise arrays.wrong(key, f"holds {raw.min():.12g}", from_0)
    if low is not None and raw.max() >= _MOST_CLASSES:
        many = f"holds {raw.max():.12g}, which would make as many classes"
        raise arrays.wrong(key, many, "class numbers from 0 without gaps (np.unique(..., return_inverse=True)[1])")
    return raw.astype(np.int64)


def _about(arrays: Arrays, split: str, count: int) -> About:
    """Whose each image is, of which session and when, as far as the file says."""
    found = {}
    for name in ("users", "sessions", "session", "times", "time"):
        key, what = f"{split}_{name}", f"{name.removesuffix('s')}s"
        if key in arrays and what not in found:
            if what == "times":
                found[what] = _times(arrays, key, count)
            else:
                found[what] = _numbers(arrays, key, count, _strings(arrays, name), low=None)
    return found


def _times(arrays: Arrays, key: str, count: int) -> np.ndarray:
    """One finite number an image, int64 or float64 `(N,)`."""
    raw = arrays[key]
    wanted = f"one finite number an image, ({count},) as there are {count} images, for example seconds"
    if raw.shape not in ((count,), (count, 1)) or raw.dtype.kind not in "uif":
        raise arrays.wrong(key, _is(raw), wanted)
    if not np.isfinite(raw).all():
        odd = f"{_is(raw)} with {(~np.isfinite(raw)).sum()} values that are not finite (NaN, inf)"
        raise arrays.wrong(key, odd, wanted)
    return raw.ravel().astype(np.float64 if raw.dtype.kind == "f" else np.int64)


def _labels(arrays: Arrays, key: str, count: int, several: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels, and the names of all classes that any split has."""
    raw = arrays[key]
    if raw.ndim == 2 and raw.shape[1] > 1:
        return _columns(arrays, key, count, several)
    strings = _strings(arrays, "labels")
    numbers = _numbers(arrays, key, count, strings)
    if raw.dtype.kind in "US":
        return numbers, tuple(strings)
    most = int(numbers.max())
    for other in arrays.others("labels"):
        if other.dtype.kind in "buif" and other.size and 0 <= other.max() < _MOST_CLASSES:
            most = max(most, int(other.max()))
    return numbers, tuple(str(value) for value in range(most + 1))


def _columns(arrays: Arrays, key: str, count: int, several: bool) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels of several columns: one-hot, or, where a data set is known to have them, several an image."""
    raw = arrays[key]
    wanted = f"({count},) class numbers, or one-hot rows of zeros and a one"
    if len(raw) != count or raw.dtype.kind not in "buif" or not np.isin(raw, (0, 1)).all():
        raise arrays.wrong(key, f"{_is(raw)} for {count} images", wanted)
    classes = tuple(str(number) for number in range(raw.shape[1]))
    if several:
        return raw.astype(np.int64), classes
    sums = raw.sum(1, dtype=np.int64)
    if (sums != 1).any():
        row = int((sums != 1).argmax())
        odd = f"{_is(raw)} has several labels an image, or none (row {row} adds up to {sums[row]})"
        raise arrays.wrong(key, odd, f"one label an image, for example one column of it: {wanted}")
    return raw.argmax(1), classes
