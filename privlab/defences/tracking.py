"""Accountability: every update is signed by who sent it, and entered in a chain of hashes that nobody can rewrite.

It stops no attack: it says afterwards whose it was. Needs `pip install 'privlab[encrypt]'`.
Source: the talk (accountability: contributions "can be linked to the individual parties").
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from privlab.sharing.messages import Update


@dataclass(frozen=True)
class Entry:
    """One contribution: the round, the client, the SHA-256 of its update and of the entry before, the signature."""

    round: int
    client: int
    digest: bytes
    before: bytes
    signature: bytes

    @property
    def message(self) -> bytes:
        """What is signed."""
        return message(self.round, self.client, self.digest, self.before)

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(self.message + self.signature).digest()


@dataclass
class Ledger:
    """A chain of contributions. keys: of each client the public key, Ed25519, by which its signatures are checked."""

    keys: Mapping[int, Any]
    entries: list[Entry] = field(default_factory=list)

    @property
    def head(self) -> bytes:
        """The hash of the newest entry, which the next one names; whoever keeps it notices every change before it."""
        return self.entries[-1].hash if self.entries else bytes(32)

    def add(self, entry: Entry) -> None:
        """Enter it. Raises ValueError for an unknown client, a wrong signature, or another chain's entry."""
        self._check(entry, self.head)
        self.entries.append(entry)

    def check(self) -> None:
        """Raise ValueError, with its number, for the first entry that was changed, taken out or put in."""
        before = bytes(32)
        for number, entry in enumerate(self.entries):
            try:
                self._check(entry, before)
            except ValueError as error:
                raise ValueError(f"entry {number}: {error}") from error
            before = entry.hash

    def sent(self, update: Update) -> list[tuple[int, int]]:
        """By whom and when: the (round, client) of each entry that is about exactly this update."""
        digest = fingerprint(update)
        return [(entry.round, entry.client) for entry in self.entries if entry.digest == digest]

    def _check(self, entry: Entry, before: bytes) -> None:
        if entry.before != before:
            raise ValueError("it does not follow the entry before it; the chain was changed")
        if entry.client not in self.keys:
            raise ValueError(f"client {entry.client} has no key; known are {sorted(self.keys)}")
        from cryptography.exceptions import InvalidSignature

        try:
            self.keys[entry.client].verify(entry.signature, entry.message)
        except InvalidSignature:
            raise ValueError(f"the signature is not that of client {entry.client}") from None


def fingerprint(update: Update) -> bytes:
    """SHA-256 of an update: names, shapes, types and every number, of weights and buffers."""
    digest = hashlib.sha256()
    for part in (update, update.buffers):
        for name in sorted(part):
            held = part[name].detach().cpu().contiguous()
            digest.update(f"{name} {tuple(held.shape)} {held.dtype};".encode())
            digest.update(held.flatten().view(torch.uint8).numpy().tobytes())
        digest.update(b"|")
    return digest.digest()


def sign(key: Any, round: int, client: int, update: Update, before: bytes) -> Entry:
    """A client's entry for its update. key: its private key, Ed25519. before: the `head` of the ledger."""
    digest = fingerprint(update)
    return Entry(round, client, digest, before, key.sign(message(round, client, digest, before)))


def message(round: int, client: int, digest: bytes, before: bytes) -> bytes:
    """The bytes that a client signs."""
    return f"{round} {client} ".encode() + digest + before
