"""Figure 2: targets of low accuracy."""

from privlab.studies.bench.study import Claim
from privlab.studies.zen._decoder import hidden, plain_cell, stranger, study

STUDY = study(
    "figure-2",
    "Targets of low accuracy",
    "figure 2",
    cells=lambda name: [plain_cell(name, prior=prior) for prior in (stranger(name), "same")],
    data={"fast": ("patches",), "real": (), "paper": ("pathmnist", "dermamnist")},
    knob="prior",
    claims=(
        Claim(
            "low accuracy led to meaningless reconstruction results that lacked detailed features",
            "section 5.2",
            hidden(prior="stranger"),
            "less than a decibel better than the mean of the adversary's images, and of the owners' kind",
            data=("pathmnist", "dermamnist"),
        ),
    ),
)
