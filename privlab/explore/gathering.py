"""The explorer of sums: what a server reads of one client out of the sum over a crowd."""

import functools

import torch
from torch import nn

from privlab import checks, data, models
from privlab.attacks import gradient_extraction, trap_weights
from privlab.explore.explorer import Explorer, Knob
from privlab.explore.frame import Frame, Panel, pixels
from privlab.metrics import extraction
from privlab.sharing import federated

CROWDS = (1, 2, 5, 10, 20, 32)
SERVERS = ("honest", "plants traps", "silences the others", "invents the others")
NEURONS, BATCH, S = 300, 10, 0.95


@functools.lru_cache(maxsize=2)
def _models(name: str, seed: int) -> tuple[data.Dataset, nn.Module, nn.Module]:
    """Everyone's images, client by client, an honest model and one with trap weights."""
    found = data.load(name)
    honest = models.fully_connected(found.shape, len(found.classes), widths=(NEURONS,), seed=seed)
    return found.sample(BATCH * max(CROWDS), seed), honest, trap_weights.plant(honest, S, seed=seed)


@functools.lru_cache(maxsize=4 * max(CROWDS))
def _sent(name: str, seed: int, client: int, trapped: bool) -> federated.Gradient:
    images, honest, planted = _models(name, seed)
    own = images[BATCH * client : BATCH * (client + 1)]
    return federated.gradient(planted if trapped else honest, own.images, own.labels, layers=("fc1",))


def gather(crowd: int, server: str, *, name: str = "patches", seed: int = 0) -> Frame:
    """The ten images of one client, and which of them a server reads out of a sum over `crowd` clients.

    crowd: clients in the sum, this one among them, up to 32. server: it sends all the same honest weights, or trap
    weights; or it gives traps to this client alone, and to the others a layer that nothing switches on, whose gradient
    is zero, or invents them, with gradients of zero. Masks would cancel to the last bit, so none are put on. The first
    draw of images and weights is shown (seed 0), not the best.
    """
    checks.whole("crowd", crowd, 1, max(CROWDS))
    checks.one_of("server", server, SERVERS)
    trapped, alone = server != "honest", server in SERVERS[2:]
    sent = [_sent(name, seed, client, trapped) for client in range(1 if alone else crowd)]
    total = federated.average(sent)  # the attack divides one part by another: a factor, and zeros, change nothing
    client = _models(name, seed)[0][: BATCH * crowd]
    found = extraction.match(gradient_extraction.candidates(total), client.images)
    read = torch.isin(torch.arange(len(client)), found)
    own, everyone = int(read[:BATCH].sum()), int(read.sum())
    numbers = {
        "read of this client": f"{own} of {BATCH} images",
        "read of all clients": f"{everyone} of {BATCH * crowd} images",
    }
    alt = (
        f"The {BATCH} images of one of {crowd} clients in a sum. {own} of them, in colour and framed, were read out of "
        f"the sum by a server that {'is honest' if server == 'honest' else server}; the others are grey."
    )
    marked = tuple(read[:BATCH].nonzero().flatten().tolist())
    return Frame((Panel("", pixels(client.images[:BATCH]), BATCH // 2, marked=marked),), alt, numbers)


def gather_explorer(name: str = "patches") -> Explorer:
    """The crowd and what the server does as controls of `gather`."""
    knobs = (
        Knob("crowd", "Clients in the sum", CROWDS, live=(1, max(CROWDS), 1)),
        Knob("server", "The server", SERVERS, choice=True),
    )
    function = functools.partial(gather, name=name)
    start = {"crowd": 2, "server": "honest"}
    return Explorer(function, knobs, start=start, name="gather", title="What a server reads out of a sum")
