"""The noise explorer: one stolen image, after clipping and noise, as two adversaries see it."""

import functools

from privlab import checks, data, models, studies
from privlab.attacks import noisy_extraction, trap_weights
from privlab.defences import clip, gaussian, noise_std
from privlab.defences.perturbation import norm
from privlab.explore.explorer import Explorer, Knob
from privlab.explore.frame import LEVELS, Frame, mosaic, pixels
from privlab.metrics import extraction, reconstruction
from privlab.sharing import federated

BATCH, GALLERY, NEURONS = 20, 1000, 1000
NOISES = (0, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 1)
CLIPS = (0.1, 1, 10, 100)
ADVERSARIES = {"one row": "single_row", "rows combined": "combined"}


@functools.lru_cache(maxsize=4)
def _client(name: str, seed: int) -> tuple[data.Dataset, federated.Gradient, int]:
    """A gallery whose first images are the client's, its gradient under trap weights, and the image to watch.

    That is the first of the mini-batch that the server reads exactly where there is no noise.
    """
    whole = data.load(name)
    gallery = whole.sample(min(GALLERY, len(whole)), seed)
    client = gallery[:BATCH]
    honest = models.fully_connected(client.shape, len(client.classes), widths=(NEURONS,), seed=seed)
    s = studies.get("curious/figure-4").cells(name)[0]["s"]  # the paper's for the data set
    model = trap_weights.plant(honest, s, seed=seed)
    sent = federated.gradient(model, client.images, client.labels)
    read = noisy_extraction.reconstruct(sent, std=0, shape=client.shape).images
    hits = extraction.match(read, client.images)
    return gallery, sent, int(hits[hits >= 0].min()) if (hits >= 0).any() else 0


def blur(noise: float, clipping: float, *, name: str = "digits", seed: int = 0) -> Frame:
    """One image of a client's mini-batch of 20, and the guesses most like it of both adversaries.

    noise: the noise multiplier; clipping: the bound on the gradient's norm (see `defences.clip_and_noise`).
    """
    checks.number("noise", noise, 0)
    checks.number("clipping", clipping, 0, open_low=True)
    gallery, sent, victim = _client(name, seed)
    images, decoys = gallery.images[:BATCH], gallery.images[BATCH:]
    std = noise_std(clipping, noise, BATCH)
    clipped = clip(sent, clipping)
    first = federated.Gradient({key: clipped[key] for key in ("fc1.weight", "fc1.bias")}, BATCH)
    noisy = gaussian(first, std, seed)
    panels, qualities, counts = [mosaic("the client's image", pixels(images[victim : victim + 1]))], [], []
    for title, adversary in ADVERSARIES.items():
        guesses = noisy_extraction.reconstruct(noisy, std=std, shape=gallery.shape, adversary=adversary).images
        found = reconstruction.score(guesses, images, decoys)
        nearest = guesses[reconstruction.identify(images[victim : victim + 1], guesses)[0]]
        quality = reconstruction.psnr(nearest, images[victim]).clamp_max(99).item()
        panels.append(mosaic(title, pixels(nearest[None], LEVELS)))
        qualities.append(f"{quality:.0f} dB")
        counts.append(f"{round(found.identified * BATCH)} of {BATCH}")
    numbers: dict[str, str | tuple[str, ...]] = {
        "this image": tuple(qualities),
        "images recognised": tuple(counts),
        "gradient's norm": f"{norm(sent):.2f}",
        "noise on each number": f"{std:.1e}",
    }
    alt = (
        f"An image and two guesses at it, after clipping to {clipping} with noise {noise}. "
        + "; ".join(
            f"{who}: {one}, recognised {of}" for who, one, of in zip(ADVERSARIES, qualities, counts, strict=True)
        )
        + "."
    )
    return Frame(tuple(panels), alt, numbers, heads=tuple(ADVERSARIES), beside=True)


def blur_explorer(name: str = "digits") -> Explorer:
    """Noise scale and clipping bound as controls of `blur`."""
    knobs = (
        Knob("noise", "Noise multiplier σ", NOISES, live=(0, 1, 0.0001)),
        Knob("clipping", "Clipping bound C", CLIPS, live=(0.1, 100, 0.1)),
    )
    start = {"noise": 0.0001, "clipping": 1}
    title = "A stolen image after clipping and noise"
    return Explorer(functools.partial(blur, name=name), knobs, start=start, name="blur", title=title)
