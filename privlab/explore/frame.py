"""What one setting of an explorer shows, and how frames travel: one lossless sprite, and places in it."""

import base64
import html
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

LEVELS = 32  # of images that are no 8-bit ones: 40.6 dB to their arrays, and noise of 256 levels does not compress
COLUMNS = 24  # tiles in a line of a sprite


@dataclass(frozen=True)
class Panel:
    """Images under one title, as they are, `columns` of them in a line.

    images: `(N, H, W, C)` uint8, of one channel or three (see `pixels`); note: text behind the title;
    marked: the places of those that are framed, while the others are dim; None where all are shown alike.
    """

    title: str
    images: np.ndarray
    columns: int
    note: str = ""
    marked: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Frame:
    """What one setting shows: panels of images or a plot, the alt text of both, and numbers that are ready to print.

    numbers: a text by name, or one for each of `heads`, which then stand in a table. beside: panels stand side by
    side, not under one another. plot: an SVG element that takes its colours from the page.
    """

    panels: tuple[Panel, ...]
    alt: str
    numbers: Mapping[str, str | tuple[str, ...]]
    heads: tuple[str, ...] = ()
    beside: bool = False
    plot: str = ""

    def _repr_html_(self) -> str:
        """The picture alone, for a notebook."""
        packed = pack({"": self})
        return f'<div class="pl-explorer">{css(packed["sprite"], "pl-explorer")}{draw(packed, "")}</div>'


def pixels(images: Tensor, levels: int = 256) -> np.ndarray:
    """Images `(N, C, H, W)`, clamped to [0, 1], as uint8 `(N, H, W, C)` in so many equal levels."""
    whole = (images.detach().cpu().clamp(0, 1) * (levels - 1)).round() * (255 / (levels - 1))
    return whole.round().permute(0, 2, 3, 1).numpy().astype(np.uint8)


def mosaic(title: str, images: np.ndarray, note: str = "") -> Panel:
    """A panel whose images stand in a square."""
    return Panel(title, images, math.ceil(math.sqrt(len(images))), note)


def pack(frames: Mapping[str, Frame]) -> dict[str, Any]:
    """Frames as the front end takes them: every image of all of them once, in one sprite, and its places by frame."""
    places: dict[bytes, int] = {}
    shapes = {panel.images.shape[1:] for frame in frames.values() for panel in frame.panels}
    if len(shapes) > 1:
        raise ValueError(f"images of the shapes {sorted(shapes)} in one explorer; give all of them one shape")
    packed = {}
    for key, frame in frames.items():
        panels = []
        for panel in frame.panels:
            tiles = [places.setdefault(image.tobytes(), len(places)) for image in panel.images]
            marked = None if panel.marked is None else list(panel.marked)
            about = {"title": panel.title, "note": panel.note, "columns": panel.columns}
            panels.append({**about, "tiles": tiles, "marked": marked})
        numbers = {name: value if isinstance(value, str) else list(value) for name, value in frame.numbers.items()}
        about = {"alt": frame.alt, "numbers": numbers, "heads": list(frame.heads), "beside": frame.beside}
        packed[key] = {**about, "panels": panels, "plot": frame.plot}
    return {"sprite": _sprite(places, *shapes) if places else None, "frames": packed}


def unpack(packed: Mapping[str, Any]) -> dict[str, Frame]:
    """The frames that `pack` has packed, to the last bit."""
    tiles, found = _tiles(packed["sprite"]) if packed["sprite"] else None, {}
    for key, frame in packed["frames"].items():
        panels = []
        for each in frame["panels"]:
            assert tiles is not None
            marked = None if each["marked"] is None else tuple(each["marked"])
            panels.append(Panel(each["title"], tiles[each["tiles"]], each["columns"], each["note"], marked))
        numbers = {name: value if isinstance(value, str) else tuple(value) for name, value in frame["numbers"].items()}
        how = {"heads": tuple(frame["heads"]), "beside": frame["beside"], "plot": frame["plot"]}
        found[key] = Frame(tuple(panels), frame["alt"], numbers, **how)
    return found


def _sprite(tiles: Iterable[bytes], shape: tuple[int, int, int]) -> dict[str, Any]:
    """Tiles of `(H, W, C)` in lines, as one lossless picture."""
    images = np.stack([np.frombuffer(tile, np.uint8).reshape(shape) for tile in tiles])
    (height, width, _), columns = shape, min(COLUMNS, len(images))
    lines = math.ceil(len(images) / columns)
    whole = np.concatenate([images, np.zeros_like(images[:1]).repeat(columns * lines - len(images), 0)])
    canvas = whole.reshape(lines, columns, height, width, -1).transpose(0, 2, 1, 3, 4)
    canvas = canvas.reshape(lines * height, columns * width, -1)
    buffer = io.BytesIO()
    picture = Image.fromarray(canvas.repeat(3, axis=2) if shape[2] == 1 else canvas)
    picture.save(buffer, "WEBP", lossless=True, quality=90, method=6, exact=True)
    image = f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return {"image": image, "count": len(images), "columns": columns, "lines": lines, "shape": list(shape)}


def _tiles(sprite: Mapping[str, Any]) -> np.ndarray:
    """The images of a sprite, `(N, H, W, C)`."""
    data = base64.b64decode(sprite["image"].rpartition(",")[2])
    canvas = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    height, width, channels = sprite["shape"]
    cells = canvas.reshape(sprite["lines"], height, sprite["columns"], width, 3).transpose(0, 2, 1, 3, 4)
    return cells.reshape(-1, height, width, 3)[: sprite["count"], ..., :channels]


def css(sprite: Mapping[str, Any] | None, name: str) -> str:
    """The style that gives the tiles below the class `name` their images; once, since they share one sprite."""
    if sprite is None:
        return ""
    height, width, _ = sprite["shape"]
    size = f"{100 * sprite['columns']}% {100 * sprite['lines']}%"
    look = f"background-image:url({sprite['image']});background-size:{size};aspect-ratio:{width}/{height}"
    return f"<style>.{name} .pl-tile{{{look}}}</style>"


def draw(packed: Mapping[str, Any], key: str) -> str:
    """One packed frame as HTML, as explorer.js draws it: for readers without scripts, and before they run."""
    frame, sprite = packed["frames"][key], packed["sprite"]
    panels = []
    for panel in frame["panels"]:
        marked = panel["marked"]
        tiles = (
            f'<i class="pl-tile{" pl-on" if marked and place in marked else ""}" style="{_position(tile, sprite)}"></i>'
            for place, tile in enumerate(panel["tiles"])
        )
        note = f" <small>{html.escape(panel['note'])}</small>" if panel["note"] else ""
        title = f'<p class="pl-title">{html.escape(panel["title"])}{note}</p>' if panel["title"] else ""
        kind = "pl-tiles" if marked is None else "pl-tiles pl-marks"
        grid = f'<div class="{kind}" style="--pl-columns:{panel["columns"]}">{"".join(tiles)}</div>'
        panels.append(f'<div class="pl-panel">{title}{grid}</div>')
    kind = "pl-picture pl-beside" if frame["beside"] else "pl-picture"
    alt = html.escape(frame["alt"], quote=True)
    return f'<div class="{kind}" role="img" aria-label="{alt}">{"".join(panels)}{frame["plot"]}</div>'


def _position(tile: int, sprite: Mapping[str, Any]) -> str:
    """Where a tile begins in the sprite, in the percentages that CSS counts in: 0 is the first column, 100 the last."""
    line, column = divmod(tile, sprite["columns"])
    across, down = column / max(1, sprite["columns"] - 1), line / max(1, sprite["lines"] - 1)
    return f"background-position:{100 * across:.4f}% {100 * down:.4f}%"
