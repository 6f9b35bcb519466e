"""Adversarial training: train on images that the adversary has changed, made anew from the model as it is.

Acts in training. The attack is an argument: a callable `(model, images, labels) -> images`, such as a
functools.partial of `attacks.evasion.pgd` with its epsilon. It meets the model in eval mode; a whole number as its
seed begins each mini-batch alike, a torch.Generator anew.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from privlab.networks import Model
from privlab.sharing import federated, predictions
from privlab.sharing.losses import Craft


def fit(model: Model, images: Tensor, labels: Tensor, attack: Craft, **training) -> Model:
    """A copy of the model, trained on what the attack makes of each mini-batch, and on nothing else.

    images: `(N, C, H, W)` in [0, 1]; training: as of `predictions.fit`, with its errors (`epochs` is to be given). To
    train on the images too, let the attack leave some as they are. Raises ValueError for an attack that does not give
    finite images of the same shape. Source: Madry et al. 2018, eq. 2.1.
    """
    return predictions.fit(model, images, labels, craft=_checked(attack), **training)


def local_updates(
    model: nn.Module, clients: Sequence[federated.Client], *, attack: Craft, **training
) -> list[federated.Update]:
    """What each client sends after adversarial training on its own images, one client after the other.

    For `fed_avg(train=functools.partial(local_updates, attack=...))`. training: as of `federated.local_update`, with
    its errors: `epochs`, `batch`, `lr`, `random`, `loss`. Raises ValueError like `fit`.
    """
    return [federated.local_update(model, each, craft=_checked(attack), **training) for each in clients]


def _checked(attack: Craft) -> Craft:
    if not callable(attack):
        raise TypeError(f"attack={attack!r} is not callable; give a function of (model, images, labels)")

    def craft(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        made = attack(model, images, labels)
        if not isinstance(made, Tensor) or made.shape != images.shape or not made.isfinite().all():
            form = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
            given = f"the attack makes {form} of images {tuple(images.shape)}"
            raise ValueError(f"{given}; give finite ones in the same shape")
        return made.detach()

    return craft
