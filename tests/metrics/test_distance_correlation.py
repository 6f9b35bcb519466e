import numpy as np
import pytest
import torch

from privlab.metrics.distance_correlation import (
    distance_correlation,
    distance_correlation_squared,
    distance_correlation_unbiased,
    floor_over_batches,
    over_batches,
    shuffled_floor,
)


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


PAIRS = {
    "a noisy mixture": lambda: (normal(40, 7), normal(40, 7) @ normal(7, 3, seed=1) + normal(40, 3, seed=2)),
    "unrelated": lambda: (normal(40, 7), normal(40, 3, seed=5)),
    "a square": lambda: (normal(60, 1), normal(60, 1) ** 2),
    "repeated examples": lambda: (normal(20, 4).repeat(2, 1), normal(20, 2, seed=1).repeat(2, 1)),
    "far from the origin": lambda: (normal(40, 3) + 1e3, normal(40, 2, seed=1) - 1e3),
    "images": lambda: (normal(32, 1, 8, 8), normal(32, 5, 2, 2, seed=3).abs()),
}


@pytest.mark.parametrize("name", PAIRS)
def test_it_equals_the_dcor_package(name):
    import dcor  # compiles itself for seconds: not at the head of the file, which every worker reads

    x, y = PAIRS[name]()
    a, b = x.flatten(1).numpy(), y.flatten(1).numpy()
    assert distance_correlation(x, y).item() == pytest.approx(dcor.distance_correlation(a, b), abs=1e-6)
    # dcor's exponent is that of the distances: 2 is the form of the authors' code
    assert distance_correlation_squared(x, y).item() == pytest.approx(
        dcor.distance_correlation(a, b, exponent=2), abs=1e-6
    )
    assert distance_correlation_unbiased(x, y).item() == pytest.approx(dcor.u_distance_correlation_sqr(a, b), abs=1e-6)


def test_single_precision_is_good_to_three_digits():
    x, y = PAIRS["a noisy mixture"]()
    assert distance_correlation(x.float(), y.float()).item() == pytest.approx(
        distance_correlation(x, y).item(), abs=1e-4
    )


def test_it_is_one_for_a_scaled_rotation_and_not_for_every_linear_map():
    x = normal(50, 6)
    rotation = torch.linalg.qr(normal(6, 6, seed=1)).Q
    stretched = torch.diag(torch.tensor([100.0, 1, 1, 1, 1, 1], dtype=torch.float64))
    assert distance_correlation(x, 3 * x @ rotation + 5).item() == pytest.approx(1, abs=1e-9)
    assert distance_correlation(x, x @ stretched) < 0.9


def test_it_sees_a_square_where_the_squared_form_sees_chance():
    found = torch.tensor(
        [
            (
                distance_correlation(x, x**2),
                distance_correlation_squared(x, x**2),
                shuffled_floor(x, x**2, statistic=distance_correlation_squared),
            )
            for x in (normal(200, 1, seed=s) for s in range(8))
        ]
    )
    real, squared, floor = found.mean(0).tolist()
    assert real == pytest.approx(0.55, abs=0.03)  # normal numbers; 0.536 for very many
    assert squared < real / 2
    assert abs(squared - floor) < 0.15


def test_of_independent_vectors_the_unbiased_form_is_zero_on_average_and_the_plain_one_is_not():
    pairs = [(normal(20, 5, seed=s), normal(20, 5, seed=s + 1000)) for s in range(400)]
    unbiased = torch.stack([distance_correlation_unbiased(*pair) for pair in pairs])
    assert abs(unbiased.mean()) < 3 * unbiased.std() / 20
    assert torch.stack([distance_correlation(*pair) for pair in pairs]).mean() > 0.4


def test_the_floor_is_what_unrelated_vectors_give():
    x, y = normal(64, 30), normal(64, 30) @ normal(30, 9, seed=1)
    unrelated = torch.stack(
        [distance_correlation(x, normal(64, 30, seed=s + 9) @ normal(30, 9, seed=1)) for s in range(8)]
    )
    floor = shuffled_floor(x, y)
    assert abs(floor - unrelated.mean()) < 3 * unrelated.std()
    assert floor < distance_correlation(x, y) - 0.1
    assert shuffled_floor(x, y, seed=1) != floor
    assert shuffled_floor(x, y) == floor


def test_the_gradient_is_that_of_small_changes():
    x, y = normal(12, 3), normal(12, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda y: distance_correlation(x, y), (y,))
    assert torch.autograd.gradcheck(lambda y: distance_correlation_squared(x, y), (y,))


def test_the_gradient_is_finite_where_examples_are_equal():
    x = normal(12, 3)
    for y in (torch.zeros(12, 2, dtype=torch.float64), normal(6, 2).repeat(2, 1)):
        y = y.requires_grad_()
        value = distance_correlation(x, y)
        (slope,) = torch.autograd.grad(value, y)
        assert slope.isfinite().all()
    assert distance_correlation(x, torch.ones(12, 2, dtype=torch.float64)).item() == pytest.approx(0, abs=1e-9)


def test_over_batches_is_the_mean_of_its_full_batches():
    x, y = normal(70, 4), normal(70, 4) ** 2
    parts = [distance_correlation(x[i : i + 32], y[i : i + 32]).item() for i in (0, 32)]
    mean, sd = over_batches(x, y, batch=32)
    assert mean == pytest.approx(np.mean(parts))
    assert sd == pytest.approx(np.std(parts, ddof=1))
    assert over_batches(x, y, batch=70)[1] == 0
    with pytest.raises(ValueError, match="less than one batch of 128"):
        over_batches(x, y)


def test_pairs_must_match():
    with pytest.raises(ValueError, match="x has 3 examples and y 4"):
        distance_correlation(normal(3, 1), normal(4, 1))
    with pytest.raises(ValueError, match="4 or more pairs"):
        distance_correlation_unbiased(normal(3, 1), normal(3, 1))


def test_the_floor_over_batches_is_the_mean_of_the_full_ones(seeded):
    x, y = torch.rand(70, 5, generator=seeded), torch.rand(70, 3, generator=seeded)
    full = [(x[:32], y[:32]), (x[32:64], y[32:64])]
    floors = [shuffled_floor(a, b, draws=2).item() for a, b in full]
    assert floor_over_batches(x, y, batch=32) == pytest.approx(sum(floors) / 2)
    assert floor_over_batches(x, y, batch=32, most=1) == pytest.approx(floors[0])


@pytest.mark.parametrize("scale", [1e-15, 1e-6, 1e6, 1e15])
@pytest.mark.parametrize(
    "statistic", [distance_correlation, distance_correlation_squared, distance_correlation_unbiased]
)
def test_the_unit_of_the_vectors_does_not_matter(statistic, scale, seeded):
    x = torch.randn(40, 6, generator=seeded)
    y = x[:, :3].square() + 0.1 * torch.randn(40, 3, generator=seeded)
    torch.testing.assert_close(statistic(scale * x, y / scale), statistic(x, y), rtol=1e-4, atol=1e-5)


def test_the_slope_has_the_unit_of_the_vectors(seeded):
    x, y = torch.randn(20, 4, generator=seeded), torch.randn(20, 3, generator=seeded)
    slopes = []
    for scale in (1.0, 1e-6):
        points = (scale * x).requires_grad_()
        slopes.append(scale * torch.autograd.grad(distance_correlation(points, y), points)[0])
    torch.testing.assert_close(slopes[1], slopes[0], rtol=1e-3, atol=1e-5)
