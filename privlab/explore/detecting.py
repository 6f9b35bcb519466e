"""The detection explorer: a threshold between honest models and traps."""

import functools
import itertools
import math
from collections.abc import Callable

import torch

from privlab import checks, studies
from privlab.defences import detection
from privlab.explore.explorer import Explorer, Knob
from privlab.explore.frame import Frame

LINE = 40  # pixels for a kind of model in the plot
SEEN = 6  # models of each kind
HONEST = ("trained", "pruned", "sparse")
ALARMS = (0, 1, 2, 3, 5, 8, 12, 18)
DETECTORS = ("sign_imbalance", "pinned_rows", "kolmogorov_smirnov")
KINDS = {
    "trained": "honest: trained",
    "pruned": "honest: pruned",
    "sparse": "honest: sparse",
    "trap": "trap: Algorithm 1",
    "hidden_trained": "trap: hidden",
    "balanced_trained": "trap: hidden, balanced",
}


@functools.lru_cache(maxsize=16)
def _scores(detector: str, name: str, seed: int) -> dict[str, list[float]]:
    """The scores of six models of each kind."""
    study = studies.get("curious/detection")
    assert study.subject is not None
    score = getattr(detection, detector)
    found = {}
    for kind in KINDS:
        cell = {"data": name, "detector": detector, "tuned_on": "initial", "received": kind}
        models = study.subject(cell, seed, torch.device("cpu"))
        found[kind] = [score(weight) for weight in itertools.islice(models, SEEN)]
    return found


def flag(detector: str, alarms: int, *, name: str = "patches", seed: int = 0) -> Frame:
    """Which of 36 received models a detector flags when its threshold lets it flag `alarms` of the 18 honest ones.

    detector: one of `DETECTORS`; alarms: from 0 to 18.
    """
    checks.one_of("detector", detector, DETECTORS)
    checks.whole("alarms", alarms, 0, len(HONEST) * SEEN)
    scores = _scores(detector, name, seed)
    honest = [value for kind in HONEST for value in scores[kind]]
    limit = detection.threshold(honest, alarms / len(honest)) if alarms < len(honest) else min(honest) - 1e-9
    flagged = {kind: sum(value > limit for value in values) for kind, values in scores.items()}
    false = sum(flagged[kind] for kind in HONEST)
    numbers = {
        "threshold": f"{limit:.3f}",
        "false alarms": f"{false} of {len(honest)} honest models",
        "Algorithm 1 caught": f"{flagged['trap']} of {SEEN}",
        "hidden caught": f"{flagged['hidden_trained']} of {SEEN}",
        "hidden and balanced caught": f"{flagged['balanced_trained']} of {SEEN}",
    }
    alt = (
        f"Scores of {len(KINDS)} kinds of models under {detector} with the threshold at {limit:.3f}: {false} false "
        f"alarms; caught {flagged['trap']} plain, {flagged['hidden_trained']} hidden and "
        f"{flagged['balanced_trained']} balanced traps of {SEEN} each."
    )
    return Frame((), alt, numbers, plot=_strips(scores, limit, detector))


def _strips(scores: dict[str, list[float]], limit: float, detector: str) -> str:
    """A line of dots for each kind of model, and the threshold across them, as SVG as wide as the page allows.

    Places are in per cent and sizes in pixels, so that text and dots stay as large on a phone.
    """
    scale: Callable[[float], float] = math.log10 if detector == "kolmogorov_smirnov" else float
    everything = list(itertools.chain(*scores.values()))
    least, most = min(everything), max(everything)
    wide = scale(most) - scale(least) or 1.0

    def across(value: float) -> str:
        return f"{3 + 94 * (scale(max(value, least)) - scale(least)) / wide:.1f}%"

    parts = []
    for line, (kind, values) in enumerate(scores.items()):
        top = line * LINE
        colour = "var(--pl-blue)" if kind in HONEST else "var(--pl-accent)"
        parts.append(f'<text x="0" y="{top + 14}">{KINDS[kind]}</text><g fill="{colour}" stroke-width="2">')
        for value in values:
            rim = ' stroke="currentColor"' if value > limit else ""
            parts.append(f'<circle cx="{across(value)}" cy="{top + 28}" r="6"{rim}/>')
        parts.append("</g>")
    bottom, place = len(scores) * LINE, across(limit)
    parts.append(f'<line x1="{place}" x2="{place}" y1="0" y2="{bottom}" stroke="currentColor" stroke-dasharray="5 4"/>')
    for x, anchor, value in (("3%", "start", least), ("97%", "end", most)):
        parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="{anchor}">{value:.2g}</text>')
    parts.append(f'<text x="0" y="{bottom + 36}">the score; flagged are those right of the line, rimmed</text>')
    return f'<svg height="{bottom + 42}" font-size="13" fill="currentColor" aria-hidden="true">{"".join(parts)}</svg>'


def flag_explorer(name: str = "patches") -> Explorer:
    """Detector and threshold as controls of `flag`."""
    knobs = (
        Knob("detector", "Detector", DETECTORS, choice=True),
        Knob("alarms", "Honest models you reject", ALARMS, unit="of 18"),
    )
    start = {"detector": "sign_imbalance", "alarms": 1}
    return Explorer(functools.partial(flag, name=name), knobs, start=start, name="flag", title="A detector's threshold")
