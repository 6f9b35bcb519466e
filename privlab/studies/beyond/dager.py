"""Whole sentences out of an honest gradient of a transformer, up to the width of its layers; and what stops that.

Sizes of noise were chosen on draws 101 to 103 of the manual, so that the least is read through and the largest is not;
the learning rate and the clip are round numbers.
"""

import torch
from torch import Tensor, nn

from privlab import models, runtime
from privlab.attacks import span_check
from privlab.defences import dp_sgd, perturbation
from privlab.sharing import federated
from privlab.sharing.federated import Gradient
from privlab.studies._data import checksum, dataset
from privlab.studies._local import gradient_of_steps
from privlab.studies.bench.sentence import Found, Outcome, both, stopped, told
from privlab.studies.bench.study import Cell, Claim, Metrics, Study, Table
from privlab.studies.bench.takes import Takes

WIDTH, TOKENS, BATCH = 128, 12, 5
BELOW = (1, 2, 5, 8, 10)  # mini-batches at that width, and then two beyond it
WALLS = {(64, 12): (5, 6), (128, 12): (10, 11), (256, 12): (20, 22), (128, 6): (20, 22), (128, 24): (5, 6)}
NOISES, MULTIPLIERS = (1e-6, 1e-5, 1e-4, 1e-3), (1e-4, 1e-2, 1.0)
SHARES, STEPS, CLIENTS = (0.1, 0.5, 0.9), (1, 2, 5), (2, 3)
CLIP, LR = 1.0, 0.1
TRIED = (0.0, 1e-7, 1e-6, 1e-5, 1e-4)  # noise that is tried for what local steps change
SEEN, ALL = 0.05, 0.95
LENGTHS = (6, 12)  # with a loss of the last word, where four heads show nine states of a sentence
PLAIN: dict[str, object] = {"defence": "none", "loss": "next word", "width": WIDTH, "tokens": TOKENS}
WITH: dict[str, dict[str, object]] = {  # the strongest of each defence
    "noise of 0.001": {"defence": "noise", "noise": NOISES[-1]},
    "nine of ten numbers pruned": {"defence": "pruning", "share": SHARES[-1]},
    "five local steps": {"defence": "local_steps", "steps": STEPS[-1]},
    "a sum of three clients": {"defence": "secure_sum", "clients": CLIENTS[-1]},
    "DP-SGD with a multiplier of 1": {"defence": "dp_sgd", "noise": MULTIPLIERS[-1]},
}


def cells(name: str) -> list[Cell]:
    """Mini-batches up to the wall and beyond, widths and lengths, a loss of the last word, and defences."""

    def cell(batch: int = BATCH, width: int = WIDTH, tokens: int = TOKENS, **more: object) -> Cell:
        usual = {"data": name, "batch": batch, "width": width, "tokens": tokens, "loss": "next word", "defence": "none"}
        return usual | more

    walls = [(batch, *size) for size, batches in WALLS.items() for batch in batches]
    sizes = [*((batch, WIDTH, TOKENS) for batch in BELOW), *walls]
    made = [cell(*size) for size in dict.fromkeys(sizes)]
    made += [cell(tokens=tokens, loss="last word") for tokens in LENGTHS]
    made += [cell(defence="noise", noise=noise) for noise in NOISES]
    made += [cell(defence="dp_sgd", noise=noise) for noise in MULTIPLIERS]
    made += [cell(defence="pruning", share=share) for share in SHARES]
    made += [cell(defence="local_steps", steps=steps) for steps in STEPS]
    return made + [cell(defence="secure_sum", clients=clients) for clients in CLIENTS]


def last_word(logits: Tensor, labels: Tensor) -> Tensor:
    """The loss of the word after the sentence alone, as a classifier has it."""
    return nn.functional.cross_entropy(logits.unflatten(1, (labels.shape[1], -1))[:, -1], labels[:, -1])


def _sent(cell: Cell, seed: int, model: nn.Module, tokens: Tensor) -> tuple[Gradient, tuple[float, ...]]:
    """What the server receives, and the sizes of noise that one who knows of the defence tries."""
    given, following = tokens[:, :-1], tokens[:, 1:]
    loss = last_word if cell["loss"] == "last word" else models.next_word
    defence, drawing = cell["defence"], runtime.derive(seed, "defence")
    if defence == "dp_sgd":
        noise = cell["noise"]
        sent = dp_sgd.gradient(model, given, following, clip=CLIP, noise=noise, seed=drawing, loss=loss)
        return sent, (noise * CLIP / len(tokens),)
    if defence == "local_steps":
        made = gradient_of_steps(model, given, following, epochs=cell["steps"], lr=LR, seed=drawing, loss=loss)
        return made, TRIED
    if defence == "secure_sum":
        parts = zip(given.split(cell["batch"]), following.split(cell["batch"]), strict=True)
        return federated.average([federated.gradient(model, *each, loss=loss) for each in parts]), (0.0,)
    sent = federated.gradient(model, given, following, loss=loss)
    if defence == "noise":
        return perturbation.gaussian(sent, cell["noise"], drawing), (cell["noise"],)
    if defence == "pruning":
        sent = perturbation.prune(sent, cell["share"])
        weight = sent["blocks.0.self_attn.in_proj_weight"]
        bound = weight[weight != 0].abs().min().item()  # what was pruned lies below it, as if spread out evenly
        return sent, (bound * (cell["share"] / 3) ** 0.5,)
    return sent, (0.0,)


def run(cell: Cell, seed: int, device: torch.device) -> Metrics:
    """One mini-batch of sentences, and what an honest server reads of it.

    exact: the share of the client's sentences that come back whole, for a server that knows of the defence; naive: for
    one that does not. certified: how many sentences are certified by either; false_claims: how many of these are not
    the client's. rank: of the second layer's gradient; predicted: 1 where there are fewer words, at all local
    steps together, than dimensions that the norm leaves. seconds: of the CPU, for one reading.
    """
    text = dataset(cell["data"])
    words, length, count = len(text.vocabulary), cell["tokens"], cell["batch"] * cell.get("clients", 1)
    ends = text.tokens[:, -length - 1 :]
    whole = ends[(ends > 0).all(1)]
    chosen = torch.randperm(len(whole), generator=runtime.generator(runtime.derive(seed, "batch")))[:count]
    tokens = whole[chosen].to(device)
    drawing = runtime.derive(seed, "network")
    model = models.transformer(words=words, length=length, dim=cell["width"], seed=drawing).to(device)
    sent, noises = _sent(cell, seed, model, tokens)

    def read(noise: float) -> span_check.SpanCheck:
        return span_check.reconstruct(model, sent, words=words, length=length, noise=noise)

    timer = runtime.stopwatch()
    tried = [read(noise) for noise in noises]
    seconds = timer() / len(tried)
    knowing, naive = max(tried, key=_fitting), tried[0] if not noises[0] else read(0.0)
    client = {tuple(row) for row in tokens[:, :-1].tolist()}
    exact, others = ([tuple(each.tolist()) for each in found.sentences] for found in (knowing, naive))
    claimed = {*(exact if knowing.certified else []), *(others if naive.certified else [])}
    return {
        "exact": len(client & {*exact}) / len(client),
        "naive": len(client & {*others}) / len(client),
        "certified": float(len(claimed)),
        "false_claims": float(len(claimed - client)),
        "rank": float(naive.ranks[1]),
        "predicted": float(count * length * cell.get("steps", 1) < cell["width"] - 1),
        "seconds": seconds,
    }


def _fitting(found: span_check.SpanCheck) -> int:
    """How many prefixes were found, where there are no more than dimensions: the server's own check of a reading."""
    return found.prefixes if found.prefixes <= found.ranks[1] else 0


def _all(values: list[float]) -> Outcome:
    return told(values, ALL)


def _none(values: list[float]) -> Outcome:
    return told([-each for each in values], -SEEN)


def _whole(table: Table) -> Found:
    return {f"mini-batches of {batch}": _all(table.values("exact", **PLAIN, batch=batch)) for batch in BELOW}


def _wall(table: Table) -> Found:
    found: dict[str, Outcome] = {}
    for (width, tokens), batches in WALLS.items():
        size = {**PLAIN, "width": width, "tokens": tokens}
        low, high = (table.values("exact", **size, batch=batch) for batch in batches)
        found[f"width {width}, {tokens} words"] = both(_all(low), _none(high))
    return found


def _sound(table: Table) -> Found:
    """One false sentence is enough to say no."""
    false, claimed = sum(table.values("false_claims")), round(sum(table.values("certified")))
    return stopped((false, claimed), (claimed, claimed))


def _knows(table: Table) -> Found:
    found: dict[str, Outcome] = {}
    for noise in NOISES[:2]:
        rows = table.select(defence="noise", noise=noise).rows
        found[f"noise of {noise:g}"] = told([row["metrics"]["exact"] - row["metrics"]["naive"] for row in rows], 0.5)
    return found


def _nothing(table: Table) -> Found:
    return {name: _none(table.values("exact", **settings)) for name, settings in WITH.items()}


def _last_word(table: Table) -> Found:
    short, long = (table.values("exact", loss="last word", tokens=tokens) for tokens in LENGTHS)
    return {f"{LENGTHS[0]} words": _all(short), f"{LENGTHS[1]} words": _all(long)}


def _drops(table: Table) -> Found:
    few, many = ({**PLAIN, "batch": each} for each in (1, BELOW[-1]))
    return told(table.gains("exact", many, few), SEEN)


def _averaged(table: Table) -> Found:
    found: dict[str, Outcome] = {}
    for clients in CLIENTS:
        summed = {"defence": "secure_sum", "clients": clients}
        found[f"{clients} clients"] = told(table.gains("exact", summed, {**PLAIN, "batch": BATCH}), SEEN)
    return found


STUDY = Study(
    id="beyond/dager",
    title="Sentences in an honest gradient of a transformer",
    source="Petrov et al. 2024, DAGER",
    version=1,
    cells=cells,
    run=run,
    data={"fast": ("manual",), "real": ("imdb",), "paper": ("imdb",)},
    seeds={"fast": 3, "real": 3, "paper": 3},
    knob="batch",
    metrics=("exact", "naive", "certified", "false_claims", "rank", "predicted", "seconds"),
    load=dataset,
    checksum=checksum,
    takes=Takes("text", least=200),
    claims=(
        Claim(
            "Every sentence of a mini-batch comes whole out of an honest gradient",
            "ours",
            _whole,
            "12 words a sentence, 128 dimensions, the loss of each next word; 95 % of all sentences or more",
            ours=True,
        ),
        Claim(
            "The wall stands where the words of a mini-batch reach the width",
            "ours",
            _wall,
            "95 % of the sentences with 94 % of the width, and below 5 % with 103 %; three widths and three lengths",
            ours=True,
        ),
        Claim(
            "No certified sentence is false",
            "ours",
            _sound,
            "every cell, with and without defences; one false sentence is enough to say no",
            ours=True,
        ),
        Claim(
            "Who knows of the noise reads on where one who does not reads nothing",
            "ours",
            _knows,
            "noise of 1e-6 and 1e-5 on each number, half of all sentences more",
            ours=True,
        ),
        Claim(
            "Each of five defences leaves one who knows of it no sentence",
            "ours",
            _nothing,
            "the strongest setting of each that was tried; below 5 % of the sentences",
            ours=True,
        ),
        Claim(
            "A loss of the last word alone gives the sentences away too",
            "ours",
            _last_word,
            "4 heads, 6 and 12 words a sentence, 5 sentences; 95 % of them or more",
            ours=True,
        ),
        Claim(
            "the success of this passive extraction attack drops as the mini-batch sizes increase",
            "Curious, section 5 (of dense networks)",
            _drops,
            "sentences of a transformer's gradient: a twentieth fewer of 10 than of 1",
        ),
        Claim(
            "Table 9 in Appendix D show that through averaging, the attack success is significantly reduced",
            "Curious, section 8.3 (of trap weights)",
            _averaged,
            "sentences of a transformer's gradient, 5 a client: a twentieth fewer in the mean over several clients",
        ),
    ),
)
