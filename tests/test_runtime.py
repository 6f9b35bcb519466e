import pytest
import torch

from privlab import runtime


def test_generator_leaves_the_global_state_alone():
    before = torch.get_rng_state()
    first = torch.rand(3, generator=runtime.generator(7))
    assert torch.equal(first, torch.rand(3, generator=runtime.generator(7)))
    assert torch.equal(before, torch.get_rng_state())


def test_generator_hands_a_generator_back():
    own = torch.Generator()
    assert runtime.generator(own) is own


@pytest.mark.parametrize("seed", [-1, 0.5, "0"])
def test_generator_refuses_bad_seeds(seed):
    with pytest.raises((ValueError, TypeError), match="seed"):
        runtime.generator(seed)


def test_derived_seeds_differ_by_purpose_and_by_seed():
    seeds = {runtime.derive(seed, word) for seed in range(50) for word in ("batch", "weights")}
    assert len(seeds) == 100
    assert runtime.derive(3, "batch") == runtime.derive(3, "batch")
    assert runtime.derive(0, "batch", 1) != runtime.derive(0, "batch", 2)


def test_profile_comes_from_the_call_then_the_environment(monkeypatch):
    assert runtime.profile() == "fast"
    monkeypatch.setenv("PRIVLAB_PROFILE", "paper")
    assert runtime.profile() == "paper"
    assert runtime.profile("real") == "real"
    monkeypatch.setenv("PRIVLAB_PROFILE", "huge")
    with pytest.raises(ValueError, match="choose one of fast, real, paper"):
        runtime.profile()


@pytest.mark.parametrize("left_behind", [2, 3])
def test_each_test_begins_with_one_thread_whatever_was_set_before(left_behind):
    """By the package that computes distance correlations as well, when it is imported; see conftest."""
    assert torch.get_num_threads() == 1
    torch.set_num_threads(left_behind)
