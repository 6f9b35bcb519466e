"""DP-SGD at the client, by Opacus: clip each example's gradient, add noise to the sum, and account for it.

Acts in training and on the release. Source: Abadi et al. 2016; "Zen", sections 3.1.2 and 5.1 (client-level DP), 6.
"""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from privlab import checks, runtime
from privlab.sharing.federated import Client, Gradient, Loss, cross_entropy

if TYPE_CHECKING:  # Opacus is loaded by the functions that need it: it takes as long as torch, and few programs do
    from opacus.optimizers import DPOptimizer

Model = TypeVar("Model", bound=nn.Module)


@contextmanager
def _quietly() -> Iterator[None]:
    """Opacus warns of what its own hooks do; none of it is the reader's to mend."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def noise_multiplier(epsilon: float, delta: float, *, sample_rate: float, steps: int, accountant: str = "prv") -> float:
    """The sigma with which `steps` of DP-SGD spend (epsilon, delta): noise of sigma x clip on each sum of gradients.

    sample_rate: the chance of each example to be in a mini-batch, B / N. accountant: `prv` (tight) or `rdp` (what
    "Zen" used: it prints an order alpha). Raises ValueError for numbers outside, or an unknown accountant.
    """
    checks.number("epsilon", epsilon, 0, open_low=True)
    checks.number("delta", delta, 0, 1, open_low=True)
    checks.number("sample_rate", sample_rate, 0, 1, open_low=True)
    checks.whole("steps", steps)
    checks.one_of("accountant", accountant, ("prv", "rdp"))
    from opacus.accountants.utils import get_noise_multiplier

    with _quietly():
        return get_noise_multiplier(
            target_epsilon=epsilon, target_delta=delta, sample_rate=sample_rate, steps=steps, accountant=accountant
        )


def epsilon(noise: float, delta: float, *, sample_rate: float, steps: int, accountant: str = "prv") -> float:
    """What `steps` of DP-SGD with the noise multiplier `noise` spend: epsilon at `delta`."""
    checks.number("noise", noise, 0, open_low=True)
    checks.number("delta", delta, 0, 1, open_low=True)
    checks.number("sample_rate", sample_rate, 0, 1, open_low=True)
    checks.whole("steps", steps)
    checks.one_of("accountant", accountant, ("prv", "rdp"))
    from opacus.accountants import create_accountant

    counter = create_accountant(accountant)
    counter.history = [(noise, sample_rate, steps)]
    with _quietly():
        return float(counter.get_epsilon(delta=delta))


def _private(
    model: Model, clip: float, noise: float, batch: int, lr: float, seed: int
) -> "tuple[nn.Module, DPOptimizer]":
    """A copy that keeps the gradient of every example, and an optimiser that clips and adds noise."""
    from opacus import GradSampleModule
    from opacus.optimizers import DPOptimizer
    from opacus.validators import ModuleValidator

    checks.number("clip", clip, 0, open_low=True)
    checks.number("noise", noise, 0)
    errors = ModuleValidator.validate(model, strict=False)
    if errors:
        raise ValueError(
            f"this model cannot be trained with DP-SGD ({errors[0]}); it takes a model in train mode, and without "
            "BatchNorm (resnet18 has norm='group')"
        )
    with _quietly():
        wrapped = GradSampleModule(copy.deepcopy(model))
    optimiser = DPOptimizer(
        torch.optim.SGD(wrapped.parameters(), lr=lr),
        noise_multiplier=noise,
        max_grad_norm=clip,
        expected_batch_size=batch,
        generator=_noise_generator(next(model.parameters()).device, seed),
    )
    return wrapped, optimiser


def _noise_generator(device: torch.device, seed: int) -> torch.Generator:
    """Opacus draws on the weights' device: the one place where a seed means something else on a GPU."""
    return torch.Generator(device).manual_seed(runtime.derive(seed, "dp noise") % 2**63)


def gradient(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    clip: float,
    noise: float,
    seed: int = 0,
    loss: Loss = cross_entropy,
) -> Gradient:
    """What a client sends in one step of DP-SGD: each example's gradient clipped to `clip`, noise, and the mean.

    noise: the multiplier sigma; the sum gets noise of standard deviation sigma x clip. images: `(B, C, H, W)`;
    labels: `(B,)`. Raises ValueError for a model with BatchNorm, a clip that is not positive, a negative noise.
    """
    checks.images("images", images)
    checks.labels("labels", labels, len(images))
    wrapped, optimiser = _private(model, clip, noise, len(images), 1.0, seed)
    with _quietly():
        loss(wrapped(images), labels).backward()
        optimiser.pre_step()
    tensors = {
        name: parameter.grad.detach().clone()
        for (name, _), parameter in zip(model.named_parameters(), wrapped.parameters(), strict=True)
        if parameter.grad is not None
    }
    return Gradient(tensors, len(images))


def train(
    model: Model,
    client: Client,
    *,
    clip: float,
    noise: float,
    epochs: int,
    batch: int,
    lr: float,
    seed: int = 0,
) -> Model:
    """A copy of the model, trained by DP-SGD on one client's images: mini-batches drawn as its accounting assumes.

    Every example is in a mini-batch with the chance q = batch / N (Poisson sampling), epochs / q times. What that
    spends: `epsilon(noise, delta, sample_rate=batch / N, steps=epochs * ceil(N / batch))`.
    Raises ValueError for a model with BatchNorm, or numbers outside. Source: Abadi et al. 2016, Algorithm 1.
    """
    checks.whole("epochs", epochs)
    checks.whole("batch", batch, 1, len(client.labels))
    checks.number("lr", lr, 0, open_low=True)
    wrapped, optimiser = _private(model, clip, noise, batch, lr, seed)
    random = runtime.generator(runtime.derive(seed, "poisson"))
    count = len(client.labels)
    for _ in range(epochs * -(-count // batch)):
        chosen = (torch.rand(count, generator=random) < batch / count).nonzero().flatten().to(client.labels.device)
        optimiser.zero_grad()
        if len(chosen):
            with _quietly():
                cross_entropy(wrapped(client.images[chosen]), client.labels[chosen]).backward()
                optimiser.step()
        else:
            _step_of_noise(optimiser)
    trained = copy.deepcopy(model)
    with torch.no_grad():
        for mine, theirs in zip(trained.parameters(), wrapped.parameters(), strict=True):
            mine.copy_(theirs)
    return trained


def _step_of_noise(optimiser: "DPOptimizer") -> None:
    """What an empty mini-batch sends: skipping the step would tell that it was empty."""
    for parameter in optimiser.params:
        parameter.summed_grad = torch.zeros_like(parameter)
        parameter.grad_sample = torch.zeros_like(parameter)[None]  # Opacus counts these before it divides
    optimiser.add_noise()
    optimiser.scale_grad()
    optimiser.original_optimizer.step()
