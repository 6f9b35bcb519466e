"""Updates as rows and back, which of them a rule can take, and what `fed_avg(aggregate=…)` makes of the others."""

import warnings

import pytest
import torch
from torch import nn

from privlab import data, models
from privlab.defences import aggregation
from privlab.sharing import federated, messages
from privlab.sharing.messages import Update

DIGITS = data.load("digits")
CLIENTS = [federated.Client(DIGITS.images[i : i + 20], DIGITS.labels[i : i + 20]) for i in range(0, 100, 20)]
HOW = {"rounds": 2, "batch": 10, "lr": 0.1}


def update(value=1.0, buffers=None, **more):
    return Update({"a": torch.full((2, 3), value), "b": torch.arange(2.0) + value, **more}, buffers or {})


def network(seed=0):
    return models.fully_connected((1, 28, 28), 10, widths=(8,), seed=seed)


def normed():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 10)).train()


def state(model):
    return {k: v.detach().clone() for k, v in [*model.named_parameters(), *model.named_buffers()]}


def same(one, other):
    first, second = state(one), state(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


# --- rows ----------------------------------------------------------------------------------------------------------


def test_rows_are_the_weights_one_after_the_other_and_lead_back():
    """Also where a client names them in another order."""
    turned = Update(dict(reversed(update(5.0).items())), {})
    rows = messages.stack([update(), turned])
    assert rows.tolist() == [[1, 1, 1, 1, 1, 1, 1, 2], [5, 5, 5, 5, 5, 5, 5, 6]]
    back = messages.unstack(rows[1], [update(), turned])
    assert list(back) == ["a", "b"]
    assert torch.equal(back["a"], turned["a"])
    assert torch.equal(back["b"], turned["b"])
    assert back.buffers == {}


def test_who_sends_no_weight_is_a_row_of_none():
    empty = [Update({}, {"seen": torch.tensor([float(n)])}) for n in range(3)]
    assert messages.stack(empty).shape == (3, 0)
    for rule in (aggregation.mean, aggregation.median, aggregation.geometric_median):
        made = rule(empty)
        assert dict(made) == {}
        assert made.buffers["seen"].tolist() == [1.0]


def test_of_a_buffer_that_most_send_the_median_is_taken_and_of_others_nothing():
    """The lower of two; also of counters and of flags, and who sends it first does not matter."""
    held = [
        {"mean": torch.tensor([float(n), -n]), "count": torch.tensor(n), "flag": torch.tensor([n > 1])}
        for n in range(4)
    ]
    liar = {
        "mean": torch.tensor([1e9, 1e9]),
        "count": torch.tensor(10**9),
        "flag": torch.tensor([False]),
        "mine": torch.ones(1),
    }
    sent = [update(buffers={}), update(buffers=liar), *(update(buffers=each) for each in held)]
    made = messages.unstack(messages.stack(sent)[0], sent).buffers
    assert made.keys() == {"mean", "count", "flag"}
    assert made["mean"].tolist() == [2.0, -1.0]
    assert (made["count"].item(), made["count"].dtype) == (2, torch.int64)
    assert made["flag"].tolist() == [False]
    two = messages.unstack(messages.stack(sent[-2:])[0], sent[-2:]).buffers
    assert two["count"].item() == 2


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (update(float("nan")), "update 1 has numbers that are not finite"),
        (update(-float("inf")), "update 1 has numbers that are not finite"),
        (update(buffers={"seen": torch.tensor([float("nan")])}), "update 1 has numbers that are not finite"),
        (update(buffers={"seen": torch.zeros(2)}), "update 1 is of another model"),
        (update(c=torch.zeros(2)), "update 1 is of another model"),
        (Update({"a": torch.zeros(2, 3)}, {}), "update 1 is of another model"),
        (Update({"a": torch.zeros(3, 2), "b": torch.zeros(2)}, {}), "update 1 is of another model"),
        (
            Update({"a": torch.zeros(2, 3), "b": torch.zeros(2, dtype=torch.int64)}, {}),
            "has weights that are no floats",
        ),
    ],
)
def test_what_is_no_row_beside_others_is_refused_with_its_place(wrong, words):
    good = update(buffers={"seen": torch.zeros(1)})
    with pytest.raises(ValueError, match=words):
        messages.stack([good, wrong, good])
    with pytest.raises(ValueError, match="there are no updates; give at least one"):
        messages.stack([])


def test_large_numbers_are_no_fault():
    """Their sum is no float any more, they are."""
    assert messages.faults([update(3e38)], update()) == {}
    assert messages.faults([update(c=torch.tensor([float("inf"), -float("inf")]))], update(c=torch.zeros(2))) != {}


def test_the_usable_ones_have_zeros_where_others_trained():
    model = {"a": torch.zeros(2, 3), "b": torch.zeros(2), "frozen": torch.zeros(9)}
    part, other = Update({"b": torch.ones(2)}, {"n": torch.ones(1)}), Update({"x": torch.ones(2)}, {"n": torch.ones(1)})
    sound, broken = messages.usable([update(), part, update(float("nan")), other], model, {"n": torch.zeros(1)})
    assert broken == {2: "has numbers that are not finite", 3: "is of another model"}
    assert [list(each) for each in sound] == [["a", "b"]] * 2
    assert sound[1]["a"].eq(0).all()
    assert sound[1]["b"].eq(1).all()
    assert sound[1].buffers == part.buffers
    assert "a" not in part
    assert messages.usable([part], model, {})[1] == {0: "is of another model"}


def test_applied_weights_are_moved_buffers_replaced_and_the_rest_stays():
    model, rows = normed(), torch.arange(8.0)
    before = state(model)
    messages.apply(model, Update({"1.bias": rows}, {"2.running_mean": -rows}))
    after = state(model)
    assert torch.equal(after.pop("1.bias"), before.pop("1.bias") + rows)
    assert torch.equal(after.pop("2.running_mean"), -rows)
    del before["2.running_mean"]
    assert all(torch.equal(after[name], before[name]) for name in before)
    with pytest.raises(KeyError, match="fc9"):
        messages.apply(model, Update({"fc9.bias": rows}, {}))


# --- in federated averaging ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [network, normed])
def test_the_mean_as_a_rule_is_counting_equally(build):
    """Bit for bit, with the running averages of BatchNorm; clients of different sizes."""
    some = [*CLIENTS[:2], federated.Client(DIGITS.images[:33], DIGITS.labels[:33])]
    by_rule = federated.fed_avg(build(), some, **HOW, aggregate=aggregation.mean)
    assert same(by_rule, federated.fed_avg(build(), some, **HOW, equal=True))
    assert not same(by_rule, federated.fed_avg(build(), some, **HOW))


@pytest.mark.parametrize("rule", [aggregation.median, aggregation.geometric_median])
def test_buffers_are_shared_under_a_robust_rule(rule):
    """Their median, whatever the first client says; the network learns and works in eval mode."""
    heard, liar = [], {"2.running_mean": torch.full((8,), 1e6), "2.num_batches_tracked": torch.tensor(10**6)}

    def protect(_round, client, sent):
        heard.append(sent.buffers)
        return Update(dict(sent), {**sent.buffers, **liar} if client == 0 else sent.buffers)

    made = federated.fed_avg(normed(), CLIENTS, rounds=1, batch=10, aggregate=rule, protect=protect)
    honest = torch.stack([each["2.running_mean"] for each in heard[1:]])
    now = made[2].running_mean
    assert (now >= honest.amin(0)).all()
    assert (now <= honest.amax(0)).all()
    assert made[2].num_batches_tracked.item() == 2


def nonsense(kind):
    def protect(number, client, sent):
        if client != 2 or number == 0:
            return sent
        changes, buffers = {name: each.clone() for name, each in sent.items()}, dict(sent.buffers)
        if kind in ("nan", "inf"):
            changes["fc1.bias"][3] = float(kind)
        elif kind == "architecture":
            changes = {f"deep.{name}": each for name, each in changes.items()}
        elif kind == "shape":
            changes["fc1.weight"] = changes["fc1.weight"].T
        elif kind == "whole numbers":
            changes["fc1.bias"] = torch.ones(8, dtype=torch.int64)
        elif kind == "a buffer of its own":
            buffers["mine"] = torch.ones(3)
        elif kind == "a frozen weight's name for a buffer":
            changes["running"] = torch.ones(8)
        return Update(changes, buffers)

    return protect


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("nan", "numbers that are not finite"),
        ("inf", "numbers that are not finite"),
        ("architecture", "is of another model"),
        ("shape", "is of another model"),
        ("whole numbers", "has weights that are no floats"),
        ("a buffer of its own", "is of another model"),
        ("a frozen weight's name for a buffer", "is of another model"),
    ],
)
def test_what_is_no_update_is_dropped_and_named(kind, words):
    """As if that client had not taken part in the second round."""
    with pytest.warns(UserWarning, match=f"^round 1: dropped what client 2 sent, it .*{words}$") as told:
        made = federated.fed_avg(network(), CLIENTS, **HOW, aggregate=aggregation.mean, protect=nonsense(kind))
    assert len(told) == 1
    heard = [[], []]
    wanted = federated.fed_avg(network(), CLIENTS, **HOW, equal=True, listen=lambda n, _c, sent: heard[n].append(sent))
    before = federated.fed_avg(network(), CLIENTS, **{**HOW, "rounds": 1}, equal=True)
    for name, each in before.named_parameters():
        kept = [sent[name] for client, sent in enumerate(heard[1]) if client != 2]
        torch.testing.assert_close(made.get_parameter(name), each + sum(kept) / 4)
    assert not same(made, wanted)


def test_buffers_of_another_network_are_dropped_too():
    def protect(_number, client, sent):
        return Update(dict(sent), {**sent.buffers, "2.running_mean": torch.zeros(3)} if client == 0 else sent.buffers)

    with pytest.warns(UserWarning, match="round 0: dropped what client 0 sent, it is of another model"):
        federated.fed_avg(normed(), CLIENTS, rounds=1, aggregate=aggregation.median, protect=protect)


def test_a_round_of_which_nothing_is_left_changes_nothing():
    def protect(number, _client, sent):
        return Update({name: each / 0 for name, each in sent.items()}, sent.buffers) if number == 1 else sent

    asked, heard = [], []

    def rule(sent):
        asked.append(len(sent))
        return aggregation.median(sent)

    with pytest.warns(UserWarning, match="round 1") as told:
        made = federated.fed_avg(
            normed(), CLIENTS, **HOW, aggregate=rule, protect=protect, listen=lambda *each: heard.append(each[:2])
        )
    assert len(told) == 1
    assert asked == [5]
    assert heard == [(number, client) for number in range(2) for client in range(5)]
    assert same(made, federated.fed_avg(normed(), CLIENTS, **{**HOW, "rounds": 1}, aggregate=aggregation.median))


def test_a_client_that_trained_fewer_weights_counts_as_one_that_did_not_change_them():
    def protect(_number, client, sent):
        return Update({name: each for name, each in sent.items() if client or name.startswith("fc1")}, {})

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = federated.fed_avg(network(), CLIENTS[:3], rounds=1, aggregate=aggregation.median, protect=protect)
    heard = []
    federated.fed_avg(network(), CLIENTS[:3], rounds=1, listen=lambda _n, _c, sent: heard.append(sent))
    for name, before in network().named_parameters():
        three = [0 * each[name] if not at and name[:3] != "fc1" else each[name] for at, each in enumerate(heard)]
        torch.testing.assert_close(made.get_parameter(name), before + torch.stack(three).median(0).values)


@pytest.mark.parametrize("bad", [0, 3])
def test_of_a_part_of_the_clients_the_right_one_is_named(bad):
    """By its number among all, not among those who were drawn."""

    def protect(_number, client, sent):
        return Update({name: each / 0 for name, each in sent.items()}, {}) if client == bad else sent

    drawn = []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        federated.fed_avg(
            network(),
            CLIENTS,
            rounds=6,
            fraction=0.4,
            aggregate=aggregation.mean,
            protect=protect,
            listen=lambda number, client, _sent: drawn.append((number, client)),
        )
    wanted = [f"round {number}: dropped what client {bad} sent" for number, client in drawn if client == bad]
    assert [str(each.message).split(",")[0] for each in told] == wanted
    assert 0 < len(wanted) < 6


def test_a_round_has_one_warning_however_many_are_dropped_in_it():
    """The network of the second round has blown up for all, but one client sends what is of another model."""

    def protect(number, client, sent):
        if number == 0:
            return sent
        return nonsense("architecture")(1, 2, sent) if client == 3 else Update({n: e / 0 for n, e in sent.items()}, {})

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        federated.fed_avg(network(), CLIENTS, **{**HOW, "rounds": 3}, aggregate=aggregation.mean, protect=protect)
    others = "sent, it has numbers that are not finite; what client 3 sent, it is of another model"
    assert [str(each.message) for each in told] == [
        f"round {number}: dropped what clients 0, 1, 2, 4 {others}" for number in (1, 2)
    ]


def test_a_rule_that_is_left_with_too_few_says_so():
    def protect(_number, client, sent):
        return Update({name: each / 0 for name, each in sent.items()}, {}) if client == 1 else sent

    with (
        pytest.warns(UserWarning, match="dropped what client 1"),
        pytest.raises(ValueError, match="f=1 needs 5 updates or more, and there are 4; lower f, or ask more clients"),
    ):
        federated.fed_avg(network(), CLIENTS, aggregate=lambda sent: aggregation.krum(sent, 1), protect=protect)
