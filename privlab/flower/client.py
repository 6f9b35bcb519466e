"""An honest client of Flower, as its tutorials write it."""

from collections.abc import Callable, Sequence
from typing import Any

from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from torch import nn

from privlab import checks, runtime
from privlab.flower.records import load, record
from privlab.sharing.federated import Client, Loss, cross_entropy, local_update


def client_app(
    network: Callable[[], nn.Module],
    client: Callable[[int, int], Client],
    *,
    epochs: int = 1,
    batch: int = 32,
    lr: float = 0.1,
    loss: Loss = cross_entropy,
    seed: int = 0,
    mods: Sequence[Any] = (),
) -> ClientApp:
    """A ClientApp that trains what it is sent on its own data, by SGD, and sends the new weights back.

    network: makes the model that server and clients have agreed on. client(i, n): the data of partition i of n, which
    Flower names in `node_config`. mods: Flower's, such as `LocalDpMod`, or our `audit_mod`. What it draws follows from
    seed, its partition and the round; it says which partition it has. A message about another model is answered with
    an error.
    Source: McMahan et al. 2017, Algorithm 1, ClientUpdate.
    """
    checks.whole("epochs", epochs)
    checks.whole("batch", batch)
    checks.number("lr", lr, 0, open_low=True)
    app = ClientApp(mods=list(mods))

    @app.train()
    def train(message: Message, context: Context) -> Message:
        part, parts = (int(context.node_config[name]) for name in ("partition-id", "num-partitions"))
        own = client(part, parts)
        (arrays,) = message.content.array_records.values()
        (config,) = message.content.config_records.values()
        model = load(network(), arrays)
        number = config.get("server-round", 0)
        random = runtime.generator(runtime.derive(seed, "flower", part, number))
        update = local_update(model, own, epochs=epochs, batch=batch, lr=lr, random=random, loss=loss)
        state = model.state_dict()
        for name, change in update.items():
            state[name] += change
        state.update(update.buffers)
        model.load_state_dict(state)
        counted = MetricRecord({"num-examples": len(own.labels)})
        content = RecordDict({"arrays": record(model), "metrics": counted, "who": ConfigRecord({"partition-id": part})})
        return Message(content, reply_to=message)

    return app
