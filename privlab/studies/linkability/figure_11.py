"""Figure 11: what mitigations take from the attack, and from the task; and those that the paper does not have.

On Omniglot they have no meaning: a drawer's two devices have no character in common, and so no labelled background is
like either. The noise is the paper's, whose updates are larger than ours, and as large in terms of ours.
"""

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from privlab.studies.bench.printed import Printed, Reading, reported
from privlab.studies.bench.sentence import Found, Outcome, both, either, negated, told
from privlab.studies.bench.study import Cell, Claim, Table, alone
from privlab.studies.linkability._defended import NONE, SUMMED, run
from privlab.studies.linkability._federation import METRICS, cells_of, study

SETS = ("mnist-writers", "mitbih")
VARIANCES = (0.01, 0.1, 1.0, 10.0, 100.0)  # of the noise, as the paper's
NORMS = (4.0, 8.0, 16.0, 32.0, 64.0)  # of the noise, in terms of the update's
SHARES = {"bkg-repl": (0.25, 0.5, 0.75, 1.0), "rand-aug": (0.5, 1.0, 2.0), "mm-aug": (0.5, 1.0, 2.0)}
EPSILONS, DELTA = (8.0, 64.0), 1e-3
LESS: tuple[Cell, ...] = (
    *({"mitigation": "top-k", "alpha": share} for share in (0.01, 0.1)),
    {"mitigation": "signs"},
    {"mitigation": "only output"},
    {"mitigation": "only fc1", "layer": "fc1"},
)
HALF, SEVERE, KEPT, MOST = 0.5, 0.8, 0.9, 0.9  # of the attack's gain over random, and of the task's accuracy


def cells(name: str) -> list[Cell]:
    """The paper's four mitigations at its settings, noise in terms of the updates' norms, and what the paper lacks.

    Of sums `alpha` is how many updates are summed: as many as there are, where it is the number of users.
    """
    promised = {"delta": DELTA, "unit": "client", "where": "client"}
    plain = cells_of(
        name,
        NONE,
        *({"mitigation": "noise", "alpha": each} for each in VARIANCES),
        *({"mitigation": "relative noise", "alpha": each} for each in NORMS),
        *({"mitigation": kind, "alpha": each} for kind, some in SHARES.items() for each in some),
        *({"mitigation": "dp", "epsilon": each, **promised} for each in EPSILONS),
        *LESS,
    )
    users = float(plain[0]["users"])
    return plain + cells_of(name, *({**SUMMED, "alpha": each} for each in sums(users)))


def sums(users: float) -> list[float]:
    """How many updates are summed: one, two, five, all of a round."""
    return [1.0, 2.0, 5.0, users]


NOISES = [
    *({"mitigation": "noise", "alpha": each} for each in VARIANCES),
    *({"mitigation": "relative noise", "alpha": each} for each in NORMS),
]


def _named(cell: Cell) -> str:
    signs = {"noise": "σ² = ", "relative noise": "norm × "}
    return f"{cell['mitigation']}, {signs.get(cell['mitigation'], '')}{cell['alpha']:g}"


def _severe_and_small(table: Table) -> Found:
    """Less than eight tenths of the accuracy, and still more than half of the attack's gain."""
    found = {}
    for cell in NOISES:
        lost = told([SEVERE - value for value in table.values("relative_utility", **cell)])
        small = told([HALF - value for value in table.values("reduction_above_random", **cell)])
        found[_named(cell)] = both(lost, small)
    return found


def _convincing(table: Table, cell: Cell, of: str = "reduction_above_random") -> Outcome:
    """Half of the attack's gain is gone, and nine tenths of the accuracy are left."""
    gone = told([value - HALF for value in table.values(of, **cell)])
    left = told([value - KEPT for value in table.values("relative_utility", **cell)])
    return both(gone, left)


def _no_noise_convinces(of: str, table: Table) -> Found:
    return {
        kind: both(*(negated(_convincing(table, cell, of)) for cell in NOISES if cell["mitigation"] == kind))
        for kind in ("noise", "relative noise")
    }


def _frontier(table: Table, rivals: Sequence[Cell], seed: int, reduction: float) -> float | None:
    """The best utility at so much privacy of some points and of none: straight lines between them, level beyond."""
    points = []
    for cell in (NONE, *rivals):
        own = Table([row for row in table.select(**cell).rows if row["seed"] == seed])
        privacy, utility = own.values("reduction_above_random"), own.values("relative_utility")
        if not privacy or not utility:
            return None
        points.append((privacy[0], utility[0]))
    points.sort()
    place, height = np.array(points).T
    best = np.maximum.accumulate(height[::-1])[::-1]  # who has more privacy and more utility also has this much
    return float(np.interp(reduction, place, best))


def _above(table: Table, cell: Cell, rivals: Sequence[Cell]) -> list[float]:
    """By how much the utility of a cell is above that of its rivals at the same privacy, a number a draw."""
    gaps = []
    for row in table.select(**cell).rows:
        own = row["metrics"]
        if "reduction_above_random" in own:
            other = _frontier(table, rivals, row["seed"], own["reduction_above_random"])
            gaps += [] if other is None else [own["relative_utility"] - other]
    return gaps


def _points(kind: str) -> list[Cell]:
    return [{"mitigation": kind, "alpha": alpha} for alpha in SHARES[kind]]


def _beat(kinds: Sequence[str], rivals: Mapping[str, Sequence[Cell]], table: Table) -> Found:
    return {
        f"{_named(cell)}, against {name}": told(_above(table, cell, some))
        for kind in kinds
        for cell in _points(kind)
        for name, some in rivals.items()
    }


def _modes_hide_more(rivals: Sequence[tuple[str, float]], table: Table) -> Found:
    own = {"mitigation": "mm-aug"}
    return {
        f"{kind}, {alpha:g}": told(
            table.gains("reduction_above_random", {"mitigation": kind, "alpha": alpha}, {**own, "alpha": alpha})
        )
        for kind, alpha in rivals
    }


def _more_than_one(table: Table) -> Found:
    """At some alpha a larger accuracy than without, where half of the attack's gain is gone."""
    return either(
        *(
            both(
                told([value - 1 for value in table.values("relative_utility", **cell)]),
                told([value - HALF for value in table.values("reduction_above_random", **cell)]),
            )
            for cell in _points("mm-aug")
        )
    )


def _of_budgets(metric: str, limit: float, sign: int, table: Table) -> Found:
    return {
        f"ε = {epsilon:g}": told(
            [sign * (value - limit) for value in table.values(metric, mitigation="dp", epsilon=epsilon)]
        )
        for epsilon in EPSILONS
    }


def _summing(table: Table) -> Found:
    users = max((float(row["cell"]["users"]) for row in table.rows), default=0.0)
    return {
        f"{count:g} in a sum" if count < users else "all of a round": told(
            [value - HALF for value in table.values("reduction_best", **{**SUMMED, "alpha": count})]
        )
        for count in sums(users)[1:]
    }


def _less_hides_little(table: Table) -> Found:
    return {
        (_named(cell) if "alpha" in cell else cell["mitigation"]): told(
            [HALF - value for value in table.values("reduction_best", **cell)]
        )
        for cell in LESS
    }


AUGMENT = ("rand-aug", "mm-aug")
CLAIMS = (
    Claim(
        "the noise baseline decreases utility severely at a small gain in privacy",
        "section 9.2 (i)",
        _severe_and_small,
        "less than eight tenths of the accuracy, and more than half of what the network has above random is left",
    ),
    Claim(
        "adding random noise does not offer convincing operation points",
        "abstract",
        functools.partial(_no_noise_convinces, "reduction_above_random"),
        "at none of five scales half of what the network has above random is gone and nine tenths of the accuracy left",
    ),
    Claim(
        "replacing data with background samples (bkg-repl) is a good alternative strategy: "
        "we have both higher privacy and utility than noise",
        "section 9.2 (ii)",
        functools.partial(_beat, ("bkg-repl",), {"noise": NOISES}),
        "more accuracy than noise of any of ten scales at the same privacy, straight lines between the scales",
    ),
    Claim(
        "the augmentation-based strategies rand-aug and mm-aug outperforms noise and bkg-repl "
        "in terms of utility and privacy",
        "section 9.2 (iii)",
        functools.partial(_beat, AUGMENT, {"noise": NOISES, "bkg-repl": _points("bkg-repl")}),
        "more accuracy than the other at the same privacy, straight lines between its settings",
    ),
    Claim(
        "for the mm-aug strategy, already at α = 0.5, we observe a good combination of privacy and utility",
        "section 9.2 (iv)",
        lambda table: _convincing(table, {"mitigation": "mm-aug", "alpha": 0.5}),
        "half of what the network has above random is gone, and nine tenths of the accuracy are left",
    ),
    Claim(
        "75% decrease in adversary's AP in OpenImages, compared to 45% for rand-aug and 67% for bkg-replace",
        "section 9.2 (iv)",
        functools.partial(_modes_hide_more, (("rand-aug", 0.5), ("bkg-repl", 0.5))),
        "mm-aug takes more of the network's precision than each other one at α = 0.5, in the same draws",
    ),
    Claim(
        "We find the strategy mm-aug offer the most effective and practical operating points",
        "section 9.2",
        functools.partial(_modes_hide_more, tuple(("rand-aug", alpha) for alpha in SHARES["rand-aug"])),
        "mm-aug takes more of the network's precision than rand-aug at each α, in the same draws",
    ),
    Claim(
        "the utility for mm-aug can be more than 1.0 even at higher privacy level",
        "section 9.2",
        _more_than_one,
        "at some α more accuracy than without it, where half of what the network has above random is gone",
    ),
    Claim(
        "Against an adversary who waits, noise offers no convincing operation point.",
        "Figure 11",
        functools.partial(_no_noise_convinces, "reduction_waiting"),
        "so of one who names the mean of all updates that a device sends, by the best of four attacks",
        ours=True,
    ),
    Claim(
        "Client-level differential privacy takes nine tenths of what the best attack has above random.",
        "Figure 11, and McMahan et al. 2018",
        functools.partial(_of_budgets, "reduction_best", MOST, 1),
        "δ = 0.001, noise of the clients, who share it; the adversary reads what each sends",
        ours=True,
    ),
    Claim(
        "Among so few clients, client-level differential privacy costs a fifth of the accuracy.",
        "Figure 11, and McMahan et al. 2018",
        functools.partial(_of_budgets, "relative_utility", SEVERE, -1),
        "less than eight tenths of the accuracy without it; as many clients as the data set has",
        ours=True,
    ),
    Claim(
        "Of a sum the best attack tells less than half of what it tells of one update.",
        "Figure 11, and section 2 (secure multiparty communication)",
        _summing,
        "who is among those summed: average precision above random, of what random scores leave",
        ours=True,
    ),
    Claim(
        "Sending less hides little.",
        "Figure 11",
        _less_hides_little,
        "more than half of what the best attack has above random is left",
        ours=True,
    ),
)


def _printed(row: Printed) -> Sequence[Reading] | Mapping[str, object] | None:
    """Reductions of the adversary's precision; of the best mitigation, that at the largest α, and at less."""
    if row.variant == "best mitigation":
        own = {"mitigation": "mm-aug"}
        return [Reading({**own, "alpha": 2.0}), *(Reading({**own, "alpha": a}, f"α = {a:g}") for a in (1.0, 0.5))]
    kind, _, alpha = row.variant.partition(" alpha=")
    return {"mitigation": kind, "alpha": float(alpha)} if alpha else None


UNITS = {
    "reduction_of_attack_ap": ("reduction", 100.0, 0.01),
    "effectiveness": ("reduction", 100.0, 0.01),
    "utility": ("relative_utility", 1.0, 0.01),
}
STUDY = study(
    "figure-11",
    "Hiding in the crowd: mitigations",
    "section 9, Figure 11",
    cells=cells,
    run=run,
    data={"fast": ("digits",), "real": SETS, "paper": SETS},
    knob="mitigation",
    metrics=(
        *METRICS,
        "ap_best",
        *("relative_utility", "reduction", "reduction_above_random", "reduction_best"),
        *("ap_waiting", "reduction_waiting"),
    ),
    together=alone,
    reported=tuple(
        item
        for table in ("fig11", "abstract")
        for item in reported("linkability", table, _printed, step=1.0, units=UNITS)
    ),
    claims=CLAIMS,
)
