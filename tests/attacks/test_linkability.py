"""Linkability: it links where users differ and guesses where they do not; two of the attacks are scikit-learn's."""

import random

import numpy as np
import pytest
import torch
from scipy.stats import t as student
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC

from privlab import models
from privlab.attacks import linkability
from privlab.metrics import linkability as metrics
from privlab.sharing import federated

WIDTH = 12


def updates(users=6, each=8, spread=0.3, seed=0, apart=1.0, traits=WIDTH):
    """Updates of two clients a user around its centre, users differing in so many numbers: rows of length one, users
    and clients.
    """
    drawn = torch.Generator().manual_seed(seed)
    centres = apart * torch.randn(users, WIDTH, generator=drawn) * (torch.arange(WIDTH) < traits)
    owner = torch.arange(users).repeat_interleave(2 * each)
    clients = torch.arange(2 * users).repeat_interleave(each)
    rows = centres[owner] + spread * torch.randn(len(owner), WIDTH, generator=drawn)
    return torch.nn.functional.normalize(rows, dim=1), owner, clients


def halves(*arguments, **options):
    """What was observed of first clients with its users, and what is asked of second ones with the truth."""
    rows, owner, clients = updates(*arguments, **options)
    first = clients % 2 == 0
    return rows[first], owner[first], rows[~first], owner[~first]


@pytest.fixture
def quick(monkeypatch):
    """Networks of a few steps, for what does not ask how well they do."""
    for name in ("EPOCHS", "STEPS", "SIAMESE_STEPS"):
        monkeypatch.setattr(linkability, name, 3)


@pytest.fixture
def hasty(monkeypatch):
    """Networks of a hundred steps, for what is to find nothing."""
    for name, steps in (("EPOCHS", 20), ("STEPS", 100), ("SIAMESE_STEPS", 100)):
        monkeypatch.setattr(linkability, name, steps)


@pytest.fixture
def short(monkeypatch):
    """A tenth of the steps is enough for a dozen numbers."""
    monkeypatch.setattr(linkability, "EPOCHS", 60)
    monkeypatch.setattr(linkability, "STEPS", 400)
    monkeypatch.setattr(linkability, "SIAMESE_STEPS", 400)


# --- updates as vectors ---------------------------------------------------------------------------------------------


def test_an_update_is_a_layers_numbers_divided_by_their_length():
    model = models.fully_connected((1, 5), 3, widths=(4,), seed=0)
    some = federated.Client(torch.rand(6, 1, 5), torch.arange(6) % 3)
    sent = [
        federated.local_update(model, some, epochs=1, batch=2, lr=0.1, random=torch.Generator().manual_seed(seed))
        for seed in (0, 1)
    ]
    for layer, size in (("fc1", 24), ("output", 15)):
        found = linkability.vectors(sent, layer)
        assert found.shape == (2, size)
        for row, update in zip(found, sent, strict=True):
            plain = torch.cat([update[f"{layer}.weight"].flatten(), update[f"{layer}.bias"]])
            assert row.norm().item() == pytest.approx(1)
            assert torch.allclose(row, plain / plain.norm())


def test_no_change_at_all_stays_zeros_and_the_length_of_an_update_does_not_count():
    one = {"a.b.weight": torch.rand(2, 3), "a.b.bias": torch.rand(2), "a.bb.weight": torch.rand(9)}
    found = linkability.vectors([one, {name: 7 * each for name, each in one.items()}], "a.b")
    assert torch.allclose(found[0], found[1])
    assert not linkability.vectors([{name: 0 * each for name, each in one.items()}], "a.b").any()


UPDATE = {"fc1.weight": torch.rand(2, 3), "fc1.bias": torch.rand(2)}


@pytest.mark.parametrize(
    ("given", "layer", "words"),
    [
        ([], "fc1", "there are no updates"),
        ([UPDATE], "fc", "layer='fc' is not in the update; choose one of fc1"),
        ([UPDATE, {"output.bias": torch.rand(2)}], "fc1", "choose one of output"),
        ([UPDATE, {"fc1.weight": torch.rand(2, 3)}], "fc1", r"has \[6, 8\] numbers; give updates of one model"),
    ],
)
def test_updates_that_do_not_fit_are_refused_in_words(given, layer, words):
    with pytest.raises(ValueError, match=words):
        linkability.vectors(given, layer)


# --- identification -------------------------------------------------------------------------------------------------

TOLD = ("svm", "knn", "mlp")


@pytest.mark.parametrize("users", [2, 6])
@pytest.mark.parametrize("attack", TOLD)
def test_users_whose_updates_differ_are_recognised(attack, users, short):
    known, owner, asked, truth = halves(users)
    scores = linkability.identify(known, owner, asked, attack=attack)
    assert scores.shape == (len(asked), users)
    assert scores.dtype == asked.dtype
    found = metrics.score(scores, truth)
    assert found.ap > 0.97
    assert found.top1 > 0.95


def at_chance(found, baseline):
    """The interval of a mean over draws, so wide that it misses once in a thousand; and it is narrow."""
    found = np.asarray(found)
    low, high = student.interval(0.999, len(found) - 1, found.mean(), found.std(ddof=1) / len(found) ** 0.5)
    assert low < baseline < high
    assert high - low < 0.25 * baseline


@pytest.mark.parametrize("attack", linkability.IDENTIFY)
def test_identical_users_are_guessed_at_chance(attack, hasty):
    """Against the same scores with the truth shuffled, which have as many ties."""
    times, drawn = [], torch.Generator().manual_seed(0)
    for seed in range(50):
        known, owner, asked, truth = halves(8, apart=0.0, seed=seed)
        scores = linkability.identify(known, owner, asked, attack=attack, seed=seed)
        shuffled = [truth[torch.randperm(len(truth), generator=drawn)] for _ in range(50)]
        own, *chance = (metrics.average_precision(scores, each).mean().item() for each in (truth, *shuffled))
        times.append(own / np.mean(chance))
    at_chance(times, 1.0)


def test_the_more_users_differ_the_better_they_are_recognised(short):
    found = []
    for apart in (0.05, 0.2, 1.0):
        known, owner, asked, truth = halves(6, apart=apart)
        found.append(metrics.score(linkability.identify(known, owner, asked), truth).ap)
    assert found == sorted(found)
    assert found[2] - found[0] > 0.3


def test_two_of_the_attacks_are_scikit_learns():
    known, owner, asked, _ = halves(6, spread=1.0)
    nearest = KNeighborsClassifier(10).fit(known, owner).predict_proba(asked)
    assert torch.equal(
        linkability.identify(known, owner, asked, attack="knn").double(), torch.tensor(nearest).float().double()
    )
    machine = LinearSVC(random_state=0).fit(known, owner).decision_function(asked)
    found = linkability.identify(known, owner, asked, attack="svm").numpy()
    assert np.allclose(found, machine, atol=0.02)
    assert (found.argmax(1) == machine.argmax(1)).mean() > 0.95


def test_of_two_users_a_linear_machine_has_one_line_and_two_columns():
    known, owner, asked, _ = halves(2, spread=1.0)
    found = linkability.identify(known, owner, asked, attack="svm")
    machine = LinearSVC(random_state=0).fit(known, owner)
    assert torch.equal(found[:, 0], -found[:, 1])
    assert torch.equal(found.argmax(1), torch.tensor(machine.predict(asked)))


def test_with_fewer_updates_than_neighbours_all_are_asked():
    known, owner, asked, _ = halves(2, each=2)
    found = linkability.identify(known, owner, asked, attack="knn")
    assert torch.equal(found, torch.full((4, 2), 0.5))


def test_the_network_is_the_papers(monkeypatch):
    """128 neurons, ReLU, dropout of 0.2, SGD of 0.01 with momentum 0.9 and a decay of 1e-6; log probabilities."""
    seen, steps = [], []
    inner = linkability._train

    def train(network, loss, step, count, total, *rest):
        seen.append((network, step, total))
        steps.append(rest)
        inner(network, loss, step, count, 2, *rest)

    monkeypatch.setattr(linkability, "_train", train)
    known, owner, asked, _ = halves(3)
    made = linkability.mlp(known, owner)(asked)
    assert torch.allclose(made.exp().sum(1), torch.ones(len(asked)))
    network, step, total = seen[0]
    assert [type(layer).__name__ for layer in network] == ["Linear", "ReLU", "Dropout", "Linear"]
    assert (network[0].in_features, network[0].out_features, network[2].p) == (WIDTH, 128, 0.2)
    assert (type(step), step.defaults["momentum"], step.defaults["lr"]) == (torch.optim.SGD, 0.9, 0.01)
    assert total == max(300 * -(-len(known) // 32), 3000)
    assert step.param_groups[0]["lr"] == pytest.approx(0.01 / (1 + 2e-6))
    assert not made.requires_grad


@pytest.mark.parametrize("attack", linkability.IDENTIFY)
def test_the_same_seed_gives_the_same_scores_and_nothing_is_left_behind(attack, quick):
    known, owner, asked, _ = halves(4)
    torch.manual_seed(1)
    state = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    first = linkability.identify(known, owner, asked, attack=attack, seed=3)
    torch.manual_seed(2)
    assert torch.equal(first, linkability.identify(known, owner, asked, attack=attack, seed=3))
    if attack in ("chance", "mlp"):
        assert not torch.equal(first, linkability.identify(known, owner, asked, attack=attack, seed=4))
    torch.manual_seed(1)
    linkability.identify(known, owner, asked, attack=attack, seed=3)
    now = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    assert torch.equal(state[0], now[0])
    assert state[1:] == now[1:]


@pytest.mark.parametrize("attack", linkability.IDENTIFY)
def test_users_are_asked_one_by_one_whatever_is_asked_beside(attack, quick):
    known, owner, asked, _ = halves(4)
    if attack != "chance":
        whole = linkability.identify(known, owner, asked, attack=attack)
        assert torch.allclose(whole[:3], linkability.identify(known, owner, asked[:3], attack=attack), atol=1e-6)
    double = linkability.identify(known.double(), owner, asked.double(), attack=attack)
    assert double.dtype == torch.float64


KNOWN, OWNER, ASKED, _ = halves(3)


def wrong(change):
    rows = KNOWN.clone()
    rows[3, 2] = change
    return rows


@pytest.mark.parametrize("attack", linkability.IDENTIFY)
@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"known": wrong(torch.nan)}, ValueError, r"known are \(24, 12\); give finite updates"),
        ({"known": wrong(torch.inf)}, ValueError, "give finite updates"),
        ({"asked": ASKED * torch.nan}, ValueError, r"asked are \(24, 12\); give finite"),
        ({"users": 2 * OWNER}, ValueError, "users are 3 of 5 numbers; give two or more, from 0 without gaps"),
        ({"users": OWNER + 1}, ValueError, "users are 3 of 4 numbers"),
        ({"users": 0 * OWNER}, ValueError, "users are 1 of 1 numbers; give two or more"),
        ({"users": OWNER - 1}, ValueError, "negative"),
        ({"users": OWNER[:5]}, ValueError, "users holds 5 labels for 24"),
        ({"users": OWNER.float()}, TypeError, "users is torch"),
        ({"users": OWNER.int()}, TypeError, "users is torch"),
        ({"known": KNOWN.long()}, TypeError, r"known are torch\.int64; give floats"),
        ({"asked": ASKED.long()}, TypeError, r"asked are torch\.int64; give floats"),
        ({"asked": ASKED[:, :5]}, ValueError, "known updates have 12 numbers and those asked about 5"),
        ({"known": KNOWN[:0], "users": OWNER[:0]}, ValueError, r"known are \(0, 12\)"),
        ({"asked": ASKED[:0]}, ValueError, r"asked are \(0, 12\)"),
        ({"known": KNOWN[0]}, ValueError, r"known are \(12,\)"),
        ({"attack": "guess"}, ValueError, "attack='guess' is not known; choose one of chance, svm, knn, mlp"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_words(given, error, words, attack):
    given = {"known": KNOWN, "users": OWNER, "asked": ASKED, "attack": attack} | given
    with pytest.raises(error, match=words):
        linkability.identify(given.pop("known"), given.pop("users"), given.pop("asked"), **given)


# --- matching -------------------------------------------------------------------------------------------------------


def test_pairs_are_balanced_of_different_clients_and_never_twice():
    _, owner, clients = updates(5, each=4)
    order = torch.randperm(len(owner), generator=torch.Generator().manual_seed(0))
    owner, clients = owner[order], clients[order]
    first, second, same = linkability.pairs(owner, clients, 30, seed=1)
    assert len(first) == len(second) == len(same) == 60
    assert (same.dtype, int(same.sum())) == (torch.bool, 30)
    assert torch.equal(same, owner[first] == owner[second])
    assert (clients[first] != clients[second]).all()
    assert len({frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)}) == 60
    again, other = (linkability.pairs(owner, clients, 30, seed=seed)[0] for seed in (1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_where_there_are_fewer_pairs_of_a_kind_there_are_as_many_of_both():
    """Five users with four updates on each of two devices: 5 x 16 pairs of one user from different devices."""
    _, owner, clients = updates(5, each=4)
    first, second, same = linkability.pairs(owner, clients, 10**6)
    assert (len(same), int(same.sum())) == (160, 80)
    wanted = {(i, j) for i in range(40) for j in range(i) if owner[i] == owner[j] and clients[i] != clients[j]}
    found = {(max(p), min(p)) for p in zip(first[same].tolist(), second[same].tolist(), strict=True)}
    assert found == wanted


@pytest.mark.parametrize(
    ("users", "clients", "count", "words"),
    [
        (torch.tensor([0, 0, 1]), torch.tensor([0, 0, 1]), 3, "no pairs of both kinds"),
        (torch.tensor([0, 0]), torch.tensor([0, 1]), 3, "give two clients a user or more"),
        (torch.tensor([0]), torch.tensor([0]), 3, "no pairs of both kinds"),
        (torch.tensor([0, 1]), torch.tensor([0, 1, 2]), 3, "clients holds 3 labels for 2"),
        (torch.tensor([0, 1]), torch.tensor([0, 1]), 0, "count=0"),
    ],
)
def test_where_there_are_no_pairs_it_is_said(users, clients, count, words):
    with pytest.raises(ValueError, match=words):
        linkability.pairs(users, clients, count)


def matched(attack, apart, seed=0, users=30, traits=3):
    """Average precision of pairs of second devices; the Siamese network is trained on both devices of other users."""
    rows, owner, clients = updates(users, 6, 0.1, seed, apart, traits)
    held = owner < 2 * users // 3 if attack == "siamese" else clients % 2 == 0
    asked = ~held if attack == "siamese" else torch.ones_like(held)
    first, second, same = linkability.pairs(owner[asked], clients[asked], 100, seed=seed)
    one, other = rows[asked][first], rows[asked][second]
    scores = linkability.match(rows[held], owner[held], clients[held], one, other, attack=attack, seed=seed)
    assert scores.shape == same.shape
    return metrics.matching_precision(scores, same)


@pytest.mark.parametrize(("attack", "least"), [("cosine", 0.9), ("mlp", 0.9), ("siamese", 0.9)])
def test_updates_of_one_user_are_matched(attack, least, short):
    """The Siamese network has not seen the users that it is asked about."""
    assert matched(attack, 1.0) > least


@pytest.mark.parametrize("attack", linkability.MATCH)
def test_updates_of_identical_users_are_matched_at_chance(attack, hasty):
    at_chance([matched(attack, 0.0, seed) for seed in range(10)], 0.5)


def test_chance_matches_nothing():
    at_chance([matched("chance", 1.0, seed) for seed in range(20)], 0.5)


def test_cosine_is_the_cosine_and_needs_nobody():
    first, second = torch.randn(5, WIDTH), torch.randn(5, WIDTH)
    nobody = torch.zeros(0, WIDTH), torch.zeros(0).long(), torch.zeros(0).long()
    found = linkability.match(*nobody, first, second, attack="cosine")
    for score, one, other in zip(found, first, second, strict=True):
        assert score.item() == pytest.approx((one @ other / one.norm() / other.norm()).item(), abs=1e-6)


def test_the_network_matches_by_its_largest_product(quick):
    known, owner, asked, _ = halves(4)
    found = linkability.match(known, owner, owner, asked[:6], asked[6:12], attack="mlp", seed=2)
    said = linkability.mlp(known, owner, seed=2)(asked[:12]).exp()
    assert torch.allclose(found.exp(), (said[:6] * said[6:]).max(1).values, atol=1e-6)


def test_the_siamese_network_does_not_care_which_comes_first(quick):
    rows, owner, clients = updates(3, each=3)
    made = linkability.siamese(rows, owner, clients)
    assert torch.allclose(made(rows[:5], rows[5:10]), made(rows[5:10], rows[:5]), atol=1e-6)
    assert len(made(rows[:5], rows[5:10]).shape) == 1


@pytest.mark.parametrize("attack", linkability.MATCH)
@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"first": ASKED[:3], "second": ASKED[:4]}, ValueError, r"first is \(3, 12\) and second \(4, 12\); give pairs"),
        ({"first": ASKED[:3] * torch.nan}, ValueError, "pairs are .*give finite"),
        ({"first": ASKED[0], "second": ASKED[1]}, ValueError, r"pairs are \(24,\)"),
        ({"first": ASKED[:3].long(), "second": ASKED[:3].long()}, TypeError, "give floats"),
        ({"attack": "guess"}, ValueError, "attack='guess' is not known; choose one of chance, cosine, mlp, siamese"),
    ],
)  # fmt: skip
def test_pairs_that_do_not_fit_are_refused_in_words(given, error, words, attack):
    given = {"first": ASKED[:3], "second": ASKED[3:6], "attack": attack} | given
    with pytest.raises(error, match=words):
        linkability.match(KNOWN, OWNER, OWNER, given.pop("first"), given.pop("second"), **given)


@pytest.mark.parametrize("attack", ["mlp", "siamese"])
@pytest.mark.parametrize(
    ("known", "words"), [(wrong(torch.nan), "known are .*give finite"), (KNOWN[:, :4], "known updates have 4 numbers")]
)
def test_observed_updates_that_do_not_fit_are_refused_in_words(known, words, attack):
    with pytest.raises(ValueError, match=words):
        linkability.match(known, OWNER, OWNER, ASKED[:3], ASKED[3:6], attack=attack)
    with pytest.raises(ValueError, match="no pairs of both kinds"):
        linkability.match(KNOWN, OWNER, OWNER, ASKED[:3], ASKED[3:6], attack="siamese")


def test_the_four_threats_have_one_attack():
    assert [threat.source[-4:] for threat in linkability.THREATS] == ["(T1)", "(T2)", "(T3)", "(T4)"]
    assert {(threat.reads, threat.access) for threat in linkability.THREATS} == {("update", "white-box")}
