"""The explorer of linkability: how far users differ, and whether their second devices are recognised by updates."""

import functools
import math

import torch
from torch import Tensor, nn

from privlab import checks, runtime, studies
from privlab.attacks import linkability
from privlab.explore import frames
from privlab.explore.explorer import Explorer, Knob
from privlab.explore.frame import Frame
from privlab.metrics import linkability as metrics

# What tells users apart: how far hands differ, and the parameter of the Dirichlet distribution of likes for classes.
DIFFER = {
    "nothing": (0.0, math.inf),
    "hands": (2.0, math.inf),
    "likes": (0.0, 1.0),
    "hands and likes": (2.0, 1.0),
}
ATTACKS = {"knn": "its 10 neighbours", "svm": "a linear separation", "mlp": "a network"}
LAYERS = {"fc1": "last layer but one", "output": "last layer"}
USERS, SHOWN = 10, 6  # users, and updates of each device that the map shows
NARROW = 1024  # numbers of a row: longer ones are projected, at random
WIDE, HIGH, EDGE = 320, 220, 12


@functools.lru_cache(maxsize=2)
def _updates(differ: str, layer: str, name: str, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Updates of first devices with their users, and of second ones: one federation of users made from a data set."""
    study = studies.get("linkability/table-6")
    strength, preference = DIFFER[differ]
    cell = {**study.cells(name)[0], "users": USERS, "strength": strength, "preference": preference}
    assert study.subject is not None
    log = study.subject(cell, seed, torch.device("cpu"))
    first, rows = log.numbers == 0, log.layers[layer]
    if rows.shape[1] > NARROW:
        random = runtime.generator(runtime.derive(seed, "projection"))
        rows = nn.functional.normalize(rows @ torch.randn(rows.shape[1], NARROW, generator=random), dim=1)
    return rows[first], log.users[first], rows[~first], log.users[~first]


def link(differ: str, attack: str, layer: str, *, name: str = "digits", seed: int = 0) -> Frame:
    """Ten made users with two devices each: a map of their updates, and how well second devices are recognised.

    differ: what tells users apart, one of `DIFFER` (`data.made_users`); attack: of `ATTACKS`; layer: of `LAYERS`. The
    map is the plane in which the observed updates vary most, and shows six updates of each device. Rows of more than
    1,024 numbers, as `fc1` has, are projected on so many at random, and made of length one again.
    """
    checks.one_of("differ", differ, DIFFER)
    checks.one_of("attack", attack, ATTACKS)
    checks.one_of("layer", layer, LAYERS)
    known, users, asked, truth = _updates(differ, layer, name, seed)
    own = runtime.derive(seed, "attack")
    scores = linkability.identify(known, users, asked, attack=attack, seed=own)
    found = metrics.score(scores, truth, seed=own)
    numbers = {
        "named right": f"{found.top1:.0%} (a guess: {1 / USERS:.0%})",
        "average precision": f"{found.ap:.2f} (random scores: {found.ap / found.times_random:.2f})",
        "times random scores": f"{found.times_random:.1f}",
    }
    alt = (
        f"A map of updates of the {LAYERS[layer]}, of {USERS} users who differ in {differ}: a colour each, discs for "
        f"the observed device and squares for the other. By {ATTACKS[attack]} {found.top1:.0%} of the other devices' "
        f"updates are named right; a guess has {1 / USERS:.0%}."
    )
    plot = _map(known, users, asked, truth)
    return Frame((), alt, numbers, plot=f'<div class="pl-plots" aria-hidden="true">{plot}</div>')


def _map(known: Tensor, users: Tensor, asked: Tensor, truth: Tensor) -> str:
    """Points in the plane of the two largest principal components; one path for each device."""
    centre = known.mean(0)
    plane = torch.linalg.svd(known - centre, full_matrices=False)[2][:2].T
    places = [(each - centre) @ plane for each in (known, asked)]
    everything = torch.cat(places)
    low, high = everything.quantile(0.01, 0), everything.quantile(0.99, 0)
    size = torch.tensor([WIDE, HIGH])
    parts = ""
    for cap, spots, owners in (("round", places[0], users), ("square", places[1], truth)):
        at = ((spots - low) / (high - low).clamp_min(1e-9)).clamp(0, 1) * size + EDGE
        for user in range(USERS):
            some = at[owners == user][:SHOWN].round().long().tolist()
            path = "".join(f"M{x} {y}h0" for x, y in some)
            colour = f"hsl({360 * user // USERS} 70% {40 + 18 * (user % 2)}%)"
            parts += f'<path d="{path}" stroke="{colour}" stroke-width="8" stroke-linecap="{cap}" fill="none"/>'
    wide, below = WIDE + 2 * EDGE, HIGH + 3 * EDGE
    words = "a colour a user; discs: observed, squares: asked about"
    parts += f'<text x="{wide / 2}" y="{below}" text-anchor="middle" font-size="12" fill="currentColor">{words}</text>'
    return f'<svg viewBox="0 0 {wide} {below + EDGE}" style="max-width:34rem">{parts}</svg>'


def link_explorer(name: str = "digits") -> Explorer:
    """What users differ in, attack and layer as controls of `link`."""
    knobs = (
        Knob("differ", "Users differ in", tuple(DIFFER), choice=True),
        Knob("attack", "Attack", tuple(ATTACKS), choice=True),
        Knob("layer", "Layer", tuple(LAYERS), choice=True),
    )
    start = {"differ": "hands and likes", "attack": "mlp", "layer": "output"}
    return Explorer(
        functools.partial(link, name=name),
        knobs,
        start=start,
        name="link",
        title="Whose update is it?",
        stored=frames.load("link") if name == "digits" else None,
    )
