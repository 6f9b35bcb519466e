"""Accountability: what was entered can be neither changed, nor moved, nor taken out, nor entered for another."""

import copy
import dataclasses
import hashlib

import pytest
import torch

from privlab import data, models
from privlab.defences import tracking
from privlab.sharing import federated
from privlab.sharing.messages import Update

pytest.importorskip("cryptography", reason="needs cryptography: pip install 'privlab[encrypt]'")
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def update(value=1.0, **buffers):
    return Update({"a": torch.full((2, 3), value), "b": torch.arange(3.0)}, buffers)


@pytest.fixture
def private():
    return {client: Ed25519PrivateKey.from_private_bytes(bytes([client + 1] * 32)) for client in range(3)}


@pytest.fixture
def ledger(private):
    """Two rounds of three clients."""
    made = tracking.Ledger({client: key.public_key() for client, key in private.items()})
    for number in range(2):
        for client, key in private.items():
            made.add(tracking.sign(key, number, client, update(float(10 * number + client)), made.head))
    return made


def test_what_was_entered_as_it_should_be_holds_and_says_whose_it_was(ledger):
    ledger.check()
    assert len(ledger.entries) == 6
    assert ledger.sent(update(11.0)) == [(1, 1)]
    assert ledger.sent(update(99.0)) == []


def test_the_hash_that_the_next_entry_names_is_of_all_of_an_entry(ledger):
    first, *others = ledger.entries
    assert [each.before for each in others] == [each.hash for each in ledger.entries[:-1]]
    assert first.before == bytes(32)
    changed = {"round": 7, "client": 1, "digest": bytes(32), "before": bytes([1] * 32), "signature": bytes(64)}
    hashes = {dataclasses.replace(first, **{name: value}).hash for name, value in changed.items()}
    assert len({first.hash, *hashes}) == 6
    assert len(first.hash) == hashlib.sha256().digest_size


def test_who_sends_what_another_sent_is_found_beside_it(ledger, private):
    ledger.add(tracking.sign(private[2], 2, 2, update(11.0), ledger.head))
    assert ledger.sent(update(11.0)) == [(1, 1), (2, 2)]


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize(
    ("field", "value"),
    [("round", 7), ("client", 1), ("digest", bytes(32)), ("before", bytes(32)), ("signature", bytes(64))],
)
def test_a_changed_entry_is_noticed(ledger, place, field, value):
    if getattr(ledger.entries[place], field) == value:
        value = {"client": 2, "before": bytes([1] * 32)}[field]
    ledger.entries[place] = dataclasses.replace(ledger.entries[place], **{field: value})
    with pytest.raises(ValueError, match=f"^entry {place}: "):
        ledger.check()


@pytest.mark.parametrize("place", range(6))
def test_an_entry_that_is_taken_out_is_noticed(ledger, place):
    """The last one by whoever kept the head, since what is left is a chain."""
    head = ledger.head
    del ledger.entries[place]
    assert ledger.head != head or place < 5
    if place == 5:
        ledger.check()
        return
    with pytest.raises(ValueError, match=f"^entry {place}: it does not follow the entry before it"):
        ledger.check()


def test_another_order_and_an_entry_twice_are_noticed(ledger):
    for places in ([1, 0, 2, 3, 4, 5], [0, 1, 2, 3, 5, 4], [0, 0, 1, 2, 3, 4, 5], [3, 4, 5, 0, 1, 2]):
        other = tracking.Ledger(ledger.keys, [ledger.entries[place] for place in places])
        with pytest.raises(ValueError, match=r"^entry \d: it does not follow the entry before it"):
            other.check()
    with pytest.raises(ValueError, match="does not follow"):
        ledger.add(ledger.entries[-1])


def test_nobody_enters_for_another(ledger, private):
    """With a key of its own, with an honest entry under another name, or with that client's signature of last round."""
    before = copy.copy(ledger.entries)
    for key in (private[0], private[2], Ed25519PrivateKey.generate()):
        with pytest.raises(ValueError, match="the signature is not that of client 1"):
            ledger.add(tracking.sign(key, 2, 1, update(5.0), ledger.head))
    mine = tracking.sign(private[0], 2, 0, update(5.0), ledger.head)
    with pytest.raises(ValueError, match="the signature is not that of client 1"):
        ledger.add(dataclasses.replace(mine, client=1))
    old = ledger.entries[1].signature
    with pytest.raises(ValueError, match="the signature is not that of client 1"):
        ledger.add(tracking.Entry(2, 1, tracking.fingerprint(update(1.0)), ledger.head, old))
    with pytest.raises(ValueError, match=r"client 7 has no key; known are \[0, 1, 2\]"):
        ledger.add(tracking.sign(private[0], 2, 7, update(5.0), ledger.head))
    assert ledger.entries == before


def test_a_chain_made_anew_needs_every_clients_key(ledger, private):
    """Client 0 rewrites its first update, and all that follows: it cannot sign for the others."""
    entries = [tracking.sign(private[0], 0, 0, update(666.0), bytes(32))]
    for old in ledger.entries[1:]:
        entries.append(dataclasses.replace(old, before=entries[-1].hash))
    with pytest.raises(ValueError, match="entry 1: the signature is not that of client 1"):
        tracking.Ledger(ledger.keys, entries).check()


def test_a_fingerprint_is_of_every_name_shape_type_and_number():
    base = update(seen=torch.zeros(2))
    digest = tracking.fingerprint(base)
    assert digest == tracking.fingerprint(update(seen=torch.zeros(2)))
    assert len(digest) == hashlib.sha256().digest_size
    turned = Update(dict(reversed(base.items())), base.buffers)
    assert tracking.fingerprint(turned) == digest, "the order of names is none of the update"
    others = [
        Update({"a": base["a"], "c": base["b"]}, base.buffers),
        Update({"a": base["a"].view(3, 2), "b": base["b"]}, base.buffers),
        Update({"a": base["a"].double(), "b": base["b"]}, base.buffers),
        Update({"a": base["a"].view(torch.int32), "b": base["b"]}, base.buffers),
        Update({"a": base["a"]}, {"b": base["b"], **base.buffers}),
        Update(dict(base), {}),
        Update({**base, **base.buffers}, {}),
        update(seen=torch.tensor([0.0, 1e-30])),
        update(1.0000001, seen=torch.zeros(2)),
    ]
    for place in range(6):
        changed = base["a"].clone()
        changed.view(-1)[place] += 1e-6
        others.append(Update({"a": changed, "b": base["b"]}, base.buffers))
    assert len({digest, *map(tracking.fingerprint, others)}) == 1 + len(others)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.bool])
def test_every_type_has_a_fingerprint(dtype):
    """Also a number without dimensions, an empty tensor, one that is turned, and one with a graph behind it."""
    held = [torch.tensor(1), torch.zeros(0), torch.eye(3)[:, :2], torch.ones(2)]
    made = [tracking.fingerprint(Update({"a": each.to(dtype)}, {})) for each in held]
    assert len(set(made)) == 4
    turned = torch.arange(6).view(2, 3).T
    assert tracking.fingerprint(Update({"a": turned}, {})) == tracking.fingerprint(Update({"a": turned.clone()}, {}))
    if dtype.is_floating_point:
        grown = torch.ones(2, dtype=dtype, requires_grad=True)
        assert tracking.fingerprint(Update({"a": grown}, {})) == made[3]


def test_a_federation_enters_as_it_trains(private):
    digits = data.load("digits")
    clients = [federated.Client(digits.images[i : i + 20], digits.labels[i : i + 20]) for i in (0, 20, 40)]
    made = tracking.Ledger({client: key.public_key() for client, key in private.items()})
    heard = []

    def listen(number, client, sent):
        made.add(tracking.sign(private[client], number, client, sent, made.head))
        heard.append(sent)

    model = models.fully_connected(digits.shape, 10, widths=(4,), seed=0)
    federated.fed_avg(model, clients, rounds=2, listen=listen)
    made.check()
    assert [made.sent(each) for each in heard] == [[(number, client)] for number in range(2) for client in range(3)]
