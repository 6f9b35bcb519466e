"""Section 5.1 in words, and DLG's row of Table 10: one adaptation of model or set-up at a time."""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from privlab import data, runtime
from privlab.defences import dp_sgd
from privlab.sharing import federated
from privlab.studies._data import dataset
from privlab.studies.bench.sentence import (
    MARGIN,
    UNDECIDED,
    Found,
    Outcome,
    both,
    interval,
    negated,
    told,
)
from privlab.studies.bench.study import Cell, Claim, Metrics, Table, Test
from privlab.studies.bench.takes import enough
from privlab.studies.zen._gradients import BASE, VICTIMS, attack, hindered, measure, network, stopped, study, tally

# One network takes every adaptation: DLG's with tanh, which FedAvg can train, where sigmoid hardly learns.
PLAIN: Cell = {
    **BASE,
    "activation": "tanh",
    "depth": 3,
    "size": 28,
    "channels": 1,
    "clients": 1,
    "state": "untrained",
    "protection": "none",
}
# Channels and side of the papers' data: a table can be shown where the data are missing.
FORMS = {"mnist": (1, 28), "digits": (1, 28), "cifar10": (3, 32), "photos": (3, 224)}
SIZES, DEPTHS = (16, 24, 32, 48, 64), (2, 3, 5, 8)
CLIENTS, EXAMPLES = 3, 400  # of the federation that trains a model
EPSILON, DELTA = 6.0, 1e-5  # "even large values of epsilon > 5.0"
BOUND = 1.0
GREY = ("mnist", "digits")


def plain_cell(name: str, channels: int, side: int) -> Cell:
    """The cell that the others differ from: images as they are, at most 32 pixels wide."""
    return {"data": name, **PLAIN, "channels": channels, "size": min(32, side)}


def cells(name: str) -> list[Cell]:
    """The plain cell, and those that differ from it in one thing. Sizes: photographs, which have enough pixels.

    On colour images, where an attack takes ten times as long, only what the paper says of complex data. Of two classes
    three clients cannot each have their own.
    """
    channels, side = FORMS.get(name) or (dataset(name).shape[0], min(dataset(name).shape[1:]))
    plain = plain_cell(name, channels, side)
    changes: list[Cell] = []
    if name in ("photos", "digits"):
        changes += [{"size": each} for each in SIZES if each != plain["size"]]
    if name != "photos":
        apart = name in FORMS or enough(dataset(name).labels, CLIENTS)
        changes += [{"state": s} for s in ("trained_iid", "trained_non_iid") if apart or s == "trained_iid"]
    if channels == 1:
        changes += [{"batch": b} for b in (2, 4, 8)] + [{"clients": 4}]
        changes += [{"depth": d} for d in DEPTHS if d != 3] + [{"conv": c} for c in (4, 64)]
        changes += [{"activation": a} for a in ("sigmoid", "relu")] + [{"pool": p} for p in ("average", "max")]
        changes += [{"protection": p} for p in ("dp_client", "dp_aggregate", "secure_aggregation")]
    elif name != "photos":
        changes += [{"channels": 1}]
    return [plain, *({**plain, **change} for change in changes)]


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Eight victims in eight federations, alike but for the images; DLG on what the server can tell apart.

    `clients` and secure aggregation: the server has the mean of several clients' gradients, a mini-batch each, and
    looks for all their images. dp_client: the client clips and adds noise (DP-SGD at epsilon 6); dp_aggregate: the
    server adds the noise to the mean, after it has seen each gradient, which it therefore attacks as it was: a row that
    equals the plain one by construction. Victims are drawn from all images, so that few of them trained the model.
    """
    source = dataset(cell["data"])
    crowd = 8 if cell["protection"] == "secure_aggregation" else cell["clients"]
    drawn = source.sample(VICTIMS * crowd * cell["batch"], runtime.derive(seed, "victims")).to(device)
    images = data.resized(drawn.images, cell["size"], cell["channels"]).unflatten(0, (VICTIMS, crowd, cell["batch"]))
    labels = drawn.labels.view(VICTIMS, crowd, cell["batch"])
    model = _model(cell, images.shape[-3:], len(source.classes), seed).to(device)
    gradients = [
        _seen(cell, model, x, y, runtime.derive(seed, "noise", v))
        for v, (x, y) in enumerate(zip(images, labels, strict=True))
    ]
    whole = images.flatten(1, 2), labels.flatten(1)
    clip = BOUND if cell["protection"] == "dp_client" else None
    return measure(attack(model, *whole, gradients, runtime.derive(seed, "attack"), clip))


def _model(cell: Cell, shape: Sequence[int], classes: int, seed: int) -> nn.Sequential:
    """The network of a cell, fresh or trained by FedAvg among three clients."""
    fresh = network(cell, shape, classes, runtime.derive(seed, "network"))
    if cell["state"] == "untrained":
        return fresh
    return trained(fresh, cell["data"], cell["state"] == "trained_iid", seed, (cell["size"], cell["channels"]))


def trained(model: nn.Sequential, name: str, iid: bool, seed: int, form: tuple[int, int]) -> nn.Sequential:
    """The model after three rounds of FedAvg among three clients, whose labels are shared out or held apart."""
    source, own = dataset(name), runtime.derive(seed, "federation")
    part = source.sample(min(len(source), CLIENTS * EXAMPLES), own)
    split = data.iid if iid else data.by_label
    images = data.resized(part.images, *form)
    clients = [federated.Client(images[i], part.labels[i]) for i in split(part.labels, CLIENTS, own)]
    return federated.fed_avg(model, clients, rounds=3, epochs=10, batch=32, lr=0.1, seed=own)


@functools.lru_cache(maxsize=4)
def client_noise(batch: int, examples: int) -> float:
    """The noise multiplier of a client that trains as "Zen" does (three rounds of ten epochs) at epsilon 6."""
    rate = batch / examples
    return dp_sgd.noise_multiplier(EPSILON, DELTA, sample_rate=rate, steps=round(30 / rate), accountant="rdp")


def _seen(cell: Cell, model: nn.Module, images: Tensor, labels: Tensor, seed: int) -> federated.Gradient:
    """The gradient that the server reads, of the clients' mini-batches `(clients, B, C, H, W)`."""
    if cell["protection"] == "dp_client":
        noise = client_noise(cell["batch"], len(dataset(cell["data"])) // 3)
        return dp_sgd.gradient(model, images[0], labels[0], clip=BOUND, noise=noise, seed=seed)
    return federated.average([federated.gradient(model, x, y) for x, y in zip(images, labels, strict=True)])


def plain(table: Table) -> Cell:
    """The plain cell of the data that a table is about; of data that are not the papers' all cells have one size."""
    name = table.data or ""
    channels, side = (max((row["cell"][knob] for row in table.rows), default=1) for knob in ("channels", "size"))
    return plain_cell(name, *FORMS.get(name, (channels, side)))


def changed(table: Table, **change: object) -> tuple[float, int]:
    """(victims found, victims) of the plain cell with one knob changed."""
    return tally(table, **{**plain(table), **change})


def _stops(**change: object) -> Test:
    """A test whether nothing at all is reconstructed after a change, and something in the plain cell."""
    return lambda table: stopped(changed(table, **change), changed(table))


def _less(**change: object) -> Test:
    """A test whether fewer victims are found after a change than in the plain cell."""
    return lambda table: hindered(changed(table, **change), changed(table))


def _alike(table: Table) -> Found:
    """IID or not: fewer in neither, by a quarter of the victims. Where neither leaks, who knows."""
    both_ways = [changed(table, state=state) for state in ("trained_iid", "trained_non_iid")]
    if both_ways[0][1] and both_ways[1][1] and not (both_ways[0][0] or both_ways[1][0]):
        return UNDECIDED
    less, more = hindered(*both_ways), hindered(*both_ways[::-1])
    return both(negated(less), negated(more))


STATES = {"IID": "trained_iid", "non-IID": "trained_non_iid"}


def _no_less(table: Table) -> Found:
    """As many victims found after training as before, to a quarter of them."""
    return {name: negated(hindered(changed(table, state=state), changed(table))) for name, state in STATES.items()}


def _grey(table: Table) -> Found:
    """By PSNR, since both succeed always."""
    cells_ = [{**plain(table), "channels": channels} for channels in (3, 1)]
    return told(table.gains("psnr", *cells_), margin=MARGIN)


def _large_images(table: Table) -> Found:
    """Each size above 32, where one image that is found is enough to say no; 16 must succeed."""
    small = changed(table, size=16)
    return {f"{size} pixels": stopped(changed(table, size=size), small) for size in (48, 64)}


def _each_inverted(table: Table) -> Found:
    """Whether more than half of the victims of a trained network are found, by the interval of their share."""
    found: dict[str, Outcome] = {}
    for name, state in STATES.items():
        hits, trials = changed(table, state=state)
        low, high = interval(hits, trials) if trials else (0.0, 1.0)
        found[name] = None if not trials else True if low > 0.5 else False if high < 0.5 else UNDECIDED
    return found


THIRTY = "victims found to 30 dB"
AT_ALL = "no victim found to 30 dB, and enough in the plain network that it would be seen; DLG's network with tanh"
STUDY = study(
    "section-5.1",
    "Deep leakage and one adaptation at a time",
    "section 5.1 and Table 10",
    cells=cells,
    run=run,
    data={"fast": ("digits",), "real": ("mnist", "cifar10", "photos"), "paper": ("mnist", "cifar10", "photos")},
    knob="batch",
    claims=(
        Claim(
            "no reconstruction was possible for batch sizes larger than two",
            "section 5.1",
            lambda table: {f"batches of {b}": stopped(changed(table, batch=b), changed(table)) for b in (4, 8)},
            AT_ALL,
            data=GREY,
        ),
        Claim(
            "if the dimensions of the data are larger than 32x32 pixels, the DLG algorithm […] never converged",
            "section 5.1",
            _large_images,
            AT_ALL,
            data=("photos", "digits"),
        ),
        Claim(
            "Max pooling hinders the attack on a network with tanh",
            "section 5.1",
            _less(pool="max"),
            f"fewer {THIRTY} than with strides; DLG's network with tanh",
            ours=True,
            data=GREY,
        ),
        Claim(
            "The deeper the model is, the more difficult it is for the reconstruction to converge",
            "section 5.1",
            lambda table: {f"{d} convolutions": hindered(changed(table, depth=d), changed(table)) for d in (5, 8)},
            f"fewer {THIRTY} than with three convolutions; tanh, 12 filters",
            data=GREY,
        ),
        Claim(
            "untrained models normally resulted in faster and more frequent convergence",
            "section 5.1",
            lambda table: {
                name: hindered(changed(table, state=state), changed(table)) for name, state in STATES.items()
            },
            f"of *more frequent*: fewer {THIRTY} after three rounds of three clients with 400 images, 2000 iterations",
            data=("cifar10",),
        ),
        Claim(
            "For simpler datasets such as MNIST, we did not observe any substantial difference between a final round "
            "model and an untrained model",
            "section 5.1",
            _no_less,
            f"{THIRTY} after three rounds, within the same 1000 iterations: no fewer, by a quarter of them",
            data=GREY,
        ),
        Claim(
            "in most scenarios both model types can be successfully inverted",
            "section 5.1",
            _each_inverted,
            f"more than half of the {THIRTY} in networks after three rounds",
            data=(*GREY, "cifar10"),
        ),
        Claim(
            "there was no strong difference between the two trained models",
            "section 5.1",
            _alike,
            f"our reading: as many {THIRTY} after training on IID and on non-IID clients, to a quarter of them",
            data=(*GREY, "cifar10"),
        ),
        Claim(
            "utilisation of single-channel images leads to better attack performance when compared to three-channel "
            "images",
            "section 5.1",
            _grey,
            "the same images, PSNR, by half a decibel and two standard errors",
            data=("cifar10",),
        ),
        Claim(
            "More clients stop the attack",
            "Table 10",
            _stops(clients=4),
            f"the mean gradient of four clients, which is all that secure aggregation would show; {AT_ALL}",
            ours=True,
            data=GREY,
        ),
        Claim(
            "client-level (local) DP […] resulted in full attack mitigation even for large values of ε > 5.0",
            "section 5.1",
            _stops(protection="dp_client"),
            f"ε = 6; {AT_ALL}",
            data=GREY,
        ),
    ),
    large=lambda cell: cell["size"] > 32,  # on a CPU an hour a cell and more
)
