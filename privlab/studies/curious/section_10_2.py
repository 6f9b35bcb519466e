"""Section 10.2: trap weights, and a model that still learns."""

import functools

import torch
from torch import nn

from privlab import models, runtime
from privlab.attacks import gradient_extraction, trap_weights
from privlab.sharing import federated
from privlab.studies._data import dataset
from privlab.studies.bench.sentence import POINT, Found, both, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table, Takes
from privlab.studies.curious._extraction import scale
from privlab.studies.curious._paper import study

CLIENTS, EXAMPLES, BATCH, ROUNDS, NEURONS, LR = 10, 100, 20, 100, 1000, 0.1
STRATEGIES = ("honest", "every_round", "first_rounds", "few_users", "both")
FEW_ROUNDS, FEW_USERS = 5, 2


def trapped(strategy: str, number: int, client: int) -> bool:
    """Whether the server sends trap weights to this client in this round. Source: "Curious", section 10.2."""
    early, chosen = number < FEW_ROUNDS, client < FEW_USERS
    return {
        "honest": False,
        "every_round": True,
        "first_rounds": early,
        "few_users": chosen,
        "both": early and chosen,
    }[strategy]


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """FedSGD with a server that plants trap weights in some rounds for some clients; accuracy beside theft.

    recall: the share of all clients' images that the server ends up with, each counted once. Gradients of
    trapped models are read and thrown away, so that they do no harm to the shared model.
    """
    images = dataset(cell["data"])
    test = min(1000, len(images) - CLIENTS * EXAMPLES)
    mixed = images.sample(CLIENTS * EXAMPLES + test, runtime.derive(seed, "clients")).to(device)
    parts = [mixed[i * EXAMPLES : (i + 1) * EXAMPLES] for i in range(CLIENTS)]
    held_out = mixed[CLIENTS * EXAMPLES :]
    start = models.fully_connected(
        images.shape, len(images.classes), widths=(NEURONS,), seed=runtime.derive(seed, "network")
    ).to(device)
    stolen: list[torch.Tensor] = []

    @functools.lru_cache(maxsize=1)
    def trap(number: int) -> nn.Module:
        return trap_weights.plant(start, cell["s"], seed=runtime.derive(seed, "trap", number))

    def send(number: int, client: int, model: nn.Module) -> nn.Module:
        return trap(number) if trapped(cell["strategy"], number, client) else model

    def listen(number: int, client: int, sent: federated.Gradient) -> None:
        if trapped(cell["strategy"], number, client):
            stolen.append(gradient_extraction.extract(sent, shape=images.shape).images)

    clients = [federated.Client(part.images, part.labels) for part in parts]
    own = runtime.derive(seed, "federation")
    model = federated.fed_sgd(start, clients, rounds=ROUNDS, batch=BATCH, lr=LR, seed=own, listen=listen, send=send)
    with torch.no_grad():
        loss = federated.cross_entropy(model(held_out.images), held_out.labels).item()
    return {
        "accuracy": federated.accuracy(model, held_out.images, held_out.labels),
        "loss": loss,
        "recall": _share(stolen, mixed.images[: CLIENTS * EXAMPLES]),
    }


def _share(stolen: list[torch.Tensor], images: torch.Tensor) -> float:
    """How many of the images (all on the grid of 8 bits) are among the stolen ones."""
    taken = {bytes((image * 255).round().byte().cpu().numpy()) for part in stolen for image in part}
    return sum(bytes((image * 255).round().byte().cpu().numpy()) in taken for image in images) / len(images)


def _no_gain(table: Table) -> Found:
    """Trapping everybody in every round leaves it at less than twice the guessing rate of ten classes."""
    return told([0.2 - value for value in table.values("accuracy", strategy="every_round")], margin=POINT)


def _useful(table: Table, strategy: str) -> Found:
    """Either strategy loses less than five points of accuracy and still steals a tenth of all images."""
    lost = table.gains("accuracy", {"strategy": strategy}, {"strategy": "honest"})
    stolen = table.values("recall", strategy=strategy)
    return both(told([0.05 - each for each in lost]), told(stolen, 0.1))


TESTED = "100 rounds of FedSGD, ten clients, against an honest server: under five points lost, over a tenth stolen"
STUDY = study(
    "section-10.2",
    "Trap weights in few rounds, or for few users",
    "section 10.2",
    cells=lambda name: [{"data": name, "strategy": way, "s": scale(name), "batch": BATCH} for way in STRATEGIES],
    run=run,
    knob="strategy",
    metrics=("accuracy", "recall", "loss"),
    claims=(
        Claim(
            "each time, a new model is sent out, it practically results in little to no accuracy gain over multiple FL "
            "iterations",
            "section 10.2",
            _no_gain,
            "traps for everybody in each of 100 rounds: an accuracy below 20 % on ten classes",
        ),
        Claim(
            "in order to still obtain a useful model […] send the adversarially (re-)initialized model out only at a "
            "few communication rounds",
            "section 10.2",
            lambda table: _useful(table, "first_rounds"),
            f"the first five rounds; {TESTED}",
        ),
        Claim(
            "the central party could also only target a subset of users",
            "section 10.2",
            lambda table: _useful(table, "few_users"),
            f"two of ten users; {TESTED}",
        ),
    ),
    takes=Takes(least=CLIENTS * EXAMPLES + 100),
)
