"""The explorer of adaptations: Table 10 of "Zen", one cell at a time, with what was measured."""

import functools
import statistics
from collections.abc import Mapping

from privlab import checks, studies
from privlab.explore.explorer import Explorer, Knob
from privlab.explore.frame import Frame

ADAPTATIONS = {
    "more_clients": "more clients",
    "larger_images": "larger images",
    "deeper_model": "a deeper model",
    "wider_model": "a wider model",
    "larger_batch": "larger mini-batches",
    "discontinuous_activation": "ReLU in place of tanh",
    "differential_privacy": "differential privacy",
    "secure_aggregation": "secure aggregation",
}
ATTACKS = {"decoder": "decoder", "dlg": "deep leakage", "membership": "membership"}
UNITS = {"decoder": "dB above the average image", "dlg": "of eight victims found", "membership": "points above chance"}
WIDE, HIGH, LEFT = 300, 30, 60


@functools.lru_cache(maxsize=1)
def _measured() -> "studies.Comparison":
    return studies.compare("zen/table-10")


def _says(attack: str, gain: float) -> str:
    if attack == "dlg":
        return f"{8 * gain:.1f} of 8"
    return f"{gain:.1f} dB" if attack == "decoder" else f"{100 * gain:.1f} points"


def adapt(adaptation: str, attack: str, *, name: str = "mnist") -> Frame:
    """What an attack gains over a guess before an adaptation and after it, and what the paper says of it.

    adaptation: one of `ADAPTATIONS`; attack: one of `ATTACKS`. Means over draws of the stored rows of `zen/table-10`.
    name: data that these are about. Raises ValueError where there are none.
    """
    checks.one_of("adaptation", adaptation, ADAPTATIONS)
    checks.one_of("attack", attack, ATTACKS)
    cell = {"adaptation": adaptation, "attack": attack}
    found = {metric: _values(name, metric, cell) for metric in ("gain_before", "gain", "mitigates")}
    if not (found["gain_before"] and found["gain"]):
        measured = sorted({line.cell["data"] for line in _measured().lines if line.values})
        raise ValueError(
            f"zen/table-10 has no stored rows of {adaptation} against {attack} on {name!r}, but on "
            f"{', '.join(measured) or 'nothing'}; `privlab run zen/table-10 --data {name}` measures them"
        )
    before, after = (statistics.fmean(found[metric].values()) for metric in ("gain_before", "gain"))
    said = [line for line in _measured().lines if line.metric == "mitigates" and _is(line.cell, name, cell)]
    printed = next(line.item.value for line in said if line.item)
    votes = list(found["mitigates"].values())
    here = "nothing to lose" if not votes else f"yes in {round(sum(votes))} of {len(votes)} draws"
    numbers = {
        "mitigates, says the paper": "yes" if printed else "no",
        "mitigates, measured here": here,
        "the attack's gain before": f"{_says(attack, before)}",
        "and after": f"{_says(attack, after)}",
    }
    about = f"{ADAPTATIONS[adaptation]} against {ATTACKS[attack]}"
    alt = (
        f"{about}: the attack gains {_says(attack, before)} before and {_says(attack, after)} after; half is where an "
        f"adaptation begins to mitigate. The paper says {'yes' if printed else 'no'}."
    )
    plot = _bars(before, after, f"what the attack gains ({UNITS[attack]})")
    return Frame((), alt, numbers, plot=f'<div class="pl-plots" aria-hidden="true">{plot}</div>')


def _is(cell: Mapping[str, object], name: str, wanted: Mapping[str, object]) -> bool:
    return cell["data"] == name and all(cell[key] == value for key, value in wanted.items())


def _values(name: str, metric: str, cell: Mapping[str, str]) -> dict[int, float]:
    for line in _measured().lines:
        if line.metric == metric and _is(line.cell, name, cell):
            return dict(line.by_seed)
    return {}


def _bars(before: float, after: float, below: str) -> str:
    """Two bars, and a dotted line at half of the first."""
    most = max(before, after, 1e-9)
    parts = ""
    for row, (value, text, colour) in enumerate(((before, "before", "pl-blue"), (after, "after", "pl-accent"))):
        top, wide = 8 + row * (HIGH + 8), WIDE * max(value, 0) / most
        parts += f'<rect x="{LEFT}" y="{top}" width="{wide:.1f}" height="{HIGH}" fill="var(--{colour})"/>'
        parts += f'<text x="{LEFT - 6}" y="{top + HIGH / 2 + 4}" text-anchor="end">{text}</text>'
    half, end = LEFT + WIDE * max(before, 0) / most / 2, 2 * (HIGH + 8) + 8
    parts += f'<path d="M{half:.1f} 2V{end}" stroke="currentColor" stroke-dasharray="3 3" fill="none"/>'
    parts += f'<text x="{half:.1f}" y="{end + 14}" text-anchor="middle">half of it</text>'
    parts += f'<text x="{LEFT + WIDE / 2}" y="{end + 34}" text-anchor="middle">{below}</text>'
    return f'<svg viewBox="0 0 {LEFT + WIDE + 8} {end + 40}" font-size="12" fill="currentColor">{parts}</svg>'


def adapt_explorer(name: str = "mnist") -> Explorer:
    """Adaptation and attack as controls of `adapt`."""
    knobs = (
        Knob("adaptation", "Adaptation", tuple(ADAPTATIONS), choice=True),
        Knob("attack", "Attack", tuple(ATTACKS), choice=True),
    )
    start = {"adaptation": "deeper_model", "attack": "dlg"}
    return Explorer(functools.partial(adapt, name=name), knobs, start=start, name="adapt", title="Does it help?")
