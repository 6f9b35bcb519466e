"""One look for every figure: the plot style, rows of images."""

from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from privlab import checks
from privlab.explore.frame import pixels


def style() -> None:
    """Use the course's figure style for every plot from here on."""
    plt.style.use(str(Path(__file__).parent / "privlab.mplstyle"))


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
            axis.imshow(pixels(image.expand(3, -1, -1)[None])[0], interpolation="nearest")
        line[0].set_title(title, fontsize="small")
    return figure
