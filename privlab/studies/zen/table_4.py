"""Table 4: decoding activations with another data set as prior."""

from privlab.studies.bench.sentence import Found, alike
from privlab.studies.bench.study import Cell, Claim, Table
from privlab.studies.zen._decoder import HALF, MARGIN, plain, plain_cell, printed, rises, shows, stranger, study


def cells(name: str) -> list[Cell]:
    """An adversary with images of the owners' kind, and one with another data set."""
    return [plain_cell(name, prior=prior) for prior in ("same", stranger(name))]


def _insignificant(table: Table) -> Found:
    return alike(table.gains("psnr", plain(table, prior="stranger"), plain(table)), MARGIN)


STUDY = study(
    "table-4",
    "Decoding activations with another data set as prior",
    "Table 4",
    cells=cells,
    data={
        "fast": ("digits", "patches"),
        "real": ("mnist", "pneumoniamnist", "cifar10"),
        "paper": ("mnist", "pneumoniamnist", "cifar10", "pathmnist"),
    },
    knob="prior",
    reported=printed("4"),
    claims=(
        Claim(
            "the attacker only requires data from the same distribution as the victims and does not directly from the "
            "same dataset",
            "section 5.2",
            shows(prior="stranger"),
            "another data set as prior: 3 dB better than the mean of the adversary's images, and of the owners' kind",
        ),
        Claim(
            "When the prior was not consistent with the data in the cases of 1x28x28 datasets, the loss in quality was "
            "insignificant",
            "section 5.2",
            _insignificant,
            "PSNR with Fashion-MNIST as prior against the same data set, less than half a decibel",
            data=("mnist", "pneumoniamnist", "digits"),
        ),
        Claim(
            "The owners' own kind of images reconstructs better",
            "Table 4",
            rises("psnr", "prior", "stranger", "same"),
            f"PSNR, {HALF}",
            ours=True,
        ),
    ),
)
