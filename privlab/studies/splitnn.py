"""The SplitNN paper (Titcombe et al. 2021): Table 1 and figures 1 to 4."""

import copy
import functools
import itertools
import json
from collections.abc import Callable, Sequence

import torch
from torch import nn

from privlab import models, runtime
from privlab.attacks import decoder
from privlab.defences import averaged, laplace, nopeek
from privlab.defences.laplace_noise import relative
from privlab.metrics import distance_correlation as dependence
from privlab.sharing import federated, split
from privlab.sharing.split import Protect
from privlab.studies import split_learning as common
from privlab.studies.curious import checksum
from privlab.studies.study import Cell, Claim, Metrics, Reported, Study, Table, cell_key, read_reported

CUT, BATCH, QUERIES = "tanh3", 32, 16
LOSSES = {
    "distances": dependence.distance_correlation,
    "squared": dependence.distance_correlation_squared,  # what the released code minimises, and prints in Table 1
}
# Owners' images, epochs, filters and units: the paper's, of which `real` takes a quarter of the images and 4 epochs.
SIZES = {"mnist": ((10_000, 4), (40_000, 10)), "digits": ((860, 20),)}
NETS = {"mnist": ((32, 64), 500), "digits": ((8, 16), 100)}
PRIORS = {"mnist": ("same", "emnist-letters", "omniglot", "fashion-mnist"), "digits": ("same", "patches")}
ATTACK_SETS = {"mnist": (250, 1250, 5000), "digits": (50, 150, 350)}
DATA = {"fast": ("digits",), "real": ("mnist",), "paper": ("mnist",)}
TABLE_1_CELLS = tuple((noise, alpha) for noise in (0.0, 0.1, 0.2, 0.5) for alpha in (0.0, 0.1, 0.2, 0.5))
PRINTED = [pair for pair in TABLE_1_CELLS if pair[1] != 0.2 or pair[0] == 0]  # its twelve rows, and (0, 0)
NOISES, ALPHAS = (0.0, 0.1, 0.5, 1.0), (0.0, 0.1, 0.5, 1.0)


def base(name: str, size: int = 0, **changes: object) -> Cell:
    """An undefended target on one data set. noise_in: `training` (and from then on), or the `release` alone."""
    images, epochs = SIZES.get(name, SIZES["digits"])[size]
    cell: Cell = {"data": name, "cut": CUT, "images": images, "epochs": epochs, "loss": "squared", "alpha": 0.0}
    return {**cell, "noise": 0.0, "noise_in": "release", **changes}


def large(cell: Cell) -> bool:
    """The paper's own size, hours of a CPU for Table 1, and EMNIST, which is half a gigabyte to fetch."""
    return cell["images"] == common.FIRST or cell.get("prior") == "emnist-letters"


def protection(scale: float) -> Protect | None:
    """Laplace noise of a scale, or nothing."""
    return functools.partial(laplace, scale=scale) if scale else None


def _trained_as(cell: Cell) -> str:
    """The settings that a target depends on, as one string."""
    names = ("data", "images", "epochs", "loss", "alpha")
    noise = cell["noise"] if cell["noise_in"] == "training" else 0.0
    return cell_key({**{name: cell[name] for name in names}, "noise": noise})


def target(cell: Cell, seed: int, device: torch.device) -> split.Split:
    """The owners' and the server's trained segments; kept for the cells that attack the same."""
    return copy.deepcopy(_target(_trained_as(cell), seed, str(device)))


@functools.lru_cache(maxsize=4)
def _target(key: str, seed: int, device: str) -> split.Split:
    cell = json.loads(key)
    own = common.shares(cell["data"], 1, 28)[0][: cell["images"]].to(torch.device(device))
    filters, units = NETS.get(cell["data"], NETS["digits"])
    seeds = [runtime.derive(seed, what) for what in ("network", "train")]
    model = models.split_cnn(own.shape, own.classes, filters=filters, units=units, seed=seeds[0]).to(device)
    statistic = LOSSES[cell["loss"]]
    return split.train(
        model,
        [federated.Client(own.images, own.labels)],
        cut=CUT,
        epochs=cell["epochs"],
        batch=BATCH,
        protect=protection(cell["noise"]),
        penalty=nopeek.penalty(cell["alpha"], statistic=statistic) if cell["alpha"] else None,
        seed=seeds[1],
    )


def run_training(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Table 1: training under noise and NoPeek; accuracy, and what the noisy activations tell of the images.

    On the images 45,000 to 50,000, distance correlation over batches of 32. relative_noise: the noise's standard
    deviation over that of the activations.
    """
    victims = common.shares(cell["data"], 1, 28)[2].to(device)
    parts, protect = target(cell, seed, device), protection(cell["noise"])
    clean = split.send(parts.owner, victims.images)
    sent = protect(clean, seed=runtime.derive(seed, "release")) if protect else clean
    return {
        "accuracy": split.accuracy(parts, victims.images, victims.labels, protect=protect),
        **common.correlations(victims.images, sent, BATCH),
        "relative_noise": relative(clean, cell["noise"]),
    }


def run_attack(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Figures 1 to 3: a decoder against noise that is added after training.

    adversary: `naive`, trained on activations without noise; `noise_aware`, on its own activations with such noise;
    `averaging`, who also sees each victim's activations sixteen times, under noise drawn anew, and takes the mean.
    """
    victims = common.shares(cell["data"], 1, 28)[2][: common.VICTIMS].to(device)
    parts, protect = target(cell, seed, device), protection(cell["noise"])
    seen = averaged(protect, QUERIES) if protect and cell["adversary"] == "averaging" else protect
    sent = split.send(parts.owner, victims.images, protect=seen, seed=runtime.derive(seed, "release"))
    guesses = decoder.reconstruct(_decoder(_attacked_with(cell), seed, str(device)), sent)
    mean = _adversary(cell).mean(0).to(device).expand_as(victims.images)
    return {
        "accuracy": split.accuracy(parts, victims.images, victims.labels, protect=protect),
        **common.quality(guesses, victims, common.judge(cell["data"], 1, 28).to(device), BATCH),
        "mean_image_psnr": common.reconstruction.psnr(mean, victims.images).mean().item(),
        **common.correlations(victims.images, sent, BATCH),
    }


def _attacked_with(cell: Cell) -> str:
    """The settings that a decoder depends on: a naive adversary trains the same one whatever noise is added later."""
    known = cell["noise"] if cell["adversary"] != "naive" else None
    return cell_key({**cell, "known": known} | ({"noise": 0.0} if cell["noise_in"] == "release" else {}))


@functools.lru_cache(maxsize=8)
def _decoder(key: str, seed: int, device: str) -> nn.Sequential:
    cell = json.loads(key)
    known = protection(cell["known"] or 0.0)
    known = averaged(known, QUERIES) if known and cell["adversary"] == "averaging" else known
    own = _adversary(cell).to(torch.device(device))
    return common.decoder_for(target(cell, seed, torch.device(device)).owner, own, protect=known, seed=seed)


def _adversary(cell: Cell) -> torch.Tensor:
    if cell["prior"] == "same":
        return common.shares(cell["data"], 1, 28)[1].images[: cell["attack_set"]]
    return common.pictures(cell["prior"], 1, 28, cell["attack_set"]).images


def run_accuracy(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Figure 4: accuracy under noise after training.

    server: `retrained` under it, for as long again; `longer`, trained on as long but without noise, the control.
    """
    own, _, victims = (part.to(device) for part in common.shares(cell["data"], 1, 28))
    parts, protect = target(cell, seed, device), protection(cell["noise"])
    if cell["server"] != "fixed":
        client = federated.Client(own.images[: cell["images"]], own.labels[: cell["images"]])
        own_seed = runtime.derive(seed, "retrain")
        met = protect if cell["server"] == "retrained" else None
        parts = split.retrain_server(parts, [client], protect=met, epochs=cell["epochs"], seed=own_seed)
    clean = split.send(parts.owner, victims.images)
    return {
        "accuracy": split.accuracy(parts, victims.images, victims.labels, protect=protect),
        "relative_noise": relative(clean, cell["noise"]),
    }


def sizes(make: Callable[[str, int], list[Cell]]) -> Callable[[str], list[Cell]]:
    """The cells of each size that a data set has."""
    return lambda name: [cell for size in range(len(SIZES.get(name, (0,)))) for cell in make(name, size)]


def _table_1(name: str, size: int) -> list[Cell]:
    """The paper's twelve rows and (0, 0); once more with the textbook's distances where there is a loss at all."""
    rows = [base(name, size, noise=noise, noise_in="training", alpha=alpha) for noise, alpha in PRINTED]
    return rows + [{**row, "loss": "distances"} for row in rows if row["alpha"] and row["noise"] in (0.0, 0.5)]


def attacked(name: str, size: int = 0, **changes: object) -> Cell:
    """The cell of figures 1 to 3: `base`, no noise, the naive adversary, 5000 images of the same kind."""
    most = ATTACK_SETS.get(name, ATTACK_SETS["digits"])[-1]
    return {**base(name, size), "prior": "same", "attack_set": most, "adversary": "naive", **changes}


def _figure_2(name: str, size: int) -> list[Cell]:
    """Noise and alpha alone, both together, and the adversaries who know of the noise."""
    cells = [attacked(name, size, alpha=alpha) for alpha in ALPHAS]
    for alpha in (0.0, 0.5):
        cells += [
            attacked(name, size, alpha=alpha, noise=noise, adversary=who)
            for noise in NOISES[1:]
            for who in ("naive", "noise_aware", "averaging")
        ]
    known = {"noise_in": "training", "adversary": "noise_aware"}
    return cells + [attacked(name, size, noise=noise, **known) for noise in (0.5, 1.0)]


def _printed() -> tuple[Reported, ...]:
    """Table 1, whose distance correlation is that of squared distances: it comes from the released code."""

    def cell(_dataset: str, variant: str) -> Cell:
        noise, alpha = (float(part.partition("=")[2]) for part in variant.split(","))
        return {"noise": noise, "alpha": alpha, "loss": "squared"}

    return tuple(
        Reported(item.dataset, item.cell, "accuracy", item.value / 100, 1e-4)
        if item.metric == "accuracy"
        else Reported(item.dataset, item.cell, "distance_correlation_squared", item.value, 1e-3)
        for item in read_reported("splitnn", "1", cell, step=1.0)
    )


def study(
    name: str,
    title: str,
    cells: Callable[[str], list[Cell]],
    run: Callable[[Cell, int, torch.device], Metrics],
    metrics: Sequence[str],
    knob: str,
    claims: Sequence[Claim],
    reported: Sequence[Reported] = (),
) -> Study:
    """A study of this paper: all are about the same targets."""
    return Study(
        id=f"splitnn/{name}",
        title=title,
        source=f"SplitNN, {name.replace('-', ' ').replace('table', 'Table')}",
        version=1,
        cells=cells,
        run=run,
        data=DATA,
        seeds={"fast": 1, "real": 1, "paper": 3},
        knob=knob,
        metrics=tuple(metrics),
        reported=tuple(reported),
        claims=tuple(claims),
        large=large,
        checksum=checksum,
        together=_trained_as,
    )


def values(table: Table, metric: str, cells: Sequence[Cell]) -> list[float] | None:
    """A metric in each of some cells, at the largest size that was measured; None where one is missing."""
    for count in sorted({row["cell"]["images"] for row in table.rows}, reverse=True):
        found = [table.mean(metric, images=count, **cell) for cell in cells]
        if all(value == value for value in found):
            return found
    return None


def ordered(metric: str, cells: Sequence[Cell], *, by: float = 0.0) -> Callable[[Table], bool | None]:
    """Whether a metric rises from each of these cells to the next by more than `by`."""

    def test(table: Table) -> bool | None:
        found = values(table, metric, cells)
        return None if found is None else all(b - a > by for a, b in itertools.pairwise(found))

    return test


def _both(*tests: Callable[[Table], bool | None]) -> Callable[[Table], bool | None]:
    def test(table: Table) -> bool | None:
        found = [each(table) for each in tests]
        return None if None in found else all(found)

    return test


def _destroyed(adversary: str) -> Callable[[Table], bool | None]:
    """Whether noise 1.0 leaves an adversary no better than its mean image."""
    cell: Cell = {"alpha": 0.0, "noise": 1.0, "noise_in": "release", "adversary": adversary}

    def test(table: Table) -> bool | None:
        found, mean = values(table, "psnr", [cell]), values(table, "mean_image_psnr", [cell])
        return None if found is None or mean is None else found[0] < mean[0] + 1

    return test


def _generic(table: Table) -> bool | None:
    """With alpha less of the image is shown, and its class is still named: SSIM falls, the class hardly."""
    cells: list[Cell] = [{"alpha": alpha, "noise": 0.0} for alpha in (0.5, 0.0)]
    image, kind = values(table, "ssim", cells), values(table, "class_accuracy", cells)
    return None if image is None or kind is None else image[1] - image[0] > 0.05 and kind[1] - kind[0] < 0.05


def _class_is_read(prior: str) -> Callable[[Table], bool | None]:
    def test(table: Table) -> bool | None:
        found = values(table, "class_accuracy", [{"prior": prior}])
        return None if found is None else found[0] >= 0.75

    return test


def _more_images(table: Table) -> bool | None:
    counts = sorted({row["cell"]["attack_set"] for row in table.rows})
    found = values(table, "psnr", [{"attack_set": count} for count in counts])
    return None if found is None else all(b > a for a, b in itertools.pairwise(found))


ATTACKED = ("accuracy", *common.QUALITY, "mean_image_psnr", *common.DEPENDENCE)
TRAINED = ("accuracy", *common.DEPENDENCE, "relative_noise")
_CORRELATION = "distance_correlation_squared"
_SQUARED = {"loss": "squared", "noise": 0.0}
TABLE_1 = study(
    "table-1",
    "Training with NoPeek and noise",
    sizes(_table_1),
    run_training,
    TRAINED,
    "alpha",
    (
        Claim(
            "A greater NoPeek weight reduces distance correlation",
            "appendix C.2",
            ordered(_CORRELATION, [{**_SQUARED, "alpha": alpha} for alpha in (0.5, 0.2, 0.1, 0.0)]),
        ),
        Claim(
            "Noise in training raises the distance correlation of networks with NoPeek",
            "appendix C.2",
            ordered(_CORRELATION, [{"loss": "squared", "alpha": 0.5, "noise": noise} for noise in (0.0, 0.5)]),
        ),
        Claim(
            "Neither costs much accuracy (two points)",
            "section 5",
            _both(
                *(
                    ordered("accuracy", [{"loss": "squared", "alpha": 0.0, "noise": 0.0}, cell], by=-0.02)
                    for cell in ({"loss": "squared", "alpha": a, "noise": n} for n, a in PRINTED)
                )
            ),
        ),
    ),
    _printed(),
)
FIGURE_1 = study(
    "figure-1",
    "What an adversary knows of the images",
    lambda name: [attacked(name, 0, prior=prior) for prior in PRIORS.get(name, PRIORS["digits"])],
    run_attack,
    ATTACKED,
    "prior",
    (
        Claim(
            "A prior of other handwriting is enough to read the class (EMNIST)",
            "section 5",
            _class_is_read("emnist-letters"),
        ),
        Claim("The same with Omniglot in the place of EMNIST", "section 5", _class_is_read("omniglot")),
    ),
)
FIGURE_2 = study(
    "figure-2",
    "Noise and NoPeek against the decoder",
    lambda name: _figure_2(name, 0),
    run_attack,
    ATTACKED,
    "noise",
    (
        Claim("Noise of scale 1.0 destroys reconstructions (naive adversary)", "section 5", _destroyed("naive")),
        Claim("... also for an adversary who knows of the noise", "our control", _destroyed("noise_aware")),
        Claim("NoPeek makes reconstructions generic, of a class that is still shown", "section 5", _generic),
    ),
)
FIGURE_3 = study(
    "figure-3",
    "How many images the adversary has",
    lambda name: [attacked(name, 0, attack_set=count) for count in ATTACK_SETS.get(name, ATTACK_SETS["digits"])],
    run_attack,
    ATTACKED,
    "attack_set",
    (Claim("More images to train on give better reconstructions", "appendix C.1", _more_images),),
)
FIGURE_4 = study(
    "figure-4",
    "Accuracy under noise after training",
    lambda name: [
        base(name, alpha=alpha, noise=noise, server=server)
        for alpha in ALPHAS
        for noise in NOISES
        for server in (("fixed", "retrained", "longer") if noise and alpha in (0.0, 0.5) else ("fixed",))
    ],
    run_accuracy,
    ("accuracy", "relative_noise"),
    "noise",
    (
        Claim(
            "With a greater NoPeek weight the same noise costs more accuracy",
            "appendix C.2",
            ordered("accuracy", [{"server": "fixed", "noise": 1.0, "alpha": alpha} for alpha in (0.5, 0.0)]),
        ),
        Claim(
            "A server that trains on under the noise wins accuracy back",
            "section 5",
            ordered("accuracy", [{"noise": 1.0, "alpha": 0.0, "server": how} for how in ("fixed", "retrained")]),
        ),
        Claim(
            "... more than training on without noise does",
            "our control",
            ordered("accuracy", [{"noise": 1.0, "alpha": 0.0, "server": how} for how in ("longer", "retrained")]),
        ),
    ),
)
STUDIES = (TABLE_1, FIGURE_1, FIGURE_2, FIGURE_3, FIGURE_4)
