"""The studies of the generative decoder in "Zen", section 5.2: their cells and the paper's sentences."""

from privlab.studies.outcome import MARGIN, Outcome, negated, told
from privlab.studies.study import Cell, Claim, Study, Table, Test
from privlab.studies.zen_decoder import (
    FORMS,
    LAYERS,
    STRANGERS,
    alike,
    by_seed,
    plain_cell,
    printed,
    rises,
    study,
    table,
)

BOTH = {"fast": ("digits", "patches"), "real": ("mnist", "cifar10"), "paper": ("mnist", "cifar10")}
GREY = {"fast": ("digits",), "real": ("mnist",), "paper": ("mnist",)}
COLOUR = {"fast": ("patches",), "real": ("cifar10",), "paper": ("cifar10",)}
ON_GREY, ON_COLOUR = ("mnist", "digits"), ("cifar10", "patches")  # which adaptations are measured on which
VISIBLE = 3.0  # dB above the mean of the adversary's images
SOURCE = "section 5.2"


def shows(by: float = VISIBLE, **changes: object) -> Test:
    """Whether the reconstruction is better than a blind guess, by 3 dB or as many as are asked.

    There are two: the mean of the adversary's images, and of images of the owners' kind, which are in every textbook.
    """

    def test(table: Table) -> Outcome:
        if table.data is None:
            return None
        cell = plain_cell(table.data, **changes)
        means = [table.mean("mean_image_psnr", **each) for each in (cell, {**cell, "prior": "same"})]
        blind = max((value for value in means if value == value), default=None)  # no draw has a part in them
        found = table.values("psnr", **cell)
        return None if blind is None or not found else told([psnr - blind for psnr in found], by)

    return test


def hidden(**changes: object) -> Test:
    """Whether the reconstruction is less than 1 dB better than a blind guess."""
    visible = shows(by=1.0, **changes)
    return lambda table: negated(visible(table))


def _stranger(table: Table) -> Outcome:
    return shows(prior=STRANGERS.get(table.data or ""))(table)


def _meaningless(table: Table) -> Outcome:
    return negated(_stranger(table))


def _deep(table: Table, by: float, **cut: str) -> Outcome:
    """Whether a network of four convolutions shows more than the plain one, by so many decibels."""
    if table.data is None:
        return None
    found = by_seed(table, "psnr", [plain_cell(table.data), plain_cell(table.data, depth=4, **cut)])
    return None if found is None else told([deep - plain for plain, deep in found], by)


def _later_cut(table: Table) -> Outcome:
    return negated(_deep(table, -MARGIN, cut="relu4"))


def _same_cut(table: Table) -> Outcome:
    return _deep(table, -MARGIN, cut="pool2")


def _section_5_2(name: str) -> list[Cell]:
    """One adaptation at a time; on colour images what the paper says of them."""
    changes: list[Cell] = [{}, {"rounds": 0}]
    if FORMS.get(name, (1, 28))[0] == 3:
        changes += [{"size": 16}, {"rounds": 1}]
    else:
        changes += [{"rounds": 1}, {"recorded": "round 1"}, {"batch": 8}, {"batch": 256}, {"fc": 30}, {"fc": 480}]
        changes += [{"depth": 4}, {"depth": 4, "cut": "relu4"}, {"clients": 9}]
        changes += [{"protection": "dp"}, {"protection": "secure_aggregation"}]
    return [plain_cell(name, **change) for change in changes]


def _worse(knob: str, value: object, usual: object, by: float) -> Test:
    return rises("psnr", knob, value, usual, by=by)


TABLE_4 = study(
    "table-4",
    "Decoding activations with another data set as prior",
    "Zen, Table 4",
    lambda name: [plain_cell(name, prior=prior) for prior in ("same", STRANGERS[name])],
    {
        "fast": ("digits", "patches"),
        "real": ("mnist", "pneumoniamnist", "cifar10"),
        "paper": ("mnist", "pneumoniamnist", "cifar10", "pathmnist"),
    },
    "prior",
    (
        Claim("Another data set as prior is enough to reconstruct", SOURCE, _stranger),
        Claim("The owners' own kind of images reconstructs better", SOURCE, rises("psnr", "prior", "stranger", "same")),
    ),
    printed("4"),
)
TABLE_5 = table(
    "5",
    "pool",
    "The decoder and pooling",
    ("max", "average"),
    BOTH,
    (Claim("Max pooling reveals less than average pooling", SOURCE, rises("psnr", "pool", "max", "average")),),
)
TABLE_6 = table(
    "6",
    "activation",
    "The decoder and the activation function",
    ("relu", "tanh", "sigmoid"),
    BOTH,
    (
        Claim("Tanh reveals less than ReLU", "Table 6", rises("psnr", "activation", "tanh", "relu")),
        Claim("Sigmoid mitigates the attack", SOURCE, rises("psnr", "activation", "sigmoid", "relu", by=1)),
        Claim(
            "... which may be for the lower accuracy of such models",
            SOURCE,
            rises("accuracy", "activation", "sigmoid", "relu", by=0.02),
        ),
    ),
)
FIGURE_1 = study(
    "figure-1",
    "Chest radiographs decoded with other priors",
    "Zen, figure 1",
    lambda name: [
        plain_cell(name, prior=p)
        for p in (("same", "patches") if name == "digits" else ("same", "chestmnist", "mnist", "fashion-mnist"))
    ],
    {"fast": ("digits",), "real": ("pneumoniamnist",), "paper": ("pneumoniamnist",)},
    "prior",
    (
        Claim("With MNIST as prior radiographs are reconstructed", SOURCE, shows(prior="mnist"), ("pneumoniamnist",)),
        Claim(
            "A related prior gives more defined features than digits (the same data set for ChestMNIST)",
            SOURCE,
            rises("psnr", "prior", "mnist", "same", by=1),
            ("pneumoniamnist",),
        ),
    ),
)
FIGURE_2 = study(
    "figure-2",
    "Targets of low accuracy",
    "Zen, figure 2",
    lambda name: [plain_cell(name, prior=STRANGERS[name])],
    {"fast": ("patches",), "real": (), "paper": ("pathmnist", "dermamnist")},
    "prior",
    (Claim("Reconstructions of such data are meaningless", SOURCE, _meaningless, ("pathmnist", "dermamnist")),),
)
FIGURE_3 = study(
    "figure-3",
    "The cut layer",
    "Zen, figure 3",
    lambda name: [plain_cell(name, cut=cut) for cut in LAYERS],
    GREY,
    "cut",
    (
        Claim("An early cut reveals more than a deeper one", SOURCE, rises("psnr", "cut", "pool2", "pool1", by=1)),
        Claim("Even the deeper cut shows the general features", SOURCE, shows(cut="pool2")),
    ),
)
FIGURE_4 = study(
    "figure-4",
    "The number of filters",
    "Zen, figure 4",
    lambda name: [plain_cell(name, conv=conv) for conv in (3, 6, 12, 24)],
    GREY,
    "conv",
    (Claim("More filters improve the reconstruction", SOURCE, rises("psnr", "conv", 3, 6, 12, 24)),),
)
FIGURE_5 = study(
    "figure-5",
    "The distribution of data",
    "Zen, figure 5",
    lambda name: [plain_cell(name, distribution=how) for how in ("iid", "non_iid")],
    GREY,
    "distribution",
    (
        Claim(
            "Owners with labels of their own are reconstructed less accurately",
            SOURCE,
            rises("psnr", "distribution", "non_iid", "iid"),
        ),
    ),
)
FIGURE_6 = study(
    "figure-6",
    "Colour images decoded with a suitable and an unsuitable prior",
    "Zen, figure 6",
    lambda name: [plain_cell(name, prior=p) for p in (("digits",) if name == "patches" else ("cifar100", "mnist"))],
    COLOUR,
    "prior",
    (
        Claim(
            "Without a suitable prior there is no accurate reconstruction of colour images",
            SOURCE,
            rises("psnr", "prior", "mnist", "cifar100", by=1),
            ("cifar10",),
        ),
    ),
)
SECTION_5_2 = study(
    "section-5.2",
    "The decoder and one adaptation at a time",
    "Zen, section 5.2 and Table 10; SplitNN, appendix A",
    _section_5_2,
    BOTH,
    "batch",
    (
        Claim("A poorly trained target gives no meaningful reconstruction", SOURCE, hidden(rounds=0)),
        Claim("A larger batch in training makes the attack ineffective", SOURCE, _worse("batch", 256, 32, 3), ON_GREY),
        Claim(
            "The width of dense layers has no notable impact",
            SOURCE,
            alike("psnr", "fc", 30, 120, 480, within=1),
            ON_GREY,
        ),
        Claim("Deeper models with a later cut reveal less", SOURCE, _later_cut, ON_GREY),
        Claim("Deeper models with the same cut reveal no less", SOURCE, _same_cut, ON_GREY),
        Claim("Images of higher resolution are harder to invert", SOURCE, rises("psnr", "size", 32, 16), ON_COLOUR),
        Claim("More clients mitigate the attack", "Table 10", _worse("clients", 9, 3, 1), ON_GREY),
        Claim(
            "Client-level DP leaves inaccurate, noisy reconstructions",
            SOURCE,
            _worse("protection", "dp", "none", 3),
            ON_GREY,
        ),
        Claim("Secure aggregation stops the decoder", "Table 10", hidden(protection="secure_aggregation"), ON_GREY),
        Claim(
            "What was recorded in an early round is not decoded by a decoder for the final segment",
            "SplitNN, appendix A",
            hidden(recorded="round 1"),
            ON_GREY,
        ),
    ),
)
STUDIES: tuple[Study, ...] = (
    *(TABLE_4, TABLE_5, TABLE_6),
    *(FIGURE_1, FIGURE_2, FIGURE_3, FIGURE_4, FIGURE_5, FIGURE_6),
    SECTION_5_2,
)
