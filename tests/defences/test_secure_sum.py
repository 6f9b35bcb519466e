import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from privlab.defences import secure_sum as sums
from privlab.sharing import federated
from privlab.sharing.federated import Gradient, Update
from privlab.sharing.messages import average, mean_update


def updates(count=5, size=30, scale=1.0, dtype=torch.float32):
    random = torch.Generator().manual_seed(count)
    draw = lambda *shape: (scale * torch.randn(*shape, generator=random)).to(dtype)  # noqa: E731
    return [Update({"w": draw(size, 2), "b": draw(size)}, {}) for _ in range(count)]


def flat(sent, weight=1):
    parts = [sent["w"].flatten(), sent["b"]]
    return torch.cat(parts).double() * weight


def ring(values, bits=sums.BITS):
    """By Python's own whole numbers: exact, slow."""
    return [round(Fraction(value) * 2**bits) for value in values.tolist()]


def signed(number):
    return (number + 2**63) % 2**64 - 2**63


@pytest.mark.parametrize("gone", [(), (1,), (0, 4)])
def test_the_sum_is_that_of_the_encoded_values_to_the_last_bit(gone):
    sent = updates(7)
    made = sums.secure_sum(sent, dropouts=gone)
    left = [flat(each) for number, each in enumerate(sent) if number not in gone]
    exact = [sum(column) for column in zip(*map(ring, left), strict=True)]
    expected = torch.tensor([value / 2**sums.BITS for value in exact], dtype=torch.float64)
    assert torch.equal(flat(made.total), expected.float().double())
    assert made.weight == len(left)
    assert sorted(made.received) == [number for number in range(7) if number not in gone]


def test_masks_of_all_clients_cancel_but_for_their_own_which_shares_take_off():
    sent = updates(4, scale=0.0)  # what arrives is masks alone
    made = sums.secure_sum(sent)
    assert all(row.count_nonzero() == len(row) for row in made.received.values())
    assert flat(made.total).count_nonzero() == 0
    own = torch.stack(list(made.received.values())).sum(0)
    other = sums.secure_sum(updates(4, scale=0.0), seed=1)
    assert not torch.equal(own, torch.stack(list(other.received.values())).sum(0))  # drawn anew in each round


@pytest.mark.parametrize("gone", [(), (2,)])
def test_what_arrives_of_a_client_is_uniform_and_unlike_its_update(gone):
    sent = updates(4, size=5000, scale=1e-3)
    made = sums.secure_sum(sent, dropouts=gone)
    for number, row in made.received.items():
        octets = np.frombuffer(row.numpy().tobytes(), dtype=np.uint8)
        found = stats.chisquare(np.bincount(octets, minlength=256)).pvalue
        assert found > 1e-6
        alike = np.corrcoef(row[:-1].double().numpy(), flat(sent[number]).numpy())[0, 1]
        assert abs(alike) < 0.05
    plain = sums.encode(flat(sent[0]), parties=4)
    octets = np.frombuffer(plain.numpy().tobytes(), dtype=np.uint8)
    assert stats.chisquare(np.bincount(octets, minlength=256)).pvalue < 1e-6  # the test sees an update without a mask


def test_a_lost_client_makes_noise_of_the_sum_unless_its_masks_are_taken_off():
    sent = updates(4)
    received = sums.secure_sum(sent).received
    without = sum(row for number, row in received.items() if number)
    plain = sum(sums.encode(flat(each)) for each in sent[1:])
    assert (sums.decode(without[:-1] - plain).abs() > 1e3).float().mean() > 0.99


def test_two_sums_over_all_and_all_but_one_give_that_one_away():
    sent = updates(6)
    every, others = sums.secure_sum(sent), sums.secure_sum(sent, dropouts=[2], seed=1)
    assert (flat(every.total) - flat(others.total) - flat(sent[2])).abs().max() < 2e-6


@pytest.mark.parametrize("weights", [None, [1, 20, 3, 4, 100]])
def test_the_mean_is_that_of_federated_averaging(weights):
    sent = updates(5)
    made = sums.secure_sum(sent, weights=weights)
    expected = mean_update(sent, weights or [1] * 5)
    for name in expected:
        torch.testing.assert_close(made.mean()[name], expected[name], rtol=1e-6, atol=1e-7)
    assert made.weight == sum(weights or [1] * 5)


def test_gradients_come_back_as_gradients_with_their_examples_and_buffers():
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(16, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 3)
    )
    images = torch.rand(12, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(12) % 3
    sent = [federated.gradient(model, images[i::3], labels[i::3]) for i in range(3)]
    made, plain = sums.secure_sum(sent, threshold=3), average(sent)
    assert isinstance(made.total, Gradient)
    assert made.total.examples == made.mean().examples == 12
    for name in plain:
        torch.testing.assert_close(made.mean()[name], plain[name])
    assert (
        set(made.mean().buffers) == set(plain.buffers) == {"2.running_mean", "2.running_var", "2.num_batches_tracked"}
    )
    for name, each in plain.buffers.items():
        torch.testing.assert_close(made.mean().buffers[name], each)
        assert made.total.buffers[name].dtype == each.dtype
    moved = [each.buffers["2.running_mean"] for each in sent]
    assert not torch.equal(moved[0], moved[1])  # there was something to sum
    torch.testing.assert_close(made.total.buffers["2.running_mean"], sum(moved))


def test_of_lost_clients_neither_examples_nor_counters_count_and_means_of_counters_are_whole():
    sent = [
        Gradient({"w": torch.full((2,), float(count))}, 10 * count, {"seen": torch.tensor(count)})
        for count in (1, 2, 3, 3)
    ]
    made = sums.secure_sum(sent, dropouts=[1])
    assert made.total.examples == 70
    assert made.total.buffers["seen"] == 7
    assert made.mean().buffers["seen"] == 2  # of 7 / 3
    assert sums.secure_sum(sent, dropouts=[0]).mean().buffers["seen"] == 3  # of 8 / 3
    assert torch.equal(made.mean()["w"], torch.full((2,), 7 / 3))


def test_what_a_client_sends_is_counted_message_by_message():
    key, share = 2048 // 8, -(-521 // 8)
    for count in (3, 6):
        vector = 8 * (30 * 3 + 1)  # its numbers, and its weight
        shared, opened = 2 * (count - 1) * share, count * share
        assert sums.secure_sum(updates(count)).bytes == vector + 2 * key + shared + opened


def test_numbers_that_fit_alone_but_not_in_the_sum_are_refused():
    large = Update({"w": torch.tensor([2.0 ** (63 - sums.BITS) / 2])}, {})
    small = Update({"w": torch.tensor([0.0])}, {})
    with pytest.raises(ValueError, match="3 parties a sum has room"):
        sums.secure_sum([large, small, small])
    third = Update({"w": large["w"] / 2}, {})
    assert sums.secure_sum([third, small]).total["w"] == third["w"]
    with pytest.raises(ValueError, match="2 parties a sum has room"):
        sums.secure_sum([third, small], weights=[2, 1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float64])
def test_types_come_back(dtype):
    made = sums.secure_sum(updates(3, dtype=dtype), threshold=2)
    assert {each.dtype for each in made.total.values()} == {dtype}


def test_what_is_too_much_for_the_ring_is_refused_and_what_just_fits_is_not():
    room = 2.0 ** (63 - sums.BITS)
    with pytest.raises(ValueError, match=r"3 parties a sum has room for numbers below 2\.79"):
        sums.encode(torch.tensor([0.0, -room / 3]), parties=3)
    below = torch.tensor([room / 4, -room / 4], dtype=torch.float64).mul(1 - 1e-9)
    whole = sums.encode(below, parties=4)
    assert [signed(4 * value) for value in whole.tolist()] == [4 * value for value in whole.tolist()]
    for bad in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="the largest number is"):
            sums.encode(torch.tensor([1.0, bad]))


@given(st.lists(st.floats(-1e5, 1e5), min_size=1, max_size=5), st.integers(0, 40))
@settings(max_examples=50, deadline=None)
def test_encoding_errs_by_half_a_step_at_most(values, bits):
    tensor = torch.tensor(values, dtype=torch.float64)
    back = sums.decode(sums.encode(tensor, bits), bits)
    assert (back - tensor).abs().max() <= 2.0**-bits / 2


def lagrange(points):
    """At zero, over the rationals: the polynomial has whole coefficients, so this is exact without any field."""
    return sum(
        y * np.prod([Fraction(-other, x - other) for other, _ in points if other != x], dtype=object) for x, y in points
    )


@given(st.integers(0, sums.FIELD - 1), st.integers(1, 5), st.integers(0, 3), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_any_shares_at_the_threshold_recover_the_secret_and_fewer_do_not(secret, threshold, more, seed):
    count = threshold + more
    made = sums.shares(secret, count, threshold, seed=seed)
    for some in itertools.combinations(made, threshold):
        assert sums.recover(some) == secret
        # Over the rationals the same formula gives the secret modulo the field, once its denominator is inverted.
        exact = Fraction(lagrange(some))
        assert exact.numerator * pow(exact.denominator, -1, sums.FIELD) % sums.FIELD == secret
    if threshold > 1:
        assert sums.recover(made[: threshold - 1]) != secret


def test_one_share_short_every_secret_is_as_possible_as_any_other():
    made = sums.shares(1234, 5, 3)
    for guess in (0, 7, sums.FIELD - 1):
        # The missing third share that would make the guess true: there is exactly one, for whatever guess.
        points = [(0, guess), *made[:2]]
        last = 0
        for x, y in points:
            others = [each for each, _ in points if each != x]
            above = np.prod([5 - each for each in others], dtype=object)
            below = np.prod([x - each for each in others], dtype=object)
            last += y * int(above) * pow(int(below), -1, sums.FIELD)
        assert sums.recover([*made[:2], (5, last % sums.FIELD)]) == guess


def test_the_group_and_the_field_are_what_they_must_be():
    def prime(number):  # Fermat, to several bases
        return all(pow(base, number - 1, number) == 1 for base in (2, 3, 5, 7, 11, 13))

    assert prime(sums.FIELD)
    assert prime(sums.GROUP)
    assert prime(sums.GROUP // 2)  # a safe prime
    assert sums.GROUP.bit_length() == 2048
    assert sums.FIELD > 2 ** (8 * sums.SECRET)


def test_masks_are_those_of_the_secret_and_long():
    one, other = sums.mask(b"a", 1000), sums.mask(b"b", 1000)
    assert torch.equal(one, sums.mask(b"a", 1000))
    assert torch.equal(one[:10], sums.mask(b"a", 10))
    assert (one == other).sum() == 0
    assert sums.mask(b"a", 0).shape == (0,)


def test_a_sum_is_refused_with_fewer_survivors_than_the_threshold():
    sent = updates(6)
    assert sums.secure_sum(sent, dropouts=[1]).weight == 5  # two thirds and one
    with pytest.raises(ValueError, match="4 of 6 clients are left, and threshold=5; the masks stay on"):
        sums.secure_sum(sent, dropouts=[1, 2])
    assert sums.secure_sum(sent, dropouts=[1, 2], threshold=4).weight == 4


@pytest.mark.parametrize(
    ("count", "how", "message"),
    [
        (1, {}, "there are 1 clients; a sum hides its parts only"),
        (4, {"threshold": 2}, "threshold=2 of 4 clients is out of range; give more than half, 3 or more"),
        (4, {"threshold": 5}, "threshold=5 of 4 clients"),
        (4, {"weights": [1, 2]}, "2 weights for 4 clients"),
        (4, {"weights": [1, 2, 3, 0]}, "weight=0 is out of range"),
        (4, {"dropouts": [4]}, "dropouts=4 is out of range"),
    ],
)
def test_what_cannot_be_summed_safely_is_refused(count, how, message):
    with pytest.raises(ValueError, match=message):
        sums.secure_sum(updates(count), **how)


def test_clients_that_send_other_layers_or_shapes_are_named():
    sent = updates(3)
    frozen = Update({"w": sent[1]["w"]}, {})
    with pytest.raises(ValueError, match="clients 0 and 1 send b in different shapes, or one of them does not"):
        sums.secure_sum([sent[0], frozen, sent[2]])
    larger = Update({"w": sent[1]["w"], "b": torch.zeros(3)}, {})
    with pytest.raises(ValueError, match="clients 0 and 2 send b"):
        sums.secure_sum([sent[0], sent[1], larger])
    blown = Update({"w": sent[1]["w"] / 0, "b": sent[1]["b"]}, {})
    with pytest.raises(ValueError, match="the largest number is"):
        sums.secure_sum([sent[0], blown, sent[2]])


def test_with_half_as_threshold_a_server_would_have_opened_a_client():
    """Why more than half: two halves that are told different stories give out both secrets, and the update is open."""
    key, own = sums.shares(11, 4, 2), sums.shares(22, 4, 2, seed=1)
    assert (sums.recover(key[:2]), sums.recover(own[2:])) == (11, 22)
    key, own = sums.shares(11, 4, 3), sums.shares(22, 4, 3, seed=1)
    assert sums.recover(key[:2]) != 11
    assert sums.recover(own[2:]) != 22


def test_flowers_protocol_recovers_the_same_secret_and_sums_the_same_updates():
    """An independent implementation: `flwr` shares bytes over another field and quantises to a range."""
    quantization = pytest.importorskip("flwr.common.secure_aggregation.quantization")
    sent = [flat(each).clamp(-1, 1).numpy() for each in updates(3)]
    steps = 2**22
    whole = [quantization.quantize([each], 1.0, steps)[0] for each in sent]
    theirs = sum(each.astype(np.int64) for each in whole) * (2.0 / steps) - 3
    ours = sums.secure_sum([Update({"w": torch.from_numpy(each)}, {}) for each in sent]).total["w"].numpy()
    assert np.abs(theirs - ours).max() < 3 * 2.0 / steps
    assert np.abs(ours - sum(sent)).max() < 1e-11
