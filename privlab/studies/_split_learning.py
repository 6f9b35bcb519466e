"""What the studies of split learning share: images for each part, the target, the decoder, and its score."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from privlab import data, models, runtime
from privlab.metrics import distance_correlation as dependence
from privlab.metrics import reconstruction
from privlab.sharing import federated, split
from privlab.studies.bench.study import Cell, Metrics

FIRST, NEXT, LAST = 40_000, 5_000, 5_000  # of MNIST's training images, as SplitNN shares them out
VICTIMS, SHOWN = 1000, 200  # images that are reconstructed, and those of them whose SSIM is taken (it is slow)
JUDGE_STEPS = 500  # at least, to train the classifier that names a reconstruction's class
QUALITY = ("mse", "mse_255", "psnr", "ssim", "class_accuracy", "reconstruction_correlation")
DEPENDENCE = ("distance_correlation", "distance_correlation_squared", "shuffled_floor")


@dataclass(frozen=True)
class Pictures:
    """Images `(N, C, H, W)` in [0, 1] with their labels `(N,)` and the number of classes."""

    images: Tensor
    labels: Tensor
    classes: int

    def __getitem__(self, chosen: slice | Tensor) -> "Pictures":
        return Pictures(self.images[chosen], self.labels[chosen], self.classes)

    def to(self, device: torch.device) -> "Pictures":
        """The same on `device`."""
        return Pictures(self.images.to(device), self.labels.to(device), self.classes)

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W)."""
        return tuple(self.images.shape[1:])


@functools.lru_cache(maxsize=6)
def pictures(name: str, channels: int, side: int, most: int | None = None) -> Pictures:
    """The training split of a data set in a form that fits a network; ink is bright (Omniglot's is dark)."""
    source = data.load(name)
    source = source[:most] if most and most < len(source) else source
    images = data.resized(1 - source.images if name == "omniglot" else source.images, side, channels)
    return Pictures(images, source.labels if source.labels.dim() == 1 else source.labels[:, 0], len(source.classes))


def prior(cell: Cell) -> tuple[str, ...]:
    """The data set that the adversary of a cell has, where it is another than the owners'."""
    return () if cell.get("prior", "same") == "same" else (cell["prior"],)


@functools.lru_cache(maxsize=6)
def shares(name: str, channels: int, side: int) -> tuple[Pictures, Pictures, Pictures]:
    """The images of the owners, of an adversary with the same data set, and of the victims: no image in two of them.

    Of 50,000 images or more those of SplitNN, appendix D: the first 40,000, 40,000 to 45,000, and 45,000 to 50,000;
    of fewer the first 60 %, the next 25 % and the rest, in an order that is the same each time.
    """
    whole = pictures(name, channels, side)
    if len(whole.labels) >= FIRST + NEXT + LAST:
        return whole[:FIRST], whole[FIRST : FIRST + NEXT], whole[FIRST + NEXT : FIRST + NEXT + LAST]
    owners, adversary, victims = data.disjoint(whole.images, (0.6, 0.25), runtime.derive(0, "shares"))
    return whole[owners], whole[adversary], whole[victims]


@dataclass(frozen=True)
class Subject:
    """What a cell of split learning is about: a trained network, cut, and the images of both sides.

    own: the images that the adversary has; classifier: an independent one, which names a reconstruction's class.
    """

    parts: split.Split
    own: Tensor
    victims: Pictures
    classifier: nn.Sequential


@functools.lru_cache(maxsize=4)
def judge(name: str, channels: int, side: int) -> nn.Sequential:
    """A classifier trained on the owners' true images, with weights of its own: it names a reconstruction's class."""
    own = shares(name, channels, side)[0][:12_000]
    model = models.lenet(own.shape, own.classes, filters=(16, 32), seed=runtime.derive(0, "judge"))
    epochs = max(4, -(-JUDGE_STEPS * 32 // len(own.labels)))
    client = federated.Client(own.images, own.labels)
    return split.train(model, [client], cut="conv1", epochs=epochs, seed=runtime.derive(0, "judge")).whole.eval()


def quality(guesses: Tensor, victims: Pictures, classifier: nn.Sequential, batch: int) -> Metrics:
    """How much of the victims `(V, C, H, W)` a reconstruction shows: of the image, and of its class.

    class_accuracy: how often an independent classifier names the victim's class from its reconstruction.
    reconstruction_correlation: distance correlation of image and reconstruction, over mini-batches.
    """
    truth, error = victims.images, reconstruction.mse(guesses, victims.images)
    return {
        "mse": error.mean().item(),
        "mse_255": error.mean().item() * 255**2,
        "psnr": reconstruction.psnr(guesses, truth).clamp_max(100).mean().item(),
        "ssim": reconstruction.ssim(guesses[:SHOWN], truth[:SHOWN]).mean().item(),
        "class_accuracy": federated.accuracy(classifier, guesses, victims.labels),
        "reconstruction_correlation": dependence.over_batches(truth, guesses, batch=batch)[0],
    }


def correlations(images: Tensor, sent: Tensor, batch: int) -> Metrics:
    """Distance correlation of images and what is sent for them, in both forms, and what chance gives the first."""
    mean, spread = dependence.over_batches(images, sent, batch=batch)
    return {
        "distance_correlation": mean,
        "distance_correlation_sd": spread,
        "distance_correlation_squared": dependence.over_batches(
            images, sent, batch=batch, statistic=dependence.distance_correlation_squared
        )[0],
        "shuffled_floor": dependence.floor_over_batches(images, sent, batch=batch),
    }


def clients(own: Pictures, count: int, iid: bool, seed: int) -> list[federated.Client]:
    """The owners' images shared out among so many of them, labels alike or held apart."""
    parts: Sequence[Tensor] = (data.iid if iid else data.by_label)(own.labels.cpu(), count, seed)
    return [federated.Client(own.images[part], own.labels[part]) for part in parts]
