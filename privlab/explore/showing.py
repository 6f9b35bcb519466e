"""The auditing explorer: the ε that is promised, and the ε that an attack shows."""

import functools

import torch

from privlab import checks, runtime
from privlab.explore.explorer import Explorer, Knob
from privlab.explore.frame import Frame
from privlab.metrics import auditing

EPSILONS, CANARIES, GUESSED = (0.5, 1.0, 2.0, 4.0, 8.0), (100, 300, 1000, 3000, 10_000), (0.02, 0.1)
RUNS, DELTA, MOST = 20, 1e-5, 8.0
LEFT, WIDE = 4, 92  # of the width, in per cent


@functools.lru_cache(maxsize=64)
def _shown(epsilon: float, canaries: int, share: float, seed: int) -> tuple[list[float], list[float]]:
    """The ε that twenty runs show, by the general bound and by that of Gaussian noise; sorted."""
    mu, guesses = auditing.gaussian_mu(epsilon, DELTA), max(2, round(share * canaries))
    random = runtime.generator(runtime.derive(seed, "show", epsilon, canaries))
    plain, knowing = [], []
    for _ in range(RUNS):
        members = torch.rand(canaries, generator=random) < 0.5
        scores = members * mu + torch.randn(canaries, generator=random)
        right = auditing.right_guesses(scores, members, guesses)
        plain.append(auditing.one_run(right, guesses, delta=DELTA, canaries=canaries))
        knowing.append(auditing.one_run_gaussian(right, guesses, delta=DELTA, canaries=canaries))
    return sorted(plain), sorted(knowing)


def show(epsilon: float, canaries: int, share: float, *, seed: int = 0) -> Frame:
    """What the adversary can prove of a Gaussian mechanism that is (ε, 1e-5)-differentially private.

    canaries: how many examples are thrown in by coin; share: of how many of them the adversary guesses the coin.
    """
    checks.number("epsilon", epsilon, 0, 20, open_low=True)
    checks.whole("canaries", canaries, 2, 100_000)
    checks.number("share", share, 0, 1, open_low=True)
    plain, knowing = _shown(float(epsilon), int(canaries), float(share), seed)
    middle = RUNS // 2
    numbers = {
        "promised ε": f"{epsilon:g}",
        "shown by any attack's count": f"{plain[middle]:.2f} ({plain[0]:.2f} to {plain[-1]:.2f})",
        "shown, the noise being Gaussian": f"{knowing[middle]:.2f} ({knowing[0]:.2f} to {knowing[-1]:.2f})",
        "runs that show more than is true": f"{sum(value > epsilon for value in knowing)} of {RUNS}",
    }
    alt = (
        f"A line from 0 to {MOST:g}. The promised ε is {epsilon:g}. Twenty runs with {canaries} canaries show a median "
        f"of {plain[middle]:.2f} by the general bound, and {knowing[middle]:.2f} by the one for Gaussian noise."
    )
    return Frame((), alt, numbers, plot=_lines(epsilon, {"any mechanism": plain, "Gaussian noise": knowing}))


def _lines(epsilon: float, rows: dict[str, list[float]]) -> str:
    def across(value: float) -> str:
        return f"{LEFT + WIDE * min(value, MOST) / MOST:.1f}%"

    parts = []
    for line, (name, values) in enumerate(rows.items()):
        top = 44 * line
        colour = ("var(--pl-blue)", "var(--pl-accent)")[line]
        parts.append(f'<text x="0" y="{top + 14}">bound for {name}: twenty runs</text>')
        dots = "".join(f'<circle cx="{across(value)}" cy="{top + 30}" r="5" fill-opacity=".5"/>' for value in values)
        parts.append(f'<g fill="{colour}">{dots}</g>')
    bottom, place = 44 * len(rows) + 4, across(epsilon)
    parts.append(f'<line x1="{LEFT}%" x2="{LEFT + WIDE}%" y1="{bottom}" y2="{bottom}" stroke="currentColor"/>')
    parts.append(f'<line x1="{place}" x2="{place}" y1="18" y2="{bottom}" stroke="currentColor" stroke-width="2"/>')
    for value in (0, 2, 4, 6, 8):
        parts.append(f'<text x="{across(value)}" y="{bottom + 16}" text-anchor="middle">{value}</text>')
    parts.append(f'<text x="0" y="{bottom + 36}">ε; the upright line is what was promised</text>')
    return f'<svg height="{bottom + 42}" font-size="13" fill="currentColor" aria-hidden="true">{"".join(parts)}</svg>'


def show_explorer() -> Explorer:
    """Promised ε, canaries and guesses as controls of `show`."""
    knobs = (
        Knob("epsilon", "Promised ε", EPSILONS),
        Knob("canaries", "Canaries", CANARIES),
        Knob("share", "Share guessed", GUESSED),
    )
    start = {"epsilon": 4.0, "canaries": 1000, "share": 0.1}
    return Explorer(show, knobs, start=start, name="show", title="The ε that an attack shows")
