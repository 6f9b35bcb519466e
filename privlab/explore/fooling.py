"""The explorer of evasion: what a network says of digits that were changed a little, plain and trained against it."""

import functools

import torch
from torch import Tensor, nn

from privlab import checks, data, models, runtime
from privlab.attacks import evasion
from privlab.defences import adversarial_training
from privlab.explore import frames
from privlab.explore.explorer import Explorer, Knob
from privlab.explore.frame import LEVELS, Frame, Panel, pixels
from privlab.sharing import federated, predictions

ATTACKS = ("noise", "FGSM", "PGD")
TRAININGS = ("plain", "adversarial")
EPSILONS = (0.0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3)
AGAINST, EPOCHS, SHOWN = 0.1, 20, 8  # the epsilon that is trained against


@functools.lru_cache(maxsize=8)
def _trained(training: str, name: str, seed: int) -> nn.Module:
    """As the chapter trains: plainly, and from there on what PGD makes of each mini-batch."""
    train = data.load(name)
    if training == "plain":
        blank = models.fully_connected(train.shape, len(train.classes), widths=(64,), seed=seed)
        return predictions.fit(blank, train.images, train.labels, epochs=EPOCHS, seed=seed)
    attack = functools.partial(evasion.pgd, epsilon=AGAINST, steps=7)
    plain = _trained("plain", name, seed)
    return adversarial_training.fit(plain, train.images, train.labels, attack, epochs=EPOCHS, seed=seed)


def _changed(model: nn.Module, images: Tensor, labels: Tensor, attack: str, epsilon: float, seed: int) -> Tensor:
    if attack == "noise":
        drawn = torch.randint(2, images.shape, generator=runtime.generator(runtime.derive(seed, "noise")))
        return (images + epsilon * (2 * drawn - 1)).clamp(0, 1)
    if attack == "FGSM":
        return evasion.fgsm(model, images, labels, epsilon=epsilon)
    return evasion.pgd(model, images, labels, epsilon=epsilon, restarts=3, seed=seed)


def fool(attack: str, training: str, epsilon: float, *, name: str = "digits", seed: int = 0) -> Frame:
    """The first test digit of each of eight classes, changed by at most epsilon a pixel, and what a network says of it.

    attack: one of `ATTACKS`, noise being signs at random; training: one of `TRAININGS`. The adversary has the network.
    """
    checks.one_of("attack", attack, ATTACKS)
    checks.one_of("training", training, TRAININGS)
    checks.number("epsilon", epsilon, 0, 1)
    test = data.load(name, split="test")
    model = _trained(training, name, seed)
    made = _changed(model, test.images, test.labels, attack, epsilon, seed)
    said = predictions.predict(model, made).argmax(1)
    firsts = torch.stack([(test.labels == kind).nonzero()[0, 0] for kind in range(len(test.classes))])
    shown, answers = firsts[:SHOWN], said[firsts[:SHOWN]]
    fooled = (answers != test.labels[shown]).nonzero().flatten().tolist()
    names = " ".join(test.classes[answer] for answer in answers.tolist())
    panels = (
        Panel("the digits", pixels(test.images[shown]), 4),
        Panel(f"changed by {attack}", pixels(made[shown], LEVELS), 4),
        Panel("read as", pixels(test.images[firsts[answers]]), 4, names, marked=tuple(fooled) or None),
    )
    wrong = (said != test.labels).float().mean().item()
    numbers: dict[str, str | tuple[str, ...]] = {
        "read wrongly": f"{wrong:.0%} of {len(test)} digits",
        "accuracy with nothing changed": f"{federated.accuracy(model, test.images, test.labels):.0%}",
    }
    alt = (
        f"The digits 0 to 7, changed by {attack} of at most {epsilon:g} a pixel, and what a network of {training} "
        f"training reads them as: {names}. Of all {len(test)} digits it reads {wrong:.0%} wrongly."
    )
    return Frame(panels, alt, numbers, beside=True)


def fool_explorer(name: str = "digits") -> Explorer:
    """Attack, training and epsilon as controls of `fool`; its frames are made beforehand (`privlab explore fool`)."""
    knobs = (
        Knob("attack", "Attack", ATTACKS, choice=True),
        Knob("training", "Training", TRAININGS, choice=True),
        Knob("epsilon", "ϵ, the most that a pixel moves", EPSILONS, live=(0.0, 0.5, 0.01)),
    )
    start = {"attack": "noise", "training": "plain", "epsilon": 0.1}
    stored = frames.load("fool") if name == "digits" else None
    function = functools.partial(fool, name=name)
    return Explorer(function, knobs, start=start, name="fool", title="Fooled at test time", stored=stored)
