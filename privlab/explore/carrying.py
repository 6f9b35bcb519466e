"""What survives the journey: a gradient, or weights that were moved by it and are sent as they are."""

import torch
from torch import Tensor

from privlab import checks, data, models
from privlab.attacks import gradient_extraction, trap_weights
from privlab.explore.explorer import Explorer, Knob
from privlab.explore.frame import Frame, Panel, pixels
from privlab.metrics import extraction, reconstruction
from privlab.sharing import federated

CARRIED = ("gradient", "weights", "weights, 16 bits")
SIGMAS = (0.5, 0.05, 0.005, 0.0005)
RATES = (0.01, 0.1, 1.0)
BATCH, NEURONS, SHOWN = 20, 500, 10
SEEN = 20.0  # dB from which anybody sees what it is


def _carried(before: Tensor, step: Tensor, what: str) -> Tensor:
    """What the server has of a layer's change `step`: itself, or the difference of two rounded weights."""
    if what == "gradient":
        return step
    kind = torch.float16 if "16" in what else torch.float32
    old, new = before.to(kind), (before + step).to(kind)
    return new.float() - old.float()


def carry(what: str, sigma: float, lr: float, *, seed: int = 0) -> Frame:
    """A mini-batch of 20 digits under trap weights of size sigma, one step of SGD: what the server makes of the answer.

    what: is sent, a gradient or new weights, in 32 or in 16 bits. Shown is, for each of ten images, the candidate
    nearest to it, framed where it is exact. The first draw of batch and weights (seed 0), not the best.
    """
    checks.one_of("what", what, CARRIED)
    client = data.load("digits").sample(BATCH, seed)
    honest = models.fully_connected(client.shape, len(client.classes), widths=(NEURONS,), seed=seed)
    model = trap_weights.plant(honest, 0.9, sigma=sigma, seed=seed)
    sent = federated.gradient(model, client.images, client.labels, layers=("fc1",))
    weights = dict(model.named_parameters())
    found = {name: _carried(weights[name].detach(), -lr * each, what) for name, each in sent.tensors.items()}
    rows = gradient_extraction.candidates(federated.Gradient(found, BATCH))
    rows = rows[rows.isfinite().all(1)]
    score = extraction.score(rows, client.images, neurons=NEURONS)
    nearest, exact = _nearest(rows, client.images)
    quality = reconstruction.psnr(nearest, client.images)
    numbers: dict[str, str | tuple[str, ...]] = {
        "read exactly": f"{round(score.recall * BATCH)} of {BATCH}",
        "seen by eye": f"{int((quality > SEEN).sum())} of {BATCH}",
    }
    alt = (
        f"{SHOWN} digits as the server has them: {int(exact[:SHOWN].sum())} exactly, "
        f"{int((quality[:SHOWN] > SEEN).sum())} to be seen ({what}, weights of {sigma:g}, learning rate {lr:g})."
    )
    marked = tuple(exact[:SHOWN].nonzero().flatten().tolist())
    return Frame((Panel("", pixels(nearest[:SHOWN]), SHOWN // 2, marked=marked),), alt, numbers)


def _nearest(rows: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
    """Of each image `(B, C, H, W)` the nearest candidate, cut to [0, 1], grey without any; and whether it is exact."""
    if not len(rows):
        return torch.full_like(images, 0.5), torch.zeros(len(images), dtype=torch.bool)
    cut = rows.clamp(0, 1)
    apart = torch.cdist(images.flatten(1), cut, compute_mode="donot_use_mm_for_euclid_dist")
    best = apart.min(1)
    return cut[best.indices].view_as(images), best.values < extraction.TOLERANCE


def carry_explorer() -> Explorer:
    """What is sent, the size of the trap's weights, and the learning rate, as controls of `carry`."""
    knobs = (
        Knob("what", "Sent", CARRIED, choice=True),
        Knob("sigma", "Size of the trap's weights", SIGMAS, live=(1e-4, 1.0, 1e-4)),
        Knob("lr", "Learning rate", RATES, live=(0.001, 2.0, 0.001)),
    )
    start = {"what": "gradient", "sigma": 0.5, "lr": 0.1}
    return Explorer(carry, knobs, start=start, name="carry", title="What survives the journey")
