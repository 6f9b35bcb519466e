"""Figure 4: clipping and noise at the client, against two servers."""

import functools
import math

import torch

from privlab import data, runtime
from privlab.attacks import noisy_extraction, trap_weights
from privlab.defences import clip, gaussian, noise_std
from privlab.metrics import extraction, reconstruction
from privlab.sharing import federated
from privlab.studies._data import dataset
from privlab.studies.bench.sentence import DRAWS, UNDECIDED, Found, Outcome, both, ratio, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table, Takes
from privlab.studies.curious._extraction import network, scale
from privlab.studies.curious._paper import study

CLIPS = (0.1, 1.0, 10.0, 100.0)
NOISES = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
BATCHES = (1, 20, 100)
NEURONS, GALLERY = 1000, 1000
PLAIN, QUIET = 0.5, 0.005  # the paper's spread of trap weights, and one with which clipping costs the server less


def cells(name: str) -> list[Cell]:
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


@functools.lru_cache(maxsize=1)
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


SERVERS = {"single_row": "one row at a time", "combined": "rows combined"}


def _clipping_alone(table: Table) -> Found:
    """Recall without noise is no less under the tightest bound than under the loosest, to an image and a half."""
    fixed = {"noise": 0.0, "sigma": PLAIN, "adversary": "single_row"}
    low, high = min(CLIPS), max(CLIPS)
    gains = [
        table.gains("recall", {**fixed, "batch": batch, "clip": high}, {**fixed, "batch": batch, "clip": low})
        for batch in BATCHES
    ]
    return both(*(told(each, -ONE_IMAGE) for each in gains))


def _noise_ends_exactness(table: Table) -> Found:
    """Nothing exact in any draw, of any mini-batch, by either server: one image is enough to say no."""
    found: dict[str, Outcome] = {}
    for noise in NOISES[1:]:
        fixed = {"noise": noise, "clip": 1.0, "sigma": PLAIN}
        parts = [table.values("recall", **fixed, adversary=who, batch=b) for who in SERVERS for b in BATCHES]
        enough = True if min(map(len, parts)) >= DRAWS else UNDECIDED if all(parts) else None
        found[f"noise of {noise:g}"] = False if any(map(any, parts)) else enough
    return found


def _over_one_is_needed(table: Table) -> Found:
    """With a tenth of that noise the best server still names over twice as many images as a blind one."""
    found = {}
    for batch in BATCHES:
        fixed = {"noise": 0.1, "clip": 1.0, "sigma": QUIET, "adversary": "combined", "batch": batch}
        seen, blind = table.values("identified", **fixed), table.values("identified_blind", **fixed)
        found[f"mini-batches of {batch}"] = ratio(seen, [max(value, 1 / GALLERY) for value in blind], 2)
    return found


def _one_is_enough(table: Table) -> Found:
    """No more than a decibel and a twentieth better than a blind adversary, for every adversary and batch size."""
    found = []
    for adversary in SERVERS:
        for batch in BATCHES:
            for sigma in (PLAIN, QUIET):
                rows = table.select(noise=1.0, clip=1.0, adversary=adversary, batch=batch, sigma=sigma).rows
                numbers = [row["metrics"] for row in rows]
                found.append(told([1.0 - (n["psnr"] - n["psnr_blind"]) for n in numbers]))
                found.append(told([0.05 - (n["identified"] - n["identified_blind"]) for n in numbers]))
    return both(*found)


ONE_IMAGE = 1.5 / max(BATCHES)
AT_ONE = "clipped at 1"

STUDY = study(
    "figure-4",
    "Clipping and noise at the client",
    "sections 9.1 and 9.2, Figure 4",
    version=2,
    cells=cells,
    run=run,
    knob="noise",
    metrics=("psnr", "identified", "recall", "psnr_blind", "identified_blind"),
    claims=(
        Claim(
            "clipping alone does not yield privacy since it is still possible to perfectly extract the original "
            "training input",
            "section 9.1, figure 4a",
            _clipping_alone,
            "recall when clipped at 0.1 against 100, without noise, batches of 1, 20 and 100, to 1.5 images of 100",
        ),
        Claim(
            "noise addition to the users’ gradients is effective in order to prevent perfect extractability",
            "section 9.2, figure 4b",
            _noise_ends_exactness,
            f"{AT_ONE}, mini-batches of 1, 20 and 100, both servers: no image read exactly in any draw",
        ),
        Claim(
            "an adequate amount of noise to mitigate our attack would be a σ > 1",
            "section 9.2",
            _over_one_is_needed,
            f"a σ of 0.1, {AT_ONE}: a server with small weights that combines rows names twice as many as a blind one",
        ),
        Claim(
            "A noise of 1 leaves the server guessing",
            "section 9.2",
            _one_is_enough,
            f"{AT_ONE}, both servers, batches of 1, 20 and 100: a decibel and a twentieth better than blind, no more",
            ours=True,
        ),
    ),
    takes=Takes(least=2 * max(BATCHES)),  # decoys beside the client's own images
)
