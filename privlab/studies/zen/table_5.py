"""Table 5: the decoder and pooling."""

from privlab.studies.bench.study import Claim
from privlab.studies.zen._decoder import BOTH, HALF, plain_cell, printed, rises, study

STUDY = study(
    "table-5",
    "The decoder and pooling",
    "Table 5",
    cells=lambda name: [plain_cell(name, pool=pool) for pool in ("max", "average")],
    data=BOTH,
    knob="pool",
    reported=printed("5"),
    claims=(
        Claim(
            "Max-Pooling tended to reveal less information in comparison to Average-Pooling",
            "section 5.2",
            rises("psnr", "pool", "max", "average"),
            f"PSNR, {HALF}",
        ),
    ),
)
