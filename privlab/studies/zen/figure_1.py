"""Figure 1: chest radiographs decoded with other priors."""

from privlab.studies.bench.study import Cell, Claim
from privlab.studies.zen._decoder import plain_cell, rises, shows, study

OF_RADIOGRAPHS = ("pneumoniamnist",)


def cells(name: str) -> list[Cell]:
    """The same kind of images, adult radiographs, digits and clothes; on embedded data, digits and photographs."""
    priors = ("same", "chestmnist", "mnist", "fashion-mnist") if name in OF_RADIOGRAPHS else ("same", "patches")
    return [plain_cell(name, prior=prior) for prior in priors]


STUDY = study(
    "figure-1",
    "Chest radiographs decoded with other priors",
    "figure 1",
    cells=cells,
    data={"fast": ("digits",), "real": OF_RADIOGRAPHS, "paper": OF_RADIOGRAPHS},
    knob="prior",
    claims=(
        Claim(
            "both attacks resulted in image reconstruction",
            "section 5.2",
            lambda table: {
                "MNIST as prior": shows(prior="mnist")(table),
                "ChestMNIST as prior": shows(prior="chestmnist")(table),
            },
            "3 dB better than the mean of the adversary's images, and of the owners' kind",
            data=OF_RADIOGRAPHS,
        ),
        Claim(
            "A related prior gives more defined features than digits",
            "section 5.2",
            rises("psnr", "prior", "mnist", "same", by=1),
            "PSNR with the same data set, in the place of ChestMNIST, a decibel and more above that with MNIST",
            ours=True,
            data=OF_RADIOGRAPHS,
        ),
    ),
)
