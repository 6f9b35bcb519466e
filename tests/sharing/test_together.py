"""Many small clients at once: as the loop of one after the other, to rounding, or an error in words."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from privlab import models
from privlab.sharing import federated, together
from privlab.sharing.federated import Client

HOW = {"epochs": 1, "batch": 8, "lr": 0.1}


def clients(*counts, shape=(1, 12), classes=4, labels="classes", seed=0):
    """Clients with so many random examples each."""
    drawn = torch.Generator().manual_seed(seed)
    made = []
    for count in counts:
        images = torch.rand(count, *shape, generator=drawn)
        wanted = {
            "classes": lambda n: torch.randint(classes, (n,), generator=drawn),
            "several": lambda n: torch.randint(2, (n, classes), generator=drawn),
            "soft": lambda n: torch.rand(n, classes, generator=drawn, dtype=torch.float64).softmax(1),
        }[labels](count)
        made.append(Client(images, wanted))
    return made


def head(shape=(1, 12), classes=4, widths=(7,)):
    return models.fully_connected(shape, classes, widths=widths, seed=3)


def one_by_one(model, some, random, **how):
    return [federated.local_update(model, each, random=random, **how) for each in some]


def same(model, some, **changes):
    """Both ways from the same generator, which both leave in the same state."""
    how, draws = HOW | changes, [torch.Generator().manual_seed(5) for _ in range(2)]
    found = together.local_updates(model, some, random=draws[0], **how)
    wanted = one_by_one(model, some, draws[1], **how)
    assert len(found) == len(wanted) == len(some)
    for mine, theirs in zip(found, wanted, strict=True):
        assert set(mine) == set(theirs)
        assert not mine.buffers
        for name, each in theirs.items():
            assert mine[name].shape == each.shape
            torch.testing.assert_close(mine[name], each, rtol=1e-4, atol=1e-6)
    assert torch.equal(draws[0].get_state(), draws[1].get_state())
    return found


@pytest.mark.parametrize("counts", [(24, 24, 24), (3, 30, 8, 9, 1, 16), (5,), (1,), (1, 1)], ids=str)
@pytest.mark.parametrize("how", [{}, {"epochs": 3}, {"batch": 1}, {"batch": 1000}, {"lr": 1.5, "epochs": 2}], ids=str)
def test_clients_at_once_are_the_loop_of_one_after_the_other(counts, how):
    found = same(head(), clients(*counts), **how)
    assert all(each.abs().max() > 0 for update in found for each in update.values())


def test_clients_beyond_the_number_side_by_side_are_trained_too(monkeypatch):
    monkeypatch.setattr(together, "_AT_ONCE", 3)
    same(head(), clients(4, 20, 1, 9, 12, 30, 2))


def frozen():
    model = head(widths=(7, 5))
    model.fc1.requires_grad_(False)
    return model


def tied():
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 4))
    model[3].weight = model[1].weight
    return model


def changed(how):
    """Dense layers of which one does something of its own."""
    model = head()
    if how == "forward":
        model.relu1.forward = lambda values: values.abs()
    elif how == "hook":
        model.fc1.register_forward_hook(lambda _layer, _given, made: 2 * made)
    elif how == "pre-hook":
        model.output.register_forward_pre_hook(lambda _layer, given: (given[0] - 1,))
    elif how == "leaky":
        model.relu1 = nn.LeakyReLU()
    elif how == "in place":
        model.relu1 = nn.ReLU(inplace=True)
    else:
        model.output = nn.Linear(7, 4, bias=False)
    return model


class Branches(nn.Module):
    """A head that the answer does not use, and a weight that is in no layer."""

    def __init__(self):
        super().__init__()
        self.unused, self.answer = nn.Linear(12, 2), nn.Linear(12, 4)
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, images):
        return self.answer(images.flatten(1)) * self.scale


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (frozen, (1, 12)),
        (tied, (1, 12)),
        *((lambda how=how: changed(how), (1, 12)) for how in ("forward", "hook", "pre-hook", "leaky", "in place", "")),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), (1, 12)),
        (Branches, (1, 12)),
        (lambda: models.mobile((1, 9, 9), 4, width=4, neurons=6), (1, 9, 9)),
        (lambda: models.mobile((2, 40), 4, width=4, neurons=6), (2, 40)),
        (lambda: models.lenet((3, 12, 12), 4, filters=(4, 4)), (3, 12, 12)),
        (lambda: head().double(), (1, 12)),
        (lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Linear(12, 4)).eval(), (1, 12)),
        (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(100, 4)), (1, 7, 7)),
    ],
    ids=[
        "frozen",
        "tied",
        "forward",
        "hook",
        "pre-hook",
        "leaky",
        "in place",
        "no bias",
        "one layer",
        "branches",
        "images",
        "signals",
        "lenet",
        "double",
        "batch norm in eval mode",
        "group norm",
    ],
)
def test_networks_of_many_kinds(make, shape):
    model = make()
    some = clients(9, 3, 20, shape=shape)
    kind = next(model.parameters()).dtype
    found = same(model, [Client(each.images.to(kind), each.labels) for each in some], epochs=2)
    trained = {name for name, each in model.named_parameters() if each.requires_grad and "unused" not in name}
    assert set(found[0]) == trained


def test_dense_layers_by_hand_are_those_of_autograd(monkeypatch):
    """Both ways to step are the loop's; by hand they are taken where they may."""
    taken, model = [], head(widths=(7, 6))
    inner = together._dense_step
    monkeypatch.setattr(together, "_dense_step", lambda *given: taken.append(inner(*given)) or taken[-1])
    same(model, clients(9, 3, 20), epochs=2)
    for other in (*map(changed, ("forward", "hook", "pre-hook", "leaky", "")), frozen(), tied(), Branches()):
        assert inner(other, 0.1) is None
    assert taken[0] is not None
    monkeypatch.setattr(together, "_dense_step", lambda *_: None)
    same(model, clients(9, 3, 20), epochs=2)


def hinge(logits, labels):
    """A loss of one's own, the mean over examples."""
    own = logits.gather(1, labels[:, None])
    return (logits - own + 1).relu().mean()


@pytest.mark.parametrize(
    ("labels", "loss"),
    [
        ("several", federated.binary_cross_entropy),
        ("soft", federated.cross_entropy),
        ("classes", hinge),
        ("classes", lambda logits, labels: F.cross_entropy(logits, labels, label_smoothing=0.1)),
    ],
    ids=["several labels", "soft labels", "hinge", "smoothed"],
)
def test_losses_of_many_kinds(labels, loss):
    same(head(), clients(9, 3, 20, labels=labels), loss=loss, epochs=2)


def test_one_logit_and_yes_or_no():
    same(head(classes=1), clients(9, 3, classes=2), loss=federated.binary_cross_entropy)


def test_a_training_that_diverges_does_so_for_its_client_alone():
    """Its images are a hundred times as bright as one's may be; the others' updates are as without it."""
    calm = clients(9, 12)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4, bias=False))

    def quartic(logits, labels):
        return (logits - F.one_hot(labels, 4)).pow(4).mean()

    loud = Client(torch.ones(40, 1, 12), torch.zeros(40).long())
    object.__setattr__(loud, "images", loud.images * 100)
    found = same_but_wild(model, [calm[0], loud, calm[1]], quartic)
    assert not found[1]["1.weight"].isfinite().all()
    assert all(found[i]["1.weight"].isfinite().all() for i in (0, 2))


def same_but_wild(model, some, loss):
    found = together.local_updates(model, some, **HOW, random=torch.Generator().manual_seed(5), loss=loss)
    wanted = one_by_one(model, some, torch.Generator().manual_seed(5), **HOW, loss=loss)
    for place in (0, 2):
        torch.testing.assert_close(found[place]["1.weight"], wanted[place]["1.weight"])
    assert not wanted[1]["1.weight"].isfinite().all()
    return found


def test_who_is_done_is_not_asked_again():
    """After its last step a client's weights are so large that one more loss, of no weight, would be infinite."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 4, bias=False))

    def steep(logits, labels):
        return (logits.sum(1) * 1e30).pow(2).mean() * 1e-38

    short, long = clients(8, 24)
    how = {**HOW, "lr": 1e9}
    found = together.local_updates(model, [short, long], **how, random=torch.Generator().manual_seed(5), loss=steep)
    wanted = one_by_one(model, [short, long], torch.Generator().manual_seed(5), **how, loss=steep)
    assert [each["1.weight"].isfinite().all() for each in found] == [
        each["1.weight"].isfinite().all() for each in wanted
    ]


@pytest.mark.parametrize("fraction", [1.0, 0.3])
def test_fed_avg_with_it_is_fed_avg_without(fraction):
    some, model = clients(4, 9, 30, 1, 16, 12, 7, 8, 20, 5), head()
    heard = {}
    for train in (None, together.local_updates):
        log = heard[train] = []
        how = {"rounds": 4, "fraction": fraction, "seed": 7, "listen": lambda *each, log=log: log.append(each)}
        log.append(federated.fed_avg(model, some, **HOW, **how, train=train))
    slow, fast = heard.values()
    assert [each[:2] for each in slow[:-1]] == [each[:2] for each in fast[:-1]]
    assert len(slow) == 1 + 4 * round(10 * fraction)
    for one, other in zip(slow[:-1], fast[:-1], strict=True):
        for name, each in one[2].items():
            torch.testing.assert_close(other[2][name], each, rtol=1e-3, atol=1e-6)
    for one, other in zip(slow[-1].parameters(), fast[-1].parameters(), strict=True):
        torch.testing.assert_close(other, one, rtol=1e-3, atol=1e-6)


def test_fractions_are_drawn_anew_in_each_round_and_nobody_twice():
    some, heard = clients(*[4] * 10), []
    how = {"rounds": 30, "fraction": 0.3, "train": together.local_updates}
    federated.fed_avg(head(), some, **HOW, **how, listen=lambda number, client, _: heard.append((number, client)))
    rounds = [sorted(client for at, client in heard if at == number) for number in range(30)]
    assert all(len(set(each)) == 3 for each in rounds)
    assert len(set(map(tuple, rounds))) > 15
    assert {client for _, client in heard} == set(range(10))
    alone = []
    federated.fed_avg(head(), some, **HOW, rounds=2, fraction=0.01, listen=lambda *each: alone.append(each))
    assert len(alone) == 2  # one at least


def test_nothing_is_left_behind():
    model, some = models.mobile((1, 9, 9), 4, width=4, neurons=6), clients(5, 9, shape=(1, 9, 9))
    weights = [each.clone() for each in model.parameters()]
    images = [each.images.clone() for each in some]

    def states():
        return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002

    before = states()
    with torch.no_grad():  # whoever asks may have switched gradients off
        together.local_updates(model, some, **HOW, random=torch.Generator().manual_seed(0))
    assert states() == before
    assert all(torch.equal(old, new) and new.grad is None for old, new in zip(weights, model.parameters(), strict=True))
    assert all(torch.equal(old, each.images) for old, each in zip(images, some, strict=True))


class Drops(nn.Module):
    """Dropout by a function, so seldom that two passes rarely differ."""

    def __init__(self, share):
        super().__init__()
        self.share, self.answer = share, nn.Linear(12, 4)

    def forward(self, images):
        return self.answer(F.dropout(images.flatten(1), self.share, True))


def hooked():
    model = head()
    model.fc1.weight.register_hook(lambda slope: slope * 0)
    return model


def normed(**options):
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12, **options), nn.Linear(12, 4)).train()


def of_the_batch():
    """BatchNorm without averages of its own, which takes a single image too."""
    norm = nn.BatchNorm2d(1, track_running_stats=False)
    return nn.Sequential(nn.Unflatten(1, (1, 1)), norm, nn.Flatten(), nn.Linear(12, 4)).train()


def before(model):
    model.fc1.register_full_backward_pre_hook(lambda _layer, slopes: (slopes[0] * 2,))
    return model


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 9), nn.Dropout(0.5), nn.Linear(9, 4)).train(), "draws .*dropout"),
        (Drops(0.5), "draws while it trains .*one after the other"),
        (Drops(1e-7), "cannot stand side by side .*random"),
        (normed(), r"counts while it trains \(BatchNorm\); train its clients one after the other"),
        (normed(track_running_stats=False), "more than 1 value|depends on those beside it"),
        (of_the_batch(), "depends on those beside it"),
        (before(head()), "hooks on slopes"),
        (hooked(), "hooks on slopes"),
        (head().requires_grad_(False), "all are frozen"),
        (head(shape=(1, 9)), "do not pass through the model"),
        (head(classes=3), "labels hold the class 3, and the model has 3 logits"),
    ],
)
def test_a_network_that_clients_cannot_have_side_by_side_is_refused(model, words):
    with pytest.raises(ValueError, match=words):
        together.local_updates(model, clients(9, 20), **HOW, random=torch.Generator())


def several(some):
    return Client(some.images, F.one_hot(some.labels, 4))


@pytest.mark.parametrize(
    ("some", "how", "words"),
    [
        ([], {}, "there are no clients"),
        ([*clients(3), *clients(3, shape=(1, 13))], {}, "examples have 2 forms"),
        ([clients(3)[0], several(clients(3)[0])], {}, "examples have 2 forms"),
        ([*clients(3, labels="several"), *clients(3, labels="soft")], {}, "examples have 2 forms"),
        (clients(3), {"epochs": 0}, "epochs=0"),
        (clients(3), {"batch": 0}, "batch=0"),
        (clients(3), {"lr": 0.0}, "lr=0"),
        (clients(3), {"loss": lambda x, y: F.cross_entropy(x, y, reduction="sum")}, "not the mean over examples"),
        (clients(3), {"loss": lambda x, y: F.cross_entropy(x, y, reduction="none")}, r"the loss gives \(3,\)"),
        (clients(3), {"loss": lambda x, y: F.cross_entropy(x, y) * (1 if y.sum().item() > 0 else 2)}, "side by side"),
        (clients(3, classes=5)[:0] + clients(40, classes=5), {}, "class 4, and the model has 4 logits"),
    ],
)
def test_clients_and_settings_that_do_not_fit_are_refused_in_words(some, how, words):
    with pytest.raises(ValueError, match=words):
        together.local_updates(head(), some, **{**HOW, **how}, random=torch.Generator())


@pytest.mark.parametrize("size", [1e3, 1e5, 1e8])
def test_a_network_that_noise_blew_up_is_trained_side_by_side_all_the_same(size):
    """Where large numbers cancel, another batch is rounded otherwise: no sign that a network draws."""
    model = models.fully_connected((1, 256), 20_000, widths=(256,), seed=3)
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for each in model.parameters():
            each += size * torch.randn(each.shape, generator=random)
    some = clients(9, 20, 20, shape=(1, 256), classes=20_000)
    found = together.local_updates(model, some, **HOW, random=torch.Generator().manual_seed(0))
    assert len(found) == len(some)
