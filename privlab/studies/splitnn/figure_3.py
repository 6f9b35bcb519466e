"""Figure 3: how many images the adversary has."""

import itertools

from privlab.studies.bench.sentence import MARGIN, Found, both, told
from privlab.studies.bench.study import Claim, Table
from privlab.studies.splitnn._paper import ATTACK_SETS, ATTACKED, SMALL, attack_sets, attacked, run_attack, small, study


def _more_images(table: Table) -> Found:
    counts = ATTACK_SETS.get(table.data or "") or tuple(table.curve("psnr", "attack_set", **small(table)))
    if len(counts) < 2:
        return None
    ways = [small(table, attack_set=count) for count in counts]
    return both(*(told(table.gains("psnr", a, b), margin=MARGIN) for a, b in itertools.pairwise(ways)))


STUDY = study(
    "figure-3",
    "How many images the adversary has",
    "figure 3",
    cells=lambda name: [attacked(name, 0, attack_set=count) for count in attack_sets(name)],
    run=run_attack,
    knob="attack_set",
    metrics=ATTACKED,
    claims=(
        Claim(
            "the poor attack performance achieved at low dataset sizes impedes an attacker, but does not stop them",
            "appendix C.1",
            _more_images,
            f"{SMALL}: PSNR with 250, 1250 and 5000 images, from each to the next, by half a decibel",
        ),
    ),
)
