import copy
import functools

import pytest
import torch

from privlab import data, models, runtime
from privlab.sharing import federated, split

NET = {"filters": (3, 4), "fc": (20,), "activation": "tanh"}


@pytest.fixture(scope="module")
def digits():
    return data.load("digits").sample(120)


def owners_of(part, count):
    return [federated.Client(part.images[i], part.labels[i]) for i in data.iid(part.labels, count)]


def net(seed=0, **changes):
    return models.lenet((1, 28, 28), 10, **{**NET, **changes}, seed=seed)


def uncut(model, owners, *, rounds, epochs, batch, lr, seed, averaged=False):
    """Training as if there were no cut, written out."""
    model, random = copy.deepcopy(model), runtime.generator(runtime.derive(seed, "split"))
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    for _ in range(rounds):
        start, states = copy.deepcopy(model.state_dict()), []
        for client in owners:
            if averaged:
                model.load_state_dict(start)
                optimiser = torch.optim.Adam(model.parameters(), lr=lr)
            for _ in range(epochs):
                for chosen in torch.randperm(len(client.labels), generator=random).split(batch):
                    optimiser.zero_grad()
                    federated.cross_entropy(model(client.images[chosen]), client.labels[chosen]).backward()
                    optimiser.step()
            states.append(copy.deepcopy(model.state_dict()))
        if averaged:
            sizes = [len(client.labels) for client in owners]
            model.load_state_dict(
                {k: sum(s[k] * n for s, n in zip(states, sizes, strict=True)) / sum(sizes) for k in start}
            )
    return model


@pytest.mark.parametrize("cut", ["conv1", "pool2", "flatten", "tanh3"])
@pytest.mark.parametrize(("weights", "count"), [("handed_on", 1), ("handed_on", 3), ("averaged", 3)])
def test_split_training_gives_the_weights_of_training_the_uncut_network(digits, cut, weights, count):
    owners, how = owners_of(digits, count), {"rounds": 2, "epochs": 1, "batch": 16, "lr": 1e-3, "seed": 3}
    parts = split.train(net(), owners, cut=cut, weights=weights, **how)
    whole = uncut(net(), owners, averaged=weights == "averaged", **how)
    for mine, theirs in zip(parts.whole.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)
    assert any((a != b).any() for a, b in zip(whole.parameters(), net().parameters(), strict=True))


def test_an_owner_whose_segment_has_no_weights_can_take_part(digits):
    model = models.fully_connected((1, 28, 28), 10, widths=(20,))
    parts = split.train(model, owners_of(digits, 1), cut="flatten", epochs=3)
    assert split.accuracy(parts, digits.images, digits.labels) > 0.5


def test_the_whole_is_the_network_again_with_its_names(digits):
    model = net()
    parts = split.segments(model, "pool2")
    assert [name for name, _ in parts.whole.named_children()] == [name for name, _ in model.named_children()]
    assert torch.equal(parts.whole(digits.images), model(digits.images))
    parts.owner.conv1.weight.data.zero_()
    assert (parts.whole.conv1.weight == 0).all()
    assert (model.conv1.weight != 0).any()


def test_training_learns_and_leaves_the_model_alone(digits):
    model = net()
    before = copy.deepcopy(model.state_dict())
    parts = split.train(model, owners_of(digits, 2), cut="pool2", rounds=8, epochs=2, batch=8, lr=3e-3)
    assert split.accuracy(parts, digits.images, digits.labels) > 0.7
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_the_server_hears_every_activation_and_the_bytes_are_counted(digits):
    heard = []
    owners = owners_of(digits, 3)
    parts = split.train(net(), owners, cut="pool2", rounds=2, batch=16, listen=lambda *what: heard.append(what))
    assert {(number, index) for number, index, _ in heard} == {(r, o) for r in range(2) for o in range(3)}
    assert sum(len(sent) for *_, sent in heard) == 2 * len(digits)
    assert heard[0][2].shape[1:] == (4, 7, 7)
    numbers = 2 * len(digits) * 4 * 7 * 7
    assert parts.traffic.activations == parts.traffic.gradients == 4 * numbers
    assert parts.traffic.labels == 2 * len(digits) * 8
    weights = sum(p.numel() for p in parts.owner.parameters())
    assert parts.traffic.weights == 4 * weights * 3 * 2
    both = split.train(net(), owners, cut="pool2", rounds=2, weights="averaged").traffic.weights
    assert both == 2 * parts.traffic.weights
    assert split.train(net(), owners[:1], cut="pool2").traffic.weights == 0


def test_what_is_heard_is_what_the_segment_makes_of_the_images(digits):
    heard, client = [], owners_of(digits, 1)[0]
    split.train(net(), [client], cut="conv1", batch=200, listen=lambda *what: heard.append(what[2]))
    owner = split.segments(net(), "conv1").owner
    sent = split.send(owner, client.images)
    assert sorted(heard[0].flatten(1).sum(1).tolist()) == pytest.approx(
        sorted(sent.flatten(1).sum(1).tolist()), abs=1e-3
    )


def test_a_protected_release_is_all_that_the_server_gets(digits):
    def zeros(activations, *, seed):
        return activations * 0

    heard = []
    parts = split.train(
        net(), owners_of(digits, 1), cut="pool2", protect=zeros, listen=lambda *what: heard.append(what[2])
    )
    assert all((sent == 0).all() for sent in heard)
    before = split.segments(net(), "pool2").owner
    assert all(torch.equal(a, b) for a, b in zip(parts.owner.parameters(), before.parameters(), strict=True))
    assert split.accuracy(parts, digits.images, digits.labels, protect=zeros) < 0.3


def test_the_penalty_moves_the_owner_alone_and_without_the_servers_knowledge(digits):
    owners = owners_of(digits, 1)
    plain = split.train(net(), owners, cut="pool2", batch=200)
    small = split.train(net(), owners, cut="pool2", batch=200, penalty=lambda images, sent: 100 * sent.square().mean())
    # one step: the server's gradient is the same, the owner's is not
    for a, b in zip(plain.server.parameters(), small.server.parameters(), strict=True):
        assert torch.equal(a, b)
    assert any((a != b).any() for a, b in zip(plain.owner.parameters(), small.owner.parameters(), strict=True))


def test_the_penalty_is_minimised(digits):
    owners = owners_of(digits, 1)
    how = {"cut": "pool2", "epochs": 10, "lr": 3e-3}
    plain = split.train(net(), owners, **how)
    small = split.train(net(), owners, penalty=lambda images, sent: 10 * sent.square().mean(), **how)
    sizes = [split.send(parts.owner, digits.images).square().mean() for parts in (plain, small)]
    assert sizes[1] < sizes[0] / 4


def test_the_server_can_learn_to_bear_noise_while_the_owner_stays(digits):
    def noisy(activations, *, seed):
        return activations + 1.0 * torch.randn(activations.shape, generator=runtime.generator(seed))

    owners = owners_of(digits, 1)
    parts = split.train(net(), owners, cut="pool2", epochs=20, lr=3e-3)
    borne = split.retrain_server(parts, owners, protect=noisy, epochs=40, lr=3e-3)
    before, after = (split.accuracy(p, digits.images, digits.labels, protect=noisy) for p in (parts, borne))
    assert after > before + 0.05
    for a, b in zip(parts.owner.parameters(), borne.owner.parameters(), strict=True):
        assert torch.equal(a, b)


def test_after_shows_every_round(digits):
    seen = []
    split.train(
        net(),
        owners_of(digits, 2),
        cut="pool2",
        rounds=3,
        after=lambda number, parts: seen.append((number, parts.owner)),
    )
    assert [number for number, _ in seen] == [0, 1, 2]


def test_the_same_seed_gives_the_same_weights(digits):
    owners, how = owners_of(digits, 2), {"cut": "pool2", "protect": functools.partial(jitter, size=0.1)}
    first, again, other = (split.train(net(), owners, seed=s, **how).owner[0].weight for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def jitter(activations, *, seed, size):
    return activations + size * torch.randn(activations.shape, generator=runtime.generator(seed))


def test_sending_is_in_eval_mode(digits):
    model = models.resnet18((1, 28, 28), 10, width=4)
    parts = split.segments(model, "norm1")
    parts.owner.train()
    sent = split.send(parts.owner, digits.images)
    assert parts.owner.training
    parts.owner.eval()
    torch.testing.assert_close(sent[:7], parts.owner(digits.images[:7]))


def test_a_layer_that_is_not_there_lists_those_that_are(digits):
    with pytest.raises(ValueError, match=r"cut='pool9' .* choose one of conv1, tanh1, pool1"):
        split.train(net(), owners_of(digits, 1), cut="pool9")
    with pytest.raises(ValueError, match="weights='lost' is not known; choose one of handed_on, averaged"):
        split.train(net(), owners_of(digits, 1), cut="pool2", weights="lost")
    with pytest.raises(ValueError, match="no data owners"):
        split.train(net(), [], cut="pool2")


def test_a_layer_used_twice_is_cut_twice_and_shared_weights_are_not_parted():
    act, same = torch.nn.ReLU(), torch.nn.Linear(6, 6)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 6), act, same, act, same)
    images = torch.rand(3, 1, 4, 4)
    parts = split.segments(model, "2")
    assert len(parts.owner) + len(parts.server) == len(parts.whole) == 6
    assert torch.equal(parts.whole(images), model(images))
    with pytest.raises(ValueError, match=r"cut='3' parts '3.weight' from '5.weight', which are one and the same"):
        split.segments(model, "3")


def test_the_parts_of_a_network_in_eval_mode_are_in_eval_mode_and_stay_so(digits):
    model = net().eval()
    parts = split.segments(model, "conv1")
    split.send(parts.owner, digits.images)
    split.accuracy(parts, digits.images, digits.labels)
    assert not any(layer.training for half in (parts.owner, parts.server, parts.whole) for layer in half.modules())


def test_a_part_that_is_kept_in_eval_mode_stays_so_in_training(digits):
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(784, 5), torch.nn.BatchNorm1d(5), torch.nn.Linear(5, 10)
    )
    model[2].eval()
    parts = split.train(model, owners_of(digits, 1), cut="2")
    assert torch.equal(parts.whole.get_buffer("2.running_mean"), torch.zeros(5))


def test_segments_with_a_name_in_common_are_not_put_together():
    parts = split.Split(torch.nn.Sequential(torch.nn.Flatten()), torch.nn.Sequential(torch.nn.ReLU()), split.Traffic())
    with pytest.raises(ValueError, match="two layers are called '0'"):
        _ = parts.whole


def test_running_averages_of_the_owners_cross_the_wire_and_are_counted(digits):
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Flatten())
    model.append(torch.nn.Linear(2 * 26 * 26, 10))
    parts = split.train(model, owners_of(digits, 2), cut="1", batch=60)
    numbers = 2 * 9 + 2 + 4 + 4  # weights, bias, scale and shift, mean and variance
    assert parts.traffic.weights == 2 * (4 * numbers + 8)
