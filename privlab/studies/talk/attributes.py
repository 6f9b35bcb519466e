"""A hidden attribute of records, from a model that was trained on them, beside guessing it without the model."""

import functools
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from privlab import data, models, runtime
from privlab.attacks import attribute_inference as attributes
from privlab.sharing import federated, predictions
from privlab.studies._data import checksum, dataset
from privlab.studies.bench.sentence import Found, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Study, Table
from privlab.studies.bench.takes import Takes

MOST, WIDTH, ROUNDS, LR, BATCH, HOSPITALS = 3000, 64, 60, 0.2, 16, 4
METHODS = ("marginal", "impute", "decision", "confidence", "confidence_and_impute")
WITH_THE_MODEL = METHODS[2:]
# What is hidden, and which columns would give it away; of any other set the column that varies most.
HIDDEN = {
    "adult": ("marital-status: Married-civ-spouse", ("marital-status", "relationship")),
    "heart-disease": ("exang: 1", ("exang",)),
}
POINT = 0.01


@dataclass(frozen=True)
class Records:
    """values `(N, F)`, of which the last column is the hidden attribute, 0 or 1; labels; whose they are."""

    values: Tensor
    labels: Tensor
    users: Tensor
    classes: int

    def __getitem__(self, chosen: Tensor) -> "Records":
        return Records(self.values[chosen], self.labels[chosen], self.users[chosen], self.classes)

    @property
    def hidden(self) -> Tensor:
        return self.values[:, -1].long()

    @property
    def known(self) -> Tensor:
        """What is public of a record, and its label."""
        return torch.cat([self.values[:, :-1], nn.functional.one_hot(self.labels, self.classes)], 1)


def records(name: str, seed: int, device: torch.device) -> Records:
    """Some records of a set, with one attribute that an adversary does not know as their last column."""
    source = dataset(name)
    some = source.sample(min(MOST, len(source)), runtime.derive(seed, "records")).to(device)
    values = (some.values if isinstance(some, data.Table) else some.images).flatten(1)
    features = some.features if isinstance(some, data.Table) else tuple(map(str, range(values.shape[1])))
    kept = torch.ones(len(some), dtype=torch.bool, device=device)
    if name in HIDDEN:
        column, groups = HIDDEN[name]
        attribute = values[:, features.index(column)]
        if (unknown := f"{groups[0]}: ?") in features:
            kept = values[:, features.index(unknown)] == 0
        public = [place for place, each in enumerate(features) if each.partition(":")[0] not in groups]
    else:
        widest = int(values.var(0).argmax())
        attribute = (values[:, widest] > values[:, widest].median()).float()
        public = [place for place in range(len(features)) if place != widest]
    users = some.users if some.users is not None else torch.arange(len(some), device=device) % HOSPITALS
    made = Records(torch.cat([values[:, public], attribute[:, None]], 1), some.labels, users, len(source.classes))
    return made[kept.nonzero()[:, 0]]


def cells(name: str) -> list[Cell]:
    """Two ways without the model, three with it."""
    return [{"data": name, "attack": "attribute", "defence": "none", "method": method} for method in METHODS]


@functools.lru_cache(maxsize=2)
def _drawn(name: str, seed: int, device: str) -> tuple[Records, Records, Records, nn.Module]:
    """Whose records trained the network, the adversary's own, others', and the network; each hospital is a client."""
    every = records(name, seed, torch.device(device))
    ends = [int(0.4 * len(every.labels)), int(0.8 * len(every.labels))]
    parts = torch.arange(len(every.labels), device=device).tensor_split(ends)
    members, own, outside = (every[part] for part in parts)
    shape = (1, 1, members.values.shape[1])
    holders = [members[(members.users == user).nonzero()[:, 0]] for user in members.users.unique()]
    clients = [federated.Client(each.values.view(-1, *shape), each.labels) for each in holders]
    drawing = runtime.derive(seed, "network")
    model = models.fully_connected(shape, every.classes, widths=(WIDTH,), seed=drawing).to(device)
    about = runtime.derive(seed, "training")
    trained = federated.fed_avg(model, clients, rounds=ROUNDS, batch=BATCH, lr=LR, seed=about)
    return members, own, outside, trained


def guess(method: str, own: Records, asked: Records, model: nn.Module) -> Tensor:
    """Which value of the attribute an adversary names, by its own records and, but for two methods, the model."""
    marginal = own.hidden.bincount(minlength=2) / len(own.labels)
    if method == "marginal":
        return marginal.argmax().expand(len(asked.labels))
    imputed = attributes.impute(own.known, own.hidden, asked.known)
    if method == "impute":
        return imputed.argmax(1)

    def ask(inputs: Tensor) -> Tensor:
        return predictions.predict(model, inputs.view(-1, 1, 1, inputs.shape[1])).softmax(1)

    last = asked.values.shape[1] - 1
    candidates = attributes.completed(asked.values, [last], torch.tensor([[0.0], [1.0]]).to(asked.values))
    decided = ask(own.values).argmax(1)
    pairs = torch.stack([own.labels, decided])
    confusion = torch.zeros(asked.classes, asked.classes).to(asked.values)
    confusion.index_put_(tuple(pairs), torch.ones(len(decided)).to(confusion), accumulate=True)
    prior = imputed.softmax(1) if method == "confidence_and_impute" else marginal
    counted = confusion if method == "decision" else None
    found = attributes.maximum(ask, candidates, asked.labels, prior=prior, confusion=counted)
    return found.argmax(1)


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """One way to guess the attribute of those whose records trained the network.

    attack_success: the share that is guessed right; outside: the same of people whose records did not; baseline: what
    imputation gets of the first without the model; accuracy: of the network, on the latter.
    """
    members, own, outside, model = _drawn(cell["data"], seed, str(device))
    timer = runtime.stopwatch()
    right = [
        (guess(cell["method"], own, asked, model) == asked.hidden).double().mean().item()
        for asked in (members, outside)
    ]
    seconds = timer()
    blind = (guess("impute", own, members, model) == members.hidden).double().mean().item()
    inputs = outside.values.view(-1, 1, 1, outside.values.shape[1])
    return {
        "attack_success": right[0],
        "outside": right[1],
        "baseline": blind,
        "accuracy": federated.accuracy(model, inputs, outside.labels),
        "seconds": seconds,
    }


def _beats(table: Table, method: str, than: str) -> list[float]:
    return table.gains("attack_success", {"method": than}, {"method": method})


def _with_the_model(table: Table) -> Found:
    return {method: told(_beats(table, method, "impute"), POINT) for method in WITH_THE_MODEL}


def _members_more(table: Table) -> Found:
    found = {}
    for method in WITH_THE_MODEL:
        rows = [row["metrics"] for row in table.select(method=method).rows]
        found[method] = told([each["attack_success"] - each["outside"] for each in rows], POINT)
    return found


STUDY = Study(
    id="talk/attributes",
    title="A hidden attribute, with the model and without it",
    source="the talk Adversarial interference (attribute inference)",
    version=1,
    cells=cells,
    run=run,
    data={"fast": ("tumours",), "real": ("heart-disease", "adult"), "paper": ("heart-disease", "adult")},
    seeds={"fast": 3, "real": 10, "paper": 10},
    knob="method",
    metrics=("attack_success", "outside", "baseline", "accuracy", "seconds"),
    load=dataset,
    names_data=False,
    checksum=checksum,
    takes=Takes("records", least=100),
    claims=(
        Claim(
            "Attacker uses model access and auxiliary information about the victim to obtain the sensitive values",
            "the talk, of attribute inference",
            _with_the_model,
            "with the model, the label and all other attributes; a point more than by imputation without the model",
        ),
        Claim(
            "A model tells more of those whose records trained it than of others.",
            "ours",
            _members_more,
            "a point more is guessed right of the first, by the same way of guessing",
            ours=True,
        ),
    ),
)
