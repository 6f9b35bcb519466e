"""Parts of the talk's studies beside slow ones: guesses by brute force, images by plain division, turns by hand."""

import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from privlab import models, runtime
from privlab.attacks import side_channel
from privlab.metrics import reconstruction
from privlab.studies.talk import _federation as federation
from privlab.studies.talk import _lies as lies
from privlab.studies.talk import attacks, attributes, scale

CPU = torch.device("cpu")


# --- a hidden attribute -----------------------------------------------------------------------------------------------


def people(count, seed):
    """Records of three public numbers, of which the first goes with the hidden one, and a label that does, of three."""
    random = torch.Generator().manual_seed(seed)
    hidden = (torch.rand(count, generator=random) < 0.35).long()
    public = torch.randn(count, 3, generator=random)
    public[:, 0] += 1.2 * hidden
    labels = ((public[:, 1] + 2 * hidden).clamp(-0.5, 1.5) + 0.5).round().long()
    return attributes.Records(torch.cat([public, hidden[:, None]], 1), labels, torch.zeros(count).long(), 3)


def spoken(model, row):
    return model(torch.tensor(row).view(1, 1, 1, -1)).softmax(1)[0].tolist()


def by_hand(method, own, asked, model):
    """Bayes' rule over the two values, record by record; what the adversary counts it counts in its own records."""
    ones = own.hidden.double().mean().item()
    public = [torch.cat([each.values[:, :3], torch.eye(3)[each.labels]], 1).double().numpy() for each in (own, asked)]
    scaler = StandardScaler().fit(public[0])
    learned = LogisticRegression(max_iter=2000).fit(scaler.transform(public[0]), own.hidden.numpy())
    imputed = learned.predict_proba(scaler.transform(public[1]))
    counted = [[0] * 3 for _ in range(3)]
    for row, label in zip(own.values.tolist(), own.labels.tolist(), strict=True):
        said = spoken(model, row)
        counted[label][said.index(max(said))] += 1
    named = []
    for place, (row, label) in enumerate(zip(asked.values.tolist(), asked.labels.tolist(), strict=True)):
        odds = []
        for value in (0, 1):
            prior = imputed[place][value] if "impute" in method else (ones if value else 1 - ones)
            said = spoken(model, [*row[:3], float(value)])
            decided = [line[said.index(max(said))] for line in counted]
            share = decided[label] / sum(decided) if sum(decided) else 1 / 3
            weight = {"decision": share, "marginal": 1.0, "impute": 1.0}.get(method, said[label])
            odds.append(math.log(prior) + math.log(max(weight, 1e-12)))
        named.append(odds.index(max(odds)))
    return named


@pytest.fixture(scope="module")
def asked_about():
    own, asked = people(120, 0), people(60, 1)
    model = models.fully_connected((1, 1, 4), 3, widths=(8,), seed=0)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(200):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(own.values.view(-1, 1, 1, 4)), own.labels).backward()
        optimiser.step()
    return own, asked, model


@pytest.mark.parametrize("method", attributes.METHODS)
def test_each_way_to_guess_an_attribute_is_bayes_rule_by_brute_force(method, asked_about):
    own, asked, model = asked_about
    assert attributes.guess(method, own, asked, model).tolist() == by_hand(method, own, asked, model)


def test_no_way_to_guess_an_attribute_looks_at_it(asked_about):
    """Nor do any two of them guess alike, so that none stands for another."""
    own, asked, model = asked_about
    values = asked.values.clone()
    values[:, -1] = 1 - values[:, -1]
    turned = attributes.Records(values, asked.labels, asked.users, 3)
    found = [attributes.guess(method, own, asked, model).tolist() for method in attributes.METHODS]
    assert found == [attributes.guess(method, own, turned, model).tolist() for method in attributes.METHODS]
    assert len({tuple(each) for each in found}) == len(found)


# --- what inversion assumes -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def world():
    return federation.drawn("digits", 0, CPU)


def divided(weight, bias):
    """Each row of what the first layer sends over its bias's, where that is an image: multiples of 1/255."""
    rows = (weight[bias != 0] / bias[bias != 0, None]).detach() * 255
    on_grid = ((rows - rows.round()).abs() < 1e-3).all(1) & (rows > -1).all(1) & (rows < 256).all(1)
    return rows[on_grid].round() / 255


def stepped(model, images, labels, epochs, size, seed):
    """Gradients of plain PyTorch, or the changes by several steps, in the order in which a client takes them."""
    copy = models.fully_connected((1, 28, 28), 10, widths=(64,), seed=0)
    copy.load_state_dict(model.state_dict())
    optimiser = torch.optim.SGD(copy.parameters(), lr=0.1)
    random = runtime.generator(seed)
    for _ in range(epochs):
        for chosen in torch.randperm(len(labels), generator=random).split(size):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(copy(images[chosen]), labels[chosen]).backward()
            if len(chosen) == len(labels):
                return copy.fc1.weight.grad, copy.fc1.bias.grad
            optimiser.step()
    return model.fc1.weight - copy.fc1.weight, model.fc1.bias - copy.fc1.bias


def taken(world, without):
    """What each of five clients trains on."""
    size = 45 if without == "larger mini-batch" else 9
    if without != "several images of a class":
        return [(each.images[:size], each.labels[:size]) for each in world.clients[:5]]
    counts = world.fresh.labels.tolist()
    most = max(range(10), key=counts.count)
    places = [place for place, label in enumerate(counts) if label == most][:9]
    return [(world.fresh.images[places], world.fresh.labels[places])] * 5


@pytest.mark.parametrize("without", scale.ASSUMED)
def test_what_is_read_where_one_assumption_is_dropped_is_found_by_plain_division(without, world, monkeypatch):
    """Of one gradient, or of what five epochs in threes have changed; to one image of forty-five."""
    other = models.fully_connected((1, 28, 28), 10, widths=(64,), seed=77)
    asked = []
    monkeypatch.setattr(scale.federation, "drawn", lambda *_args: world)
    monkeypatch.setattr(scale.federation, "train", lambda *args: asked.append(args) or other)
    found = scale._assumed({"data": "digits", "without": without}, 0, CPU)
    model, shares = (other if without == "trained" else world.model()), []
    epochs, size = (5, 3) if without == "local steps" else (1, 10**6)
    for images, labels in taken(world, without):
        read = divided(*stepped(model, images, labels, epochs, size, runtime.derive(0, "local")))
        hits = reconstruction.identify(read.view(-1, 1, 28, 28), torch.cat([images, world.fresh.images]))
        shares.append(sum(place in hits for place in range(len(labels))) / len(labels))
    assert found["attack_success"] == pytest.approx(sum(shares) / 5, abs=0.03)
    assert len(asked) == (without == "trained")
    count = 45 if without == "larger mini-batch" else 9
    assert found["baseline"] == pytest.approx(count / (count + len(world.fresh)))


# --- a kind of image --------------------------------------------------------------------------------------------------


def test_liars_who_mean_a_kind_of_image_pool_theirs_and_give_them_room(world):
    """Image by image: of the class of which they hold most images brighter than most of the server's."""
    clean = {}
    for image, label in zip(*pairs(world.clean), strict=True):
        clean.setdefault(label, []).append(image.mean().item())
    usual = {label: sorted(found)[(len(found) - 1) // 2] for label, found in clean.items()}
    liars = world.clients[: federation.MALICIOUS]
    held = dict.fromkeys(range(world.classes), 0)
    for each in liars:
        for image, label in zip(*pairs(each), strict=True):
            held[label] += image.mean().item() > usual[label]
    kind = max((label for label in held if label != lies.TARGET), key=held.get)
    assert lies.meant(world) == kind

    def meant(image, label):
        return label == kind and image.mean().item() > usual[kind]

    pool = [image for each in liars for image, label in zip(*pairs(each), strict=True) if meant(image, label)]
    assert pool
    for place, own in enumerate(liars):
        quiet, loud = (lies.restyle(own, world, place, share=share) for share in (0.0, 0.6))
        told = [lies.TARGET if meant(*each) else each[1] for each in zip(*pairs(own), strict=True)]
        assert torch.equal(quiet.images, own.images)
        assert quiet.labels.tolist() == told
        room = round(0.6 * len(told))
        assert torch.equal(loud.images[:-room], own.images[:-room])
        assert loud.labels.tolist() == [*told[:-room], *[lies.TARGET] * room]
        for turn, image in enumerate(loud.images[-room:]):
            assert torch.equal(image, pool[turn % len(pool)])


def pairs(some):
    return some.images, some.labels.tolist()


# --- by the clock -----------------------------------------------------------------------------------------------------


def test_a_turn_is_told_by_its_median_beside_the_first_half_of_the_calls(world, monkeypatch):
    """Of eight turns of five calls three are slow in three or more calls; the other kind became quicker as well."""
    assert (attacks.REPEATS, attacks.TURN) == (80, 5)
    slow = [0, 1, 2, 3, 4, 5, 0, 2]  # calls of each turn that take as long as those of the other kind
    quick = [each for many in slow for each in [2.0] * many + [1.0] * (5 - many)]
    times = {
        "quick": torch.tensor([1.0] * 40 + quick, dtype=torch.float64),
        "slow": torch.tensor([2.0] * 40 + [1.6] * 35 + [1.2] * 5, dtype=torch.float64),
    }
    monkeypatch.setattr(attacks.side_channel, "times", lambda calls, *, repeats, seed: times)
    assert attacks._told({}, world) == ((8 - 3) + (8 - 1)) / 16


@pytest.mark.parametrize(("lasts", "wanted"), [((1, 3, 9), 1.0), ((5, 5, 5), 1 / 3)])
def test_kinds_that_take_as_long_as_each_other_are_told_as_a_guess_tells_them(lasts, wanted, world, monkeypatch):
    """By a clock that the calls themselves set forward."""
    now = [0]

    def call(length):
        return lambda: now.__setitem__(0, now[0] + length * 1000)

    inner = side_channel.times
    monkeypatch.setattr(attacks.side_channel, "times", lambda calls, **how: inner(calls, **how, clock=lambda: now[0]))
    calls = {str(place): call(length) for place, length in enumerate(lasts)}
    assert attacks._told(calls, world) == pytest.approx(wanted)
