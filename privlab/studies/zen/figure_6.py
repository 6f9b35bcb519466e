"""Figure 6: colour images decoded with a suitable and an unsuitable prior."""

from privlab.studies.bench.study import Cell, Claim
from privlab.studies.zen._decoder import COLOUR, plain_cell, rises, stranger, study


def cells(name: str) -> list[Cell]:
    """CIFAR-100 and MNIST for CIFAR-10; another data set for others."""
    return [
        plain_cell(name, prior=prior) for prior in (("cifar100", "mnist") if name == "cifar10" else (stranger(name),))
    ]


STUDY = study(
    "figure-6",
    "Colour images decoded with a suitable and an unsuitable prior",
    "figure 6",
    cells=cells,
    data=COLOUR,
    knob="prior",
    claims=(
        Claim(
            "they were not be able to accomplish an accurate reconstruction without a suitable prior",
            "section 5.2",
            rises("psnr", "prior", "mnist", "cifar100", by=1),
            "PSNR with MNIST as prior a decibel and more below that with CIFAR-100",
            data=("cifar10",),
        ),
    ),
)
