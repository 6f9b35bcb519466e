"""The ε that one run shows, beside the true one of a Gaussian mechanism."""

import torch

from privlab import runtime
from privlab.metrics import auditing
from privlab.studies.bench.sentence import Found, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table
from privlab.studies.bench.takes import MADE, Takes
from privlab.studies.membership._records import study

DELTA, RUNS, GUESSED = 1e-5, 200, 0.1
EPSILONS, CANARIES = (0.93, 1.99, 4.38, 10.0), (100, 1000, 5000)
METHODS = {"one run": auditing.one_run, "one run, f-DP": auditing.one_run_gaussian}


def cells(name: str) -> list[Cell]:
    """Four true budgets, three numbers of canaries, and two bounds."""
    return [
        {"data": name, "epsilon": epsilon, "canaries": count, "attack": method}
        for epsilon in EPSILONS
        for count in CANARIES
        for method in METHODS
    ]


def release(epsilon: float, canaries: int, random: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Fair coins, bool `(m,)`, and the scores of a Gaussian mechanism: each canary has a coordinate of its own, and the
    server sees that coordinate of the noisy sum.
    """
    members = torch.rand(canaries, generator=random) < 0.5
    mu = auditing.gaussian_mu(epsilon, DELTA)
    return members, members * mu + torch.randn(canaries, generator=random)


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """200 runs: the mean of the ε shown at 95 %, its spread, and how often it was above the truth.

    A tenth of the canaries is guessed, those of the most extreme scores; how many was fixed before.
    """
    random = runtime.generator(runtime.derive(seed, "audit", cell["epsilon"], cell["canaries"]))
    guesses = max(2, round(GUESSED * cell["canaries"]))
    shown = []
    for _ in range(RUNS):
        members, scores = release(cell["epsilon"], cell["canaries"], random)
        right = auditing.right_guesses(scores, members, guesses)
        shown.append(METHODS[cell["attack"]](right, guesses, delta=DELTA, canaries=cell["canaries"]))
    found = torch.tensor(shown, dtype=torch.float64)
    return {
        "epsilon_shown": found.mean().item(),
        "epsilon_sd": found.std().item(),
        "above_truth": (found > cell["epsilon"]).double().mean().item(),
    }


def _made(_name: str) -> tuple[str, str]:
    """This study reads no data."""
    return "", "made"


def _never_more_often(table: Table) -> Found:
    """No more than 5 % of runs show more than there is, in each setting."""
    found = {}
    for row in table.rows:
        cell = row["cell"]
        found[f"ε {cell['epsilon']}, {cell['canaries']}, {cell['attack']}"] = table.values("above_truth", **cell)
    return {name: told([0.05 + 1e-9 - value for value in values]) for name, values in found.items()}


def _knowing_helps(table: Table) -> Found:
    return {
        f"ε = {epsilon}": told(
            table.gains(
                "epsilon_shown",
                {"epsilon": epsilon, "canaries": 5000, "attack": "one run"},
                {"epsilon": epsilon, "canaries": 5000, "attack": "one run, f-DP"},
            )
        )
        for epsilon in EPSILONS
    }


STUDY = study(
    "audit",
    "The ε that one run shows of a Gaussian mechanism",
    "Steinke et al. 2023; Mahloujifar et al. 2024",
    cells=cells,
    run=run,
    data=dict.fromkeys(("fast", "real", "paper"), MADE),
    knob="canaries",
    metrics=("epsilon_shown", "epsilon_sd", "above_truth"),
    load=lambda _name: None,
    takes=Takes(kind="made"),
    checksum=_made,
    claims=(
        Claim(
            "The bound is above the truth no more often than it says.",
            "Steinke et al. 2023, Theorem 5.2",
            _never_more_often,
            "at most 5 % of 200 runs, in every setting",
            ours=True,
        ),
        Claim(
            "Who knows that the mechanism is Gaussian shows more.",
            "Mahloujifar et al. 2024",
            _knowing_helps,
            "5000 canaries",
            ours=True,
        ),
    ),
)
