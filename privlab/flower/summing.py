"""Flower's SecAgg+: its server learns the mean of its clients' weights, and nothing of a single one."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.client.mod import secaggplus_mod
from flwr.common import Code, FitRes, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.compat.common import recorddict_compat as legacy
from flwr.server import LegacyContext, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_PARAMS_RECORD
from flwr.serverapp import Grid
from torch import nn

from privlab import checks
from privlab.sharing.messages import Update

Call = Callable[[Message, Context], Message]


def secagg_mods(network: Callable[[], nn.Module]) -> Sequence[Any]:
    """The mods with which a `client_app` takes part in SecAgg+: Flower's own, and one that gives its weights names.

    SecAgg+ in Flower 1.41 speaks the older of its two languages, in which weights are a list.
    """

    def named(message: Message, context: Context, call_next: Call) -> Message:
        given = legacy.recorddict_to_fitins(message.content, keep_input=True)
        names = list(network().state_dict())
        arrays = [torch.from_numpy(each.copy()) for each in parameters_to_ndarrays(given.parameters)]
        weights = ArrayRecord(dict(zip(names, arrays, strict=True)))
        message.content = RecordDict({"arrays": weights, "config": ConfigRecord()})
        answer = call_next(message, context)
        if answer.has_error():
            return answer
        (trained,), (counts,) = answer.content.array_records.values(), answer.content.metric_records.values()
        sent = ndarrays_to_parameters(trained.to_numpy_ndarrays())
        result = FitRes(Status(Code.OK, ""), sent, int(counts["num-examples"]), {})  # type: ignore[arg-type]
        answer.content = legacy.fitres_to_recorddict(result, keep_input=False)
        return answer

    return [secaggplus_mod, named]


def secagg_round(
    grid: Grid,
    model: nn.Module,
    *,
    threshold: int | float = 0.6,
    clip: float = 8.0,
    levels: int = 2**22,
    most: float = 1000.0,
) -> Update:
    """One round under SecAgg+: the mean change of the weights, by numbers of examples, which is all the server learns.

    model: what the clients are sent, honest or not. threshold: of the shares of a client's key, how many take its mask
    off (a number, or a part of them). clip, levels, most: weights are cut off at `clip`, multiplied by a client's
    number of examples over `most`, and rounded to `levels` steps from -clip to clip; levels times the clients stay
    below 2^32. All are the server's to choose, and what is small for them is lost. Raises RuntimeError where too few
    clients are left. Source: Bell et al. 2020 (SecAgg+).
    """
    checks.number("clip", clip, 0, open_low=True)
    checks.whole("levels", levels, 2, 2**31)
    checks.number("most", most, 0, open_low=True)
    state = {name: each.detach().cpu() for name, each in model.state_dict().items()}
    start = ndarrays_to_parameters([each.numpy() for each in state.values()])
    everyone = len(list(grid.get_node_ids()))
    strategy = FedAvg(
        fraction_evaluate=0.0, min_fit_clients=everyone, min_available_clients=everyone, initial_parameters=start
    )
    context = LegacyContext(Context(1, 0, {}, RecordDict(), {}), ServerConfig(num_rounds=1), strategy)
    protocol = SecAggPlusWorkflow(1.0, threshold, clipping_range=clip, quantization_range=levels, max_weight=most)
    DefaultWorkflow(fit_workflow=protocol)(grid, context)
    ended = legacy.arrayrecord_to_parameters(context.state.array_records[MAIN_PARAMS_RECORD], keep_input=True)
    found = [torch.from_numpy(each.copy()) for each in parameters_to_ndarrays(ended)]
    if all(torch.equal(now, before) for now, before in zip(found, state.values(), strict=True)):
        raise RuntimeError("SecAgg+ gave no sum: fewer clients are left than its threshold, or none trained anything")
    trained = {name for name, each in model.named_parameters() if each.requires_grad}
    pairs = zip(state.items(), found, strict=True)
    return Update({name: (now.double() - old.double()).to(old) for (name, old), now in pairs if name in trained}, {})
