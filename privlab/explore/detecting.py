"""The detection explorer: a threshold between honest models and traps."""

import functools
import io
import itertools

import matplotlib.pyplot as plt
import torch

from privlab import checks, studies
from privlab.defences import detection
from privlab.explore.explorer import Explorer, Frame, Knob

SIZE = (560, 300)
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
    return Frame(_strips(scores, limit, detector), alt, numbers)


def _strips(scores: dict[str, list[float]], limit: float, detector: str) -> bytes:
    """A line of points a kind of model, and the threshold across them."""
    with plt.rc_context({"font.size": 9}):
        figure, axis = plt.subplots(figsize=(SIZE[0] / 100, SIZE[1] / 100), dpi=100, layout="constrained")
        for line, (kind, values) in enumerate(scores.items()):
            colour = "tab:blue" if kind in HONEST else "#d55e00"
            rim = [1.2 * (value > limit) for value in values]
            axis.scatter(values, [line] * len(values), c=colour, s=36, alpha=0.75, edgecolors="black", linewidths=rim)
        axis.axvline(limit, color="black", linewidth=1, linestyle="--")
        axis.set_yticks(range(len(scores)), [KINDS[kind] for kind in scores])
        axis.invert_yaxis()
        if detector == "kolmogorov_smirnov":
            axis.set_xscale("log")
        axis.set_xlabel("score (flagged: right of the line, with a black rim)")
        buffer = io.BytesIO()
        figure.savefig(buffer, format="webp", facecolor="white", pil_kwargs={"quality": 60, "method": 6})
        plt.close(figure)
    return buffer.getvalue()


def flag_explorer(name: str = "patches") -> Explorer:
    """Detector and threshold as sliders over `flag`."""
    knobs = (Knob("detector", "Detector", DETECTORS), Knob("alarms", "Honest models you reject", ALARMS))
    start = {"detector": "sign_imbalance", "alarms": 1}
    return Explorer(functools.partial(flag, name=name), knobs, start=start, size=SIZE, title="A detector's threshold")
