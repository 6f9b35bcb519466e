"""Figure 3: the cut layer."""

from privlab.studies.bench.study import Claim
from privlab.studies.zen._decoder import GREY, LAYERS, plain_cell, rises, shows, study

STUDY = study(
    "figure-3",
    "The cut layer",
    "figure 3",
    cells=lambda name: [plain_cell(name, cut=cut) for cut in LAYERS],
    data=GREY,
    knob="cut",
    claims=(
        Claim(
            "early positioning of the cut layer can significantly improve the results of the reconstruction",
            "section 5.2",
            rises("psnr", "cut", "pool2", "pool1", by=1),
            "PSNR behind the first pooling layer a decibel and more above that behind the second",
        ),
        Claim(
            "Even placing the cut layer later in the network allowed the attacker to identify the general features",
            "section 5.2",
            lambda table: {cut: shows(cut=cut)(table) for cut in ("pool2", "relu4")},
            "behind the second pooling layer and the last hidden one: 3 dB better than the mean image",
        ),
    ),
)
