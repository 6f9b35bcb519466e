"""Cheap defences against membership inference, beside DP-SGD: what each takes from the attack, and what it costs."""

import functools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from privlab import models, runtime
from privlab.attacks import membership
from privlab.defences import dp_sgd, laplace, regularisation
from privlab.metrics import membership as metrics
from privlab.sharing import federated, predictions
from privlab.studies.bench.sentence import Found, Outcome, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table
from privlab.studies.membership._records import EXAMPLES, WIDTHS, inputs, likelihoods, study

NETWORKS, EPOCHS, EARLY = 8, 40, 5
PUBLIC = 500  # records on which nobody is trained: half for distillation, half to measure accuracy
EPSILON, DELTA, CLIP, DP_BATCH, DP_LR = 8.0, 1e-4, 1.0, 100, 1.0
DECAY, DROPOUT, SMOOTHING, PRUNED, LAPLACE = 0.01, 0.5, 0.3, 0.7, 0.5
HALF, COST = 0.5, 0.02
Trainer = Callable[[nn.Module, Tensor, Tensor, Tensor, int], nn.Module]  # network, inputs, labels, public ones, seed


def _plain(model: nn.Module, x: Tensor, y: Tensor, _public: Tensor, seed: int, **settings) -> nn.Module:
    return predictions.fit(model, x, y, **{"epochs": EPOCHS, "seed": seed, **settings})


def _smooth(logits: Tensor, labels: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, labels, label_smoothing=SMOOTHING)


def _distilled(model: nn.Module, x: Tensor, y: Tensor, public: Tensor, seed: int) -> nn.Module:
    teacher = _plain(model, x, y, public, seed)
    return regularisation.distil(teacher, model, public, epochs=EPOCHS, seed=runtime.derive(seed, "student"))


def _pruned(model: nn.Module, x: Tensor, y: Tensor, public: Tensor, seed: int) -> nn.Module:
    return regularisation.prune_weights(_plain(model, x, y, public, seed), PRUNED)


def _private(model: nn.Module, x: Tensor, y: Tensor, _public: Tensor, seed: int) -> nn.Module:
    batch = min(DP_BATCH, len(x))
    settings: dict[str, Any] = {
        "clip": CLIP,
        "noise": noise(batch, len(x)),
        "epochs": EPOCHS,
        "batch": batch,
        "lr": DP_LR,
    }
    return dp_sgd.train(model, federated.Client(x, y), **settings, seed=seed)


@functools.lru_cache(maxsize=4)
def noise(batch: int, count: int) -> float:
    """The noise multiplier with which the training spends epsilon 8."""
    steps = EPOCHS * -(-count // batch)
    return dp_sgd.noise_multiplier(EPSILON, DELTA, sample_rate=batch / count, steps=steps)


DEFENCES: Mapping[str, Trainer] = {
    "none": _plain,
    "early_stopping": functools.partial(_plain, epochs=EARLY),
    "weight_decay": functools.partial(_plain, weight_decay=DECAY),
    "dropout": _plain,
    "label_smoothing": functools.partial(_plain, loss=_smooth),
    "confidence_masking": _plain,
    "distillation": _distilled,
    "pruning": _pruned,
    "laplace_noise": _plain,
    "dp_sgd": _private,
}


def cells(name: str) -> list[Cell]:
    """No defence, eight that promise nothing here, and DP-SGD."""
    promised = {"epsilon": EPSILON, "delta": DELTA, "unit": "example", "where": "client"}
    return [{"data": name, "adaptation": each, **(promised if each == "dp_sgd" else {})} for each in DEFENCES]


class Noisy(nn.Module):
    """Laplace noise on what passes, in training as in use: a data owner's noise before a server's segment."""

    def forward(self, activations: Tensor) -> Tensor:
        random = torch.Generator().manual_seed(int(torch.randint(2**62, ())))  # of the network's own dice
        return laplace(activations, LAPLACE, seed=random)


def network(adaptation: str, shape: tuple[int, ...], classes: int, seed: int) -> nn.Sequential:
    """Two dense layers of 64 neurons; where that is the defence with dropout after each, or noise after the first."""
    plain = models.fully_connected(shape, classes, widths=WIDTHS, seed=seed)
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for name, layer in plain.named_children():
        layers[name] = layer
        if adaptation == "dropout" and name.startswith("relu"):
            layers[name.replace("relu", "drop")] = nn.Dropout(DROPOUT)
        if adaptation == "laplace_noise" and name == "relu1":
            layers["noise"] = Noisy()
    return nn.Sequential(layers)


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """Eight networks under one defence, each attacked with the seven others, trained alike, as references.

    auc: of the better of two adversaries (the loss alone, and the likelihood ratio), as who is attacked should reckon;
    auc_loss and auc_lira: of each. model_accuracy, gap: on new records, and by how much it is better on its own.
    """
    records, labels, classes = inputs(cell["data"], EXAMPLES + PUBLIC, seed)
    records, labels = records.to(device), labels.to(device)
    spare = len(records) // 6
    own, public, fresh = len(records) - 2 * spare, records[-spare:], slice(-2 * spare, -spare)
    used = predictions.halves(NETWORKS, own, runtime.derive(seed, "halves"))
    answers = []
    for number, inside in enumerate(used):
        about = runtime.derive(seed, "network", number)
        model = network(cell["adaptation"], records.shape[1:], classes, about).to(device)
        places = inside.nonzero().flatten().to(device)
        trained = DEFENCES[cell["adaptation"]](model, records[places], labels[places], public, about)
        answers.append(predictions.predict(trained, records))
    logits = torch.stack(answers)
    if cell["adaptation"] == "confidence_masking":
        logits = torch.stack([regularisation.mask(each) for each in logits])
    return _measured(logits.cpu(), labels.cpu(), used, own, fresh)


def _measured(logits: Tensor, labels: Tensor, used: Tensor, own: int, fresh: slice) -> Metrics:
    confidence = membership.scaled_confidence(logits, labels)[:, :own]
    loss = metrics.auc(membership.negative_loss(logits, labels)[:, :own], used)
    lira = metrics.auc(likelihoods(confidence, used), used)
    right = (logits.argmax(2) == labels).double()
    new = right[:, fresh].mean().item()
    return {
        "auc": max(loss, lira),
        "auc_loss": loss,
        "auc_lira": lira,
        "model_accuracy": new,
        "gap": right[:, :own][used].mean().item() - new,
    }


def _each(test: Callable[[Table, str], Outcome], table: Table) -> Found:
    return {name: test(table, name) for name in DEFENCES if name != "none"}


def _takes_half(table: Table, name: str) -> Outcome:
    """Half of what the area under the curve is above one half without a defence, or more."""
    pairs = table.by_seed("auc", {"adaptation": "none"}, {"adaptation": name})
    return told([HALF * (before - 0.5) - (after - 0.5) for before, after in pairs])


def _is_cheap(table: Table, name: str) -> Outcome:
    return told(table.gains("model_accuracy", {"adaptation": "none"}, {"adaptation": name}), -COST)


STUDY = study(
    "defences",
    "Cheap defences against membership inference",
    "Shokri et al. 2017, section VIII; Yeom et al. 2018; Shejwalkar and Houmansadr 2021",
    cells=cells,
    run=run,
    knob="adaptation",
    metrics=("auc", "auc_loss", "auc_lira", "model_accuracy", "gap"),
    claims=(
        Claim(
            "It takes half of what the attack gains.",
            "Shokri et al. 2017, section VIII",
            functools.partial(_each, _takes_half),
            "area under the curve above one half, of the better of two adversaries whose references were treated alike",
            ours=True,
        ),
        Claim(
            "It costs next to nothing.",
            "Shokri et al. 2017, section VIII",
            functools.partial(_each, _is_cheap),
            "no more than two points of accuracy on new records",
            ours=True,
        ),
    ),
)
