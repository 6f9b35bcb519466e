"""The explorer of the whole map: what is shared, who is feared, what it may cost, and which defence stops whom."""

import functools
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from privlab import checks, studies
from privlab.explore.explorer import Explorer, Knob
from privlab.explore.frame import Frame

LYING = {
    "data_poisoning": "data poisoning",
    "sign_flipping": "sign flipping",
    "alie": "ALIE",
    "ipm": "IPM",
    "backdoor": "backdoor",
    "model_replacement": "model replacement",
    "semantic_backdoor": "semantic backdoor",
}
READING = {"inversion": "inversion", "trap_weights": "trap weights", "attribute": "attribute"}
USING = {"evasion": "evasion", "membership": "membership", "extraction": "extraction"}
ATTACKS = {**LYING, **READING, **USING}
RULES = {
    "median": "median",
    "trimmed_mean": "trimmed mean",
    "multi_krum": "multi-Krum",
    "bulyan": "Bulyan",
    "geometric_median": "geometric median",
    "norm_clipping": "norm clipping",
    "update_analysis": "update analysis",
    "verification": "verification",
}
MODEL = {
    "adversarial_training": "adversarial training",
    "distillation": "distillation",
    "pruning": "pruning",
    "dp_sgd": "DP-SGD",
    "labels_only": "labels only",
}
WAYS = {"secure_sum": "secure sum", "split_learning": "split learning"}
DEFENCES = {"none": "none", **RULES, "data_analysis": "data analysis", **MODEL, **WAYS}
SHARED = {
    "updates": ("none", *RULES, "data_analysis", *MODEL),
    "sums": ("secure_sum", *RULES, "data_analysis", *MODEL),
    "activations": ("split_learning",),
    "answers": ("none", *MODEL),
}
FEARED = {
    "a curious server": ("inversion", "attribute", "membership"),
    "a malicious server": (*READING, "membership"),
    "a client": (*LYING, "evasion", "membership"),
    "an outsider": tuple(USING),
}
COSTS = {"a point of accuracy": 0.01, "five points": 0.05, "anything": math.inf}
HALF, LEAST = 0.5, 0.1  # of a gain, and the gain that is worth stopping
BLIND, TOGETHER = "the server sees no single update", "not measured together with sums"
COLOURS = {True: "var(--pl-blue)", False: "var(--pl-accent)", "cannot tell": "currentColor", None: "currentColor"}
KEY = (
    "Numbers: how often who knows the defence succeeds, in per cent. Bars: what is left of what it gains; blue where "
    "that is half or less, orange where it is more, grey where draws cannot tell. Framed: a tenth more than with "
    "no defence."
)
SIDE, TOP, NAMES, END = 25, 120, 118, 36  # of a cell, the heads, the names, and each of two columns at the right


@dataclass(frozen=True)
class Entry:
    """One attack under one defence. metrics: means over `draws`, empty where nothing was measured.

    reason: why the pair is not measured, in words. left: the share of the attack's gain that is left to an adversary
    who knows the defence; NaN where it gains less than a tenth without one. stopped: whether that is half or less, by
    the rule for sentences: True, False, "cannot tell", or None where there is nothing to stop or nothing measured.
    opens: by the same rule, whether the attack succeeds, and gains, a tenth more than without the defence.
    """

    reason: str = ""
    draws: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    left: float = math.nan
    stopped: bool | str | None = None
    opens: bool | str | None = None


@functools.lru_cache(maxsize=4)
def matrix(name: str = "digits") -> Mapping[tuple[str, str], Entry]:
    """Every attack under every defence, from the stored rows of `talk/defences` on one data set, by both names."""
    study = studies.get("talk/defences")
    found: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    for line in studies.compare(study).lines:
        if line.cell["data"] == name and line.by_seed:
            found.setdefault((line.cell["attack"], line.cell["defence"]), {})[line.metric] = line.by_seed
    made = {}
    for attack in ATTACKS:
        plain = found.get((attack, "none"), {})
        for defence in DEFENCES:
            reason = study.absent({"attack": attack, "defence": defence})
            made[attack, defence] = _entry(found.get((attack, defence), {}), plain, reason)
    return made


def _gains(metrics: Mapping[str, Mapping[int, float]]) -> dict[int, float]:
    success, guess = (metrics.get(each, {}) for each in ("attack_success", "baseline"))
    return {draw: success[draw] - guess[draw] for draw in sorted(success)}


def _entry(metrics: Mapping[str, Mapping[int, float]], bare: Mapping[str, Mapping[int, float]], reason: str) -> Entry:
    if not metrics:
        return Entry(reason)
    means = {each: statistics.fmean(values.values()) for each, values in metrics.items()}
    held, plain = _gains(metrics), _gains(bare)
    draws = [draw for draw in held if plain.get(draw, 0) >= LEAST]
    stopped = studies.told([HALF * plain[draw] - held[draw] for draw in draws])
    left = math.nan
    if draws:
        left = sum(held[draw] for draw in draws) / sum(plain[draw] for draw in draws)
    success, before = metrics["attack_success"], bare.get("attack_success", {})
    more = [min(held[draw] - plain[draw], success[draw] - before[draw]) for draw in held if draw in plain]
    return Entry("", len(held), means, left, stopped, studies.told(more, LEAST))


def _asked(shared: str, feared: str) -> tuple[str, ...]:
    """What one can do; whoever has answers alone asks for them."""
    return tuple(USING) if shared == "answers" else FEARED[feared]


def _seen(shared: str, attack: str, defence: str, found: Mapping[tuple[str, str], Entry]) -> Entry:
    """The entry of a pair where so much is shared: of lies and of the model a sum changes nothing."""
    if shared == "sums":
        if defence in RULES:
            return Entry(BLIND)
        if attack in READING and defence != "secure_sum":
            return Entry(TOGETHER)
        if defence == "secure_sum" and attack not in READING:
            return found[attack, "none"]
    return found[attack, defence]


def _costs(defence: str, found: Mapping[tuple[str, str], Entry]) -> float | None:
    """By how much less accurate the network of all is, where it was measured."""
    plain, held = (_trained(each, found).get("accuracy") for each in ("none", defence))
    return None if plain is None or held is None else plain - held


def _trained(defence: str, found: Mapping[tuple[str, str], Entry]) -> Mapping[str, float]:
    """What is measured of a defence's training, in the entry of most draws; a sum trains what the mean does."""
    defence = "none" if defence == "secure_sum" else defence
    return max((found[attack, defence] for attack in ATTACKS), key=lambda each: each.draws).metrics


def ask(shared: str, feared: str, cost: str, *, name: str = "digits") -> Frame:
    """Which defences stop what an adversary can do, by the stored rows of `talk/defences`.

    shared: one of `SHARED`, what leaves a client; feared: one of `FEARED`; cost: one of `COSTS`, the accuracy that a
    defence may take. A number in the picture is the success of an adversary who knows the defence, in per cent, and a
    bar what is left of its gain. Raises ValueError for another word, or where nothing was measured on these data.
    """
    checks.one_of("shared", shared, SHARED)
    checks.one_of("feared", feared, FEARED)
    checks.one_of("cost", cost, COSTS)
    found = matrix(name)
    if not any(each.draws for each in found.values()):
        raise ValueError(f"talk/defences has no stored rows on {name!r}; `privlab run talk/defences` measures them")
    attacks = _asked(shared, feared)
    prices = {each: _costs(each, found) for each in SHARED[shared]}
    dear = [each for each in SHARED[shared][1:] if (prices[each] or 0) > COSTS[cost]]
    lines = [each for each in SHARED[shared] if each not in dear]
    table = {(one, each): _seen(shared, one, each, found) for each in lines for one in attacks}
    numbers: dict[str, str | tuple[str, ...]] = {ATTACKS[one]: _best(one, lines, table) for one in attacks}
    numbers["left out as too dear"] = ", ".join(DEFENCES[each] for each in dear) or "nothing"
    for reason in dict.fromkeys(each.reason for each in table.values() if each.reason):
        those = dict.fromkeys(DEFENCES[each] for (_, each), entry in table.items() if entry.reason == reason)
        numbers[f"– {reason}"] = ", ".join(those)
    heads = ("is stopped best by", "succeeds (naive)", "a guess")
    words = [f"{ATTACKS[one]}: {_words(numbers[ATTACKS[one]])}" for one in attacks]
    alt = f"{len(lines)} defences against {feared} who sees {shared}. What stops each attack best: {'; '.join(words)}."
    return Frame((), alt, numbers, heads, plot=_picture(attacks, lines, table, found))


def _words(best: str | tuple[str, ...]) -> str:
    return f"{best[0]}, {best[1]}"


def _best(attack: str, lines: list[str], table: Mapping[tuple[str, str], Entry]) -> tuple[str, str, str]:
    """The defence that stops an attack best, with what who knows it and who knows of none get under it; and a guess.

    Where none stops it, what is least under one of them.
    """
    measured = {each: table[attack, each] for each in lines if table[attack, each].draws}
    if not measured:
        return ("not measured" if not table[attack, lines[0]].reason else "does not apply", "–", "–")
    stops = {each: entry for each, entry in measured.items() if entry.stopped is True}
    best, entry = min((stops or measured).items(), key=lambda each: each[1].metrics["attack_success"])
    own = entry.metrics
    other = {"False": "none stops it", "None": "nothing to stop"}.get(str(entry.stopped), "one cannot tell")
    found = f"{own['attack_success']:.0%} ({own['naive']:.0%})"
    return (DEFENCES[best] if stops else other, found, f"{own['baseline']:.0%}")


def _picture(
    attacks: tuple[str, ...],
    lines: list[str],
    table: Mapping[tuple[str, str], Entry],
    found: Mapping[tuple[str, str], Entry],
) -> str:
    """Defences down, attacks across, then accuracy and CPU seconds."""
    right = NAMES + SIDE * len(attacks)
    wide, high = right + 2 * END, TOP + SIDE * len(lines) + 2
    heads = {NAMES + SIDE * place: ATTACKS[attack] for place, attack in enumerate(attacks)}
    heads |= {right + 12: "accuracy, %", right + END + 12: "CPU seconds"}
    names, middle, ends, framed, bars = "", "", "", "", dict.fromkeys(COLOURS, "")
    for line, defence in enumerate(lines):
        top = TOP + SIDE * line
        names += _text(NAMES - 6, top + 17, DEFENCES[defence])
        for place, attack in enumerate(attacks):
            entry, x = table[attack, defence], NAMES + SIDE * place
            said = "–" if entry.reason else _percent(entry.metrics.get("attack_success"))
            middle += _text(x + SIDE // 2, top + 17, said)
            if not math.isnan(entry.left):
                full = round((SIDE - 2) * min(1, max(0, entry.left)))
                bars[entry.stopped] += f"M{x + 1} {top + SIDE - 1}v-{full}h{SIDE - 2}v{full}z"
            if entry.opens is True:
                framed += f"M{x + 1} {top + 1}h{SIDE - 2}v{SIDE - 2}h-{SIDE - 2}z"
        own = _trained(defence, found)
        for place, said in enumerate((_percent(own.get("accuracy")), _seconds(own.get("seconds")))):
            ends += _text(right + END * (place + 1) - 4, top + 17, said)
    down = "".join(f"M{NAMES + SIDE * place} {TOP}V{high - 2}" for place in range(len(attacks) + 1))
    across = "".join(f"M{NAMES} {TOP + SIDE * line}H{right}" for line in range(len(lines) + 1))
    painted = "".join(f'<path d="{path}" fill="{COLOURS[said]}"/>' for said, path in bars.items() if path)
    parts = (
        f'<svg viewBox="0 0 {wide} {high}" style="max-width:{1.4 * wide:.0f}px" font-size="12" fill="currentColor">',
        f'<g fill-opacity=".4">{painted}</g><path d="{down}{across}" stroke="var(--pl-line)"/>',
        f'<path d="{framed}" fill="none" stroke="var(--pl-accent)" stroke-width="2"/>' if framed else "",
        *(f'<text transform="translate({x + 17} {TOP - 6}) rotate(-90)">{name}</text>' for x, name in heads.items()),
        f'<g text-anchor="end">{names}{ends}</g><g text-anchor="middle">{middle}</g></svg>',
    )
    return f'<div aria-hidden="true">{"".join(parts)}<small>{KEY}</small></div>'


def _text(x: int, y: int, said: str) -> str:
    return f'<text x="{x}" y="{y}">{said}</text>'


def _percent(share: float | None) -> str:
    return "?" if share is None else f"{100 * share:.0f}"


def _seconds(value: float | None) -> str:
    return "?" if value is None else f"{value:.1f}"


def ask_explorer(name: str = "digits") -> Explorer:
    """What is shared, who is feared, and what a defence may cost, as controls of `ask`."""
    knobs = (
        Knob("shared", "You share", tuple(SHARED), choice=True),
        Knob("feared", "You fear", tuple(FEARED), choice=True),
        Knob("cost", "It may cost", tuple(COSTS), choice=True),
    )
    start = {"shared": "updates", "feared": "a client", "cost": "five points"}
    return Explorer(functools.partial(ask, name=name), knobs, start=start, name="ask", title="The map, asked")
