"""The cut-layer explorer: what a server's decoder makes of the activations behind each layer of LeNet."""

import functools

import torch

from privlab import checks, studies
from privlab.attacks import decoder
from privlab.explore import frames
from privlab.explore.explorer import Explorer, Knob
from privlab.explore.frame import LEVELS, Frame, Panel, pixels
from privlab.metrics import reconstruction
from privlab.sharing import federated, split

CUTS = ("conv1", "relu1", "pool1", "conv2", "relu2", "pool2", "fc1", "relu3", "fc2", "relu4")
POOLS = ("max", "average")
WIDTHS = {"2 and 5 filters": 2, "6 and 16 filters": 6, "24 and 64 filters": 24}
STEPS, SHOWN = 600, 7  # images shown: more of them would make the page too heavy
CPU = torch.device("cpu")


def one_of_each(labels: torch.Tensor) -> torch.Tensor:
    """The numbers of the first image of each class, `(K,)`."""
    return torch.stack([(labels == kind).nonzero()[0, 0] for kind in labels.unique()])


def decode(cut: str, pool: str, width: str, *, name: str = "digits", seed: int = 0) -> Frame:
    """Seven images, each of another class, and what two decoders make of their activations behind the layer `cut`.

    pool, width: of LeNet (see `POOLS`, `WIDTHS`). One adversary has images of the same kind to train its decoder with,
    the other has those of another data set. The images are the first of each class among the victims.
    """
    checks.one_of("cut", cut, CUTS)
    checks.one_of("pool", pool, POOLS)
    checks.one_of("width", width, WIDTHS)
    study = studies.get("zen/figure-3")
    assert study.subject is not None
    cell = {**study.cells(name)[0], "cut": cut, "pool": pool, "conv": WIDTHS[width]}
    about = study.subject(cell, seed, CPU)
    other = next(each["prior"] for each in studies.get("zen/table-4").cells(name) if each["prior"] != "same")
    strange = study.subject({**cell, "prior": other}, seed, CPU).own[: len(about.own)]
    stranger, victims = {"patches": "photographs"}.get(other, other), about.victims
    sent, shown = split.send(about.parts.owner, victims.images), one_of_each(victims.labels)[:SHOWN]
    panels, scores = [Panel("the owner's images", pixels(victims.images[shown]), len(shown))], []
    priors = {"images of the same kind": about.own, stranger: strange}
    for prior, own in priors.items():
        network = decoder.fit(about.parts.owner, own, steps=STEPS, seed=seed)
        guesses = decoder.reconstruct(network, sent)
        panels.append(Panel(f"decoded by one who has {prior}", pixels(guesses[shown], LEVELS), len(shown)))
        quality = reconstruction.psnr(guesses, victims.images).clamp_max(99).mean().item()
        likeness = reconstruction.ssim(guesses, victims.images).mean().item()
        read = federated.accuracy(about.classifier, guesses, victims.labels)
        scores.append((f"{quality:.1f} dB", f"{likeness:.2f}", f"{read:.0%}"))
    titles = ("PSNR", "SSIM", "class read off")
    numbers: dict[str, str | tuple[str, ...]] = {
        **dict(zip(titles, zip(*scores, strict=True), strict=True)),
        "numbers sent an image": str(sent[0].numel()),
        "accuracy of the network": f"{split.accuracy(about.parts, victims.images, victims.labels):.0%}",
    }
    alt = (
        f"{len(shown)} images, each of another class, and below them what two decoders make of what is sent behind "
        f"{cut} ({pool} pooling, {width}): {scores[0][0]} with images of the same kind, {scores[1][0]} with {stranger}."
    )
    return Frame(tuple(panels), alt, numbers, heads=tuple(priors))


def decode_explorer(name: str = "digits") -> Explorer:
    """Cut layer, pooling and width as controls of `decode`; every setting takes trainings: the frames are stored."""
    knobs = (
        Knob("cut", "Cut after", CUTS),
        Knob("pool", "Pooling", POOLS, choice=True),
        Knob("width", "Width", tuple(WIDTHS), choice=True),
    )
    return Explorer(
        functools.partial(decode, name=name),
        knobs,
        start={"cut": "pool2", "pool": "max", "width": "6 and 16 filters"},
        name="decode",
        title="What the server makes of what crosses the wire",
        stored=frames.load("decode") if name == "digits" else None,
    )
