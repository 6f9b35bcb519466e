"""The studies of split learning: how images are shared out, what a cell measures, and the papers' sentences."""

import functools

import pytest
import torch

from privlab import data, studies
from privlab.defences import averaged, laplace
from privlab.sharing import federated, split
from privlab.studies import split_learning, splitnn, splitnn_studies, zen_decoder, zen_decoder_studies
from privlab.studies.study import Table, cell_key

CPU = torch.device("cpu")


def claims(study):
    return {claim.text.split(" (")[0]: claim for claim in studies.get(study).claims}


def rows(*cells, seed=0):
    """One row a (cell, metrics)."""
    return Table([{"cell": cell, "seed": seed, "metrics": metrics} for cell, metrics in cells])


def together(*tables):
    return Table([row for table in tables for row in table.rows])


# --- how images are shared out -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "channels", "side"), [("digits", 1, 28), ("patches", 3, 32)])
def test_no_image_is_in_two_shares(name, channels, side):
    parts = split_learning.shares(name, channels, side)
    own = [{image.numpy().tobytes() for image in part.images} for part in parts]
    assert sum(len(part.labels) for part in parts) == len(data.load(name))
    everything = data.load(name).images
    twice = len(everything) - len({image.numpy().tobytes() for image in everything})
    assert sum(map(len, own)) - len(set().union(*own)) <= twice


def test_mnist_is_shared_out_as_in_the_paper(real_data):
    mnist = real_data("mnist")
    own, attacker, victims = split_learning.shares("mnist", 1, 28)
    assert torch.equal(own.labels, mnist.labels[:40_000])
    assert torch.equal(attacker.images, mnist[40_000:45_000].images)
    assert torch.equal(victims.labels, mnist.labels[45_000:50_000])


def test_pictures_are_brought_into_the_form_of_the_victims():
    grey = split_learning.pictures("patches", 1, 28, 20)
    assert grey.shape == (1, 28, 28)
    colour = split_learning.pictures("digits", 3, 32, 20)
    assert colour.shape == (3, 32, 32)
    assert torch.equal(colour.images[:, 0], colour.images[:, 2])
    assert len(colour.labels) == 20


def test_omniglots_ink_is_made_bright(real_data):
    real_data("omniglot")
    assert split_learning.pictures("omniglot", 1, 28, 50).images.mean() < 0.3


def test_the_judge_reads_true_images():
    victims = split_learning.shares("digits", 1, 28)[2]
    assert federated.accuracy(split_learning.judge("digits", 1, 28), victims.images, victims.labels) > 0.93


def test_quality_is_that_of_the_reconstruction():
    victims = split_learning.shares("digits", 1, 28)[2]
    classifier = split_learning.judge("digits", 1, 28)
    same = split_learning.quality(victims.images, victims, classifier, 64)
    assert same["mse"] == 0
    assert same["psnr"] == 100
    assert same["ssim"] == pytest.approx(1)
    assert same["reconstruction_correlation"] == pytest.approx(1)
    grey = split_learning.quality(torch.full_like(victims.images, 0.5), victims, classifier, 64)
    assert grey["mse_255"] == pytest.approx((victims.images * 255 - 127.5).square().mean().item(), rel=1e-4)
    assert grey["class_accuracy"] < 0.3
    assert grey["reconstruction_correlation"] == pytest.approx(0, abs=1e-6)


# --- what a cell measures ------------------------------------------------------------------------------------------


def test_the_cut_does_not_change_what_is_trained_and_settings_that_matter_do():
    cell = zen_decoder.plain_cell("digits", rounds=1)
    (_, first), (_, later) = (zen_decoder.target({**cell, "cut": cut}, 0, CPU) for cut in ("conv1", "relu4"))
    assert first is later
    other = zen_decoder.target({**cell, "distribution": "non_iid"}, 0, CPU)[-1]
    assert not torch.equal(other.conv1.weight, first.conv1.weight)


def test_untrained_targets_are_fresh_and_rounds_are_kept():
    states = zen_decoder.target(zen_decoder.plain_cell("digits", rounds=1), 0, CPU)
    assert len(states) == 2
    assert len(zen_decoder.target(zen_decoder.plain_cell("digits", rounds=0), 0, CPU)) == 1
    assert not torch.equal(states[0].conv1.weight, states[1].conv1.weight)


def test_the_sum_of_owners_is_the_mean_of_different_activations():
    sent = torch.arange(12.0).view(6, 2)
    summed = zen_decoder._summed(sent, 3)
    assert torch.allclose(summed[0], (sent[0] + sent[5] + sent[4]) / 3)
    assert torch.equal(zen_decoder._summed(sent, 1), sent)


def test_private_training_spends_no_more_than_six():
    from privlab.defences import dp_sgd

    noise = zen_decoder.private_noise(32, 3000)
    steps = zen_decoder.ROUNDS * zen_decoder.EPOCHS * 94
    spent = dp_sgd.epsilon(noise, 1e-5, sample_rate=32 / 3000, steps=steps, accountant="rdp")
    assert 5.8 < spent <= 6.01


@functools.lru_cache(maxsize=1)
def attacks():
    """The naive adversary without noise, and three adversaries at noise 1."""
    cells = [splitnn.attacked("digits")]
    cells += [splitnn.attacked("digits", noise=1.0, adversary=who) for who in ("naive", "noise_aware", "averaging")]
    return [splitnn.run_attack(cell, 0, CPU) for cell in cells]


def test_noise_destroys_what_the_naive_adversary_sees_and_not_what_the_aware_one_sees():
    clean, naive, aware, averaging = (each["psnr"] for each in attacks())
    floor = attacks()[0]["mean_image_psnr"]
    assert clean > floor + 4
    assert naive < floor + 1
    assert naive + 3 < aware < averaging <= clean + 0.5


def test_accuracy_is_measured_under_the_noise(monkeypatch):
    clean, naive, *_ = (each["accuracy"] for each in attacks())
    assert naive < clean
    met, retrain = [], split.retrain_server

    def spy(parts, owners, *, protect, **options):
        met.append(protect)
        return retrain(parts, owners, protect=protect, **options)

    monkeypatch.setattr(split, "retrain_server", spy)
    cell = splitnn.base("digits", noise=2.0, epochs=3)
    servers = ("fixed", "longer", "retrained")
    fixed, longer, trained = (splitnn.run_accuracy({**cell, "server": how}, 0, CPU) for how in servers)
    assert fixed["accuracy"] < clean - 0.1
    assert fixed["relative_noise"] == longer["relative_noise"] == trained["relative_noise"] > 1
    assert met[0] is None  # as long, but without noise
    assert met[1].keywords == {"scale": 2.0}
    assert len(met) == 2


def test_a_naive_decoder_is_trained_once_whatever_noise_comes_later():
    keys = {splitnn._attacked_with(splitnn.attacked("digits", noise=noise)) for noise in (0.0, 0.5, 1.0)}
    assert len(keys) == 1
    aware = {
        splitnn._attacked_with(splitnn.attacked("digits", noise=noise, adversary="noise_aware")) for noise in (0.5, 1.0)
    }
    assert len(aware | keys) == 3
    trained = splitnn.attacked("digits", noise=0.5, noise_in="training")
    assert splitnn._attacked_with(trained) not in keys


def test_nopeek_lowers_the_correlation_that_it_minimises():
    plain = splitnn.run_training(splitnn.base("digits"), 0, CPU)
    hidden = splitnn.run_training(splitnn.base("digits", alpha=0.5), 0, CPU)
    assert hidden["distance_correlation_squared"] < plain["distance_correlation_squared"] - 0.03
    assert hidden["accuracy"] > 0.9
    assert plain["relative_noise"] == 0
    assert 0 < plain["shuffled_floor"] < plain["distance_correlation"] < 1


def test_what_is_averaged_is_what_is_sent_sixteen_times():
    parts = splitnn.target(splitnn.base("digits"), 0, CPU)
    images = split_learning.shares("digits", 1, 28)[2].images[:40]
    clean = split.send(parts.owner, images)
    once, often = (
        split.send(parts.owner, images, protect=p) - clean
        for p in (functools.partial(laplace, scale=1.0), averaged(functools.partial(laplace, scale=1.0), 16))
    )
    assert often.std().item() == pytest.approx(once.std().item() / 4, rel=0.05)


# --- the papers' numbers and sentences -----------------------------------------------------------------------------


def test_the_papers_numbers_are_read_right():
    found = {(r.dataset, cell_key(r.cell), r.metric): r.value for r in studies.get("zen/table-4").reported}
    assert found["MNIST", cell_key({"prior": "fashion-mnist"}), "mse_255"] == 397.4
    assert found["PathMNIST", cell_key({"prior": "cifar100"}), "accuracy"] == pytest.approx(0.351)
    table = {(cell_key(r.cell), r.metric): r.value for r in studies.get("splitnn/table-1").reported}
    cell = cell_key({"noise": 0.2, "alpha": 0.5, "loss": "squared"})
    assert table[cell, "accuracy"] == pytest.approx(0.9746)
    assert table[cell, "distance_correlation_squared"] == 0.411
    assert len(table) == 24
    pools = {cell_key(r.cell) for r in studies.get("zen/table-5").reported}
    assert pools == {cell_key({"prior": "same", "pool": p}) for p in ("max", "average")}


def plain(metric="psnr", data="mnist", **changes):
    """The plain cell with changes, and its metric."""
    value = changes.pop("value")
    return zen_decoder.plain_cell(data, **changes), {metric: value, "mean_image_psnr": 12.0}


def nopeek(**changes):
    value = changes.pop("value")
    metric = changes.pop("metric", "accuracy")
    return {**splitnn.attacked("mnist"), "server": "fixed", **changes}, {metric: value, "mean_image_psnr": 12.0}


SENTENCES = [
    (
        "zen/table-4",
        "Another data set as prior is enough to reconstruct",
        plain(prior="fashion-mnist", value=16.0),
        plain(prior="fashion-mnist", value=14.0),
    ),
    (
        "zen/table-5",
        "Max pooling reveals less than average pooling",
        [plain(value=20.0), plain(pool="average", value=21.0)],
        [plain(value=21.0), plain(pool="average", value=20.0)],
    ),
    (
        "zen/table-6",
        "Sigmoid mitigates the attack",
        [plain(value=20.0), plain(activation="sigmoid", value=18.0)],
        [plain(value=20.0), plain(activation="sigmoid", value=19.5)],
    ),
    (
        "zen/figure-3",
        "An early cut reveals more than a deeper one",
        [plain(value=20.0), plain(cut="pool1", value=24.0)],
        [plain(value=20.0), plain(cut="pool1", value=20.5)],
    ),
    ("zen/figure-3", "Even the deeper cut shows the general features", plain(value=15.5), plain(value=14.5)),
    (
        "zen/figure-4",
        "More filters improve the reconstruction",
        [plain(conv=c, value=v) for c, v in ((3, 18.0), (6, 19.0), (12, 20.0), (24, 21.0))],
        [plain(conv=c, value=v) for c, v in ((3, 18.0), (6, 19.0), (12, 21.0), (24, 20.0))],
    ),
    (
        "zen/figure-5",
        "Owners with labels of their own are reconstructed less accurately",
        [plain(value=20.0), plain(distribution="non_iid", value=19.0)],
        [plain(value=20.0), plain(distribution="non_iid", value=20.5)],
    ),
    (
        "zen/section-5.2",
        "A poorly trained target gives no meaningful reconstruction",
        plain(rounds=0, value=12.5),
        plain(rounds=0, value=20.0),
    ),
    (
        "zen/section-5.2",
        "A larger batch in training makes the attack ineffective",
        [plain(value=20.0), plain(batch=256, value=16.0)],
        [plain(value=20.0), plain(batch=256, value=19.0)],
    ),
    (
        "zen/section-5.2",
        "The width of dense layers has no notable impact",
        [plain(value=20.0), plain(fc=30, value=19.8), plain(fc=480, value=20.3)],
        [plain(value=20.0), plain(fc=30, value=18.0), plain(fc=480, value=20.3)],
    ),
    (
        "zen/section-5.2",
        "Deeper models with a later cut reveal less",
        [plain(value=20.0), plain(depth=4, cut="relu4", value=18.0)],
        [plain(value=20.0), plain(depth=4, cut="relu4", value=20.0)],
    ),
    (
        "zen/section-5.2",
        "Deeper models with the same cut reveal no less",
        [plain(value=20.0), plain(depth=4, value=20.0)],
        [plain(value=20.0), plain(depth=4, value=18.0)],
    ),
    (
        "zen/section-5.2",
        "More clients mitigate the attack",
        [plain(value=20.0), plain(clients=9, value=18.0)],
        [plain(value=20.0), plain(clients=9, value=20.0)],
    ),
    (
        "zen/section-5.2",
        "Client-level DP leaves inaccurate, noisy reconstructions",
        [plain(value=20.0), plain(protection="dp", value=15.0)],
        [plain(value=20.0), plain(protection="dp", value=19.0)],
    ),
    (
        "zen/section-5.2",
        "Secure aggregation stops the decoder",
        plain(protection="secure_aggregation", value=12.0),
        plain(protection="secure_aggregation", value=18.0),
    ),
    (
        "zen/section-5.2",
        "What was recorded in an early round is not decoded by a decoder for the final segment",
        plain(recorded="round 1", value=12.0),
        plain(recorded="round 1", value=18.0),
    ),
    (
        "splitnn/figure-1",
        "The same with Omniglot in the place of EMNIST",
        nopeek(prior="omniglot", metric="class_accuracy", value=0.9),
        nopeek(prior="omniglot", metric="class_accuracy", value=0.5),
    ),
    (
        "splitnn/figure-2",
        "Noise of scale 1.0 destroys reconstructions",
        nopeek(noise=1.0, metric="psnr", value=12.5),
        nopeek(noise=1.0, metric="psnr", value=14.0),
    ),
    (
        "splitnn/figure-2",
        "... also for an adversary who knows of the noise",
        nopeek(noise=1.0, adversary="noise_aware", metric="psnr", value=12.5),
        nopeek(noise=1.0, adversary="noise_aware", metric="psnr", value=17.0),
    ),
    (
        "splitnn/figure-3",
        "More images to train on give better reconstructions",
        [nopeek(attack_set=n, metric="psnr", value=v) for n, v in ((250, 15.0), (5000, 18.0))],
        [nopeek(attack_set=n, metric="psnr", value=v) for n, v in ((250, 18.0), (5000, 17.0))],
    ),
    (
        "splitnn/figure-4",
        "With a greater NoPeek weight the same noise costs more accuracy",
        [nopeek(noise=1.0, value=0.9), nopeek(noise=1.0, alpha=0.5, value=0.8)],
        [nopeek(noise=1.0, value=0.8), nopeek(noise=1.0, alpha=0.5, value=0.8)],
    ),
    (
        "splitnn/figure-4",
        "A server that trains on under the noise wins accuracy back",
        [nopeek(noise=1.0, value=0.8), nopeek(noise=1.0, server="retrained", value=0.9)],
        [nopeek(noise=1.0, value=0.8), nopeek(noise=1.0, server="retrained", value=0.7)],
    ),
    (
        "splitnn/figure-4",
        "... more than training on without noise does",
        [nopeek(noise=1.0, server="longer", value=0.8), nopeek(noise=1.0, server="retrained", value=0.9)],
        [nopeek(noise=1.0, server="longer", value=0.9), nopeek(noise=1.0, server="retrained", value=0.9)],
    ),
    (
        "zen/table-4",
        "The owners' own kind of images reconstructs better",
        [plain(value=20.0), plain(prior="fashion-mnist", value=16.0)],
        [plain(value=20.0), plain(prior="fashion-mnist", value=21.0)],
    ),
    (
        "zen/table-6",
        "Tanh reveals less than ReLU",
        [plain(value=20.0), plain(activation="tanh", value=19.0)],
        [plain(value=20.0), plain(activation="tanh", value=21.0)],
    ),
    (
        "zen/table-6",
        "... which may be for the lower accuracy of such models",
        [plain("accuracy", value=0.9), plain("accuracy", activation="sigmoid", value=0.4)],
        [plain("accuracy", value=0.9), plain("accuracy", activation="sigmoid", value=0.89)],
    ),
    (
        "zen/figure-1",
        "With MNIST as prior radiographs are reconstructed",
        plain(data="pneumoniamnist", prior="mnist", value=16.0),
        plain(data="pneumoniamnist", prior="mnist", value=14.0),
    ),
    (
        "zen/figure-1",
        "A related prior gives more defined features than digits",
        [plain(data="pneumoniamnist", value=25.0), plain(data="pneumoniamnist", prior="mnist", value=16.0)],
        [plain(data="pneumoniamnist", value=25.0), plain(data="pneumoniamnist", prior="mnist", value=24.5)],
    ),
    (
        "zen/figure-2",
        "Reconstructions of such data are meaningless",
        plain(data="pathmnist", prior="cifar100", value=13.0),
        plain(data="pathmnist", prior="cifar100", value=16.0),
    ),
    (
        "zen/figure-6",
        "Without a suitable prior there is no accurate reconstruction of colour images",
        [plain(data="cifar10", prior=prior, value=value) for prior, value in (("cifar100", 20.0), ("mnist", 15.0))],
        [plain(data="cifar10", prior=prior, value=value) for prior, value in (("cifar100", 20.0), ("mnist", 19.5))],
    ),
    (
        "zen/section-5.2",
        "Images of higher resolution are harder to invert",
        [plain(data="cifar10", value=19.0), plain(data="cifar10", size=16, value=21.0)],
        [plain(data="cifar10", value=19.0), plain(data="cifar10", size=16, value=18.0)],
    ),
    (
        "splitnn/figure-1",
        "A prior of other handwriting is enough to read the class",
        nopeek(prior="emnist-letters", metric="class_accuracy", value=0.9),
        nopeek(prior="emnist-letters", metric="class_accuracy", value=0.5),
    ),
]


@pytest.mark.parametrize(("study", "text", "good", "bad"), SENTENCES, ids=[text for _, text, *_ in SENTENCES])
def test_a_sentence_holds_where_it_should_and_not_elsewhere(study, text, good, bad):
    claim = claims(study)[text]
    tables = [rows(*(part if isinstance(part, list) else [part])) for part in (good, bad)]
    assert [claim.test(table) for table in tables] == [True, False]
    assert claim.test(rows()) is None


@pytest.mark.parametrize(
    ("rises", "verdict"),
    [
        ((2.0, 1.0), True),
        ((-2.0, -1.0), False),
        ((0.3, 0.4), "cannot tell"),  # less than half a decibel
        ((2.0, -0.5), "cannot tell"),  # the seeds disagree, whatever their mean
        ((0.4, 0.8), True),
    ],
)
def test_what_seeds_reverse_or_hardly_moves_cannot_be_told(rises, verdict):
    claim = claims("zen/table-5")["Max pooling reveals less than average pooling"]
    seeds = [
        rows(plain(value=20.0 + 5 * seed), plain(pool="average", value=20.0 + 5 * seed + rise), seed=seed)
        for seed, rise in enumerate(rises)
    ]
    assert claim.test(together(*seeds)) == verdict


def test_seeds_are_paired_and_those_without_a_partner_do_not_count():
    claim = claims("zen/table-5")["Max pooling reveals less than average pooling"]
    alone = rows(plain(value=40.0), seed=1)
    assert claim.test(together(rows(plain(value=20.0), plain(pool="average", value=21.0)), alone)) is True
    assert claim.test(together(rows(plain(pool="average", value=21.0)), alone)) is None


def test_of_several_steps_one_that_fails_says_no_before_one_that_cannot_be_told():
    claim = claims("zen/figure-4")["More filters improve the reconstruction"]

    def test(*values):
        return claim.test(rows(*(plain(conv=c, value=v) for c, v in zip((3, 6, 12, 24), values, strict=True))))

    assert test(18.0, 19.0, 19.2, 21.0) == "cannot tell"
    assert test(18.0, 19.0, 19.2, 17.0) is False


def test_a_reconstruction_must_beat_the_mean_of_the_owners_kind_of_images_too():
    chest = {"data": "pneumoniamnist", "prior": "mnist"}
    claim = claims("zen/figure-1")["With MNIST as prior radiographs are reconstructed"]
    found = plain(**chest, value=16.0)  # 4 dB above the mean digit
    mean_radiograph = (zen_decoder.plain_cell("pneumoniamnist"), {"psnr": 28.0, "mean_image_psnr": 18.6})
    assert claim.test(rows(found)) is True
    assert claim.test(rows(found, mean_radiograph)) is False
    assert claim.test(rows(plain(**chest, value=22.0), mean_radiograph)) is True


def test_to_know_of_the_noise_may_cost_half_a_decibel_and_no_more():
    claim = claims("splitnn/figure-2")["To know of the noise is nowhere worse than not to"]

    def cells(worse):
        grid = [(b, a) for b in (0.1, 0.5, 1.0) for a in (0.0, 0.5)]
        naive = [nopeek(noise=b, alpha=a, metric="psnr", value=16.0) for b, a in grid]
        aware = [
            nopeek(noise=b, alpha=a, metric="psnr", adversary="noise_aware", value=16.0 - worse * (b == 0.1))
            for b, a in grid
        ]
        return naive + aware

    assert claim.test(rows(*cells(0.4))) is True
    assert claim.test(rows(*cells(0.6))) is False
    assert claim.test(rows(*cells(0.4)[:-1])) is None


def trained(loss="squared", **changes):
    metrics = {name: changes.pop(name) for name in ("accuracy", "distance_correlation_squared") if name in changes}
    return {**splitnn.base("mnist", loss=loss, noise_in="training"), **changes}, metrics


def test_the_sentences_about_table_1():
    found = claims("splitnn/table-1")
    falling = dict(zip((0.0, 0.1, 0.2, 0.5), (0.8, 0.5, 0.4, 0.3), strict=True))
    good = [trained(alpha=a, distance_correlation_squared=v) for a, v in falling.items()]
    bad = [trained(alpha=a, distance_correlation_squared=v) for a, v in (falling | {0.5: 0.6}).items()]
    reduces = found["A greater NoPeek weight reduces distance correlation"]
    assert (reduces.test(rows(*good)), reduces.test(rows(*bad)), reduces.test(rows(good[0]))) == (True, False, None)
    raised = found["Noise in training raises the distance correlation of networks with NoPeek"]
    noisy = trained(alpha=0.5, noise=0.5, distance_correlation_squared=0.35)
    assert raised.test(rows(*good, noisy)) is True
    assert raised.test(rows(*bad, noisy)) is False
    cheap = found["Neither costs much accuracy"]
    pairs = [trained(alpha=a, noise=n, accuracy=0.97) for n, a in splitnn.PRINTED]
    assert cheap.test(rows(*pairs)) is True
    assert cheap.test(rows(*pairs[:-1], trained(alpha=0.5, noise=0.5, accuracy=0.9))) is False
    assert cheap.test(rows(*pairs[:-1])) is None


def test_the_larger_size_counts_where_it_was_measured():
    small, large = (dict(zip(("images", "epochs"), size, strict=True)) for size in splitnn.SIZES["mnist"])
    cells = [
        ({**splitnn.base("mnist"), **size, "noise_in": "training"}, {"accuracy": v})
        for size, v in ((small, 0.9), (large, 0.98))
    ]
    assert splitnn_studies.values(rows(*cells), "accuracy", [{"noise": 0.0}]) == [0.98]
    assert splitnn_studies.values(rows(cells[0]), "accuracy", [{"noise": 0.0}]) == [0.9]
    assert splitnn.large({**splitnn.base("mnist", 1)})
    assert not splitnn.large(splitnn.base("mnist"))


def test_nopeek_is_generic_where_the_image_goes_and_the_class_stays():
    claim = claims("splitnn/figure-2")["NoPeek makes reconstructions generic, of a class that is still shown"]

    def pair(ssim, kind):
        return rows(
            (splitnn.attacked("mnist"), {"ssim": 0.9, "class_accuracy": 0.95}),
            (splitnn.attacked("mnist", alpha=0.5), {"ssim": ssim, "class_accuracy": kind}),
        )

    assert claim.test(pair(0.8, 0.93)) is True
    assert claim.test(pair(0.88, 0.93)) is False
    assert claim.test(pair(0.8, 0.7)) is False


def test_every_study_has_a_cell_the_paper_could_have():
    for study in zen_decoder_studies.STUDIES:
        for name in study.data["paper"]:
            assert all(set(zen_decoder.PLAIN) < set(cell) for cell in study.cells(name))
