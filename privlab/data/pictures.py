"""A folder or zip of pictures, as people have them: which are read, as what pixels, in which classes."""

import io
import os
import warnings
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, ImageOps

from privlab.data.arrays import eight_bits, wrong
from privlab.data.names import in_order
from privlab.data.reading import reading, reason, starts_as, tell
from privlab.data.tree import Tree, formats, opened

# Folders that are splits where no other folder stands beside them.
_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
_SPLITS |= {"dev": "val", "test": "test", "testing": "test"}


def images(
    path: Path, size: int, split: str = "train", channels: int | None = None
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """A folder or zip of pictures: uint8 `(N, size, size)` or `(N, size, size, 3)`, labels `(N,)`, names of classes.

    **Pictures** are what Pillow reads by itself, by their suffix. Each is turned upright as its camera says, cropped
    square in its middle and resized. Grey stays grey if all pictures show grey alone; `channels` 1 or 3 decides
    instead. Of several frames the first is taken; what is transparent lies on white. Of 16 bits the upper eight are
    kept; floats are in [0, 1] or [0, 255].
    **Classes** are the folders below the first one that holds more than one thing; where all pictures lie in one
    folder, the first word of their file names, up to `_`. They are numbered in the order of `names.in_order`.
    **Splits** are folders called train, val and test (or alike) where nothing else stands beside them; without them all
    is `train`. Classes are those of all splits together.
    Hidden and system names are skipped. One warning counts and names whatever else is left out or looked at in part.
    Raises ValueError when there is no picture, for pictures beside class folders, and, with their names, for pictures
    that cannot be read.
    """
    with opened(path) as tree:
        if not tree.pictures:
            raise ValueError(_nothing(path, tree))
        chosen, classes = _classes(path, tree, split)
        about = {"left out, as Pillow does not open them": sorted(set(tree.files) - set(tree.pictures))}
        about["folders without a picture"] = _empty(tree)
        labels = np.array([classes.index(group) for group in chosen.values()], np.int64)
        return pixels(path, tree, chosen, size, channels, about), labels, tuple(classes)


def pixels(
    path: Path, tree: Tree, chosen: Collection[str], size: int, channels: int | None, about: dict[str, list[str]]
) -> np.ndarray:
    """The pictures called `chosen`, in that order, as `images` reads them: uint8 `(N, size, size)` or with 3 channels.

    One warning counts and names what `about` lists, and what of them was looked at in part.
    Raises ValueError with the names of pictures that cannot be read.
    """
    squares, problems, frames, dark = [], [], [], []
    for name in chosen:
        try:
            picture, several, top = _open(tree.files[name](), name)
        except Exception as error:  # decoders raise nearly anything; those that fail are named together
            problems.append(str(error) if str(error).startswith(name) else f"{name} {reason(error)}")
            continue
        frames += [name] * several
        dark += [name] * (0 < top < 4096)
        squares.append(np.asarray(_square(picture, size, channels)))
    if problems:
        raise ValueError(f"{path}: {len(problems)} of {len(chosen)} pictures: {some(problems, '; ')}")
    frame, bits = "several frames in a file, of which the first was taken", "16 bits of which the upper four are empty"
    found = {**about, frame: frames, f"{bits}, all but black": dark}
    if said := [f"{words}: {len(names)} ({some(names)})" for words, names in found.items() if names]:
        tell(f"{path}: {'; '.join(said)}")
    with reading(path):  # many large pictures may be more than memory holds
        return _stacked(squares, channels)


def some(names: Iterable[str], between: str = ", ", most: int = 6) -> str:
    """The first of many names, and how many more there are."""
    listed = list(names)
    return between.join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")


def _empty(tree: Tree) -> list[str]:
    full = {parent.as_posix() for name in tree.pictures for parent in PurePosixPath(name).parents}
    return sorted(tree.folders - full)


def _nothing(path: Path, tree: Tree) -> str:
    suffixes = {os.path.splitext(name)[1].lower() for name in tree.files}
    holds = f"it holds {some(sorted(tree.files))}" if tree.files else "it is empty"
    if ".npz" in suffixes:
        holds += "; load that .npz itself, unpacked"
    elif suffixes == {".npy"}:
        holds += "; if that is a .npz by another name, call it .npz"
    elif suffixes & {".zip", ".gz", ".tar", ".rar", ".7z"}:
        holds += "; unpack what is packed in it"
    return f"{path} holds no image that Pillow opens (.jpg, .png, .tif, .bmp, .gif, .webp, ...): {holds}"


def _classes(path: Path, tree: Tree, split: str) -> tuple[dict[str, str], list[str]]:
    """The pictures of a split with their classes, and the classes of all splits."""
    inside = _begin(tree.pictures, tree.folders)  # each picture's path from where the choice begins
    firsts = {_first(rest).lower() for rest in inside.values()}
    parts = dict.fromkeys(inside, "train")
    if firsts <= _SPLITS.keys():
        parts = {name: _SPLITS[_first(rest).lower()] for name, rest in inside.items()}
        below = {name: rest.partition("/")[2] for name, rest in inside.items()}
        again = _begin(list(below.values()), set())
        inside = {name: again[rest] for name, rest in below.items()}
    if split not in parts.values():
        held = sorted(set(parts.values()))
        if len(held) > 1:
            raise ValueError(f"{path} has no folder for split={split!r}; choose one of {', '.join(held)}")
        given = f"{path} is one set of images, taken as split={held[0]!r}; for split={split!r} load another path"
        raise ValueError(f"{given}, or put the pictures into folders train and test")
    groups = _grouped(path, inside)
    return {name: groups[name] for name in inside if parts[name] == split}, in_order(groups.values())


def _first(rest: str) -> str:
    """The folder that a path begins with, or nothing."""
    return rest.partition("/")[0] if "/" in rest else ""


def _begin(names: list[str], folders: set[str]) -> dict[str, str]:
    """Paths from the folder on in which the choice begins: those that hold one folder alone are passed through."""
    top = ""
    while True:
        rest = {name: name[len(top) :] for name in names}
        firsts = {_first(each) for each in rest.values()}
        only = next(iter(firsts))
        if len(firsts) > 1 or not only or only.lower() in _SPLITS:
            return rest
        beside = {name for name in folders if name.startswith(top) and "/" not in name[len(top) :]}
        if len(beside) > 1 and not any("/" in each.partition("/")[2] for each in rest.values()):
            return rest  # one class has pictures, and the others are empty
        top += f"{only}/"


def _grouped(path: Path, inside: dict[str, str]) -> dict[str, str]:
    """Each picture's class: its first folder, or, where all lie in one, the first word of its name."""
    firsts = {name: _first(rest) for name, rest in inside.items()}
    loose = [name for name, first in firsts.items() if not first]
    if len(loose) == len(inside):
        return {name: PurePosixPath(name).stem.split("_")[0] for name in inside}
    if loose:
        folders = some(in_order(set(firsts.values()) - {""}))
        given = f"{path} holds pictures beside the class folders {folders}: {some(loose)}"
        raise ValueError(f"{given}; move each into the folder of its class")
    return firsts


def _open(raw: bytes, name: str) -> tuple[Image.Image, bool, float]:
    """A picture upright in mode L or RGB, whether it has more frames, and the largest value of 16 bits (else inf)."""
    if said := starts_as(raw):
        raise ValueError(f"{name} {said}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large pictures and odd metadata; what matters is an error
        with Image.open(io.BytesIO(raw), formats=formats()) as image:
            several = image.format != "MPO" and getattr(image, "n_frames", 1) > 1  # a phone's has its depth beside it
            upright = ImageOps.exif_transpose(image)
            top = float("inf")
            if upright.mode.startswith("I"):
                values = np.asarray(upright)
                top = float(values.max())
                if values.min() < 0 or top > 65535:
                    holds = f"is a picture of values in [{values.min()}, {top:g}]"
                    raise wrong(name, holds, "8 bits, or 16 from 0 to 65535")
                return Image.fromarray((values >> 8).astype(np.uint8)), several, top
            if upright.mode == "F":
                return Image.fromarray(eight_bits(name, np.asarray(upright))), several, top
            return _plain(upright, name), several, top


def _plain(image: Image.Image, name: str) -> Image.Image:
    """A picture of 8 bits as L or RGB; what is transparent is laid on white."""
    if image.mode == "LAB":
        raise wrong(name, "is a picture in LAB colours", "RGB")
    if image.has_transparency_data:
        on = Image.new("RGBA", image.size, "white")
        on.alpha_composite(image.convert("RGBA"))
        image = on
    return image.convert("L" if image.mode in ("1", "L") else "RGB")


def _square(picture: Image.Image, size: int, channels: int | None) -> Image.Image:
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    if channels == 1:
        picture = picture.convert("L")
    return picture.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BICUBIC)


def _stacked(squares: list[np.ndarray], channels: int | None) -> np.ndarray:
    """All as grey if all are grey by content, else all in colour."""
    if channels != 3 and all(each.ndim == 2 or (each == each[..., :1]).all() for each in squares):
        return np.stack([each if each.ndim == 2 else each[..., 0] for each in squares])
    return np.stack([each if each.ndim == 3 else np.repeat(each[..., None], 3, -1) for each in squares])
