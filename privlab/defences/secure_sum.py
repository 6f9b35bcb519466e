"""Secure aggregation: the server learns the sum of its clients' updates, and of each alone nothing but noise.

Acts on the release, by masks that cancel in the sum, in whole numbers modulo 2^64. It hides who sent what from the
server, and nothing from whoever knows the sum. All parties are played in one process, so that what each of them sees
can be looked at; messages between clients, which travel through the server encrypted, are handed over.
Source: Bonawitz et al. 2017, "Practical secure aggregation", section 4 and figure 4.
"""

import hashlib
import itertools
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar, cast

import torch
from torch import Tensor

from privlab import checks, runtime
from privlab.sharing.federated import Gradient, Update

FIELD = 2**521 - 1  # a prime, larger than every secret that is shared
# The 2048-bit group of RFC 3526, section 3, with generator 2: for agreeing on a secret in the open.
GROUP = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3"
    "CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5"
    "AE9F24117C4B1FE649286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356"
    "208552BB9ED529077096966D670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2EC07A28F"
    "B5C55DF06F4C52C9DE2BCBF6955817183995497CEA956AE515D2261898FA051015728E5A8AACAA68FFFFFFFFFFFFFFFF",
    16,
)
BITS = 40  # after the point: steps of 1e-12, and room for sums up to 8 million
SECRET = 32  # bytes of a key or a seed
Sent = TypeVar("Sent", Update, Gradient)
Share = tuple[int, int]


@dataclass(frozen=True)
class SecureSum(Generic[Sent]):
    """What the server has after a round.

    total: the sum of the survivors' updates, each times its weight, of the kind that they sent. weight: the sum of
    those weights. received: of each survivor, by number, all that it sent of its update: the masked vector, int64
    `(L + 1,)` with the weight last. bytes: what one client sends in all its messages.
    """

    total: Sent
    weight: int
    received: Mapping[int, Tensor]
    bytes: int

    def mean(self) -> Sent:
        """The survivors' mean by weight; of whole numbers, such as counters, the nearest whole one."""
        return _rebuilt(self.total, [each.double() / self.weight for each in _flat(self.total).values()])


def encode(values: Tensor, bits: int = BITS, *, parties: int = 1) -> Tensor:
    """Numbers as multiples of 2^-bits, int64 of the same shape; the error is at most half of that step.

    Sums modulo 2^64 of so many `parties`' numbers are right if none of them is 2^(63 - bits) / parties or larger:
    Raises ValueError where one is, and for what is not finite.
    """
    checks.whole("bits", bits, 0, 62)
    checks.whole("parties", parties)
    scaled = (values.detach().double() * 2.0**bits).round()
    largest = scaled.abs().max().item() if scaled.numel() else 0.0
    if not largest * parties < 2.0**63:  # also catches NaN
        room = 2.0 ** (63 - bits) / parties
        raise ValueError(
            f"the largest number is {largest / 2.0**bits:g}, but with bits={bits} and {parties} parties a sum has room "
            f"for numbers below {room:g}; clip the update, or give fewer bits"
        )
    return scaled.long()


def decode(whole: Tensor, bits: int = BITS) -> Tensor:
    """The numbers, float64, that `encode` wrote as multiples of 2^-bits, or their sum."""
    checks.whole("bits", bits, 0, 62)
    return whole.double() / 2.0**bits


def mask(secret: bytes, length: int) -> Tensor:
    """`length` numbers modulo 2^64, int64 `(length,)`, that look random to whoever lacks the secret (SHAKE-256)."""
    checks.whole("length", length, 0)
    stream = bytearray(hashlib.shake_256(secret).digest(8 * length))
    return torch.frombuffer(stream, dtype=torch.int64) if length else torch.zeros(0, dtype=torch.int64)


def shares(secret: int, count: int, threshold: int, *, seed: int = 0) -> list[Share]:
    """Shamir's shares of a whole number in [0, FIELD): any `threshold` of the `count` recover it, fewer tell nothing.

    Each is a point (x, y) of one random polynomial of degree threshold - 1, whose value at zero is the secret, x from
    1 on. Raises ValueError for a secret out of range. Source: Shamir 1979.
    """
    checks.whole("count", count)
    checks.whole("threshold", threshold, 1, count)
    if not 0 <= secret < FIELD:
        raise ValueError("the secret is not in [0, 2^521 - 1); share a longer one in parts")
    draw = random.Random(runtime.derive(seed, "shares"))
    line = [secret, *(draw.randrange(FIELD) for _ in range(threshold - 1))]
    return [
        (x, sum(each * pow(x, power, FIELD) for power, each in enumerate(line)) % FIELD) for x in range(1, count + 1)
    ]


def recover(points: Sequence[Share]) -> int:
    """The secret of which these are shares, by Lagrange's formula at zero.

    Of fewer shares than the threshold, or of wrong ones, it is another number: there is nothing to notice it by.
    Raises ValueError for no share, or two with the same x. Source: Shamir 1979.
    """
    places = [x for x, _ in points]
    if not places or len(set(places)) < len(places):
        raise ValueError(f"the shares have x of {places}; give at least one, and each once")
    total = 0
    for x, y in points:
        above = below = 1
        for other in places:
            if other != x:
                above, below = above * other % FIELD, below * (other - x) % FIELD
        total += y * above * pow(below, -1, FIELD)
    return total % FIELD


def secure_sum(
    sent: Sequence[Sent],
    *,
    weights: Sequence[int] | None = None,
    threshold: int | None = None,
    dropouts: Collection[int] = (),
    bits: int = BITS,
    seed: int = 0,
) -> SecureSum[Sent]:
    """Sum clients' updates, or gradients, so that the server sees none of them.

    Each pair of clients agrees on a mask, which the one adds and the other subtracts; each adds one of its own as well,
    which covers it should its pairs' masks become known. All share their two secrets with all. `dropouts`, by number,
    then vanish. From `threshold` survivors the server gets shares: of the survivors' own masks, and of the dropouts'
    keys, with which it takes off the masks that no longer cancel.

    weights: whole numbers, such as numbers of examples, by which clients count; they are summed under the masks too.
    threshold: by default two thirds of the clients, and one. It is more than half: else the server could tell one half
    of them that a client is gone and the other that it is not, and get both its secrets. Buffers (running averages)
    are summed with the rest. bits: see `encode`; nothing else is rounded. Whoever knows the seed can take off masks.
    Raises ValueError for fewer than two clients, names or shapes that differ, numbers with no room, and fewer
    survivors than the threshold.
    """
    count, weights = len(sent), [1] * len(sent) if weights is None else list(weights)
    survivors, threshold = _round(count, weights, threshold, dropouts)
    rows = {u: _row(sent, u, weights[u], bits) for u in survivors}
    length, draw = len(rows[survivors[0]]), random.Random(runtime.derive(seed, "secrets"))
    keys, own = ([draw.getrandbits(8 * SECRET) for _ in sent] for _ in range(2))
    public = [pow(2, key, GROUP) for key in keys]
    held = {
        (kind, u): shares(each[u], count, threshold, seed=runtime.derive(seed, kind, u))
        for kind, each in (("key", keys), ("own", own))
        for u in range(count)
    }

    received = {u: rows[u] + mask(_bytes(own[u]), length) for u in survivors}  # at the clients
    for u, v in itertools.combinations(range(count), 2):
        pair = _pair(pow(public[v], keys[u], GROUP), length)  # v finds the same by its own key and u's public one
        for client, signed in ((u, pair), (v, -pair)):
            if client in received:
                received[client] += signed

    total, helpers = torch.stack(list(received.values())).sum(0), survivors[:threshold]  # at the server
    for u in range(count):
        secret = recover([held["own" if u in received else "key", u][v] for v in helpers])
        if u in received:
            total -= mask(_bytes(secret), length)
        else:
            for v in survivors:
                pair = _pair(pow(public[v], secret, GROUP), length)
                total += pair if u < v else -pair
    # Public keys of the masks and for what clients tell each other; two shares for each other, and one back of each.
    cost = 8 * length + 2 * _size(GROUP) + (2 * (count - 1) + count) * _size(FIELD)
    pieces = decode(total[:-1], bits).split([each.numel() for each in _flat(sent[0]).values()])
    examples = sum(each.examples for u, each in enumerate(sent) if u in received and isinstance(each, Gradient))
    return SecureSum(_rebuilt(sent[0], pieces, examples), int(total[-1]), received, cost)


def _round(
    count: int, weights: Sequence[int], threshold: int | None, dropouts: Collection[int]
) -> tuple[list[int], int]:
    """The survivors' numbers and the threshold, checked."""
    if count < 2:
        raise ValueError(f"there are {count} clients; a sum hides its parts only if there are two or more")
    if len(weights) != count:
        raise ValueError(f"there are {len(weights)} weights for {count} clients; give one each")
    for weight in weights:
        checks.whole("weight", weight)
    for gone in dropouts:
        checks.whole("dropouts", gone, 0, count - 1)
    threshold = 2 * count // 3 + 1 if threshold is None else threshold
    checks.whole("threshold", threshold)
    if not count / 2 < threshold <= count:
        raise ValueError(
            f"threshold={threshold} of {count} clients is out of range; give more than half, {count // 2 + 1} or more: "
            "of two halves that it tells different stories the server would get both secrets of a client"
        )
    survivors = [u for u in range(count) if u not in dropouts]
    if len(survivors) < threshold:
        given = f"{len(survivors)} of {count} clients are left, and threshold={threshold}"
        raise ValueError(f"{given}; the masks stay on: begin the round again")
    return survivors, threshold


def _pair(agreed: int, length: int) -> Tensor:
    """The mask of two clients: the one with the smaller number adds it, the other subtracts it."""
    return mask(hashlib.sha256(str(agreed).encode()).digest(), length)


def _size(number: int) -> int:
    """In bytes."""
    return (number.bit_length() + 7) // 8


def _bytes(secret: int) -> bytes:
    return secret.to_bytes(SECRET, "big")


def _flat(sent: Update | Gradient) -> dict[tuple[str, str], Tensor]:
    """Every tensor of it, those of its buffers last."""
    tensors = sent.tensors if isinstance(sent, Gradient) else sent
    parts = {"tensor": tensors, "buffer": sent.buffers}
    return {(kind, name): each for kind, part in parts.items() for name, each in part.items()}


def _row(sent: Sequence[Update] | Sequence[Gradient], number: int, weight: int, bits: int) -> Tensor:
    """Everything that a client sends, times its weight, and the weight, as whole numbers `(L,)` on the CPU."""
    first, own = _flat(sent[0]), _flat(sent[number])
    odd = [name for name in {**first, **own} if name not in own or name not in first]
    odd += [name for name in own if name not in odd and own[name].shape != first[name].shape]
    if odd:
        raise ValueError(
            f"clients 0 and {number} send {', '.join(name for _, name in odd)} in different shapes, or one of them "
            "does not; masks take vectors of one length: send zeros for what was not trained"
        )
    values = torch.cat([own[name].detach().cpu().double().flatten() * weight for name in first])
    return torch.cat([encode(values, bits, parties=len(sent)), torch.tensor([weight])])


def _rebuilt(like: Sent, values: Sequence[Tensor], examples: int | None = None) -> Sent:
    """These values in the shapes, types and places of what is `like` them."""
    parts: dict[str, dict[str, Tensor]] = {"tensor": {}, "buffer": {}}
    for ((kind, name), old), made in zip(_flat(like).items(), values, strict=True):
        parts[kind][name] = (made if old.is_floating_point() else made.round()).view(old.shape).to(old)
    count = like.examples if isinstance(like, Gradient) and examples is None else examples or 0
    tensors, buffers = parts.values()
    return cast(Sent, Gradient(tensors, count, buffers) if isinstance(like, Gradient) else Update(tensors, buffers))
