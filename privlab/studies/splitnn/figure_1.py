"""Figure 1: what an adversary knows of the images."""

from privlab.studies.bench.sentence import Outcome, told
from privlab.studies.bench.study import Claim, Table
from privlab.studies.splitnn._paper import ATTACKED, PRIORS, SMALL, attacked, run_attack, small, study

READ = 0.75


def _class_is_read(table: Table, prior: str) -> Outcome:
    return told(table.values("class_accuracy", **small(table, prior=prior)), READ)


STUDY = study(
    "figure-1",
    "What an adversary knows of the images",
    "figure 1",
    cells=lambda name: [attacked(name, 0, prior=prior) for prior in PRIORS.get(name, PRIORS["digits"])],
    run=run_attack,
    knob="prior",
    metrics=ATTACKED,
    claims=(
        Claim(
            "they are still good enough to infer the class of the original images",
            "section 5",
            lambda table: _class_is_read(table, "emnist-letters"),
            f"{SMALL}, EMNIST's letters as prior: a classifier names over three quarters of the classes",
            data=("mnist",),
        ),
        Claim(
            "The same with Omniglot in the place of EMNIST",
            "section 5",
            lambda table: _class_is_read(table, "omniglot"),
            f"{SMALL}: a classifier names over three quarters of the classes",
            ours=True,
            data=("mnist",),
        ),
    ),
)
