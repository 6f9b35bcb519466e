"""Handle a network that somebody else wrote: run it and leave it as it was, and find out how it is built.

Nothing here goes by a layer's name or place. What cannot be told for sure is refused in words.
"""

import copy
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from privlab import checks

Model = TypeVar("Model", bound=nn.Module)
_VIEWS = {"AliasBackward0", "CloneBackward0", "ReshapeAliasBackward0", "UnsafeViewBackward0", "ViewBackward0"}


def duplicate(model: Model, replaced: dict[int, nn.Parameter] | None = None) -> Model:
    """A copy of the network; ValueError where it holds what torch cannot copy.

    replaced: by the `id` of a weight, what stands in its place in the copy. Hooks on weights are those of the original.
    """
    _check_ready(model)
    try:
        copied = copy.deepcopy(model, dict(replaced or {}))
    except RuntimeError as error:
        raise ValueError(
            f"this {type(model).__name__} cannot be copied ({error}); where it uses torch.nn.utils.weight_norm or "
            "spectral_norm, take those of torch.nn.utils.parametrizations"
        ) from error
    for old, new in zip(model.parameters(), copied.parameters(), strict=True):  # torch leaves them behind
        for hook in (old._backward_hooks or {}).values():
            new.register_hook(hook)
    return copied


def _check_ready(model: nn.Module) -> None:
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError("a compiled ScriptModule cannot be looked into; give the nn.Module that it was made from")
    if any(isinstance(each, nn.UninitializedParameter) for each in model.parameters()):
        raise ValueError("the model has lazy layers, whose size is not known yet; run it on an input once before")


@contextmanager
def untouched(*networks: nn.Module) -> Iterator[None]:
    """Whatever is run within, the buffers of the networks are afterwards the same tensors with the same values."""
    layers = {layer for network in networks for layer in network.modules()}
    before = [(layer, dict(layer._buffers)) for layer in layers if layer._buffers]
    values = [(each, each.clone()) for _, buffers in before for each in buffers.values() if each is not None]
    try:
        yield
    finally:
        for layer, buffers in before:
            layer._buffers.update(buffers)
        with torch.no_grad():
            for each, old in values:
                if not torch.equal(each, old):
                    each.copy_(old)


@contextmanager
def dice(model: nn.Module, seed: int | torch.Generator) -> Iterator[None]:
    """What the network itself draws within, as dropout does, comes from `seed`; the global generators stay as they are.

    A generator gives one number, so that each use of it draws anew.
    """
    if not isinstance(seed, torch.Generator):
        checks.whole("seed", seed, 0)
    place = device(model)
    start = int(torch.randint(2**62, (), generator=seed)) if isinstance(seed, torch.Generator) else int(seed)
    cards = [place] if place.type == "cuda" else []
    with torch.random.fork_rng(devices=cards):
        torch.default_generator.manual_seed(start)
        if cards:
            with torch.cuda.device(place):
                torch.cuda.manual_seed(start)
        yield


def beside(random: torch.Generator) -> torch.Generator:
    """A generator that follows from the state of another, from which it draws nothing."""
    return torch.Generator().manual_seed(zlib.crc32(random.get_state().numpy().tobytes()))


@contextmanager
def measured(*networks: nn.Module) -> Iterator[None]:
    """The networks in eval mode and without gradients; afterwards all modes, buffers and generators are as before."""
    modes = [(each, each.training, [(layer, layer.training) for layer in each.modules()]) for each in networks]
    try:
        with untouched(*networks), dice(networks[0], 0), torch.no_grad():
            for network in networks:
                network.eval()
            yield
    finally:
        for network, mode, layers in reversed(modes):
            network.train(mode)  # first as a whole: some have a `train` that does more than to set a flag
            for layer, was in layers:
                layer.training = was


def device(model: nn.Module) -> torch.device:
    """Where the network's weights lie; the CPU for one that has none."""
    return next((each.device for each in [*model.parameters(), *model.buffers()]), torch.device("cpu"))


def dtype(model: nn.Module) -> torch.dtype:
    """Of the network's first floating-point weight; torch's default for one that has none."""
    kinds = (each.dtype for each in model.parameters() if each.is_floating_point())
    return next(kinds, torch.get_default_dtype())


def outputs(model: nn.Module, inputs: Tensor, name: str = "images") -> Tensor:
    """What the network makes of `inputs` `(N, ...)`: a tensor `(N, ...)`.

    Raises TypeError for inputs of another dtype than its weights', or an answer that is no tensor, and ValueError for
    inputs that it does not take.
    """
    _check_ready(model)
    try:
        made = model(inputs.clone())  # its first layer may write into them
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        if inputs.is_floating_point() and inputs.dtype != dtype(model):
            given = f"{name} are {inputs.dtype} and the model's weights {dtype(model)}; bring one to the other"
            raise TypeError(f"{given}, as with {name}.to({dtype(model)}) or model.to({inputs.dtype})") from error
        raise ValueError(f"{name} of shape {tuple(inputs.shape)} do not pass through the model: {error}") from error
    if not isinstance(made, Tensor):
        given = f"this {type(model).__name__} answers with a {type(made).__name__}"
        raise TypeError(f"{given}; give a model whose forward returns one tensor, as a small module around it can")
    return made


def call(model: nn.Module, tensors: Mapping[str, Tensor], inputs: Tensor):
    """What the network makes of inputs with other weights and buffers, by name; its own are as before afterwards.

    torch's own `functional_call` leaves the other weights in a layer that is used twice: it changes them under both
    names, and puts back under the second what it had put there under the first.
    """
    held = {id(each): name for name, each in [*model.named_parameters(), *model.named_buffers()]}
    given = {}
    for path, layer in model.named_modules():
        for key, each in [*layer._parameters.items(), *layer._buffers.items()]:
            if each is not None and held[id(each)] in tensors:
                given[f"{path}.{key}" if path else key] = tensors[held[id(each)]]
    return functional_call(model, given, (inputs,), tie_weights=False)


def logits(model: nn.Module, inputs: Tensor, name: str = "images") -> Tensor:
    """What a classifier answers, `(N, K)`; raises like `outputs`, and ValueError for an answer of another form."""
    made = outputs(model, inputs, name)
    if made.dim() != 2 or len(made) != len(inputs):
        given = f"the model answers {tuple(made.shape)} to {len(inputs)} inputs"
        raise ValueError(f"{given}; give one that answers with logits (N, K)")
    return made


def steps(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The names and layers that a Sequential runs one after the other; a layer that it uses twice stands there twice.

    Raises TypeError for a network whose own forward or hooks do something else.
    """
    own = [model._forward_hooks, model._forward_pre_hooks, model._backward_hooks, model._backward_pre_hooks]
    if not isinstance(model, nn.Sequential):
        reason = "not an nn.Sequential"
    elif type(model).forward is not nn.Sequential.forward or "forward" in vars(model):
        reason = "an nn.Sequential with a forward of its own"
    elif any(own):
        reason = "an nn.Sequential with hooks of its own"
    else:
        return [(name, layer) for name, layer in model._modules.items() if layer is not None]
    given = f"this {type(model).__name__} is {reason}, so that its layers need not follow one another"
    raise TypeError(f"{given}; give an nn.Sequential of its parts")


def sequential(layers: Sequence[tuple[str, nn.Module]], training: bool) -> nn.Sequential:
    """The layers one after the other, in a Sequential that says whether it trains; they keep their own modes.

    Raises ValueError for two layers of one name.
    """
    made = nn.Sequential()
    for name, layer in layers:
        if name in made._modules:
            raise ValueError(f"two layers are called {name!r}; give each a name of its own")
        made.add_module(name, layer)
    made.training = training
    return made


def input_of(model: nn.Module, layer: str, inputs: Tensor) -> Tensor:
    """What reaches the layer called `layer` when the network is given `inputs`; the rest of it does not run.

    Raises ValueError for a layer that is not reached.
    """
    found = checks.layer(model, layer)
    hook = found.register_forward_pre_hook(_stop)
    try:
        outputs(model, inputs)
    except _Reached as reached:
        return reached.args[0]
    finally:
        hook.remove()
    raise ValueError(f"layer={layer!r} takes no part in what the model answers; choose another")


class _Reached(Exception):
    """Its argument: what reached the layer."""


def _stop(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    raise _Reached(inputs[0])


def plain_dense(model: nn.Module, layer: str) -> nn.Linear:
    """The dense layer called `layer`, whose weight and bias are parameters; else ValueError with the reason."""
    dense = checks.layer(model, layer, nn.Linear)
    assert isinstance(dense, nn.Linear)
    if "weight" not in dense._parameters:
        given = f"layer={layer!r} computes its weight (a parametrization, such as weight_norm), so that none can be set"
        raise ValueError(f"{given}; torch.nn.utils.parametrize.remove_parametrizations leaves it a plain one")
    if dense.bias is None:
        raise ValueError(f"layer={layer!r} has no bias, and the attack divides by the bias gradient; choose another")
    return dense


def first_dense(model: nn.Module) -> str:
    """The name of the first dense layer: `fc1` where there is one, else the first that a Sequential runs.

    Raises ValueError for a network of which neither can be told.
    """
    dense = [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]
    if "fc1" in dense or len(dense) == 1:
        return "fc1" if "fc1" in dense else dense[0]
    try:
        found = [name for name, layer in steps(model) if isinstance(layer, nn.Linear)]
    except TypeError:
        found = []
    if not found:
        raise ValueError(f"which dense layer comes first is not known of this model; name one: {', '.join(dense)}")
    return found[0]


def last_layer(model: nn.Module, example: Tensor) -> str:
    """The name of the dense layer whose outputs are the logits, unchanged: read off the autograd graph of one pass.

    example: inputs that the network takes, `(N, ...)`. The network is left as it was. Raises ValueError where there is
    none: something follows it, it answers more than once, or the logits come from another kind of layer.
    """
    probe = duplicate(model).requires_grad_(True)
    with torch.enable_grad(), dice(probe, 0):
        node = logits(probe, example).grad_fn
    while node is not None and node.name() in _VIEWS:
        node = node.next_functions[0][0]
    kind = "nothing that has a gradient" if node is None else node.name().removesuffix("Backward0")
    dense = {name: layer for name, layer in probe.named_modules() if isinstance(layer, nn.Linear)}
    leaves = _leaves(node) if kind in ("Addmm", "Mm") else []
    for name, layer in dense.items():
        weight = [layer.bias] if layer.bias is not None else [*layer.parameters()]
        if any(leaf is each for leaf in leaves for each in weight):
            if _uses(node, weight[0]) > 1:
                raise ValueError(f"layer {name!r} is used more than once, and its gradient is the sum over all uses")
            return name
    given = f"the logits of this model are not the outputs of a dense layer, unchanged (their last step is {kind})"
    raise ValueError(f"{given}; give one that ends in an nn.Linear, without a function, a scale or a hook behind it")


def _leaves(node: torch.autograd.graph.Node | None) -> list[Tensor]:
    """The weights that this very step of the graph reads, transposed or not."""
    assert node is not None
    found = []
    for below, _ in node.next_functions:
        while below is not None and below.name() in ("TBackward0", "PermuteBackward0", "TransposeBackward0"):
            below = below.next_functions[0][0]
        if below is not None and hasattr(below, "variable"):
            found.append(below.variable)
    return found


def _uses(node: torch.autograd.graph.Node | None, weight: Tensor) -> int:
    """How many steps of the graph below `node` read the weight."""
    count, seen, open_ = 0, set(), [node]
    while open_:
        here = open_.pop()
        if here is None or here in seen:
            continue
        seen.add(here)
        for below, _ in here.next_functions:
            count += getattr(below, "variable", None) is weight
            open_.append(below)
    return count
