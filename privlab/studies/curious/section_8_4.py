"""Section 8.4: the attack in a framework, each of fifty users read before the server aggregates."""

import statistics

import torch
from torch import nn

from privlab import models, runtime
from privlab.attacks import gradient_extraction, trap_weights
from privlab.metrics import extraction
from privlab.sharing import federated
from privlab.studies._data import dataset
from privlab.studies.bench.printed import Printed, Reading, reported
from privlab.studies.bench.sentence import Found, alike, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table
from privlab.studies.curious._extraction import scale
from privlab.studies.curious._paper import study

USERS, BATCH, NEURONS, S = 50, 100, 1000, 0.99
LR, INIT = 0.1, "xavier_uniform"
SMALL = 0.0005  # of trap weights that survive being sent as weights: a thousandth of the paper's
DATA = {"fast": ("digits", "patches"), "real": ("mnist-writers", "cifar100"), "paper": ("emnist-digits", "cifar100")}
STANDS = {"digits": "EMNIST", "mnist-writers": "EMNIST", "patches": "CIFAR-100"}
SIGMA = {"passive": None, "trap": 0.5, "small trap": SMALL}
BEST = {"emnist-digits": 0.7, "mnist-writers": 0.7, "cifar100": 0.95}  # section 8.3's, for digits and for 32 by 32
METRICS = ("recall", "precision", "active", "recall_sd", "bytes")


def cells(name: str) -> list[Cell]:
    """A passive server and traps: with gradients, as the paper has it; with weights, as frameworks send; in Flower's.

    Traps with the s that section 8.4 names, and with the best one of section 8.3 (`scale` for other data).
    """
    best = BEST.get(name) or scale(name)
    ways: list[tuple[str, str, str, str]] = [
        ("in_process", "gradient", "passive", "none"),
        ("in_process", "gradient", "trap", "as printed"),
        ("in_process", "gradient", "trap", "best"),
        ("in_process", "weights", "passive", "none"),
        ("in_process", "weights", "trap", "best"),
        ("in_process", "weights", "small trap", "best"),
        ("flower_simulation", "weights", "small trap", "best"),
    ]
    scales = {"none": {}, "as printed": {"s": S}, "best": {"s": best}}
    base = {"data": name, "users": USERS, "batch": BATCH, "neurons": NEURONS}
    return [
        {**base, "framework": where, "sends": what, "server": server, **scales[which], "s_is": which}
        for where, what, server, which in ways
    ]


def client(name: str, seed: int, user: int) -> federated.Client:
    """One user's mini-batch: of a writer where the set names writers, else drawn from all images."""
    source = dataset(name)
    if source.users is None:
        drawn = source.sample(BATCH, runtime.derive(seed, "user", user))
        return federated.Client(drawn.images, drawn.labels)
    everyone = source.users.unique()
    order = torch.randperm(len(everyone), generator=runtime.generator(runtime.derive(seed, "users")))
    own = (source.users == everyone[order[user % len(everyone)]]).nonzero().flatten()
    some = torch.randperm(len(own), generator=runtime.generator(runtime.derive(seed, "user", user)))[:BATCH]
    drawn = source[own[some]]
    return federated.Client(drawn.images, drawn.labels)


def network(cell: Cell, seed: int) -> nn.Sequential:
    """A thousand neurons in the first dense layer, which is all that the paper says; no other but the last."""
    images = dataset(cell["data"])
    drawn = runtime.derive(seed, "network")
    return models.fully_connected(images.shape, len(images.classes), widths=(NEURONS,), init=INIT, seed=drawn)


def trapped(cell: Cell, model: nn.Module, seed: int) -> nn.Module:
    """What the server sends."""
    sigma = SIGMA[cell["server"]]
    drawn = runtime.derive(seed, "trap")
    return model if sigma is None else trap_weights.plant(model, cell["s"], sigma=sigma, seed=drawn)


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Means over the users, and the standard deviation of recall among them; bytes are those that a user sends.

    With `weights` a client trains for one step and sends its new weights, of which the server takes the difference.
    """
    heard = _in_flower(cell, seed) if cell["framework"] == "flower_simulation" else _here(cell, seed, device)
    found = []
    size = 0
    for user, shared in heard.items():
        images = client(cell["data"], seed, user).images.to(device)
        rows = gradient_extraction.candidates(_on(shared, device))
        found.append(extraction.score(rows, images, neurons=NEURONS))
        size = sum(each.numel() * each.element_size() for each in shared.tensors.values())
    recalls = [each.recall for each in found]
    return {
        "recall": statistics.fmean(recalls),
        "precision": statistics.fmean(each.precision for each in found),
        "active": statistics.fmean(each.active for each in found),
        "recall_sd": statistics.stdev(recalls),
        "bytes": float(size),
    }


def _on(gradient: federated.Gradient, device: torch.device) -> federated.Gradient:
    return federated.Gradient({name: each.to(device) for name, each in gradient.tensors.items()}, gradient.examples)


def _here(cell: Cell, seed: int, device: torch.device) -> dict[int, federated.Gradient]:
    model = trapped(cell, network(cell, seed), seed).to(device)
    heard = {}
    for user in range(USERS):
        own = client(cell["data"], seed, user)
        own = federated.Client(own.images.to(device), own.labels.to(device))
        if cell["sends"] == "gradient":
            heard[user] = federated.gradient(model, own.images, own.labels)
            continue
        random = runtime.generator(runtime.derive(seed, "flower", user, 1))
        update = federated.local_update(model, own, epochs=1, batch=BATCH, lr=LR, random=random)
        sent = {name: (weight + update[name]).detach() for name, weight in model.named_parameters()}
        change = {name: sent[name] - weight.detach() for name, weight in model.named_parameters()}
        heard[user] = federated.Gradient(change, len(own.labels))
    return heard


def _in_flower(cell: Cell, seed: int) -> dict[int, federated.Gradient]:
    """One round of Flower's simulation: honest clients, and a server that plants, reads, and throws away."""
    from flwr.serverapp import ServerApp
    from flwr.serverapp.strategy import FedAvg

    from privlab import flower

    with flower.quietly():
        everyone = FedAvg(fraction_evaluate=0.0, min_train_nodes=USERS, min_available_nodes=USERS)
    strategy = flower.Malicious(everyone, network(cell, seed), lambda model: trapped(cell, model, seed))
    server = ServerApp()

    @server.main()
    def main(grid, _context) -> None:
        strategy.start(grid, flower.record(strategy.model), num_rounds=1)

    app = flower.client_app(
        lambda: network(cell, seed), lambda part, _: client(cell["data"], seed, part), batch=BATCH, lr=LR, seed=seed
    )
    flower.simulate(server, app, USERS)
    if len(strategy.heard) != USERS:
        raise RuntimeError(f"{len(strategy.heard)} of {USERS} users answered: {strategy.missing}")
    return {
        user: heard.gradient() for user, heard in enumerate(sorted(strategy.heard, key=lambda each: each.partition))
    }


def readings(row: Printed) -> list[Reading]:
    """Gradients, as it says that the aggregator collects, of mini-batches as large as in the rest of section 8.

    Table 5 prints a recall of zero for CIFAR-10 at the s that section 8.4 names, so that it may be another one.
    """
    if "trap" not in row.variant:
        return [Reading({**SENT, "server": "passive"})]
    trap = {**SENT, "server": "trap"}
    return [Reading({**trap, "s_is": "as printed"}), Reading({**trap, "s_is": "best"}, "the s of section 8.3")]


def _gains(table: Table, metric: str) -> Found:
    """Over a passive server, for each s."""
    passive = {**SENT, "server": "passive"}
    ways = {"s = 0.99": "as printed", "the s of section 8.3": "best"}
    return {
        name: told(table.gains(metric, passive, {**SENT, "server": "trap", "s_is": which}))
        for name, which in ways.items()
    }


def _rounded(table: Table) -> Found:
    pairs = table.by_seed("recall", {**TAKEN, "server": "trap"}, {**SENT, "server": "trap", "s_is": "best"})
    return told([sent / 2 - taken for taken, sent in pairs])


def _small(table: Table) -> Found:
    ways = ({**SENT, "server": "trap", "s_is": "best"}, {**TAKEN, "server": "small trap"})
    return alike(table.gains("recall", *ways), 0.02)


def _same(table: Table) -> Found:
    """Paired, to the thousandth: two images of five thousand may fall the other way by rounding."""
    ways = ({**TAKEN, "server": "small trap"}, {"framework": "flower_simulation"})
    return alike(table.gains("recall", *ways), 0.001)


RUN = ("cifar100", "mnist-writers", "digits", "patches")  # of which a sentence of ours speaks
SENT: Cell = {"framework": "in_process", "sends": "gradient"}
TAKEN: Cell = {"framework": "in_process", "sends": "weights"}


STUDY = study(
    "section-8.4",
    "In a framework: fifty users, each read before they are averaged",
    "section 8.4",
    cells=cells,
    run=run,
    data=DATA,
    knob="server",
    metrics=METRICS,
    reported=reported("curious", "8.4", readings, step=0.01),
    runs=USERS,
    stands=STANDS,
    claims=(
        Claim(
            "our attack works consistently well against commonly used FL benchmarks",
            "section 8.4",
            lambda table: _gains(table, "recall"),
            "recall with trap weights over that of a passive server, the same users, by two standard errors",
        ),
        Claim(
            "Trap weights are more precise than a passive server",
            "section 8.4",
            lambda table: _gains(table, "precision"),
            "precision per active neuron, the same users, by two standard errors",
            ours=True,
        ),
        Claim(
            "A framework that sends weights in place of gradients rounds the paper's trap away",
            "ours",
            _rounded,
            "exact recall at σ = 0.5 from weights less than half of that from gradients, by two standard errors",
            ours=True,
            data=RUN,
        ),
        Claim(
            "A trap of small weights reads as much out of weights as the paper's out of gradients",
            "ours",
            _small,
            "recall at σ = 0.0005 within 0.02, by two standard errors",
            ours=True,
            data=RUN,
        ),
        Claim(
            "Flower's simulation and one process read the same",
            "ours",
            _same,
            "recall within 0.001",
            ours=True,
            data=RUN,
        ),
    ),
)
