"""Section 5.2 in words, and the decoder's row of Table 10: one adaptation at a time."""

from privlab.studies.bench.sentence import Found, Outcome, alike, both, told
from privlab.studies.bench.study import Cell, Claim, Table
from privlab.studies.zen._decoder import (
    BOTH,
    HALF,
    MARGIN,
    ON_COLOUR,
    ON_GREY,
    form,
    hidden,
    plain,
    plain_cell,
    rises,
    study,
)


def cells(name: str) -> list[Cell]:
    """One adaptation at a time; on colour images what the paper says of them."""
    changes: list[Cell] = [{}, {"rounds": 0}]
    if form(name)[0] == 3:
        changes += [{"size": 16}, {"rounds": 1}]
    else:
        changes += [{"rounds": 1}, {"recorded": "round 1"}, {"batch": 8}, {"batch": 256}, {"fc": 30}, {"fc": 480}]
        changes += [{"depth": 4}, {"depth": 4, "cut": "relu4"}, {"clients": 9}]
        changes += [{"protection": "dp"}, {"protection": "secure_aggregation"}]
    return [plain_cell(name, **change) for change in changes]


def _no_impact(table: Table) -> Found:
    """A quarter of the dense layers' width, and four times it, against the plain network's."""
    return both(*(alike(table.gains("psnr", plain(table), plain(table, fc=fc)), MARGIN) for fc in (30, 480)))


def _less(table: Table, **change: object) -> Outcome:
    return told(table.gains("psnr", plain(table, **change), plain(table)), margin=MARGIN)


def _poorly_trained(table: Table) -> Found:
    return {
        "untrained": hidden(rounds=0)(table),
        "after one round of three": hidden(rounds=1)(table),
    }


BLIND = "less than a decibel better than the mean of the adversary's images"
STUDY = study(
    "section-5.2",
    "The decoder and one adaptation at a time",
    "section 5.2 and Table 10; SplitNN, appendix A",
    cells=cells,
    data=BOTH,
    knob="batch",
    claims=(
        Claim(
            "poorly trained target models […] could not be used to generate any meaningful reconstructions",
            "section 5.2",
            _poorly_trained,
            BLIND,
        ),
        Claim(
            "increasing the batch size at train time also rendered the attack ineffective",
            "section 5.2",
            hidden(batch=256),
            f"256 in the place of 32: {BLIND}",
            data=ON_GREY,
        ),
        Claim(
            "additional width in the FC layers did not have a notable impact on the attack",
            "section 5.2",
            _no_impact,
            "a quarter of the width and four times it: PSNR within half a decibel of the plain network's",
            data=ON_GREY,
        ),
        Claim(
            "deeper models can be effectively deployed […] if employing a deeper model comes with a later cut layer",
            "section 5.2",
            lambda table: _less(table, depth=4, cut="relu4"),
            f"four convolutions for two, cut behind the last: a lower PSNR, {HALF}",
            data=ON_GREY,
        ),
        Claim(
            "if the cut layer position remains unchanged, deeper models [make] the attack (along with the main "
            "learning task) more successful",
            "section 5.2",
            lambda table: told(table.gains("psnr", plain(table), plain(table, depth=4)), margin=MARGIN),
            f"four convolutions for two, the same cut, MNIST for a complex task: a higher PSNR, {HALF}",
            data=ON_GREY,
        ),
        Claim(
            "data with higher resolution was more difficult to invert",
            "section 5.2",
            rises("psnr", "size", 32, 16),
            f"the same images at 32 pixels and at 16: PSNR, {HALF}",
            data=ON_COLOUR,
        ),
        Claim(
            "More clients mitigate the decoder",
            "Table 10",
            lambda table: _less(table, clients=9),
            f"nine clients for three, with as many images in all: a lower PSNR, {HALF}",
            ours=True,
            data=ON_GREY,
        ),
        Claim(
            "client-level Differential Privacy […] resulting in inaccurate noisy reconstructions for the adversary",
            "section 5.2",
            lambda table: told(table.gains("psnr", plain(table, protection="dp"), plain(table)), 3.0),
            "DP-SGD at ε = 6: three decibels and more below the plain network's, by two standard errors",
            data=ON_GREY,
        ),
        Claim(
            "Secure aggregation stops the decoder",
            "Table 10",
            hidden(protection="secure_aggregation"),
            f"the sum of what three owners send: {BLIND}",
            ours=True,
            data=ON_GREY,
        ),
        Claim(
            "As the distribution of intermediate data generated during each round of training differs, the attack may "
            "not work for early-round training",
            "SplitNN, appendix A",
            hidden(recorded="round 1"),
            f"a decoder for the last round's segment on what was sent after the first: {BLIND}",
            data=ON_GREY,
        ),
    ),
)
