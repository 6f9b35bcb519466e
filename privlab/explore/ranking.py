"""The explorer of a gradient's rank: how much of an honest client's mini-batch comes out of it."""

import functools
import math

import torch

from privlab import checks, data, models
from privlab.attacks import gradient_extraction, rank_inversion
from privlab.explore.explorer import Explorer, Knob
from privlab.explore.frame import Frame, Panel, pixels
from privlab.metrics import extraction
from privlab.sharing import federated

BATCHES, WIDTHS, SAMPLES = (1, 2, 4, 8, 12, 16, 24, 32), (10, 50, 100, 200, 400), 8192
NEAR = 1e-3  # l2


@functools.lru_cache(maxsize=4)
def _images(name: str, seed: int) -> data.Dataset:
    return data.load(name).sample(max(BATCHES), seed)


def rank(batch: int, width: int, *, name: str = "digits", seed: int = 0) -> Frame:
    """One client's gradient: its rank, which images come out of it exactly, and which by one neuron alone.

    batch: images in the mini-batch, up to 32; width: neurons of the dense layer, and of another behind it. The first
    draw is shown (seed 0), not the best; 8192 submatrices are tried.
    """
    client = _images(name, seed)
    checks.whole("batch", batch, 1, len(client))
    client = client[:batch]
    model = models.fully_connected(client.shape, len(client.classes), widths=(width, width), seed=seed)
    sent = federated.gradient(model, client.images, client.labels)
    found = rank_inversion.reconstruct(model, sent, shape=client.shape, samples=SAMPLES, seed=seed)
    out = torch.zeros(batch, dtype=torch.bool)
    if len(found.images):
        out = torch.cdist(client.images.flatten(1), found.images.flatten(1)).amin(1) < NEAR
    alone = extraction.score(gradient_extraction.candidates(sent), client.images, neurons=width).recall
    numbers = {
        "rank": f"{found.rank} of at most {min(width, client.images[0].numel() + 1)}",
        "come out": f"{int(out.sum())} of {batch} images",
        "certified": "yes" if found.certified else "no",
        "submatrices tried": f"{found.tried:,}",
        "by one neuron each": f"{round(alone * batch)} of {batch} images",
    }
    alt = (
        f"Mini-batch of {batch} images and a layer of {width} neurons; {int(out.sum())} come out exactly and are "
        f"framed, the others grey. The gradient has rank {found.rank}."
    )
    columns = math.ceil(math.sqrt(2 * batch))
    panel = Panel("", pixels(client.images), columns, marked=tuple(out.nonzero().flatten().tolist()))
    return Frame((panel,), alt, dict(numbers))


def rank_explorer(name: str = "digits") -> Explorer:
    """Batch size and width as controls of `rank`."""
    knobs = (
        Knob("batch", "Batch size", BATCHES, unit="images"),
        Knob("width", "Width of the layer", WIDTHS, unit="neurons"),
    )
    start = {"batch": 8, "width": 100}
    function = functools.partial(rank, name=name)
    return Explorer(function, knobs, start=start, name="rank", title="What a gradient's rank gives away")
