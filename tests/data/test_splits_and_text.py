import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from privlab import data
from privlab.data import text

LABELS = torch.arange(10).repeat_interleave(60)


def _partition(parts, count):
    assert sorted(torch.cat(list(parts)).tolist()) == list(range(count))


@settings(max_examples=20, deadline=None)
@given(clients=st.integers(1, 10), seed=st.integers(0, 99), alpha=st.floats(0.01, 100))
def test_every_split_gives_each_example_to_one_client(clients, seed, alpha):
    for parts in (
        data.iid(LABELS, clients, seed),
        data.by_label(LABELS, clients, seed),
        data.dirichlet(LABELS, clients, alpha, seed),
    ):
        assert len(parts) == clients
        _partition(parts, len(LABELS))


def test_iid_parts_are_equal_in_size_and_alike_in_labels():
    parts = data.iid(LABELS, 3, seed=0)
    assert [len(part) for part in parts] == [200, 200, 200]
    for part in parts:
        assert chisquare(LABELS[part].bincount(minlength=10)).pvalue > 1e-4


def test_by_label_clients_share_no_label():
    owned = [set(LABELS[part].tolist()) for part in data.by_label(LABELS, 4, seed=0)]
    assert sum(map(len, owned)) == len(set.union(*owned)) == 10
    with pytest.raises(ValueError, match="there are 10 classes"):
        data.by_label(LABELS, 11)


def test_dirichlet_is_uneven_for_small_alpha_and_even_for_large():
    def spread(alpha):
        parts = data.dirichlet(LABELS, 4, alpha, seed=0)
        return torch.stack([LABELS[part].bincount(minlength=10).float() for part in parts]).std(0).mean()

    assert spread(0.05) > 3 * spread(100)


def test_dirichlet_shares_have_the_distributions_mean():
    sizes = torch.stack(
        [torch.tensor([len(p) for p in data.dirichlet(LABELS, 3, 1.0, seed)], dtype=torch.float) for seed in range(60)]
    )
    assert torch.allclose(sizes.mean(0), torch.tensor([200.0] * 3), atol=25)


@pytest.mark.parametrize("split", [data.iid, data.by_label, data.dirichlet])
@pytest.mark.parametrize("clients", [0, 601])
def test_bad_numbers_of_clients_are_refused(split, clients):
    with pytest.raises(ValueError, match=r"clients"):
        split(LABELS, clients)


def test_dirichlet_needs_a_positive_alpha():
    with pytest.raises(ValueError, match="alpha=0"):
        data.dirichlet(LABELS, 3, 0)


@pytest.mark.parametrize("alpha", [5e-324, 1e-300, 1e-5])
def test_a_tiny_alpha_puts_each_class_on_one_client(alpha):
    parts = data.dirichlet(LABELS, 10, alpha, seed=0)
    _partition(parts, len(LABELS))
    held = torch.stack([LABELS[part].bincount(minlength=10) for part in parts])
    assert torch.equal(held.max(0).values, torch.full((10,), 60))


@pytest.mark.parametrize("alpha", [1e10, 1e300, 1.7e308])
def test_a_huge_alpha_shares_each_class_out_evenly(alpha):
    held = torch.stack([LABELS[part].bincount(minlength=10) for part in data.dirichlet(LABELS, 7, alpha, seed=0)])
    assert held.max() - held.min() <= 1


def test_the_two_ways_to_draw_small_shares_agree():
    from privlab.data.splits import _TINY, _shares

    random = torch.Generator().manual_seed(0)
    by_logarithm, by_torch = (
        torch.stack([_shares(3, alpha, random) for _ in range(3000)]) for alpha in (_TINY * 0.9999, _TINY)
    )
    assert torch.allclose(by_logarithm.mean(0), by_torch.mean(0), atol=0.03)
    assert (by_logarithm.max(1).values > 0.99).double().mean() == pytest.approx(
        (by_torch.max(1).values > 0.99).double().mean().item(), abs=0.02
    )


def test_ordinary_shares_are_those_of_torch():
    parts = data.dirichlet(LABELS, 3, 1.0, seed=0)
    assert [len(part) for part in parts] == [len(part) for part in data.dirichlet(LABELS, 3, 1.0, seed=0)]
    random = torch.Generator().manual_seed(0)
    torch.randperm(60, generator=random)
    share = torch._sample_dirichlet(torch.ones(3, dtype=torch.float64), random)
    assert (LABELS[parts[0]] == 0).sum() == (share[0] * 60).round()


@pytest.mark.parametrize("split", [data.iid, data.by_label, data.dirichlet])
def test_one_client_gets_everything_and_nobody_nothing_of_nothing(split):
    assert sorted(split(LABELS, 1)[0].tolist()) == list(range(len(LABELS)))
    with pytest.raises(ValueError, match="labels is empty"):
        split(LABELS[:0], 1)
    with pytest.raises(TypeError, match="labels is list"):
        split([0, 1], 1)


def test_words_are_counted_and_encoded():
    texts = [text.split_words(line) for line in ("The cat saw the dog.", "the DOG's<br />cat!", "")]
    assert texts[1] == ["the", "dog's", "cat"]
    words = text.vocabulary(texts, 5)
    assert words == ("<pad>", "<unk>", "the", "cat", "dog")
    assert text.encode(texts, words, 4).tolist() == [[3, 1, 2, 4], [0, 2, 1, 3], [0, 0, 0, 0]]


def test_passages_lose_no_word():
    parts, labels = text.passages(["a b c d e", "f"], [7, 8], 2)
    assert parts == [["a", "b"], ["c", "d"], ["e"], ["f"]]
    assert labels == [7, 7, 7, 8]


@pytest.mark.parametrize("split", [data.iid, data.by_label, data.dirichlet])
def test_splits_depend_on_their_seed(split):
    one, again, other = ([part.tolist() for part in split(LABELS, 3, seed=seed)] for seed in (0, 0, 1))
    assert one == again
    assert one != other


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 99), copies=st.integers(0, 20))
def test_disjoint_parts_have_no_example_in_common_by_content(seed, copies):
    own = torch.arange(60).repeat(2)[: 60 + copies, None]
    parts = data.disjoint(own, (0.5, 0.25), seed)
    _partition(parts, len(own))
    held = [{int(value) for value in own[part]} for part in parts]
    assert sum(map(len, held)) == len(set().union(*held)) == 60


def test_without_copies_disjoint_parts_are_those_of_a_random_order():
    own = torch.arange(100)[:, None]
    order = torch.randperm(100, generator=torch.Generator().manual_seed(3))
    parts = data.disjoint(own, (0.6, 0.25), 3)
    assert [part.tolist() for part in parts] == [order[:60].tolist(), order[60:85].tolist(), order[85:].tolist()]


@pytest.mark.parametrize("shares", [(0.5, 0.5), (1.2,), (-0.1,)])
def test_shares_that_leave_nothing_are_refused(shares):
    with pytest.raises(ValueError, match="shares"):
        data.disjoint(LABELS, shares)


def test_images_are_resized_made_grey_and_stay_on_the_grid():
    images = data.load("patches").images[:2]
    small = data.resized(images, 16, 1)
    assert small.shape == (2, 1, 16, 16)
    assert torch.allclose(small * 255, (small * 255).round(), atol=1e-4)
    luma = (images[:, 0] * 0.299 + images[:, 1] * 0.587 + images[:, 2] * 0.114).mean()
    assert small.mean().item() == pytest.approx(luma.item(), abs=0.01)


def test_grey_images_in_colour_have_three_equal_channels():
    grey = data.load("digits").images[:2]
    colour = data.resized(grey, 28, 3)
    assert torch.equal(colour[:, 0], colour[:, 2])
    assert torch.equal(colour[:, :1], grey)
    with pytest.raises(ValueError, match="channels=2"):
        data.resized(grey, 28, 2)
