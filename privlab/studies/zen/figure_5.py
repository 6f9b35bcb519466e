"""Figure 5: the distribution of data among the owners."""

from privlab.studies.bench.study import Claim, Takes
from privlab.studies.zen._decoder import CLIENTS, GREY, HALF, plain_cell, rises, study

STUDY = study(
    "figure-5",
    "The distribution of data",
    "figure 5",
    cells=lambda name: [plain_cell(name, distribution=how) for how in ("iid", "non_iid")],
    data=GREY,
    knob="distribution",
    claims=(
        Claim(
            "on non-IID data, the attack results were less accurate in comparison to IID data across all datasets",
            "section 5.2",
            rises("psnr", "distribution", "non_iid", "iid"),
            f"of all data sets MNIST alone; PSNR, {HALF}",
        ),
    ),
    takes=Takes(least=500, classes=CLIENTS),
)
