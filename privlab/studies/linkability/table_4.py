"""Table 4: who sent this update, in a closed world of some tens of users: four attacks.

Of sets with as many users as the paper's first one has, or fewer: thirty patients, whose beats have times and so are
split by time too, fourteen drawers of one alphabet, whose two devices have no character in common, and twenty users
made of the digits. Of so few users no attack can be fifty times as good as random scores; larger sets: `table-6`.
"""

from privlab.studies.bench.sentence import Found, told
from privlab.studies.bench.study import Claim, Table
from privlab.studies.linkability import _closed_world as closed
from privlab.studies.linkability._federation import printed, study

AMPLE, MANY = 5.0, 10.0
SETS = ("mitbih", "omniglot")


def _random_is_easiest(table: Table) -> Found:
    late = {"split": "chronological"}
    return {
        attack: told(table.gains("ap", {"attack": attack, **late}, {"attack": attack, "split": "random"}))
        for attack in closed.ATTACKS
    }


STUDY = study(
    "table-4",
    "Whose update is it: four attacks, some tens of users",
    "section 8.2, Table 4",
    cells=closed.cells,
    data={"fast": ("digits",), "real": SETS, "paper": SETS},
    knob="attack",
    reported=printed("4"),
    claims=(
        Claim(
            "There is strong evidence that model updates do contain ample linkable information.",
            "section 8.2",
            lambda table: closed.above(table, AMPLE),
            "some tens of users: the precision of each attack over that of random scores, more than five",
        ),
        Claim(
            "even simple baselines (such as K-NN) are comparably effective",
            "section 8.2",
            closed.knn_is_as_good,
            "some tens of users: nine tenths of the precision of the best other attack",
        ),
        Claim(
            "Of some tens of users too the network has the largest precision.",
            "section 8.2 (iii), Table 4",
            closed.mlp_is_best,
            "a larger precision than each other attack's, in the same draws",
            ours=True,
        ),
        Claim(
            "The attack is highly effective (106x) even on challenging OpenImages-chrono split",
            "section 8.2 (v)",
            lambda table: closed.above(table, MANY, split="chronological"),
            "the first half of each patient's time against the second: more than ten times random",
            data=("mitbih",),
        ),
        Claim(
            "A random split is easier to attack than a chronological one",
            "Tables 4 and 6",
            _random_is_easiest,
            "a larger precision in the same draws",
            ours=True,
            data=("mitbih",),
        ),
    ),
)
