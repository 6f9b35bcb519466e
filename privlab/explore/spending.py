"""The explorer of DP-SGD: what a noise scale, a clipping bound and a number of epochs spend, cost and stop."""

import functools
import math

import torch
from torch import Tensor

from privlab import checks, data, models, runtime
from privlab.attacks import deep_leakage, membership, noisy_extraction, trap_weights
from privlab.defences import dp_sgd
from privlab.explore import frames
from privlab.explore.explorer import Explorer, Knob
from privlab.explore.frame import LEVELS, Frame, Panel, pixels
from privlab.metrics import membership as tells
from privlab.metrics import reconstruction
from privlab.sharing import federated, predictions
from privlab.studies import Takes

NOISES, CLIPS, EPOCHS = (0, 0.1, 0.3, 1, 3), (0.1, 1, 4), (5, 20, 50)
EXAMPLES, FRESH, WRONG = 600, 400, 0.15
TAKES = Takes(least=EXAMPLES + 100)  # with fewer new images an accuracy says little
NETWORKS, WIDTH, BATCH, LR, DELTA = 8, 64, 50, 0.5, 1e-4
STEP, NEURONS, TRAP, DECOYS = 8, 500, 0.9, 500  # of the one step that is attacked


@functools.lru_cache(maxsize=4)
def _records(name: str, seed: int) -> tuple[data.Dataset, Tensor]:
    """Images, and their labels of which 15 in 100 are drawn anew."""
    source = data.load(name)
    TAKES.check("spend", name, source)
    drawn = source.sample(min(EXAMPLES + FRESH, len(source)), seed)
    random = runtime.generator(runtime.derive(seed, "wrong"))
    wrong = torch.rand(len(drawn), generator=random) < WRONG
    anew = torch.randint(len(drawn.classes), (len(drawn),), generator=random)
    return drawn, torch.where(wrong, anew, drawn.labels)


def _used(seed: int) -> Tensor:
    """Which of eight networks is trained on which of 600 images: each on some 300, by chance."""
    return predictions.halves(NETWORKS, EXAMPLES, runtime.derive(seed, "halves"))


@functools.lru_cache(maxsize=64)
def _trained(noise: float, clipping: float, epochs: int, name: str, seed: int) -> tuple[float, float]:
    """The accuracy of eight networks, each trained on half of 600 images, and the area under LiRA's curve."""
    drawn, labels = _records(name, seed)
    used = _used(seed)
    answers = []
    for number, inside in enumerate(used):
        own = runtime.derive(seed, "network", number)
        model = models.fully_connected(drawn.shape, len(drawn.classes), widths=(WIDTH,), seed=own)
        client = federated.Client(drawn.images[:EXAMPLES][inside], labels[:EXAMPLES][inside])
        private = dp_sgd.train(model, client, clip=clipping, noise=noise, epochs=epochs, batch=BATCH, lr=LR, seed=own)
        answers.append(predictions.predict(private, drawn.images))
    logits = torch.stack(answers)
    right = (logits[:, EXAMPLES:].argmax(2) == drawn.labels[EXAMPLES:]).double().mean().item()
    confidence = membership.scaled_confidence(logits, labels)[:, :EXAMPLES]
    scores = []
    for number in range(NETWORKS):
        others = torch.arange(NETWORKS) != number
        own_scores = membership.lira(confidence[[number]], confidence[others], used[others], shared=True)
        scores.append(own_scores[0])
    return right, tells.auc(torch.stack(scores), used)


@functools.lru_cache(maxsize=64)
def spent(noise: float, epochs: int, seed: int = 0) -> float:
    """The epsilon at a delta of 1e-4 of so many epochs in mini-batches of 50: of the network that spends most.

    Each has its own number of images, and so its own chance of each to be in a mini-batch and number of steps. Of those
    with equally many steps the one with the fewest images spends most.
    """
    if not noise:
        return math.inf
    fewest: dict[int, int] = {}
    for count in sorted(_used(seed).sum(1).tolist(), reverse=True):
        fewest[epochs * -(-count // BATCH)] = count
    how = "prv" if noise >= 0.5 else "rdp"  # with less noise the grid of prv grows too large
    rates = {steps: BATCH / count for steps, count in fewest.items()}
    return max(dp_sgd.epsilon(noise, DELTA, sample_rate=rates[n], steps=n, accountant=how) for n in rates)


@functools.lru_cache(maxsize=32)
def _read(noise: float, clipping: float, name: str, seed: int) -> tuple[Tensor, Tensor, Tensor, int]:
    """Eight images, the guess of trap weights most like each, DLG's at the first, and how many are recognised."""
    whole = data.load(name)
    gallery = whole.sample(min(STEP + DECOYS, len(whole)), runtime.derive(seed, "victims"))
    batch, classes = gallery[:STEP], len(gallery.classes)
    honest = models.fully_connected(batch.shape, classes, widths=(NEURONS,), seed=seed)
    model = trap_weights.plant(honest, TRAP, seed=seed)
    send = functools.partial(dp_sgd.gradient, clip=clipping, noise=noise, seed=seed)
    sent = send(model, batch.images, batch.labels)
    guesses = noisy_extraction.reconstruct(sent, std=noise * clipping / STEP, shape=batch.shape).images
    found = reconstruction.score(guesses, batch.images, gallery.images[STEP:])
    if not len(guesses):
        guesses = torch.full_like(batch.images[:1], 0.5)
    nearest = guesses[reconstruction.identify(batch.images, guesses)]
    lenet = models.lenet(batch.shape, classes, activation="tanh", seed=seed)
    one = send(lenet, batch.images[:1], batch.labels[:1])
    leaked = deep_leakage.reconstruct(
        lenet, one, shape=batch.shape, restarts=2, iterations=200, clip=clipping, seed=seed
    )
    return batch.images, nearest, leaked.best().flatten(0, -4)[:1].clamp(0, 1), round(found.identified * STEP)


def spend(noise: float, clipping: float, epochs: int, *, name: str = "digits", seed: int = 0) -> Frame:
    """What DP-SGD with a noise multiplier and a clipping bound costs, spends and stops.

    Of eight trainings of `epochs`, each on some 300 images: the ε of the one that spends most, the accuracy on new
    images, and membership inference (LiRA). Of one step, on eight images: what trap weights read, and DLG from the step
    of one image alone; both know bound and noise.
    name: images of one label each, 700 or more. Raises ValueError for other data.
    """
    checks.number("noise", noise, 0)
    checks.number("clipping", clipping, 0, open_low=True)
    checks.whole("epochs", epochs)
    right, area = _trained(noise, clipping, epochs, name, seed)
    images, nearest, leaked, count = _read(noise, clipping, name, seed)
    quality = reconstruction.psnr(leaked, images[:1]).clamp_max(99).item()
    epsilon = spent(noise, epochs, seed)
    promised = f"{epsilon:,.1f}" if epsilon < 1000 else "infinite" if math.isinf(epsilon) else f"{epsilon:,.0f}"
    numbers = {
        "ε spent (δ = 0.0001)": promised,
        "accuracy on new images": f"{right:.0%}",
        "recognised by trap weights": f"{count} of {STEP}",
        "deep leakage, one image": f"{quality:.0f} dB",
        "membership, area under the curve": f"{area:.2f}, chance 0.50",
    }
    panels = (
        Panel("eight private images", pixels(images), STEP),
        Panel("read by trap weights", pixels(nearest, LEVELS), STEP),
        Panel("the first, by deep leakage", pixels(leaked, LEVELS), STEP),
    )
    alt = (
        f"Noise {noise}, clipped to {clipping}, {epochs} epochs: ε {promised}, accuracy {right:.0%}. Eight images and "
        f"what attacks read: trap weights {count} of {STEP}, deep leakage {quality:.0f} dB; membership {area:.2f}."
    )
    return Frame(panels, alt, numbers)


def spend_explorer(name: str = "digits") -> Explorer:
    """Noise scale, clipping bound and epochs of `spend`; frames are made beforehand (`privlab explore spend`)."""
    knobs = (
        Knob("noise", "Noise multiplier σ", NOISES),
        Knob("clipping", "Clipping bound C", CLIPS),
        Knob("epochs", "Epochs", EPOCHS),
    )
    start = {"noise": 0.1, "clipping": 1, "epochs": 20}
    stored = frames.load("spend") if name == "digits" else None
    function = functools.partial(spend, name=name)
    return Explorer(
        function, knobs, start=start, name="spend", title="What noise costs, and what it stops", stored=stored
    )
