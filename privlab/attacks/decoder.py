"""The generative decoder: a network that turns what crosses the wire of split learning back into images.

The adversary sends images of its own through the data owners' segment, and trains a decoder on the pairs.
"""

import copy
import dataclasses
import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from privlab import checks, runtime
from privlab.attacks.threat import ThreatModel
from privlab.models.initialisation import draw_like_pytorch
from privlab.sharing import split
from privlab.sharing.split import Protect

COLLUDING = ThreatModel(
    attack="Generative decoder, with a colluding data owner",
    time="test",
    position="server",
    access="black-box",
    security="honest-but-curious",
    reads="activation",
    capability="The server knows the owners' segment by its outputs, for images of the same kind from one owner.",
    source="SplitNN, section 3 and appendix A; Zen, section 3.2.1",
)
SERVER = dataclasses.replace(
    COLLUDING,
    attack="Generative decoder, the server alone",
    capability="The server has got hold of the owners' segment, and has images of another kind.",
)
OWNER = dataclasses.replace(
    COLLUDING,
    attack="Generative decoder, another data owner",
    position="client",
    access="white-box",
    capability="An owner has the segment and images of its own, and intercepts what another owner sends.",
)
THREATS = (COLLUDING, SERVER, OWNER)


def mirror(segment: nn.Sequential, shape: Sequence[int], *, seed: int = 0) -> nn.Sequential:
    """An untrained network that undoes the segment layer by layer: activations `(N, ...)` -> images `(N, C, H, W)`.

    A convolution becomes a transposed one with the same kernel and stride, pooling becomes enlarging, a dense layer a
    dense layer the other way round, a residual stage one transposed convolution; ReLU follows each but the last, and
    a sigmoid that, since pixels are in [0, 1]. All sizes are derived from the segment, whatever the cut. It knows the
    segment's layers, and nothing of its weights. shape: (C, H, W) of an image.
    Raises ValueError for a segment that does not take such images.
    Source: "Zen", section 4.2 (as many transposed convolutions as there are convolutions before the cut).
    """
    sizes, values = [], torch.zeros(1, *shape, device=_device(segment))
    probe = copy.deepcopy(segment).eval()
    try:
        with torch.no_grad():
            for layer in probe:
                before, values = values.shape[1:], layer(values)
                sizes.append((layer, before, values.shape[1:]))
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"this segment does not take images of shape {tuple(shape)}: {error}") from error
    layers = [undone for size in reversed(sizes) for undone in _undo(*size)]
    if any(isinstance(layer, nn.ReLU) for layer in layers):
        last = max(place for place, layer in enumerate(layers) if isinstance(layer, nn.ReLU))
        layers[last] = nn.Sigmoid()
    network = nn.Sequential(*layers)
    draw_like_pytorch(network, runtime.derive(seed, "decoder"))
    return network.to(_device(segment))


def _undo(layer: nn.Module, before: torch.Size, after: torch.Size) -> list[nn.Module]:
    """What turns `(*after)` back to `(*before)`; its weights are not drawn yet."""
    transposed = functools.partial(skip_init, nn.ConvTranspose2d)
    if isinstance(layer, nn.Linear):
        return [skip_init(nn.Linear, after[0], before[0]), nn.ReLU()]
    if isinstance(layer, nn.Conv2d):
        kernel, stride, padding = _pair(layer.kernel_size), _pair(layer.stride), _pair(layer.padding)
        missing = (  # the rows and columns that the convolution's last stride left out
            before[1] - ((after[1] - 1) * stride[0] - 2 * padding[0] + kernel[0]),
            before[2] - ((after[2] - 1) * stride[1] - 2 * padding[1] + kernel[1]),
        )
        return [transposed(after[0], before[0], kernel, stride, padding, missing), nn.ReLU()]
    if len(before) == 3 and len(after) == 1:
        return [nn.Unflatten(1, tuple(before))]
    size: list[nn.Module] = [nn.Upsample(size=tuple(before[1:]))] if before[1:] != after[1:] else []
    if any(parameter.dim() == 4 for parameter in layer.parameters()):  # a stage of residual blocks
        return [*size, transposed(after[0], before[0], 3, padding=1), nn.ReLU()]
    return size  # pooling; an activation or a norm keeps its size, and has nothing to undo


def _pair(value: int | str | tuple[int, ...]) -> tuple[int, int]:
    if isinstance(value, str):
        raise ValueError(f"padding={value!r} has no size of its own; give the segment a number")
    return (value, value) if isinstance(value, int) else (value[0], value[1])


def _device(network: nn.Module) -> torch.device:
    return next((parameter.device for parameter in network.parameters()), torch.device("cpu"))


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
    """The last layer before the sigmoid: small weights, and a bias at which the sigmoid gives the mean image."""
    last = [layer for layer in decoder if isinstance(layer, nn.Linear | nn.ConvTranspose2d)][-1]
    mean = images.mean(0).flatten() if isinstance(last, nn.Linear) else images.mean((0, 2, 3))
    assert last.bias is not None
    last.bias.copy_(mean.clamp(0.01, 0.99).logit())
    last.weight.mul_(0.3)


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
    for name, value in (("epochs", epochs), ("batch", batch)):
        checks.whole(name, value)
    checks.number("lr", lr, 0, open_low=True)
    checks.images("images", images)
    if len(activations) != len(images):
        raise ValueError(f"there are {len(activations)} activations for {len(images)} images; give one of each")
    decoder, random = copy.deepcopy(decoder).train(), runtime.generator(runtime.derive(seed, "decode"))
    if (made := tuple(decoder(activations[:1]).shape[1:])) != images.shape[1:]:
        raise ValueError(f"the decoder makes {made} of these activations, the images are {tuple(images.shape[1:])}")
    if not list(decoder.parameters()):
        return decoder.eval()
    _begin_at_the_mean(decoder, images)
    decoder.insert(0, Standardise(protect(activations, seed=random) if protect else activations))
    optimiser = torch.optim.Adam(decoder.parameters(), lr=lr, fused=True)
    for epoch in range(epochs):
        total = 0.0
        for chosen in torch.randperm(len(images), generator=random).to(images.device).split(batch):
            seen = activations[chosen]
            seen = protect(seen, seed=random) if protect else seen
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
    checks.images("images", images)
    epochs = max(epochs, -(-steps * 32 // len(images)))
    seed = runtime.derive(seed, "decoder")
    network = mirror(segment, images.shape[1:], seed=seed)
    return train(network, split.send(segment, images), images, protect=protect, epochs=epochs, seed=seed)


@torch.no_grad()
def reconstruct(decoder: nn.Sequential, activations: Tensor) -> Tensor:
    """The images `(N, C, H, W)` in [0, 1] that the decoder makes of intercepted activations `(N, ...)`."""
    return torch.cat([decoder(part) for part in activations.split(512)]).clamp(0, 1)
