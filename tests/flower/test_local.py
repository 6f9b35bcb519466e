"""Flower's messages in this process: an honest round is FedAvg, and who reads along changes nothing."""

import pytest

pytest.importorskip("flwr", reason="needs Flower: pip install 'privlab[flower]'")

import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.serverapp.strategy import FedAvg

from privlab import flower, runtime
from privlab.attacks import gradient_extraction, trap_weights
from privlab.metrics import extraction
from privlab.sharing import federated
from tests.flower.agreed import BATCH, LR, client, network, normed

NODES = 4
SMALL = 5e-4  # of trap weights whose change survives being added to them


def _app(make=network, **how):
    return flower.client_app(make, client, batch=BATCH, lr=LR, **how)


def _fed_avg(**how):
    with flower.quietly():
        return FedAvg(fraction_evaluate=0.0, **how)


def _one_round(server, app=None, nodes=NODES, make=network):
    """One round; returns the shared model after it."""
    grid = flower.LocalGrid(app or _app(make), nodes)
    model = make()
    with flower.quietly():
        messages = server.configure_train(1, flower.record(model), ConfigRecord(), grid)
        arrays, _ = server.aggregate_train(1, list(grid.send_and_receive(messages)))
    return model if arrays is None else flower.load(model, arrays)


def _by_hand(part, make=network, nodes=NODES):
    """What partition `part` must send: one epoch of SGD, slowly."""
    own = client(part, nodes)
    random = runtime.generator(runtime.derive(0, "flower", part, 1))
    return federated.local_update(make(), own, epochs=1, batch=BATCH, lr=LR, random=random)


@pytest.mark.parametrize("make", [network, normed])
def test_a_round_of_flower_is_fed_avg(make):
    """By numbers of examples, buffers included; the oracle is a sum over clients by hand."""
    after = _one_round(_fed_avg(), make=make).state_dict()
    counts = [len(client(part, NODES).labels) for part in range(NODES)]
    updates = [_by_hand(part, make) for part in range(NODES)]
    for name, weight in make().named_parameters():
        mean = sum(count * update[name] for count, update in zip(counts, updates, strict=True)) / sum(counts)
        assert torch.allclose(after[name], weight + mean, atol=1e-6), name
    for name, _ in make().named_buffers():
        if "num_batches" not in name:
            mean = sum(count * update.buffers[name] for count, update in zip(counts, updates, strict=True)) / sum(
                counts
            )
            assert torch.allclose(after[name], mean, atol=1e-6), name


def test_an_eavesdropper_hears_each_client_and_changes_nothing():
    server = flower.Eavesdropper(_fed_avg(), network())
    after = _one_round(server).state_dict()
    plain = _one_round(_fed_avg()).state_dict()
    assert all(torch.allclose(after[name], plain[name], atol=1e-7) for name in plain)
    assert [each.partition for each in server.heard] == list(range(NODES))
    assert [each.examples for each in server.heard] == [len(client(part, NODES).labels) for part in range(NODES)]
    assert server.missing == {1: {}}
    for each in server.heard:
        expected = _by_hand(each.partition)
        assert all(torch.allclose(each.update[name], expected[name], atol=1e-7) for name in expected)


def _recall(heard, nodes=NODES):
    images = client(heard.partition, nodes).images
    rows = gradient_extraction.candidates(heard.gradient())
    return extraction.score(rows, images, neurons=200).recall


def _trap(sigma):
    return lambda model: trap_weights.plant(model, 0.9, sigma=sigma, seed=3)


def test_a_malicious_server_reads_its_victims_and_the_others_train_on():
    server = flower.Malicious(_fed_avg(), network(), _trap(SMALL), victims=[1, 2])
    after = _one_round(server).state_dict()
    assert [each.trapped for each in server.heard] == [True, True, False, False]
    assert min(_recall(each) for each in server.heard[:2]) > 0.5
    bait = _trap(SMALL)(network())
    for each in server.heard:
        expected = _by_hand(each.partition, (lambda: bait) if each.trapped else network)
        assert all(torch.allclose(each.update[name], expected[name], atol=1e-7) for name in expected)
    honest = [_by_hand(part) for part in (2, 3)]
    for name, weight in network().named_parameters():
        mean = (BATCH * honest[0][name] + BATCH // 2 * honest[1][name]) / (BATCH + BATCH // 2)
        assert torch.allclose(after[name], weight + mean, atol=1e-6)


def test_where_all_are_trapped_the_shared_model_stays():
    server = flower.Malicious(_fed_avg(), network(), _trap(SMALL))
    after = _one_round(server).state_dict()
    assert all(torch.equal(after[name], each) for name, each in network().state_dict().items())
    quiet = flower.Malicious(_fed_avg(), network(), _trap(SMALL), rounds=[2])
    _one_round(quiet)
    assert not any(each.trapped for each in quiet.heard)


def test_large_trap_weights_are_rounded_away_when_weights_are_sent():
    """A change is known to the rounding of the weight that it was added to: what the small trap avoids."""
    recalls = {}
    for sigma in (0.5, SMALL):
        server = flower.Malicious(_fed_avg(), network(), _trap(sigma))
        _one_round(server)
        recalls[sigma] = [_recall(each) for each in server.heard]
    assert sum(recalls[0.5]) < sum(recalls[SMALL]) / 2
    assert min(recalls[SMALL]) > 0.5


def test_a_client_of_another_model_is_named_and_left_out():
    def odd(part, parts):
        if part == 2:
            raise ValueError("this client has no data")
        return client(part, parts)

    app = flower.client_app(network, odd, batch=BATCH, lr=LR)
    server = flower.Eavesdropper(_fed_avg(), network())
    _one_round(server, app)
    assert list(server.missing[1]) == [3]
    assert "this client has no data" in server.missing[1][3]
    other = flower.Eavesdropper(_fed_avg(), network())
    _one_round(other, _app(normed))
    assert len(other.missing[1]) == NODES
    assert all("another model" in reason for reason in other.missing[1].values())
    assert not other.heard


@pytest.mark.parametrize("broken", ["nan", "shape", "name"])
def test_an_answer_that_does_not_fit_is_named(broken):
    def change(message, context, call_next):
        answer = call_next(message, context)
        if context.node_config["partition-id"] == 1:
            state = answer.content["arrays"].to_torch_state_dict()
            if broken == "nan":
                state["fc1.weight"][0, 0] = float("nan")
            elif broken == "shape":
                state["fc1.weight"] = state["fc1.weight"][:3]
            else:
                state["other"] = state.pop("fc1.weight")
            answer.content["arrays"] = ArrayRecord(state)
        return answer

    server = flower.Eavesdropper(_fed_avg(), network())
    _one_round(server, _app(mods=[change]))
    assert list(server.missing[1]) == [2]
    assert ("not finite" if broken == "nan" else "another model") in server.missing[1][2]
    assert [each.partition for each in server.heard] == [0, 2, 3]


def test_records_keep_every_number_and_refuse_another_model():
    model = normed()
    other = flower.load(normed().apply(lambda layer: None), flower.record(model))
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True))
    with pytest.raises(ValueError, match=r"another model.*the server and its clients must build the same"):
        flower.load(network(), flower.record(model))


def test_messages_are_written_and_read():
    """What a client changes in what it was given does not reach the server, and bytes are counted both ways."""
    app = _app()
    grid = flower.LocalGrid(app, 2)
    sent = RecordDict({"arrays": flower.record(network()), "config": ConfigRecord()})
    answers = list(grid.send_and_receive([Message(sent, dst_node_id=1, message_type="train")]))
    floats = sum(each.numel() for each in network().state_dict().values())
    assert len(answers) == 1
    assert 8 * floats < grid.sent < 8 * floats + 8000
    assert list(grid.get_node_ids()) == [1, 2]


def test_rounds_go_on_where_they_were(tmp_path):
    def train(number, folder):
        server = flower.Malicious(_fed_avg(), network(), _trap(SMALL), rounds=[1])
        with flower.quietly():
            return server, flower.rounds(server, flower.LocalGrid(_app(), NODES), number, folder=folder)

    _, whole = train(3, tmp_path / "whole")
    train(1, tmp_path / "parts")
    server, parts = train(3, tmp_path / "parts")
    assert [each.number for each in parts] == [1, 2, 3]
    assert {each.round for each in server.heard} == {2, 3}  # the first was not trained again
    assert all(each.trapped for each in parts[0].heard)
    for a, b in zip(whole, parts, strict=True):
        assert all(torch.equal(a.state[name], b.state[name]) for name in a.state)
        assert [each.node for each in a.heard] == [each.node for each in b.heard]
        assert all(
            torch.equal(x.update[n], y.update[n]) for x, y in zip(a.heard, b.heard, strict=True) for n in x.update
        )
    (tmp_path / "parts" / "round-0002.pt").write_bytes(b"no round")
    with pytest.raises(ValueError, match=r"round-0002\.pt is no round of ours.*remove it"):
        flower.finished(tmp_path / "parts")


def test_rounds_of_another_model_are_refused(tmp_path):
    flower.rounds(flower.Eavesdropper(_fed_avg(), network()), flower.LocalGrid(_app(), 2), 1, folder=tmp_path)
    other = flower.Eavesdropper(_fed_avg(), normed())
    with pytest.raises(ValueError, match="are of another model; give another folder"):
        flower.rounds(other, flower.LocalGrid(_app(normed), 2), 2, folder=tmp_path)


@pytest.mark.parametrize("given", [{"epochs": 0}, {"batch": 0}, {"lr": 0.0}])
def test_wrong_settings_are_refused(given):
    with pytest.raises(ValueError, match=next(iter(given))):
        flower.client_app(network, client, **given)
