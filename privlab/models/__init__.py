"""The papers' networks, every layer with a name, and the place to cut them."""

from privlab.models.alexnet import alexnet
from privlab.models.convolutional import vgg_inspired
from privlab.models.cutting import cut
from privlab.models.fully_connected import fully_connected
from privlab.models.initialisation import INITIALISATIONS, initialise
from privlab.models.lenet import lenet
from privlab.models.mobile import mobile
from privlab.models.resnet import resnet18
from privlab.models.split_cnn import split_cnn
from privlab.models.text import embedding_classifier
from privlab.models.transformer import next_word, transformer

__all__ = [
    "INITIALISATIONS",
    "alexnet",
    "cut",
    "embedding_classifier",
    "fully_connected",
    "initialise",
    "lenet",
    "mobile",
    "next_word",
    "resnet18",
    "split_cnn",
    "transformer",
    "vgg_inspired",
]
