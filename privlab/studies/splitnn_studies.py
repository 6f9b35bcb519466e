"""The studies of the SplitNN paper (Titcombe et al. 2021): Table 1 and figures 1 to 4, and its sentences."""

import itertools
from collections.abc import Callable, Sequence

import torch

from privlab.studies import split_learning as common
from privlab.studies.curious import checksum
from privlab.studies.outcome import MARGIN, Outcome, both, told
from privlab.studies.splitnn import (
    ALPHAS,
    ATTACK_SETS,
    DATA,
    NOISES,
    PRINTED,
    PRIORS,
    attacked,
    base,
    figure_2_cells,
    large,
    run_accuracy,
    run_attack,
    run_training,
    sizes,
    table_1_cells,
    trained_as,
)
from privlab.studies.study import Cell, Claim, Metrics, Reported, Study, Table, read_reported


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
        together=trained_as,
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


def _better_server(than: str) -> Callable[[Table], bool | None]:
    return ordered("accuracy", [{"noise": 1.0, "alpha": 0.0, "server": how} for how in (than, "retrained")])


def _more_images(table: Table) -> Outcome:
    counts = sorted({row["cell"]["attack_set"] for row in table.rows})
    found = values(table, "psnr", [{"attack_set": count} for count in counts])
    return None if found is None else both(*(told([b - a], margin=MARGIN) for a, b in itertools.pairwise(found)))


def _knowing_helps(table: Table) -> bool | None:
    """At each scale and weight the adversary who knows of the noise is no more than half a decibel worse."""
    cells: list[Cell] = [{"noise": b, "noise_in": "release", "alpha": a} for b in NOISES[1:] for a in (0.0, 0.5)]
    knows, not_ = (values(table, "psnr", [{**c, "adversary": who} for c in cells]) for who in ("noise_aware", "naive"))
    return None if knows is None or not_ is None else all(k > n - MARGIN for k, n in zip(knows, not_, strict=True))


ATTACKED = ("accuracy", *common.QUALITY, "mean_image_psnr", *common.DEPENDENCE)
TRAINED = ("accuracy", *common.DEPENDENCE, "distance_correlation_sd", "relative_noise")
CORRELATION = "distance_correlation_squared"
_SQUARED = {"loss": "squared", "noise": 0.0}
TABLE_1 = study(
    "table-1",
    "Training with NoPeek and noise",
    sizes(table_1_cells),
    run_training,
    TRAINED,
    "alpha",
    (
        Claim(
            "A greater NoPeek weight reduces distance correlation",
            "appendix C.2",
            ordered(CORRELATION, [{**_SQUARED, "alpha": alpha} for alpha in (0.5, 0.2, 0.1, 0.0)]),
        ),
        Claim(
            "Noise in training raises the distance correlation of networks with NoPeek",
            "appendix C.2",
            ordered(CORRELATION, [{"loss": "squared", "alpha": 0.5, "noise": noise} for noise in (0.0, 0.5)]),
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
    lambda name: figure_2_cells(name, 0),
    run_attack,
    ATTACKED,
    "noise",
    (
        Claim("Noise of scale 1.0 destroys reconstructions (naive adversary)", "section 5", _destroyed("naive")),
        Claim("... also for an adversary who knows of the noise", "our control", _destroyed("noise_aware")),
        Claim("To know of the noise is nowhere worse than not to (half a decibel)", "our control", _knowing_helps),
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
            _better_server("fixed"),
        ),
        Claim("... more than training on without noise does", "our control", _better_server("longer")),
    ),
)
STUDIES = (TABLE_1, FIGURE_1, FIGURE_2, FIGURE_3, FIGURE_4)
