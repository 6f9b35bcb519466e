"""Figure 10: the open world: users whom the adversary has never heard of.

A third of the users is held out: both of their devices are observed, and stand for *unknown*. Of the others so many are
seen: their first device is observed; of the rest, who are unseen, nothing is. Identification asks about second devices
of both kinds; matching about pairs of a first and a second one. A pair with a seen user's observed update would be half
known: of seen users every other round is observed then, and asked about the rounds between, as in Table 8. Omniglot is
left out: it has nine drawers besides those held out.
"""

import torch
from torch import Tensor

from privlab import runtime
from privlab.attacks import linkability
from privlab.metrics import linkability as metrics
from privlab.sharing import federated
from privlab.studies.bench.printed import Printed, reported
from privlab.studies.bench.sentence import Found, Outcome, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table
from privlab.studies.linkability._federation import Recorded, cells_of, devices, recorded, study
from privlab.studies.linkability._pairs import heard_twice, matched

SETS = ("mnist-writers", "mitbih")
SEEN = (0.1, 0.3, 0.5, 0.7, 0.9)
HELD_OUT = 3  # one in so many
MUCH = 1.5  # times random: the least that the paper prints


def cells(name: str) -> list[Cell]:
    """Identification at five shares of seen users, matching also with none; the cosine, which has seen nobody, once."""
    ways = [("mlp", share) for share in SEEN] + [("siamese", share) for share in (0.0, *SEEN)] + [("cosine", 0.0)]
    return cells_of(name, *({"attack": attack, "seen": share} for attack, share in ways))


def worlds(users: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Users who are seen, unseen and held out, of all `(U,)`: a third is held out, and of the rest `share` seen.

    Who is held out does not depend on the share, and who is seen at a smaller one is at a larger one too.
    """
    order = users[torch.randperm(len(users), generator=runtime.generator(runtime.derive(seed, "worlds")))]
    held, rest = order.tensor_split([len(order) // HELD_OUT])
    seen, unseen = rest.tensor_split([max(int(share > 0), round(share * len(rest)))])
    return seen, unseen, held


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Identification (`mlp`: of the seen users, or unknown) or matching (others) in an open world; and the task."""
    log = recorded(cell, seed, device)
    world = worlds(heard_twice(log), cell["seen"], seed)
    found = (identified if cell["attack"] == "mlp" else paired)(cell, log, world, runtime.derive(seed, "attack"))
    tested = devices(cell, seed, device).tested
    return {**found, "utility": federated.accuracy(log.model, tested.images, tested.labels)}


World = tuple[Tensor, Tensor, Tensor]


def identified(cell: Cell, log: Recorded, world: World, seed: int) -> Metrics:
    """Scores of the seen users and of *unknown*, which held-out users taught; the latter's precision counts as one."""
    seen, unseen, held = world
    kinds = torch.full((int(log.users.max()) + 1,), len(seen))
    kinds[seen] = torch.arange(len(seen))
    first, rows = log.numbers == 0, log.layers[cell["layer"]]
    known = (first & torch.isin(log.users, seen)) | torch.isin(log.users, held)
    asked = ~first & torch.isin(log.users, torch.cat([seen, unseen]))
    users = kinds[log.users[known]].to(rows.device)
    scores = linkability.identify(rows[known], users, rows[asked], attack=cell["attack"], seed=seed)
    return vars(metrics.score(scores.cpu(), kinds[log.users[asked]], seed=seed))


def paired(cell: Cell, log: Recorded, world: World, seed: int) -> Metrics:
    """Pairs of seen and unseen users, by who learned from pairs of held-out users and seen ones' first devices."""
    seen, unseen, held = world
    heard = (log.numbers == 0) & (log.rounds % 2 == 0) & torch.isin(log.users, seen)
    known = heard | torch.isin(log.users, held)
    return matched(cell, log, known, log.clients, torch.cat([seen, unseen]), seed)


def _much_above(table: Table) -> Found:
    """At each share of seen users: identification over random scores, matching over chance."""
    found: dict[str, Outcome] = {}
    for attack, metric in (("mlp", "times_random"), ("siamese", "times_chance")):
        for share in (0.0, *SEEN) if attack == "siamese" else SEEN:
            values = table.values(metric, attack=attack, seen=share)
            found[f"{attack}, {share:.0%} seen"] = told([value - MUCH for value in values])
    return found


def _ends(metric: str, table: Table) -> list[float]:
    """By how much a metric of identification is larger where most users are seen than where fewest are."""
    return table.gains(metric, {"attack": "mlp", "seen": SEEN[0]}, {"attack": "mlp", "seen": SEEN[-1]})


CLAIMS = (
    Claim(
        "even in the open-world scenario, we perform much higher than chance-level for both the tasks",
        "section 8.4 (i)",
        _much_above,
        "more than one and a half times random, the least that is printed, at each share of seen users",
    ),
    Claim(
        "we notice a slight drop in AP performance (67%→43% in PIPA) as %seen users increase",
        "section 8.4 (ii)",
        lambda table: told([-gain for gain in _ends("ap", table)]),
        "identification: a smaller precision at nine seen users in ten than at one",
    ),
    Claim(
        "performance compared to chance-level significantly increases (3x→14x) "
        "due to increase in output-space of the attack",
        "section 8.4 (ii)",
        lambda table: told(_ends("times_random", table)),
        "identification: larger in terms of random scores on the same updates at nine seen users in ten than at one",
    ),
    Claim(
        "the Siamese model performs much higher than chance-level "
        "even in a purely open-world setting, with no seen users",
        "section 8.4 (iii)",
        lambda table: told([value - MUCH for value in table.values("times_chance", attack="siamese", seen=0.0)]),
        "more than one and a half times chance, as printed of PIPA",
    ),
    Claim(
        "What other people's pairs teach tells more of unseen users than the cosine.",
        "Figure 10",
        lambda table: told(table.gains("ap", {"attack": "cosine", "seen": 0.0}, {"attack": "siamese", "seen": 0.0})),
        "the Siamese network's precision on the same pairs, with no seen user",
        ours=True,
    ),
)
UNITS = {
    "times_chance_min": ("times_chance", 1.0, 1.0),
    "times_chance_max": ("times_chance", 1.0, 1.0),
    "times_chance_no_seen_user": ("times_chance", 1.0, 0.1),
    "identification_ap": ("ap", 100.0, 0.01),
}


def _printed(row: Printed) -> Cell | None:
    """The ends of the curves: one user in ten is seen, nine are, and of the Siamese network none."""
    if row.variant.startswith("Siamese"):
        return {"attack": "siamese", "seen": 0.0}
    most = row.metric == "times_chance_max" or "most" in row.variant
    return {"attack": "mlp", "seen": SEEN[-1 if most else 0]}


STUDY = study(
    "figure-10",
    "Users whom nobody has heard of: an open world",
    "section 8.4, Figure 10",
    cells=cells,
    run=run,
    data={"fast": ("digits",), "real": SETS, "paper": SETS},
    knob="seen",
    reported=reported("linkability", "fig10", _printed, step=1.0, units=UNITS),
    claims=CLAIMS,
)
