"""The ε that DP-SGD spends, and the ε that attacks on what it released can show."""

import functools

import torch
from torch import Tensor

from privlab import models, runtime
from privlab.attacks import membership
from privlab.defences import dp_sgd
from privlab.metrics import auditing
from privlab.metrics import membership as metrics
from privlab.sharing import predictions
from privlab.studies._data import dataset
from privlab.studies.bench.sentence import Found, both, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table
from privlab.studies.membership._records import as_images, likelihoods, study

EPSILONS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
ATTACKS = ("loss", "lira", "steps")
NETWORKS, STEPS, WIDTH, LR, CLIP, DELTA = 8, 40, 16, 1.0, 1.0, 1e-5
CANARIES, OTHERS, GUESSED = 500, 500, 0.2


def cells(name: str) -> list[Cell]:
    """Eight budgets, and three adversaries."""
    promised = {"delta": DELTA, "unit": "example", "where": "client"}
    return [
        {"data": name, "epsilon": epsilon, **promised, "attack": attack} for epsilon in EPSILONS for attack in ATTACKS
    ]


@functools.lru_cache(maxsize=16)
def noise(epsilon: float) -> float:
    """Of every step, in which all examples take part."""
    return dp_sgd.noise_multiplier(epsilon, DELTA, sample_rate=1.0, steps=STEPS)


def _records(name: str, seed: int) -> tuple[Tensor, Tensor, int, int]:
    """Records as images, labels, how many come first that are canaries, whose labels are drawn anew, and how many
    classes.
    """
    source = dataset(name)
    drawn = source.sample(min(CANARIES + OTHERS, len(source)), runtime.derive(seed, "records"))
    canaries = len(drawn) * CANARIES // (CANARIES + OTHERS)
    random = runtime.generator(runtime.derive(seed, "labels"))
    labels = drawn.labels.clone()
    labels[:canaries] = torch.randint(len(source.classes), (canaries,), generator=random)
    return as_images(drawn), labels, canaries, len(source.classes)


@functools.lru_cache(maxsize=1)
def _trained(name: str, epsilon: float, seed: int, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of eight networks their logits for all records, and what the steps tell of the canaries `(8, m)`; the labels,
    and which network was trained on which canary. Each canary is in four of the networks, at random.
    """
    images, labels, canaries, classes = _records(name, seed)
    images, labels = images.to(device), labels.to(device)
    used = predictions.halves(NETWORKS, canaries, runtime.derive(seed, "coins"))
    answers, read = [], []
    for number, inside in enumerate(used):
        own = runtime.derive(seed, "network", number)
        model = models.fully_connected(images.shape[1:], classes, widths=(WIDTH,), seed=own).to(device)
        read.append(_train(model, images, labels, inside.to(device), epsilon, own))
        answers.append(predictions.predict(model, images))
    return torch.stack(answers).cpu(), torch.stack(read).cpu(), labels.cpu(), used


def _train(model, images: Tensor, labels: Tensor, inside: Tensor, epsilon: float, seed: int) -> Tensor:
    """DP-SGD in full batches, in place, watched by a server that knows all records and not which canaries take part.

    Every step it sees a noisy sum of clipped gradients. Less what it expects, that is linear in the coins plus Gaussian
    noise, so that the best linear estimate of all coins from all steps is one system of m equations.
    """
    m, std = len(inside), noise(epsilon) * CLIP
    random = runtime.generator(runtime.derive(seed, "noise"))
    parameters = dict(model.named_parameters())
    normal, right = 4 * torch.eye(m, device=images.device), torch.zeros(m, device=images.device)
    for _ in range(STEPS):
        each = dp_sgd.per_example(model, images, labels, clip=CLIP)
        rows = torch.cat([value.flatten(1) for value in each.values()], 1)
        total = rows[m:].sum(0) + inside.float() @ rows[:m]
        total += std * torch.randn(total.shape, generator=random).to(total)
        rest = total - rows[m:].sum(0) - rows[:m].sum(0) / 2
        normal += rows[:m] @ rows[:m].T / std**2
        right += rows[:m] @ rest / std**2
        with torch.no_grad():
            moves = total.split([each[name][0].numel() for name in parameters])
            for value, move in zip(parameters.values(), moves, strict=True):
                value -= LR / (len(labels) - m / 2) * move.view_as(value)
    return torch.linalg.solve(normal, right)


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Eight networks by DP-SGD, each audited by what one adversary says of its canaries.

    attack: `loss` and `lira` (with the seven other networks as references) see the finished model, `steps` every noisy
    sum. A fifth of the canaries is guessed. epsilon_shown: the mean bound of any mechanism; epsilon_shown_gaussian: of
    Gaussian ones, which full batches make of DP-SGD; above_spent: how many of the 8 runs showed more than was spent.
    """
    logits, steps, labels, used = _trained(cell["data"], cell["epsilon"], seed, str(device))
    count = used.shape[1]
    if cell["attack"] == "loss":
        scores = membership.negative_loss(logits, labels)[:, :count]
    elif cell["attack"] == "steps":
        scores = steps
    else:
        scores = likelihoods(membership.scaled_confidence(logits, labels)[:, :count], used)
    guesses = round(GUESSED * count)
    bounds = {"": auditing.one_run, "_gaussian": auditing.one_run_gaussian}
    found: Metrics = {
        "epsilon_spent": dp_sgd.epsilon(noise(cell["epsilon"]), DELTA, sample_rate=1.0, steps=STEPS),
        "noise": noise(cell["epsilon"]),
        "auc": metrics.auc(scores, used),
        "model_accuracy": (logits.argmax(2) == labels)[:, count:].double().mean().item(),
    }
    right = [auditing.right_guesses(mine, coins, guesses) for mine, coins in zip(scores, used, strict=True)]
    for name, bound in bounds.items():
        shown = torch.tensor([bound(each, guesses, delta=DELTA, canaries=count) for each in right])
        found[f"epsilon_shown{name}"] = shown.mean().item()
        found[f"above_spent{name}"] = (shown > cell["epsilon"]).double().mean().item()
    return found


def _within(table: Table) -> Found:
    """Of all runs of a setting no more than 5 % show more than was spent, by either bound."""
    bounds = ("above_spent", "above_spent_gaussian")
    return {
        f"ε {epsilon:g}, {attack}": both(
            *(
                told([0.05 + 1e-9 - value for value in table.values(bound, epsilon=epsilon, attack=attack)])
                for bound in bounds
            )
        )
        for epsilon in EPSILONS
        for attack in ATTACKS
    }


def _more(low: str, high: str, table: Table) -> Found:
    return {
        f"ε = {epsilon:g}": told(
            table.gains(
                "epsilon_shown_gaussian", {"epsilon": epsilon, "attack": low}, {"epsilon": epsilon, "attack": high}
            )
        )
        for epsilon in EPSILONS
    }


STUDY = study(
    "dp",
    "The ε that is spent, and the ε that is shown",
    "Steinke et al. 2023, section 6; Mahloujifar et al. 2024; Carlini et al. 2022",
    cells=cells,
    run=run,
    data={"fast": ("digits",), "real": ("mnist",), "paper": ("mnist",)},
    knob="epsilon",
    metrics=(
        "epsilon_spent",
        "epsilon_shown",
        "epsilon_shown_gaussian",
        "above_spent",
        "above_spent_gaussian",
        "auc",
        "model_accuracy",
        "noise",
    ),
    together=lambda cell: (cell["data"], cell["epsilon"]),
    claims=(
        Claim(
            "What is shown is above what is spent no more often than it says.",
            "Steinke et al. 2023, Theorem 5.2",
            _within,
            "at most 5 % of eight networks in each draw, every budget and adversary",
            ours=True,
        ),
        Claim(
            "Who sees every step shows more than who sees the finished model.",
            "Nasr et al. 2021, section IV",
            functools.partial(_more, "lira", "steps"),
            "all coins solved for from every noisy sum, against the likelihood ratio with seven references",
            ours=True,
        ),
    ),
)
