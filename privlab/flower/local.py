"""Flower in this process, message by message, and in its own simulation."""

import contextlib
import logging
import os
import uuid
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.common.serde import message_from_proto, message_to_proto
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity

from privlab import checks


@contextlib.contextmanager
def quietly(level: int = logging.ERROR) -> Iterator[None]:
    """Flower's log above a level only, and neither its telemetry nor Ray's, while it runs."""
    logger = logging.getLogger("flwr")
    before = logger.level
    for name, value in (("FLWR_TELEMETRY_ENABLED", "0"), ("RAY_USAGE_STATS_ENABLED", "0")):
        os.environ.setdefault(name, value)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.setLevel(before)


class LocalGrid(Grid):
    """A server's view of `nodes` clients that run in this process, one after another: no Ray, no network, no waiting.

    Every message is written and read as it would be for sending. sent: its bytes, up and down together. A client that
    raises answers with an error, as a node of Flower does.
    """

    def __init__(self, app: ClientApp, nodes: int) -> None:
        checks.whole("nodes", nodes)
        self.app, self.sent = app, 0
        for name in (
            "run_id",
            "task_id",
            "node_id",
        ):  # who sends, which Flower's runtimes set in a process of their own
            if getattr(TaskIdentity, f"_{name}") is None:
                setattr(TaskIdentity, name, 1)
        self._contexts = {
            node + 1: Context(1, node + 1, {"partition-id": node, "num-partitions": nodes}, RecordDict(), {})
            for node in range(nodes)
        }
        self._answers: dict[str, Message] = {}

    def set_run(self, run: Run) -> None:
        """There is one run."""

    @property
    def run(self) -> Run:
        """An empty run."""
        return Run.create_empty(1)

    def create_message(
        self, content: RecordDict, message_type: str, dst_node_id: int, *_more: Any, **_named: Any
    ) -> Message:
        """A message to a node."""
        return Message(content, dst_node_id=dst_node_id, message_type=message_type)

    def get_node_ids(self) -> Iterable[int]:
        """Nodes are numbered from 1; their partitions from 0."""
        return list(self._contexts)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Have each message answered at once."""
        names = []
        for message in messages:
            message.metadata.__dict__["_message_id"] = str(uuid.uuid4())
            names.append(message.metadata.message_id)
            self._answers[names[-1]] = self._posted(self._answer(self._posted(message)))
        return names

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The answers to these messages, once."""
        return [self._answers.pop(name) for name in message_ids if name in self._answers]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        """Push, and pull."""
        return self.pull_messages(list(self.push_messages(messages)))

    def _posted(self, message: Message) -> Message:
        written = message_to_proto(message).SerializeToString()
        self.sent += len(written)
        return message_from_proto(type(message_to_proto(message)).FromString(written))

    def _answer(self, message: Message) -> Message:
        context = self._contexts[message.metadata.dst_node_id]
        try:
            return self.app(message, context)
        except Exception as error:  # whatever a client's own code raises, its node answers
            reason = f"{type(error).__name__}: {error}"
            return Message(Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, reason), reply_to=message)


def simulate(server: ServerApp, app: ClientApp, nodes: int, *, cores: float = 1.0, gpus: float = 0.0) -> None:
    """Run both apps in Flower's own simulation, in processes of Ray, which end with it.

    cores, gpus: of each client at a time; a quarter of a card lets four share it. What the server learns it keeps in
    its strategy, which runs in this process. It takes half a minute to start. Raises RuntimeError where an app does.
    """
    import ray

    checks.whole("nodes", nodes)
    resources: dict[str, Any] = {"num_cpus": cores, "num_gpus": gpus}
    with quietly(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run_simulation(
                server,
                app,
                nodes,
                backend_config={
                    "client_resources": resources,
                    "init_args": {"logging_level": logging.ERROR, "log_to_driver": False, "include_dashboard": False},
                },
            )
        finally:
            ray.shutdown()
