"""The papers' convolutional networks, but for those with blocks.

LeNet and its relatives are those of "Zen", of DLG and of split learning.
"""

from collections.abc import Sequence

from torch import nn

from privlab import checks, runtime
from privlab.models._layers import convolutions, image_shape, network
from privlab.models.initialisation import initialise

_ALEXNET_FILTERS, _ALEXNET_KERNELS, _ALEXNET_DENSE = (64, 192, 384, 256, 256), (5, 5, 3, 3, 3), (4096, 4096)
_ALEXNET_POOLED = (1, 2, 5)  # the convolutions behind which AlexNet pools


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
    return initialise(nn.Sequential(layers), init, runtime.derive(seed, "initialise"))  # type: ignore[return-value]


def lenet(
    shape: Sequence[int],
    classes: int,
    *,
    filters: Sequence[int] = (6, 16),
    fc: Sequence[int] = (120, 84),
    kernel: int = 5,
    pool: str = "max",
    pooled: int = 2,
    activation: str = "relu",
    init: str = "framework",
    seed: int = 0,
) -> nn.Sequential:
    """Convolutions, the first `pooled` of which halve the image, then dense layers: `(N, C, H, W)` -> logits.

    Layers are called conv1, relu1, pool1, conv2, ..., flatten, fc1, relu3, ..., output; the activation gives relu its
    name. `pool`: `max` or `average` over 2 x 2, or `stride`: the convolution takes every other place, and there is no
    pooling layer. Convolutions are padded, so that only pooling makes maps smaller. The network that the authors
    of DLG attack is `filters=(12, 12, 12), fc=(), pool="stride", activation="sigmoid", init="uniform:0.5"`.
    Raises ValueError for a shape that is not (C, H, W) or is too small to be halved so often, an even kernel, an
    unknown pool, activation or init, or a number below one.
    Source: LeCun et al. 1998; "Zen", section 4 and Tables 1 to 3; Zhu et al. 2019 (DLG).
    """
    image_shape(shape)
    if not filters:
        raise ValueError("filters is empty; give at least one number")
    checks.sizes(filters=filters, fc=fc, kernel=[kernel])
    checks.whole("pooled", pooled, 0, len(filters))
    if kernel % 2 == 0:
        raise ValueError(f"kernel={kernel} is even, and no padding keeps the size; give an odd one")
    if min(shape[1:]) < 2**pooled:
        raise ValueError(f"shape={tuple(shape)} cannot be halved {pooled} times; give pooled= at most what it bears")
    halved = range(1, pooled + 1)
    layers = convolutions(shape[0], filters, [kernel] * len(filters), pooled=halved, pool=pool, activation=activation)
    return network(layers, shape, classes, fc=fc, activation=activation, init=init, seed=seed, first=len(filters) + 1)


def alexnet(
    shape: Sequence[int],
    classes: int,
    *,
    width: float = 1.0,
    pool: str = "max",
    activation: str = "relu",
    init: str = "framework",
    seed: int = 0,
) -> nn.Sequential:
    """Five convolutions and three dense layers: `(N, C, H, W)` -> `(N, classes)` logits, for images from 8 x 8.

    The filters and neurons of AlexNet (64, 192, 384, 256, 256; 4096, 4096), times `width`. For images this small the
    first convolution keeps the image's size (kernel 5, stride 1) instead of taking every fourth place, and there is no
    dropout, which an adversary could not repeat. At width 1 a 32 x 32 image takes 36 million weights.
    Layers are called conv1, relu1, pool1, ..., flatten, fc1, relu6, fc2, relu7, output. For `pool`, `activation` and
    `init` see `lenet`. Raises ValueError for a shape that is not (C, H, W) or below 8 x 8, and unknown names.
    Source: Krizhevsky et al. 2012; "Zen", section 4 and Table 1.
    """
    image_shape(shape, 8)
    checks.number("width", width, 0, open_low=True)
    filters = [max(1, round(count * width)) for count in _ALEXNET_FILTERS]
    layers = convolutions(shape[0], filters, _ALEXNET_KERNELS, pooled=_ALEXNET_POOLED, pool=pool, activation=activation)
    fc = [max(1, round(neurons * width)) for neurons in _ALEXNET_DENSE]
    first = len(filters) + 1
    return network(layers, shape, classes, fc=fc, activation=activation, init=init, seed=seed, first=first)


def split_cnn(
    shape: Sequence[int],
    classes: int,
    *,
    filters: Sequence[int] = (32, 64),
    units: int = 500,
    activation: str = "tanh",
    init: str = "framework",
    seed: int = 0,
) -> nn.Sequential:
    """Two convolutions, pooling, a dense layer to cut after, and the rest: `(N, C, H, W)` -> `(N, classes)` logits.

    Layers: conv1, relu1, conv2, relu2, pool2, flatten, fc1, tanh3, output; `activation` is that of the dense layer, and
    gives it its name. Data owners hold everything up to it and send its `units` numbers, in (-1, 1) for tanh.
    The paper calls it "a simple convolutional neural network"; the layers are those of the authors' released code: its
    convolutions of 3 x 3 are not padded, and take two pixels off each side. Raises ValueError for a shape that is not
    (C, H, W) or too small for that, or a number below one.
    Source: SplitNN, appendix D, and its released code.
    """
    image_shape(shape, 2 * len(filters) + 2)
    checks.sizes(filters=filters, units=[units])
    layers = convolutions(shape[0], filters, [3] * len(filters), pooled=(len(filters),), padded=False)
    first = len(filters) + 1
    return network(layers, shape, classes, fc=(units,), activation=activation, init=init, seed=seed, first=first)
