"""Figure 4: accuracy under noise after training."""

import torch

from privlab import runtime
from privlab.defences.laplace_noise import relative
from privlab.sharing import federated, split
from privlab.studies import _split_learning as common
from privlab.studies.bench.sentence import POINT, Found, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table
from privlab.studies.splitnn._paper import ALPHAS, NOISES, SMALL, base, protection, small, study, target


def cells(name: str) -> list[Cell]:
    """A fixed server at every noise and weight; with noise, one trained on under it, and one without, the control."""
    return [
        base(name, alpha=alpha, noise=noise, server=server)
        for alpha in ALPHAS
        for noise in NOISES
        for server in (("fixed", "retrained", "longer") if noise and alpha in (0.0, 0.5) else ("fixed",))
    ]


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Accuracy under noise after training.

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


def _way(table: Table, noise: float, alpha: float = 0.0, server: str = "fixed") -> Cell:
    return small(table, noise=noise, alpha=alpha, server=server)


def _noise_costs_little(table: Table) -> Found:
    plain = _way(table, 0.0)
    return {
        f"noise of {noise:g}": told(table.gains("accuracy", plain, _way(table, noise)), -2 * POINT)
        for noise in NOISES[1:]
    }


def _trade_off(table: Table) -> Found:
    """What a noise of 1 costs in accuracy at α = 0.5, against what it costs without NoPeek."""
    ways = [_way(table, noise, alpha) for alpha in (0.0, 0.5) for noise in (0.0, 1.0)]
    costs = [(bare - noisy, with_ - both) for bare, noisy, with_, both in table.by_seed("accuracy", *ways)]
    return told([hidden - plain for plain, hidden in costs], margin=POINT)


def _reasonable(table: Table) -> Found:
    """Less than five points lost to a noise of 0.5."""
    return {
        f"α = {alpha:g}": told(table.gains("accuracy", _way(table, 0.0, alpha), _way(table, 0.5, alpha)), -5 * POINT)
        for alpha in (0.5, 1.0)
    }


def _better_server(table: Table, than: str) -> Found:
    return {
        f"α = {alpha:g}": told(
            table.gains("accuracy", _way(table, 1.0, alpha, than), _way(table, 1.0, alpha, "retrained")), margin=POINT
        )
        for alpha in (0.0, 0.5)
    }


STUDY = study(
    "figure-4",
    "Accuracy under noise after training",
    "figure 4",
    cells=cells,
    run=run,
    knob="noise",
    metrics=("accuracy", "relative_noise"),
    claims=(
        Claim(
            "the proposed noise defence mechanism […] do[es] not significantly impact the classification model’s "
            "accuracy",
            "section 5",
            _noise_costs_little,
            f"{SMALL}: noise after training, less than two points of accuracy lost, by two standard errors",
        ),
        Claim(
            "As NoPeekNN weight increases, the trade-off between noise and accuracy increases",
            "appendix C.2",
            _trade_off,
            f"{SMALL}: a noise of 1 costs a point and more at a weight of 0.5 than without NoPeek",
        ),
        Claim(
            "Even at high NoPeekNN’s weighting loss there is a reasonable accuracy trade-off for noise scales […] "
            "(≈ 0.5)",
            "appendix C.2",
            _reasonable,
            f"{SMALL}: a noise of 0.5 costs less than five points of accuracy, by two standard errors",
        ),
        Claim(
            "could be improved by post-training the computational server’s model segment with noise applied",
            "section 5",
            lambda table: _better_server(table, "fixed"),
            f"{SMALL}, a noise of 1: a point of accuracy and more above the fixed server's",
        ),
        Claim(
            "… more than training on without noise does",
            "a control",
            lambda table: _better_server(table, "longer"),
            f"{SMALL}, a noise of 1: a point of accuracy and more above a server's trained on without noise",
            ours=True,
        ),
    ),
)
