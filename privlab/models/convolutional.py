"""The VGG-inspired convolutional network of "Curious", Table 7."""

from collections.abc import Sequence

from torch import nn

from privlab import checks, runtime
from privlab.models._layers import convolutions, image_shape
from privlab.models.initialisation import initialise


def vgg_inspired(
    shape: Sequence[int],
    classes: int,
    *,
    filters: Sequence[int] = (128, 256, 512),
    neurons: int = 1000,
    kernel: int = 3,
    init: str = "xavier_uniform",
    seed: int = 0,
) -> nn.Sequential:
    """Convolutions that keep the image's size, then one dense layer: `(N, C, H, W)` -> `(N, classes)` logits.

    Layers are called conv1, relu1, conv2, ..., flatten, fc1, relu, output. The default is the paper's; its
    dense layer has 512*H*W*1000 weights, 2.1 GB for a 32x32 image, so that small `filters` are for trying out.
    Raises ValueError for a shape that is not (C, H, W), an even kernel, or a number below one.
    Source: "Curious", Table 7 (right).
    """
    image_shape(shape)
    if not filters:
        raise ValueError("filters is empty; give at least one number")
    checks.sizes(filters=filters, neurons=[neurons], classes=[classes], kernel=[kernel])
    if kernel % 2 == 0:
        raise ValueError(f"kernel={kernel} is even and has no middle; give an odd one")
    channels, height, width = shape
    layers = convolutions(channels, filters, [kernel] * len(filters))
    layers["flatten"] = nn.Flatten()
    layers["fc1"] = nn.utils.skip_init(nn.Linear, filters[-1] * height * width, neurons)
    layers["relu"] = nn.ReLU()
    layers["output"] = nn.utils.skip_init(nn.Linear, neurons, classes)
    network = nn.Sequential(layers)
    return initialise(network, init, runtime.derive(seed, "initialise"))  # type: ignore[return-value]
