"""Figure 4 of "When the curious abandon honesty" (Boenisch et al.): clipping and noise at the client."""

import functools
import math
import statistics

import torch

from privlab import data, runtime
from privlab.attacks import noisy_extraction, trap_weights
from privlab.defences import clip, gaussian, noise_std
from privlab.metrics import extraction, reconstruction
from privlab.sharing import federated
from privlab.studies.curious import SEEDS, checksum, dataset, network, scale
from privlab.studies.study import Cell, Claim, Metrics, Study, Table

CLIPS = (0.1, 1.0, 10.0, 100.0)
NOISES = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
BATCHES = (1, 20, 100)
NEURONS, GALLERY = 1000, 1000
PLAIN, QUIET = 0.5, 0.005  # the paper's spread of trap weights, and one with which clipping costs the server less


def _cells(name: str) -> list[Cell]:
    """Everything at the paper's spread; at a clip of 1, both adversaries with a server who knows of the clipping."""
    fixed = {"data": name, "s": scale(name), "neurons": NEURONS}
    grid = [(bound, noise, PLAIN) for bound in CLIPS for noise in NOISES] + [(1.0, noise, QUIET) for noise in NOISES]
    return [
        {**fixed, "batch": batch, "clip": bound, "noise": noise, "sigma": sigma, "adversary": adversary}
        for batch in BATCHES
        for bound, noise, sigma in grid
        for adversary in noisy_extraction.ADVERSARIES
    ]


@functools.lru_cache(maxsize=2)
def _gallery(name: str, seed: int) -> data.Dataset:
    """The images among which one is to be recognised; the client's come first."""
    whole = dataset(name)
    return whole.sample(min(GALLERY, len(whole)), runtime.derive(seed, "batch"))


@functools.lru_cache(maxsize=12)
def _clipped(name: str, s: float, batch: int, bound: float, sigma: float, seed: int, device: torch.device):
    """What the client is about to send, clipped; of it the layer that is read."""
    client = _gallery(name, seed)[:batch].to(device)
    model = network(name, NEURONS, "xavier_uniform", runtime.derive(seed, "network")).to(device)
    planted = trap_weights.plant(model, s, sigma=sigma, seed=runtime.derive(seed, "trap"))
    sent = clip(federated.gradient(planted, client.images, client.labels), bound)
    return federated.Gradient({name: sent[name] for name in ("fc1.weight", "fc1.bias")}, batch)


@functools.lru_cache(maxsize=6)
def _blind(name: str, batch: int, adversary: str, seed: int, device: torch.device):
    """What the adversary scores with a gradient that holds noise alone; of which scale makes no difference.

    The noise is the very draw that `run` adds, so that what differs between the two is the gradient's doing.
    """
    gallery = _gallery(name, seed).to(device)
    shape = (NEURONS, math.prod(gallery.shape))
    empty = {"fc1.weight": torch.zeros(shape, device=device), "fc1.bias": torch.zeros(NEURONS, device=device)}
    noise = gaussian(federated.Gradient(empty, batch), 1.0, runtime.derive(seed, "noise"))
    guess = noisy_extraction.reconstruct(noise, std=1.0, shape=gallery.shape, adversary=adversary).images
    return reconstruction.score(guess, gallery.images[:batch], gallery.images[batch:])


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """One clipped and noisy gradient, read by one adversary, beside the same adversary reading noise alone."""
    batch, std = cell["batch"], noise_std(cell["clip"], cell["noise"], cell["batch"])
    sent = _clipped(cell["data"], cell["s"], batch, cell["clip"], cell["sigma"], seed, device)
    gallery = _gallery(cell["data"], seed).to(device)
    images, adversary = gallery.images[:batch], cell["adversary"]
    noisy = gaussian(sent, std, runtime.derive(seed, "noise"))
    guess = noisy_extraction.reconstruct(noisy, std=std, shape=gallery.shape, adversary=adversary).images
    score = reconstruction.score(guess, images, gallery.images[batch:])
    chance = _blind(cell["data"], batch, adversary, seed, device)
    hits = extraction.match(guess, images)
    return {
        "psnr": score.psnr,
        "identified": score.identified,
        "recall": len(hits[hits >= 0].unique()) / batch,
        "psnr_blind": chance.psnr,
        "identified_blind": chance.identified,
    }


def _clipping_alone(table: Table) -> bool | None:
    """Recall without noise is the same at every bound."""
    curves = [
        table.curve("recall", "clip", noise=0.0, sigma=PLAIN, adversary="single_row", batch=batch).values()
        for batch in BATCHES
    ]
    one_image = 1.5 / max(BATCHES)
    return all(max(curve) - min(curve) <= one_image for curve in curves) if all(curves) else None


def _noise_ends_exactness(table: Table) -> bool | None:
    """At the paper's spread of weights every noise of the grid, against both adversaries and in any mini-batch."""
    values = [
        value for noise in NOISES if noise for value in table.values("recall", noise=noise, clip=1.0, sigma=PLAIN)
    ]
    return max(values) == 0 if values else None


def _over_one_is_needed(table: Table) -> bool | None:
    """With a tenth of that noise the better adversary still names over twice as many images as a blind one."""
    seen = table.values("identified", noise=0.1, clip=1.0, sigma=PLAIN, adversary="combined")
    blind = table.values("identified_blind", noise=0.1, clip=1.0, sigma=PLAIN, adversary="combined")
    return statistics.fmean(seen) > 2 * statistics.fmean(blind) if seen else None


def _one_is_enough(table: Table) -> bool | None:
    """Within a decibel and a twentieth of what a blind adversary gets, for every adversary and batch size."""
    kinds: dict[tuple, list[Metrics]] = {}
    for row in table.select(noise=1.0, clip=1.0).rows:
        cell = row["cell"]
        kinds.setdefault((cell["adversary"], cell["batch"], cell["sigma"]), []).append(row["metrics"])
    if not kinds:
        return None
    psnr = [statistics.fmean(row["psnr"] - row["psnr_blind"] for row in rows) for rows in kinds.values()]
    named = [statistics.fmean(row["identified"] - row["identified_blind"] for row in rows) for rows in kinds.values()]
    return max(map(abs, psnr)) < 1 and max(named) < 0.05


FIGURE_4 = Study(
    id="curious/figure-4",
    title="Clipping and noise at the client",
    source="Curious, sections 9.1 and 9.2, Figure 4",
    version=2,
    cells=_cells,
    run=run,
    data={"fast": ("digits",), "real": ("mnist", "cifar10"), "paper": ("mnist", "cifar10")},
    seeds=SEEDS,
    knob="noise",
    metrics=("psnr", "identified", "recall", "psnr_blind", "identified_blind"),
    claims=(
        Claim("Clipping alone does not yield privacy", "section 9.1, figure 4a", _clipping_alone),
        Claim("Noise at the client prevents perfect extraction", "section 9.2, figure 4b", _noise_ends_exactness),
        Claim("An adequate noise is above 1 (a tenth leaves images recognisable)", "section 9.2", _over_one_is_needed),
        Claim("A noise of 1 after clipping at 1 leaves the adversary guessing", "section 9.2", _one_is_enough),
    ),
    checksum=checksum,
)

STUDIES = (FIGURE_4,)
