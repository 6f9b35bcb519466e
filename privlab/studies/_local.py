"""Local training as a server sees it that takes an update for a gradient."""

from torch import Tensor, nn

from privlab import runtime
from privlab.sharing import federated
from privlab.sharing.federated import Client, Gradient, Loss


def gradient_of_steps(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    epochs: int,
    lr: float,
    seed: int,
    batch: int | None = None,
    loss: Loss = federated.cross_entropy,
) -> Gradient:
    """The mean gradient along a client's epochs of SGD over mini-batches, by default of all that it has."""
    batch = len(inputs) if batch is None else batch
    client, random = Client(inputs, targets), runtime.generator(seed)
    update = federated.local_update(model, client, epochs=epochs, batch=batch, lr=lr, random=random, loss=loss)
    return federated.update_as_gradient(update, len(inputs), lr=lr, steps=epochs * -(-len(inputs) // batch))
