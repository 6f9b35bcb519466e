"""Robust aggregation against its slow definitions, Flower's own, and a few clients that lie."""

import numpy as np
import pytest
import torch

from privlab.defences import aggregation
from privlab.sharing.messages import Update

N, F = 11, 2
RULES = {
    "median": aggregation.median,
    "trimmed_mean": lambda updates: aggregation.trimmed_mean(updates, F),
    "krum": lambda updates: aggregation.krum(updates, F),
    "multi_krum": lambda updates: aggregation.multi_krum(updates, F, 5),
    "bulyan": lambda updates: aggregation.bulyan(updates, F),
}


def _updates(n=N, seed=0, dtype=torch.float64):
    random = torch.Generator().manual_seed(seed)
    shapes = {"fc.weight": (4, 5), "fc.bias": (4,)}
    made = [
        {name: torch.randn(shape, generator=random, dtype=dtype) for name, shape in shapes.items()} for _ in range(n)
    ]
    return [Update(each, {}) for each in made]


def _flat(update):
    return torch.cat([each.flatten() for each in update.values()]).double().numpy()


def _krum_by_hand(vectors, f):
    """Blanchard et al.: the score of each is the sum over its n - f - 2 nearest others; slowly."""
    scores = []
    for i, one in enumerate(vectors):
        others = sorted(float(((one - other) ** 2).sum()) for j, other in enumerate(vectors) if j != i)
        scores.append(sum(others[: max(1, len(vectors) - f - 2)]))
    return np.argsort(scores, kind="stable")


def _by_hand(rule, vectors):
    ordered = np.sort(np.stack(vectors), 0)
    if rule == "median":
        return np.median(ordered, 0)
    if rule == "trimmed_mean":
        return ordered[F : N - F].mean(0)
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


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(5))
def test_equals_its_definition(rule, seed):
    updates = _updates(seed=seed)
    made = RULES[rule](updates)
    assert _flat(made) == pytest.approx(_by_hand(rule, [_flat(each) for each in updates]), abs=1e-10)
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
    for lie in (1e6, -1e6, 1e30):
        liars = [Update({name: torch.full_like(each, lie) for name, each in honest[0].items()}, {}) for _ in range(F)]
        made = _flat(RULES[rule]([*liars, *honest]))
        assert (made >= span.min(0) - 1e-9).all()
        assert (made <= span.max(0) + 1e-9).all()


@pytest.mark.parametrize("rule", ["median", "trimmed_mean"])
def test_more_than_it_bears_do_move_it(rule):
    """One client beyond the breakdown point: half of all for the median, f + 1 for the trimmed mean."""
    count = {"median": N // 2 + 1, "trimmed_mean": F + 1}[rule]
    honest = _updates(N - count)
    liars = [Update({name: torch.full_like(each, 1e6) for name, each in honest[0].items()}, {}) for _ in range(count)]
    assert np.abs(_flat(RULES[rule]([*liars, *honest]))).max() > 1e4


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
@pytest.mark.parametrize("rule", RULES)
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
        "median": lambda: strategy.FedMedian(),
        "trimmed_mean": lambda: strategy.FedTrimmedAvg(beta=F / N),
        "krum": lambda: strategy.Krum(num_malicious_nodes=F),
        "multi_krum": lambda: strategy.MultiKrum(num_malicious_nodes=F, num_nodes_to_select=5),
        "bulyan": lambda: strategy.Bulyan(num_malicious_nodes=F, selection_rule=by_turns),
    }[rule]()
    updates = _updates(seed=seed)
    assert _flower(made, updates) == pytest.approx(_flat(RULES[rule](updates)), abs=1e-9)


def test_what_does_not_fit_is_refused():
    updates = _updates(6)
    with pytest.raises(ValueError, match="there are no updates"):
        aggregation.median([])
    for rule, f, least in ((aggregation.trimmed_mean, 3, 7), (aggregation.krum, 2, 7), (aggregation.bulyan, 1, 7)):
        with pytest.raises(ValueError, match=f"f={f} needs {least} updates or more, and there are 6"):
            rule(updates, f)
    with pytest.raises(ValueError, match="update 1 is of another model than update 0"):
        aggregation.median([updates[0], Update({"fc.bias": torch.zeros(4)}, {})])
    for value in (float("nan"), float("inf")):
        broken = Update({name: each.clone() for name, each in updates[2].items()}, {})
        broken["fc.bias"][1] = value
        with pytest.raises(ValueError, match="update 2 has numbers that are not finite"):
            aggregation.median([*updates[:2], broken])
    with pytest.raises(ValueError, match="keep"):
        aggregation.multi_krum(_updates(), F, 0)


def test_buffers_are_averaged_among_all():
    updates = _updates(5)
    held = [Update(dict(each), {"mean": torch.full((2,), float(n))}) for n, each in enumerate(updates)]
    assert aggregation.median(held).buffers["mean"].tolist() == [2.0, 2.0]


def test_every_rule_is_tried():
    public = [
        name
        for name, each in vars(aggregation).items()
        if callable(each) and getattr(each, "__module__", "") == aggregation.__name__
    ]
    assert {name for name in public if name[0] != "_"} == {*RULES, "krum_by_turns"}
