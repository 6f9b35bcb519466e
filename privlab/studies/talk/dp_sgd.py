"""What noise stops each attack on a step of DP-SGD or on the model, and how much accuracy it leaves."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from privlab import data, models, runtime
from privlab.attacks import deep_leakage, label_inference, membership, noisy_extraction, trap_weights
from privlab.defences import dp_sgd
from privlab.metrics import membership as tells
from privlab.metrics import reconstruction
from privlab.sharing import federated, predictions
from privlab.studies._data import checksum, dataset
from privlab.studies.bench.sentence import Found, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Study, Table
from privlab.studies.bench.takes import Takes

NOISES = (0.0, 1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0)
CLIP, BATCH, DECOYS, NEURONS = 1.0, 8, 500, 500
IMAGES, WIDTH, EPOCHS, DP_BATCH, LR, DELTA = 1000, 64, 50, 100, 2.0, 1e-4
NETWORKS, VICTIMS = 8, 8
WRONG = 0.15
TRAP = 0.9  # the scale of trap weights on small mini-batches
HALF = 0.5


def cells(name: str) -> list[Cell]:
    """Seven noise multipliers, and what is measured under each: four attacks on one step, one on the model."""
    unit = {"delta": DELTA, "unit": "example", "where": "client"}
    return [{"data": name, "attack": attack, "noise": noise, **unit} for attack in ATTACKS for noise in NOISES]


def _images(name: str, count: int, seed: int) -> data.Dataset:
    source = dataset(name)
    return source.sample(min(count, len(source)), runtime.derive(seed, "images"))


def _sent(model: nn.Module, batch: data.Dataset, noise: float, seed: int) -> federated.Gradient:
    return dp_sgd.gradient(
        model, batch.images, batch.labels, clip=CLIP, noise=noise, seed=runtime.derive(seed, "noise")
    )


def _labels(name: str, noise: float, seed: int, device: torch.device) -> tuple[float, float]:
    """The share of the labels of eight mini-batches that is counted right; the same by who guesses at random.

    The server knows of the clipping: by images of its own it estimates by what share a step was made smaller.
    """
    drawn = _images(name, VICTIMS * BATCH + DECOYS, seed).to(device)
    classes, own = len(drawn.classes), drawn[VICTIMS * BATCH :]
    model = models.fully_connected(drawn.shape, classes, widths=(NEURONS,), seed=seed).to(device)
    parts = [drawn[BATCH * number : BATCH * (number + 1)] for number in range(VICTIMS)]
    each = dp_sgd.per_example(model, own.images, own.labels)
    norms = torch.stack([value.flatten(1).norm(dim=1) for value in each.values()]).norm(dim=0)
    share = (CLIP / norms).clamp_max(1).mean()
    sent = []
    for number, part in enumerate(parts):
        step = _sent(model, part, noise, runtime.derive(seed, number))
        sent.append(replace(step, tensors={layer: step[layer] / share for layer in step}))
    found = label_inference.labels(model, sent, shape=drawn.shape, seed=runtime.derive(seed, "guess")).cpu()
    random = runtime.generator(runtime.derive(seed, "blind"))
    blind = torch.randint(classes, found.shape, generator=random)
    return tuple(_overlap(each, parts, classes) for each in (found, blind))  # type: ignore[return-value]


def _overlap(found: Tensor, parts: list[data.Dataset], classes: int) -> float:
    """How many labels two multisets have in common, as a share."""
    right = [
        torch.minimum(mine.bincount(minlength=classes), part.labels.cpu().bincount(minlength=classes)).sum()
        for mine, part in zip(found, parts, strict=True)
    ]
    return float(sum(right)) / sum(len(part) for part in parts)


def _rows(name: str, noise: float, seed: int, device: torch.device, *, trap: bool) -> tuple[float, float]:
    """The share of a mini-batch's images that is recognised among 500 others, read from the rows of a dense layer."""
    drawn = _images(name, BATCH + DECOYS, seed).to(device)
    honest = models.fully_connected(drawn.shape, len(drawn.classes), widths=(NEURONS,), seed=seed).to(device)
    model = trap_weights.plant(honest, TRAP, seed=runtime.derive(seed, "trap")) if trap else honest
    sent = _sent(model, drawn[:BATCH], noise, seed)
    read = noisy_extraction.reconstruct(sent, std=noise * CLIP / BATCH, shape=drawn.shape).images
    return _recognised(read, drawn[:BATCH], drawn[BATCH:]), BATCH / len(drawn)


def _recognised(guesses: Tensor, batch: data.Dataset, decoys: data.Dataset) -> float:
    return reconstruction.score(guesses, batch.images, decoys.images).identified


def _leakage(name: str, noise: float, seed: int, device: torch.device) -> tuple[float, float]:
    """The share of eight victims that DLG, which knows the bound, shows so that they are recognised among 500 others;
    each sends the step of one image.
    """
    drawn = _images(name, VICTIMS + DECOYS, seed).to(device)
    model = models.lenet(drawn.shape, len(drawn.classes), activation="tanh", seed=seed).to(device)
    sent = [_sent(model, drawn[v : v + 1], noise, runtime.derive(seed, v)) for v in range(VICTIMS)]
    found = deep_leakage.reconstruct(
        model, sent, shape=drawn.shape, restarts=2, iterations=300, clip=CLIP, seed=runtime.derive(seed, "attack")
    )
    best = found.best()[:, 0].clamp(0, 1)
    shown = [_recognised(best[v : v + 1], drawn[v : v + 1], drawn[VICTIMS:]) for v in range(VICTIMS)]
    return sum(shown) / VICTIMS, 1 / (1 + DECOYS)


@functools.lru_cache(maxsize=2)
def _trained(name: str, noise: float, seed: int, device: str) -> tuple[Tensor, Tensor, Tensor, float]:
    """Logits of eight networks, each trained by DP-SGD on half of the images; labels, of which 15 in 100 are drawn
    anew; who used what; the accuracy of one that was trained on all of them.
    """
    drawn = _images(name, 2 * IMAGES, seed).to(device)
    own, fresh = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
    random = runtime.generator(runtime.derive(seed, "wrong"))
    wrong = torch.rand(len(own), generator=random) < WRONG
    anew = torch.randint(len(own.classes), (len(own),), generator=random)
    labels = torch.where(wrong.to(device), anew.to(device), own.labels)
    used = predictions.halves(NETWORKS, len(own), runtime.derive(seed, "halves"))
    whole = torch.ones(1, len(own), dtype=torch.bool)
    answers = []
    for number, inside in enumerate(torch.cat([used, whole])):
        about = runtime.derive(seed, "network", number)
        model = models.fully_connected(own.shape, len(own.classes), widths=(WIDTH,), seed=about).to(device)
        client = federated.Client(own.images[inside], labels[inside])
        settings: dict[str, Any] = {
            "clip": CLIP,
            "noise": noise,
            "epochs": EPOCHS,
            "batch": min(DP_BATCH, int(inside.sum())),
        }
        trained = dp_sgd.train(model, client, **settings, lr=LR, seed=about)
        answers.append(predictions.predict(trained, own.images if number < NETWORKS else fresh.images))
    right = (answers[-1].argmax(1) == fresh.labels).double().mean().item()
    return torch.stack(answers[:-1]).cpu(), labels.cpu(), used, right


def _membership(name: str, noise: float, seed: int, device: torch.device) -> tuple[float, float]:
    """The share of members that is told at the odds that suit most, beyond those told wrongly: twice the area under
    the curve less one. The likelihood ratio, whose seven references were trained with the same noise.
    """
    logits, labels, used, _ = _trained(name, noise, seed, str(device))
    confidence = membership.scaled_confidence(logits, labels)
    scores = membership.lira(confidence[:1], confidence[1:], used[1:], online=True, shared=True)
    return 2 * tells.auc(scores, used[:1]) - 1, 0.0


ATTACKS: Mapping[str, Callable[[str, float, int, torch.device], tuple[float, float]] | None] = {
    "labels": _labels,
    "extraction": functools.partial(_rows, trap=False),
    "trap_weights": functools.partial(_rows, trap=True),
    "dlg": _leakage,
    "membership": _membership,
    "training": None,
}


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """What one attack gets under one noise multiplier, at a clip of 1 for each example.

    success: labels, the share counted right; extraction, trap_weights and dlg, the share of images recognised among
    500 others; membership, twice the area under the curve less one. blind: what a guess gets. training: the accuracy on
    new images after 50 epochs on 1000,
    or half of what there is, and the epsilon that these spend (by moments).
    """
    attack = ATTACKS[cell["attack"]]
    if attack:
        success, blind = attack(cell["data"], cell["noise"], seed, device)
        return {"success": success, "blind": blind}
    made = {"accuracy": _trained(cell["data"], cell["noise"], seed, str(device))[3]}
    if cell["noise"]:
        count = min(2 * IMAGES, len(dataset(cell["data"]))) // 2
        rate, steps = DP_BATCH / count, EPOCHS * -(-count // DP_BATCH)
        made["epsilon_spent"] = dp_sgd.epsilon(cell["noise"], DELTA, sample_rate=rate, steps=steps, accountant="rdp")
    return made


def stopped(table: Table, attack: str, noise: float) -> list[float]:
    """By how much less than half of its gain without noise an attack keeps, a number a draw; none where it had none."""
    plain, noisy = ({"attack": attack, "noise": each} for each in (0.0, noise))
    pairs = zip(table.by_seed("success", plain, noisy), table.by_seed("blind", plain, noisy), strict=True)
    return [
        HALF * (before - blind) - (after - blind) for (before, after), (blind, _) in pairs if before - blind >= LEAST
    ]


LEAST = 0.1  # a gain over guessing from which on there is something to stop
READERS = tuple(name for name in ATTACKS if name not in ("training", "membership"))


def _one_stops(table: Table) -> Found:
    return {attack: told(stopped(table, attack, 1.0)) for attack in (*READERS, "membership")}


def _little_is_enough(table: Table) -> Found:
    return {attack: told(stopped(table, attack, 0.1)) for attack in READERS}


STUDY = Study(
    id="talk/dp-sgd",
    title="The noise that stops each attack, and the accuracy it leaves",
    source="the talk Adversarial interference (DP-SGD, and its last questions)",
    version=1,
    cells=cells,
    run=run,
    data={"fast": ("digits",), "real": ("mnist",), "paper": ("mnist",)},
    seeds={"fast": 3, "real": 3, "paper": 3},
    knob="noise",
    metrics=("success", "blind", "accuracy", "epsilon_spent"),
    load=dataset,
    names_data=False,
    checksum=checksum,
    takes=Takes(least=600),
    together=lambda cell: (cell["data"], cell["noise"]),
    claims=(
        Claim(
            "A noise multiplier of 1 stops every attack.",
            "the talk",
            _one_stops,
            "no more than half of what it gains over a guess is left; eight images a step, of DLG one; clipped at 1",
            ours=True,
        ),
        Claim(
            "A tenth of it stops those that read one step.",
            "the talk",
            _little_is_enough,
            "labels, extraction, trap weights and DLG",
            ours=True,
        ),
    ),
)
