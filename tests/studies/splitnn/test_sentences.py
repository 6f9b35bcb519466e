"""The sentences of SplitNN: each can hold, fail and be left open by rows made for it."""

import itertools

import pytest

from privlab.studies import STUDIES
from privlab.studies.splitnn import table_1
from tests.studies import sentences
from tests.studies.sentences import Case, badly_put, judged, of, wide

SMALL = {"images": 10_000, "epochs": 4}
KNOWING, NAIVE = "who knows of the noise", "who does not know of the noise"
WHO = {NAIVE: "naive", KNOWING: "noise_aware"}


def made(study, rest, *changes):
    """Rows of the smaller cells, as `changes` say; those of the paper's own size have all `rest`."""
    large = [{**cell, "images": 40_000, "epochs": 10} for cell in STUDIES[study].cells("mnist")]
    small = [({**SMALL, **cell}, numbers) for cell, numbers in changes]
    return sentences.made(study, "mnist", rest, *small, more=large if study != "splitnn/table-1" else ())


def classes(rest, prior, found):
    return made("splitnn/figure-1", {"class_accuracy": rest}, ({"prior": prior}, {"class_accuracy": found}))


def class_is_read(text, prior):
    return Case(
        "splitnn/figure-1",
        text,
        holds=[classes(0.0, prior, 0.755)],
        fails=[classes(1.0, prior, 0.745)],
        unsure=[classes(0.0, prior, wide(0.8, 0.75)), classes(1.0, prior, wide(0.7, 0.75))],
    )


FIGURE_1 = [
    class_is_read("they are still good enough to infer the class", "emnist-letters"),
    class_is_read("The same with Omniglot in the place of EMNIST", "omniglot"),
]


def attacked(alpha=0.0, noise=0.0, who="naive"):
    """Settings of a cell of figure 2: noise that is added after training."""
    return {"alpha": alpha, "noise": noise, "adversary": who, "noise_in": "release"}


def decoded(rest, *changes):
    """The mean image is 10 dB from a victim; `changes` are cells with their PSNR, or all their numbers."""
    usual = {"psnr": rest, "mean_image_psnr": 10.0, "class_accuracy": rest / 20, "ssim": rest / 20}
    found = ((cell, {"psnr": now} if isinstance(now, float | tuple) else now) for cell, now in changes)
    return made("splitnn/figure-2", usual, *found)


def two(noise, naive, knowing, rest=20.0):
    """PSNR and share of classes named, by either adversary."""
    found = zip(WHO.values(), (naive, knowing), strict=True)
    cells = [
        (attacked(noise=noise, who=who), dict(zip(("psnr", "class_accuracy"), now, strict=True))) for who, now in found
    ]
    return decoded(rest, *cells)


def destroyed(text, noise):
    blind, sees, names = (10.93, 0.195), (11.07, 0.195), (10.93, 0.205)
    return Case(
        "splitnn/figure-2",
        text,
        holds=[two(noise, blind, blind)],
        fails=[two(noise, sees, sees, 0.0), two(noise, names, names, 0.0), two(noise, sees, names, 0.0)],
        unsure=[
            two(noise, (wide(10.7, 11), 0.1), blind),
            two(noise, blind, (10.0, wide(0.15, 0.2))),
            two(noise, (10.0, wide(0.15, 0.2)), (wide(10.7, 11), 0.1)),
        ],
        depends=(two(noise, blind, sees), {NAIVE}, {KNOWING}),
    )


def coherent(psnr, ssim, named, rest=20.0):
    """What NoPeek with a weight of 0.5 leaves of 20 dB, an SSIM of 0.6 and nine classes of ten."""
    plain = {"psnr": 20.0, "ssim": 0.6, "class_accuracy": 0.9}
    found = {"psnr": psnr, "ssim": ssim, "class_accuracy": named}
    return decoded(rest, (attacked(), plain), (attacked(0.5), found))


def joined(noise_alone, nopeek_alone, *odd, rest):
    """The two together leave 15 dB, whoever attacks; either alone leaves more or less."""
    found = [(attacked(0.5), nopeek_alone)]
    for who, noise in itertools.product(WHO.values(), (0.5, 1.0)):
        found += [(attacked(0.0, noise, who), noise_alone), (attacked(0.5, noise, who), 15.0)]
    return decoded(rest, *found, *odd)


WAYS = [dict(zip(("alpha", "noise"), way, strict=True)) for way in itertools.product((0.0, 0.5), (0.5, 1.0))]


def aware(rest, usual, odd=None, found=0.0):
    """An adversary who knows of the noise against 15 dB of one who does not, in one of the ways by itself."""
    cells = [(attacked(**way, who="naive"), 15.0) for way in WAYS]
    cells += [(attacked(**way, who="noise_aware"), usual) for way in WAYS]
    return decoded(rest, *cells, *([(attacked(**odd, who="noise_aware"), found)] if odd else []))


FIGURE_2 = [
    destroyed("Qualitatively, the reconstructions are completely destroyed", 1.0),
    destroyed("noise scales which destroy reconstruction capability", 0.5),
    Case(
        "splitnn/figure-2",
        "NoPeek hides a part of the image",
        holds=[coherent(19.4, 0.545, 0.855)],
        fails=[coherent(19.4, 0.555, 0.855), coherent(20.6, 0.545, 0.855), coherent(19.4, 0.545, 0.845)],
        unsure=[
            coherent(19.6, 0.545, 0.855),
            coherent(20.4, 0.545, 0.855),
            coherent(wide(18.0, 20), 0.545, 0.855),
            coherent(19.4, wide(0.5, 0.55), 0.855),
            coherent(19.4, 0.545, wide(0.88, 0.85)),
        ],
    ),
    Case(
        "splitnn/figure-2",
        "This qualitative analysis suggests that a combination",
        holds=[joined(15.6, 15.6, rest=12.0)],
        fails=[joined(14.4, 15.6, rest=18.0), joined(15.6, 14.4, rest=18.0)],
        unsure=[
            *(joined(one, other, rest=12.0) for one, other in ((15.4, 15.6), (15.6, 15.4), (14.6, 15.6))),
            joined(15.6, wide(17.0, 15.0), rest=12.0),
            *(joined(15.6, 15.6, (attacked(0.0, n, who), 15.4), rest=12.0) for n in (0.5, 1.0) for who in WHO.values()),
        ],
        depends=(
            joined(14.4, 15.6, (attacked(0.0, 0.5, "naive"), 15.6), rest=12.0),
            {f"noise of 0.5, one {NAIVE}"},
            {f"noise of 1, one {NAIVE}", *(f"noise of {noise}, one {KNOWING}" for noise in (0.5, 1))},
        ),
    ),
    Case(
        "splitnn/figure-2",
        "To know of the noise is nowhere worse than not to",
        holds=[aware(10.0, 14.6), aware(10.0, 19.0)],
        fails=[aware(20.0, 14.6, way, 14.4) for way in WAYS],
        unsure=[aware(10.0, 15.0, way, wide(14.9, 14.5)) for way in WAYS],
    ),
]


def counts(rest, *found):
    """PSNR with 250, 1250 and 5000 images."""
    cells = [({"attack_set": n}, {"psnr": now}) for n, now in zip((250, 1250, 5000), found, strict=True)]
    return made("splitnn/figure-3", {"psnr": rest}, *cells)


FIGURE_3 = Case(
    "splitnn/figure-3",
    "the poor attack performance achieved at low dataset sizes",
    holds=[counts(15.0, 15.0, 15.6, 16.2)],
    fails=[counts(15.0, 15.0, 14.4, 16.2), counts(15.0, 15.0, 15.6, 15.0)],
    unsure=[counts(15.0, 15.0, 15.4, 16.2), counts(15.0, 15.0, 15.6, 16.0), counts(15.0, 15.0, wide(17.0, 15.0), 20.0)],
)


def accuracies(rest, *changes):
    """Accuracy at (noise, weight, server)."""
    cells = [dict(zip(("noise", "alpha", "server"), way, strict=True)) for way, _ in changes]
    found = [(cell, {"accuracy": now}) for cell, (_, now) in zip(cells, changes, strict=True)]
    return made("splitnn/figure-4", {"accuracy": rest}, *found)


def at_noises(rest, *found):
    """An undefended network with an accuracy of 0.9, and under a noise of 0.1, 0.5 and 1."""
    noises = zip((0.0, 0.1, 0.5, 1.0), (0.9, *found), strict=True)
    return accuracies(rest, *(((noise, 0.0, "fixed"), now) for noise, now in noises))


def trade_off(nopeek):
    """A noise of 1 costs ten points without NoPeek; after it `nopeek` is left of 0.95."""
    found = {(0.0, 0.0): 0.9, (1.0, 0.0): 0.8, (0.0, 0.5): 0.95, (1.0, 0.5): nopeek}
    return accuracies(0.3, *(((*way, "fixed"), now) for way, now in found.items()))


def at_weights(rest, half, one):
    """A noise of 0.5 after NoPeek with a weight of 0.5 and of 1."""
    found = {(0.0, 0.5): 0.9, (0.5, 0.5): half, (0.0, 1.0): 0.8, (0.5, 1.0): one}
    return accuracies(rest, *(((*way, "fixed"), now) for way, now in found.items()))


def servers(rest, than, *retrained):
    """A retrained server at a noise of 1, with a weight of 0 and of 0.5, where another has 0.8."""
    found = [((1.0, alpha, "retrained"), now) for alpha, now in zip((0.0, 0.5), retrained, strict=True)]
    return accuracies(rest, *(((1.0, alpha, than), 0.8) for alpha in (0.0, 0.5)), *found)


def better_server(text, than):
    return Case(
        "splitnn/figure-4",
        text,
        holds=[servers(0.9, than, 0.813, 0.813)],
        fails=[servers(0.5, than, 0.787, 0.787)],
        unsure=[
            *(servers(0.9, than, now, 0.813) for now in (0.807, 0.793, wide(0.85, 0.8))),
            *(servers(0.9, than, 0.813, now) for now in (0.807, 0.793, wide(0.85, 0.8))),
        ],
        depends=(servers(0.9, than, 0.813, 0.787), {"α = 0"}, {"α = 0.5"}),
    )


FIGURE_4 = [
    Case(
        "splitnn/figure-4",
        "the proposed noise defence mechanism",
        holds=[at_noises(0.0, 0.884, 0.884, 0.884)],
        fails=[at_noises(1.0, 0.876, 0.876, 0.876)],
        unsure=[at_noises(0.0, 0.884, 0.884, wide(0.89, 0.88))],
        depends=(at_noises(0.0, 0.884, 0.876, 0.876), {"noise of 0.1"}, {"noise of 0.5", "noise of 1"}),
    ),
    Case(
        "splitnn/figure-4",
        "As NoPeekNN weight increases, the trade-off",
        holds=[trade_off(0.836)],
        fails=[trade_off(0.864)],
        unsure=[trade_off(now) for now in (0.843, 0.857, wide(0.8, 0.85))],
    ),
    Case(
        "splitnn/figure-4",
        "Even at high NoPeekNN’s weighting loss",
        holds=[at_weights(0.0, 0.854, 0.754)],
        fails=[at_weights(1.0, 0.846, 0.746)],
        unsure=[at_weights(0.0, wide(0.87, 0.85), 0.754), at_weights(0.0, 0.854, wide(0.77, 0.75))],
        depends=(at_weights(0.0, 0.854, 0.746), {"α = 0.5"}, {"α = 1"}),
    ),
    better_server("could be improved by post-training", "fixed"),
    better_server("… more than training on without noise does", "longer"),
]


def trained(metric, rest, usual, *changes):
    """A metric of networks trained with (noise, weight): all alike but for the changes, with squared distances."""
    cells = [({"loss": "squared"}, {metric: usual})]
    for (noise, alpha), found in changes:
        cells.append(({"loss": "squared", "noise": noise, "alpha": alpha}, {metric: found}))
    return made("splitnn/table-1", {metric: rest}, *cells)


def weights(rest, *found):
    """Correlation at weights of 0, 0.1, 0.2 and 0.5 without noise."""
    ways = ((0.0, alpha) for alpha in (0.0, 0.1, 0.2, 0.5))
    return trained(table_1.CORRELATION, rest, 0.5, *zip(ways, found, strict=True))


def noise_in_training(weak, strong):
    """Correlation under a noise of 0.5 with a weight of 0.1 and of 0.5; without it is 0.4 and 0.2."""
    found = {(0.0, 0.1): 0.4, (0.5, 0.1): weak, (0.0, 0.5): 0.2, (0.5, 0.5): strong}
    return trained(table_1.CORRELATION, 0.3, 0.3, *found.items())


NOPEEK = [(0.0, alpha) for alpha in (0.1, 0.2, 0.5)]
NOISY = [(noise, alpha) for noise in (0.1, 0.2, 0.5) for alpha in (0.0, 0.1, 0.5)]


def costs(pairs, other, rest, *changes):
    """An accuracy of 0.98 undefended, of 0.964 with these pairs of noise and weight, and of `other` elsewhere."""
    found = [((0.0, 0.0), 0.98), *((pair, 0.964) for pair in pairs)]
    return trained("accuracy", rest, other, *found, *changes)


def costs_little(text, pairs):
    return Case(
        "splitnn/table-1",
        text,
        holds=[costs(pairs, 0.5, 0.5)],
        fails=[costs(pairs, 1.0, 0.97, (pair, 0.956)) for pair in pairs],
        unsure=[costs(pairs, 0.5, 0.5, (pair, wide(0.97, 0.96))) for pair in pairs],
    )


TABLE_1 = [
    Case(
        "splitnn/table-1",
        "A greater NoPeekNN weight typically reduces distance correlation",
        holds=[weights(0.5, 0.5, 0.495, 0.49, 0.485)],
        fails=[
            weights(0.5, 0.5, 0.505, 0.49, 0.485),
            weights(0.5, 0.5, 0.485, 0.49, 0.48),
            weights(0.5, 0.5, 0.495, 0.48, 0.485),
        ],
        unsure=[weights(0.5, 0.5, wide(0.4, 0.5), 0.1, 0.05), weights(0.5, 0.5, 0.45, 0.4, wide(0.3, 0.4))],
    ),
    Case(
        "splitnn/table-1",
        "there is a correlation between training noise scale and distance correlation",
        holds=[noise_in_training(0.405, 0.205)],
        fails=[noise_in_training(0.395, 0.195)],
        unsure=[noise_in_training(wide(0.5, 0.4), 0.205), noise_in_training(0.405, wide(0.3, 0.2))],
        depends=(noise_in_training(0.405, 0.195), {"α = 0.1"}, {"α = 0.5"}),
    ),
    costs_little("NoPeekNN do[es] not significantly impact", NOPEEK),
    costs_little("Noise in training does not cost much accuracy", NOISY),
]

CASES = [*FIGURE_1, *FIGURE_2, FIGURE_3, *FIGURE_4, *TABLE_1]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_sentence_holds_fails_or_cannot_be_told(case):
    assert not case.wrong()


def test_every_sentence_is_tried_once_for_each_verdict():
    assert judged(CASES) == sorted(of("splitnn"))
    assert not {case.text: case.untried() for case in CASES if case.untried()}


def test_sentences_are_short_and_say_once_in_which_settings_they_were_tested():
    assert not badly_put("splitnn")
