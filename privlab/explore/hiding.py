"""The noise-and-NoPeek explorer: what two defences leave to a decoder, and what they cost."""

import functools
from typing import Any

import torch

from privlab import checks, studies
from privlab.attacks import decoder
from privlab.defences import laplace
from privlab.defences.laplace_noise import relative
from privlab.explore import frames
from privlab.explore.decoding import CPU, one_of_each
from privlab.explore.explorer import Explorer, Knob
from privlab.explore.frame import LEVELS, Frame, Panel, pixels
from privlab.metrics import distance_correlation as dependence
from privlab.metrics import reconstruction
from privlab.sharing import split
from privlab.sharing.split import Protect

NOISES = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0)
ALPHAS = (0.0, 0.1, 0.5, 1.0)
ADVERSARIES = {"does not know of the noise": "naive", "knows of the noise": "noise_aware"}
STEPS, BATCH = 600, 32


def _protection(scale: float) -> Protect | None:
    return functools.partial(laplace, scale=scale) if scale else None


def _subject(alpha: float, name: str, seed: int) -> Any:
    """A network trained with NoPeek of this weight, and the images of both sides."""
    study = studies.get("splitnn/figure-2")
    assert study.subject is not None
    return study.subject({**study.cells(name)[0], "alpha": alpha, "attack_set": 5000}, seed, CPU)


@functools.lru_cache(maxsize=8)
def _decoder(alpha: float, known: float, name: str, seed: int) -> torch.nn.Sequential:
    about = _subject(alpha, name, seed)
    return decoder.fit(about.parts.owner, about.own, protect=_protection(known), steps=STEPS, seed=seed)


def hide(noise: float, alpha: float, adversary: str, *, name: str = "digits", seed: int = 0) -> Frame:
    """Ten images, one of each class, and what a decoder makes of noisy activations of a network with NoPeek.

    noise: the scale b of Laplace noise on what is sent, after training. alpha: NoPeek's weight in training, whose loss
    is of squared distances, as in the paper's code; the distance correlation shown is the textbook's.
    adversary: its decoder was trained on activations without noise, or with such noise.
    """
    checks.number("noise", noise, 0)
    checks.number("alpha", alpha, 0)
    checks.one_of("adversary", adversary, ADVERSARIES)
    about, protect = _subject(alpha, name, seed), _protection(noise)
    parts, victims = about.parts, about.victims
    clean = split.send(parts.owner, victims.images)
    sent = protect(clean, seed=seed) if protect else clean
    known = noise if ADVERSARIES[adversary] == "noise_aware" else 0.0
    guesses = decoder.reconstruct(_decoder(alpha, known, name, seed), sent)
    shown, quality = one_of_each(victims.labels), reconstruction.psnr(guesses, victims.images).mean().item()
    correlation, _ = dependence.over_batches(victims.images, sent, batch=BATCH)
    chance = dependence.floor_over_batches(victims.images, sent, batch=BATCH)
    numbers = {
        "accuracy": f"{split.accuracy(parts, victims.images, victims.labels, protect=protect, seed=seed):.0%}",
        "distance correlation": f"{correlation:.2f}",
        "the same, by chance": f"{chance:.2f}",
        "SSIM": f"{reconstruction.ssim(guesses, victims.images).mean():.2f}",
        "PSNR": f"{quality:.1f} dB",
        "noise, relative to the activations": f"{relative(clean, noise):.1f}",
    }
    panels = (
        Panel("the owner's images", pixels(victims.images[shown]), len(shown)),
        Panel(f"decoded by one who {adversary}", pixels(guesses[shown], LEVELS), len(shown)),
    )
    alt = (
        f"Ten digits, one of each class, and below them what a decoder that {adversary} makes of activations "
        f"with noise of scale {noise:g} and NoPeek of weight {alpha:g}: {quality:.1f} dB."
    )
    return Frame(panels, alt, numbers)


def hide_explorer(name: str = "digits") -> Explorer:
    """Noise scale, NoPeek weight and the adversary's knowledge as controls of `hide`; the frames are stored."""
    knobs = (
        Knob("noise", "Noise scale b", NOISES, live=(0, 4, 0.1)),
        Knob("alpha", "NoPeek weight α", ALPHAS),
        Knob("adversary", "The adversary", tuple(ADVERSARIES), choice=True),
    )
    return Explorer(
        functools.partial(hide, name=name),
        knobs,
        start={"noise": 0.5, "alpha": 0.0, "adversary": "does not know of the noise"},
        name="hide",
        title="What noise and NoPeek leave to a decoder",
        stored=frames.load("hide") if name == "digits" else None,
    )
