"""The membership explorer: who was trained on, told by what a model says."""

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from privlab import checks, data, models, runtime
from privlab.attacks import membership
from privlab.explore import frames
from privlab.explore.explorer import Explorer, Knob
from privlab.explore.frame import Frame
from privlab.metrics import membership as metrics
from privlab.sharing import predictions

TARGETS, REFERENCES, EXAMPLES, POPULATION = 4, 16, 600, 400
WIDTHS, EPOCHS = (8, 32, 128), (1, 5, 20, 60)
ATTACKS = ("loss", "lira", "rmia")
NAMES = {"loss": "the loss alone", "lira": "LiRA", "rmia": "RMIA"}
WRONG = 0.15
HIGH, WIDE, LEFT = 150, 300, 46  # of a plot, in units of its own
LEAST = 1e-3  # where the logarithmic axes begin


@functools.lru_cache(maxsize=3)
def _answers(width: int, name: str, seed: int) -> tuple[dict[int, Tensor], Tensor, Tensor]:
    """What 4 targets and 16 references say of all images after 1, 5, 20 and 60 epochs; labels; who used what."""
    source = data.load(name).sample(EXAMPLES + POPULATION, seed)
    random = runtime.generator(runtime.derive(seed, "wrong"))
    wrong = torch.rand(len(source), generator=random) < WRONG
    labels = torch.where(wrong, torch.randint(len(source.classes), (len(source),), generator=random), source.labels)
    images, count = source.images, TARGETS + REFERENCES
    used = torch.zeros(count, len(source), dtype=torch.bool)
    used[:, :EXAMPLES] = predictions.halves(count, EXAMPLES, runtime.derive(seed, "halves"))
    said: dict[int, list[Tensor]] = {epoch: [] for epoch in EPOCHS}

    def watch(epoch: int, model: nn.Module) -> None:
        if epoch in said:
            said[epoch].append(predictions.predict(model, images))

    for number in range(count):
        own = runtime.derive(seed, "model", number)
        model = models.fully_connected(source.shape, len(source.classes), widths=(width, width), seed=own)
        mine = used[number]
        predictions.fit(model, images[mine], labels[mine], epochs=EPOCHS[-1], seed=own, watch=watch)
    return {epoch: torch.stack(rows) for epoch, rows in said.items()}, labels, used


def infer(width: int, epochs: int, attack: str, *, name: str = "digits", seed: int = 0) -> Frame:
    """How well an attack tells what four networks were trained on from what they were not.

    width: neurons in each of two dense layers; epochs: one of `EPOCHS`; attack: one of `ATTACKS`. A network is
    trained on half of 600 images, of which 15 in 100 have a wrong label. The adversary has sixteen networks of its own.
    """
    checks.whole("width", width)
    checks.one_of("epochs", epochs, EPOCHS)
    checks.one_of("attack", attack, ATTACKS)
    said, labels, used = _answers(width, name, seed)
    logits, inside = said[epochs], used[:TARGETS, :EXAMPLES]
    loss = membership.negative_loss(logits, labels)
    scores = _scores(attack, logits, labels, used)
    found = metrics.score(scores, inside)
    right = (logits[:TARGETS].argmax(2) == labels).double()
    seen, new = right[:, :EXAMPLES][inside].mean(), right[:, EXAMPLES:].mean()
    numbers = {
        "right on its own images": f"{seen:.0%}",
        "right on new ones": f"{new:.0%}",
        "area under the curve": f"{found.auc:.2f}, chance 0.50",
        "members found at 1 % false alarms": f"{100 * found.tpr_at_fpr_1pct:.1f} %, chance 1 %",
    }
    caught = f"{100 * found.tpr_at_fpr_1pct:.1f} %"
    alt = (
        f"Networks of width {width} after {epochs} epochs, attacked by {NAMES[attack]}: area under the curve "
        f"{found.auc:.2f}; {caught} of members found at 1 % false alarms. Right on {seen:.0%} of their own images "
        f"and {new:.0%} of new ones. Beside it, the losses of members and of others."
    )
    plot = _curve(scores, inside) + _losses(-loss[:TARGETS, :EXAMPLES], inside)
    return Frame((), alt, numbers, plot=f'<div class="pl-plots" aria-hidden="true">{plot}</div>')


def _scores(attack: str, logits: Tensor, labels: Tensor, used: Tensor) -> Tensor:
    loss = membership.negative_loss(logits, labels)
    target, references, inside = slice(0, TARGETS), slice(TARGETS, None), used[TARGETS:, :EXAMPLES]
    if attack == "loss":
        return loss[target, :EXAMPLES]
    if attack == "rmia":
        population = loss[target, EXAMPLES:], loss[references, EXAMPLES:]
        return membership.rmia(loss[target, :EXAMPLES], loss[references, :EXAMPLES], inside, population=population)
    scaled = membership.scaled_confidence(logits, labels)
    return membership.lira(scaled[target, :EXAMPLES], scaled[references, :EXAMPLES], inside, shared=True)


def _line(points: Sequence[tuple[float, float]], style: str) -> str:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke-width="2" {style}/>'


def _box(parts: str, below: str) -> str:
    box = f"0 0 {LEFT + WIDE + 8} {HIGH + 40}"
    frame = f'<path d="M{LEFT} 4V{HIGH}H{LEFT + WIDE}" fill="none" stroke="currentColor"/>'
    label = f'<text x="{LEFT + WIDE / 2}" y="{HIGH + 34}" text-anchor="middle">{below}</text>'
    return f'<svg viewBox="{box}" font-size="12" fill="currentColor">{frame}{parts}{label}</svg>'


def _curve(scores: Tensor, inside: Tensor) -> str:
    """The mean ROC curve of the targets on logarithmic axes, with chance dotted."""

    def place(rate: float, length: float) -> float:
        return length * (1 - math.log10(max(rate, LEAST)) / math.log10(LEAST))

    rates = torch.logspace(math.log10(LEAST), 0, 60, dtype=torch.float64).tolist()
    caught = [metrics.tpr_at_fpr(scores, inside, rate) for rate in rates]
    xs = [LEFT + place(rate, WIDE) for rate in rates]
    curve = [(x, HIGH - place(y, HIGH - 4)) for x, y in zip(xs, caught, strict=True)]
    chance = [(x, HIGH - place(y, HIGH - 4)) for x, y in zip(xs, rates, strict=True)]
    lines = _line(chance, 'stroke="currentColor" stroke-dasharray="2 4"') + _line(curve, 'stroke="var(--pl-accent)"')
    ticks = ""
    for rate, text in ((0.001, "0.1 %"), (0.01, "1 %"), (0.1, "10 %"), (1.0, "100 %")):
        ticks += f'<text x="{LEFT + place(rate, WIDE):.0f}" y="{HIGH + 16}" text-anchor="middle">{text}</text>'
        ticks += f'<text x="{LEFT - 4}" y="{HIGH - place(rate, HIGH - 4) + 8:.0f}" text-anchor="end">{text}</text>'
    return _box(ticks + lines, "false alarms (across), members found (up)")


def _losses(losses: Tensor, inside: Tensor) -> str:
    """How often each loss occurs among members and others, on a logarithmic axis."""
    low, high, count = -3.0, 1.0, 24
    logs = losses.double().clamp_min(10**low).log10().clamp(low, high - 1e-6)
    tops = [torch.histc(logs[chosen], count, low, high) / chosen.sum() for chosen in (inside, ~inside)]
    most = max(float(top.max()) for top in tops)
    parts = ""
    styles = ('stroke="var(--pl-accent)"', 'stroke="var(--pl-blue)" stroke-dasharray="6 3"')
    for row, (top, style, who) in enumerate(zip(tops, styles, ("members", "others"), strict=True)):
        points = []
        for place, value in enumerate(top.tolist()):
            height = HIGH - (HIGH - 12) * value / most
            points += [(LEFT + WIDE * (place + side) / count, height) for side in (0, 1)]
        parts += _line(points, style)
        key = 14 + 16 * row
        parts += f'<line x1="{LEFT + 98}" x2="{LEFT + 122}" y1="{key}" y2="{key}" stroke-width="2" {style}/>'
        parts += f'<text x="{LEFT + 128}" y="{key + 4}">{who}</text>'
    for value in (-3, -2, -1, 0):
        x = LEFT + WIDE * (value - low) / (high - low)
        parts += f'<text x="{x:.0f}" y="{HIGH + 16}" text-anchor="middle">{10.0**value:g}</text>'
    return _box(parts, "loss (the smallest at the left edge)")


def infer_explorer(name: str = "digits") -> Explorer:
    """Width, epochs and attack as controls of `infer`; its frames are made beforehand (`privlab explore infer`)."""
    knobs = (
        Knob("width", "Neurons in a layer", WIDTHS),
        Knob("epochs", "Epochs", EPOCHS),
        Knob("attack", "Attack", ATTACKS, choice=True),
    )
    start = {"width": 32, "epochs": 20, "attack": "loss"}
    stored = frames.load("infer") if name == "digits" else None
    function = functools.partial(infer, name=name)
    return Explorer(function, knobs, start=start, name="infer", title="Was this image used?", stored=stored)
