"""The sentences of "Curious": each can hold, fail and be left open by rows made for it."""

import itertools

import pytest

from privlab.studies.curious import detection, figure_4, table_2, table_3, table_5_cnn, table_6, table_9
from privlab.studies.curious._extraction import SCALES
from tests.studies.sentences import Case, badly_put, few, judged, ladder, made, of, wide, with_one

ONE_MODEL = tuple(itertools.product(detection.ONE_MODEL, detection.TUNED))


def detectors(trap, hits, alarms=0.0, odd=None, odd_hits=0.0, odd_alarms=0.0):
    """All detectors with so many hits and false alarms, and an odd one; other traps are all caught.

    False alarms are those of trained models, three times the mean of trained, pruned and sparse ones.
    """
    every = [({"detector": each}, hits, alarms) for each in detection.ONE_MODEL]
    every += [({"detector": odd[0], "tuned_on": odd[1]}, odd_hits, odd_alarms)] if odd else []
    changes = [({"received": "initial"}, {"false_positive_rate": 1.0})]
    changes += [({"received": kind}, {"false_positive_rate": 0.0}) for kind in ("trained", "pruned", "sparse")]
    changes += [({"received": kind}, {"true_positive_rate": 1.0}) for kind in detection.TRAPS]
    for which, caught, alarm in every:
        changes += [({**which, "received": trap}, {"true_positive_rate": caught})]
        changes += [({**which, "received": "trained"}, {"false_positive_rate": alarm})]
    return made("curious/detection", "mnist", {}, *changes)


def no_detector(text, trap):
    return Case(
        "curious/detection",
        text,
        holds=[detectors(trap, 0.47), detectors(trap, 1.0, 0.36)],
        fails=[detectors(trap, 0.47, 0.0, odd, 0.53, 0.27) for odd in ONE_MODEL],
        unsure=[
            *(detectors(trap, 0.47, 0.0, odd, wide(0.47, 0.5), 0.27) for odd in ONE_MODEL),
            *(detectors(trap, 0.47, 0.0, odd, 0.53, wide(0.36, 0.3)) for odd in ONE_MODEL),
        ],
    )


def alarms(rest, *changes):
    return made(
        "curious/detection",
        "mnist",
        {"false_positive_rate": rest},
        *((cell, {"false_positive_rate": rate}) for cell, rate in changes),
    )


def sign_test(rest, rate):
    return alarms(rest, ({"detector": "sign_imbalance", "tuned_on": "initial", "received": "trained"}, rate))


def distribution_test(rest, *rates):
    """The false alarms on pruned and on sparse models, tuned on initial and then on trained ones."""
    cells = itertools.product(detection.TUNED, ("pruned", "sparse"))
    test = {"detector": "kolmogorov_smirnov"}
    return alarms(
        rest,
        *(({**test, "tuned_on": on, "received": to}, rate) for (on, to), rate in zip(cells, rates, strict=True)),
    )


DETECTION = [
    no_detector("Can a user detect our adversarial weight initialization?", "trap"),
    no_detector("A trap that is hidden in a trained model and balanced", "balanced_trained"),
    Case(
        "curious/detection",
        "a surplus of negative weights could just be the result of previous training",
        holds=[sign_test(0.0, 0.51)],
        fails=[sign_test(1.0, 0.49)],
        unsure=[sign_test(0.0, wide(0.55, 0.5)), sign_test(1.0, wide(0.45, 0.5))],
    ),
    Case(
        "curious/detection",
        "The Kolmogorov-Smirnov test raises false alarms",
        holds=[distribution_test(0.0, 0.51, 0.51, 0.51, 0.51)],
        fails=[distribution_test(1.0, 0.49, 0.51, 0.51, 0.49), distribution_test(1.0, 0.51, 0.49, 0.49, 0.51)],
        unsure=[distribution_test(0.0, 0.51, wide(0.55, 0.5), wide(0.55, 0.5), 0.51)],
        depends=(
            distribution_test(0.0, 0.49, 0.49, 0.51, 0.51),
            {"tuned on trained models"},
            {"tuned on initial models"},
        ),
    ),
]


def one_class(anything, single):
    cells = [({"labels": "any"}, {"recall": anything}), ({"labels": "one class"}, {"recall": single})]
    return made("curious/figure-10", "cifar10", {}, *cells)


FIGURE_10 = Case(
    "curious/figure-10",
    "our method remains able to perfectly extract individual data points",
    holds=[one_class(0.4, 0.305), one_class((0.2, 0.4, 0.6), (0.155, 0.305, 0.455))],
    fails=[one_class(0.4, 0.295), one_class((0.2, 0.4, 0.6), (0.145, 0.295, 0.445))],
    unsure=[one_class(0.4, wide(0.33, 0.3)), one_class(0.4, wide(0.27, 0.3))],
)

FOUR = figure_4.BATCHES
PLAIN, QUIET = {"sigma": figure_4.PLAIN}, {"sigma": figure_4.QUIET}
READERS = [{"adversary": who, "batch": batch} for who in figure_4.SERVERS for batch in FOUR]


def clipped(change, only=FOUR, rest=0.5):
    """Recall of one row at a time without noise: under the loosest bound, and with the change under the tightest."""
    fixed = {"noise": 0.0, "adversary": "single_row", **PLAIN}
    return made(
        "curious/figure-4",
        "mnist",
        {"recall": rest},
        *(({**fixed, "clip": 100.0, "batch": batch}, {"recall": 0.5}) for batch in FOUR),
        *(({**fixed, "clip": 0.1, "batch": batch}, {"recall": 0.5}) for batch in FOUR),
        *(({**fixed, "clip": 0.1, "batch": batch}, {"recall": change}) for batch in only),
    )


def noisy(rest, *changes):
    """No image is read exactly under any noise at a clip of 1, but for the changes; `rest` of all in other cells."""
    under = [({"noise": noise, "clip": 1.0, **PLAIN}, {"recall": (0.0, 0.0, 0.0)}) for noise in figure_4.NOISES[1:]]
    found = [({**cell, "clip": 1.0, **PLAIN}, {"recall": (0.0, 0.01, 0.0)}) for cell in changes]
    return made("curious/figure-4", "mnist", {"recall": rest}, *under, *found)


def named(rest, *seen, blind=0.1):
    """How many images the better server names under a noise of 0.1, in mini-batches of 1, 20 and 100."""
    fixed = {"noise": 0.1, "clip": 1.0, "adversary": "combined", **QUIET}
    return made(
        "curious/figure-4",
        "mnist",
        {"identified": rest, "identified_blind": 0.1},
        *(
            ({**fixed, "batch": batch}, {"identified": found, "identified_blind": blind})
            for batch, found in zip(FOUR, seen, strict=True)
        ),
    )


def guessing(rest, *changes):
    """Both servers, at three sizes, with a noise of 1: a little better than a blind one."""
    better = {"psnr": 10.0 + rest, "psnr_blind": 10.0, "identified": 0.1 + rest, "identified_blind": 0.1}
    usual = {"psnr": 10.9, "psnr_blind": 10.0, "identified": 0.145, "identified_blind": 0.1}
    return made("curious/figure-4", "mnist", better, ({"noise": 1.0, "clip": 1.0}, usual), *changes)


def one_sees(numbers):
    """One table for each server, size and spread that alone has other numbers."""
    ways = [{"noise": 1.0, "clip": 1.0, **reader, **sigma} for reader in READERS for sigma in (PLAIN, QUIET)]
    return [guessing(0.0, (way, numbers)) for way in ways]


FIGURE_4 = [
    Case(
        "curious/figure-4",
        "clipping alone does not yield privacy",
        holds=[clipped(0.488, rest=0.0), clipped(0.55, rest=0.0)],
        fails=[clipped(0.482, [batch]) for batch in FOUR],
        unsure=[clipped(wide(0.488, 0.485), [FOUR[1]])],
    ),
    Case(
        "curious/figure-4",
        "noise addition to the users’ gradients is effective",
        holds=[noisy(1.0)],
        fails=[noisy(0.0, *({"noise": noise, **reader} for noise in figure_4.NOISES[1:])) for reader in READERS],
        unsure=[few(noisy(1.0), 2)],
        depends=(
            noisy(1.0, {"noise": 1e-2, **READERS[0]}, {"noise": 1e-3, **READERS[-1]}),
            {"noise of 0.0001", "noise of 0.1", "noise of 1"},
            {"noise of 0.01", "noise of 0.001"},
        ),
        too_few=0,  # one image that is read is enough to say no
    ),
    Case(
        "curious/figure-4",
        "an adequate amount of noise to mitigate our attack would be a σ > 1",
        holds=[named(0.0, 0.21, 0.21, 0.21), named(0.0, *[(0.0021,) * 3] * 3, blind=0.0)],
        fails=[named(1.0, 0.19, 0.19, 0.19), named(1.0, *[(0.0019,) * 3] * 3, blind=0.0)],
        unsure=[named(0.0, 0.21, wide(0.3, 0.2), 0.21)],
        depends=(named(0.0, 0.21, 0.19, 0.19), {"mini-batches of 1"}, {"mini-batches of 20", "mini-batches of 100"}),
    ),
    Case(
        "curious/figure-4",
        "A noise of 1 leaves the server guessing",
        holds=[guessing(5.0), guessing(5.0, ({"noise": 1.0, "clip": 1.0}, {"psnr": 5.0, "identified": 0.0}))],
        fails=[*one_sees({"psnr": 11.1}), *one_sees({"identified": 0.155})],
        unsure=[*one_sees({"psnr": wide(10.7, 11)}), *one_sees({"identified": wide(0.13, 0.15)})],
    ),
]


def shares(rest, **changes):
    """Accuracy and recall by the server's strategy."""
    numbers = [
        ({"strategy": way}, dict(zip(("accuracy", "recall"), each, strict=True))) for way, each in changes.items()
    ]
    return made("curious/section-10.2", "mnist", {"accuracy": rest, "recall": rest}, *numbers)


def useful(text, way):
    return Case(
        "curious/section-10.2",
        text,
        holds=[shares(0.0, honest=(0.9, 0.0), **{way: (0.855, 0.105)})],
        fails=[
            shares(0.895, honest=(0.9, 0.0), **{way: (0.845, 0.105)}),
            shares(0.895, honest=(0.9, 0.9), **{way: (0.855, 0.095)}),
        ],
        unsure=[
            shares(0.0, honest=(0.9, 0.0), **{way: (wide(0.87, 0.85), 0.105)}),
            shares(0.0, honest=(0.9, 0.0), **{way: (0.855, wide(0.15, 0.1))}),
        ],
    )


SECTION_10_2 = [
    Case(
        "curious/section-10.2",
        "each time, a new model is sent out",
        holds=[shares(0.9, every_round=(0.185, 1.0))],
        fails=[shares(0.1, every_round=(0.215, 0.0))],
        unsure=[shares(0.9, every_round=(each, 1.0)) for each in (0.195, 0.205, wide(0.15, 0.2))],
    ),
    useful("in order to still obtain a useful model", "first_rounds"),
    useful("the central party could also only target a subset of users", "few_users"),
]

ONE_STEP = {"attack": "one_step"}
DENSE = {"attack": "optimisation", "model": "fc", "iterations": 300}
LENET, LENET_LONG = ({"attack": "optimisation", "model": "lenet", "iterations": most} for most in (300, 3000))
DENSE_MOST, LENET_MOST = ({**DENSE, "model": model, "iterations": 10_000, "restarts": 1} for model in ("fc", "lenet"))


def steps(rest, *changes, draws=3, large=False):
    return made("curious/section-8.5", "mnist", rest, *changes, draws=draws, large=large)


def exact(rest, found, draws=3):
    return steps({"pixel_l2": rest}, (ONE_STEP, {"pixel_l2": found}), draws=draws)


def lossy(*changes, draws=3, large=False):
    """The best of four victims a row: lossy, but for the changes; one step loses nothing."""
    usual = {"lowest_mse": 1.1e-8}
    changes = [
        (ONE_STEP, {"lowest_mse": 0.0}),
        *((cell, {"lowest_mse": (1.1e-8, found, 1.1e-8)}) for cell, found in changes),
    ]
    return steps(usual, *changes, draws=draws, large=large)


def slow(rest, found, quick=1e-3):
    return steps({"seconds": rest}, (ONE_STEP, {"seconds": quick}), (DENSE, {"seconds": found}))


SECTION_8_5 = [
    Case(
        "curious/section-8.5",
        "our attack allows us to extract data points perfectly",
        holds=[exact(1.0, 9e-5), exact(1.0, 9e-5, draws=2)],
        fails=[exact(0.0, (9e-5, 9e-5, 1.1e-4)), exact(0.0, 1.1e-4)],
        unsure=[exact(1.0, 9e-5, draws=1)],
        too_few=0,
    ),
    Case(
        "curious/section-8.5",
        "reconstruction is not a lossless process",
        holds=[lossy(), lossy(large=True)],
        fails=[
            lossy((DENSE, 9e-9), (LENET, 9e-9), (LENET_LONG, 9e-9)),
            lossy(*((cell, 9e-9) for cell in (DENSE, LENET, LENET_LONG, DENSE_MOST, LENET_MOST)), large=True),
        ],
        unsure=[lossy(draws=1)],
        depends=(
            lossy((LENET_LONG, 9e-9)),
            {"the dense network, 300 iterations", "LeNet, 300 iterations"},
            {"LeNet, 3000 iterations"},
        ),
        too_few=0,
    ),
    Case(
        "curious/section-8.5",
        "Optimisation takes a thousand times as long",
        holds=[slow(1e-6, 1.02)],
        fails=[slow(100.0, 0.98)],
        unsure=[slow(1e-6, wide(1.3, 1.0))],
    ),
]


SENT = {"framework": "in_process", "sends": "gradient"}
TAKEN = {"framework": "in_process", "sends": "weights"}
PRINTED, BEST = ({**SENT, "server": "trap", "s_is": which} for which in ("as printed", "best"))
IN_FLOWER = {"framework": "flower_simulation"}


def fifty(rest, *changes):
    return made("curious/section-8.4", "cifar100", rest, *changes)


def more_than_passive(text, metric):
    """The passive server has 0.2; other rows 0.5, which no server of the sentence has."""

    def servers(printed, best):
        cells = (({**SENT, "server": "passive"}, 0.2), (PRINTED, printed), (BEST, best))
        return fifty({metric: 0.5}, *((cell, {metric: value}) for cell, value in cells))

    return Case(
        "curious/section-8.4",
        text,
        holds=[servers(0.21, 0.21)],
        fails=[servers(0.19, 0.19)],
        unsure=[servers(wide(0.21, 0.2), wide(0.21, 0.2))],
        depends=(servers(0.19, 0.21), {"the s of section 8.3"}, {"s = 0.99"}),
    )


def rounded(taken):
    return fifty(
        {"recall": 0.9},
        (PRINTED, {"recall": 0.01}),
        (BEST, {"recall": 0.4}),
        ({**TAKEN, "server": "trap"}, {"recall": taken}),
    )


def small(taken, more=0.9):
    return fifty(
        {"recall": more}, (BEST, {"recall": (0.4, 0.41, 0.39)}), ({**TAKEN, "server": "small trap"}, {"recall": taken})
    )


def simulated(found):
    return fifty(
        {"recall": 0.9},
        ({**TAKEN, "server": "small trap"}, {"recall": (0.4, 0.41, 0.39)}),
        (IN_FLOWER, {"recall": found}),
    )


SECTION_8_4 = [
    more_than_passive("our attack works consistently well", "recall"),
    more_than_passive("Trap weights are more precise", "precision"),
    Case(
        "curious/section-8.4",
        "A framework that sends weights in place of gradients",
        holds=[rounded(0.19)],
        fails=[rounded(0.21)],
        unsure=[rounded(wide(0.19, 0.2))],
    ),
    Case(
        "curious/section-8.4",
        "A trap of small weights reads as much",
        holds=[small((0.385, 0.395, 0.375)), small((0.415, 0.425, 0.405))],
        fails=[small((0.375, 0.385, 0.365)), small((0.425, 0.435, 0.415))],
        unsure=[small((0.375, 0.398, 0.389))],
    ),
    Case(
        "curious/section-8.4",
        "Flower's simulation and one process",
        holds=[simulated((0.4, 0.41, 0.39)), simulated((0.4005, 0.4105, 0.3905))],
        fails=[simulated((0.402, 0.412, 0.392)), simulated((0.398, 0.408, 0.388))],
        unsure=[simulated((0.402, 0.41, 0.389))],
    ),
]


def spreads(rest, low, high):
    cells = [({"init": f"gaussian:{sigma}"}, {"recall": recall}) for sigma, recall in (("0.01", low), ("2", high))]
    return made("curious/table-2", "mnist", {"recall": rest}, *cells)


def passive(*changes):
    """Eight draws that all read something, but for the changes."""
    found = (({"init": init}, {"recall": recall}) for init, recall in changes)
    return made("curious/table-2", "mnist", {"recall": 0.005}, *found, draws=8)


TABLE_2 = [
    Case(
        "curious/table-2",
        "setting higher standard deviations in random weight distributions",
        holds=[spreads(0.2, 0.2, 0.205), spreads(0.0, (0.1, 0.2, 0.3), (0.104, 0.205, 0.306))],
        fails=[spreads(0.2, 0.205, 0.2), spreads(0.0, (0.104, 0.205, 0.306), (0.1, 0.2, 0.3))],
        unsure=[spreads(0.2, 0.2, wide(0.25, 0.2)), spreads(0.2, 0.2, wide(0.15, 0.2))],
    ),
    Case(
        "curious/table-2",
        "Even if this attack is passive",
        holds=[passive()],
        fails=[passive((init, (0.0,) * 7 + (0.01,))) for init in table_2.INITIALISATIONS],
        unsure=[passive((init, (0.0, 0.01) * 4)) for init in table_2.INITIALISATIONS],
    ),
]


def sentences(rest, *changes):
    found = ((cell, {"recall": recall}) for cell, recall in changes)
    return made("curious/table-3", "imdb", {"recall": rest}, *found)


TRAPPED = {"s": table_3.NAMED}
DEFAULT, WIDE = "embeddings between −0.05 and 0.05", "embeddings between 0 and 1"


def more(better, *changes):
    """The trapped network a little better than both passive ones, but for the changes; and the other s much worse."""
    return sentences(0.4, ({"s": table_3.BETTER}, better), (TRAPPED, 0.405), *changes)


def times(rest, default, wide_ones, active=0.6):
    """The trapped network against the two passive ones, at batches of 100."""
    cells = (TRAPPED, active), (table_3.DEFAULT, default), (table_3.PASSIVE, wide_ones)
    return sentences(rest, *(({**cell, "batch": 100}, recall) for cell, recall in cells))


TABLE_3 = [
    Case(
        "curious/table-3",
        "Similar improvements of performance could be achieved for the IMDB dataset",
        holds=[more(0.0)],
        fails=[more(1.0, ({**TRAPPED, "batch": batch}, 0.395)) for batch in table_3.BATCHES],
        unsure=[more(0.0, ({**TRAPPED, "batch": batch}, wide(0.45, 0.4))) for batch in table_3.BATCHES],
        depends=(more(0.0, ({**table_3.PASSIVE, "batch": 50}, 0.41)), {DEFAULT}, {WIDE}),
    ),
    Case(
        "curious/table-3",
        "around 2.5 time as high as the passive attack",
        holds=[times(0.1, 0.6 / 2.2, 0.6 / 2.82)],
        fails=[times(0.24, 0.6 / 2.1, 0.6 / 2.95)],
        unsure=[times(0.1, 0.24, 0.24, active=wide(0.95, 0.6))],
        depends=(times(0.1, 0.6 / 2.1, 0.6 / 2.2), {WIDE}, {DEFAULT}),
    ),
    Case(
        "curious/table-3",
        "embeddings of data from small mini-batches of 20",
        holds=[sentences(0.0, ({**TRAPPED, "batch": 20}, 0.998))],
        fails=[sentences(1.0, ({**TRAPPED, "batch": 20}, 0.992))],
        unsure=[sentences(0.0, ({**TRAPPED, "batch": 20}, found)) for found in (wide(0.997, 0.995), wide(0.98, 0.995))],
    ),
]


def trained(metric, start, away, sgd, adam):
    """A metric before training and after 30 epochs with either optimiser; in between, and on the whole set, `away`."""
    found = [({"epoch": 0}, start)]
    found += [({"epoch": 30, "examples": 5000, "optimiser": how}, end) for how, end in (("sgd", sgd), ("adam", adam))]
    return made("curious/table-4", "mnist", {metric: away}, *((cell, {metric: value}) for cell, value in found))


def while_training(text, metric, start, by=0.0):
    """Larger by more than `by` at the end, or by less; a noisy one shows neither."""
    low, high = start - 1, start + 1
    more, less, noise = start + by + 0.004, start + by - 0.004, wide(start + by + 0.1, start + by)
    return Case(
        "curious/table-4",
        text,
        holds=[trained(metric, start, low, more, more)],
        fails=[trained(metric, start, high, less, less)],
        unsure=[trained(metric, start, low, noise, more), trained(metric, start, low, more, noise)],
        depends=(trained(metric, start, low, less, more), {"with Adam"}, {"with SGD"}),
    )


TABLE_4 = [
    while_training("We observe that the extraction-recall increases slightly", "recall", 0.2, 0.01),
    while_training("Precision within a loose tolerance increases", "precision_loose", 0.2),
    while_training("over training, the uniformly initialized weight values resemble", "weight_kurtosis", 1.8, 0.6),
    while_training("… and obtain a wider spread", "weight_std", 0.2),
]

BEST = {"mnist": 0.7, "cifar10": 0.95, "photos": 0.99}


def ends(rest, **recalls):
    """Recall at some values of s, which are written `s07` for 0.7."""
    cells = [({"s": float(f"0.{name[2:]}")}, {"recall": recall}) for name, recall in recalls.items()]
    return made("curious/table-5", "mnist", {"recall": rest}, *cells)


def rival(data, said, other):
    """Recall at the s that the paper names, and at another, which is better than the rest."""
    cells = [({"s": 0.8}, {"recall": other}), ({"s": BEST[data]}, {"recall": said})]
    return made("curious/table-5", data, {"recall": 0.4}, *cells)


def rising(*odd):
    """The share of active neurons at each s: as good as level from each to the next but the last, but for odd steps."""
    every = [*([-0.0006] * (len(SCALES) - 2)), 0.12]
    for place, step in odd:
        every[place] = step
    cells = [{"s": s} for s in SCALES]
    return made("curious/table-5", "mnist", {"active": 0.5}, *ladder(cells, "active", every, 0.5))


def jumps(place):
    """One step of the share of active neurons that shows neither."""
    cells = [{"s": s} for s in SCALES]
    changes = ladder(cells, "active", [*([-0.0006] * (len(SCALES) - 2)), 0.12], 0.5)
    (cell, numbers) = changes[place]
    return made(
        "curious/table-5", "mnist", {}, *changes, (cell, {"active": wide(numbers["active"] + 0.05, numbers["active"])})
    )


def against(data, metric, init, value, rest, peak=0.6, elsewhere=0.4):
    """The s of the largest recall against a passive server with one initialisation; others have `rest`."""
    best_s, both = {"s": 0.97}, {"s": 0.98}
    changes = [({"s": s}, {"recall": 0.4, metric: elsewhere}) for s in SCALES]
    changes += [(both, {"recall": 0.55, metric: elsewhere}), (best_s, {"recall": 0.6, metric: peak})]
    changes += [({"init": each}, {"recall": rest, metric: rest}) for each in table_2.INITIALISATIONS]
    return made("curious/table-5", data, {}, *changes, ({"init": init}, {"recall": value, metric: value}))


TABLE_5 = [
    Case(
        "curious/table-5",
        "When very few neurons are activated",
        holds=[ends(0.4, s04=0.295, s07=0.6)],
        fails=[ends(0.4, s04=0.305, s07=0.6, s0999=0.1), ends(0.4, s04=0.305, s0999=0.6)],
        unsure=[ends(0.4, s04=wide(0.2, 0.3), s07=0.6)],
    ),
    Case(
        "curious/table-5",
        "when the percentage of active neurons is high",
        holds=[ends(0.4, s0999=0.295, s07=0.6)],
        fails=[ends(0.4, s0999=0.305, s07=0.6, s04=0.1), ends(0.4, s0999=0.305, s04=0.6)],
        unsure=[ends(0.4, s0999=wide(0.2, 0.3), s07=0.6)],
    ),
    Case(
        "curious/table-5",
        "More neurons are active the larger s is",
        holds=[rising(), rising(*enumerate([0.02] * 12))],
        fails=[*(rising((place, -0.0014)) for place in range(len(SCALES) - 2)), rising((len(SCALES) - 2, 0.09))],
        unsure=[jumps(place) for place in range(len(SCALES))],
    ),
    Case(
        "curious/table-5",
        "the best scaling factor for MNIST",
        holds=[rival(data, 0.605, 0.6) for data in BEST],
        fails=[rival(data, 0.595, 0.6) for data in BEST],
        unsure=[rival(data, wide(0.65, 0.6), 0.6) for data in BEST],
    ),
    Case(
        "curious/table-5",
        "the active attack is more than twice as successful",
        holds=[against(data, "recall", "gaussian:0.5", 0.295, 0.6) for data in ("cifar10", "photos")],
        fails=[against("cifar10", "recall", "gaussian:0.5", 0.305, 0.0)],
        unsure=[against("cifar10", "recall", "gaussian:0.5", wide(0.25, 0.3), 0.0)],
    ),
    Case(
        "curious/table-5",
        "This is an improvement by around factor nine",
        holds=[against("mnist", "recall", "gaussian:2", 0.6 / times, 0.0) for times in (8, 10.2)],
        fails=[against("mnist", "recall", "gaussian:2", 0.6 / times, 0.6 / 9) for times in (7.6, 10.6)],
        unsure=[against("mnist", "recall", "gaussian:2", wide(0.11, 0.6 / 9), 0.6 / 9)],
    ),
    Case(
        "curious/table-5",
        "our trap weights increase the proportion of neurons",
        holds=[against("mnist", "precision", "gaussian:0.5", 0.05, 0.5, peak=0.525, elsewhere=0.1)],
        fails=[against("mnist", "precision", "gaussian:0.5", 0.05, 0.0, peak=0.475, elsewhere=1.0)],
        unsure=[against("mnist", "precision", "gaussian:0.5", 0.05, 0.0, peak=wide(0.7, 0.5), elsewhere=1.0)],
    ),
]


def through(usual, odd=None, found=0.0):
    """Recall behind convolutions, and on flat pixels at each s; so much more in the former, but for an odd s."""
    flat = {s: 0.4 + s / 10 for s in table_5_cnn.SCALES}
    filters = list(table_5_cnn.PAPER_FILTERS)
    return made(
        "curious/table-5-cnn",
        "cifar10",
        {"recall": 0.0},
        *(({"s": s}, {"recall": recall}) for s, recall in flat.items()),
        *(({"s": s, "filters": filters}, {"recall": recall + usual}) for s, recall in flat.items()),
        *([({"s": odd, "filters": filters}, {"recall": found})] if odd else []),
    )


def levels(data, rows, columns, *odd, rest=0.5):
    """Recall over neurons and mini-batches, which rises by `rows` and `columns` from each to the next."""
    changes = [
        (
            {"neurons": neurons, "batch": batch, "s": 0.7 if data == "mnist" else 0.95},
            {"recall": 0.5 + rows * i + columns * j},
        )
        for i, neurons in enumerate(table_6.NEURONS)
        for j, batch in enumerate(table_6.BATCHES)
    ]
    return made("curious/table-6", data, {"recall": rest}, *changes, *odd)


def one_step_back(knob, usual, back):
    """One table for each step of the grid that alone goes back: all cells behind it are moved."""
    own, other = ("neurons", "batch") if knob == "neurons" else ("batch", "neurons")
    values = {"neurons": table_6.NEURONS, "batch": table_6.BATCHES}
    tables = []
    for fixed, place in itertools.product(values[other], range(3)):
        cells = [{own: value, other: fixed} for value in values[own]]
        tables.append(levels("mnist", usual, usual, *ladder(cells, "recall", with_one(3, usual, place, back), 0.5)))
    return tables


def big(rest, batch, found):
    return made("curious/table-6", "mnist", {"recall": rest}, ({"neurons": 3000, "batch": batch}, {"recall": found}))


TABLE_6 = [
    Case(
        "curious/table-6",
        "the smaller the mini-batch sizes are",
        holds=[levels("mnist", -0.005, -0.005), levels("cifar10", 0.0, -0.005)],
        fails=[*one_step_back("batch", -0.01, 0.005), levels("mnist", -0.005, 0.005), levels("cifar10", 0.0, 0.005)],
        unsure=[levels("mnist", 0.0, -0.005, ({"neurons": 500, "batch": 50}, {"recall": (0.4, 0.495, 0.59)}))],
    ),
    Case(
        "curious/table-6",
        "the more weight rows there are for extraction",
        holds=[levels("mnist", 0.005, 0.005), levels("cifar10", 0.005, 0.0)],
        fails=[*one_step_back("neurons", 0.01, -0.005), levels("mnist", -0.005, 0.005), levels("cifar10", -0.005, 0.0)],
        unsure=[levels("mnist", 0.005, 0.0, ({"neurons": 500, "batch": 50}, {"recall": (0.4, 0.505, 0.61)}))],
    ),
    Case(
        "curious/table-6",
        "Small mini-batches of 20 training data points are entirely extractable",
        holds=[big(0.0, 20, 0.998)],
        fails=[big(1.0, 20, 0.992)],
        unsure=[big(0.0, 20, wide(0.997, 0.995)), big(1.0, 20, wide(0.98, 0.995))],
    ),
    Case(
        "curious/table-6",
        "even up to 50% of the individual training data points",
        holds=[big(0.0, 200, 0.505)],
        fails=[big(1.0, 200, 0.495)],
        unsure=[big(0.0, 200, wide(0.55, 0.5)), big(1.0, 200, wide(0.45, 0.5))],
    ),
]


def averages(usual, batch=0, place=0, odd=0.0, noise=None):
    """Recall of averages of more and more gradients, with one odd step; the other reading goes the other way."""
    changes = []
    for each in table_9.BATCHES:
        cells = [{"batch": each, "averaged": count} for count in table_9.COUNTS]
        changes += ladder([{**cell, "reading": "one batch"} for cell in cells], "recall", [-usual] * 3, 0.5)
        steps = with_one(3, usual, place, odd) if each == batch else [usual] * 3
        changes += ladder([{**cell, "reading": "average"} for cell in cells], "recall", steps, 0.5)
    if noise:
        changes.append(({"batch": batch, "averaged": table_9.COUNTS[place], "reading": "average"}, {"recall": noise}))
    return made("curious/table-9", "mnist", {}, *changes)


OTHERS = [
    Case(
        "curious/table-5-cnn",
        "transmit the model input unaltered",
        holds=[through(0.017), through(-0.017)],
        fails=[through(0.0, s, 0.4 + s / 10 + off) for s in table_5_cnn.SCALES for off in (0.023, -0.023)],
        unsure=[through(0.0, s, wide(0.4 + s / 10, 0.4 + s / 10 + 0.0201)) for s in table_5_cnn.SCALES],
    ),
    Case(
        "curious/table-9",
        "through averaging, the attack success is significantly reduced",
        holds=[averages(-0.005)],
        fails=[averages(-0.01, batch, place, 0.005) for batch in table_9.BATCHES for place in range(3)],
        unsure=[averages(-0.005, batch, 1, -0.005, wide(0.4, 0.495)) for batch in table_9.BATCHES],
    ),
]

CASES = [*DETECTION, FIGURE_10, *FIGURE_4, *SECTION_10_2, *SECTION_8_4, *SECTION_8_5, *TABLE_2, *TABLE_3, *TABLE_4]
CASES += [*TABLE_5, *TABLE_6, *OTHERS]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_sentence_holds_fails_or_cannot_be_told(case):
    assert not case.wrong()


def test_every_sentence_is_tried_once_for_each_verdict():
    assert judged(CASES) == sorted(of("curious"))
    assert not {case.text: case.untried() for case in CASES if case.untried()}


def test_sentences_are_short_and_say_once_in_which_settings_they_were_tested():
    assert not badly_put("curious")
