"""Figure 4: the number of filters."""

from privlab.studies.bench.study import Claim
from privlab.studies.zen._decoder import GREY, HALF, plain_cell, rises, study

FILTERS = (3, 6, 12, 24)
STUDY = study(
    "figure-4",
    "The number of filters",
    "figure 4",
    cells=lambda name: [plain_cell(name, conv=conv) for conv in FILTERS],
    data=GREY,
    knob="conv",
    claims=(
        Claim(
            "additional width in the convolutional layers improved the reconstruction results",
            "section 5.2",
            rises("psnr", "conv", *FILTERS),
            f"PSNR, from each number of filters to the next, {HALF}",
        ),
    ),
)
