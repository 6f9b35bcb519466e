"""A zoo of small networks, as people write them: whatever takes a network is run over all of them.

`ZOO` has each by its name. Its `build()` draws the same weights every time; `batch(N)` gives inputs and labels.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations

from privlab.sharing import federated

GREY, COLOUR, SIGNAL = (1, 6, 5), (3, 6, 7), (2, 12)
CLASSES = 4


@dataclass(frozen=True)
class Animal:
    """One network of the zoo.

    shape: of one input; outputs: numbers of logits; labels: `classes` int64 `(N,)`, `soft` `(N, K)` that sum to one,
    `binary` 0 or 1 `(N,)`, `several` 0 or 1 `(N, K)`. train: the mode it comes in. last: the name of its last dense
    layer where the logits are its outputs unchanged, else None; dense: that of the first dense layer that reads the
    flattened input itself, else None. chance: its output in this mode depends on chance. refused: its forward gives
    something that is not `(N, K)` logits, and everything refuses it in words.
    """

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...] = GREY
    outputs: int = CLASSES
    labels: str = "classes"
    dtype: torch.dtype = torch.float32
    train: bool = False
    last: str | None = None
    dense: str | None = None
    chance: bool = False
    refused: bool = False

    @property
    def loss(self) -> federated.Loss:
        """The loss that it is trained with."""
        return federated.binary_cross_entropy if self.labels in ("binary", "several") else federated.cross_entropy

    def build(self) -> nn.Module:
        """The network, the same one every time."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            return self.make().to(self.dtype).train(self.train)

    def batch(self, count: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Inputs `(count, *shape)` in [0, 1], on the 8-bit grid, or tokens; and labels."""
        random = torch.Generator().manual_seed(seed)
        inputs = torch.randint(0, 256, (count, *self.shape), generator=random).to(self.dtype) / 255
        if len(self.shape) == 1:
            inputs = torch.randint(0, 9, (count, *self.shape), generator=random)
        if self.labels == "soft":
            return inputs, torch.rand(count, self.outputs, generator=random, dtype=self.dtype).softmax(1)
        if self.labels == "several":
            return inputs, torch.randint(0, 2, (count, self.outputs), generator=random)
        return inputs, torch.randint(0, max(2, self.outputs), (count,), generator=random)


def size(shape: tuple[int, ...]) -> int:
    """How many numbers one input has."""
    return torch.Size(shape).numel()


def mlp(
    *between: nn.Module, shape: tuple[int, ...] = GREY, outputs: int = CLASSES, bias: bool = True
) -> OrderedDict[str, nn.Module]:
    """flatten, first, the modules between (8 numbers each), answer."""
    return OrderedDict(
        flatten=nn.Flatten(),
        first=nn.Linear(size(shape), 8),
        **{f"between{number}": each for number, each in enumerate(between)},
        answer=nn.Linear(8, outputs, bias=bias),
    )


class Plain(nn.Module):
    """A Module whose attributes stand in another order than they are used."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = nn.Linear(8, CLASSES)
        self.first = nn.Linear(size(GREY), 8)

    def forward(self, images: Tensor) -> Tensor:
        return self.answer(F.relu(self.first(images.flatten(1))))


def reused_activation() -> nn.Module:
    act = nn.ReLU()
    return nn.Sequential(nn.Flatten(), nn.Linear(30, 8), act, nn.Linear(8, 8), act, nn.Linear(8, CLASSES))


def reused_layer() -> nn.Module:
    same = nn.Linear(8, 8)
    return nn.Sequential(nn.Flatten(), nn.Linear(30, 8), nn.ReLU(), same, nn.ReLU(), same, nn.Linear(8, CLASSES))


def reused_last() -> nn.Module:
    same = nn.Linear(8, 8)
    return nn.Sequential(nn.Flatten(), nn.Linear(30, 8), nn.Tanh(), same, nn.Tanh(), same)


def tied() -> nn.Module:
    net = nn.Sequential(mlp(nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()))
    net.between3.weight = net.between1.weight  # type: ignore[union-attr]
    return net


def normed(wrap: Callable[[nn.Module], nn.Module]) -> nn.Module:
    net = nn.Sequential(mlp(nn.ReLU()))
    wrap(net.first)  # type: ignore[arg-type]
    return net


def double(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
    return 2 * output + 0.1


def halve(_module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
    return (inputs[0] / 2,)


def turn_back(_module: nn.Module, slopes: tuple[Tensor], _above: object) -> tuple[Tensor]:
    return (slopes[0] * 3,)


def hooked(place: str, hook: str) -> nn.Module:
    net = nn.Sequential(mlp(nn.ReLU()))
    layer = net.get_submodule(place)
    if hook == "forward":
        layer.register_forward_hook(double)
    elif hook == "before":
        layer.register_forward_pre_hook(halve)
    else:
        layer.register_full_backward_hook(turn_back)
    return net


def hooked_weight() -> nn.Module:
    """Half of a weight's gradient is masked, as one prunes."""
    net = nn.Sequential(mlp(nn.ReLU()))
    mask = torch.arange(8)[:, None] % 2
    net.first.weight.register_hook(lambda slopes: slopes * mask)  # type: ignore[union-attr]
    return net


class TripleLinear(nn.Linear):
    """A dense layer that answers three times as much."""

    def forward(self, input: Tensor) -> Tensor:
        return 3 * super().forward(input)


class Backwards(nn.Sequential):
    """A Sequential that skips with its own forward."""

    def forward(self, input: Tensor) -> Tensor:
        flatten, first, act, inner, answer = self
        inside = first(flatten(input))
        return answer(act(inner(act(inside)) + inside))


class Heads(nn.Module):
    """Two heads, one of which the output does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.unused, self.answer = nn.Linear(30, 8), nn.Linear(8, 2), nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.answer(self.first(images.flatten(1)).sigmoid())


class Pair(nn.Module):
    """A network that answers with two things."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(30, CLASSES)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        values = self.first(images.flatten(1))
        return values, values.exp()


class Functional(nn.Module):
    """In-place functions and a Parameter that is in no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.answer = nn.Linear(30, 8), nn.Linear(8, CLASSES)
        self.scale = nn.Parameter(torch.rand(8) + 0.5)

    def forward(self, images: Tensor) -> Tensor:
        return self.answer(F.relu_(self.first(images.flatten(1))) * self.scale)


class Centred(nn.Module):
    """Its first step writes into the images."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.answer = nn.Linear(30, 8), nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.answer(self.first(images.sub_(0.5).flatten(1)).relu())


class OwnDropout(nn.Module):
    """Dropout by a function, which no module names."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.answer = nn.Linear(30, 8), nn.Linear(8, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.answer(F.dropout(self.first(images.flatten(1)).tanh(), 0.5, self.training))


class Attention(nn.Module):
    """Rows of the image attend to one another."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.embed, self.answer = nn.Linear(5, 8), nn.Linear(8, CLASSES)
        self.attend: nn.Module = nn.MultiheadAttention(8, 2, batch_first=True)
        if kind == "encoder":
            self.attend = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.1)

    def forward(self, images: Tensor) -> Tensor:
        rows = self.embed(images.flatten(1, 2))
        if isinstance(self.attend, nn.MultiheadAttention):
            return self.answer(self.attend(rows, rows, rows)[0].mean(1))
        return self.answer(self.attend(rows).mean(1))


class Residual(nn.Module):
    """A convolution and a way around it."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.inner = nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.answer = nn.Linear(3 * 30, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        values = self.enter(images)
        return self.answer((values + self.inner(values).relu()).flatten(1))


class TwoSides(nn.Module):
    """A bilinear layer, an einsum, and weights of its own for the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.both = nn.Linear(30, 6), nn.Bilinear(6, 6, 5)
        self.weight = nn.Parameter(torch.randn(CLASSES, 5))

    def forward(self, images: Tensor) -> Tensor:
        values = self.left(images.flatten(1)).tanh()
        return torch.einsum("nk,ck->nc", self.both(values, values), self.weight)


class Counting(nn.Module):
    """A buffer that is replaced, not written to, each time it trains."""

    seen: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first, self.answer = nn.Linear(30, 8), nn.Linear(8, CLASSES)
        self.register_buffer("seen", torch.zeros(8))

    def forward(self, images: Tensor) -> Tensor:
        values = self.first(images.flatten(1)).tanh()
        if self.training:
            self.seen = 0.9 * self.seen + 0.1 * values.detach().mean(0)
        return self.answer(values - self.seen)


def cnn(
    conv: nn.Module, *after: nn.Module, shape: tuple[int, ...] = GREY, outputs: int = CLASSES
) -> OrderedDict[str, nn.Module]:
    """A convolution, what comes after it, flatten, answer."""
    features = nn.Sequential(conv, *after)
    training = [each.training for each in features.modules()]
    with torch.no_grad():
        width = features.eval()(torch.zeros(1, *shape)).numel()
    for each, mode in zip(features.modules(), training, strict=True):
        each.training = mode
    between = {f"after{number}": each for number, each in enumerate(after)}
    return OrderedDict(conv=conv, **between, flatten=nn.Flatten(), answer=nn.Linear(width, outputs))


def frozen() -> nn.Module:
    net = nn.Sequential(cnn(nn.Conv2d(1, 3, 3), nn.ReLU()))
    net.conv.requires_grad_(False)  # type: ignore[operator]
    return net


def frozen_norm() -> nn.Module:
    """BatchNorm that stays in eval mode inside a network in train mode, as one fine-tunes."""

    class Kept(nn.BatchNorm2d):
        def train(self, mode: bool = True) -> "Kept":
            return super().train(False)

    return nn.Sequential(cnn(nn.Conv2d(1, 3, 3), Kept(3), nn.ReLU()))


def nested() -> nn.Module:
    body = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(inplace=True))
    head = nn.Sequential(nn.Flatten(), nn.Linear(90, 8), nn.Sequential(nn.ReLU(), nn.Linear(8, CLASSES)))
    return nn.Sequential(OrderedDict(body=body, head=head))


def flatten_in_the_middle() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.Flatten(2), nn.Linear(30, 4), nn.Flatten(), nn.ReLU(), nn.Linear(8, CLASSES)
    )


def words() -> nn.Module:
    return nn.Sequential(
        OrderedDict(words=nn.Embedding(9, 4), flatten=nn.Flatten(), first=nn.Linear(20, 8), act=nn.ReLU()),
    ).append(nn.Linear(8, CLASSES))


def seq(build: Callable[..., OrderedDict[str, nn.Module]], *parts: Callable[[], nn.Module], **options: object):
    """A Sequential whose parts are made anew each time, so that they are drawn from the seed."""
    return lambda: nn.Sequential(build(*(part() for part in parts), **options))


def ended(*end: Callable[[], nn.Module]):
    return lambda: nn.Sequential(OrderedDict(**mlp(nn.ReLU()), **{f"end{i}": part() for i, part in enumerate(end)}))


class Times(nn.Module):
    """Logits over a temperature."""

    def forward(self, values: Tensor) -> Tensor:
        return values * 2.5


def conv(*arguments: int, **options: object) -> Callable[[], nn.Module]:
    return partial(nn.Conv2d, *arguments, **options)  # type: ignore[arg-type]


def _pooled() -> nn.Module:
    pool = nn.AdaptiveAvgPool2d(1)
    return nn.Sequential(nn.Conv2d(1, 5, 3), nn.ReLU(), nn.Conv2d(5, CLASSES, 3), pool, nn.Flatten())


DENSE = {"last": "answer", "dense": "first"}
LAST = {"last": "answer"}
_ANIMALS = [
    Animal("sequential", seq(mlp, nn.ReLU), **DENSE),
    Animal("plain module", Plain, **DENSE),
    Animal("reused activation", reused_activation, last="5", dense="1"),
    Animal("reused layer", reused_layer, last="6", dense="1"),
    Animal("reused last layer", reused_last, outputs=8, dense="1"),
    Animal("tied weights", tied, **DENSE),
    Animal("weight norm", lambda: normed(parametrizations.weight_norm), **DENSE),
    Animal("spectral norm", lambda: normed(parametrizations.spectral_norm), train=True, **DENSE),
    Animal("spectral norm in eval mode", lambda: normed(parametrizations.spectral_norm), **DENSE),
    Animal("forward hook", lambda: hooked("first", "forward"), **DENSE),
    Animal("forward hook on the last layer", lambda: hooked("answer", "forward"), dense="first"),
    Animal("pre-hook", lambda: hooked("first", "before"), **DENSE),
    Animal("backward hook", lambda: hooked("between0", "backward"), **DENSE),
    Animal("hook on a weight", hooked_weight, **DENSE),
    Animal("subclass of Linear", seq(mlp, nn.ReLU, lambda: TripleLinear(8, 8)), **DENSE),
    Animal("last is a subclass of Linear", lambda: nn.Sequential(nn.Flatten(), TripleLinear(30, CLASSES)), dense="1"),
    Animal("subclass of Sequential", lambda: Backwards(mlp(nn.ReLU(), nn.Linear(8, 8))), **DENSE),
    Animal("frozen", frozen, **LAST),
    Animal("unused head", Heads, **DENSE),
    Animal("in-place ReLU", seq(mlp, lambda: nn.ReLU(inplace=True)), **DENSE),
    Animal("functional", Functional, **DENSE),
    Animal("writes into the images", Centred, **LAST),
    Animal("batch norm, train", seq(cnn, conv(1, 3, 3), lambda: nn.BatchNorm2d(3), nn.ReLU), train=True, **LAST),
    Animal("batch norm, eval", seq(cnn, conv(1, 3, 3), lambda: nn.BatchNorm2d(3), nn.ReLU), **LAST),
    Animal("batch norm of dense", seq(mlp, lambda: nn.BatchNorm1d(8), nn.ReLU), train=True, **DENSE),
    Animal("frozen batch norm", frozen_norm, train=True, **LAST),
    Animal("group norm", seq(cnn, conv(1, 4, 3), lambda: nn.GroupNorm(2, 4), nn.ReLU), **LAST),
    Animal("layer norm", seq(mlp, lambda: nn.LayerNorm(8), nn.GELU), **DENSE),
    Animal("instance norm", seq(cnn, conv(1, 3, 3), lambda: nn.InstanceNorm2d(3, affine=True)), train=True, **LAST),
    Animal("dropout, train", seq(mlp, nn.ReLU, nn.Dropout), train=True, chance=True, **DENSE),
    Animal("dropout, eval", seq(mlp, nn.ReLU, nn.Dropout), **DENSE),
    Animal("functional dropout, train", OwnDropout, train=True, chance=True, **DENSE),
    Animal("attention", lambda: Attention("attention"), **LAST),
    Animal("transformer", lambda: Attention("encoder"), **LAST),
    Animal("residual", Residual, **LAST),
    Animal("dilation", seq(cnn, conv(1, 3, 3, dilation=2, padding=1), nn.ReLU), **LAST),
    Animal("groups", seq(cnn, conv(3, 6, 3, groups=3), nn.ReLU, shape=COLOUR), shape=COLOUR, **LAST),
    Animal("stride without padding", seq(cnn, conv(1, 3, 3, stride=2), nn.ReLU), **LAST),
    Animal("reflected", seq(cnn, conv(1, 3, 3, padding=1, padding_mode="reflect"), nn.ReLU), **LAST),
    Animal("circular", seq(cnn, conv(1, 3, (3, 2), padding=1, padding_mode="circular"), nn.Tanh), **LAST),
    Animal("padding same", seq(cnn, conv(1, 3, 3, padding="same"), partial(nn.AvgPool2d, 2)), **LAST),
    Animal("one logit", seq(mlp, nn.ReLU, outputs=1), outputs=1, labels="binary", **DENSE),
    Animal("several labels", seq(mlp, nn.ReLU), labels="several", **DENSE),
    Animal("soft labels", seq(mlp, nn.ReLU), labels="soft", **DENSE),
    Animal(
        "other names", lambda: nn.Sequential(OrderedDict(a=nn.Flatten(), fc1=nn.Linear(30, 4))), last="fc1", dense="fc1"
    ),
    Animal("convolution and pooling last", _pooled),
    Animal("no bias in the last layer", seq(mlp, nn.ReLU, bias=False), dense="first"),
    Animal("softmax after the last layer", ended(partial(nn.Softmax, 1)), dense="first"),
    Animal("scaled after the last layer", ended(Times), dense="first"),
    Animal("identity after the last layer", ended(nn.Identity, nn.Flatten), **DENSE),
    Animal("double precision", seq(cnn, conv(1, 3, 3), nn.ReLU), dtype=torch.float64, **LAST),
    Animal("colour, not square", seq(cnn, conv(3, 4, 3), nn.ReLU, shape=COLOUR), shape=COLOUR, **LAST),
    Animal("signals", seq(cnn, lambda: nn.Conv1d(2, 3, 3, stride=2), nn.ReLU, shape=SIGNAL), shape=SIGNAL, **LAST),
    Animal("words", words, shape=(5,), last="4"),
    Animal("nested", nested, last="head.2.1"),
    Animal("flatten in the middle", flatten_in_the_middle, last="5"),
    Animal("bilinear and einsum", TwoSides, dense="left"),
    Animal("a buffer that is replaced", Counting, train=True, **DENSE),
    Animal("two outputs", Pair, refused=True),
]
ZOO = {each.name: each for each in _ANIMALS}
assert len(ZOO) == len(_ANIMALS)
