"""The batch-size explorer: how much of a mini-batch trap weights read out."""

import functools
import math

import torch

from privlab import checks, data, models, studies
from privlab.attacks import gradient_extraction, trap_weights
from privlab.explore.explorer import Explorer, Knob
from privlab.explore.frame import Frame, Panel, pixels
from privlab.metrics import extraction
from privlab.sharing import federated

BATCHES = (10, 20, 50, 100, 200)
SCALES = (0.9, 0.93, 0.95, 0.96, 0.97, 0.98)
NEURONS = (200, 1000)


@functools.lru_cache(maxsize=4)
def _images(name: str, seed: int) -> data.Dataset:
    found = data.load(name)
    return found.sample(min(max(BATCHES), len(found)), seed)


@functools.lru_cache(maxsize=4)
def _draw(neurons: int, inputs: int, seed: int) -> trap_weights.Draw:
    return trap_weights.draw(neurons, inputs, seed=seed)


def _paper(name: str, batch: int, s: float, neurons: int) -> dict[str, studies.Reported]:
    """What the paper prints for these settings: Table 5, or Table 6 at the s that its text names as the best."""
    dataset = studies.PAPER_DATA.get(name, ("", False))[0]
    best = {"MNIST": 0.7, "CIFAR-10": 0.95, "ImageNet": 0.99}.get(dataset)
    cell = {"batch": batch, "neurons": neurons, "s": s}
    found = studies.get("curious/table-5").printed(dataset, cell)
    return found or (studies.get("curious/table-6").printed(dataset, cell) if s == best else {})


def steal(batch: int, s: float, neurons: int = 1000, *, name: str = "patches", seed: int = 0) -> Frame:
    """One client's mini-batch under trap weights: which images the server reads, A, P, R, and the paper's values.

    batch: images in the mini-batch, up to 200; s in (0, 1]; neurons: width of the trapped layer.
    The first draw of batch and weights is shown (seed 0), not the best.
    """
    client = _images(name, seed)
    checks.whole("batch", batch, 1, len(client))
    client = client[:batch]
    honest = models.fully_connected(client.shape, len(client.classes), widths=(neurons,), seed=seed)
    drawn = _draw(neurons, client.images[0].numel(), seed)
    model = trap_weights.plant(honest, s, drawn=drawn)
    shared = federated.gradient(model, client.images, client.labels)
    guess = gradient_extraction.extract(shared, shape=client.shape)
    score = extraction.score(gradient_extraction.candidates(shared), client.images, neurons=neurons)
    hits = extraction.match(guess.images, client.images)
    stolen = torch.isin(torch.arange(batch), hits)
    paper = _paper(name, batch, s, neurons)
    dataset = studies.PAPER_DATA.get(name, ("", False))[0]
    measured = {"active neurons A": score.active, "precision P": score.precision, "recall R": score.recall}
    numbers: dict[str, str | tuple[str, ...]] = {
        title: (f"{value:.2f}", f"{paper[metric].value:.2f}" if paper else "–")
        for (title, value), metric in zip(measured.items(), ("active", "precision", "recall"), strict=True)
    }
    numbers["stolen"] = f"{int(stolen.sum())} of {batch} images"
    numbers["server's own count"] = f"{len(guess.images)} images"
    alt = (
        f"Mini-batch of {batch} images; {int(stolen.sum())} stolen ones are shown in full and framed, the others grey "
        f"(s = {s}, {neurons} neurons)."
    )
    columns = math.ceil(math.sqrt(2 * batch))  # twice as wide as high, whatever the batch
    panel = Panel("", pixels(client.images), columns, marked=tuple(stolen.nonzero().flatten().tolist()))
    return Frame((panel,), alt, numbers, heads=("here", f"paper, {dataset}" if dataset else "paper"))


def steal_explorer(name: str = "patches") -> Explorer:
    """Batch size, scaling factor and neurons as controls of `steal`."""
    knobs = (
        Knob("batch", "Batch size", BATCHES, live=(1, 200, 1), unit="images"),
        Knob("s", "Scaling factor s", SCALES, live=(0.8, 1.0, 0.001)),
        Knob("neurons", "Neurons", NEURONS, live=(100, 3000, 100)),
    )
    function = functools.partial(steal, name=name)
    start = {"batch": 100, "s": 0.95, "neurons": 1000}
    return Explorer(function, knobs, start=start, name="steal", title="What trap weights steal from a mini-batch")
