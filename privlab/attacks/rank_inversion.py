"""Take a whole mini-batch out of an honest client's gradient: by its rank, and by the zeros that a ReLU leaves.

The gradient of a dense layer, its bias as one more column, is a product of two thin matrices: for each example a column
of slopes, one a neuron, and a row, the input with a one behind it. The slopes are zero where the ReLU does not let the
example through, and mixtures of columns have fewer zeros: who finds the columns has the images too, by least squares.

Source: Dimitrov et al. 2024, "SPEAR: Exact Gradient Inversion of Batches in Federated Learning", section 4. Ours: rows
are drawn among the zeros of what has been found, the first test of the certificate, and the bias as a column.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from privlab import checks, networks, runtime
from privlab.attacks import _steady
from privlab.attacks.gradient_extraction import fitting_layer
from privlab.attacks.threat import threats
from privlab.sharing.federated import Gradient

(THREAT,) = threats("rank_inversion")
# Submatrices at a time; directions of them that are looked at closely; what is a zero in these at first; the share of
# zeros that makes a candidate; how short, of the longest, a row is that is left out; what no row's leverage may reach
_BLOCK, _KEPT, _ROUGH, _SPARSE, _SHORT, _LEVER = 2048, 64, 1e-3, 0.05, 1e-4, 0.99
_FULL = "the gradient has the highest rank that its layer can have, and then it does not tell: any images would do"
_NOISY = "the gradient's rank is higher than its mini-batch is large: there is noise on it, or there were more images"
_FEW = "too few sparse directions were found: more submatrices would have to be tried"
_DARK = "the bias's gradient is zero, as BatchNorm in train mode behind the layer makes it: it gives no image its scale"
_UNFIT = "the sparse directions that were found do not have the zeros of their images"


@dataclass(frozen=True)
class Inversion:
    """What the adversary makes of one gradient, and whether it knows that it is right.

    images: `(K, *shape)`, each distinct one once, in no order; its last guess, or none, where nothing is certified.
    certified: of all images together. rank: of the gradient with its bias, the number of distinct images; one more than
    the mini-batch has where it is higher still. tried: submatrices. reason: why nothing is certified, or empty.
    """

    images: Tensor
    certified: bool
    rank: int
    tried: int
    reason: str


@torch.no_grad()
def reconstruct(
    model: nn.Module,
    gradient: Gradient,
    *,
    shape: Sequence[int],
    layer: str | None = None,
    samples: int = 100_000,
    guided: bool = True,
    seed: int = 0,
) -> Inversion:
    """The images of a mini-batch, and whether they are certified to be all of it, exactly.

    shape: of one input, as in `(1, 28, 28)`. layer: a dense layer that reads the inputs as they are and has a ReLU
    behind it, by default the first dense one. samples: how many submatrices are tried at most; by the paper's way, and
    with `guided=False`, about 2^b are needed for b images, so that each image more doubles the work.

    Certified is what passes two tests. Each column of slopes is the only one, up to its length, with its zeros, and
    would be with any one zero less: what was made to have a zero fails. And the images, sent through the layer, have
    negative sums exactly where their slopes are zero. Never certified is a gradient with noise, of full rank, or of a
    layer with BatchNorm in train mode behind it, and the answer says why; that of a few local steps can be, as its rows
    are the same images.

    Raises ValueError for a layer without a bias, whose gradient does not tell how bright an image is; for one that is
    not the model's, does not read the inputs as they are or has no ReLU behind it; and for numbers that are not finite.
    Source: "SPEAR", section 4 and algorithm 1.
    """
    name = networks.first_dense(model) if layer is None else layer
    dense = networks.plain_dense(model, name)
    weight, bias = fitting_layer(gradient, name, shape)
    checks.sizes(samples=[samples], examples=[gradient.examples])
    sent = _whole(weight, bias, dense, name)
    _check_relu(model, dense, name, shape)
    random = runtime.generator(runtime.derive(seed, "rank inversion"))
    basis, values = _basis(sent, min(gradient.examples + 1, *sent.shape), random)
    floor = max(20 * torch.finfo(weight.dtype).eps, 1e-9)
    rank, images, reason = int((values > floor / 5 * values[0]).sum()), weight.new_zeros(0, *shape), _FEW
    if noisy := rank > gradient.examples:
        floor, reason = float(3 * values[rank - 1] / values[rank - 2]), _NOISY
    if sent[:, -1].norm() <= min(100 * torch.finfo(weight.dtype).eps, 1e-4) * sent.norm():
        return Inversion(images, False, rank, 0, _DARK)
    basis = basis[:, : rank - noisy]
    rows = normalize(basis[basis.norm(dim=1) > max(floor, _SHORT) * basis.norm(dim=1).max()], dim=1)
    if rank in (0, sent.shape[1]) or basis.shape[1] >= len(rows):
        return Inversion(images, False, rank, 0, reason if noisy else _FULL)
    found = known = rows[:0]
    for tried in range(_BLOCK, samples + _BLOCK, _BLOCK):
        fresh, alone = _sharpened(rows, found, _sample(rows, known, random), floor)
        for each in fresh[alone]:
            more = torch.cat([found, each[None]])
            found = more if torch.linalg.matrix_rank(more, rtol=_ROUGH) == len(more) else found
        known = torch.cat([found, fresh]) if guided else known
        if len(found) == basis.shape[1]:
            inputs, fits = _read(sent, basis, found, dense, floor)
            images = inputs.to(weight.dtype).view(-1, *shape)
            if fits and not noisy:
                return Inversion(images, True, rank, tried, "")
            found, reason = found[:0], reason if noisy else _UNFIT
    return Inversion(images, False, rank, tried, reason)


def _whole(weight: Tensor, bias: Tensor, dense: nn.Linear, name: str) -> Tensor:
    """The gradient with its bias as one more column, `(N, L + 1)`, its largest number one; ValueError for another's."""
    if (weight.shape, bias.shape) != (dense.weight.shape, dense.bias.shape):
        raise ValueError(f"the gradient of {name!r} is {tuple(weight.shape)}, its weights {tuple(dense.weight.shape)}")
    sent = torch.cat([weight, bias[:, None]], 1).double()
    checks.floats(f"the gradient of {name}", sent, "(N, L)")
    checks.floats(f"the weight of {name}", dense.weight, "(N, L)")
    return sent / sent.abs().max().clamp_min(torch.finfo(sent.dtype).tiny)


def _check_relu(model: nn.Module, dense: nn.Linear, name: str, shape: Sequence[int]) -> None:
    """Raise ValueError unless inputs reach the layer as they are, and negative sums may be lower."""
    image = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)).to(dense.weight)
    _steady.check_arrival(model, image.flatten(1), shape, name)
    lower = networks.duplicate(model)
    lower.get_parameter(f"{name}.bias").sub_((linear(image.flatten(1), dense.weight, dense.bias) < 0).all(0).to(image))
    with networks.measured(model, lower):
        if not torch.equal(networks.logits(model, image), networks.logits(lower, image)):
            raise ValueError(f"layer={name!r} has no ReLU behind it, whose zeros are what is read; choose one that has")


def _basis(matrix: Tensor, rank: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """An orthonormal basis of the columns `(N, rank)`, and the singular values, the largest first."""
    probe = torch.randn(matrix.shape[1], rank, generator=random, dtype=matrix.dtype).to(matrix.device)
    thin = torch.linalg.qr(matrix @ (matrix.T @ (matrix @ probe))).Q
    left, values, _ = torch.linalg.svd(thin.T @ matrix, full_matrices=False)
    return thin @ left, values


def _sample(rows: Tensor, known: Tensor, random: torch.Generator) -> Tensor:
    """Directions `(K, R)` that are zero at R - 1 rows, drawn at random, and by no merit of theirs at many others.

    For every other one most rows are drawn among the zeros of one that is known: neurons that are closed to one image
    are often closed to another.
    """
    (neurons, rank), chances = rows.shape, torch.ones(_BLOCK, len(rows))
    if len(known):
        zero = ((known @ rows.T).abs() < _ROUGH).cpu()[torch.randint(len(known), (_BLOCK // 2,), generator=random)]
        odds = zero.sum(1, keepdim=True) / (~zero).sum(1, keepdim=True) / max(1, rank - 2)  # one row of the others
        chances[: _BLOCK // 2] = torch.where(zero, 1.0, odds)
    race = torch.empty(_BLOCK, neurons).exponential_(generator=random) / chances
    picked = race.topk(rank - 1, dim=1, largest=False).indices.to(rows.device)
    last = torch.randn(_BLOCK, 1, rank, generator=random, dtype=rows.dtype).to(rows.device)
    target = (torch.arange(rank) == rank - 1).to(rows).expand(_BLOCK, rank)
    made = normalize(torch.linalg.solve_ex(torch.cat([rows[picked], last], 1), target).result, dim=1)
    sparse = ((made @ rows.T).abs() < _ROUGH).sum(1) >= rank - 1 + _SPARSE * neurons * (rank > 1)
    return made[made.isfinite().all(1) & sparse]


def _sharpened(rows: Tensor, found: Tensor, fresh: Tensor, floor: float) -> tuple[Tensor, Tensor]:
    """What is fresh beyond what was found, from all its zeros; and which is so with any one less."""
    frame = torch.linalg.qr(found.T).Q
    fresh = fresh[(fresh - fresh @ frame @ frame.T).norm(dim=1) > _ROUGH]
    fresh = fresh[((fresh @ rows.T).abs() < _ROUGH).sum(1).argsort(descending=True, stable=True)]
    fresh = fresh[~((fresh @ fresh.T).abs() > 1 - 1e-6).tril(-1).any(1)][:_KEPT]
    for step in range(7):  # the rows count by how near to zero they are, ever more strictly, and at last all or nothing
        gaps = (fresh @ rows.T).abs() / (_ROUGH * (floor / _ROUGH) ** min(step / 5, 1))
        zero = (1 + gaps.square()) ** -2 if step < 6 else (gaps < 1).to(rows)
        values, vectors = torch.linalg.eigh(torch.einsum("kn,na,nb->kab", zero, rows, rows))
        fresh = vectors[:, :, 0]
    others = torch.einsum("na,kab->knb", rows, vectors[:, :, 1:] / values[:, None, 1:].clamp_min(_ROUGH**2).sqrt())
    return fresh, (others.square().sum(2) * zero).amax(1) < _LEVER


def _read(sent: Tensor, basis: Tensor, found: Tensor, dense: nn.Linear, floor: float) -> tuple[Tensor, bool]:
    """The inputs `(R, L)` of these directions, and whether their sums are negative exactly where slopes are zero."""
    inputs = torch.linalg.lstsq(basis @ found.T, sent).solution
    inputs = inputs[:, :-1] / inputs[:, -1:]
    sums = linear(inputs, dense.weight.double(), dense.bias.double())
    lengths = basis.norm(dim=1) / basis.norm(dim=1).max()
    zero = ((found @ normalize(basis, dim=1).T).abs() < floor) | (lengths < floor)
    told = (sums.abs() > 1e-5 * sums.abs().max()) & ((lengths < floor) | (lengths > _SHORT))
    return inputs, not (told & (zero != (sums < 0))).any()
