"""The explorer of a poisoned round: what liars do to a federation, under five rules of its server."""

import functools
import math
import warnings
from collections.abc import Callable, Sequence

import torch
from torch import nn

from privlab import checks, data, models, runtime
from privlab.attacks import backdoor, poisoning
from privlab.defences import aggregation, update_analysis
from privlab.explore import frames
from privlab.explore.explorer import Explorer, Knob
from privlab.explore.frame import Frame
from privlab.metrics import robustness
from privlab.sharing import federated, predictions, together
from privlab.sharing.federated import Client, Update

ATTACKS = ("label flipping", "sign flipping", "tailored lie", "backdoor")
LIARS = (0, 1, 2, 4, 6)
HOLDINGS = ("a mixture of all", "three kinds each")
CLIENTS, EACH, SHARDS, ROUNDS, DRAWS = 20, 45, 3, 20, 3
TRAINING = {"epochs": 2, "batch": 9, "lr": 0.1}
WIDTH, TARGET, MARKED, KEPT = 64, 0, 0.5, 10  # MARKED: of a liar's images; KEPT: updates that multi-Krum averages
WIDE, HIGH, LEFT = 300, 170, 46  # of a plot

Rule = Callable[[Sequence[Update]], Update]
# Each by how many may lie, and how its line is drawn.
RULES: dict[str, tuple[Callable[[int], Rule], str]] = {
    "mean": (lambda f: aggregation.mean, 'stroke="currentColor" stroke-dasharray="2 3"'),
    "median": (lambda f: aggregation.median, 'stroke="var(--pl-blue)"'),
    "multi-Krum": (
        lambda f: functools.partial(aggregation.multi_krum, f=f, keep=KEPT),
        'stroke="var(--pl-accent)"',
    ),
    "norm clipping": (lambda f: aggregation.clipped_mean, 'stroke="var(--pl-blue)" stroke-dasharray="7 3"'),
    "update analysis": (
        lambda f: update_analysis.without(update_analysis.by_length, update_analysis.by_direction),
        'stroke="var(--pl-accent)" stroke-dasharray="7 3"',
    ),
}


def _federation(holding: str, name: str, seed: int) -> list[Client]:
    """Clients with 45 images each: any of them, or three parts of 15 out of all in the order of their labels."""
    drawn = data.load(name).sample(CLIENTS * EACH, seed)
    order = torch.arange(len(drawn))
    if holding == HOLDINGS[1]:
        parts = drawn.labels.argsort(stable=True).view(CLIENTS * SHARDS, -1)
        random = runtime.generator(runtime.derive(seed, "shards"))
        order = parts[torch.randperm(len(parts), generator=random)].flatten()
    return [Client(drawn.images[part], drawn.labels[part]) for part in order.split(EACH)]


def _lying(attack: str, clients: list[Client], liars: int, classes: int, rule: Rule) -> federated.Trainer:
    """Who trains the clients, of whom the first lie; those who lie about their data are put in their places."""
    if attack == "label flipping":
        clients[:liars] = [poisoning.flip_labels(each, classes) for each in clients[:liars]]
    elif attack == "backdoor":
        clients[:liars] = [
            backdoor.poison(each, TARGET, share=MARKED, seed=place) for place, each in enumerate(clients[:liars])
        ]
    elif liars:
        if attack == "sign flipping":
            craft = functools.partial(poisoning.scale, factor=-CLIENTS / liars)
        else:
            craft = functools.partial(poisoning.adaptive, aggregate=rule, malicious=liars)
        return poisoning.Colluders(clients[:liars], craft, omniscient=attack == "tailored lie")
    return together.local_updates


def _scored(model: nn.Module, test: data.Dataset) -> tuple[float, float]:
    """The accuracy, and the share of marked images that is taken for the target; a network that blew up guesses."""
    made = predictions.predict(model, test.images)
    if not made.isfinite().all():
        return 1 / len(test.classes), 0.0
    right = (made.argmax(1) == test.labels).double().mean().item()
    marked = predictions.predict(model, backdoor.stamp(test.images))
    return right, robustness.backdoor_rate(marked, test.labels, TARGET)


@functools.lru_cache(maxsize=600)
def _trained(attack: str, liars: int, holding: str, rule: str, name: str, seed: int) -> tuple[tuple[float, float], ...]:
    """Accuracy and backdoor rate before the first round and after each."""
    test, clients = data.load(name, split="test"), _federation(holding, name, seed)
    aggregate = RULES[rule][0](liars)
    trainer = _lying(attack, clients, liars, len(test.classes), aggregate)
    model: nn.Module = models.fully_connected(test.shape, len(test.classes), widths=(WIDTH,), seed=seed)
    found = [_scored(model, test)]
    for number in range(ROUNDS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a network that blew up each client's update is dropped, with a warning
            model = federated.fed_avg(
                model,
                clients,
                rounds=1,
                seed=runtime.derive(seed, "round", number),
                train=trainer,
                aggregate=aggregate,
                **TRAINING,  # type: ignore[arg-type]
            )
        found.append(_scored(model, test))
    return tuple(found)


def _draws(attack: str, liars: int, holding: str, rule: str, name: str, seed: int) -> torch.Tensor:
    """Of each draw the accuracy and the backdoor rate over rounds, `(DRAWS, ROUNDS + 1, 2)`."""
    attack = attack if liars else ATTACKS[0]  # without a liar all attacks are the same
    seeds = range(DRAWS * seed, DRAWS * (seed + 1))
    return torch.tensor([_trained(attack, liars, holding, rule, name, each) for each in seeds])


def poison(attack: str, liars: int, holding: str, *, name: str = "digits", seed: int = 0) -> Frame:
    """Twenty clients of whom some lie train a network in twenty rounds: what it becomes under each rule of the server.

    attack: one of `ATTACKS`; liars: how many, fewer than 9, which the rules that ask for it are told; holding: one of
    `HOLDINGS`, the clients' digits. Means of three draws, and in brackets the least and the most of them.
    """
    checks.one_of("attack", attack, ATTACKS)
    checks.whole("liars", liars, 0, (CLIENTS - 3) // 2)
    checks.one_of("holding", holding, HOLDINGS)
    found = {rule: _draws(attack, liars, holding, rule, name, seed) for rule in RULES}
    honest = {rule: _draws(attack, 0, holding, rule, name, seed) for rule in RULES}
    marks = attack == "backdoor"
    numbers: dict[str, str | tuple[str, ...]] = {}
    for rule, each in found.items():
        ends = [honest[rule][:, -1, 0], each[:, -1, 0], *([each[:, -1, 1]] if marks else [])]
        numbers[rule] = tuple(map(_spread, ends))
    said = ", ".join(f"{rule} {each[:, -1, 0].mean():.0%}" for rule, each in found.items())
    alt = f"Accuracy over {ROUNDS} rounds, {liars} of {CLIENTS} clients lie by {attack}, {holding}. At the end: {said}."
    plots = _plot({rule: each[..., 0].mean(0).tolist() for rule, each in found.items()}, "accuracy (up)")
    heads: tuple[str, ...] = ("accuracy, none lies", "accuracy")
    if marks:
        heads = (*heads, f"marked, read as {TARGET}")
        said = ", ".join(f"{rule} {each[:, -1, 1].mean():.0%}" for rule, each in found.items())
        alt += f" Beside it, marked images that are read as {TARGET}: {said}."
        shares = {rule: each[..., 1].mean(0).tolist() for rule, each in found.items()}
        plots += _plot(shares, f"marked images read as {TARGET} (up)")
    plot = f'<div class="pl-plots" aria-hidden="true">{plots}</div>{_key()}'
    return Frame((), alt, numbers, heads=heads, plot=plot)


def _spread(found: torch.Tensor) -> str:
    low, high = (f"{100 * each:.0f}" for each in (found.min(), found.max()))
    return f"{found.mean():.0%}" + (f" ({low} to {high})" if low != high else "")


def _plot(curves: dict[str, list[float]], label: str) -> str:
    """A line for each rule, shares upwards and rounds across."""
    parts = f'<path d="M{LEFT} 6V{HIGH}H{LEFT + WIDE}" fill="none" stroke="currentColor"/>'
    for share in (0, 0.5, 1):
        parts += f'<text x="{LEFT - 4}" y="{_up(share) + 4}" text-anchor="end">{share:.0%}</text>'
    for number in (0, ROUNDS // 2, ROUNDS):
        parts += f'<text x="{_across(number)}" y="{HIGH + 16}" text-anchor="middle">{number}</text>'
    for rule, values in curves.items():
        points = " ".join(f"{_across(number)},{_up(value)}" for number, value in enumerate(values))
        parts += f'<polyline points="{points}" fill="none" stroke-width="2" {RULES[rule][1]}/>'
    words = f'<text x="{LEFT + WIDE / 2:g}" y="{HIGH + 34}" text-anchor="middle">{label}, rounds (across)</text>'
    box = f"0 0 {LEFT + WIDE + 12} {HIGH + 40}"
    return f'<svg viewBox="{box}" font-size="12" fill="currentColor" style="max-width:27rem">{parts}{words}</svg>'


def _across(number: int) -> float:
    return round(LEFT + WIDE * number / ROUNDS)


def _up(share: float) -> float:
    return round(HIGH - (HIGH - 10) * share) if math.isfinite(share) else HIGH


def _key() -> str:
    each = (
        f'<span><svg viewBox="0 0 30 8"><path d="M0 4H30" stroke-width="2" {style}/></svg> {rule}</span>'
        for rule, (_, style) in RULES.items()
    )
    return f'<div class="pl-key" aria-hidden="true">{"".join(each)}</div>'


def poison_explorer(name: str = "digits") -> Explorer:
    """Attack, liars and the clients' digits as controls of `poison`; stored frames (`privlab explore poison`)."""
    knobs = (
        Knob("attack", "Attack", ATTACKS, choice=True),
        Knob("liars", f"Liars among {CLIENTS} clients", LIARS),
        Knob("holding", "Each client's digits", HOLDINGS, choice=True),
    )
    start = {"attack": "sign flipping", "liars": 0, "holding": HOLDINGS[0]}
    stored = frames.load("poison") if name == "digits" else None
    function = functools.partial(poison, name=name)
    return Explorer(function, knobs, start=start, name="poison", title="A poisoned round", stored=stored)
