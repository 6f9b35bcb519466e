import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from privlab.metrics import extraction


def slow_match(candidates, images, tolerance=extraction.TOLERANCE):
    """The obvious way: every pair, in double precision."""
    found = []
    for candidate in candidates.double():
        distances = [(candidate - image).norm().item() for image in images.double()]
        best = min(range(len(distances)), key=distances.__getitem__)
        found.append(best if distances[best] <= tolerance else -1)
    return torch.tensor(found)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(2, 9), st.integers(2, 9)),
    count=st.integers(1, 12),
    seed=st.integers(0, 999),
    double=st.booleans(),
)
def test_match_equals_comparing_every_pair(shape, count, seed, double):
    random = torch.Generator().manual_seed(seed)
    dtype = torch.float64 if double else torch.float32
    images = torch.rand(count, *shape, generator=random, dtype=dtype)
    copies = images[torch.randint(count, (5,), generator=random)]
    near = copies + 1e-6 * torch.randn(copies.shape, generator=random, dtype=dtype)
    mixtures = 0.5 * copies + 0.5 * torch.rand(copies.shape, generator=random, dtype=dtype)
    candidates = torch.cat([copies, near, mixtures])
    assert torch.equal(extraction.match(candidates, images), slow_match(candidates, images))


@pytest.mark.parametrize("share", [0.999, 0.9, 0.5])
def test_recall_never_counts_a_mixture_of_two_images(share, seeded):
    images = (torch.rand(50, 1, 28, 28, generator=seeded) * 255).round() / 255
    mixtures = share * images[:25] + (1 - share) * images[25:]
    score = extraction.score(mixtures.flatten(1), images, neurons=25)
    assert score.recall == score.precision == 0


def test_a_copy_with_float_rounding_is_a_hit_and_the_fast_form_of_distance_would_miss_it(seeded):
    images = torch.rand(100, 3072, generator=seeded)
    scale = torch.rand(100, 1, generator=seeded) * 1e-3
    copies = (images * scale) / scale  # what dividing a gradient by a gradient gives
    assert torch.equal(extraction.match(copies, images), torch.arange(100))
    fast = torch.cdist(copies, images, compute_mode="use_mm_for_euclid_dist")
    assert (fast.diagonal() > extraction.TOLERANCE).any()


def test_score_by_hand():
    images = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.2, 0.4]]).view(3, 1, 1, 2)
    candidates = torch.tensor([[0.0, 1.0], [0.0, 1.0], [0.5, 0.5], [0.2, 0.4]])
    score = extraction.score(candidates, images, neurons=10)
    assert score == extraction.ExtractionScore(active=0.4, precision=0.75, precision_all=0.3, recall=2 / 3)


def test_nothing_active_scores_zero():
    score = extraction.score(torch.empty(0, 4), torch.rand(3, 1, 2, 2), neurons=5)
    assert score == extraction.ExtractionScore(0.0, 0.0, 0.0, 0.0)


def test_bad_scores_are_refused():
    with pytest.raises(ValueError, match="give equal sizes"):
        extraction.match(torch.rand(2, 5), torch.rand(2, 4))
    with pytest.raises(ValueError, match="neurons=1"):
        extraction.score(torch.rand(2, 4), torch.rand(2, 4), neurons=1)
    with pytest.raises(ValueError, match="tolerance"):
        extraction.match(torch.rand(2, 4), torch.rand(2, 4), tolerance=-1.0)


@pytest.mark.parametrize(("off", "hit"), [(5e-5, True), (7.6e-4, False)])
def test_the_tolerance_lies_between_rounding_and_the_nearest_mixture(off, hit):
    image = torch.full((1, 100), 0.5)
    row = image.clone()
    row[0, 0] += off
    assert bool((extraction.match(row, image) >= 0).all()) is hit
