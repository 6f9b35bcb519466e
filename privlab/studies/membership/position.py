"""From where membership is inferred: outside, as another client, or at the server."""

import functools

import torch
from torch import Tensor

from privlab import data, runtime
from privlab.attacks import membership
from privlab.metrics import membership as metrics
from privlab.sharing import federated, predictions
from privlab.studies.bench.sentence import Found, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table
from privlab.studies.bench.takes import Takes
from privlab.studies.membership._records import EXAMPLES, inputs, network, study

CLIENTS, ROUNDS, LOCAL, BATCH, LR = 5, 20, 2, 20, 0.1
POSITIONS = ("outside", "client", "server")


def cells(name: str) -> list[Cell]:
    """Three positions."""
    return [{"data": name, "model": "mlp", "clients": CLIENTS, "position": position} for position in POSITIONS]


@functools.lru_cache(maxsize=2)
def _seen(name: str, seed: int, device: str) -> tuple[Tensor, Tensor, Tensor, float]:
    """Of the victim's records and as many others: the final model's losses, those of every round's global model `(R,
    N)`, the alignment with the victim's update in every round `(R, N)`; and the final accuracy.
    """
    values, labels, classes = inputs(name, EXAMPLES, seed)
    values, labels = values.to(device), labels.to(device)
    half = len(values) // 2
    parts = data.iid(labels[:half].cpu(), clients=CLIENTS, seed=runtime.derive(seed, "clients"))
    owners = [federated.Client(values[:half][part], labels[:half][part]) for part in parts]
    count = len(owners[0].labels)
    asked = torch.cat([owners[0].images, values[half : half + count]])
    truth = torch.cat([owners[0].labels, labels[half : half + count]])
    model = network(tuple(values.shape[1:]), classes, runtime.derive(seed, "network")).to(device)
    losses, aligned = [], []
    for number in range(ROUNDS):
        slopes = _slopes(model, asked, truth)
        sent: list[federated.Update] = []
        model = federated.fed_avg(
            model,
            owners,
            rounds=1,
            epochs=LOCAL,
            batch=BATCH,
            lr=LR,
            seed=runtime.derive(seed, "round", number),
            listen=functools.partial(_keep, sent),
        )
        flat = torch.cat([sent[0][name].flatten() for name, _ in model.named_parameters()])
        aligned.append(membership.update_alignment(flat, slopes))
        losses.append(membership.negative_loss(predictions.predict(model, asked), truth))
    right = federated.accuracy(model, values[half + count :], labels[half + count :])
    return losses[-1].cpu(), torch.stack(losses).cpu(), torch.stack(aligned).cpu(), right


def _keep(sent: list[federated.Update], _round: int, client: int, update: federated.Update) -> None:
    if client == 0:
        sent.append(update)


def _slopes(model: torch.nn.Module, asked: Tensor, truth: Tensor) -> Tensor:
    """Each example's own gradient, `(N, P)`."""
    rows = []
    for image, label in zip(asked.split(1), truth.split(1), strict=True):
        found = federated.gradient(model, image, label)
        rows.append(torch.cat([found[name].flatten() for name, _ in model.named_parameters()]))
    return torch.stack(rows)


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """FedAvg of five clients; the victim is the first. Outside: the loss under the final model. As a client: the mean
    loss under the global models of all rounds. At the server: the mean alignment of an example's gradient with the
    victim's update.
    """
    final, rounds, aligned, right = _seen(cell["data"], seed, str(device))
    scores = {"outside": final, "client": rounds.mean(0), "server": aligned.mean(0)}[cell["position"]]
    found = metrics.score(scores, torch.arange(len(scores)) < len(scores) // 2)
    return {"auc": found.auc, "tpr_at_fpr_1pct": found.tpr_at_fpr_1pct, "model_accuracy": right}


def _nearer(table: Table) -> Found:
    return {
        f"{far} to {near}": told(table.gains("auc", {"position": far}, {"position": near}), 0.02)
        for far, near in (("outside", "client"), ("outside", "server"), ("client", "server"))
    }


STUDY = study(
    "position",
    "Membership inference from outside, by a client, and at the server",
    "Nasr et al. 2019; the talk",
    cells=cells,
    run=run,
    seeds={"fast": 5, "real": 5, "paper": 5},
    knob="position",
    metrics=("auc", "tpr_at_fpr_1pct", "model_accuracy"),
    takes=Takes(kind="records", least=200),
    claims=(
        Claim(
            "Who is nearer to the training infers more.",
            "Nasr et al. 2019",
            _nearer,
            "area under the curve, by more than 0.02",
            ours=True,
        ),
    ),
)
