"""Model poisoning: lies about data and about updates against their definitions, and what they do to a federation."""

import math

import pytest
import torch
from torch import nn

from privlab import data, models
from privlab.attacks import poisoning
from privlab.defences import aggregation
from privlab.sharing import federated, messages, together
from privlab.sharing.federated import Client
from privlab.sharing.messages import Update

DIGITS, TEST = data.load("digits"), data.load("digits", split="test")
CLIENT = Client(DIGITS.images[:200], DIGITS.labels[:200])
FACTORS = poisoning.FACTORS


def updates(count=9, size=40, seed=0, dtype=torch.float64):
    """Around a common direction, as clients' are."""
    random = torch.Generator().manual_seed(seed)
    common = torch.randn(size, generator=random, dtype=dtype)
    rows = common + 0.5 * torch.randn(count, size, generator=random, dtype=dtype)
    return [Update({"w": row[:30].view(5, 6), "b": row[30:]}, {"seen": row[:1].clone()}) for row in rows]


def flat(update):
    return torch.cat([update["w"].flatten(), update["b"]])


def network(seed=0, width=16):
    return models.fully_connected(DIGITS.shape, 10, widths=(width,), seed=seed)


def clients(count, seed=0, size=None):
    parts = data.iid(DIGITS.labels, count, seed=seed)
    return [Client(DIGITS[part[:size]].images, DIGITS[part[:size]].labels) for part in parts]


# --- lies about data -----------------------------------------------------------------------------------------------


def test_all_labels_are_turned_round():
    made = poisoning.flip_labels(CLIENT, 10)
    assert made.labels.tolist() == [9 - label for label in CLIENT.labels.tolist()]
    assert torch.equal(made.images, CLIENT.images)
    assert poisoning.flip_labels(made, 10).labels.tolist() == CLIENT.labels.tolist()


def test_of_a_pair_one_becomes_the_other_and_nothing_else_changes():
    made = poisoning.flip_labels(CLIENT, 10, source=5, target=3)
    assert made.labels.tolist() == [3 if label == 5 else label for label in CLIENT.labels.tolist()]
    assert (CLIENT.labels == 5).any()


@pytest.mark.parametrize("share", [0, 0.1, 0.25, 0.5, 1])
def test_the_share_counts_of_those_that_would_change(share):
    """Of an odd number of classes the middle one stays as it is, and counts for nothing."""
    odd = Client(CLIENT.images, CLIENT.labels.clamp_max(4))
    changed = poisoning.flip_labels(odd, 5, share=share).labels != odd.labels
    assert changed.sum() == round(share * (odd.labels != 2).sum().item())
    pair = poisoning.flip_labels(CLIENT, 10, source=7, target=1, share=share).labels != CLIENT.labels
    assert pair.sum() == round(share * (CLIENT.labels == 7).sum().item())
    assert (CLIENT.labels[pair] == 7).all()


def test_which_labels_are_flipped_is_drawn_by_the_seed():
    made = [poisoning.flip_labels(CLIENT, 10, share=0.5, seed=seed).labels for seed in (0, 0, 1)]
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    early = sum((poisoning.flip_labels(CLIENT, 10, share=0.5, seed=s).labels != CLIENT.labels)[:100] for s in range(40))
    assert (early > 5).all(), "each is flipped now and then"
    assert (early < 35).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_perturbed_images_stay_images(dtype):
    """In the middle of the scale the noise has its spread; at its ends it is cut off; labels are as they were."""
    grey = Client(torch.full((50, 1, 28, 28), 0.5, dtype=dtype), CLIENT.labels[:50])
    made = poisoning.perturb_images(grey, 0.1, seed=1)
    assert made.images.dtype == dtype
    assert (made.images - 0.5).std().item() == pytest.approx(0.1, rel=0.05)
    assert (made.images - 0.5).mean().abs() < 0.005
    wild = poisoning.perturb_images(CLIENT, 2.0)
    assert wild.images.min() == 0
    assert wild.images.max() == 1
    assert torch.equal(wild.labels, CLIENT.labels)
    assert torch.equal(poisoning.perturb_images(CLIENT, 0).images, CLIENT.images)
    assert torch.equal(made.images, poisoning.perturb_images(grey, 0.1, seed=1).images)
    assert not torch.equal(made.images, poisoning.perturb_images(grey, 0.1, seed=2).images)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"classes": 5}, "the largest label=9 is out of range; give a whole number from 0 to 4"),
        ({"classes": 1}, "classes=1 is out of range"),
        ({"classes": 10.0}, "classes=10.0 is a float"),
        ({"classes": 10, "share": 1.5}, "share=1.5 is out of range"),
        ({"classes": 10, "share": float("nan")}, "share=nan is out of range"),
        ({"classes": 10, "source": 3}, "target=None is a NoneType; give a whole number"),
        ({"classes": 10, "target": 3}, "source=None is a NoneType; give a whole number"),
        ({"classes": 10, "source": 3, "target": 10}, "target=10 is out of range"),
        ({"classes": 10, "source": -1, "target": 1}, "source=-1 is out of range"),
    ],
)
def test_flips_that_cannot_be_are_refused(how, words):
    with pytest.raises((ValueError, TypeError), match=words):
        poisoning.flip_labels(CLIENT, **how)


def test_labels_and_images_of_other_kinds_are_refused_in_words():
    several = Client(CLIENT.images, torch.zeros(200, 10))
    with pytest.raises(TypeError, match=r"labels is torch.float32 of shape \(200, 10\); give an int64 tensor"):
        poisoning.flip_labels(several, 10)
    tokens = Client(torch.ones(3, 7, dtype=torch.int64), torch.tensor([0, 1, 0]))
    with pytest.raises(ValueError, match=r"images has shape \(3, 7\); expected \(N, C, H, W\)"):
        poisoning.perturb_images(tokens, 0.1)
    for std in (-1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="std="):
            poisoning.perturb_images(CLIENT, std)


# --- lies about updates ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [-1.0, 0.0, 7.5])
def test_a_scaled_lie_is_the_mean_so_many_times(factor):
    known = updates()
    wanted = factor * sum(flat(each) for each in known) / len(known)
    torch.testing.assert_close(flat(poisoning.scale(known, factor)), wanted)
    torch.testing.assert_close(flat(poisoning.scale(known[:1], factor)), factor * flat(known[0]))


def test_inner_product_manipulation_turns_the_mean_and_stays_short():
    known = updates()
    mean = sum(flat(each) for each in known) / len(known)
    torch.testing.assert_close(flat(poisoning.ipm(known)), -0.5 * mean)
    torch.testing.assert_close(flat(poisoning.ipm(known, 3.0)), -3 * mean)


def alie_by_hand(known, clients, malicious):
    """Baruch et al. 2019, algorithm 3, weight by weight; z by bisection of the normal distribution."""
    needed = math.floor(clients / 2 + 1) - malicious
    limit = (clients - malicious - needed) / (clients - malicious)
    low, high = -10.0, 10.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if (1 + math.erf(middle / 2**0.5)) / 2 < limit else (low, middle)
    lie = []
    for column in zip(*[flat(each).tolist() for each in known], strict=True):
        mean = sum(column) / len(column)
        spread = math.sqrt(sum((each - mean) ** 2 for each in column) / (len(column) - 1))
        lie.append(mean - low * spread)
    return torch.tensor(lie, dtype=torch.float64), low


@pytest.mark.parametrize(("clients", "malicious"), [(50, 24), (50, 12), (11, 5), (11, 1), (10, 4), (3, 1)])
def test_alie_is_algorithm_3(clients, malicious):
    known = updates(7)
    wanted, _ = alie_by_hand(known, clients, malicious)
    torch.testing.assert_close(flat(poisoning.alie(known, clients, malicious)), wanted)


@pytest.mark.parametrize(("clients", "malicious"), [(50, 24), (51, 12), (21, 8)])
def test_with_the_liars_those_who_lie_farther_off_than_alie_are_most_clients(clients, malicious):
    """Of honest weights that are normal: in the mean over weights those below the lie fill the majority up."""
    random = torch.Generator().manual_seed(clients)
    drawn = torch.randn(clients - malicious, 20_000, generator=random, dtype=torch.float64)
    honest = [Update({"w": each, "b": each[:0]}, {}) for each in drawn]
    lie = poisoning.alie(honest, clients, malicious)["w"]
    rows = messages.stack(honest)
    farther = (rows < lie).double().sum(0).mean().item()
    assert farther == pytest.approx(clients // 2 + 1 - malicious, abs=0.35)
    assert ((lie - rows.mean(0)).abs() < 2.1 * rows.std(0)).all()
    assert (lie > rows.amin(0)).double().mean() > 0.6
    _, z = alie_by_hand(updates(), clients, malicious)
    torch.testing.assert_close((rows.mean(0) - lie) / rows.std(0), torch.full_like(lie, z))


def test_alie_of_one_known_update_is_that_update():
    (only,) = updates(1)
    assert torch.equal(flat(poisoning.alie([only], 10, 3)), flat(only))


def short_ones(sent):
    """The mean of those that are not much longer than most, as a flipped one is not."""
    lengths = messages.stack(sent).norm(dim=1)
    return aggregation.mean([each for each, own in zip(sent, lengths, strict=True) if own <= 1.1 * lengths.median()])


RULES = {
    "mean": aggregation.mean,
    "short": short_ones,
    "median": aggregation.median,
    "trimmed": lambda sent: aggregation.trimmed_mean(sent, 3),
    "krum": lambda sent: aggregation.krum(sent, 3),
    "multi_krum": lambda sent: aggregation.multi_krum(sent, 3, 6),
    "clipped": aggregation.clipped_mean,
    "geometric": aggregation.geometric_median,
}


def away(known, direction):
    rows = torch.stack([flat(each) for each in known])
    mean = rows.mean(0)
    if direction == "mean":
        return mean, mean
    if direction == "sign":
        return mean, mean.sign() * mean.norm() / len(mean) ** 0.5
    return mean, rows.std(0) * mean.sign()


@pytest.mark.parametrize("direction", ["mean", "sign", "spread"])
@pytest.mark.parametrize("rule", RULES)
def test_no_fixed_factor_moves_a_rule_farther_than_the_adaptive_lie(rule, direction):
    """Nor does the flip of the sign, which is the mean less twice the mean, nor ALIE or IPM along their directions."""
    for seed in range(3):
        known = updates(10, seed=seed)
        mean, way = away(known, direction)

        def gain(lie, known=known, mean=mean, way=way):
            return ((mean - flat(RULES[rule]([*known, lie, lie, lie]))) @ way).item()

        lie = poisoning.adaptive(known, RULES[rule], 3, direction)
        best = gain(lie)
        fixed = [messages.unstack(mean - factor * way, known) for factor in FACTORS]
        assert best == pytest.approx(max(gain(each) for each in fixed))
        step = (mean - flat(lie)) / way
        assert any(torch.allclose(step, torch.full_like(step, factor)) for factor in FACTORS)
        if direction == "mean":
            assert best >= gain(poisoning.scale(known, -1)) - 1e-9
        assert best >= max(gain(each) for each in known[:1]) - 1e-9


def test_an_adaptive_lie_is_bold_against_the_mean_and_meek_against_krum():
    known = updates(10)
    mean, way = away(known, "mean")
    bold, meek = (flat(poisoning.adaptive(known, RULES[rule], 3)) for rule in ("mean", "krum"))
    assert (mean - bold).norm() == pytest.approx(max(FACTORS) * way.norm())
    chosen = RULES["krum"]([*known, *[messages.unstack(meek, known)] * 3])
    assert torch.equal(flat(chosen), meek), "Krum takes it"
    assert (mean - meek).norm() < 3 * way.norm()


def test_a_finer_search_finds_the_last_lie_that_krum_takes():
    """Krum takes what lies closest to the others, so that the bolder of two lies does more until it takes neither."""
    known = updates(10)
    mean, way = away(known, "mean")
    fine = [each / 20 for each in range(60, 0, -1)]

    def gain(factor):
        lie = messages.unstack(mean - factor * way, known)
        return ((mean - flat(RULES["krum"]([*known, lie, lie, lie]))) @ way).item()

    coarse, best = (poisoning.adaptive(known, RULES["krum"], 3, factors=each) for each in (FACTORS, fine))
    steps = [((mean - flat(each)) @ way / (way @ way)).item() for each in (coarse, best)]
    assert steps[1] == pytest.approx(max(fine, key=gain), abs=1e-4)
    assert gain(steps[1]) > 1.1 * gain(steps[0])


def test_updates_that_are_nearly_too_long_for_floats_do_not_stop_it():
    known = [Update({"w": torch.full((3,), 3e37)}, {}) for _ in range(5)]
    lie = poisoning.adaptive(known, aggregation.median, 2)
    assert lie["w"].isfinite().all()


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        (lambda known: poisoning.alie(known, 10, 5), "malicious=5 is out of range; give a whole number from 1 to 4"),
        (lambda known: poisoning.alie(known, 10, 11), "malicious=11 is out of range"),
        (lambda known: poisoning.alie(known, 10, 0), "malicious=0 is out of range"),
        (lambda known: poisoning.alie(known, 2, 1), "clients=2 is out of range"),
        (lambda known: poisoning.ipm(known, 0), "epsilon=0 is out of range"),
        (lambda known: poisoning.ipm(known, float("inf")), "epsilon=inf is out of range"),
        (lambda known: poisoning.scale(known, float("nan")), "factor=nan is out of range"),
        (lambda known: poisoning.adaptive(known, aggregation.mean, 0), "malicious=0 is out of range"),
        (lambda known: poisoning.adaptive(known, aggregation.mean, 1, "up"), "direction='up' is not known; choose"),
        (lambda known: poisoning.adaptive(known, RULES["krum"], 1, "mean"), "f=3 needs 9 updates or more"),
        (lambda known: poisoning.adaptive(known, aggregation.mean, 1, factors=[1, 0]), "factors=0 is out of range"),
        (lambda known: poisoning.adaptive(known, aggregation.mean, 1, factors=[]), "the number of factors=0 is out"),
        *[
            (lambda _known, lie=lie: lie([]), "there are no updates; give at least one")
            for lie in (
                poisoning.ipm,
                lambda known: poisoning.scale(known, 2.0),
                lambda known: poisoning.alie(known, 10, 2),
                lambda known: poisoning.adaptive(known, aggregation.mean, 1),
            )
        ],
    ],
)
def test_lies_that_cannot_be_are_refused(lie, words):
    with pytest.raises(ValueError, match=words):
        lie(updates(3))


# --- in a federation -------------------------------------------------------------------------------------------------

HOW = {"rounds": 1, "epochs": 2, "batch": 8, "lr": 0.1}


def one_by_one(model, some, **how):
    return [federated.local_update(model, each, **how) for each in some]


@pytest.mark.parametrize("train", [together.local_updates, one_by_one])
@pytest.mark.parametrize("omniscient", [False, True])
def test_exactly_the_liars_send_what_is_crafted_of_what_they_know(omniscient, train):
    some = clients(5, size=20)
    honest, heard, told = [], [], []
    federated.fed_avg(network(), some, **HOW, train=train, listen=lambda _n, _c, sent: honest.append(sent))

    def craft(known):
        told.append(known)
        return poisoning.scale(known, -4.0)

    colluders = poisoning.Colluders([some[3], some[1]], craft, omniscient=omniscient, train=train)
    federated.fed_avg(network(), some, **HOW, train=colluders, listen=lambda _n, _c, sent: heard.append(sent))
    knows = [0, 2, 4] if omniscient else [1, 3]
    (known,) = told
    assert len(known) == len(knows)
    for name in honest[0]:
        for mine, place in zip(known, knows, strict=True):
            assert torch.equal(mine[name], honest[place][name])
        lie = -4 * sum(honest[place][name] for place in knows) / len(knows)
        for place in range(5):
            torch.testing.assert_close(heard[place][name], lie if place in (1, 3) else honest[place][name])


def test_where_all_collude_they_know_their_own():
    some, told = clients(3, size=20), []
    craft = lambda known: told.append(len(known)) or known[0]  # noqa: E731
    federated.fed_avg(network(), some, **HOW, train=poisoning.Colluders(some, craft, omniscient=True))
    assert told == [3]


def test_a_round_without_a_liar_is_honest_and_a_copy_of_a_client_is_another():
    some = clients(4, size=20)
    copies = [Client(each.images, each.labels) for each in some]
    fails = poisoning.Colluders(copies, lambda known: pytest.fail("nobody lies"))
    made = federated.fed_avg(network(), some, **HOW, train=fails)
    plain = federated.fed_avg(network(), some, **HOW, train=together.local_updates)
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), plain.parameters(), strict=True))
    rounds = []
    liar = poisoning.Colluders(some[:1], lambda known: rounds.append(1) or known[0])
    drawn = []
    federated.fed_avg(
        network(), some, **{**HOW, "rounds": 8}, fraction=0.5, train=liar, listen=lambda n, c, _s: drawn.append(c)
    )
    assert 0 < len(rounds) == drawn.count(0) < 8


def test_a_network_that_has_blown_up_leaves_nothing_to_lie_about():
    broken = network()
    with torch.no_grad():
        broken.output.weight.fill_(float("nan"))
    some = clients(3, size=20)
    fails = poisoning.Colluders(some[:1], lambda known: pytest.fail("nothing is known"))
    with pytest.warns(UserWarning, match="clients 0, 1, 2 sent, it has numbers that are not finite") as told:
        made = federated.fed_avg(broken, some, **HOW, train=fails, aggregate=aggregation.median)
    assert len(told) == 1
    assert torch.equal(made.fc1.weight, broken.fc1.weight)


def test_liars_with_batch_norm_lie_about_its_averages_as_the_honest_do():
    torch.manual_seed(0)
    normed = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.BatchNorm1d(8), nn.Linear(8, 10)).train()
    some, heard = clients(3, size=20), []
    liars = poisoning.Colluders(some[:2], lambda known: poisoning.scale(known, -1), train=one_by_one)
    federated.fed_avg(normed, some, **HOW, train=liars, listen=lambda _n, _c, sent: heard.append(sent))
    assert heard[0].buffers.keys() == heard[2].buffers.keys()
    assert torch.equal(heard[0].buffers["2.running_mean"], heard[1].buffers["2.running_mean"])


@pytest.mark.parametrize("seed", range(3))
def test_four_of_twelve_destroy_the_mean_and_not_the_median(seed):
    some = clients(12, seed)
    how = {"rounds": 8, "epochs": 2, "batch": 8, "lr": 0.1, "seed": seed}

    def accuracy(rule, craft):
        train = poisoning.Colluders(some[:4], craft) if craft else together.local_updates
        made = federated.fed_avg(network(seed, 32), some, **how, train=train, aggregate=rule)
        return federated.accuracy(made, TEST.images, TEST.labels)

    honest = accuracy(aggregation.mean, None)
    assert honest > 0.9

    def flip(known):
        return poisoning.scale(known, -5.0)

    assert accuracy(aggregation.mean, flip) < 0.3
    assert accuracy(aggregation.median, flip) > honest - 0.15
    tailored = {
        rule: accuracy(rule, lambda known, rule=rule: poisoning.adaptive([*known, *known], rule, 4))
        for rule in (aggregation.mean, aggregation.median)
    }
    assert tailored[aggregation.mean] < 0.3
    assert tailored[aggregation.median] > 0.5


@pytest.mark.parametrize("seed", range(3))
def test_flipped_labels_of_most_clients_teach_the_flipped(seed):
    some = clients(5, seed)
    flipped = [poisoning.flip_labels(each, 10) for each in some[:4]]
    how = {"rounds": 8, "epochs": 2, "batch": 8, "train": together.local_updates, "seed": seed}
    made = federated.fed_avg(network(seed), [*flipped, some[4]], **how)
    assert federated.accuracy(made, TEST.images, 9 - TEST.labels) > 0.7
    assert federated.accuracy(made, TEST.images, TEST.labels) < 0.2
