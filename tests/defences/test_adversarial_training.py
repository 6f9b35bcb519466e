"""Adversarial training against the obvious loop, and what it takes from PGD."""

import functools

import pytest
import torch
from torch.nn import functional as F

from privlab import data, models, networks, runtime
from privlab.attacks import evasion
from privlab.defences import adversarial_training
from privlab.sharing import federated, predictions, together

TRAIN, TEST = data.load("digits"), data.load("digits", split="test")
ATTACK = functools.partial(evasion.pgd, epsilon=0.1, steps=5)


def network(seed=0):
    return models.fully_connected(TRAIN.shape, 10, widths=(16,), seed=seed)


def unchanged(model, images, labels):
    return images


def fooled(model):
    made = evasion.pgd(model, TEST.images, TEST.labels, epsilon=0.1, restarts=2)
    return 1 - federated.accuracy(model, made, TEST.labels)


def crafted_by_hand(model, images, labels, epsilon):
    """The sign of the slope that `backward` leaves behind."""
    at = images.clone().requires_grad_()
    F.cross_entropy(model(at), labels).backward()
    return (images + epsilon * at.grad.sign()).clamp(0, 1)


def test_it_is_the_obvious_loop():
    images, labels = TRAIN.images[:50], TRAIN.labels[:50]
    attack = functools.partial(evasion.fgsm, epsilon=0.1)
    found = adversarial_training.fit(network(), images, labels, attack, epochs=3, batch=20, lr=0.1, optimiser="sgd")
    slow, random = network(), runtime.generator(runtime.derive(0, "fit"))
    for _ in range(3):
        order = torch.randperm(50, generator=random)
        torch.randint(2**62, (), generator=random)  # the network's own dice
        for chosen in order.split(20):
            given = crafted_by_hand(slow, images[chosen], labels[chosen], 0.1)
            slow.zero_grad()
            F.cross_entropy(slow(given), labels[chosen]).backward()
            with torch.no_grad():
                for each in slow.parameters():
                    each -= 0.1 * each.grad
    for mine, theirs in zip(found.parameters(), slow.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs)


def test_an_attack_that_changes_nothing_is_plain_training():
    how = {"epochs": 2, "batch": 32, "seed": 4}
    found = adversarial_training.fit(network(), TRAIN.images[:99], TRAIN.labels[:99], unchanged, **how)
    plain = predictions.fit(network(), TRAIN.images[:99], TRAIN.labels[:99], **how)
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), plain.parameters(), strict=True))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_takes_most_of_its_success_from_pgd(seed):
    blank = models.fully_connected(TRAIN.shape, 10, widths=(64,), seed=seed)
    plain = predictions.fit(blank, TRAIN.images, TRAIN.labels, epochs=8, seed=seed)
    hard = adversarial_training.fit(plain, TRAIN.images, TRAIN.labels, ATTACK, epochs=8, seed=seed)
    assert fooled(hard) < fooled(plain) - 0.3
    assert federated.accuracy(hard, TEST.images, TEST.labels) > 0.85


def clients():
    return [
        federated.Client(TRAIN.images[low:high], TRAIN.labels[low:high])
        for low, high in ((0, 40), (40, 100), (100, 130))
    ]


def test_clients_send_what_the_loop_over_them_gives():
    how = {"epochs": 2, "batch": 16, "lr": 0.1}
    attack = functools.partial(crafted_by_hand, epsilon=0.1)
    found = adversarial_training.local_updates(
        network(), clients(), attack=attack, **how, random=torch.Generator().manual_seed(1)
    )
    random = torch.Generator().manual_seed(1)
    for update, client in zip(found, clients(), strict=True):
        slow = network()
        for _ in range(2):
            for chosen in federated.mini_batches(client, 16, random):
                given = crafted_by_hand(slow, client.images[chosen], client.labels[chosen], 0.1)
                slow.zero_grad()
                F.cross_entropy(slow(given), client.labels[chosen]).backward()
                with torch.no_grad():
                    for each in slow.parameters():
                        each -= 0.1 * each.grad
        for (name, new), old in zip(slow.named_parameters(), network().parameters(), strict=True):
            torch.testing.assert_close(update[name], (new - old).detach(), rtol=1e-4, atol=1e-6)


def test_a_federation_trains_with_it_in_place_of_local_update():
    how = {"rounds": 2, "batch": 16, "lr": 0.1, "seed": 3}
    plain = federated.fed_avg(network(), clients(), **how)
    train = functools.partial(adversarial_training.local_updates, attack=unchanged)
    same = federated.fed_avg(network(), clients(), **how, train=train)
    assert all(torch.equal(a, b) for a, b in zip(same.parameters(), plain.parameters(), strict=True))
    beside = together.local_updates(
        network(), clients(), epochs=1, batch=16, lr=0.1, random=torch.Generator().manual_seed(1)
    )
    mine = train(network(), clients(), epochs=1, batch=16, lr=0.1, random=torch.Generator().manual_seed(1))
    for one, other in zip(mine, beside, strict=True):
        assert set(one) == set(other)
        torch.testing.assert_close(dict(one), dict(other), rtol=1e-4, atol=1e-6)
    hard = functools.partial(adversarial_training.local_updates, attack=ATTACK)
    other = federated.fed_avg(network(), clients(), **how, train=hard)
    assert not torch.equal(other.fc1.weight, plain.fc1.weight)


def test_the_attack_meets_the_model_as_it_is_and_in_eval_mode():
    """Of a network with dropout: the weights that an attack sees change, and PGD does not meet the dropout."""
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.9), torch.nn.Linear(784, 10)).train()
    seen = []

    def attack(model, images, labels):
        before = [layer.training for layer in model.modules()]
        made = [evasion.fgsm(model, images, labels, epsilon=0.1) for _ in range(2)]
        assert torch.equal(*made)
        with networks.measured(model):
            assert F.cross_entropy(model(made[0]), labels) > F.cross_entropy(model(images), labels)
        assert [layer.training for layer in model.modules()] == before
        seen.append(model[2].weight.detach().clone())
        return made[0]

    adversarial_training.fit(net, TRAIN.images[:64], TRAIN.labels[:64], attack, epochs=1)
    assert len(seen) == 2
    assert not torch.equal(*seen)


@pytest.mark.parametrize(
    ("attack", "words"),
    [
        (lambda model, images, labels: images[:1], "in the same shape"),
        (lambda model, images, labels: None, "the attack makes NoneType"),
        (lambda model, images, labels: images / 0, "finite"),
    ],
)
def test_a_bad_attack_in_words(attack, words):
    with pytest.raises(ValueError, match=words):
        adversarial_training.fit(network(), TRAIN.images[:9], TRAIN.labels[:9], attack, epochs=1)
    with pytest.raises(ValueError, match=words):
        adversarial_training.local_updates(
            network(), clients(), attack=attack, epochs=1, batch=8, lr=0.1, random=torch.Generator()
        )


def test_what_is_no_attack_is_refused_before_the_training():
    with pytest.raises(TypeError, match=r"attack='pgd' is not callable"):
        adversarial_training.fit(network(), TRAIN.images[:9], TRAIN.labels[:9], "pgd", epochs=1)
