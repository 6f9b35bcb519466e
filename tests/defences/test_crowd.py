import pytest
import torch

from privlab.defences import client_dp, crowd
from privlab.sharing.federated import Client, Update


def client(count, start=0):
    """Examples that are all different, with their numbers as labels."""
    numbers = torch.arange(start, start + count)
    return Client((numbers.float() / 10_000).view(-1, 1, 1, 1), numbers)


@pytest.fixture
def update():
    random = torch.Generator().manual_seed(0)
    weight = {"fc1.weight": (30, 40), "fc1.bias": (30,), "output.weight": (5, 30), "output.bias": (5,)}
    return Update({name: torch.randn(shape, generator=random) for name, shape in weight.items()}, {})


def numbers(mixed):
    assert torch.equal((mixed.images.flatten() * 10_000).round().long(), mixed.labels)  # each with its own label
    return set(mixed.labels.tolist())


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
def test_a_share_of_the_examples_is_replaced(alpha):
    own, others = client(20), client(50, 1000)
    mixed = crowd.replace(own, others, alpha, seed=3)
    found = numbers(mixed)
    assert len(found) == len(mixed.labels) == 20
    assert sum(each >= 1000 for each in found) == 20 * alpha
    assert torch.equal(mixed.labels, crowd.replace(own, others, alpha, seed=3).labels)
    if 0 < alpha < 1:
        assert found != numbers(crowd.replace(own, others, alpha, seed=4))


@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0])
def test_examples_of_the_background_are_added(alpha):
    own, others = client(20), client(50, 1000)
    mixed = crowd.augment(own, others, alpha, seed=3)
    assert torch.equal(mixed.labels[:20], own.labels)
    assert len(numbers(mixed)) == len(mixed.labels) == 20 + 20 * alpha


def test_a_small_background_is_used_again_as_evenly_as_can_be():
    mixed = crowd.augment(client(20), client(15, 1000), 2.0)
    assert set(mixed.labels[20:].unique(return_counts=True)[1].tolist()) == {2, 3}
    assert len(crowd.replace(client(20), client(3, 1000), 1.0).labels) == 20


@pytest.mark.parametrize(
    ("make", "alpha", "words"),
    [
        (crowd.replace, 1.1, r"alpha=1.1 is out of range; give a number in \[0, 1\]"),
        (crowd.replace, -0.1, "alpha=-0.1 is out of range"),
        (crowd.augment, -0.5, r"alpha=-0.5 is out of range; give a number in \[0, inf\)"),
        (crowd.augment, float("inf"), "alpha=inf is out of range"),
    ],
)
def test_shares_that_cannot_be_are_refused(make, alpha, words):
    with pytest.raises(ValueError, match=words):
        make(client(5), client(5), alpha)


def test_a_background_of_another_form_is_refused():
    other = Client(torch.zeros(5, 1, 2, 2), torch.zeros(5).long())
    with pytest.raises(ValueError, match=r"images of the client are .*1, 1, 1\) and of the background .*2, 2\)"):
        crowd.augment(client(5), other, 1.0)
    with pytest.raises(ValueError, match="labels of the client are"):
        crowd.replace(client(5), Client(torch.zeros(5, 1, 1, 1), torch.zeros(5, 3).long()), 0.5)


def test_mm_aug_adds_examples_of_one_cluster_to_each_client():
    groups = torch.arange(60) % 4
    made = crowd.augment_by_mode([client(10, 100 * n) for n in range(8)], client(60, 5000), groups, 1.5, seed=1)
    for number, mixed in enumerate(made):
        own, added = mixed.labels[:10], mixed.labels[10:]
        assert torch.equal(own, torch.arange(100 * number, 100 * number + 10))
        assert len(added) == len(added.unique()) == 15
        assert len(groups[added - 5000].unique()) == 1
    assert len({int(groups[mixed.labels[-1] - 5000]) for mixed in made}) > 1


def test_mm_aug_gives_different_clusters_to_clients_of_one_user():
    """Of 100 clusters two devices have the same one as often as chance has it, one time in a hundred; of 400 users."""
    groups, background = torch.arange(100), client(100, 5000)
    made = crowd.augment_by_mode([client(1, n) for n in range(800)], background, groups, 1.0, seed=0)
    first, second = torch.tensor([int(each.labels[-1]) - 5000 for each in made]).view(400, 2).T
    assert (first == second).float().mean() < 0.03
    assert len(torch.cat([first, second]).unique()) > 95  # nearly all are drawn
    assert abs(torch.corrcoef(torch.stack([first, second]).float())[0, 1]) < 0.15


def test_a_client_draws_its_cluster_whoever_else_there_is():
    groups, background, all_ = torch.arange(60) % 6, client(60, 5000), [client(10, 100 * n) for n in range(8)]
    alone = crowd.augment_by_mode(all_[:3], background, groups, 1.0, seed=7)
    beside = crowd.augment_by_mode(all_, background, groups, 1.0, seed=7)
    assert all(torch.equal(a.labels, b.labels) for a, b in zip(alone, beside[:3], strict=True))


def test_clusters_are_those_of_the_features():
    centres = torch.eye(4).repeat_interleave(25, 0)
    features = centres + 0.01 * torch.randn(100, 4, generator=torch.Generator().manual_seed(0))
    found = crowd.clusters(features[:, None], 4, seed=5)
    assert found.dtype == torch.int64
    parts = found.view(4, 25)
    assert all(len(part.unique()) == 1 for part in parts)
    assert len(parts[:, 0].unique()) == 4
    with pytest.raises(ValueError, match="count=101 is out of range; give a whole number from 1 to 100"):
        crowd.clusters(features, 101)


def test_groups_have_to_fit_the_background():
    with pytest.raises(ValueError, match="groups holds 3 labels for 5 images"):
        crowd.augment_by_mode([client(2)], client(5), torch.zeros(3).long(), 1.0)


def test_noise_is_as_large_as_is_said_and_the_seeds_own(update):
    noisy = crowd.noise(update, 0.5, seed=1)
    difference = torch.cat([(noisy[name] - update[name]).flatten() for name in update])
    assert difference.std().item() == pytest.approx(0.5, rel=0.05)
    assert torch.equal(noisy["fc1.bias"], crowd.noise(update, 0.5, seed=1)["fc1.bias"])
    assert not torch.equal(noisy["fc1.bias"], crowd.noise(update, 0.5, seed=2)["fc1.bias"])
    with pytest.raises(ValueError, match="std=-1 is out of range"):
        crowd.noise(update, -1)


@pytest.mark.parametrize(("share", "kept"), [(0.01, (12, 1, 2, 1)), (0.1, (120, 3, 15, 1)), (1.0, (1200, 30, 150, 5))])
def test_the_largest_numbers_of_each_layer_are_kept(update, share, kept):
    sent = crowd.top_k(update, share)
    for (name, whole), count in zip(update.items(), kept, strict=True):
        left = sent[name] != 0
        assert left.sum() == count
        assert torch.equal(sent[name][left], whole[left])
        if count < whole.numel():
            assert whole[left].abs().min() >= whole[~left].abs().max()


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_a_share_that_sends_nothing_or_too_much_is_refused(update, share):
    with pytest.raises(ValueError, match=r"give a number in \(0, 1\]"):
        crowd.top_k(update, share)


def test_signs_have_the_mean_magnitude(update):
    sent = crowd.signs(update)
    for name, whole in update.items():
        assert torch.equal(sent[name].sign(), whole.sign())
        assert len(sent[name].abs().unique()) == 1
        assert sent[name].abs().mean().item() == pytest.approx(whole.abs().mean().item(), rel=1e-6)


def test_one_layer_alone_is_sent(update):
    assert list(crowd.only(update, "output")) == ["output.weight", "output.bias"]
    with pytest.raises(ValueError, match="layer='conv' is not in the update; choose one of fc1, output"):
        crowd.only(update, "conv")


def test_buffers_pass(update):
    counted = Update(update, {"norm.mean": torch.ones(3)})
    for sent in (crowd.noise(counted, 0.1), crowd.top_k(counted, 0.5), crowd.signs(counted)):
        assert torch.equal(sent.buffers["norm.mean"], torch.ones(3))
    assert client_dp.norm(Update(crowd.signs(update), {})) <= client_dp.norm(update)
