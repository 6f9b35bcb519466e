"""The cut-layer explorer: what a server's decoder makes of the activations behind each layer of LeNet."""

import functools
from typing import Any

import torch

from privlab import checks
from privlab.attacks import decoder
from privlab.explore import frames
from privlab.explore.explorer import Explorer, Frame, Knob
from privlab.explore.figures import rows_of
from privlab.metrics import reconstruction
from privlab.sharing import federated, split
from privlab.studies import split_learning, zen_decoder

SIZE = (480, 150)
CUTS = tuple(layer for layer in zen_decoder.LAYERS if layer != "flatten")  # it only puts pool2 in another shape
VARIANTS: dict[str, dict[str, Any]] = {
    "LeNet": {},
    "average pooling": {"pool": "average"},
    "2 and 5 filters": {"conv": 2},
    "24 and 64 filters": {"conv": 24},
    "prior: photographs": {"prior": "patches"},
    "not yet trained": {"rounds": 0},
}
STEPS = 600
CPU = torch.device("cpu")


def one_of_each(victims: split_learning.Pictures) -> torch.Tensor:
    """The numbers of the first image of each class."""
    return torch.stack([(victims.labels == k).nonzero()[0, 0] for k in range(victims.classes)])


@functools.lru_cache(maxsize=4)
def _decoder(cut: str, variant: str, name: str, seed: int) -> torch.nn.Sequential:
    cell = zen_decoder.plain_cell(name, **VARIANTS[variant])
    owner = split.segments(zen_decoder.target(cell, seed, CPU)[-1], cut).owner
    same = split_learning.shares(name, 1, 28)[1].images
    own = same if cell["prior"] == "same" else split_learning.pictures(cell["prior"], 1, 28, len(same)).images
    return split_learning.decoder_for(owner, own, steps=STEPS, seed=seed)


def decode(cut: str, variant: str, *, name: str = "digits", seed: int = 0) -> Frame:
    """Ten images, one of each class, and what a decoder makes of their activations behind the layer `cut`.

    variant: the network or the adversary's prior, one thing changed at a time (see `VARIANTS`). The images are the
    first of each class among the victims.
    """
    checks.one_of("cut", cut, zen_decoder.LAYERS)
    checks.one_of("variant", variant, VARIANTS)
    cell = zen_decoder.plain_cell(name, **VARIANTS[variant])
    victims = split_learning.shares(name, 1, 28)[2]
    parts = split.segments(zen_decoder.target(cell, seed, CPU)[-1], cut)
    sent = split.send(parts.owner, victims.images)
    guesses = decoder.reconstruct(_decoder(cut, variant, name, seed), sent)
    shown, quality = one_of_each(victims), reconstruction.psnr(guesses, victims.images).clamp_max(99).mean().item()
    read = federated.accuracy(split_learning.judge(name, 1, 28), guesses, victims.labels)
    numbers = {
        "numbers sent an image": str(sent[0].numel()),
        "PSNR": f"{quality:.1f} dB",
        "SSIM": f"{reconstruction.ssim(guesses, victims.images).mean():.2f}",
        "class read off": f"{read:.0%}",
        "accuracy of the network": f"{split.accuracy(parts, victims.images, victims.labels):.0%}",
    }
    rows = {"the owner's images": victims.images[shown], f"decoded from {cut}": guesses[shown]}
    alt = (
        f"Ten digits, one of each class, and below them what a decoder makes of what is sent behind {cut} "
        f"({variant}): {quality:.1f} dB, and {read:.0%} of the classes can be read off."
    )
    return Frame(rows_of(rows, SIZE), alt, numbers)


def decode_explorer(name: str = "digits") -> Explorer:
    """Cut layer and variant as sliders over `decode`; every setting takes a training, so that the frames are stored."""
    knobs = (Knob("cut", "Cut after", CUTS), Knob("variant", "Network and prior", tuple(VARIANTS)))
    return Explorer(
        functools.partial(decode, name=name),
        knobs,
        start={"cut": "pool2", "variant": "LeNet"},
        size=SIZE,
        title="What the server makes of what crosses the wire",
        stored=frames.load("decode") if name == "digits" else None,
    )
