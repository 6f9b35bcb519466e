"""One small federation, of which some clients lie, and what its defenders can do in each of its steps."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from privlab import data, models, runtime
from privlab.attacks import poisoning
from privlab.sharing import federated, predictions, together
from privlab.sharing.federated import Client, Update
from privlab.studies._data import dataset

CLIENTS, MALICIOUS, EACH = 20, 4, 45
ROUNDS, EPOCHS, BATCH, LR, WIDTH = 20, 2, 9, 0.1, 64
CLEAN, PUBLIC, FRESH = 100, 138, 400  # the server's own, unlabelled and public ones, and those that we score by
SIDE = 28
SKEW = 0.5  # Dirichlet: a client's own mixture of labels

Rule = Callable[[Sequence[Update]], Update]
Craft = Callable[[Sequence[Update]], Update]


@dataclass(frozen=True)
class World:
    """One draw. clean: labelled examples of the server; public: examples without labels; fresh: what scores it."""

    clients: list[Client]
    clean: data.Dataset
    public: Tensor
    fresh: data.Dataset
    seed: int

    @property
    def classes(self) -> int:
        return len(self.fresh.classes)

    def model(self, *purpose: object, width: int = WIDTH) -> nn.Module:
        """A dense network, untrained."""
        seed = runtime.derive(self.seed, "network", *purpose)
        made = models.fully_connected(self.fresh.shape, self.classes, widths=(width,), seed=seed)
        return made.to(self.fresh.labels.device)


def drawn(
    name: str,
    seed: int,
    device: torch.device,
    *,
    clients: int = CLIENTS,
    each: int = EACH,
    skew: float | None = SKEW,
) -> World:
    """A federation of `clients` who hold `each` images at 28 x 28 pixels, disjoint.

    skew: each has a mixture of labels of its own, drawn from Dirichlet(skew), and as many images as all others; None:
    all have the same mixture.
    """
    source = small(name)
    used = clients * each
    count = min(used + CLEAN + PUBLIC + FRESH, len(source))
    some = source.sample(count, runtime.derive(seed, "federation")).to(device)
    labels = some.labels[:used].cpu()
    order = torch.arange(used) if skew is None else _mixed(labels, clients, skew, runtime.derive(seed, "mixtures"))
    holders = [Client(some[part].images, some[part].labels) for part in order.to(device).split(each)]
    clean, public = some[used : used + CLEAN], some[used + CLEAN : used + CLEAN + PUBLIC]
    return World(holders, clean, public.images, some[used + CLEAN + PUBLIC :], seed)


def _mixed(labels: Tensor, clients: int, skew: float, seed: int) -> Tensor:
    """An order of all examples, in which each client's part has its own mixture of labels, as long as they last."""
    random = runtime.generator(seed)
    classes = int(labels.max()) + 1
    mixtures = torch._sample_dirichlet(torch.full((clients, classes), skew, dtype=torch.float64), random)
    left = [(labels == value).nonzero()[:, 0].tolist() for value in range(classes)]
    order = []
    for mixture in mixtures:
        for _ in range(len(labels) // clients):
            odds = torch.tensor([float(bool(each)) for each in left], dtype=torch.float64) * (mixture + 1e-9)
            order.append(left[int(torch.multinomial(odds, 1, generator=random))].pop())
    return torch.tensor(order)


@functools.lru_cache(maxsize=4)
def small(name: str) -> data.Dataset:
    """A data set at 28 x 28 pixels."""
    source = dataset(name)
    if source.shape[1:] == (SIDE, SIDE):
        return source
    pixels = torch.cat([data.resized(part.float() / 255, SIDE, part.shape[1]) for part in source.pixels.split(512)])
    return replace(source, pixels=(pixels * 255).round().to(torch.uint8))


@dataclass(frozen=True)
class Defence:
    """What defenders do; each part may be absent.

    clean: to the clients' data. train: how a client trains. rule: what the server takes in place of the mean, from the
    world, the untrained model and how many may lie. known: the same rule as liars know it, who have not what the server
    keeps to itself. finish: to the trained model. answer: to its logits.
    """

    clean: Callable[[Client, World], Client] | None = None
    train: federated.Trainer = together.local_updates
    rule: Callable[[World, nn.Module, int], Rule] | None = None
    known: Callable[[int], Rule] | None = None
    finish: Callable[[nn.Module, World], nn.Module] | None = None
    answer: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Lie:
    """One way to lie. data: what each liar makes of its examples. craft: what all of them send, from what they know of
    the others, the rule and their number.
    """

    data: Callable[[Client, World, int], Client] | None = None
    craft: Callable[[Rule, int], Craft] | None = None
    omniscient: bool = False


def train(
    world: World,
    defence: Defence,
    lie: Lie | None = None,
    malicious: int = MALICIOUS,
    *,
    rounds: int = ROUNDS,
    listen: Callable[[int, int, Update], None] | None = None,
) -> nn.Module:
    """The network that the federation trains, of whose clients the first `malicious` lie."""
    clients = list(world.clients)
    if lie and lie.data:
        clients[:malicious] = [lie.data(each, world, place) for place, each in enumerate(clients[:malicious])]
    if defence.clean:
        clients = [defence.clean(each, world) for each in clients]
    trainer: Callable[..., Iterable[Update]] = defence.train
    if lie and lie.craft and malicious:
        known = defence.known(malicious) if defence.known else mean
        craft = lie.craft(known, malicious)
        trainer = poisoning.Colluders(clients[:malicious], craft, lie.omniscient, defence.train)
    start = world.model()
    made = federated.fed_avg(
        start,
        clients,
        rounds=rounds,
        epochs=EPOCHS,
        batch=BATCH,
        lr=LR,
        seed=runtime.derive(world.seed, "training"),
        train=trainer,
        listen=listen,
        equal=True,
        aggregate=defence.rule(world, start, malicious) if defence.rule else None,
    )
    return defence.finish(made, world) if defence.finish else made


def mean(updates: Sequence[Update]) -> Update:
    """What FedAvg makes of updates, for liars who know of no other rule."""
    return federated.mean_update(updates, [1] * len(updates))


def answers(model: nn.Module, images: Tensor, defence: Defence) -> Tensor:
    """What the model answers where it is asked: logits, or what the defence leaves of them."""
    made = predictions.predict(model, images)
    return defence.answer(made) if defence.answer else made


def error(model: nn.Module, world: World) -> float:
    """The share of fresh images that is decided wrongly; of a network without finite answers those of a guess."""
    made = predictions.predict(model, world.fresh.images)
    if not made.isfinite().all():
        return 1 - 1 / world.classes
    return (made.argmax(1) != world.fresh.labels).double().mean().item()
