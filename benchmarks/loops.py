"""The straightforward way of each attack, one trial at a time: what ours are raced against.

Settings are those of public implementations, and each loop does recover what ours recover (`tests/test_benchmarks.py`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from privlab.sharing.federated import Gradient

INNER = 20  # iterations within one step of `torch.optim.LBFGS`
ENOUGH = 1e-7  # of the gradient's own squared length: who is below has the image, and adds decibels only
ALPHA = 1e-2  # the weight of the total variation


def _squared(
    model: nn.Module, sent: Gradient, shape: Sequence[int], classes: int, seed: int, steps: int, **options
) -> tuple[Tensor, float]:
    """L-BFGS of the framework on the squared distance, from one beginning: image `(1, *shape)` and last distance."""
    random = torch.Generator().manual_seed(seed)
    image = torch.randn(1, *shape, generator=random).requires_grad_()
    logits = torch.randn(1, classes, generator=random).requires_grad_()
    weights, theirs = list(model.parameters()), [sent[name] for name, _ in model.named_parameters()]
    length = float(sum(value.square().sum() for value in theirs))
    unit = length if "line_search_fn" in options else 1.0
    optimiser = torch.optim.LBFGS([image, logits], max_iter=INNER, history_size=100, **options)

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = -(logits.softmax(1) * model(image).log_softmax(1)).sum()
        mine = torch.autograd.grad(loss, weights, create_graph=True)
        distance = sum((a - b).square().sum() for a, b in zip(mine, theirs, strict=True)) / unit
        distance.backward()
        return distance

    distance, before = torch.inf, None
    for _ in range(steps):
        distance = optimiser.step(closure).item()
        if not distance > ENOUGH * length / unit or distance == before:  # there, not a number any more, or at rest
            break
        before = distance
    return image.detach(), distance


def dlg(model: nn.Module, sent: Gradient, shape: Sequence[int], classes: int, *, seed: int = 0, steps: int = 300):
    """DLG as its authors run it, with steps of length one; but it stops when it is there, which they do not."""
    return _squared(model, sent, shape, classes, seed, steps, lr=1)


def line_search(
    model: nn.Module, sent: Gradient, shape: Sequence[int], classes: int, *, seed: int = 0, steps: int = 300
):
    """The same with the framework's own line search, on the distance relative to the gradient's length."""
    nowhere = {"tolerance_grad": 0, "tolerance_change": 0}  # the defaults stop it on the first plateau
    return _squared(model, sent, shape, classes, seed, steps, line_search_fn="strong_wolfe", **nowhere)


def cosine(
    model: nn.Module,
    sent: Gradient,
    labels: Tensor,
    shape: Sequence[int],
    *,
    alpha: float = ALPHA,
    iterations: int = 1000,
    lr: float = 0.1,
    seed: int = 0,
) -> tuple[Tensor, float]:
    """Inverting gradients, one restart: the images `(B, *shape)` and their own loss."""
    random = torch.Generator().manual_seed(seed)
    images = torch.randn(len(labels), *shape, generator=random).to(labels.device).requires_grad_()
    optimiser = torch.optim.Adam([images], lr=lr)
    milestones = [iterations * eighths // 8 for eighths in (3, 5, 7)]
    decay = torch.optim.lr_scheduler.MultiStepLR(optimiser, milestones, gamma=0.1)
    weights, theirs = list(model.parameters()), [sent[name] for name, _ in model.named_parameters()]
    length = torch.stack([value.square().sum() for value in theirs]).sum().sqrt()

    def value() -> Tensor:
        loss = nn.functional.cross_entropy(model(images), labels)
        mine = torch.autograd.grad(loss, weights, create_graph=True)
        product = sum((a * b).sum() for a, b in zip(mine, theirs, strict=True))
        norm = sum(a.square().sum() for a in mine).sqrt()
        variation = images.diff(dim=-1).abs().mean() + images.diff(dim=-2).abs().mean()
        return 1 - product / (norm * length) + alpha * variation

    for _ in range(iterations):
        optimiser.zero_grad()
        value().backward()
        images.grad.sign_()
        optimiser.step()
        decay.step()
        images.data.clamp_(0, 1)
    return images.detach(), value().item()


def extraction(weight: Tensor, bias: Tensor, *, levels: int = 255, tolerance: float = 1e-3) -> Tensor:
    """Divide every active row, test every pixel against the grid, keep distinct rows: images `(K, L)`."""
    active = bias != 0
    steps = weight[active] / bias[active, None] * levels
    nearest = steps.round()
    near = (steps - nearest).abs().amax(1) < tolerance
    inside = (nearest.amin(1) >= 0) & (nearest.amax(1) <= levels)
    return nearest[near & inside].unique(dim=0) / levels


def bins(weight: Tensor, bias: Tensor, *, levels: int = 255, tolerance: float = 0.1) -> Tensor:
    """Pair by pair of neighbouring neurons: what their gradients differ by, divided, rounded and tested."""
    found = []
    pairs = zip(weight, [*weight[1:], torch.zeros_like(weight[0])], bias, [*bias[1:], torch.zeros(())], strict=True)
    for low, high, own, other in pairs:
        if abs(own - other) > 2e-6 * max(abs(own), abs(other)):
            steps = (low - high) / (own - other) * levels
            nearest = steps.round().clamp(0, levels)
            if (steps - nearest).abs().max() < tolerance:
                found.append(nearest / levels)
    return torch.stack(found)


def pgd(model: nn.Module, images: Tensor, labels: Tensor, *, epsilon: float, steps: int, step: float) -> Tensor:
    """Up the sign of the slope from the images themselves, by `backward`, and back into the ball and [0, 1]."""
    found = images.clone()
    for _ in range(steps):
        found.requires_grad_()
        model.zero_grad()
        nn.functional.cross_entropy(model(found), labels).backward()
        moved = found.detach() + step * found.grad.sign()
        found = torch.clamp(images + torch.clamp(moved - images, -epsilon, epsilon), 0, 1)
    return found


def spans(model: nn.Module, sent: Gradient, *, words: int, length: int, tolerance: float = 1e-3) -> list[list[int]]:
    """Every word at every place of the first layer, then every prefix of the second, one at a time."""
    bases = []
    for number in (0, 1):
        weight = sent[f"blocks.{number}.self_attn.in_proj_weight"]
        _, sizes, rows = torch.linalg.svd(weight)
        bases.append(rows[: int((sizes > 1e-6 * sizes[0]).sum())])

    @torch.no_grad()
    def fits(number: int, prefix: list[int]) -> bool:
        tokens = torch.tensor([prefix])
        state = model.embedding(tokens) + model.positions.weight[: len(prefix)]
        if number:
            state = model.blocks[0](state, src_mask=model.later[: len(prefix), : len(prefix)])
        state = model.blocks[number].norm1(state)[0, -1]
        missing = state - bases[number].T @ (bases[number] @ state)
        return bool(missing.norm() < tolerance * state.norm())

    found: list[list[int]] = [[]]
    for place in range(length):
        here = [word for word in range(words) if fits(0, [0] * place + [word])]
        found = [[*prefix, word] for prefix in found for word in here if fits(1, [*prefix, word])]
    return found


def rank_inversion(weight: torch.Tensor, bias: torch.Tensor, batch: int, draws: int = 2000) -> torch.Tensor:
    """The images of a mini-batch out of a dense layer's gradient, `(batch, L)`: draw rows, one set at a time.

    Directions with a tenth of the rows as zeros, beyond those that they were made to have, are kept; in the end those
    with most zeros, as many as are independent. Source: "SPEAR", algorithm 1, without batches and certificate.
    """
    whole = torch.cat([weight, bias[:, None]], 1)
    left = torch.linalg.svd(whole, full_matrices=False).U[:, :batch]
    rows = torch.nn.functional.normalize(left[left.norm(dim=1) > 1e-6], dim=1)
    random, kept = torch.Generator().manual_seed(0), {}
    for _ in range(draws):
        picked = torch.randperm(len(rows), generator=random)[: batch - 1]
        direction = torch.linalg.svd(rows[picked]).Vh[-1]
        zero = (rows @ direction).abs() < 1e-9
        if int(zero.sum()) >= batch - 1 + len(rows) / 10:
            kept[bytes(zero.tolist())] = (int(zero.sum()), direction)
    chosen = left[:0]
    for _, direction in sorted(kept.values(), key=lambda each: -each[0]):
        more = torch.cat([chosen, direction[None]])
        if torch.linalg.matrix_rank(more, rtol=1e-3) == len(more):
            chosen = more
    inputs = torch.linalg.lstsq(left @ chosen.T, whole).solution
    return inputs[:, :-1] / inputs[:, -1:]
