"""A deployed model: train it, ask it, and train others like it on known parts of a data set."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from joblib import Parallel, delayed
from torch import Tensor, nn
from tqdm import tqdm

from privlab import checks, networks, runtime
from privlab.networks import Model
from privlab.sharing.losses import Craft, Loss, cross_entropy, of_logits

OPTIMISERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


def fit(
    model: Model,
    inputs: Tensor,
    labels: Tensor,
    *,
    epochs: int,
    lr: float = 1e-3,
    batch: int = 32,
    optimiser: str = "adam",
    weight_decay: float = 0.0,
    loss: Loss = cross_entropy,
    seed: int = 0,
    watch: Callable[[int, nn.Module], None] | None = None,
    craft: Craft | None = None,
) -> Model:
    """A trained copy of the model, in the mode that it is in; the given one is left as it was.

    inputs: `(N, ...)`, floats or tokens; labels: what the loss takes. `watch(epoch, model)` sees it after every
    epoch, from 1. craft: what the inputs of a mini-batch become before its step (`defences.adversarial_training`).
    Raises ValueError where nothing is trained or inputs do not pass, and FloatingPointError where the loss is no
    longer a number.
    """
    _check(inputs, labels)
    checks.training(lr, epochs=epochs, batch=batch)
    checks.number("weight_decay", weight_decay, 0)
    checks.one_of("optimiser", optimiser, OPTIMISERS)
    trained = networks.duplicate(model)
    weights = [each for each in trained.parameters() if each.requires_grad]
    if not weights:
        raise ValueError("none of the model's weights is trained, all are frozen; give a model with some that are not")
    random = runtime.generator(runtime.derive(seed, "fit"))
    step = OPTIMISERS[optimiser](weights, lr=lr, weight_decay=weight_decay)
    for epoch in range(1, epochs + 1):
        order = torch.randperm(len(labels), generator=random).to(labels.device)
        with networks.dice(trained, random):
            for chosen in order.split(batch):
                given = craft(trained, inputs[chosen], labels[chosen]) if craft else inputs[chosen]
                step.zero_grad()
                made = of_logits(networks.logits(trained, given, "inputs"), labels[chosen], loss)
                made.backward()
                step.step()
        if not made.isfinite():
            raise FloatingPointError(f"the loss is {made.item()} after epoch {epoch}; give a smaller lr than {lr}")
        if watch:
            watch(epoch, trained)
    return trained


def predict(model: nn.Module, inputs: Tensor, *, batch: int = 512) -> Tensor:
    """What the model answers to each input: logits `(N, K)`, in eval mode, `batch` inputs at a time; no gradients."""
    checks.whole("batch", batch)
    checks.some("inputs", inputs)
    with networks.measured(model):
        return torch.cat([networks.logits(model, part, "inputs") for part in inputs.split(batch)])


def halves(models: int, examples: int, seed: int | torch.Generator = 0) -> Tensor:
    """Which model uses which example, bool `(models, examples)`: of every example a random half of the models,
    rounded down.

    Source: Carlini et al. 2022, section VI-A.
    """
    checks.whole("models", models, 2)
    checks.whole("examples", examples)
    order = torch.rand(models, examples, generator=runtime.generator(seed)).argsort(0)
    return order < models // 2


def fit_and_ask(
    make: Callable[[int], nn.Module],
    inputs: Tensor,
    labels: Tensor,
    used: Tensor,
    *,
    asked: Tensor | None = None,
    workers: int = 1,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    progress: bool = True,
    **training,
) -> Tensor:
    """Train a model on each row of `used`, and ask each about all inputs: logits `(M, N, K)`.

    make: a model from a seed, which is brought to where the inputs lie. used: bool `(M, N)`. asked: the inputs to ask
    about `(Z, ...)`, in place of all. training: as of `fit`. workers: processes, which on a CPU are faster than models
    side by side in one. folder: keeps each model's answers, so that what was stopped goes on; answers of other data,
    models or settings are not taken for these.
    """
    _check(inputs, labels)
    if used.dim() != 2 or used.dtype != torch.bool or used.shape[1] != len(inputs) or not used.any(1).all():
        given = f"used is {used.dtype} of shape {tuple(used.shape)}"
        raise ValueError(f"{given}; expected bool (M, {len(inputs)}), and in every row at least one")
    checks.whole("workers", workers)
    about = inputs if asked is None else asked
    place = None if folder is None else Path(folder)
    if place:
        place.mkdir(parents=True, exist_ok=True)
    settings = repr((sorted(training.items()), seed)).encode()

    def one(number: int) -> Tensor:
        own = runtime.derive(seed, "model", number)
        model = _beside(make(own), inputs)
        kept = place / f"{_digest(settings, model, inputs, labels, used[number], about)}.npy" if place else None
        if kept and kept.exists():
            return torch.from_numpy(np.load(kept)).to(inputs.device)
        threads = torch.get_num_threads()
        if workers > 1:
            torch.set_num_threads(1)
        try:
            trained = fit(model, inputs[used[number]], labels[used[number]], seed=own, **training)
            made = predict(trained, about)
        finally:
            torch.set_num_threads(threads)
        if kept:
            half = kept.with_suffix(f".{os.getpid()}.part")
            with half.open("wb") as file:
                np.save(file, made.cpu().numpy())
            os.replace(half, kept)
        return made

    jobs = (delayed(one)(number) for number in range(len(used)))
    answers = Parallel(workers, return_as="generator")(jobs)
    return torch.stack(list(tqdm(answers, total=len(used), desc="models", disable=not progress)))


def _beside(model: nn.Module, inputs: Tensor) -> nn.Module:
    """The model where the inputs lie: itself, or a copy, since whoever made it may keep it."""
    return model if networks.device(model) == inputs.device else networks.duplicate(model).to(inputs.device)


def _digest(settings: bytes, model: nn.Module, *tensors: Tensor) -> str:
    total = hashlib.sha256(settings + repr(model).encode())
    for each in [*model.state_dict().values(), *tensors]:
        total.update(each.detach().cpu().contiguous().numpy().tobytes())
    return total.hexdigest()[:32]


def _check(inputs: Tensor, labels: Tensor) -> None:
    if not isinstance(inputs, Tensor) or inputs.dim() < 2 or not inputs.numel():
        form = tuple(inputs.shape) if isinstance(inputs, Tensor) else type(inputs).__name__
        raise ValueError(f"inputs are {form}; give a tensor (N, ...) with at least one example")
    if inputs.is_floating_point() and not inputs.isfinite().all():
        given = f"{int((~inputs.isfinite()).sum())} of the inputs' values are not finite"
        raise ValueError(f"{given}; fill or leave them out")
    checks.targets("labels", labels, len(inputs), inputs)
