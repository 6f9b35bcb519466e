"""The explorer of hiding in the crowd: what mitigations take from identification, and from the task."""

import functools

import torch
from torch import Tensor, nn

from privlab import checks, runtime, studies
from privlab.attacks import linkability
from privlab.explore import frames
from privlab.explore.explorer import Explorer, Knob
from privlab.explore.frame import Frame

AMOUNTS = ("a little", "some", "much", "most")
# By name: the study's own, what its alpha is at each of the amounts, and what that says.
MITIGATIONS = {
    "noise": ("relative noise", (8, 16, 32, 64), "Gaussian noise of {:g} times an update's norm"),
    "bkg-repl": ("bkg-repl", (0.25, 0.5, 0.75, 1), "{:.0%} of one's examples replaced by others'"),
    "rand-aug": ("rand-aug", (0.5, 1, 2, 4), "for each example of one's own {:g} of others' added"),
    "mm-aug": ("mm-aug", (0.5, 1, 2, 4), "for each example of one's own {:g} of one cluster added"),
    "dp": ("dp", (1000, 256, 64, 8), "differential privacy of clients, ε = {:g} (δ = 0.001)"),
}
USERS, STRENGTH, PREFERENCE, DELTA = 10, 1.0, 1.0, 1e-3
WIDE, HIGH, LEFT, TOP, SIDE = 300, 190, 46, 16, 14  # of the plane, and a cell of a matrix
ACROSS, UP = (-0.08, 1.2), (0.2, 1.3)  # what the plane shows of privacy and of utility


def _cell(mitigation: str, amount: str, name: str) -> dict[str, object]:
    plain = studies.get("linkability/figure-11").cells(name)[0]
    cell = {**plain, "users": USERS, "strength": STRENGTH, "preference": PREFERENCE}
    if mitigation == "none":
        return cell
    kind, values, _ = MITIGATIONS[mitigation]
    value = float(values[AMOUNTS.index(amount)])
    if kind == "dp":
        return {**cell, "mitigation": kind, "epsilon": value, "delta": DELTA, "unit": "client", "where": "client"}
    return {**cell, "mitigation": kind, "alpha": value}


@functools.lru_cache(maxsize=64)
def _measured(mitigation: str, amount: str, name: str, seed: int) -> dict[str, float]:
    """What the study measures: see `_place`."""
    cell = _cell(mitigation, amount, name)
    return dict(studies.get("linkability/figure-11").run(cell, seed, torch.device("cpu")))


@functools.lru_cache(maxsize=64)
def _named(mitigation: str, amount: str, name: str, seed: int) -> Tensor:
    """Of each user's updates the shares by the user whom the network names, `(USERS, USERS)`."""
    study = studies.get("linkability/figure-11")
    assert study.subject is not None
    log = study.subject(_cell(mitigation, amount, name), seed, torch.device("cpu"))
    first = log.numbers == 0
    rows = nn.functional.normalize(log.layers["output"].nan_to_num(0.0, 0.0, 0.0), dim=1)
    own = runtime.derive(seed, "attack")
    scores = linkability.identify(rows[first], log.users[first], rows[~first], attack="mlp", seed=own)
    counts = torch.zeros(USERS, USERS)
    counts.index_put_((log.users[~first], scores.argmax(1)), torch.ones(len(scores)), accumulate=True)
    return counts / counts.sum(1, keepdim=True).clamp_min(1)


def _place(mitigation: str, amount: str, name: str, seed: int) -> tuple[float, float]:
    """Privacy, the share of the attack's gain over random scores that is gone, and the accuracy relative to none."""
    found = _measured(mitigation, amount, name, seed)
    return found.get("reduction_above_random", 0.0), found.get("relative_utility", 0.0)


def _places(name: str, seed: int) -> dict[str, list[tuple[float, float]]]:
    return {each: [_place(each, amount, name, seed) for amount in AMOUNTS] for each in MITIGATIONS}


def mingle(mitigation: str, alpha: str, *, name: str = "digits", seed: int = 0) -> Frame:
    """Whether ten made users' second devices are named by a network behind a mitigation, and what the task loses.

    mitigation: one of `MITIGATIONS`, used by all clients throughout; alpha: how much of it, one of `AMOUNTS`. The
    plane has privacy across and utility up (Figure 11 has privacy the other way round: its ideal is top left). The
    matrices have who sent an update down and who is named across. Who waits names the mean of all updates of a
    device. One federation, of whose accuracy 120 images tell.
    """
    checks.one_of("mitigation", mitigation, MITIGATIONS)
    checks.one_of("alpha", alpha, AMOUNTS)
    before, after = _measured("none", "", name, seed), _measured(mitigation, alpha, name, seed)
    privacy, utility = _place(mitigation, alpha, name, seed)
    random = after["ap"] / after["times_random"]
    _, values, words = MITIGATIONS[mitigation]
    step = AMOUNTS.index(alpha)
    says = words.format(values[step])
    numbers: dict[str, str | tuple[str, ...]] = {
        f"average precision (random scores: {random:.2f})": (f"{before['ap']:.2f}", f"{after['ap']:.2f}"),
        f"named right (a guess: {1 / USERS:.0%})": (f"{before['top1']:.0%}", f"{after['top1']:.0%}"),
        "precision of who waits": (f"{before['ap_waiting']:.2f}", f"{after['ap_waiting']:.2f}"),
        "accuracy of the task": (f"{before['utility']:.0%}", f"{after['utility']:.0%}"),
        "each client": says,
        "gone of the attack's gain": f"{privacy:.0%}",
        "left of the accuracy": f"{utility:.0%}",
    }
    alt = (
        f"{mitigation}, {alpha}: {says}. The attack's average precision goes from {before['ap']:.2f} to "
        f"{after['ap']:.2f}, where random scores have {random:.2f}: {privacy:.0%} of its gain is gone, and "
        f"{utility:.0%} of the accuracy is left. A plane of both shows this setting among all others. Beside it, who "
        f"is named for whose updates: {before['top1']:.0%} lie on the diagonal without it, {after['top1']:.0%} with it."
    )
    matrices = _matrices(_named("none", "", name, seed), _named(mitigation, alpha, name, seed))
    plots = _plane(_places(name, seed), mitigation, step) + matrices
    plot = f'<div class="pl-plots" aria-hidden="true">{plots}</div>'
    return Frame((), alt, numbers, heads=("without", "with"), plot=plot)


def _plane(places: dict[str, list[tuple[float, float]]], chosen: str, step: int) -> str:
    """All settings, those of one mitigation joined in their order; the chosen mitigation's stand out."""

    def at(privacy: float, utility: float) -> tuple[float, float]:
        shares = [(v - low) / (high - low) for v, (low, high) in zip((privacy, utility), (ACROSS, UP), strict=True)]
        across, up = (min(max(share, 0.0), 1.0) for share in shares)
        return round(LEFT + WIDE * across, 1), round(TOP + HIGH * (1 - up), 1)

    bottom, (zero, one) = TOP + HIGH, at(0, 1)
    parts = f'<path d="M{LEFT} {TOP}V{bottom}H{LEFT + WIDE}" fill="none" stroke="currentColor"/>'
    parts += f'<path d="M{LEFT} {one}H{LEFT + WIDE}" stroke="currentColor" stroke-dasharray="2 4" opacity=".6"/>'
    for share in (0, 0.5, 1):
        parts += f'<text x="{at(share, 1)[0]}" y="{bottom + 16}" text-anchor="middle">{100 * share:.0f} %</text>'
        if share:
            parts += f'<text x="{LEFT - 4}" y="{at(0, share)[1] + 4}" text-anchor="end">{100 * share:.0f} %</text>'
    end = at(*places[chosen][-1])
    for each in sorted(places, key=chosen.__eq__):  # the chosen one last, above the others
        spots = [at(*place) for place in places[each]]
        line = "L".join(f"{x} {y}" for x, y in [(zero, one), *spots])
        dots = "".join(f"M{x} {y}h0" for x, y in spots)
        drawn = f'<path d="M{line}" fill="none"/><path d="{dots}" stroke-width="6" stroke-linecap="round"/>'
        colour, faint = ("var(--pl-accent)", 1) if each == chosen else ("currentColor", 0.6)
        x, y = spots[-1]
        spot = f'x="{x + 8}" y="{y + 4}"' if places[each][-1][0] > 0.9 else f'x="{x}" y="{y - 9}" text-anchor="middle"'
        hidden = each != chosen and abs(x - end[0]) < 60 and abs(y - end[1]) < 18  # under the chosen one's name
        name = "" if hidden else f"<text {spot}>{each}</text>"
        parts += f'<g opacity="{faint}"><g stroke="{colour}">{drawn}</g>{name}</g>'
    x, y = at(*places[chosen][step])
    parts += f'<circle cx="{x}" cy="{y}" r="8" fill="none" stroke="var(--pl-accent)" stroke-width="3"/>'
    parts += f'<text x="{zero}" y="{one - 20}">without</text>'
    parts += f'<text x="{LEFT + WIDE}" y="{TOP - 2}" text-anchor="end">better ↗</text>'
    label = "gain of the attack that is gone (across), accuracy left (up)"
    parts += f'<text x="{LEFT + WIDE / 2}" y="{bottom + 34}" text-anchor="middle">{label}</text>'
    return _svg(bottom + 40, parts)


def _matrices(without: Tensor, named: Tensor) -> str:
    """Two matrices of users: a row for each who sent updates, a column for each who is named; larger shares fuller."""
    parts, size = "", USERS * SIDE
    for left, title, shares in ((LEFT, "without", without), (LEFT + size + 20, "with", named)):
        edge = f'width="{size}" height="{size}" fill="none" stroke="currentColor" opacity=".5"'
        parts += f'<text x="{left}" y="{TOP - 4}">{title}</text><rect x="{left}" y="{TOP}" {edge}/>'
        levels = (5 * shares).ceil().long()
        for level in range(1, 6):
            spots = (levels == level).nonzero().tolist()
            path = "".join(f"M{left + SIDE * x} {TOP + SIDE * y}h{SIDE}v{SIDE}h-{SIDE}z" for y, x in spots)
            parts += f'<path d="{path}" fill="var(--pl-blue)" opacity="{level / 5}"/>' if spots else ""
    middle, below = LEFT + size + 10, TOP + size + 18
    label = "whose update (down), who is named (across)"
    return _svg(below + 6, f'{parts}<text x="{middle}" y="{below}" text-anchor="middle">{label}</text>')


def _svg(high: float, parts: str) -> str:
    return f'<svg viewBox="0 0 {LEFT + WIDE + 8} {high}" font-size="12" fill="currentColor">{parts}</svg>'


def mingle_explorer(name: str = "digits") -> Explorer:
    """Mitigation and amount as controls of `mingle`; its frames are made beforehand (`privlab explore mingle`)."""
    knobs = (
        Knob("mitigation", "Mitigation", tuple(MITIGATIONS), choice=True),
        Knob("alpha", "How much of it (α)", AMOUNTS),
    )
    start = {"mitigation": "mm-aug", "alpha": "a little"}
    stored = frames.load("mingle") if name == "digits" else None
    function = functools.partial(mingle, name=name)
    return Explorer(function, knobs, start=start, name="mingle", title="Hiding in the crowd", stored=stored)
