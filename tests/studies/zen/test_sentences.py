"""The sentences of "Zen": each can hold, fail and be left open by rows made for it."""

import pytest

from privlab.studies.zen import _decoder, case_study, section_5_1, table_3
from privlab.studies.zen._gradients import AS_WRITTEN, BASE, OWN
from tests.studies.sentences import Case, badly_put, judged, ladder, made, of, wide, with_one
from tests.studies.zen.membership_cases import MEMBERSHIP

# Of 24 victims: so few are found that it shows against 24 elsewhere, so many that it is no matter, and between those.
FEWER, BETWEEN, AS_MANY = 19, 21, 23
SEEN, UNSEEN = 7, 6  # of 24 elsewhere: enough that none would be noticed, and not enough


def share(hits):
    """The success rate in each of three draws, with eight victims each."""
    return [(hits // 3 + (draw < hits % 3)) / 8 for draw in range(3)]


def found(study, data, rest, *changes):
    """The success rates of a study of DLG, given as victims found of 24."""
    usual = {"success_rate": share(rest)}
    return made(study, data, usual, *((cell, {"success_rate": share(hits)}) for cell, hits in changes))


def one(data, hits, plain, change, rest):
    """The plain network of section 5.1 and a changed one."""
    base = section_5_1.plain_cell(data, *section_5_1.FORMS[data])
    return found("zen/section-5.1", data, rest, (base, plain), ({**base, **change}, hits))


def two(data, first, second, plain, ways, rest):
    base = section_5_1.plain_cell(data, *section_5_1.FORMS[data])
    changes = [({**base, **way}, hits) for way, hits in zip(ways, (first, second), strict=True)]
    return found("zen/section-5.1", data, rest, (base, plain), *changes)


def stops(text, **change):
    """Nothing at all is found after a change; one victim is enough to say no."""
    return Case(
        "zen/section-5.1",
        text,
        holds=[one("mnist", 0, SEEN, change, 24)],
        fails=[one("mnist", 1, 24, change, 0)],
        unsure=[one("mnist", 0, UNSEEN, change, 24)],
        too_few=0,
    )


def hinders(text, data, **change):
    return Case(
        "zen/section-5.1",
        text,
        holds=[one(data, FEWER, 24, change, rest) for rest in (24, 0)],
        fails=[one(data, AS_MANY, 24, change, 0)],
        unsure=[one(data, BETWEEN, 24, change, 0)],
        too_few=0,
    )


def at_sizes(data, small, larger, large):
    """Images of 16, 48 and 64 pixels; all of 24 and of 32."""
    base = section_5_1.plain_cell(data, *section_5_1.FORMS[data])
    sizes = zip((16, 48, 64), (small, larger, large), strict=True)
    return found("zen/section-5.1", data, 24, *(({**base, "size": size}, hits) for size, hits in sizes))


def greys(rest, colour, grey):
    base = section_5_1.plain_cell("cifar10", 3, 32)
    cells = (base, {"psnr": colour}), ({**base, "channels": 1}, {"psnr": grey})
    return made("zen/section-5.1", "cifar10", {"psnr": rest}, *cells)


BATCHES, DEEPER = [{"batch": 4}, {"batch": 8}], [{"depth": 5}, {"depth": 8}]
STATES = [{"state": "trained_iid"}, {"state": "trained_non_iid"}]
BOTH_SETS = ("mnist", "cifar10")
SECTION_5_1 = [
    Case(
        "zen/section-5.1",
        "no reconstruction was possible for batch sizes larger than two",
        holds=[two("mnist", 0, 0, SEEN, BATCHES, 24)],
        fails=[two("mnist", 1, 1, 24, BATCHES, 0)],
        unsure=[two("mnist", 0, 0, UNSEEN, BATCHES, 24)],
        depends=(two("mnist", 1, 0, SEEN, BATCHES, 24), {"batches of 8"}, {"batches of 4"}),
        too_few=0,
    ),
    Case(
        "zen/section-5.1",
        "if the dimensions of the data are larger than 32x32 pixels",
        holds=[at_sizes("photos", SEEN, 0, 0)],
        fails=[at_sizes("photos", 24, 1, 1)],
        unsure=[at_sizes("photos", UNSEEN, 0, 0)],
        depends=(at_sizes("photos", SEEN, 1, 0), {"64 pixels"}, {"48 pixels"}),
        too_few=0,
    ),
    hinders("Max pooling hinders the attack on a network with tanh", "mnist", pool="max"),
    Case(
        "zen/section-5.1",
        "The deeper the model is",
        holds=[two("mnist", FEWER, FEWER, 24, DEEPER, rest) for rest in (24, 0)],
        fails=[two("mnist", AS_MANY, AS_MANY, 24, DEEPER, 0)],
        unsure=[two("mnist", BETWEEN, FEWER, 24, DEEPER, 24), two("mnist", FEWER, BETWEEN, 24, DEEPER, 24)],
        depends=(two("mnist", AS_MANY, FEWER, 24, DEEPER, 24), {"8 convolutions"}, {"5 convolutions"}),
        too_few=0,
    ),
    Case(
        "zen/section-5.1",
        "untrained models normally resulted in faster",
        holds=[two("cifar10", FEWER, FEWER, 24, STATES, 24)],
        fails=[two("cifar10", AS_MANY, AS_MANY, 24, STATES, 0)],
        unsure=[two("cifar10", BETWEEN, FEWER, 24, STATES, 24)],
        depends=(two("cifar10", FEWER, AS_MANY, 24, STATES, 24), {"IID"}, {"non-IID"}),
        too_few=0,
    ),
    Case(
        "zen/section-5.1",
        "For simpler datasets such as MNIST",
        holds=[two("mnist", AS_MANY, AS_MANY, 24, STATES, 0)],
        fails=[two("mnist", FEWER, FEWER, 24, STATES, rest) for rest in (24, 0)],
        unsure=[two("mnist", BETWEEN, AS_MANY, 24, STATES, 0)],
        depends=(two("mnist", AS_MANY, FEWER, 24, STATES, 24), {"IID"}, {"non-IID"}),
        too_few=0,
    ),
    Case(
        "zen/section-5.1",
        "in most scenarios both model types can be successfully inverted",
        holds=[two(data, 17, 17, 0, STATES, 0) for data in BOTH_SETS],
        fails=[two(data, 7, 7, 24, STATES, 24) for data in BOTH_SETS],
        unsure=[two("mnist", 16, 17, 0, STATES, 0), two("mnist", 17, 8, 0, STATES, 0)],
        depends=(two("mnist", 7, 17, 0, STATES, 0), {"non-IID"}, {"IID"}),
        too_few=0,
    ),
    Case(
        "zen/section-5.1",
        "there was no strong difference between the two trained models",
        holds=[two(data, *hits, 12, STATES, 12) for data in BOTH_SETS for hits in ((AS_MANY, 24), (24, AS_MANY))],
        fails=[two(data, *hits, 24, STATES, 24) for data in BOTH_SETS for hits in ((FEWER, 24), (24, FEWER))],
        unsure=[two("mnist", *hits, 24, STATES, 24) for hits in ((BETWEEN, 24), (24, BETWEEN), (0, 0))],
        too_few=0,
    ),
    Case(
        "zen/section-5.1",
        "utilisation of single-channel images leads to better attack performance",
        holds=[greys(30.0, 20.0, 20.6)],
        fails=[greys(10.0, 20.0, 19.4)],
        unsure=[greys(10.0, 20.0, now) for now in (20.4, 19.6, wide(22.0, 20), wide(18.0, 20))],
    ),
    stops("More clients stop the attack", clients=4),
    stops("client-level (local) DP", protection="dp_client"),
]


LITERAL, DLG = {**BASE, **AS_WRITTEN}, {**BASE, **OWN}
AT_64 = ({**LITERAL, "conv": 64}, {**DLG, "conv": 64})
DEEP = {"model": "alexnet", "batch": 1, "width": 0.125}


def alexnets(literal, sigmoid, tanh, lenet, rest):
    """AlexNet an eighth as wide, with ReLU and max pooling and with two other activations, beside two LeNets."""
    ways = ({**DEEP, **AS_WRITTEN}, literal), ({**DEEP, **OWN}, sigmoid), ({**DEEP, **OWN, "activation": "tanh"}, tanh)
    return found("zen/table-1", "mnist", rest, *ways, (BASE, lenet), (AT_64[0], lenet))


def at_64(relu_max, relu_stride, sigmoid_max, sigmoid_stride):
    """Victims found at 64 filters, with each activation and each pooling."""
    hits = {("relu", "max"): relu_max, ("relu", "stride"): relu_stride}
    hits |= {("sigmoid", "max"): sigmoid_max, ("sigmoid", "stride"): sigmoid_stride}
    return [({**BASE, "conv": 64, "activation": a, "pool": p}, count) for (a, p), count in hits.items()]


def activations(data, rest, relu, sigmoid, tanh, stride, most):
    """ReLU, sigmoid and tanh with strides and 12 filters; at 64 so many with ReLU, of all, by either pooling."""
    found_with = zip(("relu", "sigmoid", "tanh"), (relu, sigmoid, tanh), strict=True)
    at_12 = [({**BASE, "activation": name}, hits) for name, hits in found_with]
    return found("zen/table-1", data, rest, *at_12, *at_64(most, stride, 24, 24))


def poolings(data, rest, most, stride, sigmoid, relu):
    """Max pooling and strides at 12 filters; at 64 so many with max pooling, of all, by either activation."""
    at_12 = [({**BASE, "pool": name}, hits) for name, hits in (("max", most), ("stride", stride))]
    return found("zen/table-1", data, rest, *at_12, *at_64(relu, 24, sigmoid, 24))


TABLE_1 = [
    Case(
        "zen/table-1",
        "models that were deeper than LeNet (such as AlexNet)",
        holds=[alexnets(0, 24, 24, SEEN, 24)],
        fails=[alexnets(1, 0, 0, 24, 0)],
        unsure=[alexnets(0, 24, 24, UNSEEN, 24)],
        too_few=0,
    ),
    Case(
        "zen/table-1",
        "AlexNet with other activations is not inverted either",
        holds=[alexnets(24, 0, 0, SEEN, 24)],
        fails=[alexnets(0, 1, 1, 24, 0)],
        unsure=[alexnets(24, 0, 0, UNSEEN, 24)],
        depends=(alexnets(24, 0, 1, SEEN, 24), {"sigmoid"}, {"tanh"}),
        too_few=0,
    ),
    Case(
        "zen/table-1",
        "discontinuous functions such as ReLU in the target model",
        holds=[activations(data, rest, FEWER, 24, 24, FEWER, FEWER) for data in BOTH_SETS for rest in (24, 0)],
        fails=[activations(data, 0, 22, AS_MANY, AS_MANY, AS_MANY, AS_MANY) for data in BOTH_SETS],
        unsure=[
            activations("mnist", 24, BETWEEN, 24, 24, FEWER, FEWER),
            activations("mnist", 24, 12, 24, 12, FEWER, FEWER),
            activations("mnist", 24, FEWER, 24, 24, BETWEEN, FEWER),
            activations("mnist", 24, FEWER, 24, 24, FEWER, BETWEEN),
        ],
        depends=(
            activations("mnist", 24, 17, 17, 24, 24, FEWER),
            {"12 filters, against tanh", "64 filters, max"},
            {"12 filters, against sigmoid", "64 filters, stride"},
        ),
        too_few=0,
    ),
    Case(
        "zen/table-1",
        "Max-Pooling layers […] are difficult to invert",
        holds=[poolings(data, rest, FEWER, 24, FEWER, FEWER) for data in BOTH_SETS for rest in (24, 0)],
        fails=[poolings(data, 0, AS_MANY, 24, AS_MANY, AS_MANY) for data in BOTH_SETS],
        unsure=[
            poolings("mnist", 24, BETWEEN, 24, FEWER, FEWER),
            poolings("mnist", 24, FEWER, 24, BETWEEN, FEWER),
            poolings("mnist", 24, FEWER, 24, FEWER, BETWEEN),
        ],
        depends=(
            poolings("mnist", 24, FEWER, 24, AS_MANY, FEWER),
            {"12 filters, sigmoid", "64 filters, relu"},
            {"64 filters, sigmoid"},
        ),
        too_few=0,
    ),
]

WRITTEN, OF_DLG = "as the paper writes its network", "DLG's own network"


def filters(rest, conv, literal, own, at_64=24):
    """So many filters against 64, in both readings."""
    few = ({**LITERAL, "conv": conv}, literal), ({**DLG, "conv": conv}, own)
    return found("zen/table-2", "cifar10", rest, *few, *((cell, at_64) for cell in AT_64))


def number_of_filters(text, conv):
    return Case(
        "zen/table-2",
        text,
        holds=[filters(rest, conv, FEWER, FEWER) for rest in (24, 0)],
        fails=[filters(0, conv, AS_MANY, AS_MANY)],
        unsure=[filters(24, conv, BETWEEN, FEWER), filters(24, conv, FEWER, BETWEEN)],
        depends=(filters(24, conv, AS_MANY, FEWER), {OF_DLG}, {WRITTEN}),
        too_few=0,
    )


def dense(*hits):
    """The dense layer 16, 64, 128 and 256 wide."""
    cells = [{**table_3.TANH, "fc": fc} for fc in (16, 64, 128, 256)]
    return found("zen/table-3", "cifar10", 12, *zip(cells, hits, strict=True))


TABLES_2_AND_3 = [
    number_of_filters("if the number of filters was too low", 16),
    number_of_filters("utilisation of wider convolutional layers", 256),
    number_of_filters("a higher number of filters has a potential", 4),
    Case(
        "zen/table-3",
        "wider fully connected […] layers also have an ability",
        holds=[dense(24, 24, 24, FEWER)],
        fails=[dense(24, 24, 24, AS_MANY)],
        unsure=[dense(24, 24, 24, BETWEEN), *(dense(*with_one(3, 24, place, BETWEEN), FEWER) for place in range(3))],
        depends=(dense(24, FEWER, FEWER, FEWER), {"256 against 16"}, {"256 against 64", "256 against 128"}),
        too_few=0,
    ),
]


def radiographs(data, metric, rest, *changes):
    """A metric for each adversary; `rest` in cells of other width or other layers."""
    usual = {"norm": "batch_eval", "width": 64 if data == case_study.LARGE else case_study.WIDTH}
    cells = [({**usual, **cell}, {metric: value}) for cell, value in changes]
    return made("zen/case-study", data, {metric: rest}, *cells)


ALONE = {"batch": 1, "protection": "none"}
GUESS = {**ALONE, "adversary": "guess"}
BOTH_SIZES = ("pneumoniamnist", case_study.LARGE)


def similar(data, rest, usual, odd=None, ssim=0.0):
    """The structural similarity of three adversaries, alike but for one; a guess and those under DP have `rest`."""
    adversaries = case_study.ADVERSARIES[1:]
    every = [({**ALONE, "adversary": who}, ssim if who == odd else usual) for who in adversaries]
    return radiographs(data, "ssim", rest, *every)


def crowd(data, rest, psnr):
    """Thirty images at once, where the mean radiograph is 19 dB from them."""
    return radiographs(data, "psnr", rest, (GUESS, 19.0), (case_study.CROWD, psnr))


def noised(data, rest, plain, components):
    hidden = [({"protection": "dp", "adversary": w}, p) for w, p in (("plain", plain), ("components", components))]
    return radiographs(data, "psnr", rest, (GUESS, 19.0), *hidden)


CASE_STUDY = [
    Case(
        "zen/case-study",
        "recovered chest x-rays that were almost indistinguishable",
        holds=[similar(data, 0.0, 0.5, who, 0.955) for data in BOTH_SIZES for who in case_study.ADVERSARIES[1:]],
        fails=[similar(data, 1.0, 0.945) for data in BOTH_SIZES],
        unsure=[similar(data, 1.0, wide(0.97, 0.95)) for data in BOTH_SIZES],
    ),
    Case(
        "zen/case-study",
        "We changed the effective batch size to 30",
        holds=[crowd(data, 25.0, 18.9) for data in BOTH_SIZES],
        fails=[crowd(data, 15.0, 19.1) for data in BOTH_SIZES],
        unsure=[crowd(data, 25.0, wide(18.0, 19)) for data in BOTH_SIZES],
    ),
    Case(
        "zen/case-study",
        "DP at ε = 6 stops the reconstruction",
        holds=[noised(data, 25.0, 18.9, 18.9) for data in BOTH_SIZES],
        fails=[noised(data, 15.0, *psnr) for data in BOTH_SIZES for psnr in ((18.9, 19.1), (19.1, 18.9))],
        unsure=[
            noised("pneumoniamnist", 25.0, 18.9, wide(18.0, 19)),
            noised(BOTH_SIZES[1], 25.0, wide(18.0, 19), 18.9),
        ],
    ),
]


def decoded(study, data, rest, *changes):
    """The decoder's PSNR in cells that differ from the plain one; `{}` is that one. The mean images are 10 dB away."""
    cells = [(_decoder.plain_cell(data, **cell), numbers) for cell, numbers in changes]
    cells = [(cell, {"psnr": now} if isinstance(now, float | tuple) else now) for cell, now in cells]
    return made(study, data, {"psnr": rest, "mean_image_psnr": 10.0, "accuracy": rest / 50}, *cells)


def above(study, text, data, low, high, by=0.0, usual=20.0):
    """PSNR in one cell above that in another, by more than `by`; by half a decibel where that is nothing."""
    margin = 0.5 if not by else 0.0
    inside = [usual + 0.4, usual - 0.4] if margin else []

    def pair(rest, now):
        return decoded(study, data, rest, (low, usual), (high, now))

    return Case(
        study,
        text,
        holds=[pair(10.0, usual + by + margin + 0.1), pair(40.0, usual + by + margin + 0.1)],
        fails=[pair(10.0, usual + by - margin - 0.1), pair(40.0, usual + by - margin - 0.1)],
        unsure=[
            pair(30.0, now) for now in (*inside, wide(usual + by + 2, usual + by), wide(usual + by - 2, usual + by))
        ],
    )


def blind(study, data, rest, own, same, *seen):
    """PSNR in some cells; the mean of the adversary's images is `own` dB from a victim, of the owners' kind `same`."""
    cells = [({"prior": "same"}, {"psnr": rest, "mean_image_psnr": same})] if study != "zen/figure-2" else []
    cells += [(cell, {"psnr": psnr, "mean_image_psnr": own}) for cell, psnr in seen]
    return decoded(study, data, rest, *cells)


def guesses(study, data, own, same, *cells):
    """One maker of tables for the same cells and the same mean images, of the PSNR above the better of those."""

    def table(rest, *above_blind):
        best = max(own, same)
        seen = [tuple(best + each for each in now) if isinstance(now, tuple) else best + now for now in above_blind]
        return blind(study, data, rest, own, same, *zip(cells, seen, strict=True))

    return table


def shown(text, study, data, cell, by=3.0, pairs=((10.0, 12.0), (12.0, 10.0))):
    """Better than both mean images by three decibels."""
    tables = [guesses(study, data, *pair, cell) for pair in pairs]
    return Case(
        study,
        text,
        holds=[table(5.0, by + 0.1) for table in tables],
        fails=[table(30.0, by - 0.1) for table in tables],
        unsure=[table(5.0, wide(by + 1, by)) for table in tables],
    )


def hidden(text, study, data, cell, pairs=((10.0, 12.0), (12.0, 10.0))):
    """Less than a decibel better than the better of two mean images."""
    tables = [guesses(study, data, *pair, cell) for pair in pairs]
    return Case(
        study,
        text,
        holds=[table(30.0, 0.9) for table in tables],
        fails=[table(5.0, 1.1) for table in tables],
        unsure=[table(30.0, wide(0.0, 1)) for table in tables],
    )


def filters_of_lenet(*steps):
    cells = [_decoder.plain_cell("mnist", conv=conv) for conv in (3, 6, 12, 24)]
    return made("zen/figure-4", "mnist", {"psnr": 20.0}, *ladder(cells, "psnr", steps, 20.0))


SAME = ((12.0, 12.0),)  # where the adversary has images of the owners' kind there is one mean image
RADIOGRAPHS = guesses("zen/figure-1", "pneumoniamnist", 10.0, 12.0, {"prior": "mnist"}, {"prior": "chestmnist"})
ELSEWHERE = guesses("zen/figure-1", "pneumoniamnist", 12.0, 10.0, {"prior": "mnist"}, {"prior": "chestmnist"})
CUTS = guesses("zen/figure-3", "mnist", 12.0, 12.0, {"cut": "pool2"}, {"cut": "relu4"})
FIGURES = [
    Case(
        "zen/figure-1",
        "both attacks resulted in image reconstruction",
        holds=[RADIOGRAPHS(5.0, 3.1, 3.1), ELSEWHERE(5.0, 3.1, 3.1)],
        fails=[RADIOGRAPHS(30.0, 2.9, 2.9), ELSEWHERE(30.0, 2.9, 2.9)],
        unsure=[RADIOGRAPHS(5.0, wide(4, 3), 3.1), RADIOGRAPHS(5.0, 3.1, wide(4, 3))],
        depends=(RADIOGRAPHS(5.0, 3.1, 2.9), {"MNIST as prior"}, {"ChestMNIST as prior"}),
    ),
    above(
        "zen/figure-1",
        "A related prior gives more defined features than digits",
        "pneumoniamnist",
        {"prior": "mnist"},
        {"prior": "same"},
        by=1.0,
    ),
    hidden("low accuracy led to meaningless", "zen/figure-2", "pathmnist", {"prior": "cifar100"}, SAME),
    above("zen/figure-3", "early positioning of the cut layer", "mnist", {"cut": "pool2"}, {"cut": "pool1"}, by=1.0),
    Case(
        "zen/figure-3",
        "Even placing the cut layer later in the network",
        holds=[CUTS(5.0, 3.1, 3.1)],
        fails=[CUTS(30.0, 2.9, 2.9)],
        unsure=[CUTS(5.0, wide(4, 3), 3.1), CUTS(5.0, 3.1, wide(4, 3))],
        depends=(CUTS(5.0, 3.1, 2.9), {"pool2"}, {"relu4"}),
    ),
    Case(
        "zen/figure-4",
        "additional width in the convolutional layers improved",
        holds=[filters_of_lenet(0.6, 0.6, 0.6)],
        fails=[filters_of_lenet(*with_one(3, 0.9, place, -0.6)) for place in range(3)],
        unsure=[filters_of_lenet(*with_one(3, 0.9, place, step)) for place in range(3) for step in (0.4, -0.4)],
    ),
    above(
        "zen/figure-5",
        "on non-IID data, the attack results",
        "mnist",
        {"distribution": "non_iid"},
        {"distribution": "iid"},
    ),
    above(
        "zen/figure-6",
        "they were not be able to accomplish an accurate",
        "cifar10",
        {"prior": "mnist"},
        {"prior": "cifar100"},
        by=1.0,
    ),
]


def as_wide(narrow, wider, rest):
    """A quarter of the dense layers' width and four times it, where the plain network shows 20 dB."""
    return decoded("zen/section-5.2", "mnist", rest, ({}, 20.0), ({"fc": 30}, narrow), ({"fc": 480}, wider))


POORLY = {data: guesses("zen/section-5.2", data, 12.0, 12.0, {"rounds": 0}, {"rounds": 1}) for data in BOTH_SETS}
ADAPTED = "zen/section-5.2"
SECTION_5_2 = [
    Case(
        ADAPTED,
        "poorly trained target models",
        holds=[table(30.0, 0.9, 0.9) for table in POORLY.values()],
        fails=[table(5.0, 1.1, 1.1) for table in POORLY.values()],
        unsure=[POORLY["mnist"](30.0, wide(0, 1), 0.9), POORLY["mnist"](30.0, 0.9, wide(0, 1))],
        depends=(POORLY["mnist"](30.0, 0.9, 1.1), {"untrained"}, {"after one round of three"}),
    ),
    hidden("increasing the batch size at train time", ADAPTED, "mnist", {"batch": 256}, SAME),
    Case(
        ADAPTED,
        "additional width in the FC layers did not have a notable impact",
        holds=[as_wide(20.4, 20.4, 30.0), as_wide(19.6, 19.6, 10.0)],
        fails=[as_wide(*now, 20.0) for now in ((20.6, 20.0), (20.0, 20.6), (19.4, 20.0), (20.0, 19.4))],
        unsure=[as_wide(*now, 20.0) for now in ((wide(20.2, 20.5), 20.0), (20.0, wide(19.8, 19.5)))],
    ),
    above(ADAPTED, "deeper models can be effectively deployed", "mnist", {"depth": 4, "cut": "relu4"}, {}),
    above(ADAPTED, "if the cut layer position remains unchanged, deeper models", "mnist", {}, {"depth": 4}),
    above(ADAPTED, "data with higher resolution was more difficult", "cifar10", {}, {"size": 16}),
    above(ADAPTED, "More clients mitigate the decoder", "mnist", {"clients": 9}, {}),
    above(ADAPTED, "client-level Differential Privacy", "mnist", {"protection": "dp"}, {}, by=3.0),
    hidden("Secure aggregation stops the decoder", ADAPTED, "mnist", {"protection": "secure_aggregation"}, SAME),
    hidden("As the distribution of intermediate data", ADAPTED, "mnist", {"recorded": "round 1"}, SAME),
]


def priors(data, stranger, same, rest=15.0):
    return decoded("zen/table-4", data, rest, ({"prior": _decoder.stranger(data)}, stranger), ({}, same))


def accurate(sigmoid, relu, tanh):
    cells = [
        ({"activation": how}, {"accuracy": a}) for how, a in (("sigmoid", sigmoid), ("relu", relu), ("tanh", tanh))
    ]
    return decoded("zen/table-6", "mnist", 20.0, *cells)


STRANGE = {"prior": "fashion-mnist"}
TABLES_4_TO_6 = [
    shown("the attacker only requires data from the same distribution", "zen/table-4", "mnist", STRANGE),
    Case(
        "zen/table-4",
        "When the prior was not consistent with the data",
        holds=[priors(data, 20.0 + off, 20.0) for data in ("mnist", "pneumoniamnist") for off in (0.4, -0.4)],
        fails=[priors(data, 20.0 + off, 20.0) for data in ("mnist", "pneumoniamnist") for off in (0.6, -0.6)],
        unsure=[priors("mnist", wide(20.2, 20.5), 20.0), priors("pneumoniamnist", wide(19.8, 19.5), 20.0)],
    ),
    above("zen/table-4", "The owners' own kind of images reconstructs better", "cifar10", {"prior": "cifar100"}, {}),
    above("zen/table-5", "Max-Pooling tended to reveal less", "mnist", {"pool": "max"}, {"pool": "average"}),
    above("zen/table-6", "Tanh reveals less than ReLU", "mnist", {"activation": "tanh"}, {}),
    above("zen/table-6", "we found Sigmoid (logistic) activations", "mnist", {"activation": "sigmoid"}, {}, by=1.0),
    Case(
        "zen/table-6",
        "this may be due to the, on average, lower accuracy",
        holds=[accurate(0.876, 0.9, 0.8), accurate(0.876, 0.9, 1.0)],
        fails=[accurate(0.884, 0.9, 0.8), accurate(0.884, 0.9, 1.0)],
        unsure=[accurate(wide(0.85, 0.88), 0.9, 0.9), accurate(wide(0.89, 0.88), 0.9, 0.9)],
    ),
]

CASES = [*SECTION_5_1, *TABLE_1, *TABLES_2_AND_3, *CASE_STUDY, *FIGURES, *SECTION_5_2, *TABLES_4_TO_6, *MEMBERSHIP]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_sentence_holds_fails_or_cannot_be_told(case):
    assert not case.wrong()


def test_every_sentence_is_tried_once_for_each_verdict():
    assert judged(CASES) == sorted(of("zen"))
    assert not {case.text: case.untried() for case in CASES if case.untried()}


def test_sentences_are_short_and_say_once_in_which_settings_they_were_tested():
    assert not badly_put("zen")
