"""What each attack of the talk's map achieves where nothing stops it, and what it needs."""

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from privlab import models, runtime
from privlab.attacks import backdoor, evasion, model_extraction, poisoning, side_channel
from privlab.metrics import agreement, robustness
from privlab.sharing import predictions
from privlab.studies._data import checksum, dataset
from privlab.studies.bench.sentence import POINT, QUARTER, Found, Outcome, alike, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Study, Table
from privlab.studies.bench.takes import Takes
from privlab.studies.talk import _federation as federation
from privlab.studies.talk import _lies as lies
from privlab.studies.talk import _readings as readings
from privlab.studies.talk._federation import CLIENTS, Defence, Lie, World

PLAIN = Defence()
EPSILONS = (0.02, 0.05, 0.1, 0.2)
EVASIONS = ("noise", "fgsm", "pgd", "questions")
ASKED = 500  # questions about each image
STICKERS = (3, 5, 8)  # pixels
LIARS = (1, 2, 4, 6, 9)
LYING = ("data_poisoning", "perturbed_inputs", "sign_flipping", "alie", "ipm")
SHARES = (0.0025, 0.005, 0.01, 0.02, 0.04)  # of all examples, that one client marks
QUERIES = (10, 30, 100, 238)
ANSWERS = ("labels", "probabilities", "logits")
LAYERS, REPEATS, TURN = (64, 512, 4096), 80, 5
SEEN, HALF, WHOLE = 0.1, 0.5, 0.99  # of errors, of what a backdoor means, of decisions


def cells(name: str) -> list[Cell]:
    """Each attack over what it needs: size of a change, number of liars, share of the data, questions."""
    common = {"data": name, "defence": "none", "clients": CLIENTS, "malicious": 0}
    made: list[Cell] = [
        {**common, "attack": "evasion", "method": method, "epsilon": epsilon}
        for method in EVASIONS
        for epsilon in EPSILONS
    ]
    made += [
        {**common, "attack": "sticker", "method": m, "side": side} for m in ("noise", "learnt") for side in STICKERS
    ]
    made += [{**common, "attack": attack, "malicious": count} for attack in LYING for count in LIARS]
    made += [
        {**common, "attack": attack, "malicious": 1, "share": share}
        for attack in ("backdoor", "model_replacement")
        for share in SHARES
    ]
    made += [
        {**common, "attack": "extraction", "method": answer, "queries": count}
        for answer in ANSWERS
        for count in QUERIES
    ]
    return made + [{**common, "attack": "side_channel", "method": method} for method in TIMED]


@functools.lru_cache(maxsize=4)
def _honest(name: str, seed: int, device: str) -> tuple[World, nn.Module]:
    world = federation.drawn(name, seed, torch.device(device))
    return world, federation.train(world, PLAIN)


def _errors(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    return (predictions.predict(model, images).argmax(1) != labels).double().mean().item()


def _evasion(cell: Cell, world: World, model: nn.Module) -> Metrics:
    images, labels, epsilon = world.fresh.images, world.fresh.labels, cell["epsilon"]
    seed, spent = runtime.derive(world.seed, "evasion"), float(cell["method"] != "noise")
    if cell["method"] == "noise":
        random = runtime.generator(seed)
        signs = 2 * torch.randint(2, images.shape, generator=random).to(images) - 1
        made = (images + epsilon * signs).clamp(0, 1)
    elif cell["method"] == "questions":
        ask = functools.partial(predictions.predict, model)
        made, count = evasion.square(ask, images, labels, epsilon=epsilon, queries=ASKED, seed=seed)
        spent = count.double().mean().item()
    elif cell["method"] == "fgsm":
        made = evasion.fgsm(model, images, labels, epsilon=epsilon)
    else:
        made = evasion.pgd(model, images, labels, epsilon=epsilon, steps=40, restarts=3, seed=seed)
    return {"attack_success": _errors(model, made, labels), "baseline": federation.error(model, world), "asked": spent}


def _sticker(cell: Cell, world: World, model: nn.Module) -> Metrics:
    """One sticker for all, learnt on the server's clean images, or of noise."""
    seed = runtime.derive(world.seed, "sticker")
    clean, fresh, side = world.clean, world.fresh, cell["side"]
    noise = torch.rand(fresh.shape[0], side, side, generator=runtime.generator(seed)).to(fresh.images)
    made = noise
    if cell["method"] == "learnt":
        made = evasion.patch(model, clean.images, clean.labels, size=side, steps=200, step=0.05, seed=seed)
    stuck = evasion.stick(fresh.images, made, seed=seed)
    return {"attack_success": _errors(model, stuck, fresh.labels), "baseline": federation.error(model, world)}


def _lying(cell: Cell, world: World, model: nn.Module) -> Metrics:
    """Errors after the liars' work; they know no rule but the mean."""
    made = federation.train(world, PLAIN, _lie(cell["attack"]), cell["malicious"])
    return {"attack_success": federation.error(made, world), "baseline": federation.error(model, world)}


def _lie(attack: str) -> Lie:
    return Lie(data=lies.noise) if attack == "perturbed_inputs" else lies.LIES[attack][0]


def _backdoor(cell: Cell, world: World, model: nn.Module) -> Metrics:
    """One client marks as many of its images as are this share of all; its update counts once, or as all of them."""
    marked = min(1.0, cell["share"] * CLIENTS)
    boost = float(CLIENTS) if cell["attack"] == "model_replacement" else 1.0
    lie = Lie(
        data=lambda client, world, place: lies.mark(client, world, place, share=marked),
        craft=lambda _rule, _malicious: lambda known: poisoning.scale(known, boost),
    )
    made = federation.train(world, PLAIN, lie, 1)
    fresh = world.fresh
    rates = [
        robustness.backdoor_rate(predictions.predict(each, backdoor.stamp(fresh.images)), fresh.labels, lies.TARGET)
        for each in (made, model)
    ]
    return {
        "attack_success": rates[0],
        "backdoor_rate": rates[0],
        "baseline": rates[1],
        "accuracy_attacked": 1 - federation.error(made, world),
    }


def _extraction(cell: Cell, world: World, model: nn.Module) -> Metrics:
    """A student's fidelity; baseline: that of one who learned from as many clean labels, 100 at most, and no answer."""
    asked = torch.cat([world.clean.images, world.public])
    seed, method = runtime.derive(world.seed, "thief"), cell["method"]

    def ask(images: Tensor) -> Tensor:
        said = predictions.predict(model, images)
        return {"labels": said.argmax(1), "probabilities": said.softmax(1), "logits": said}[method]

    setting = {**readings.STUDENT, "seed": seed}
    thief = model_extraction.extract(
        ask, world.model("thief"), asked, answers=method, queries=min(cell["queries"], len(asked)), **setting
    )
    own = world.clean[: cell["queries"]]
    blind = predictions.fit(world.model("thief"), own.images, own.labels, **setting)
    theirs = predictions.predict(model, world.fresh.images)
    found = [agreement.fidelity(theirs, predictions.predict(each, world.fresh.images)) for each in (thief, blind)]
    return {"attack_success": found[0], "fidelity": found[0], "baseline": found[1]}


def _widths(world: World, _model: nn.Module, constant: bool) -> float:
    """How often the width of a hidden layer, one of three, is told by the time of one question."""
    shape, classes = world.fresh.shape, world.classes
    widths = [max(LAYERS)] * len(LAYERS) if constant else LAYERS
    nets = [
        models.fully_connected(shape, classes, widths=(width, width), seed=place) for place, width in enumerate(widths)
    ]
    images = world.fresh.images[:8].cpu()
    return _told(
        {str(place): functools.partial(predictions.predict, net, images) for place, net in enumerate(nets)}, world
    )


def _exits(world: World, _model: nn.Module, constant: bool) -> float:
    """How often it is told at which of two exits an input left a deep network."""
    shape, classes = world.fresh.shape, world.classes
    first = models.fully_connected(shape, classes, widths=(64,), seed=0)
    whole = models.fully_connected(shape, classes, widths=(1024,) * 4, seed=1)
    images = world.fresh.images[:8].cpu()

    def early() -> None:
        predictions.predict(first, images)
        if constant:
            predictions.predict(whole, images)

    def late() -> None:
        predictions.predict(first, images)
        predictions.predict(whole, images)

    return _told({"early": early, "late": late}, world)


def _told(calls: dict[str, Callable[[], object]], world: World) -> float:
    """The share of turns, each of five calls of one kind, that is told right by the times of the first half."""
    found = side_channel.times(calls, repeats=REPEATS, seed=world.seed)
    reference = {name: each[: REPEATS // 2] for name, each in found.items()}
    parts = [(name, part) for name, each in found.items() for part in each[REPEATS // 2 :].split(TURN)]
    right = [side_channel.tell(reference, part)[0] == name for name, part in parts]
    return sum(right) / len(right)


TIMED: dict[str, Callable[[World, nn.Module], float]] = {
    "width": functools.partial(_widths, constant=False),
    "width, constant time": functools.partial(_widths, constant=True),
    "early exit": functools.partial(_exits, constant=False),
    "early exit, constant time": functools.partial(_exits, constant=True),
}


def _overheard(cell: Cell, world: World, model: nn.Module) -> Metrics:
    kinds = len(LAYERS) if cell["method"].startswith("width") else 2
    return {"attack_success": TIMED[cell["method"]](world, model), "baseline": 1 / kinds}


RUNS: dict[str, Callable[[Cell, World, nn.Module], Metrics]] = {
    "evasion": _evasion,
    "sticker": _sticker,
    "backdoor": _backdoor,
    "model_replacement": _backdoor,
    "extraction": _extraction,
    "side_channel": _overheard,
    **dict.fromkeys(LYING, _lying),
}


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """One attack, with no defence.

    attack_success, baseline: as in `talk/defences`; of side channels the share of classes told right, and that of a
    guess. accuracy: of the network that all train in honesty. backdoor_rate, fidelity: the same by their names.
    accuracy_attacked: of the network with the backdoor. asked: questions about an image. seconds: of the CPU.
    """
    world, model = _honest(cell["data"], seed, str(device))
    timer = runtime.stopwatch()
    made = RUNS[cell["attack"]](cell, world, model)
    return {**made, "accuracy": 1 - federation.error(model, world), "seconds": timer()}


def _gain(table: Table, **settings: object) -> list[float]:
    """What an attack gains over the same without it, one number a draw."""
    rows = [row["metrics"] for row in table.select(**settings).rows]
    return [each["attack_success"] - each["baseline"] for each in rows]


def _fools(table: Table) -> Found:
    found: dict[str, Outcome] = {}
    for method in EVASIONS[1:]:
        found[method] = told(_over_noise(table, {"attack": "evasion", "epsilon": 0.1}, method), SEEN)
    found["sticker"] = told(_over_noise(table, {"attack": "sticker", "side": 5}, "learnt"), SEEN)
    return found


def _over_noise(table: Table, cell: Cell, method: str) -> list[float]:
    return table.gains("attack_success", {**cell, "method": "noise"}, {**cell, "method": method})


def _lowers(table: Table) -> Found:
    return {attack: told(_gain(table, attack=attack, malicious=4), POINT) for attack in LYING[:3]}


def _updates_do_more(table: Table) -> Found:
    found = {}
    for count in LIARS:
        by_data, by_update = ({"attack": attack, "malicious": count} for attack in ("data_poisoning", "sign_flipping"))
        found[f"{count} liar{'s' * (count > 1)}"] = told(table.gains("attack_success", by_data, by_update), POINT)
    return found


def _two_percent(table: Table) -> Found:
    return {attack: told(_gain(table, attack=attack, share=0.02), HALF) for attack in ("backdoor", "model_replacement")}


def _keeps_accuracy(table: Table) -> Found:
    found = {}
    for attack in ("backdoor", "model_replacement"):
        rows = [row["metrics"] for row in table.select(attack=attack, share=0.02).rows]
        found[attack] = told([POINT - (each["accuracy"] - each["accuracy_attacked"]) for each in rows])
    return found


def _entirety(table: Table) -> Found:
    settings = {answer: {"attack": "extraction", "method": answer, "queries": QUERIES[-1]} for answer in ANSWERS}
    return {answer: told(table.values("fidelity", **cell), WHOLE) for answer, cell in settings.items()}


def _without_labels(table: Table) -> Found:
    settings = {answer: {"attack": "extraction", "method": answer, "queries": 100} for answer in ANSWERS}
    return {answer: told(_gain(table, **cell), POINT) for answer, cell in settings.items()}


def _overhears(table: Table) -> Found:
    return {
        method: told(_gain(table, attack="side_channel", method=method), QUARTER) for method in ("width", "early exit")
    }


def _in_constant_time(table: Table) -> Found:
    methods = [method for method in TIMED if "constant" in method]
    return {method: alike(_gain(table, attack="side_channel", method=method), QUARTER) for method in methods}


STUDY = Study(
    id="talk/attacks",
    title="What each attack achieves where nothing stops it",
    source="the talk Adversarial interference (its overview of existing attacks)",
    version=1,
    cells=cells,
    run=run,
    data={"fast": ("digits",), "real": ("mnist", "pneumoniamnist"), "paper": ("mnist",)},
    seeds={"fast": 3, "real": 3, "paper": 3},
    knob="attack",
    metrics=(
        "attack_success",
        "baseline",
        "accuracy",
        "accuracy_attacked",
        "backdoor_rate",
        "fidelity",
        "asked",
        "seconds",
    ),
    load=dataset,
    names_data=False,
    checksum=checksum,
    takes=Takes(least=1300),
    claims=(
        Claim(
            "Attacker modifies inputs at test time to force the model to mispredict",
            "the talk, of evasion",
            _fools,
            "a change of .1 a pixel, or a sticker of 5 x 5 pixels: a tenth more errors than noise of the same size",
        ),
        Claim(
            "Attacker submits updates aimed at reducing the utility of the model",
            "the talk, of model poisoning",
            _lowers,
            "4 of 20 clients, the mean: wrong labels, noisy images, updates of the other sign; more than a point",
        ),
        Claim(
            "A lie about updates costs more than a lie about labels.",
            "ours",
            _updates_do_more,
            "updates of the other sign, five times as long, beside wrong labels; the mean; more than a point",
            ours=True,
        ),
        Claim(
            "Only small number of datapoints is required to backdoor a model (2% can be enough)",
            "the talk, of scale",
            _two_percent,
            "one client of 20 marks 2 % of all images; half of what it means goes to its target; the mean",
        ),
        Claim(
            "A backdoor costs no accuracy that would be noticed.",
            "ours",
            _keeps_accuracy,
            "2 % of all images; less than a point",
            ours=True,
        ),
        Claim(
            "Attacker only has black-box access to the model and obtains its entirety",
            "the talk, of model extraction",
            _entirety,
            "a student of the same architecture after 238 questions decides alike on more than 99 of 100 images",
        ),
        Claim(
            "Answers are worth more than labels of one's own.",
            "ours",
            _without_labels,
            "after 100 questions, beside 100 true labels: a point more of fidelity",
            ours=True,
        ),
        Claim(
            "using physical machine access to analyse the individual operations to determine model architecture",
            "the talk, of side channels",
            _overhears,
            "one of three widths, one of two exits, by the clock: a quarter more than by guessing",
        ),
        Claim(
            "In constant time the clock tells nothing.",
            "ours",
            _in_constant_time,
            "every question takes the largest network, or both exits: within a quarter of guessing",
            ours=True,
        ),
    ),
)
