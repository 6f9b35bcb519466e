"""Data that ships inside the packages this one needs: no network, no download."""

import functools
import hashlib

import numpy as np
from skimage import data as photographs
from skimage.transform import resize
from skimage.util import view_as_blocks
from sklearn.datasets import load_breast_cancer, load_digits, load_sample_image

_PHOTOGRAPHS = {
    "china": lambda: load_sample_image("china.jpg"),
    "flower": lambda: load_sample_image("flower.jpg"),
    "astronaut": photographs.astronaut,
    "coffee": photographs.coffee,
    "chelsea": photographs.chelsea,
    "rocket": photographs.rocket,
    "motorcycle": lambda: photographs.stereo_motorcycle()[0],
}


def checksum(*arrays: np.ndarray) -> str:
    """SHA-256 of the arrays' bytes."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _hold_out(count: int, split: str) -> np.ndarray:
    """Every fifth example is for testing."""
    numbers = np.arange(count)
    return numbers[numbers % 5 == 4] if split == "test" else numbers[numbers % 5 != 4]


@functools.lru_cache(maxsize=1)
def _digits() -> tuple[np.ndarray, np.ndarray]:
    small = load_digits()
    large = resize(small.images / 16, (len(small.images), 28, 28), order=1)
    # Real images lie on the 8-bit grid; enlarging leaves it, so go back to it.
    return np.round(large * 255).astype(np.uint8), small.target


def digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """1438 train or 359 test digits `(N, 28, 28)` with labels; 8x8 originals, enlarged bilinearly."""
    images, labels = _digits()
    chosen = _hold_out(len(images), split)
    return images[chosen], labels[chosen]


def _cut_up(photograph: np.ndarray, size: int) -> np.ndarray:
    high, wide = (side // size * size for side in photograph.shape[:2])
    return view_as_blocks(photograph[:high, :wide], (size, size, 3)).reshape(-1, size, size, 3)


@functools.lru_cache(maxsize=3)
def _patches(size: int) -> tuple[np.ndarray, np.ndarray]:
    parts = [_cut_up(load(), size) for load in _PHOTOGRAPHS.values()]
    labels = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    return np.concatenate(parts), labels


def patches(split: str, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Non-overlapping colour patches `(N, size, size, 3)`, labelled by photograph; size 32, 64 or 224."""
    images, labels = _patches(size)
    chosen = _hold_out(len(images), split)
    return images[chosen], labels[chosen]


@functools.lru_cache(maxsize=1)
def _tumours() -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    held = load_breast_cancer()
    low, high = held.data.min(0), held.data.max(0)
    values = ((held.data - low) / (high - low)).astype(np.float32)
    return values, held.target, tuple(str(name) for name in held.feature_names)


def tumours(split: str) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """456 train or 113 test records `(N, 30)` in [0, 1], labels (0 malignant, 1 benign) and the features' names.

    Each feature is scaled by its smallest and largest value of all 569.
    """
    values, labels, names = _tumours()
    chosen = _hold_out(len(values), split)
    return values[chosen], labels[chosen], names


def manual() -> tuple[list[str], list[int], tuple[str, ...]]:
    """The topics of Python's manual: texts, topic numbers, topic names."""
    from pydoc_data.topics import topics

    names = tuple(sorted(topics))
    return [topics[name] for name in names], list(range(len(names))), names
