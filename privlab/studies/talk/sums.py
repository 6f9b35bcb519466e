"""What a sum costs that the server cannot take apart: bytes, seconds and error, scheme by scheme."""

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from privlab import models, runtime
from privlab.defences import encrypted, secure_sum
from privlab.sharing import federated
from privlab.studies._data import checksum, dataset
from privlab.studies.bench.sentence import Found, ratio
from privlab.studies.bench.study import Cell, Claim, Metrics, Study, Table
from privlab.studies.bench.takes import Takes

Sum = tuple[Tensor, int, float]  # with the bytes that one client sends, and seconds that were spent elsewhere
CLIENTS, BATCH, NEURONS = (3, 5), 10, 20
LESS = 1e-3  # of the largest number of the sum: an error that training does not notice

SHARES = """
import numpy as np
from mpyc.runtime import mpc

async def main():
    number = mpc.SecFxp(64, 40)
    await mpc.start()
    each = mpc.input(number.array(np.load(f"input{mpc.pid}.npy")))
    np.save(f"result{mpc.pid}.npy", await mpc.output(sum(each[1:], each[0])))
    await mpc.shutdown()

mpc.run(main())
"""


def cells(name: str) -> list[Cell]:
    """Four schemes, three clients and five."""
    return [{"data": name, "scheme": scheme, "clients": count} for count in CLIENTS for scheme in SCHEMES]


def _updates(cell: Cell, seed: int, device: torch.device) -> list[federated.Gradient]:
    """Of each client the gradient of a small dense layer on a mini-batch of its own."""
    drawn = dataset(cell["data"]).sample(BATCH * cell["clients"], runtime.derive(seed, "batches")).to(device)
    parts = [drawn[BATCH * number : BATCH * (number + 1)] for number in range(cell["clients"])]
    drawing = runtime.derive(seed, "network")
    model = models.fully_connected(drawn.shape, len(drawn.classes), widths=(NEURONS,), seed=drawing).to(device)
    return [federated.gradient(model, part.images, part.labels, layers=("fc1",)) for part in parts]


def _flat(gradient: federated.Gradient) -> Tensor:
    return torch.cat([gradient[name].flatten() for name in gradient])


def _plain(sent: list[federated.Gradient]) -> Sum:
    rows = [_flat(each) for each in sent]
    return torch.stack(rows).sum(0), rows[0].nbytes, 0.0


def _masks(sent: list[federated.Gradient]) -> Sum:
    made = secure_sum.secure_sum(sent)
    return _flat(made.total), made.bytes, 0.0


def _shares(sent: list[federated.Gradient]) -> Sum:
    made = encrypted.parties(SHARES, [_flat(each).cpu().numpy() for each in sent])
    return torch.from_numpy(made.results[0]), made.bytes, made.seconds


def _ciphertexts(sent: list[federated.Gradient]) -> Sum:
    rows = [_flat(each) for each in sent]
    made = encrypted.ckks_sum(rows, bound=max(row.abs().max().item() for row in rows))
    return made.total, made.bytes, 0.0


SCHEMES: dict[str, Callable[[list[federated.Gradient]], Sum]] = {
    "plain": _plain,
    "masks": _masks,
    "shares": _shares,
    "ciphertexts": _ciphertexts,
}


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """One sum. bytes: that one client sends; expansion: so many times those of 32-bit floats.

    seconds: of the CPU, of all clients and the server together; of shares also the longest party's own, by the clock.

    error: the largest of the sum, beside the same in 64 bits; relative_error: over the largest number of the sum.
    """
    sent = _updates(cell, seed, device)
    exact = torch.stack([_flat(each).double() for each in sent]).sum(0).cpu()
    timer = runtime.stopwatch()
    total, size, elsewhere = SCHEMES[cell["scheme"]](sent)
    seconds = timer() + elsewhere
    error = (total.cpu().double() - exact).abs().max().item()
    plain = _flat(sent[0]).nbytes
    return {
        "bytes": float(size),
        "expansion": size / plain,
        "seconds": seconds,
        "error": error,
        "relative_error": error / exact.abs().max().item(),
    }


def _dearer(table: Table, scheme: str, metric: str, than: str, times: float) -> Found:
    found = {}
    for count in CLIENTS:
        high, low = (table.values(metric, scheme=each, clients=count) for each in (scheme, than))
        found[f"{count} clients"] = ratio(high, low, times)
    return found


def _exact_enough(table: Table) -> Found:
    found = {}
    for scheme, count in itertools.product(("masks", "shares", "ciphertexts"), CLIENTS):
        errors = table.values("relative_error", scheme=scheme, clients=count)
        found[f"{scheme}, {count} clients"] = ratio([LESS] * len(errors), errors, 1)
    return found


STUDY = Study(
    id="talk/sums",
    title="What a sum costs that the server cannot take apart",
    source="the talk Adversarial interference (privacy-centred defences)",
    version=1,
    cells=cells,
    run=run,
    data={"fast": ("digits",), "real": ("mnist",), "paper": ("mnist",)},
    seeds={"fast": 3, "real": 3, "paper": 3},
    knob="clients",
    metrics=("bytes", "expansion", "seconds", "error", "relative_error"),
    load=dataset,
    names_data=False,
    checksum=checksum,
    takes=Takes(least=BATCH * max(CLIENTS)),
    claims=(
        Claim(
            "Communication overhead",
            "the talk, of secure multi-party computation",
            lambda table: _dearer(table, "shares", "bytes", "plain", 2),
            "a sum on shares sends more than twice the bytes of the plain one",
        ),
        Claim(
            "Computational overhead",
            "the talk, of homomorphic encryption",
            lambda table: _dearer(table, "ciphertexts", "seconds", "plain", 2),
            "a sum of CKKS ciphertexts takes more than twice the CPU seconds of the plain one",
        ),
        Claim(
            "Ciphertexts take longer than masks",
            "ours",
            lambda table: _dearer(table, "ciphertexts", "seconds", "masks", 2),
            "more than twice the CPU seconds of all together",
            ours=True,
        ),
        Claim(
            "A sum of updates loses nothing that training would notice",
            "ours",
            _exact_enough,
            "an error below a thousandth of the sum's largest number, under each scheme",
            ours=True,
        ),
    ),
)
