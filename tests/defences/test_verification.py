"""The trap set: it follows the shared model, scores by its loss on its own examples, and drops the worst."""

import contextlib

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from privlab import data, models
from privlab.attacks import poisoning
from privlab.defences import aggregation, verification
from privlab.sharing import federated, losses
from privlab.sharing.federated import Client
from privlab.sharing.messages import Update

DIGITS = data.load("digits")
TRAP = DIGITS[1000:1100]
CLIENTS = [Client(DIGITS.images[i : i + 40], DIGITS.labels[i : i + 40]) for i in range(0, 200, 40)]
HOW = {"batch": 10, "lr": 0.1}


def dense():
    return models.fully_connected(DIGITS.shape, 10, widths=(8,), seed=0)


def normed():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 10)).train()


def state(model):
    return {k: v.detach().clone() for k, v in [*model.named_parameters(), *model.named_buffers()]}


def same(one, other):
    return all(torch.equal(each, state(other)[name]) for name, each in state(one).items())


@pytest.mark.parametrize("build", [dense, normed])
def test_its_copy_is_the_shared_model_after_each_round(build):
    """Also where an update is dropped before it comes to the rule, and where a whole round is."""

    def protect(number, client, sent):
        if number == 2 or (number, client) == (1, 3):
            return Update({name: each / 0 for name, each in sent.items()}, sent.buffers)
        return sent

    for rounds in range(1, 5):
        trap = verification.TrapSet(build(), TRAP.images, TRAP.labels, keep=3)
        with pytest.warns(UserWarning, match="dropped") if rounds > 1 else contextlib.nullcontext():
            made = federated.fed_avg(build(), CLIENTS, rounds=rounds, **HOW, aggregate=trap, protect=protect)
        assert same(trap.model, made)
        assert [len(each) for each in trap.scores] == [5, 4, 5][: rounds - (rounds > 2)]


@pytest.mark.parametrize("build", [dense, normed])
def test_scores_are_how_far_each_lowered_the_loss_and_the_best_are_kept(build):
    """By plain autograd's own loss, of copies in eval mode."""
    model, kept = build(), []

    def rule(sent):
        kept.append(sent)
        return aggregation.mean(sent)

    trap = verification.TrapSet(model, TRAP.images, TRAP.labels, keep=2, rule=rule)
    random = torch.Generator().manual_seed(0)
    sent = [federated.local_update(model, each, epochs=1, **HOW, random=random) for each in CLIENTS]
    sent[1] = poisoning.scale([sent[1]], -3)
    before = state(model)

    def loss(update):
        own = build().eval()
        with torch.no_grad():
            for name, each in update.items():
                own.get_parameter(name).add_(each)
            for name, each in update.buffers.items():
                own.get_buffer(name).copy_(each)
            return F.cross_entropy(own(TRAP.images), TRAP.labels).item()

    trap(sent)
    wanted = [loss(Update({}, {})) - loss(each) for each in sent]
    assert trap.scores == [pytest.approx(wanted, abs=1e-5)]
    assert min(range(5), key=wanted.__getitem__) == 1
    best = sorted(range(5), key=lambda place: -wanted[place])[:2]
    assert [id(each) for each in kept[0]] == [id(sent[place]) for place in best]
    assert all(torch.equal(each, before[name]) for name, each in state(model).items()), "the given one stays"
    assert trap.model.training == model.training


@pytest.mark.parametrize("seed", range(3))
def test_it_drops_liars_of_whom_there_are_most(seed):
    """Three of five flip their signs, which no median bears: it is as if there were the other two alone."""
    blank = models.fully_connected(DIGITS.shape, 10, widths=(16,), seed=seed)
    how = {"rounds": 8, "epochs": 3, "batch": 10, "seed": seed}
    liars = poisoning.Colluders(CLIENTS[:3], lambda known: poisoning.scale(known, -1))
    trap = verification.TrapSet(blank, TRAP.images, TRAP.labels, keep=2)
    rules = trap, lambda sent: aggregation.mean(sent[3:]), aggregation.median
    made = [federated.fed_avg(blank, CLIENTS, **how, train=liars, aggregate=rule) for rule in rules]
    torch.testing.assert_close(state(made[0]), state(made[1]))
    test = data.load("digits", split="test")
    kept, fooled = (federated.accuracy(each, test.images, test.labels) for each in (made[0], made[2]))
    assert kept > fooled + 0.2


def test_an_update_that_blows_the_network_up_comes_last():
    huge = {name: torch.full_like(each, 1e30) for name, each in dense().named_parameters()}
    fine = {name: torch.zeros_like(each) for name, each in dense().named_parameters()}
    trap = verification.TrapSet(dense(), TRAP.images, TRAP.labels, keep=1)
    made = trap([Update(huge, {}), Update(fine, {})])
    assert all((each == 0).all() for each in made.values())


def test_of_a_network_that_has_blown_up_the_update_that_mends_it_is_taken():
    """Its loss is no number before, and less than infinite after."""
    broken = dense()
    with torch.no_grad():
        broken.output.weight.fill_(3e38)
    still = {name: torch.zeros_like(each) for name, each in broken.named_parameters()}
    mends = Update({**still, "output.weight": torch.full_like(broken.output.weight, -3e38)}, {})
    for sent in ([Update(still, {}), mends], [mends, Update(still, {})]):
        total = verification.TrapSet(broken, TRAP.images, TRAP.labels, keep=1)(sent)
        assert torch.equal(total["output.weight"], mends["output.weight"])


def test_what_becomes_of_the_given_network_does_not_matter():
    model, zeros = dense(), {name: torch.zeros_like(each) for name, each in dense().named_parameters()}
    trap = verification.TrapSet(model, TRAP.images, TRAP.labels, keep=1)
    with torch.no_grad():
        model.output.weight.add_(1.0)
    trap([Update(zeros, {})])
    assert same(trap.model, dense())


def test_the_loss_is_the_users():
    several = F.one_hot(TRAP.labels, 10)
    trap = verification.TrapSet(dense(), TRAP.images, several, keep=1, loss=losses.binary_cross_entropy)
    step = {name: 0.01 * torch.ones_like(each) for name, each in dense().named_parameters()}
    trap([Update(step, {})])
    moved = dense()
    with torch.no_grad():
        before = F.binary_cross_entropy_with_logits(moved(TRAP.images), several.float())
        for each in moved.parameters():
            each.add_(0.01)
        after = F.binary_cross_entropy_with_logits(moved(TRAP.images), several.float())
    assert trap.scores[0][0] == pytest.approx((before - after).item(), abs=1e-5)


@pytest.mark.parametrize(
    ("images", "labels", "keep", "words"),
    [
        (TRAP.images, TRAP.labels, 0, "keep=0 is out of range"),
        (TRAP.images, TRAP.labels, 1.0, "keep=1.0 is a float"),
        (TRAP.images, TRAP.labels[:-1], 1, "labels holds 99 labels for 100 images"),
        (TRAP.images * 255, TRAP.labels, 1, r"scale images to \[0, 1\]"),
        (TRAP.images / 0, TRAP.labels, 1, r"images has values in \[nan, nan\]"),
        (TRAP.images[:0], TRAP.labels[:0], 1, "with at least one image"),
        (TRAP.images.numpy(), TRAP.labels, 1, "give a torch tensor"),
    ],
)
def test_a_trap_set_that_is_none_is_refused(images, labels, keep, words):
    with pytest.raises((ValueError, TypeError), match=words):
        verification.TrapSet(dense(), images, labels, keep)


def test_more_to_keep_than_came_is_refused_and_so_are_tokens_for_images():
    trap = verification.TrapSet(dense(), TRAP.images, TRAP.labels, keep=6)
    with pytest.raises(ValueError, match="keep=6 is out of range; give a whole number from 1 to 5"):
        federated.fed_avg(dense(), CLIENTS, rounds=1, aggregate=trap)
    tokens = torch.ones(3, 784, dtype=torch.int64)
    trap = verification.TrapSet(dense(), tokens, torch.zeros(3, dtype=torch.int64), keep=1)
    with pytest.raises((ValueError, TypeError), match="do not pass through the model"):
        trap([Update({}, {})])
