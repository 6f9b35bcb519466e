"""The talk's table of defences as sentences, over the rows of `talk/defences`."""

from collections.abc import Callable, Sequence

from privlab.studies.bench.sentence import POINT, Found, Outcome, negated, told
from privlab.studies.bench.study import Claim, Table

LEAST, HALF = 0.1, 0.5  # a gain that is worth stopping, and what is left of it
LITTLE, SMALL = 0.02, 0.05  # of membership's advantage, and of accuracy
RULES = ("median", "trimmed_mean", "multi_krum", "bulyan", "geometric_median", "norm_clipping")
POISONING = ("data_poisoning", "sign_flipping", "alie", "ipm")
BACKDOORS = ("backdoor", "model_replacement", "semantic_backdoor")


def left(table: Table, attack: str, defence: str, metric: str = "attack_success") -> list[float]:
    """By how much less than half of its gain an attack keeps under a defence, a number a draw; none where it had none.

    metric: of the adversary who knows the defence, or `naive`.
    """
    plain, held = (_gains(table, attack, each, metric) for each in ("none", defence))
    return [HALF * plain[draw] - held[draw] for draw in sorted(plain.keys() & held.keys()) if plain[draw] >= LEAST]


def _gains(table: Table, attack: str, defence: str, metric: str) -> dict[int, float]:
    rows = table.select(attack=attack, defence=defence).rows
    return {row["seed"]: row["metrics"][metric] - row["metrics"]["baseline"] for row in rows}


def _stops(attacks: Sequence[str], defences: Sequence[str], metric: str = "attack_success") -> Callable[[Table], Found]:
    def test(table: Table) -> Found:
        pairs = [(attack, defence) for attack in attacks for defence in defences]
        return {f"{defence}, {attack}": told(left(table, attack, defence, metric)) for attack, defence in pairs}

    return test


def _does_not_stop(attacks: Sequence[str], defences: Sequence[str]) -> Callable[[Table], Found]:
    stops = _stops(attacks, defences)

    def test(table: Table) -> Found:
        return {name: negated(found) for name, found in stops(table).items()}  # type: ignore[union-attr]

    return test


def _costs(metric: str, defences: Sequence[str], by: float) -> Callable[[Table], Found]:
    """Whether a defence lowers the metric by more than so much, by the rows of evasion, which all of them have."""

    def test(table: Table) -> Found:
        found: dict[str, Outcome] = {}
        for defence in defences:
            pair = ({"attack": "evasion", "defence": each} for each in (defence, "none"))
            found[defence] = told(table.gains(metric, *pair), by)
        return found

    return test


def _overhead(table: Table) -> Found:
    plain, hardened = ({"attack": "evasion", "defence": each} for each in ("none", "adversarial_training"))
    return told([high / low for low, high in table.by_seed("seconds", plain, hardened)], 1.5)


def _small_impact(table: Table) -> Outcome:
    pair = ({"attack": "evasion", "defence": each} for each in ("none", "adversarial_training"))
    return told([SMALL + gain for gain in table.gains("accuracy", *pair)])


def _effective(table: Table) -> Found:
    """The four of the talk's table that it calls so, each against what it is for."""
    parts = (
        (POISONING, RULES),
        (POISONING, ("update_analysis",)),
        (("data_poisoning", *BACKDOORS[:2]), ("data_analysis",)),
        (("evasion",), ("adversarial_training",)),
    )
    found: dict[str, Outcome] = {}
    for attacks, defences in parts:
        found |= _stops(attacks, defences)(table)  # type: ignore[arg-type]
    return found


def _leaks_more(table: Table) -> Found:
    plain, hardened = ({"attack": "membership", "defence": each} for each in ("none", "adversarial_training"))
    return told(table.gains("attack_success", plain, hardened), LITTLE)


def _learn_less_by_heart(table: Table) -> Found:
    found: dict[str, Outcome] = {}
    for defence in ("distillation", "pruning"):
        pair = ({"attack": "membership", "defence": each} for each in (defence, "none"))
        found[defence] = told(table.gains("attack_success", *pair), LITTLE)
    return found


def _still_read(attack: str, defence: str) -> Callable[[Table], Found]:
    return lambda table: negated(told(left(table, attack, defence)))


def _fewer_bytes(table: Table) -> Found:
    split, whole = ({"attack": "evasion", "defence": each} for each in ("split_learning", "none"))
    return told([high / low for low, high in table.by_seed("bytes", split, whole)], 1.0)


HALVED = "no more than half of what it gains without a defence is left to an adversary who knows it"

CLAIMS = (
    Claim(
        "Empirically effective",
        "the talk, of robust aggregation, update analysis, data analysis and adversarial training",
        _effective,
        f"each against what it is for, a fifth of 20 clients lie, each has its own mixture of labels; {HALVED}",
    ),
    Claim(
        "Robust rules stop whoever does not know them.",
        "ours",
        _stops(("sign_flipping", "model_replacement"), RULES, "naive"),
        "updates of the other sign and model replacement, as by liars who know of no rule; half is left at most",
        ours=True,
    ),
    Claim(
        "Robust rules stop backdoors.",
        "ours",
        _stops(BACKDOORS[:2], RULES),
        f"a pattern, with and without model replacement; {HALVED}",
        ours=True,
    ),
    Claim(
        "Can reduce model utility",
        "the talk, of robust aggregation",
        _costs("accuracy", RULES, POINT),
        "nobody lies; a point of accuracy less than by the mean",
    ),
    Claim(
        "Not effective against backdoors",
        "the talk, of update analysis",
        _does_not_stop(BACKDOORS[:2], ("update_analysis",)),
        "lengths and directions; more than half of the gain is left to an adversary who knows them",
    ),
    Claim(
        "No computation overhead",
        "the talk, of adversarial training",
        lambda table: negated(_overhead(table)),  # type: ignore[arg-type]
        "no more than one and a half times the CPU seconds of plain training",
    ),
    Claim(
        "Has a small impact on model utility",
        "the talk, of adversarial training",
        lambda table: _small_impact(table),
        "no more than five points of accuracy",
    ),
    Claim(
        "Susceptible to privacy attacks",
        "the talk, of adversarial training",
        _still_read("inversion", "adversarial_training"),
        "rows of a dense layer: more than half of what they show in plain training is read",
    ),
    Claim(
        "Adversarial training raises what membership inference gets.",
        "ours",
        _leaks_more,
        "by references trained alike; more than .02 of the advantage",
        ours=True,
    ),
    Claim(
        "Prevents overfitting",
        "the talk, of knowledge distillation and model pruning",
        _learn_less_by_heart,
        "138 public images; three neurons in ten and fine-tuning; membership's advantage falls by more than .02",
    ),
    Claim(
        "Often ineffective",
        "the talk, of model pruning",
        _does_not_stop((*BACKDOORS[:2], "sign_flipping"), ("pruning",)),
        "fine-pruning, with 100 clean images; more than half of the gain is left",
    ),
    Claim(
        "Susceptible to reconstruction attacks",
        "the talk, of split learning",
        _still_read("inversion", "split_learning"),
        "a linear decoder; more than half of what a gradient shows is recognised",
    ),
    Claim(
        "Susceptible to utility and membership attacks",
        "the talk, of split learning",
        _does_not_stop(("membership", "data_poisoning", "backdoor"), ("split_learning",)),
        "more than half of what the attack gains in federated learning is left",
    ),
    Claim(
        "Reduced communication overhead compared to FL",
        "the talk, of split learning",
        _fewer_bytes,
        "bytes that an owner sends in a round, activations, labels and its segment, beside an update",
    ),
    Claim(
        "Improved robustness",
        "the talk, of differential privacy",
        _stops(("sign_flipping", "model_replacement", "evasion"), ("dp_sgd",)),
        f"DP-SGD at a noise multiplier of 1; {HALVED}",
    ),
    Claim(
        "Reduced model utility",
        "the talk, of differential privacy",
        _costs("accuracy", ("dp_sgd",), POINT),
        "DP-SGD at a noise multiplier of 1: a point of accuracy",
    ),
)
