"""Robust aggregation against its slow definitions, Flower's own, and a few clients that lie."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from privlab import data, models
from privlab.defences import aggregation
from privlab.sharing import federated, together
from privlab.sharing.messages import Update

N, F = 11, 2
RULES = {
    "median": aggregation.median,
    "trimmed_mean": lambda updates: aggregation.trimmed_mean(updates, F),
    "krum": lambda updates: aggregation.krum(updates, F),
    "multi_krum": lambda updates: aggregation.multi_krum(updates, F, 5),
    "bulyan": lambda updates: aggregation.bulyan(updates, F),
    "geometric_median": aggregation.geometric_median,
}
BOUND = 3.0
SHORT = {"clipped_mean": lambda updates: aggregation.clipped_mean(updates, BOUND), "mean": aggregation.mean}
# How many of eleven that send the same huge lie it takes to break a rule that was told of two. The median and Krum
# fall to a majority, and Bulyan where its Krum by turns takes four liars among its seven.
BREAKS = {
    "median": 6,
    "trimmed_mean": F + 1,
    "krum": 6,
    "multi_krum": 6,
    "bulyan": 5,
    "geometric_median": 6,
    "clipped_mean": None,
    "mean": 1,
}


def _updates(n=N, seed=0, dtype=torch.float64):
    random = torch.Generator().manual_seed(seed)
    shapes = {"fc.weight": (4, 5), "fc.bias": (4,)}
    made = [
        {name: torch.randn(shape, generator=random, dtype=dtype) for name, shape in shapes.items()} for _ in range(n)
    ]
    return [Update(each, {}) for each in made]


def _flat(update):
    return torch.cat([each.detach().flatten() for each in update.values()]).double().numpy()


def _krum_by_hand(vectors, f):
    """Blanchard et al.: the score of each is the sum over its n - f - 2 nearest others; slowly."""
    scores = []
    for i, one in enumerate(vectors):
        others = sorted(float(((one - other) ** 2).sum()) for j, other in enumerate(vectors) if j != i)
        scores.append(sum(others[: max(1, len(vectors) - f - 2)]))
    return np.argsort(scores, kind="stable")


def _distances_to(vectors, point):
    return sum(np.linalg.norm(each - point) for each in vectors)


def _by_hand(rule, vectors):
    ordered = np.sort(np.stack(vectors), 0)
    if rule == "median":
        return np.median(ordered, 0)
    if rule == "trimmed_mean":
        return ordered[F : N - F].mean(0)
    if rule == "mean":
        return ordered.mean(0)
    if rule == "clipped_mean":
        return np.mean([each * min(1, BOUND / np.linalg.norm(each)) for each in vectors], 0)
    if rule == "geometric_median":
        found = minimize(partial(_distances_to, vectors), np.mean(vectors, 0), method="BFGS", options={"gtol": 1e-9})
        return found.x
    if rule in ("krum", "multi_krum"):
        return np.mean([vectors[i] for i in _krum_by_hand(vectors, F)[: 1 if rule == "krum" else 5]], 0)
    left, taken = list(vectors), []
    for _ in range(N - 2 * F):
        taken.append(left.pop(_krum_by_hand(left, F)[0]))
    chosen = np.stack(taken)
    found = []
    for column in chosen.T:
        middle = np.median(column)
        found.append(np.mean(sorted(column, key=lambda value: abs(value - middle))[: N - 4 * F]))
    return np.array(found)


@pytest.mark.parametrize("rule", RULES | SHORT)
@pytest.mark.parametrize("seed", range(5))
def test_equals_its_definition(rule, seed):
    updates = _updates(seed=seed)
    made = (RULES | SHORT)[rule](updates)
    near = 1e-5 if rule == "geometric_median" else 1e-10  # it stops at a step of 1e-6
    assert _flat(made) == pytest.approx(_by_hand(rule, [_flat(each) for each in updates]), abs=near)
    assert {name: each.shape for name, each in made.items()} == {n: each.shape for n, each in updates[0].items()}


@pytest.mark.parametrize("n", [4, 5])
def test_the_median_of_an_even_and_an_odd_number(n):
    updates = _updates(n)
    assert _flat(aggregation.median(updates)) == pytest.approx(np.median([_flat(each) for each in updates], 0))


@pytest.mark.parametrize("rule", RULES)
def test_f_that_lie_do_not_move_it_and_the_mean_they_do(rule):
    """The worst of three lies, far away: the answer stays within what honest clients span."""
    honest = _updates(N - F)
    span = np.stack([_flat(each) for each in honest])
    for lie in (1e6, -1e6, 1e30, 1e200, 1.5e308):
        made = _flat(RULES[rule]([*_liars(F, lie), *honest]))
        assert (made >= span.min(0) - 1e-9).all()
        assert (made <= span.max(0) + 1e-9).all()
    assert np.abs(_flat(aggregation.mean([*_liars(F, 1e6), *honest]))).min() > 1e5


@pytest.mark.parametrize("rule", RULES | SHORT)
def test_it_breaks_at_its_breakdown_point_and_not_one_client_sooner(rule):
    """Of equal lies, far away, in float32, of which the squares are none."""
    broken = []
    for count in range(N):
        honest = _updates(N - count, dtype=torch.float32)
        made = _flat((RULES | SHORT)[rule]([*honest, *_liars(count, 1e25, torch.float32)]))
        assert np.isfinite(made).all()
        if np.abs(made).max() > 1e3:
            broken.append(count)
    first = BREAKS[rule]
    assert broken == ([] if first is None else list(range(first, N)))


@pytest.mark.parametrize("n", [8, 9, 10])
@pytest.mark.parametrize("rule", ["median", "geometric_median", "trimmed_mean", "krum", "multi_krum", "bulyan"])
def test_the_most_that_a_rule_can_be_told_of_do_not_break_it(rule, n):
    f = {"krum": (n - 3) // 2, "multi_krum": (n - 3) // 2, "bulyan": (n - 3) // 4}.get(rule, (n - 1) // 2)
    more = {"median": (), "geometric_median": (), "multi_krum": (f, n - f)}.get(rule, (f,))
    honest = _updates(n - f)
    for lie in (1e9, 1e30):
        made = _flat(getattr(aggregation, rule)([*_liars(f, lie), *honest], *more))
        assert np.abs(made).max() <= max(np.abs(_flat(each)).max() for each in honest)


@pytest.mark.parametrize("rule", ["krum", "multi_krum", "bulyan"])
def test_a_liar_far_away_does_not_blind_krum_for_another(rule):
    """Beside one at 1e30 all distances would be roundings if they were centred, and one at 1e6 as good as any."""
    honest = _updates(N - 2)
    for seed in range(5):
        random = torch.Generator().manual_seed(seed)
        away = {name: 1e6 * torch.randn(each.shape, generator=random).double() for name, each in honest[0].items()}
        sent = [*_liars(1, 1e30), Update(away, {}), *honest]
        made = _flat(RULES[rule](sent))
        assert made == pytest.approx(_by_hand(rule, [_flat(each) for each in sent]), abs=1e-9)
        assert np.abs(made).max() < 10


def test_clipped_the_mean_is_moved_by_bound_times_share_at_most():
    honest = _updates(N - F, dtype=torch.float32)
    still = _flat(aggregation.clipped_mean(honest, BOUND))
    for lie in (1.0, 1e6, 1e25):
        sent = [*_liars(F, lie, torch.float32), *honest]
        moved = _flat(aggregation.clipped_mean(sent, BOUND)) - still * (N - F) / N
        assert np.linalg.norm(moved) == pytest.approx(F / N * BOUND, rel=1e-5)
        by_itself = _flat(aggregation.clipped_mean(sent))
        lengths = [np.linalg.norm(_flat(each)) for each in sent]
        assert by_itself == pytest.approx(_flat(aggregation.clipped_mean(sent, float(np.median(lengths)))))
    assert np.linalg.norm(_flat(aggregation.clipped_mean(_updates(), 1e-9))) <= 1e-9
    nothing = [Update({"w": torch.zeros(3)}, {}), Update({"w": torch.ones(3)}, {}), Update({"w": torch.zeros(3)}, {})]
    assert aggregation.clipped_mean(nothing)["w"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_no_point_near_the_geometric_median_has_a_smaller_sum_of_distances(seed):
    updates = [*_updates(seed=seed, dtype=torch.float32), *_liars(4, 50.0, torch.float32)]
    vectors, made = [_flat(each) for each in updates], _flat(aggregation.geometric_median(updates))
    least, random = _distances_to(vectors, made), np.random.default_rng(seed)
    for size in (1e-3, 1e-2, 0.1, 1.0):
        for _ in range(50):
            assert _distances_to(vectors, made + size * random.standard_normal(len(made))) > least - 1e-6
    assert least < min(_distances_to(vectors, each) for each in (np.mean(vectors, 0), np.median(vectors, 0)))


def test_how_far_away_a_liar_is_does_not_matter_to_the_geometric_median():
    """It pulls by its direction alone, also from where squares are no float32."""
    honest = _updates(N - F, dtype=torch.float32)
    near, far = (_flat(aggregation.geometric_median([*_liars(F, lie, torch.float32), *honest])) for lie in (1e6, 1e30))
    assert far == pytest.approx(near, abs=1e-4)
    without = _flat(aggregation.geometric_median(honest))
    assert np.linalg.norm(far - without) > 0.1


def test_the_geometric_median_is_where_most_agree():
    """Where more than half send the same it is that, and where a step is the last one allowed it is one step."""
    honest = _updates(1)[0]
    made = aggregation.geometric_median([honest, honest, honest, *_liars(2, 1e9)])
    assert _flat(made) == pytest.approx(_flat(honest), abs=1e-6)
    vectors = [_flat(each) for each in _updates()]
    middle = np.median(vectors, 0)
    near = np.array([1 / np.linalg.norm(each - middle) for each in vectors])
    assert _flat(aggregation.geometric_median(_updates(), 1)) == pytest.approx(near @ vectors / near.sum())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_updates_keep_their_precision(dtype):
    """Of half precision, too, which NumPy does not know in both kinds; and of weights with a graph behind them."""
    sent = _updates(dtype=dtype)
    sent[0]["fc.bias"].requires_grad_()
    before = [_flat(each) for each in sent]
    for name, rule in (RULES | SHORT).items():
        made = rule(sent)
        assert {each.dtype for each in made.values()} == {dtype}, name
        wanted = _by_hand(name, before)
        near = {torch.float16: 0.02, torch.bfloat16: 0.1}.get(dtype, 1e-4)
        assert name == "bulyan" or _flat(made) == pytest.approx(wanted, abs=near)
    assert all((_flat(each) == old).all() for each, old in zip(sent, before, strict=True))


def _federation(seed):
    source = data.load("digits")
    parts = data.iid(source.labels, N, seed=seed)
    clients = [federated.Client(source[part].images, source[part].labels) for part in parts]
    return models.fully_connected(source.shape, 10, widths=(32,), seed=seed), clients


@pytest.mark.parametrize("seed", range(3))
def test_without_a_liar_a_robust_rule_costs_little(seed):
    """In accuracy on IID digits, beside the mean. Krum, which takes one client's word, costs the most: .02 to .15."""
    model, clients = _federation(seed)
    test = data.load("digits", split="test")
    how = {"rounds": 10, "batch": 8, "train": together.local_updates, "seed": seed}
    plain = federated.accuracy(federated.fed_avg(model, clients, **how, equal=True), test.images, test.labels)
    assert plain > 0.9
    for name, rule in RULES.items():
        made = federated.fed_avg(model, clients, **how, aggregate=rule)
        cost = plain - federated.accuracy(made, test.images, test.labels)
        assert cost < (0.2 if name == "krum" else 0.07), name


def _liars(count, lie, dtype=torch.float64):
    return [
        Update({"fc.weight": torch.full((4, 5), lie, dtype=dtype), "fc.bias": torch.full((4,), lie, dtype=dtype)}, {})
        for _ in range(count)
    ]


def test_far_from_zero_krum_keeps_its_digits():
    """Squared norms of 1e10 beside distances of 1e-4: the short way by products alone would choose by rounding."""
    updates = [
        Update({name: 1e3 + 1e-3 * each for name, each in one.items()}, {}) for one in _updates(dtype=torch.float32)
    ]
    by_hand = _krum_by_hand([_flat(each) for each in updates], F)[0]
    assert (_flat(aggregation.krum(updates, F)) == _flat(updates[by_hand])).all()


def _flower(strategy, updates):
    """What a strategy of Flower makes of these updates, as weights beside a model of zeros."""
    pytest.importorskip("flwr", reason="needs Flower: pip install 'privlab[flower]'")
    from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict

    from privlab import flower
    from privlab.flower import LocalGrid

    def answer(message, context):
        update = updates[context.node_config["partition-id"]]
        content = {"arrays": ArrayRecord(dict(update)), "metrics": MetricRecord({"num-examples": 1})}
        return Message(RecordDict(content), reply_to=message)

    grid = LocalGrid(answer, len(updates))
    asked = [Message(RecordDict(), dst_node_id=node, message_type="train") for node in grid.get_node_ids()]
    with flower.quietly():
        arrays, _ = strategy.aggregate_train(1, list(grid.send_and_receive(asked)))
    return torch.cat([each.flatten() for each in arrays.to_torch_state_dict().values()]).double().numpy()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rule", ["mean", *(each for each in RULES if each != "geometric_median")])
def test_flowers_strategies_give_the_same(rule, seed):
    """Bulyan with Krum by turns, as its paper has it: Flower's own choice is one run of Multi-Krum."""
    pytest.importorskip("flwr", reason="needs Flower: pip install 'privlab[flower]'")
    from flwr.serverapp import strategy

    def by_turns(contents, f, keep):
        stacked = torch.stack(
            [torch.from_numpy(np.concatenate([a.numpy().ravel() for a in c["arrays"].values()])) for c in contents]
        )
        return [contents[i] for i in aggregation.krum_by_turns(stacked, f, keep)]

    made = {
        "mean": lambda: strategy.FedAvg(),
        "median": lambda: strategy.FedMedian(),
        "trimmed_mean": lambda: strategy.FedTrimmedAvg(beta=F / N),
        "krum": lambda: strategy.Krum(num_malicious_nodes=F),
        "multi_krum": lambda: strategy.MultiKrum(num_malicious_nodes=F, num_nodes_to_select=5),
        "bulyan": lambda: strategy.Bulyan(num_malicious_nodes=F, selection_rule=by_turns),
    }[rule]()
    updates = _updates(seed=seed)
    assert _flower(made, updates) == pytest.approx(_flat((RULES | SHORT)[rule](updates)), abs=1e-9)


def test_what_does_not_fit_is_refused():
    updates = _updates(6)
    with pytest.raises(ValueError, match="there are no updates"):
        aggregation.median([])
    for rule, f, least in ((aggregation.trimmed_mean, 3, 7), (aggregation.krum, 2, 7), (aggregation.bulyan, 1, 7)):
        with pytest.raises(ValueError, match=f"f={f} needs {least} updates or more, and there are 6"):
            rule(updates, f)
    with pytest.raises(ValueError, match="update 1 is of another model; leave it out"):
        aggregation.median([updates[0], Update({"fc.bias": torch.zeros(4)}, {})])
    for value in (float("nan"), float("inf")):
        broken = Update({name: each.clone() for name, each in updates[2].items()}, {})
        broken["fc.bias"][1] = value
        with pytest.raises(ValueError, match="update 2 has numbers that are not finite"):
            aggregation.median([*updates[:2], broken])
    for keep in (0, N + 1):
        with pytest.raises(ValueError, match=f"keep={keep} is out of range"):
            aggregation.multi_krum(_updates(), F, keep)
    for f in (-1, 1.5, True):
        with pytest.raises((ValueError, TypeError), match="f="):
            aggregation.trimmed_mean(updates, f)
    for bound in (0, -1.0, float("nan"), "1"):
        with pytest.raises((ValueError, TypeError), match="bound="):
            aggregation.clipped_mean(updates, bound)
    for name, value in (("iterations", 0), ("smooth", float("nan")), ("smooth", -1.0)):
        with pytest.raises(ValueError, match=f"{name}="):
            aggregation.geometric_median(updates, **{name: value})


@pytest.mark.parametrize("rule", RULES | SHORT)
def test_every_rule_refuses_what_is_no_update_of_this_model(rule):
    sent = _updates()
    for wrong, words in (
        ({"fc.bias": torch.full((4,), float("nan"))}, "update 3 has numbers that are not finite"),
        ({"fc.bias": torch.full((4,), float("inf"))}, "update 3 has numbers that are not finite"),
        ({"fc.bias": torch.zeros(5)}, "update 3 is of another model"),
        ({"other": torch.zeros(4)}, "update 3 is of another model"),
        ({"fc.bias": torch.zeros(4, dtype=torch.int64)}, "update 3 has weights that are no floats"),
    ):
        broken = [*sent[:3], Update({**sent[3], **wrong}, {}), *sent[4:]]
        with pytest.raises(ValueError, match=words):
            (RULES | SHORT)[rule](broken)
    with pytest.raises(ValueError, match=r"there are no updates|f=2 needs \d+ updates or more, and there are 0"):
        (RULES | SHORT)[rule]([])


def test_of_buffers_the_median_is_taken():
    updates = _updates(5)
    held = [Update(dict(each), {"mean": torch.full((2,), float(n))}) for n, each in enumerate(updates)]
    assert aggregation.median(held).buffers["mean"].tolist() == [2.0, 2.0]


def test_every_rule_is_tried():
    public = [
        name
        for name, each in vars(aggregation).items()
        if callable(each) and getattr(each, "__module__", "") == aggregation.__name__
    ]
    assert {name for name in public if name[0] != "_"} == {*RULES, *SHORT, "krum_by_turns"}
