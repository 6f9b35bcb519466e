"""Section 5.1 of "Zen" in words, and DLG's row of its Table 10: one adaptation of model or set-up at a time."""

import functools
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from privlab import data, runtime
from privlab.defences import dp_sgd
from privlab.sharing import federated
from privlab.studies.curious import checksum, dataset
from privlab.studies.outcome import UNDECIDED, Outcome
from privlab.studies.study import Cell, Claim, Metrics, Study, Table
from privlab.studies.zen_gradients import BASE, METRICS, VICTIMS, attack, measure, network

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
CLIENT = ("dp_client",)


def plain_cell(name: str, channels: int, side: int) -> Cell:
    """The cell that the others differ from: images as they are, at most 32 pixels wide."""
    return {"data": name, **PLAIN, "channels": channels, "size": min(32, side)}


def cells(name: str) -> list[Cell]:
    """The plain cell, and those that differ from it in one thing. Sizes: photographs, which have enough pixels.

    On colour images, where an attack takes ten times as long, only what the paper says of complex data.
    """
    channels, side = FORMS.get(name) or dataset(name).shape[:2]
    plain = plain_cell(name, channels, side)
    changes: list[Cell] = []
    if name in ("photos", "digits"):
        changes += [{"size": each} for each in SIZES if each != plain["size"]]
    if name != "photos":
        changes += [{"state": s} for s in ("trained_iid", "trained_non_iid")]
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
    images = resized(drawn.images, cell["size"], cell["channels"]).unflatten(0, (VICTIMS, crowd, cell["batch"]))
    labels = drawn.labels.view(VICTIMS, crowd, cell["batch"])
    model = _model(cell, images.shape[-3:], len(source.classes), seed).to(device)
    gradients = [
        _seen(cell, model, x, y, runtime.derive(seed, "noise", v))
        for v, (x, y) in enumerate(zip(images, labels, strict=True))
    ]
    whole = images.flatten(1, 2), labels.flatten(1)
    clip = BOUND if cell["protection"] == "dp_client" else None
    return measure(attack(model, *whole, gradients, runtime.derive(seed, "attack"), clip))


def resized(images: Tensor, size: int, channels: int) -> Tensor:
    """Images `(N, C, H, W)` at `size` x `size` pixels with 1 or 3 `channels`, on the 8-bit grid."""
    if channels == 1 and images.shape[1] == 3:
        images = (images * images.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    images = images.expand(-1, channels, -1, -1)
    if images.shape[-1] != size:
        images = nn.functional.interpolate(images, (size, size), mode="bilinear", antialias=True)
    return (images.clamp(0, 1) * 255).round() / 255


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
    images = resized(part.images, *form)
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


def _rate(table: Table, **settings: object) -> float:
    return table.mean("success_rate", **settings)


def _plain(table: Table) -> Cell | None:
    """The plain cell of the data that a table is about."""
    if not table.rows:
        return None
    name = table.rows[0]["cell"]["data"]
    channels = max(row["cell"]["channels"] for row in table.rows)
    return plain_cell(name, *FORMS.get(name, (channels, 28 if channels == 1 else 32)))


def changed(table: Table, knob: str, values: Sequence[object]) -> list[float] | None:
    """The success rates of the plain cell with one knob at each of some values, None where one is missing."""
    plain = _plain(table)
    if plain is None:
        return None
    rates = [_rate(table, **{**plain, knob: value}) for value in values]
    return None if any(rate != rate for rate in rates) else rates


def _falls(knob: str, worse: Sequence[object]):
    """A test whether the success rate falls below half of the plain cell's at each of some values of a knob."""

    def test(table: Table) -> bool | None:
        bad, good = changed(table, knob, worse), changed(table, "model", ["lenet"])
        return None if bad is None or good is None else max(bad) < good[0] / 2

    return test


def _never(knob: str, values: Sequence[object]):
    """A test whether nothing at all is reconstructed at some values of a knob, and something in the plain cell."""

    def test(table: Table) -> bool | None:
        bad, good = changed(table, knob, values), changed(table, "model", ["lenet"])
        return None if bad is None or good is None else max(bad) == 0 < good[0]

    return test


def _stays(table: Table) -> bool | None:
    """Noise that the server adds to the mean leaves it as many images as no noise."""
    found, good = changed(table, "protection", ["dp_aggregate"]), changed(table, "model", ["lenet"])
    return None if found is None or good is None else found[0] >= good[0] > 0


def _trained(table: Table) -> bool | None:
    found, fresh = changed(table, "state", ["trained_iid"]), changed(table, "state", ["untrained"])
    return None if found is None or fresh is None else found[0] < fresh[0]


def _alike(table: Table) -> Outcome:
    """IID or not: the success rates of trained models differ by less than a quarter. Where neither leaks, who knows."""
    found = changed(table, "state", ["trained_iid", "trained_non_iid"])
    if found is None:
        return None
    return abs(found[0] - found[1]) < 0.25 if max(found) else UNDECIDED


def _grey(table: Table) -> bool | None:
    """By PSNR too, where both succeed always."""
    plain = _plain(table)
    if plain is None:
        return None
    pairs = [table.values("psnr", **{**plain, "channels": c}) for c in (1, 3)]
    return statistics.fmean(pairs[0]) > statistics.fmean(pairs[1]) if all(pairs) else None


def _large_images(table: Table) -> bool | None:
    """One size above 32 at which some image is found is enough to say no."""
    sizes = [changed(table, "size", [size]) for size in (48, 64)]
    if any(found and found[0] > 0 for found in sizes):
        return False
    small = changed(table, "size", [16])
    return None if None in sizes or small is None else small[0] > 0


SECTION_5_1 = Study(
    id="zen/section-5.1",
    title="Deep leakage and one adaptation at a time",
    source="Zen, section 5.1 and Table 10",
    version=1,
    cells=cells,
    run=run,
    data={"fast": ("digits",), "real": ("mnist", "cifar10", "photos"), "paper": ("mnist", "cifar10", "photos")},
    seeds={"fast": 1, "real": 1, "paper": 2},
    knob="batch",
    metrics=METRICS,
    claims=(
        Claim("No reconstruction for batch sizes larger than two", "section 5.1", _never("batch", [4, 8])),
        Claim("No reconstruction of images larger than 32 x 32", "section 5.1", _large_images, ("photos", "digits")),
        Claim("Max-pooling layers are difficult to invert", "section 5.1", _falls("pool", ["max"])),
        Claim("Deeper models are not inverted", "section 5.1", _never("depth", [5, 8])),
        Claim("An untrained model reveals more than a trained one", "section 5.1", _trained),
        Claim("IID or not makes no difference", "section 5.1", _alike),
        Claim("Grey images are inverted better than coloured ones", "section 5.1", _grey, ("cifar10",)),
        Claim("More clients stop the attack (an update averaged from several)", "Table 10", _never("clients", [4])),
        Claim("Client-level DP stops the attack even at epsilon above 5", "section 5.1", _never("protection", CLIENT)),
        Claim("DP on the aggregate alone does not stop a server", "section 5.1", _stays),
        Claim("Secure aggregation stops the attack", "Table 10", _never("protection", ["secure_aggregation"])),
    ),
    large=lambda cell: cell["size"] > 32,  # on a CPU an hour a cell and more
    checksum=checksum,
)
STUDIES = (SECTION_5_1,)
