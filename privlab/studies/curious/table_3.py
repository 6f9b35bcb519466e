"""Table 3: sentences, passive and under trap weights."""

import functools
from collections.abc import Sequence

import torch

from privlab import models, runtime
from privlab.attacks import gradient_extraction, text_extraction
from privlab.metrics import extraction
from privlab.sharing import federated
from privlab.studies._data import dataset
from privlab.studies.bench.printed import Printed, Reading
from privlab.studies.bench.sentence import Found, about, both, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table, Takes
from privlab.studies.curious._extraction import EXACT
from privlab.studies.curious._paper import printed, study

NEURONS = 1000
# The paper's passive rows fit embeddings in [0, 1] under honest dense weights; its framework's default is narrower.
PASSIVE = {"init": "xavier_uniform", "embedding": "0 to 1"}
DEFAULT = {"init": "xavier_uniform", "embedding": "-0.05 to 0.05"}
BATCHES = (20, 50, 100, 200)
NAMED = 0.99
BETTER = 0.985  # the paper's grid has 0.98 and 0.99; between them more is read at batches of 100 and 200
METRICS = ("active", "precision", "recall", "precision_all", "adversary_count", "token_accuracy")


def readings(row: Printed) -> Sequence[Reading]:
    """The passive server's network: with its framework's embeddings, or with those of the attack, which fit better."""
    if not row.variant.startswith("passive"):
        return (Reading({}),)
    return Reading(DEFAULT), Reading(PASSIVE, "embeddings between 0 and 1", fitted=True)


def cells(name: str) -> list[Cell]:
    """Two passive servers and two scaling factors, at four sizes of a mini-batch."""
    return [
        {"data": name, **attack, "batch": batch, "neurons": NEURONS}
        for attack in (PASSIVE, DEFAULT, {"s": NAMED}, {"s": BETTER})
        for batch in BATCHES
    ]


@functools.lru_cache(maxsize=1)
def _model(name: str, trap: float | None, ends: str, seed: int, device: torch.device) -> torch.nn.Module:
    """The network that the server sends, honest or trapped, kept for all batch sizes of a seed."""
    text = dataset(name)
    classes = 1 if len(text.classes) == 2 else len(text.classes)
    own = runtime.derive(seed, "network")
    low, high = (0.0, 1.0) if ends == PASSIVE["embedding"] else (-0.05, 0.05)
    honest = models.embedding_classifier(
        words=len(text.vocabulary), neurons=NEURONS, classes=classes, embedding=(low, high), seed=own
    )
    if trap is None:
        return honest.to(device)
    return text_extraction.plant(honest, trap, seed=runtime.derive(seed, "trap")).to(device)


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """One mini-batch of sentences, one gradient, and what can be read in it."""
    text = dataset(cell["data"])
    model = _model(cell["data"], cell.get("s"), cell.get("embedding", ""), seed, device)
    batch = text.sample(cell["batch"], runtime.derive(seed, "batch"))
    tokens, labels = batch.tokens.to(device), batch.labels.to(device)
    loss = federated.binary_cross_entropy if len(text.classes) == 2 else federated.cross_entropy
    sent = federated.gradient(model, tokens, labels, loss=loss, layers=("fc1",))
    dictionary = model.get_parameter("embedding.weight").detach()
    score = extraction.score(gradient_extraction.candidates(sent), dictionary[tokens].flatten(1), neurons=NEURONS)
    found = text_extraction.read(sent, dictionary)
    metrics = {**vars(score), "adversary_count": float(len(found.tokens))}
    if len(found.tokens):  # of what was read, how much is right: against the nearest sentence of the batch
        same = (found.tokens[:, None] == tokens[None]).float().mean(2).amax(1)
        metrics["token_accuracy"] = same.mean().item()
    return metrics


SERVERS = {"embeddings between −0.05 and 0.05": DEFAULT, "embeddings between 0 and 1": PASSIVE}


def _reads_more(table: Table) -> Found:
    """At every batch size, against each of the two passive servers."""
    found = {}
    for name, passive in SERVERS.items():
        steps = [table.gains("recall", {**passive, "batch": b}, {"s": NAMED, "batch": b}) for b in BATCHES]
        found[name] = both(*(told(step) for step in steps))
    return found


def _two_and_a_half(table: Table) -> Found:
    active = table.values("recall", s=NAMED, batch=100)
    return {name: about(active, table.values("recall", **way, batch=100), 2.5) for name, way in SERVERS.items()}


def _small_batches(table: Table) -> Found:
    return told(table.values("recall", s=NAMED, batch=20), EXACT)


STUDY = study(
    "table-3",
    "Sentences, passive and under trap weights",
    "sections 8.2 and 8.3, Table 3",
    cells=cells,
    run=run,
    data={"fast": ("manual",), "real": ("imdb",), "paper": ("imdb",)},
    knob="batch",
    metrics=METRICS,
    reported=printed("3", readings),
    claims=(
        Claim(
            "Similar improvements of performance could be achieved for the IMDB dataset",
            "section 8.3",
            _reads_more,
            "s = 0.99 against each passive server, recall at every batch size, by two standard errors",
        ),
        Claim(
            "around 2.5 time as high as the passive attack",
            "section 8.3",
            _two_and_a_half,
            "recall with s = 0.99 and batches of 100, within 15 % of 2.5 times each passive server's",
        ),
        Claim(
            "embeddings of data from small mini-batches of 20 training data points are perfectly extractable",
            "section 8.3",
            _small_batches,
            "s = 0.99, a mean recall of 0.995 or more, which is printed as 1.000",
        ),
    ),
    takes=Takes("text", least=max(BATCHES)),
    together=lambda cell: (cell["data"], cell.get("s"), cell.get("embedding")),
)
