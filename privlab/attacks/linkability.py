"""Linkability: whose update is this, and are these two of one user? The adversary sees updates and no example.

Updates are vectors `(N, D)`, of one layer and of length one (`vectors`); users are numbers from 0, `(N,)`. What was
observed with its users trains the attack, what comes from other clients is asked about.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import LinearSVC
from torch import Tensor, nn

from privlab import checks, networks, runtime
from privlab.attacks.threat import threats
from privlab.models.initialisation import draw_like_pytorch

IDENTIFY = ("chance", "svm", "knn", "mlp")
MATCH = ("chance", "cosine", "mlp", "siamese")
AMONG = ("mlp", "ridge")
NEIGHBOURS, HIDDEN, DROPOUT = 10, 128, 0.2
BATCH, EPOCHS, STEPS = 32, 300, 3000  # the paper prints none of the three; as many steps at least
LR, MOMENTUM, DECAY = 0.01, 0.9, 1e-6
SIAMESE_LR, SIAMESE_STEPS = 1e-3, 3000
RIDGE = 0.1  # of rows of length one
THREATS = threats("linkability")


def vectors(updates: Sequence[Mapping[str, Tensor]], layer: str) -> Tensor:
    """The weights and biases of one layer in each update as a row of length one, `(N, D)`; zeros stay zeros.

    Raises ValueError for none at all, and for a layer that an update does not have, or that is not of one size.
    Source: section 6.
    """
    checks.some("updates", updates)
    rows = []
    for update in updates:
        parts = [each.flatten() for name, each in update.items() if name.rpartition(".")[0] == layer]
        if not parts:
            layers = dict.fromkeys(name.rpartition(".")[0] for name in update)
            raise ValueError(f"layer={layer!r} is not in the update; choose one of {', '.join(layers)}")
        rows.append(torch.cat(parts))
    if len({len(row) for row in rows}) > 1:
        raise ValueError(f"layer={layer!r} has {sorted({len(row) for row in rows})} numbers; give updates of one model")
    return nn.functional.normalize(torch.stack(rows), dim=1)


def identify(known: Tensor, users: Tensor, asked: Tensor, *, attack: str = "mlp", seed: int = 0) -> Tensor:
    """The identification attack: scores `(Z, U)` of what is asked about, larger for the likelier user.

    known: observed updates `(N, D)` with their users `(N,)`, numbers from 0 without gaps. attack: `chance` (uniform
    numbers), `svm` (linear, one against the rest), `knn` (the share of 10 neighbours) or `mlp` (128 neurons, ReLU,
    dropout 0.2; SGD of 0.01 with momentum 0.9). Raises ValueError for fewer than two users.
    Source: section 6.1.
    """
    checks.one_of("attack", attack, IDENTIFY)
    _check(known, users, asked)
    count = int(users.max()) + 1
    if len(users.unique()) < count or count < 2:
        raise ValueError(f"users are {len(users.unique())} of {count} numbers; give two or more, from 0 without gaps")
    if attack == "chance":
        return torch.rand(len(asked), count, generator=runtime.generator(runtime.derive(seed, "chance"))).to(asked)
    if attack == "mlp":
        return mlp(known, users, seed=seed)(asked)
    x, y, z = (each.cpu().numpy() for each in (known, users, asked))
    if attack == "svm":
        made = LinearSVC(random_state=runtime.derive(seed, "svm") % 2**32).fit(x, y).decision_function(z)
        made = made if count > 2 else torch.tensor(made)[:, None].numpy() * [-1, 1]
    else:
        made = KNeighborsClassifier(min(NEIGHBOURS, len(x))).fit(x, y).predict_proba(z)
    return torch.from_numpy(made).to(asked)


def mlp(known: Tensor, users: Tensor, *, seed: int = 0) -> Callable[[Tensor], Tensor]:
    """The identification network, trained: a function from updates to log probabilities of their users, `(Z, U)`.

    users: numbers `(N,)`, or bool `(N, U)` where several users' updates are in one: it is to give them equal shares.
    """
    several = users.dim() == 2
    _check(known, torch.arange(len(known)) if several else users, known)
    count = users.shape[1] if several else int(users.max()) + 1
    wanted = users.to(known) / users.sum(1, keepdim=True) if several else users
    network = _fresh(lambda width: _identifier(width, count), known, seed)
    step = torch.optim.SGD(network.parameters(), lr=LR, momentum=MOMENTUM)
    slower = torch.optim.lr_scheduler.LambdaLR(step, lambda number: 1 / (1 + DECAY * number))

    def loss(chosen: Tensor) -> Tensor:
        return nn.functional.cross_entropy(network(known[chosen]), wanted[chosen])

    _train(network, loss, step, len(known), max(EPOCHS * -(-len(known) // BATCH), STEPS), seed, slower)
    return _asked(network, lambda some: network(some).log_softmax(1))


def among(known: Tensor, present: Tensor, asked: Tensor, *, attack: str = "mlp", seed: int = 0) -> Tensor:
    """Who is among those whose updates were summed: scores `(Z, U)`, larger for a user who likelier is.

    For an adversary behind secure aggregation. known: observed sums as rows of length one `(N, D)`, with who was in
    each, bool `(N, U)`. attack: `mlp`, the identification network, or `ridge`, a linear regression of who was in the
    sum, which itself is linear in their updates. Ours; the paper has no sums.
    """
    checks.one_of("attack", attack, AMONG)
    if present.dtype != torch.bool or present.dim() != 2 or len(present) != len(known) or not present.any(1).all():
        given = f"present is {present.dtype} {tuple(present.shape)}"
        raise ValueError(f"{given}; give bool (N, U), a row with one user or more for each of {len(known)} sums")
    _check(known, torch.arange(len(known)), asked)
    if attack == "mlp":
        return mlp(known, present, seed=seed)(asked)
    rows, wanted = known.double(), present.double()
    inner = rows @ rows.T + RIDGE * torch.eye(len(rows)).to(rows)
    made = asked.double() @ rows.T @ torch.linalg.solve(inner, wanted - wanted.mean(0))
    return (made + wanted.mean(0)).to(asked)


def pairs(users: Tensor, clients: Tensor, count: int, *, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Balanced pairs of updates from different clients: their places `(P,)` twice, and whether of one user, bool.

    users, clients `(N,)`: whose each update is, and of which client. count: of each kind; where there are fewer of one
    kind as many of both. Raises ValueError where a kind has none. Source: section 6.2.
    """
    checks.whole("count", count)
    checks.labels("users", users, len(users))
    checks.labels("clients", clients, len(users))
    random = runtime.generator(runtime.derive(seed, "pairs"))
    first, second = torch.triu_indices(len(users), len(users), 1).unbind()
    apart = clients[first] != clients[second]
    first, second = first[apart.cpu()], second[apart.cpu()]
    same = (users[first] == users[second]).cpu()
    kinds = [each.nonzero().flatten() for each in (same, ~same)]
    most = min(count, *map(len, kinds))
    if not most:
        raise ValueError("there are no pairs of both kinds from different clients; give two clients a user or more")
    chosen = torch.cat([kind[torch.randperm(len(kind), generator=random)[:most]] for kind in kinds])
    return first[chosen], second[chosen], same[chosen]


def match(
    known: Tensor,
    users: Tensor,
    clients: Tensor,
    first: Tensor,
    second: Tensor,
    *,
    attack: str = "siamese",
    seed: int = 0,
) -> Tensor:
    """The matching attack: scores `(P,)`, larger where `first` and `second` `(P, D)` are likelier of one user.

    known: observed updates `(N, D)` with users and clients `(N,)`. attack: `chance`, `cosine` (needs none of these),
    `mlp` (the identification network: the largest product of both probabilities of a user) or `siamese` (two dense
    layers of 128, the absolute difference, one dense layer; RMSProp of 0.001), which is trained on pairs of users of
    whom two clients were observed, and need not have seen those asked about. Source: section 6.2.
    """
    checks.one_of("attack", attack, MATCH)
    if first.shape != second.shape:
        raise ValueError(f"first is {tuple(first.shape)} and second {tuple(second.shape)}; give pairs")
    _check_updates("pairs", torch.cat([first, second]))
    if attack == "chance":
        return torch.rand(len(first), generator=runtime.generator(runtime.derive(seed, "chance"))).to(first)
    if attack == "cosine":
        return nn.functional.cosine_similarity(first, second)
    _check(known, users, first)
    if attack == "mlp":
        ask = mlp(known, users, seed=seed)
        return (ask(first) + ask(second)).amax(1)
    return siamese(known, users, clients, seed=seed)(first, second)


class Siamese(nn.Module):
    """One encoder for both updates, the absolute difference, and a dense layer: logits `(P, 1)` of `(P, 2, D)`."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU())
        self.output = nn.Linear(HIDDEN, 1)

    def forward(self, both: Tensor) -> Tensor:
        first, second = self.encoder(both).unbind(1)
        return self.output((first - second).abs())


def siamese(known: Tensor, users: Tensor, clients: Tensor, *, seed: int = 0) -> Callable[[Tensor, Tensor], Tensor]:
    """The Siamese network, trained on pairs of observed updates: a function of two `(P, D)` to logits `(P,)`."""
    _check(known, users, known)
    first, second, same = pairs(users, clients, len(known) * len(known), seed=runtime.derive(seed, "pairs"))
    network = _fresh(Siamese, known, seed)
    step = torch.optim.RMSprop(network.parameters(), lr=SIAMESE_LR)
    places, wanted = torch.stack([first, second], 1).to(known.device), same.to(known)

    def loss(chosen: Tensor) -> Tensor:
        return nn.functional.binary_cross_entropy_with_logits(network(known[places[chosen]])[:, 0], wanted[chosen])

    _train(network, loss, step, len(same), SIAMESE_STEPS, seed)
    ask = _asked(network, lambda both: network(both)[:, 0])
    return lambda one, other: ask(torch.stack([one, other], 1))


def _identifier(inputs: int, users: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Dropout(DROPOUT), nn.Linear(HIDDEN, users))


def _fresh(make: Callable[[int], nn.Module], like: Tensor, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        network = make(like.shape[1])
    draw_like_pytorch(network, runtime.derive(seed, "attack network"))
    return network.to(like)


def _train(
    network: nn.Module,
    loss: Callable[[Tensor], Tensor],
    step: torch.optim.Optimizer,
    count: int,
    steps: int,
    seed: int,
    slower: torch.optim.lr_scheduler.LambdaLR | None = None,
) -> None:
    """So many steps, in epochs of mini-batches; dropout draws from the seed."""
    random = runtime.generator(runtime.derive(seed, "attack training"))
    with networks.dice(network, random), torch.enable_grad():
        done = 0
        while done < steps:
            for chosen in torch.randperm(count, generator=random).split(BATCH)[: steps - done]:
                step.zero_grad()
                loss(chosen).backward()
                step.step()
                done += 1
                if slower:
                    slower.step()


def _asked(network: nn.Module, answer: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def ask(some: Tensor) -> Tensor:
        with networks.measured(network):
            return torch.cat([answer(part) for part in some.split(4096)])

    return ask


def _check(known: Tensor, users: Tensor, asked: Tensor) -> None:
    _check_updates("known", known)
    _check_updates("asked", asked)
    if known.shape[1] != asked.shape[1]:
        raise ValueError(f"known updates have {known.shape[1]} numbers and those asked about {asked.shape[1]}")
    checks.labels("users", users, len(known))


def _check_updates(name: str, given: Tensor) -> None:
    if given.dim() != 2 or not given.numel() or not given.isfinite().all():
        raise ValueError(f"{name} are {tuple(given.shape)}; give finite updates (N, D), as `vectors` makes them")
    if not given.is_floating_point():
        raise TypeError(f"{name} are {given.dtype}; give floats, as `vectors` makes them")
