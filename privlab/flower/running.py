"""Rounds that are written as they end, so that a server that was killed goes on."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from flwr.app import ConfigRecord
from flwr.serverapp import Grid
from torch import Tensor

from privlab import checks, networks
from privlab.flower.records import load, record
from privlab.flower.servers import Eavesdropper, Heard
from privlab.sharing.messages import Update


@dataclass(frozen=True)
class Round:
    """One finished round: the shared model after it, what was heard in it, and who gave nothing, with the reason."""

    number: int
    state: Mapping[str, Tensor]
    heard: Sequence[Heard]
    missing: Mapping[int, str]


def rounds(
    server: Eavesdropper,
    grid: Grid,
    number: int,
    *,
    folder: str | Path,
    nodes: int = 0,
    timeout: float | None = None,
) -> list[Round]:
    """Federated training by `server` until there are `number` rounds in `folder`, each written once it is done.

    Rounds that are there already are read, and the next one starts from the model after the last. timeout: seconds that
    a round waits for its clients; what has come by then is aggregated. nodes: so many are waited for at the beginning,
    as Flower's strategies do in every round, and would for ever after one is lost. Raises OSError where the folder
    cannot be written, ValueError where what it holds is of another model.
    """
    checks.whole("number", number)
    Path(folder).mkdir(parents=True, exist_ok=True)
    done = finished(folder)
    model = networks.duplicate(server.model)
    if done:
        _take(model, done[-1], Path(folder))
    while len(done) < number and len(list(grid.get_node_ids())) < nodes:
        time.sleep(0.5)
    for now in range(len(done) + 1, number + 1):
        already = len(server.heard)
        messages = server.configure_train(now, record(model), ConfigRecord(), grid)
        arrays, _ = server.aggregate_train(now, list(grid.send_and_receive(messages, timeout=timeout)))
        if arrays is not None:  # else nobody trained the shared model
            load(model, arrays)
        state = {name: each.detach().clone() for name, each in model.state_dict().items()}
        done.append(Round(now, state, server.heard[already:], server.missing[now]))
        _write(done[-1], Path(folder))
    return done[:number]


def finished(folder: str | Path) -> list[Round]:
    """The rounds in a folder, in order. Raises ValueError, with the file, where one cannot be read."""
    found: list[Round] = []
    while (path := _path(Path(folder), len(found) + 1)).exists():
        try:
            held = torch.load(path, weights_only=True)
            heard = [Heard(**{**each, "update": Update(*each["update"])}) for each in held["heard"]]
            found.append(Round(held["number"], held["state"], heard, held["missing"]))
        except Exception as error:  # torch.load raises what the file makes it
            said = str(error).partition(".")[0]
            raise ValueError(f"{path} is no round of ours ({type(error).__name__}: {said}); remove it") from error
    return found


def _take(model: torch.nn.Module, last: Round, folder: Path) -> None:
    try:
        model.load_state_dict(last.state)
    except RuntimeError as error:
        raise ValueError(f"the rounds in {folder} are of another model; give another folder ({error})") from None


def _path(folder: Path, number: int) -> Path:
    return folder / f"round-{number:04}.pt"


def _write(done: Round, folder: Path) -> None:
    heard = [{**vars(each), "update": (dict(each.update), dict(each.update.buffers))} for each in done.heard]
    path = _path(folder, done.number)
    part = path.with_suffix(".part")
    torch.save({"number": done.number, "state": dict(done.state), "heard": heard, "missing": dict(done.missing)}, part)
    os.replace(part, path)
