"""What `load` returns."""

from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from privlab import checks, runtime


@dataclass(frozen=True)
class _Rows:
    """What all of them have in common: each field that is a tensor holds a row for each example."""

    name: str
    split: str

    def _rows(self) -> dict[str, Any]:
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in held.items() if isinstance(value, Tensor)}

    def __len__(self) -> int:
        return len(next(iter(self._rows().values())))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example: (C, H, W) of an image, (1, L) of a signal."""
        return tuple(next(iter(self._rows().values())).shape[1:])

    def __getitem__(self, chosen: Tensor | slice | list[int]) -> Self:
        """The chosen examples as a data set of their own."""
        return replace(self, **{name: value[chosen] for name, value in self._rows().items()})

    def sample(self, count: int, seed: int | torch.Generator = 0) -> Self:
        """`count` examples drawn without replacement. Raises ValueError for more than there are."""
        checks.whole("count", count, 1, len(self))
        return self[torch.randperm(len(self), generator=runtime.generator(seed))[:count]]

    def to(self, device: str | torch.device) -> Self:
        """The same data on `device`."""
        return replace(self, **{name: value.to(device) for name, value in self._rows().items()})


@dataclass(frozen=True)
class Dataset(_Rows):
    """Images with labels, and where they come from.

    pixels: uint8 `(N, C, H, W)`, as published. labels: int64 `(N,)`, or `(N, K)` for several labels an image.
    source: `embedded`, `publisher` (byte for byte) or `local copy`. checksum: SHA-256 of the files read.
    Where the data set says: users, int64 `(N,)`, whose image it is; sessions, int64 `(N,)`, of which album or day;
    times, int64 or float64 `(N,)`, when it was taken.
    """

    pixels: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    source: str
    checksum: str
    users: Tensor | None = None
    sessions: Tensor | None = None
    times: Tensor | None = None

    @property
    def images(self) -> Tensor:
        """float32 `(N, C, H, W)` in [0, 1]: the pixels divided by 255."""
        return self.pixels.float() / 255


@dataclass(frozen=True)
class Signals(_Rows):
    """Signals of one dimension with labels: what `Dataset` is for images.

    values: float32 `(N, 1, L)` in [0, 1]. All else is as in `Dataset`.
    """

    values: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    source: str
    checksum: str
    users: Tensor | None = None
    sessions: Tensor | None = None
    times: Tensor | None = None

    @property
    def images(self) -> Tensor:
        """The values, by the name that clients take their inputs from."""
        return self.values


@dataclass(frozen=True)
class Text(_Rows):
    """Passages of text as numbered words.

    tokens: int64 `(N, length)`, padded on the left with 0; 1 is a word outside the vocabulary.
    vocabulary: the word of each number, most frequent first after the two special ones.
    """

    tokens: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    vocabulary: tuple[str, ...]
    source: str
    checksum: str

    def words(self, index: int) -> str:
        """The passage number `index` in words, without its padding."""
        return " ".join(self.vocabulary[token] for token in self.tokens[index].tolist() if token)


@dataclass(frozen=True)
class Table(_Rows):
    """Records with labels: a row each.

    values: float32 `(N, F)` in [0, 1]. labels: int64 `(N,)`. features: what each of the F columns means.
    Where the data set says: users, int64 `(N,)`, whose record it is, as of which hospital.
    """

    values: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    features: tuple[str, ...]
    source: str
    checksum: str
    users: Tensor | None = None


def to_pixels(images: np.ndarray) -> Tensor:
    """uint8 arrays `(N, H, W)` or `(N, H, W, C)` as a tensor `(N, C, H, W)`."""
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise ValueError(f"images are {images.dtype} of shape {images.shape}; expected uint8 (N, H, W) or (N, H, W, C)")
    if images.ndim == 3:
        return torch.from_numpy(images)[:, None]
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def resized(images: Tensor, size: int, channels: int) -> Tensor:
    """Images `(N, C, H, W)` in [0, 1] at `size` x `size` pixels with 1 or 3 `channels`, on the 8-bit grid.

    Grey is the luma of ITU-R BT.601, and a grey image in colour has three equal channels.
    Raises ValueError for another number of channels, or a size below one.
    """
    checks.images("images", images)
    checks.one_of("the channels of images", images.shape[1], (1, 3))
    checks.whole("size", size)
    checks.one_of("channels", channels, (1, 3))
    if channels == 1 and images.shape[1] == 3:
        images = (images * images.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    images = images.expand(-1, channels, -1, -1)
    if images.shape[-2:] != (size, size):
        images = nn.functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
    return (images.clamp(0, 1) * 255).round() / 255
