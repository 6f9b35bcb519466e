"""One look for every figure: the plot style, galleries, rows of images."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from privlab import checks

STOLEN = (213, 94, 0)  # vermilion, distinct for the colour-blind
BACKGROUND = (22, 24, 29)
_DIM = 0.32


def style() -> None:
    """Use the course's figure style for every plot from here on."""
    plt.style.use(str(Path(__file__).parent / "privlab.mplstyle"))


def _array(image: Tensor) -> np.ndarray:
    """`(C, H, W)` in [0, 1] as uint8 `(H, W, 3)`."""
    rgb = (
        image.detach().cpu().clamp(0, 1).expand(3, -1, -1) if image.shape[0] == 1 else image.detach().cpu().clamp(0, 1)
    )
    return (rgb.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


def _tile(image: Tensor, stolen: bool, side: int) -> Image.Image:
    """A stolen image in full, in a frame; the others dim and grey."""
    tile = Image.fromarray(_array(image)).resize((side, side), Image.Resampling.LANCZOS)
    if stolen:
        edge = max(1, side // 24)
        framed = Image.new("RGB", (side, side), STOLEN)
        framed.paste(tile.crop((edge, edge, side - edge, side - edge)), (edge, edge))
        return framed
    grey = np.asarray(tile.convert("L"), dtype=np.float32) * _DIM
    base = np.array(BACKGROUND, dtype=np.float32)
    return Image.fromarray((base + grey[..., None] * (1 - base / 255)).clip(0, 255).astype(np.uint8))


def gallery(images: Tensor, stolen: Sequence[bool] | Tensor, size: tuple[int, int] = (480, 240)) -> bytes:
    """A client's mini-batch as one WebP picture: stolen images in full and framed, the rest dim and grey.

    images: `(B, C, H, W)` in [0, 1]; stolen: B booleans; size: width and height in pixels.
    """
    checks.images("images", images)
    if len(stolen) != len(images):
        raise ValueError(f"stolen holds {len(stolen)} values for {len(images)} images; give one per image")
    width, height = size
    side = int(math.sqrt(width * height / len(images)))
    while (width // side) * (height // side) < len(images):
        side -= 1
    columns = width // side
    left, top = (width - columns * side) // 2, (height - math.ceil(len(images) / columns) * side) // 2
    canvas = Image.new("RGB", size, BACKGROUND)
    for index, (image, taken) in enumerate(zip(images, stolen, strict=True)):
        row, column = divmod(index, columns)
        canvas.paste(_tile(image, bool(taken), side - 1), (left + column * side, top + row * side))
    buffer = io.BytesIO()
    canvas.save(buffer, "WEBP", quality=36, method=6)
    return buffer.getvalue()


def labelled(images: Mapping[str, Tensor], size: tuple[int, int], *, lossless: bool = False) -> bytes:
    """A few images `(C, H, W)` side by side, each under its title, as one WebP picture of width and height `size`.

    lossless: smaller, and sharper, for images of few grey levels with noise in them.
    """
    canvas = Image.new("RGB", size, BACKGROUND)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=14)
    side = min(size[0] // len(images), size[1] - 26) - 8
    gap = (size[0] - side * len(images)) // (len(images) + 1)
    for place, (title, image) in enumerate(images.items()):
        left = gap + place * (side + gap)
        canvas.paste(Image.fromarray(_array(image)).resize((side, side), Image.Resampling.NEAREST), (left, 26))
        draw.text((left + side / 2, 13), title, anchor="mm", font=font, fill=(235, 235, 235))
    buffer = io.BytesIO()
    # The last per cent of a lossless picture takes a hundred times as long.
    quality, method = (60, 4) if lossless else (50, 6)
    canvas.save(buffer, "WEBP", quality=quality, method=method, lossless=lossless)
    return buffer.getvalue()


def rows_of(rows: Mapping[str, Tensor], size: tuple[int, int], *, quality: int = 40) -> bytes:
    """Rows of images `(N, C, H, W)` under one another, each under its title, as one WebP picture of `size`."""
    canvas = Image.new("RGB", size, BACKGROUND)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=13)
    height = size[1] // len(rows)
    for line, (title, images) in enumerate(rows.items()):
        side = min((size[0] - 8) // len(images) - 3, height - 24)
        left = (size[0] - len(images) * (side + 3)) // 2
        draw.text((left + 3, line * height + 11), title, anchor="lm", font=font, fill=(235, 235, 235))
        for place, image in enumerate(images):
            tile = Image.fromarray(_array(image)).resize((side, side), Image.Resampling.BILINEAR)
            canvas.paste(tile, (left + place * (side + 3), line * height + 21))
    buffer = io.BytesIO()
    canvas.save(buffer, "WEBP", quality=quality, method=6)
    return buffer.getvalue()


def show_images(rows: dict[str, Tensor], *, most: int = 8, scale: float = 1.0) -> Figure:
    """Rows of images under one another, each with its title: `{"what the server sees": images, ...}`.

    Images `(N, C, H, W)` are clamped to [0, 1] for display; at most `most` of each row are shown.
    """
    checks.whole("most", most)
    columns = min(most, max(len(images) for images in rows.values()))
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(columns * scale, len(rows) * (scale + 0.25)), squeeze=False
    )
    for line, (title, images) in zip(axes, rows.items(), strict=True):
        for axis in line:
            axis.axis("off")
        for axis, image in zip(line, images, strict=False):
            axis.imshow(_array(image), interpolation="nearest")
        line[0].set_title(title, fontsize="small")
    return figure
