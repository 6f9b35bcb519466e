"""Servers of Flower that read along: one that is honest in what it sends, and one that is not.

Each wraps a strategy of Flower, as Flower's own wrappers for differential privacy do, and leaves its work to it.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from torch import nn

from privlab import networks
from privlab.flower.records import difference, load, record
from privlab.sharing.federated import update_as_gradient
from privlab.sharing.messages import Gradient, Update


@dataclass(frozen=True)
class Heard:
    """What a server has of one client in one round.

    partition: which data the client said it has (-1: it did not say). trapped: it had been sent another model than
    the strategy's.
    """

    round: int
    node: int
    partition: int
    examples: int
    update: Update
    trapped: bool = False

    def gradient(self, *, lr: float = 1.0, steps: int = 1) -> Gradient:
        """The update as the mean gradient along its way. Who divides parts of it by others needs no lr and steps."""
        return update_as_gradient(self.update, self.examples, lr=lr, steps=steps)


class Eavesdropper(Strategy):
    """Honest but curious: runs `strategy` as it is, and keeps what each client sends before it is aggregated.

    model: the network that server and clients have agreed on. heard: what was sent, in order. missing: of each round
    the nodes that were asked and gave nothing to aggregate, with the reason. Under secure aggregation nothing of a
    single client reaches a strategy. Source: "Curious", section 8.4.
    """

    def __init__(self, strategy: Strategy, model: nn.Module) -> None:
        self.strategy, self.model = strategy, model
        self.heard: list[Heard] = []
        self.missing: dict[int, dict[int, str]] = {}
        self._sent: dict[int, ArrayRecord] = {}
        self._trapped: set[int] = set()

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The strategy's own messages."""
        messages = list(self.strategy.configure_train(server_round, arrays, config, grid))
        self._sent = {each.metadata.dst_node_id: next(iter(each.content.array_records.values())) for each in messages}
        self._trapped = set()
        return messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Read each answer; what was trained honestly goes to the strategy."""
        missing = dict.fromkeys(self._sent, "no answer in time")
        honest = []
        for reply in sorted(replies, key=lambda each: each.metadata.src_node_id):  # Flower asks in random order
            node = reply.metadata.src_node_id
            if reply.has_error():
                missing[node] = " ".join((reply.error.reason or "an error without a reason").split())
                continue
            try:
                self.heard.append(self._read(server_round, node, reply))
            except ValueError as error:  # of another model: named, and kept out of the mean
                missing[node] = str(error)
                continue
            del missing[node]
            if node not in self._trapped:
                honest.append(reply)
        self.missing[server_round] = missing
        return self.strategy.aggregate_train(server_round, honest)

    def _read(self, number: int, node: int, reply: Message) -> Heard:
        content = reply.content
        (answer,), (counts,) = content.array_records.values(), content.metric_records.values()
        update = difference(self.model, self._sent[node], answer)
        said = {name: value for each in content.config_records.values() for name, value in each.items()}
        part, examples = said.get("partition-id", -1), counts["num-examples"]
        return Heard(number, node, part, int(examples), update, node in self._trapped)  # type: ignore[arg-type]

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """As the strategy does."""
        return self.strategy.configure_evaluate(server_round, arrays, config, grid)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """As the strategy does."""
        return self.strategy.aggregate_evaluate(server_round, replies)

    def summary(self) -> None:
        """As the strategy does."""
        self.strategy.summary()


class Malicious(Eavesdropper):
    """Sends `plant(model)` in place of the shared model, reads what comes back, and throws it away.

    plant: such as `lambda model: trap_weights.plant(model, 0.9)`. rounds: in which it does so, all by default.
    victims: the nodes it does so to, all by default; the others train on as if nothing were. Source: "Curious",
    sections 6 and 8.4.
    """

    def __init__(
        self,
        strategy: Strategy,
        model: nn.Module,
        plant: Callable[[nn.Module], nn.Module],
        *,
        rounds: Collection[int] | None = None,
        victims: Collection[int] | None = None,
    ) -> None:
        super().__init__(strategy, model)
        self.plant, self.rounds, self.victims = plant, rounds, victims

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """The strategy's messages, with another model in those to the victims."""
        messages: list[Any] = list(super().configure_train(server_round, arrays, config, grid))
        if self.rounds is not None and server_round not in self.rounds:
            return messages
        bait = record(self.plant(load(networks.duplicate(self.model), arrays)))
        for number, message in enumerate(messages):
            node = message.metadata.dst_node_id
            if self.victims is None or node in self.victims:
                (key,) = message.content.array_records
                content = message.content.copy()  # the strategy gives all its messages one content
                content[key] = bait
                messages[number] = Message(content, dst_node_id=node, message_type=message.metadata.message_type)
                self._sent[node] = bait
                self._trapped.add(node)
        return messages
