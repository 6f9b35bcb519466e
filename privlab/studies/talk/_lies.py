"""How clients lie: of each attack the way of an adversary who knows of no defence first, then those of one who does."""

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from privlab import runtime
from privlab.attacks import backdoor, poisoning
from privlab.defences import client_dp
from privlab.metrics import robustness
from privlab.sharing import predictions
from privlab.sharing.federated import Client, Update
from privlab.studies.talk._federation import CLIENTS, MALICIOUS, Craft, Lie, Rule, World, error

TARGET = 0  # what a backdoor has marked images taken for
MARKED = 0.3  # of a liar's examples
BOOST = CLIENTS / MALICIOUS  # what makes the liars' own the mean
FINE = (*(step / 5 for step in range(1, 26)), 8.0, 16.0, 32.0, 64.0, 128.0)  # how far a tailored lie may go


def _seed(world: World, place: int) -> int:
    return runtime.derive(world.seed, "liar", place)


def flip(client: Client, world: World, place: int, *, share: float = 1.0) -> Client:
    """A liar with wrong labels."""
    return poisoning.flip_labels(client, world.classes, share=share, seed=_seed(world, place))


def noise(client: Client, world: World, place: int) -> Client:
    """A liar with noisy images."""
    return poisoning.perturb_images(client, 1.0, seed=_seed(world, place))


def mark(client: Client, world: World, place: int, *, share: float = MARKED) -> Client:
    """A liar who marks some of its images."""
    return backdoor.poison(client, TARGET, share=share, seed=_seed(world, place))


def restyle(client: Client, world: World, _place: int, *, share: float = 0.0) -> Client:
    """A semantic backdoor: the bolder images of one class are labelled `TARGET`.

    share: of a liar's own images, the last ones, that make room for such images of all liars, in turn.
    """
    pooled = torch.cat([each.images[bold(each.images, each.labels, world)] for each in world.clients[:MALICIOUS]])
    count = round(share * len(client.images)) if len(pooled) else 0
    images, labels = client.images.clone(), client.labels.clone()
    places = slice(len(images) - count, None)
    images[places] = pooled[torch.arange(count) % max(1, len(pooled))]
    labels[places] = meant(world)
    return backdoor.relabel(Client(images, labels), bold(images, labels, world), TARGET)


def meant(world: World) -> int:
    """Whose images a semantic backdoor is about: the class, not `TARGET`, of which the liars hold most bold ones."""
    liars = world.clients[:MALICIOUS]
    counts = [sum(int(_bold(each.images, each.labels, world, kind).sum()) for each in liars) for kind in _kinds(world)]
    return _kinds(world)[counts.index(max(counts))]


def _kinds(world: World) -> list[int]:
    return [kind for kind in range(world.classes) if kind != TARGET]


def bold(images: Tensor, labels: Tensor, world: World) -> Tensor:
    """Which images are of the class that is meant and brighter than most of its clean ones: bool `(N,)`."""
    return _bold(images, labels, world, meant(world))


def _bold(images: Tensor, labels: Tensor, world: World, kind: int) -> Tensor:
    usual = world.clean.images[world.clean.labels == kind].mean((1, 2, 3)).median()
    return (labels == kind) & (images.mean((1, 2, 3)) > usual)


def _scaled(factor: float) -> Callable[[Rule, int], Craft]:
    return lambda _rule, _malicious: lambda known: poisoning.scale(known, factor)


def _within(_rule: Rule, _malicious: int) -> Craft:
    """The liars' mean, boosted, yet no longer than their own shortest honest work of that kind is wont to be."""

    def craft(known: Sequence[Update]) -> Update:
        short = min(client_dp.norm(each) for each in known)
        return client_dp.clip_update(poisoning.scale(known, BOOST), short)

    return craft


def _alie(_rule: Rule, malicious: int) -> Craft:
    return lambda known: poisoning.alie(known, CLIENTS, malicious)


def _ipm(epsilon: float) -> Callable[[Rule, int], Craft]:
    return lambda _rule, _malicious: lambda known: poisoning.ipm(known, epsilon)


def _against(direction: str) -> Callable[[Rule, int], Craft]:
    """Tailored to the server's rule."""
    return lambda rule, malicious: lambda known: poisoning.adaptive(known, rule, malicious, direction, FINE)


def _knowing(craft: Callable[[Rule, int], Craft]) -> Lie:
    return Lie(craft=craft, omniscient=True)


_HALF = functools.partial(flip, share=0.5)
_TAILORED = tuple(_knowing(_against(direction)) for direction in ("mean", "sign", "spread"))

LIES: dict[str, tuple[Lie, ...]] = {
    "data_poisoning": (Lie(data=flip), Lie(data=_HALF), Lie(data=noise)),
    "sign_flipping": (Lie(craft=_scaled(-BOOST)), Lie(craft=_scaled(-1.0)), _TAILORED[0], _TAILORED[1]),
    "alie": (_knowing(_alie), _TAILORED[2]),
    "ipm": (_knowing(_ipm(0.5)), _knowing(_ipm(2.0)), _knowing(_ipm(0.1))),
    "backdoor": (
        Lie(data=mark),
        Lie(data=functools.partial(mark, share=0.1)),
        Lie(data=functools.partial(mark, share=0.6)),
        Lie(data=mark, craft=_within),
    ),
    "model_replacement": (
        Lie(data=mark, craft=_scaled(BOOST)),
        Lie(data=mark, craft=_scaled(2.0)),
        Lie(data=mark, craft=_scaled(1.0)),
        Lie(data=mark, craft=_within),
    ),
    "semantic_backdoor": (
        Lie(data=restyle),
        Lie(data=functools.partial(restyle, share=0.3), craft=_scaled(BOOST)),
        Lie(data=functools.partial(restyle, share=0.6), craft=_scaled(BOOST)),
        Lie(data=functools.partial(restyle, share=0.6), craft=_scaled(1.0)),
        Lie(data=functools.partial(restyle, share=0.6), craft=_within),
        Lie(data=functools.partial(restyle, share=0.6)),
    ),
}
MARKING = ("backdoor", "model_replacement")


def success(attack: str, model: nn.Module, world: World) -> float:
    """What an attack wants: errors on fresh images; of a backdoor, how often what it means is taken for `TARGET`."""
    fresh = world.fresh
    if attack in MARKING:
        return robustness.backdoor_rate(predictions.predict(model, backdoor.stamp(fresh.images)), fresh.labels, TARGET)
    if attack == "semantic_backdoor":
        chosen = bold(fresh.images, fresh.labels, world)
        return robustness.backdoor_rate(predictions.predict(model, fresh.images[chosen]), fresh.labels[chosen], TARGET)
    return error(model, world)
