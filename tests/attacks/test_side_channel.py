"""Timing: with a clock of our own, and on made times. Nothing here waits for this machine's."""

import pytest
import torch

from privlab.attacks import side_channel as attack


class Clock:
    """A clock that stands still but while a call runs; calls take a fixed time each, in nanoseconds."""

    def __init__(self):
        self.now, self.log = 0, []

    def __call__(self):
        return self.now

    def call(self, name, takes):
        def run():
            self.log.append(name)
            self.now += takes

        return run


def test_each_call_is_given_its_own_time_in_seconds():
    clock = Clock()
    found = attack.times({"a": clock.call("a", 3000), "b": clock.call("b", 7000)}, repeats=4, clock=clock)
    assert {name: each.tolist() for name, each in found.items()} == {"a": [3e-6] * 4, "b": [7e-6] * 4}


def test_every_round_makes_all_calls_in_an_order_of_its_own_and_the_first_is_not_counted():
    clock = Clock()
    calls = {name: clock.call(name, 1) for name in "abcd"}
    assert all(len(each) == 20 for each in attack.times(calls, repeats=20, clock=clock).values())
    rounds = ["".join(clock.log[start : start + 4]) for start in range(0, len(clock.log), 4)]
    assert len(rounds) == 21
    assert {"".join(sorted(each)) for each in rounds} == {"abcd"}
    assert len(set(rounds)) > 10
    first = clock.log
    clock = Clock()
    attack.times({name: clock.call(name, 1) for name in "abcd"}, repeats=20, clock=clock)
    assert clock.log == first
    clock = Clock()
    attack.times({name: clock.call(name, 1) for name in "abcd"}, repeats=20, seed=1, clock=clock)
    assert clock.log != first


def test_a_slow_first_call_is_left_out():
    clock, seen = Clock(), []

    def first_is_slow():
        clock.now += 1 if seen else 10**9
        seen.append(1)

    assert attack.times({"a": first_is_slow}, repeats=3, clock=clock)["a"].tolist() == [1e-9] * 3


def drawn(middle, count=200, seed=0, spread=0.2, interrupted=0.1):
    """Times of a machine: most near the middle, some interrupted and fifty times as long."""
    random = torch.Generator().manual_seed(seed)
    made = middle * (spread * torch.randn(count, generator=random)).exp()
    return torch.where(torch.rand(count, generator=random) < interrupted, 50 * made, made)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("truth", [16, 64, 256])
def test_the_right_width_is_told_though_one_call_in_ten_is_interrupted(truth, seed):
    """The adversary's own machine was at rest."""
    reference = {str(width): drawn(width * 1e-6, seed=width, interrupted=0) for width in (16, 64, 256)}
    found, separation = attack.tell(reference, drawn(truth * 1e-6, seed=1000 + seed))
    assert found == str(truth)
    assert separation > 0.8


@pytest.mark.parametrize("seed", range(3))
def test_equal_times_tell_nothing(seed):
    reference = {str(width): drawn(1e-6, seed=width) for width in (16, 64)}
    assert attack.tell(reference, drawn(1e-6, seed=1000 + seed))[1] < 0.58


def test_auc_is_the_share_of_pairs():
    one, other = torch.tensor([1.0, 2.0, 2.0, 5.0]), torch.tensor([2.0, 3.0])
    pairs = [(a > b) + 0.5 * (a == b) for a in one.tolist() for b in other.tolist()]
    assert attack.auc(one, other) == pytest.approx(sum(pairs) / 8)
    assert attack.auc(other, one) == pytest.approx(1 - sum(pairs) / 8)
    assert attack.auc(one, one) == 0.5


@pytest.mark.parametrize(
    ("reference", "seen", "words"),
    [
        ({"a": torch.ones(3)}, torch.ones(3), "1 classes; give the times of two or more"),
        ({"a": torch.ones(3), "b": torch.zeros(3)}, torch.ones(3), "the clock is too coarse"),
        ({"a": torch.ones(3), "b": torch.ones(3)}, torch.ones(0), r"times has shape \(0,\)"),
        ({"a": torch.ones(3), "b": torch.ones(3)}, torch.tensor([torch.nan]), "not finite"),
        ({"a": torch.ones(3, 2), "b": torch.ones(3)}, torch.ones(3), r"give \(R,\)"),
    ],
)
def test_what_does_not_fit_is_said(reference, seen, words):
    with pytest.raises(ValueError, match=words):
        attack.tell(reference, seen)


def test_times_wants_calls_and_rounds():
    with pytest.raises(ValueError, match="there are no calls"):
        attack.times({}, repeats=3)
    with pytest.raises(ValueError, match="repeats=0"):
        attack.times({"a": int}, repeats=0)
