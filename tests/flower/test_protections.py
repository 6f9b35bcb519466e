"""Flower's own protections against a server that reads, and a client's guard."""

import logging

import pytest

pytest.importorskip("flwr", reason="needs Flower: pip install 'privlab[flower]'")

import torch
from flwr.app import ConfigRecord
from flwr.clientapp.mod import LocalDpMod
from flwr.serverapp.strategy import DifferentialPrivacyServerSideFixedClipping, FedAvg

from privlab import flower, models
from privlab.attacks import gradient_extraction, label_inference, trap_weights
from privlab.flower import summing
from privlab.metrics import extraction
from privlab.sharing import federated
from tests.flower.agreed import BATCH, LR, client, network

NODES = 3


def _trap(model, sigma=5e-4):
    return trap_weights.plant(model, 0.9, sigma=sigma, seed=3)


def _app(**how):
    return flower.client_app(network, client, batch=BATCH, lr=LR, **how)


def _round(strategy, **how):
    """One round of a strategy with honest clients."""
    with flower.quietly():
        grid = flower.LocalGrid(_app(**how), NODES)
        messages = strategy.configure_train(1, flower.record(network()), ConfigRecord(), grid)
        strategy.aggregate_train(1, list(grid.send_and_receive(messages)))


def _attack(wrap=lambda strategy: strategy, **how):
    """A malicious server around one of Flower's strategies, after one round."""
    with flower.quietly():
        server = flower.Malicious(wrap(FedAvg(fraction_evaluate=0.0)), network(), _trap)
    _round(server, **how)
    return server


def _recall(heard):
    images = client(heard.partition, NODES).images
    return extraction.score(gradient_extraction.candidates(heard.gradient()), images, neurons=200).recall


def _central(strategy):
    return DifferentialPrivacyServerSideFixedClipping(strategy, 1.0, 0.01, NODES)


def test_noise_at_the_server_protects_nobody_from_the_server():
    """Around Flower's central DP it hears what was sent; inside it, what was clipped: that, times one factor."""
    bare = [_recall(each) for each in _attack().heard]
    assert min(bare) > 0.5
    assert [_recall(each) for each in _attack(_central).heard] == bare
    with flower.quietly():
        plain, inner = (flower.Eavesdropper(FedAvg(fraction_evaluate=0.0), network()) for _ in range(2))
        whole = _central(inner)
    _round(plain)
    _round(whole)
    for raw, clipped in zip(plain.heard, inner.heard, strict=True):
        a, b = (torch.cat([one.update[name].flatten() for name in raw.update]) for one in (raw, clipped))
        assert b.norm() == pytest.approx(0.01, rel=1e-3)
        assert torch.nn.functional.cosine_similarity(a, b, dim=0) > 0.999


def test_noise_at_the_client_does():
    server = _attack(mods=[LocalDpMod(1.0, 1.0, epsilon=100.0, delta=1e-5)])
    assert len(server.heard) == NODES
    assert max(_recall(each) for each in server.heard) == 0


def test_what_secagg_gives_is_the_mean_change():
    """Beside the mean by hand, to the rounding of its steps."""
    app = _app(mods=summing.secagg_mods(network))
    grid = flower.LocalGrid(app, NODES)
    with flower.quietly():
        mean = summing.secagg_round(grid, network(), clip=1.0, levels=2**24, most=BATCH)
    sums = {name: torch.zeros_like(each) for name, each in mean.items()}
    total = 0
    for part in range(NODES):
        own = client(part, NODES)
        step = federated.gradient(network(), own.images, own.labels)
        total += len(own.labels)
        for name in sums:
            sums[name] -= LR * len(own.labels) * step[name]
    for name, each in sums.items():
        assert torch.allclose(mean[name], each / total, atol=1e-5), name
    assert max(each.abs().max() for each in mean.values()) > 1e-3


def test_secagg_hides_the_parts_and_hands_on_the_sum():
    """What a client sends is uniform; the trap works on the mean, as it does without any protocol."""
    app = _app(mods=summing.secagg_mods(network))
    grid = _Watched(app, 2)
    bait = _trap(network())
    with flower.quietly():
        mean = summing.secagg_round(grid, bait, clip=0.01, levels=2**28, most=BATCH)
    own = federated.update_as_gradient(mean, 1, lr=1, steps=1)
    found = gradient_extraction.candidates(own)
    images = torch.cat([client(part, 2).images for part in range(2)]).flatten(1)
    nearest = torch.cdist(found, images).min(0).values
    assert (nearest < 0.5).float().mean() > 0.3  # of a range of 28: seen by any eye
    masked = [each for each in grid.seen if len(each) >= 200 * 784]
    assert len(masked) == 2
    for vector in masked:  # uniform in [0, 2^32): a quarter in each quarter
        share = torch.histc(vector.double(), 4, 0, 2**32) / len(vector)
        assert (share - 0.25).abs().max() < 0.01


class _Watched(flower.LocalGrid):
    """Keeps the large arrays that reach the server."""

    def __init__(self, app, nodes):
        super().__init__(app, nodes)
        self.seen = []

    def send_and_receive(self, messages, *, timeout=None):
        from flwr.common import bytes_to_ndarray

        answers = list(super().send_and_receive(messages, timeout=timeout))
        for answer in answers:
            for record in answer.content.config_records.values():
                for value in record.values():
                    large = (
                        [one for one in value if isinstance(one, bytes) and len(one) > 100_000]
                        if isinstance(value, list)
                        else []
                    )
                    self.seen += [torch.from_numpy(bytes_to_ndarray(one).astype(float)).flatten() for one in large]
        return answers


def test_secagg_with_too_few_left_gives_no_sum():
    def lost(message, context, call_next):
        raise RuntimeError("this client has gone")

    def some(message, context, call_next):
        return lost(message, context, call_next) if context.node_config["partition-id"] else call_next(message, context)

    app = _app(mods=[some, *summing.secagg_mods(network)])
    with (
        flower.quietly(logging.CRITICAL),
        pytest.raises(RuntimeError, match="fewer clients are left than its threshold"),
    ):
        summing.secagg_round(flower.LocalGrid(app, NODES), network())


def test_the_guard_refuses_a_trap_before_it_trains():
    trained = []

    def watched(part, parts):
        trained.append(part)
        return client(part, parts)

    app = flower.client_app(network, watched, batch=BATCH, lr=LR, mods=[flower.audit_mod()])
    with flower.quietly():
        server = flower.Malicious(FedAvg(fraction_evaluate=0.0), network(), _trap)
        grid = flower.LocalGrid(app, NODES)
        messages = server.configure_train(1, flower.record(network()), ConfigRecord(), grid)
        server.aggregate_train(1, list(grid.send_and_receive(messages)))
    assert not server.heard
    assert not trained
    assert all("fc1 looks like a trap" in reason for reason in server.missing[1].values())


def test_the_guard_lets_an_honest_round_pass_and_warns_where_it_is_told_to(caplog):
    plenty = {"images": BATCH, "labels": 10, "norm": 100.0}
    with flower.quietly():
        server = flower.Eavesdropper(FedAvg(fraction_evaluate=0.0), network())
        grid = flower.LocalGrid(_app(mods=[flower.audit_mod(**plenty)]), NODES)
        messages = server.configure_train(1, flower.record(network()), ConfigRecord(), grid)
        server.aggregate_train(1, list(grid.send_and_receive(messages)))
        assert len(server.heard) == NODES
        short = flower.LocalGrid(_app(mods=[flower.audit_mod(norm=1e-9)]), NODES)
        again = server.configure_train(2, flower.record(network()), ConfigRecord(), short)
        server.aggregate_train(2, list(short.send_and_receive(again)))
    assert all("norm" in reason for reason in server.missing[2].values())
    logging.getLogger("flwr").propagate = True
    warn = flower.LocalGrid(_app(mods=[flower.audit_mod(norm=1e-9, refuse=False)]), NODES)
    with caplog.at_level(logging.WARNING, logger="flwr"):
        loud = server.configure_train(3, flower.record(network()), ConfigRecord(), warn)
        server.aggregate_train(3, list(warn.send_and_receive(loud)))
    assert server.missing[3] == {}
    assert caplog.text.count("audit: norm") == NODES


def test_an_audit_counts_what_the_attacks_find():
    own = client(0, 1)
    bait = _trap(network(), 0.5)
    sent = federated.gradient(bait, own.images, own.labels)
    update = {name: -LR * each for name, each in sent.tensors.items()}
    told = flower.audit(dict(bait.named_parameters()), update)
    assert set(told.traps) == {"fc1"}
    assert told.images == len(gradient_extraction.extract(sent, shape=(1, 28, 28)).images) > 3
    assert told.norm == pytest.approx(sum(each.square().sum() for each in update.values()).sqrt().item(), rel=1e-5)
    alone = federated.gradient(network(), own.images[:1], own.labels[:1])
    one = flower.audit(dict(network().named_parameters()), {n: -LR * each for n, each in alone.tensors.items()})
    assert one.labels == 1
    assert label_inference.single(alone) == own.labels[0]
    assert one.traps == {}


def test_transmitting_filters_are_taken_for_traps_and_honest_networks_are_not():
    honest = [models.lenet((1, 28, 28), 10, seed=seed) for seed in range(5)]
    assert [flower.traps(dict(each.named_parameters())) for each in honest] == [{}] * 5
    weight = torch.zeros(4, 1, 3, 3)
    weight[:, 0, 1, 1] = 1
    assert set(flower.traps({"conv.weight": weight})) == {"conv"}


@pytest.mark.parametrize("given", [{"images": -1}, {"labels": -1}, {"norm": -0.5}])
def test_wrong_limits_are_refused(given):
    with pytest.raises(ValueError, match=next(iter(given))):
        flower.audit_mod(**given)
