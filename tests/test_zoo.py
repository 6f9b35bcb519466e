"""Every public function that takes a network, over the zoo: the result of the slow, obvious way, or an error in words.

`RUNS` has one run for each such function; one that has none fails the first test. A run compares with a loop of plain
autograd. What is refused stands in `REFUSED`, with the words. Nothing may change the network or the global generators.
"""

import contextlib
import importlib
import inspect
import pkgutil
import typing
from collections.abc import Callable

import pytest
from torch import nn

from privlab.sharing import split
from tests.zoo import ZOO
from tests.zoo_attacks import ATTACKS
from tests.zoo_runs import RUNS as OTHERS
from tests.zoo_runs import trace

RUNS = OTHERS | ATTACKS
ROOMS = ("sharing", "models", "metrics", "defences", "attacks")


def is_called(each: object) -> bool:
    """A function, or a class whose objects are one."""
    return inspect.isfunction(each) or (inspect.isclass(each) and "__call__" in vars(each))


def takes_a_network(function: Callable) -> bool:
    hints = typing.get_type_hints(function)
    given = [hints.get(name) for name in inspect.signature(function).parameters]
    parts = [part for kind in given for part in (kind, *typing.get_args(kind), getattr(kind, "__bound__", None))]
    return any(inspect.isclass(part) and issubclass(part, nn.Module | split.Split) for part in parts)


def public_functions() -> set[str]:
    found = set()
    for room in ROOMS:
        package = importlib.import_module(f"privlab.{room}")
        for info in pkgutil.iter_modules(package.__path__, f"privlab.{room}."):
            module = importlib.import_module(info.name)
            if info.name.rpartition(".")[2][0] == "_":
                continue
            for name, function in inspect.getmembers(module, is_called):
                if function.__module__ == info.name and name[0] != "_" and takes_a_network(function):
                    found.add(f"{info.name}.{name}".removeprefix("privlab."))
    return found


def test_every_public_function_that_takes_a_network_meets_the_zoo():
    assert public_functions() == set(RUNS)


def called(*names: str) -> set[str]:
    assert set(names) <= set(ZOO)
    return set(names)


ALL = set(ZOO)
CUT = {name for name in ALL if type(ZOO[name].build()) is not nn.Sequential}
NORMED = called("weight norm", "spectral norm", "spectral norm in eval mode")
BATCHED = called("batch norm, train", "batch norm, eval", "batch norm of dense", "frozen batch norm")
TWO, NO_DENSE = called("two outputs"), called("convolution and pooling last")
UNCUT = {"so that its layers need not follow one another": CUT}
TUPLE = {"answers with a tuple": TWO}
PLANTED = {"computes its weight": NORMED, "not a Linear layer": NO_DENSE}
DROPS = {"drops units at random": called("dropout, train"), "draws at random": called("functional dropout, train")}
READ = {
    "no weight and bias of that name": NORMED | NO_DENSE,
    "Expected more than 1 value": called("batch norm of dense"),
    **DROPS,
    **TUPLE,
}
TOKENS = {"tokens have no slope": called("words")}
WORDS = {"does not take images of shape": called("words")}
ROWS = {
    "one that reads a row of numbers": called("attention", "transformer", "flatten in the middle"),
    "depends on the other images": called("batch norm, train"),
    "not a Linear layer": NO_DENSE,
    **TOKENS,
}
BINNED = {
    **PLANTED,
    "one row of": called("attention", "transformer", "flatten in the middle"),
    "Expected more than 1 value": called("batch norm of dense"),
    "is not one number for the neurons that fire": ALL
    - called(
        "sequential",
        "plain module",
        "reused activation",
        "reused layer",
        "tied weights",
        "forward hook",
        "forward hook on the last layer",
        "pre-hook",
        "backward hook",
        "subclass of Linear",
        "in-place ReLU",
        "writes into the images",
        "dropout, eval",
        "nested",
        "words",
        "one logit",
        "several labels",
        "soft labels",
        "no bias in the last layer",
        "softmax after the last layer",
        "scaled after the last layer",
        "identity after the last layer",
    ),
}
TRANSMITTED = {
    **PLANTED,
    **UNCUT,
    "padding": called("frozen", "groups", "dilation", "double precision", "colour, not square"),
    "not followed by a ReLU": {*BATCHED, *called("group norm", "instance norm", "circular", "padding same")}
    - called("batch norm of dense")
    | called("flatten in the middle"),
    "has the stride": called("stride without padding"),
    "does not pass unaltered": called("signals", "words"),
    "does not arrive at 'first' unaltered": called("pre-hook"),
    "part of another": called("nested"),
}
LAST = {
    **TUPLE,
    "used more than once": called("reused last layer"),
    "not the outputs of a dense layer": called(
        "forward hook on the last layer",
        "last is a subclass of Linear",
        "convolution and pooling last",
        "softmax after the last layer",
        "scaled after the last layer",
        "bilinear and einsum",
    ),
    "4 outputs are not read off": called("several labels"),
    "have a negative gradient": called("soft labels"),
    "choose one of first": called("no bias in the last layer"),
}
# By function, which words refuse which networks. Any other error, and any error elsewhere, is a failure.
REFUSED: dict[str, dict[str, set[str]]] = {
    **{name: TUPLE for name in RUNS if name.startswith(("sharing.federated", "sharing.predictions"))},
    **{name: UNCUT for name in RUNS if name.startswith(("sharing.split", "models.cutting"))},
    **{name: UNCUT | WORDS for name in RUNS if name.startswith("attacks.decoder")},
    **{name: {"draw them first": NORMED} for name in RUNS if name.startswith("models.init")},
    **{name: DROPS | TUPLE | TOKENS for name in RUNS if name.endswith("reconstruct") and "decoder" not in name},
    "attacks.gradient_extraction.extract": {
        **READ,
        "does not arrive at 'first' unaltered": called("pre-hook"),
    },
    "attacks.gradient_extraction.reproduces_gradient": {
        **READ,
        "does not read one row an image": called("attention", "transformer", "flatten in the middle"),
    },
    "sharing.losses.value": TUPLE,
    "sharing.together.local_updates": {
        **TUPLE,
        "counts while it trains": called(
            "spectral norm", "batch norm, train", "batch norm of dense", "a buffer that is replaced"
        ),
        "draws while it trains": called("dropout, train", "functional dropout, train"),
        "hooks on slopes": called("backward hook", "hook on a weight"),
        "cannot stand side by side": called("attention", "transformer"),
    },
    "sharing.predictions.fit_and_ask": {**TUPLE, "Expected more than 1 value": called("batch norm of dense")},
    "sharing.federated.fed_bn": {"has no BatchNorm": ALL - BATCHED},
    "defences.soteria.telling_mask": ROWS,
    "defences.soteria.gradient": {
        **ROWS,
        **TUPLE,
        "is not the product": {
            *NORMED,
            *called("forward hook", "hook on a weight", "last is a subclass of Linear"),
        },
    },
    **{
        name: {
            "BatchNorm": called("batch norm, train", "batch norm, eval", "batch norm of dense"),
            **TUPLE,
        }
        for name in RUNS
        if name.startswith("defences.dp_sgd")
    },
    "defences.verification.TrapSet": TUPLE,
    "defences.pruning.prune_dormant": {"is a ParametrizedLinear; give a dense or": NORMED, **TUPLE},
    "defences.regularisation.distil": TUPLE,
    "defences.regularisation.prune_weights": {"computes its weight": NORMED},
    "attacks.label_inference.labels": LAST,
    "attacks.model_extraction.extract": {"is tuple; give a torch tensor": TWO},
    "attacks.evasion.fgsm": {**TUPLE, **TOKENS},
    "attacks.evasion.pgd": {**TUPLE, **TOKENS},
    "attacks.evasion.patch": {**TUPLE, **TOKENS, "has shape": called("signals")},
    **{name: TUPLE for name in RUNS if name.startswith("defences.adversarial")},
    "attacks.span_check.reconstruct": {**TUPLE, "layers of nn.MultiheadAttention": ALL - TWO},
    "attacks.text_extraction.plant": {"not a Embedding layer": ALL - called("words")},
    "attacks.transmission.transmit": TRANSMITTED,
    "attacks.bins.plant": BINNED,
    "attacks.rank_inversion.reconstruct": {
        "computes its weight": NORMED,
        "has no ReLU behind it": called(
            "reused last layer",
            "last is a subclass of Linear",
            "unused head",
            "layer norm",
            "a buffer that is replaced",
            "other names",
            "bilinear and einsum",
        ),
        "does not arrive at": called("pre-hook", "writes into the images", "flatten in the middle"),
        "give the shape of one input": {name for name in ALL if ZOO[name].dense is None}
        - NO_DENSE
        - TWO
        - called("flatten in the middle"),
        "Expected more than 1 value": called("batch norm of dense"),
        "not a Linear layer": NO_DENSE,
        **DROPS,
        **TUPLE,
    },
    "attacks.trap_weights.plant": PLANTED,
    "attacks.trap_weights.tune": {**PLANTED, **TUPLE},
}


def words_for(function: str, name: str) -> str | None:
    """The words that refuse a network."""
    return next((words for words, names in REFUSED.get(function, {}).items() if name in names), None)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("function", RUNS)
def test_the_slow_way_or_an_error_in_words(function, name):
    animal = ZOO[name]
    model = animal.build()
    before = trace(model)
    words = words_for(function, name)
    with pytest.raises((ValueError, TypeError), match=words) if words else contextlib.nullcontext():
        RUNS[function](animal, model)
    for found, wanted in zip(trace(model), before, strict=True):
        assert found == wanted
