"""The cut-layer explorer: what a server's decoder makes of the activations behind each layer of LeNet."""

import functools

import torch

from privlab import checks
from privlab.attacks import decoder
from privlab.explore import frames
from privlab.explore.explorer import Explorer, Frame, Knob
from privlab.explore.figures import rows_of
from privlab.metrics import reconstruction
from privlab.sharing import federated, split
from privlab.studies import split_learning, zen_decoder

SIZE = (380, 168)
CUTS = tuple(layer for layer in zen_decoder.LAYERS if layer != "flatten")  # it only puts pool2 in another shape
POOLS = ("max", "average")
WIDTHS = {"2 and 5 filters": 2, "6 and 16 filters": 6, "24 and 64 filters": 24}
STEPS = 600
CPU = torch.device("cpu")


def one_of_each(victims: split_learning.Pictures) -> torch.Tensor:
    """The numbers of the first image of each class."""
    return torch.stack([(victims.labels == k).nonzero()[0, 0] for k in range(victims.classes)])


def decode(cut: str, pool: str, width: str, *, name: str = "digits", seed: int = 0) -> Frame:
    """Ten images, one of each class, and what two decoders make of their activations behind the layer `cut`.

    pool, width: of LeNet (see `POOLS`, `WIDTHS`). One adversary has images of the same kind to train its decoder with,
    the other has those of another data set. The images are the first of each class among the victims.
    """
    checks.one_of("cut", cut, zen_decoder.LAYERS)
    checks.one_of("pool", pool, POOLS)
    checks.one_of("width", width, WIDTHS)
    cell = zen_decoder.plain_cell(name, pool=pool, conv=WIDTHS[width])
    _, same, victims = split_learning.shares(name, 1, 28)
    other = zen_decoder.STRANGERS.get(name, "patches")
    stranger = {"patches": "photographs"}.get(other, other)
    strange = split_learning.pictures(other, 1, 28, len(same.images)).images
    parts = split.segments(zen_decoder.target(cell, seed, CPU)[-1], cut)
    sent, shown = split.send(parts.owner, victims.images), one_of_each(victims)
    rows, scores = {"the owner's images": victims.images[shown]}, []
    for prior, own in (("images of the same kind", same.images), (stranger, strange)):
        network = split_learning.decoder_for(parts.owner, own, steps=STEPS, seed=seed)
        guesses = decoder.reconstruct(network, sent)
        rows[f"decoded by one who has {prior}"] = guesses[shown]
        quality = reconstruction.psnr(guesses, victims.images).clamp_max(99).mean().item()
        likeness = reconstruction.ssim(guesses, victims.images).mean().item()
        read = federated.accuracy(split_learning.judge(name, 1, 28), guesses, victims.labels)
        scores.append((f"{quality:.1f} dB", f"{likeness:.2f}", f"{read:.0%}"))
    titles = ("PSNR", "SSIM", "class read off")
    numbers = {
        "numbers sent an image": str(sent[0].numel()),
        **{title: f"{one}, with {stranger} {two}" for title, one, two in zip(titles, *scores, strict=True)},
        "accuracy of the network": f"{split.accuracy(parts, victims.images, victims.labels):.0%}",
    }
    alt = (
        f"Ten digits, one of each class, and below them what two decoders make of what is sent behind {cut} ({pool} "
        f"pooling, {width}): {scores[0][0]} with images of the same kind, {scores[1][0]} with {stranger}."
    )
    return Frame(rows_of(rows, SIZE, quality=16), alt, numbers)


def decode_explorer(name: str = "digits") -> Explorer:
    """Cut layer, pooling and width as sliders over `decode`; every setting takes trainings: the frames are stored."""
    knobs = (Knob("cut", "Cut after", CUTS), Knob("pool", "Pooling", POOLS), Knob("width", "Width", tuple(WIDTHS)))
    return Explorer(
        functools.partial(decode, name=name),
        knobs,
        start={"cut": "pool2", "pool": "max", "width": "6 and 16 filters"},
        size=SIZE,
        title="What the server makes of what crosses the wire",
        stored=frames.load("decode") if name == "digits" else None,
    )
