"""Section 10.1: could a client notice trap weights?"""

import copy
import functools
import statistics
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from privlab import models, runtime
from privlab.attacks import trap_weights
from privlab.data import splits
from privlab.defences import detection
from privlab.sharing import federated
from privlab.studies._data import dataset
from privlab.studies.bench.sentence import Found, Outcome, both, negated, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Table
from privlab.studies.curious._extraction import scale
from privlab.studies.curious._paper import study

MODELS, WIDTH, EXAMPLES = 10, 300, 1000
HONEST = ("initial", "trained", "pruned", "sparse")
TRAPS = ("trap", "hidden_initial", "hidden_trained", "balanced_trained")
ONE_MODEL = ("sign_imbalance", "pinned_rows", "paired_magnitudes", "kolmogorov_smirnov")
TUNED = ("initial", "trained")
RATE = 0.0  # thresholds stand just above every honest model that they were tuned on
Score = Callable[[Tensor], float]


class Zoo:
    """Received models of one seed, made when first asked for. `tuning` ones have settings of their own.

    Models for tuning: trained by one client, at the usual learning rate. Those to be judged: another half of the
    images, other initialisations, several clients with unequal labels, other learning rates.
    """

    def __init__(self, name: str, seed: int, device: torch.device) -> None:
        self.name, self.seed, self.device = name, seed, device
        whole = dataset(name).sample(2 * min(EXAMPLES, len(dataset(name)) // 2), runtime.derive(seed, "zoo"))
        half = len(whole) // 2
        self.halves = {True: whole[:half].to(device), False: whole[half:].to(device)}
        self._trained: dict[tuple[bool, int], list[nn.Sequential]] = {}

    def initial(self, number: int, *, tuning: bool = False) -> nn.Sequential:
        """An untrained network: Xavier uniform for tuning; normal, and wider or narrower, for judging."""
        kinds = ("xavier_uniform",) if tuning else ("xavier_normal", "gaussian:0.05", "gaussian:0.01")
        images = self.halves[tuning]
        return models.fully_connected(
            images.shape,
            len(images.classes),
            widths=(WIDTH,),
            init=kinds[number % len(kinds)],
            seed=runtime.derive(self.seed, "zoo", tuning, number),
        ).to(self.device)

    def rounds(self, number: int, *, tuning: bool = False) -> list[nn.Sequential]:
        """A network before training and after each of four rounds of FedAvg."""
        if (tuning, number) not in self._trained:
            images, own = self.halves[tuning], runtime.derive(self.seed, "rounds", tuning, number)
            clients = [federated.Client(images.images, images.labels)]
            if not tuning:
                parts = splits.dirichlet(images.labels.cpu(), 3, alpha=1.0, seed=own)
                clients = [federated.Client(images.images[part], images.labels[part]) for part in parts if len(part)]
            lr = 0.1 if tuning else (0.05, 0.1, 0.2)[number % 3]
            steps = [self.initial(number, tuning=tuning)]
            for _ in range(4):
                own += 1
                steps.append(federated.fed_avg(steps[-1], clients, rounds=1, epochs=1, lr=lr, seed=own))
            self._trained[tuning, number] = steps
        return self._trained[tuning, number]

    def weight(self, kind: str, number: int, *, tuning: bool = False) -> Tensor:
        """The first layer of the model of this kind that the client receives."""
        if kind == "initial":
            return first(self.initial(number, tuning=tuning))
        if kind == "trap":
            size = first(self.initial(number)).shape
            drawn = trap_weights.draw(*size, seed=runtime.derive(self.seed, "trap", number))
            return drawn.weights(scale(self.name)).to(self.device)
        if kind == "hidden_initial":
            return trap_weights.hide(first(self.initial(number)), scale(self.name))
        trained = first(self.rounds(number, tuning=tuning)[-1])
        if kind in ("hidden_trained", "balanced_trained"):
            return trap_weights.hide(trained, scale(self.name), balanced=kind == "balanced_trained")
        if kind == "pruned":
            return magnitude_pruned(trained, (0.5, 0.8)[number % 2])
        return sparse(trained) if kind == "sparse" else trained


def first(model: nn.Sequential) -> Tensor:
    """The weights of the first dense layer."""
    return model.get_parameter("fc1.weight").detach()


def magnitude_pruned(weight: Tensor, share: float) -> Tensor:
    """The smallest `share` of the weights set to zero, as when a model is compressed."""
    return weight.where(weight.abs() > weight.abs().flatten().quantile(share), 0)


def sparse(weight: Tensor) -> Tensor:
    """Shrunk towards zero by half a standard deviation, as a step of L1 regularisation does."""
    return weight.sign() * (weight.abs() - weight.std() / 2).clamp_min(0)


@functools.lru_cache(maxsize=2)
def zoo(name: str, seed: int, device: torch.device) -> Zoo:
    """The models of one seed, shared by its cells."""
    return Zoo(name, seed, device)


def one_round(found: Zoo, tuned_on: str) -> dict[str, Score]:
    """The detectors that look at one received model, by name."""
    trusted = None if tuned_on == "initial" else found.weight("trained", MODELS, tuning=True)
    return {
        "sign_imbalance": detection.sign_imbalance,
        "pinned_rows": detection.pinned_rows,
        "paired_magnitudes": detection.paired_magnitudes,
        "kolmogorov_smirnov": lambda weight: detection.kolmogorov_smirnov(weight, trusted),
    }


def _over_rounds(found: Zoo, detector: str, kind: str, *, tuning: bool = False) -> list[float]:
    """A detector's scores of the last of several received models, one a model of the zoo."""
    scores = []
    own = found.halves[tuning][:100]  # the client's own images
    for number in range(MODELS):
        steps = found.rounds(number, tuning=tuning)
        received = steps[-1]
        if kind != "trained":
            received = copy.deepcopy(steps[-1])
            received.get_parameter("fc1.weight").data.copy_(found.weight(kind, number))
            if kind in TRAPS:
                received.get_parameter("fc1.bias").data.zero_()
        if detector == "jump":
            scores.append(detection.jump(first(steps[-2]), first(received)))
        else:
            with torch.no_grad():
                seen = [federated.cross_entropy(m(own.images), own.labels).item() for m in (*steps[1:-1], received)]
            scores.append(detection.loss_rise(seen))
    return scores


def scores(found: Zoo, detector: str, tuned_on: str, kind: str, *, tuning: bool = False) -> list[float]:
    """One detector's score for each model of one kind."""
    if tuned_on == "rounds":
        return _over_rounds(found, detector, kind, tuning=tuning)
    score = one_round(found, tuned_on)[detector]
    return [score(found.weight(kind, number, tuning=tuning)) for number in range(MODELS)]


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """The share of received models of one kind that a detector flags; it was tuned on other models."""
    found = zoo(cell["data"], seed, device)
    detector, tuned_on, kind = cell["detector"], cell["tuned_on"], cell["received"]
    known = scores(found, detector, tuned_on, "trained" if tuned_on == "rounds" else tuned_on, tuning=True)
    limit = detection.threshold(known, RATE)
    got = scores(found, detector, tuned_on, kind)
    rate = statistics.fmean(score > limit for score in got)
    return {"true_positive_rate" if kind in TRAPS else "false_positive_rate": rate, "score": statistics.fmean(got)}


def cells(name: str) -> list[Cell]:
    """Every detector against every kind of received model."""
    one = [
        {"data": name, "detector": detector, "tuned_on": tuned_on, "received": kind}
        for detector in ONE_MODEL
        for tuned_on in TUNED
        for kind in (*HONEST, *TRAPS)
    ]
    many = [
        {"data": name, "detector": detector, "tuned_on": "rounds", "received": kind}
        for detector in ("jump", "loss_rise")
        for kind in ("trained", "pruned", "sparse", "trap", "hidden_trained", "balanced_trained")
    ]
    return one + many


def received(cell: Cell, seed: int, device: torch.device) -> Iterator[Tensor]:
    """The first layers of the models of a cell's kind, one after the other, as a client receives them."""
    found = zoo(cell["data"], seed, device)
    return (found.weight(cell["received"], number) for number in range(MODELS))


def _training_looks_like_a_trap(table: Table) -> Found:
    """The sign test, tuned on initialisations, flags over half of the trained models."""
    fixed = {"detector": "sign_imbalance", "tuned_on": "initial", "received": "trained"}
    return told(table.values("false_positive_rate", **fixed), 0.5)


def _compression_looks_like_a_trap(table: Table) -> Found:
    """The distribution test flags over half of the pruned and of the sparse models, whatever it was tuned on."""
    fixed = {"detector": "kolmogorov_smirnov"}
    return {
        f"tuned on {tuned_on} models": both(
            *(
                told(table.values("false_positive_rate", **fixed, tuned_on=tuned_on, received=kind), 0.5)
                for kind in ("pruned", "sparse")
            )
        )
        for tuned_on in TUNED
    }


def _caught(table: Table, detector: str, tuned_on: str, trap: str) -> Outcome:
    """Whether a detector flags over half of the traps of one kind, and under a tenth of the honest models."""
    fixed = {"detector": detector, "tuned_on": tuned_on}
    kinds = [{**fixed, "received": kind} for kind in ("trained", "pruned", "sparse")]
    alarms = [statistics.fmean(each) for each in table.by_seed("false_positive_rate", *kinds)]
    hits = table.values("true_positive_rate", **fixed, received=trap)
    return both(told(hits, HALF), told([ALARMS - each for each in alarms]))


def _undetected(table: Table, trap: str) -> Outcome:
    """Whether no detector that looks at one model catches the traps; one that does is enough to say no."""
    caught = [_caught(table, detector, tuned_on, trap) for detector in ONE_MODEL for tuned_on in TUNED]
    return both(*(negated(each) for each in caught))


HALF, ALARMS = 0.5, 0.1
TESTED = (
    "in one round, over half of the traps caught by any of four detectors, with under a tenth of false alarms on "
    "trained, pruned and sparse models, on average"
)

STUDY = study(
    "detection",
    "Could a client notice trap weights?",
    "section 10.1",
    cells=cells,
    run=run,
    knob="received",
    metrics=("true_positive_rate", "false_positive_rate", "score"),
    claims=(
        Claim(
            "Can a user detect our adversarial weight initialization? The simple answer is no.",
            "section 10.1",
            lambda table: _undetected(table, "trap"),
            f"Algorithm 1; {TESTED}",
        ),
        Claim(
            "A trap that is hidden in a trained model and balanced is not detected",
            "section 10.1",
            lambda table: _undetected(table, "balanced_trained"),
            f"our own trap, which the paper does not have; {TESTED}",
            ours=True,
        ),
        Claim(
            "a surplus of negative weights could just be the result of previous training",
            "section 10.1",
            _training_looks_like_a_trap,
            "the sign test, tuned on initialisations, flags over half of the trained models",
        ),
        Claim(
            "The Kolmogorov-Smirnov test raises false alarms on compressed models",
            "section 10.1",
            _compression_looks_like_a_trap,
            "over half of pruned and of sparse models flagged; some other detectors raise no false alarm",
            ours=True,
        ),
    ),
    subject=received,
)
