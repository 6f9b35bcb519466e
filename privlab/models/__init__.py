"""The papers' networks, every layer with a name, and the place to cut them."""

from privlab.models.convolutional import alexnet, lenet, split_cnn, vgg_inspired
from privlab.models.cutting import cut
from privlab.models.dense import embedding_classifier, fully_connected
from privlab.models.initialisation import INITIALISATIONS, initialise
from privlab.models.mobile import mobile
from privlab.models.resnet import resnet18
from privlab.models.transformer import next_word, transformer

__all__ = ["INITIALISATIONS", "alexnet", "cut", "embedding_classifier", "fully_connected", "initialise", "lenet"]
__all__ += ["mobile", "next_word", "resnet18", "split_cnn", "transformer", "vgg_inspired"]
