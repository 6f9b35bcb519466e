"""Decoders: functions that turn what crosses the wire of split learning back into images.

The adversary sends images of its own through the data owners' segment, and fits a decoder to the pairs: a linear one by
least squares, or a network that mirrors the segment (the *generative decoder* of the papers).
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from privlab import checks, networks, runtime
from privlab.attacks.threat import threats
from privlab.models.initialisation import draw_like_pytorch
from privlab.sharing import split
from privlab.sharing.split import Protect

COLLUDING, SERVER, OWNER = THREATS = threats("decoder")


@torch.no_grad()
def least_squares(activations: Tensor, images: Tensor, *, ridge: float = 1.0) -> nn.Sequential:
    """A linear decoder, fitted to the adversary's own pairs: activations `(N, ...)` -> images `(N, C, H, W)`.

    The mean image plus a linear function of the activations less their mean, by ridge regression. There is no training
    and no seed, and nothing of the segment is known but its outputs. ridge: the weight of the squared coefficients
    beside the squared error, both sums, for activations of spread 1 and pixels in [0, 1]. Solved in double precision
    (on MPS in single), in as many unknowns as there are images or numbers an activation, whichever are fewer; the
    decoder has the device and the dtype of the activations. Use it with `reconstruct`.
    Raises ValueError for fewer than two pairs, numbers that are not finite, or a ridge that is not positive, and
    TypeError for whole numbers.
    Source: ridge regression (Hoerl and Kennard 1970) on the pairs of SplitNN, section 3.
    """
    checks.number("ridge", ridge, 0, open_low=True)
    checks.inputs("images", images)
    _check_pairs(activations, images, least=2)
    for name, given in (("activations", activations), ("images", images)):
        if not given.is_floating_point():
            raise TypeError(f"{name} are {given.dtype}; a linear decoder needs floats")
    if not activations.isfinite().all():
        raise ValueError("activations hold numbers that are not finite; leave those images out")
    kind = torch.float32 if activations.device.type == "mps" else torch.float64
    a, b = activations.flatten(1).to(kind), images.flatten(1).to(kind)
    centre, mean, spread = a.mean(0), b.mean(0), a.std().clamp_min(1e-6)
    a, b = (a - centre) / spread, b - mean
    eye = ridge * torch.eye(min(a.shape), dtype=kind, device=a.device)
    few = len(a) <= a.shape[1]  # the two are equal: (A'A + r)^-1 A' = A' (AA' + r)^-1
    weights = a.T @ torch.linalg.solve(a @ a.T + eye, b) if few else torch.linalg.solve(a.T @ a + eye, a.T @ b)
    weights = weights / spread
    linear = skip_init(nn.Linear, a.shape[1], b.shape[1], device=a.device, dtype=activations.dtype)
    linear.weight.copy_(weights.T)
    linear.bias.copy_(mean - centre @ weights)
    return nn.Sequential(nn.Flatten(), linear, nn.Unflatten(1, tuple(images.shape[1:]))).eval()


def _check_pairs(activations: Tensor, images: Tensor, least: int = 1) -> None:
    if len(activations) != len(images):
        raise ValueError(f"there are {len(activations)} activations for {len(images)} images; give one of each")
    if len(images) < least:
        raise ValueError(f"there is {len(images)} pair; give {least} or more")


def mean_of_copies(protect: Protect, copies: int) -> Protect:
    """What an adversary has who sees the same input protected `copies` times, and takes the mean.

    It undoes noise that is drawn anew each time: of Laplace noise a 1 / sqrt(copies) is left.
    """
    checks.whole("copies", copies)

    def mean(activations: Tensor, *, seed: int | torch.Generator = 0) -> Tensor:
        random = runtime.generator(seed)
        total = torch.zeros_like(activations)
        for _ in range(copies):
            total += protect(activations, seed=random)
        return total / copies

    return mean


def mirror(segment: nn.Sequential, shape: Sequence[int], *, seed: int = 0) -> nn.Sequential:
    """An untrained network that undoes the segment layer by layer: activations `(N, ...)` -> images `(N, C, H, W)`.

    A convolution becomes a transposed one with the same kernel and stride, pooling becomes enlarging, a dense layer a
    dense layer the other way round, a residual stage one transposed convolution; ReLU follows each but the last, and
    a sigmoid that, since pixels are in [0, 1]. All sizes are derived from the segment, whatever the cut. It knows the
    segment's layers, and nothing of its weights. shape: (C, H, W) of an image, or (C, L) of a signal.
    Raises ValueError for a segment that does not take such images, and names the layer that has no mirror.
    Source: "Zen", section 4.2 (as many transposed convolutions as there are convolutions before the cut).
    """
    probe = networks.duplicate(segment)
    device, kind = networks.device(segment), networks.dtype(segment)
    parts, values = _parts(probe), torch.zeros(1, *shape, device=device, dtype=kind)
    layers: list[nn.Module] = []
    with networks.measured(probe):
        for name, layer in parts:
            before = values
            try:
                values = layer(values)
            except (RuntimeError, ValueError) as error:
                raise ValueError(f"this segment does not take images of shape {tuple(shape)}: {error}") from error
            layers = [*_undo(name, layer, before.shape[1:], values.shape[1:]), *layers]
    if any(isinstance(layer, nn.ReLU) for layer in layers):
        last = max(place for place, layer in enumerate(layers) if isinstance(layer, nn.ReLU))
        layers[last] = nn.Sigmoid()
    network = nn.Sequential(*layers)
    draw_like_pytorch(network, runtime.derive(seed, "decoder"))
    return network.to(device, kind)


def _parts(segment: nn.Module, name: str = "") -> list[tuple[str, nn.Module]]:
    """The layers of a segment in order, those of a Sequential in it one by one; a stage of blocks stays whole."""
    found = []
    for inner, layer in networks.steps(segment):
        whole = f"{name}{inner}"
        blocks = any(list(each.children()) and type(each) is not nn.Sequential for each in layer.modules())
        if isinstance(layer, nn.Sequential) and not blocks:
            found += _parts(layer, f"{whole}.")
        else:
            found.append((whole, layer))
    return found


def _undo(name: str, layer: nn.Module, before: torch.Size, after: torch.Size) -> list[nn.Module]:
    """What turns `(*after)` back to `(*before)`; its weights are not drawn yet. ValueError where there is none."""
    made: list[nn.Module]
    if isinstance(layer, nn.Linear):
        made = [skip_init(nn.Linear, after[-1], before[-1]), nn.ReLU()]
    elif isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        made = _transposed(layer, before, after)
    elif before == after and all(weight.dim() < 2 for weight in layer.parameters()):
        made = []  # an activation or a norm has nothing to undo
    elif before.numel() == after.numel() and not list(layer.parameters()):
        made = [*([nn.Flatten()] if len(after) > 1 else []), nn.Unflatten(1, tuple(before))]
    elif len(before) == len(after) > 1:
        made = [nn.Upsample(size=tuple(before[1:]))] if before[1:] != after[1:] else []
        if any(weight.dim() == 4 for weight in layer.parameters()):  # a stage of residual blocks
            made += [skip_init(nn.ConvTranspose2d, after[0], before[0], 3, padding=1), nn.ReLU()]
    else:
        made = []
    with torch.no_grad():
        back = nn.Sequential(*made)(torch.zeros(2, *after)).shape[1:]
    if back != before:
        given = f"layer {name!r}, a {type(layer).__name__} from {tuple(before)} to {tuple(after)}, has no mirror"
        raise ValueError(f"{given}; cut before it, or build a decoder of your own")
    return made


def _transposed(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, before: torch.Size, after: torch.Size) -> list[nn.Module]:
    """A transposed convolution with the same kernel, stride, dilation and groups, brought to the size of `before`."""
    kinds = {nn.Conv1d: nn.ConvTranspose1d, nn.Conv2d: nn.ConvTranspose2d, nn.Conv3d: nn.ConvTranspose3d}
    kind = next(back for forth, back in kinds.items() if isinstance(layer, forth))
    stride, dilation = layer.stride, layer.dilation
    spans = [step * (size - 1) for size, step in zip(layer.kernel_size, dilation, strict=True)]
    padding = layer.padding
    if isinstance(padding, str):
        padding = tuple((span + 1) // 2 if padding == "same" else 0 for span in spans)
    sides = zip(before[1:], after[1:], stride, padding, spans, strict=True)
    # The rows and columns that the convolution's last stride left out.
    missing = [big - ((small - 1) * step - 2 * pad + span + 1) for big, small, step, pad, span in sides]
    fits = all(0 <= gap < max(a, b) for gap, a, b in zip(missing, stride, dilation, strict=True))
    extra = tuple(missing) if fits else 0
    form = after[0], before[0], layer.kernel_size, stride, padding, extra
    undone = skip_init(kind, *form, groups=layer.groups, dilation=dilation)
    return [undone, *([] if fits else [nn.Upsample(size=tuple(before[1:]))]), nn.ReLU()]


class Standardise(nn.Module):
    """Activations less the mean, over the standard deviation, of those that the adversary has: one number each."""

    def __init__(self, activations: Tensor) -> None:
        super().__init__()
        self.mean: Tensor
        self.spread: Tensor
        self.register_buffer("mean", activations.mean())
        self.register_buffer("spread", activations.std().clamp_min(1e-6))

    def forward(self, activations: Tensor) -> Tensor:
        """The same shape."""
        return (activations - self.mean) / self.spread


@torch.no_grad()
def _begin_at_the_mean(decoder: nn.Sequential, images: Tensor) -> None:
    """The last layer before a sigmoid: small weights, and a bias at which the sigmoid gives the mean image.

    A decoder that does not end so begins as it was drawn.
    """
    kinds = (nn.Linear, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
    layers = [layer for layer in decoder if list(layer.parameters()) or isinstance(layer, nn.Sigmoid)]
    if len(layers) < 2 or not isinstance(layers[-1], nn.Sigmoid) or not isinstance(layers[-2], kinds):
        return
    last = layers[-2]
    mean = images.mean(0).flatten() if isinstance(last, nn.Linear) else images.transpose(0, 1).flatten(1).mean(1)
    if last.bias is None or last.bias.shape != mean.shape:
        return
    last.bias.copy_(mean.clamp(0.01, 0.99).logit())
    last.weight.mul_(0.3)


@torch.enable_grad()
def train(
    decoder: nn.Sequential,
    activations: Tensor,
    images: Tensor,
    *,
    epochs: int = 10,
    batch: int = 32,
    lr: float = 1e-3,
    protect: Protect | None = None,
    seed: int = 0,
    watch: Callable[[int, float], None] | None = None,
) -> nn.Sequential:
    """A copy of the decoder, trained with Adam and MSE on the adversary's own pairs.

    activations: `(N, ...)`, what the segment makes of the adversary's images `(N, C, H, W)`. protect: the defence that
    the adversary knows of and repeats, anew in each step, on its own activations (the *noise-aware* adversary); without
    it the adversary takes them for what it will see (the *naive* one). watch(epoch, loss): called after each epoch with
    the mean loss. A decoder without weights, of a segment that only flattens, is handed back as it is.
    Activations are brought to mean 0 and spread 1 first, and the decoder begins at the mean of the adversary's images:
    without both, one decoder in several ends at black images, which are near the mean of MNIST.
    Raises ValueError for numbers out of range, or a decoder that does not fit.
    Source: SplitNN, section 3 and appendix D (10 epochs, learning rate 1e-3, 32 at a time); "Zen", section 4.2
    (50 epochs, 1e-4).
    """
    checks.training(lr, epochs=epochs, batch=batch)
    checks.inputs("images", images)
    _check_pairs(activations, images)
    networks.steps(decoder)
    decoder, random = networks.duplicate(decoder).train(), runtime.generator(runtime.derive(seed, "decode"))
    with networks.measured(decoder):
        made = tuple(networks.outputs(decoder, activations[:1], "activations").shape[1:])
    if made != images.shape[1:]:
        raise ValueError(f"the decoder makes {made} of these activations, the images are {tuple(images.shape[1:])}")
    if not list(decoder.parameters()):
        return decoder.eval()
    _begin_at_the_mean(decoder, images)
    chance = networks.beside(random)
    known = Standardise(protect(activations, seed=random) if protect else activations)
    decoder = nn.Sequential(known, *(layer for _, layer in networks.steps(decoder)))
    optimiser = torch.optim.Adam(decoder.parameters(), lr=lr, fused=True)
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(images), generator=random).to(images.device).split(batch):
            seen = activations[chosen]
            seen = protect(seen, seed=random) if protect else seen
            with networks.dice(decoder, chance):
                loss = nn.functional.mse_loss(decoder(seen), images[chosen])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(chosen)
        if watch:
            watch(epoch, total / len(images))
    return decoder.eval()


def fit(
    segment: nn.Sequential,
    images: Tensor,
    *,
    protect: Protect | None = None,
    epochs: int = 10,
    steps: int = 1500,
    seed: int = 0,
) -> nn.Sequential:
    """A decoder for a segment, made by its `mirror` and trained on the adversary's own images `(N, C, H, W)`.

    For `epochs`, and for `steps` of 32 images at least: a few hundred images are shown to it more often. protect: the
    defence that the adversary knows of. Raises ValueError like `mirror` and `train`.
    """
    checks.inputs("images", images)
    epochs = max(epochs, -(-steps * 32 // len(images)))
    seed = runtime.derive(seed, "decoder")
    network = mirror(segment, images.shape[1:], seed=seed)
    return train(network, split.send(segment, images), images, protect=protect, epochs=epochs, seed=seed)


def reconstruct(decoder: nn.Module, activations: Tensor) -> Tensor:
    """The images `(N, C, H, W)` in [0, 1] that the decoder, in eval mode, makes of what it intercepts, `(N, ...)`."""
    with networks.measured(decoder):
        made = [networks.outputs(decoder, part, "activations") for part in activations.split(512)]
    return torch.cat(made).clamp(0, 1)
