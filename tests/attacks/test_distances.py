"""Distances in parts: a dense layer's gradient that is never formed is as far away as the one that is."""

import pytest
import torch

from privlab.attacks._distances import Flat, Outer, Sent, Victims, clipped, cosine, flats, squared

TRIALS, ROWS, COLUMNS = 4, 5, 7


def outer(examples, *, each, dtype=torch.float64, seed=0):
    """A part of four trials, whose victims are one or another for each."""
    random = torch.Generator().manual_seed(seed)
    shapes = (TRIALS, examples, ROWS), (TRIALS, examples, COLUMNS), (*([TRIALS] if each else []), ROWS, COLUMNS)
    delta, inputs, sent = (torch.randn(shape, generator=random, dtype=torch.float64).to(dtype) for shape in shapes)
    return Outer(delta, inputs, Sent(sent, 2))


def formed(part):
    return torch.einsum("tbn,tbl->tnl", part.delta, part.inputs)


def written_out(part):
    """The same with the product formed."""
    return Flat(formed(part).flatten(1), Sent(part.sent.value.flatten(-2)))


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("examples", [1, 3])
def test_a_product_that_is_not_formed_is_as_far_away_as_one_that_is(examples, each):
    part = outer(examples, each=each)
    true, factor = written_out(part), torch.tensor([0.3, 1.0, 2.0, 0.0], dtype=torch.float64)
    for found, expected in (
        (part.product(), true.product()),
        (part.norm(), true.norm()),
        (part.distance(), true.distance()),
        (part.distance(factor), true.distance(factor)),
        (part.sent.norm, true.sent.norm),
    ):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert part.norm().shape == part.product().shape == part.distance().shape == (TRIALS,)
    assert part.sent.norm.shape == (() if not each else (TRIALS,))


@pytest.mark.parametrize("each", [False, True])
def test_gradients_written_out_are_compared_entry_by_entry(each):
    part = written_out(outer(3, each=each))
    for trial in range(TRIALS):
        found, sent = part.found[trial], part.sent.value[trial] if each else part.sent.value
        close = {"rtol": 1e-12, "atol": 1e-12}
        torch.testing.assert_close(part.product()[trial], (found * sent).sum(), **close)
        torch.testing.assert_close(part.norm()[trial], found.square().sum(), **close)
        torch.testing.assert_close(part.distance()[trial], (found - sent).square().sum(), **close)
        torch.testing.assert_close(
            part.distance(torch.full((4,), 0.3))[trial], (0.3 * found - sent).square().sum(), rtol=1e-6, atol=0
        )
        torch.testing.assert_close(part.sent.norm.expand(TRIALS)[trial], sent.square().sum(), **close)


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("examples", [1, 3])
@pytest.mark.parametrize("away", [1.0, 1e-2, 1e-4, 1e-6])
def test_near_a_match_what_cancels_leaves_the_distance_as_it_is(away, examples, each):
    """In single precision, where three terms of the sent gradient's own size would leave 1e-7 of it."""
    part = outer(examples, each=each, dtype=torch.float32)
    random = torch.Generator().manual_seed(1)
    near = formed(part)[: None if each else 1]
    sent = near * (1 + away * torch.randn(near.shape, generator=random))
    part = Outer(part.delta, part.inputs, Sent(sent if each else sent[0], 2))
    sent = sent.double()
    truth = (formed(Outer(part.delta.double(), part.inputs.double(), Sent(sent, 2))) - sent).square().sum((1, 2))
    found = part.distance()
    assert found.dtype == torch.float64
    own = sent.square().sum((1, 2))
    assert ((found - truth).abs() <= 1e-12 * truth + 1e-14 * own).all()
    assert truth[0] < 4 * away**2 * own[0]
    relative = squared([part]) * (own / own[0] if each else 1)
    torch.testing.assert_close(relative, truth / own[0], rtol=1e-5, atol=1e-14)


@pytest.mark.parametrize("each", [False, True])
@pytest.mark.parametrize("objective", [squared, cosine, clipped(3.0), clipped(1000.0)])
def test_several_parts_are_compared_as_the_one_that_they_make_up(objective, each):
    parts = [outer(3, each=each), written_out(outer(1, each=each, seed=1)), outer(2, each=each, seed=2)]
    whole = [written_out(part) if isinstance(part, Outer) else part for part in parts]
    one = Flat(torch.cat([part.found for part in whole], 1), Sent(torch.cat([part.sent.value for part in whole], -1)))
    torch.testing.assert_close(objective(parts), objective([one]), rtol=1e-12, atol=0)
    assert objective(parts).shape == (TRIALS,)


def made(found, sent):
    return [Flat(torch.tensor([found]), Sent(torch.tensor(sent)))]


def test_the_cosine_does_not_depend_on_the_length_of_either_and_the_squared_distance_does():
    sent = [3.0, 4.0]
    assert cosine(made([21.0, 28.0], sent)).item() == pytest.approx(0, abs=1e-6)
    assert cosine(made([-3.0, -4.0], sent)).item() == pytest.approx(2)
    assert cosine(made([-4.0, 3.0], sent)).item() == pytest.approx(1)
    assert squared(made([9.0, 12.0], sent)).item() == pytest.approx(4)
    assert squared(made([0.0, 0.0], sent)).item() == 1


def test_the_clipped_distance_shortens_what_is_longer_than_the_bound_and_nothing_else():
    """Of length 10, 5 and 1 beside what a client sent that clips to 5."""
    found = torch.tensor([[6.0, 8.0], [3.0, 4.0], [0.6, 0.8], [0.0, 0.0]])
    distances = clipped(5.0)([Flat(found, Sent(torch.tensor([3.0, 4.0])))])
    torch.testing.assert_close(distances, torch.tensor([0.0, 0.0, 16 / 25, 1.0]))
    distances = clipped(5.0)(
        [Flat(found[:, :1], Sent(torch.tensor([3.0]))), Flat(found[:, 1:], Sent(torch.tensor([4.0])))]
    )
    torch.testing.assert_close(distances, torch.tensor([0.0, 0.0, 16 / 25, 1.0]))


@pytest.mark.parametrize("factor", [1e-14, 1e14])
@pytest.mark.parametrize("objective", [squared, cosine])
def test_neither_distance_depends_on_the_unit_of_both_gradients(objective, factor):
    """Written out in single precision, and as the product of what goes in and of slopes of that unit."""
    flat, part = written_out(outer(3, each=True, dtype=torch.float32)), outer(3, each=True, dtype=torch.float32, seed=1)
    sent = [Sent(factor * each.sent.value, each.sent.axes) for each in (flat, part)]
    large = [Flat(factor * flat.found, sent[0]), Outer(factor * part.delta, part.inputs, sent[1])]
    torch.testing.assert_close(objective(large).float(), objective([flat, part]).float(), rtol=1e-4, atol=0)


def test_small_weights_make_one_part_and_each_large_one_its_own():
    found = {"a": torch.randn(2, 3, 4), "large": torch.randn(2, 5000), "b": torch.randn(2, 6)}
    sent = Victims({name: torch.randn(1, *value.shape[1:]) for name, value in found.items()})
    parts = flats(found, sent.of(torch.tensor([0, 0])))
    assert [tuple(part.found.shape) for part in parts] == [(2, 5000), (2, 18)]
    whole = torch.cat([value.flatten(1) for value in found.values()], 1)
    theirs = torch.cat([value.flatten() for value in sent.values.values()])
    torch.testing.assert_close(cosine(parts), 1 - torch.cosine_similarity(whole, theirs[None]), rtol=1e-5, atol=1e-6)


def test_the_slope_of_a_squared_norm_is_twice_the_row():
    rows = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda each: Flat(each, Sent(torch.zeros(5))).norm(), rows)
    rows = torch.zeros(1, 5, requires_grad=True)
    assert torch.equal(torch.autograd.grad(Flat(rows, Sent(torch.zeros(5))).norm().sum(), rows)[0], rows)


@pytest.mark.parametrize("victim", [[0, 0, 0], [2, 2], [0, 1, 1], [1]])
def test_what_was_sent_is_given_as_trials_want_it_and_made_once(victim):
    sent = Victims({"weight": torch.randn(3, 4, 2), "bias": torch.randn(3, 4)})
    chosen, victim = sent.of(torch.tensor(victim)), torch.tensor(victim)
    whole = torch.cat([sent.values["weight"].flatten(1), sent.values["bias"]], 1)[victim]
    row, square = chosen.flat(["weight", "bias"]), chosen.weight("weight")
    assert torch.equal(row.value.expand(len(victim), -1), whole)
    assert torch.equal(square.value.expand(len(victim), 4, 2), sent.values["weight"][victim])
    assert row.value.dim() == (1 if len(set(victim.tolist())) == 1 else 2)
    torch.testing.assert_close(square.norm.expand(len(victim)), sent.values["weight"][victim].square().sum((1, 2)))
    assert torch.equal(square.double.value, square.value.double())
    again = sent.of(victim.clone())
    assert again.flat(["weight", "bias"]) is row
    assert again.weight("weight") is square


def test_only_so_many_sets_of_trials_are_remembered():
    sent = Victims({"bias": torch.arange(40.0)[:, None]})
    for number in range(40):
        assert sent.of(torch.tensor([number])).weight("bias").value.item() == number
    assert sent._kept.cache_info().currsize == 16
    assert sent.of(torch.tensor([0])).weight("bias").value.item() == 0
