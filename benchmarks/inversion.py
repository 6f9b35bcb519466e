"""Speed of the optimisation attacks: many trials in one go, against one after the other in the straightforward way.

    python benchmarks/inversion.py [--restarts 32] [--victims 16] [--loop 16]

1. Inverting gradients, restart-iterations per CPU second on DLG's LeNet (32x32x3, 12 filters, kernel 5): a loop that
   takes one restart with plain autograd, and the attack with R restarts. Public implementations are such loops.
   Where there is a GPU, the same on it, per second that passes. (`torch.compile` of the comparison makes it 1.3 times
   as fast on a CPU, after 25 to 40 seconds of compiling for each model and set of gradients: not worth an option.
   One ordinary batch in the place of `vmap`, with each restart's gradient from `unfold` and `bmm`, is 1.7 times as fast
   with one restart, and 0.8 times with 32.)
2. DLG, CPU seconds per success (30 dB) on the strided sigmoid LeNet: `torch.optim.LBFGS` as DLG's authors call it, a
   new beginning after every failure, against all victims and restarts at once.
"""

import argparse
import time

import torch
from torch import Tensor, nn

from privlab import data, models
from privlab.attacks import deep_leakage, inverting_gradients
from privlab.metrics import reconstruction
from privlab.sharing import federated

STEPS = 300  # of DLG's loop, each up to twenty inner iterations


def loop_cosine(model: nn.Module, sent: federated.Gradient, label: Tensor, shape: tuple, iterations: int) -> Tensor:
    """One restart of inverting gradients with plain autograd."""
    image = torch.rand(1, *shape, device=label.device).requires_grad_()
    optimiser = torch.optim.Adam([image], lr=0.1)
    parameters = list(model.parameters())
    length = torch.stack([value.square().sum() for value in sent.tensors.values()]).sum().sqrt()
    for _ in range(iterations):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(image), label)
        found = torch.autograd.grad(loss, parameters, create_graph=True)
        product = torch.stack([(a * sent[name]).sum() for a, name in zip(found, sent, strict=True)]).sum()
        norm = torch.stack([a.square().sum() for a in found]).sum().sqrt()
        (1 - product / norm / length + 1e-2 * inverting_gradients.total_variation(image).mean()).backward()
        image.grad.sign_()
        optimiser.step()
        image.data.clamp_(0, 1)
    return image.detach()


def cosine(restarts: int, iterations: int = 150, device: str = "cpu") -> None:
    patches = data.load("patches")
    options = {"filters": (12, 12, 12), "fc": (), "pool": "stride"}
    model = models.lenet(patches.shape, len(patches.classes), activation="sigmoid", seed=0, **options).to(device)
    victim = patches.sample(1, 0).to(device)
    sent = federated.gradient(model, victim.images, victim.labels)
    clock = time.process_time if device == "cpu" else time.perf_counter

    def attack(count: int, iterations: int) -> None:
        options = {"shape": patches.shape, "restarts": count, "iterations": iterations}
        inverting_gradients.reconstruct(model, sent, victim.labels[None], **options).loss.sum().item()

    loop_cosine(model, sent, victim.labels, patches.shape, 5)  # what is done once only
    start = clock()
    loop_cosine(model, sent, victim.labels, patches.shape, iterations).sum().item()
    loop = iterations / (clock() - start)
    unit = "CPU second" if device == "cpu" else "second on the GPU"
    print(f"inverting gradients, restart-iterations per {unit}: plain loop {loop:.0f}")
    for count in (1, 8, restarts):
        attack(count, 1)
        start = clock()
        attack(count, iterations)
        rate = count * iterations / (clock() - start)
        print(f"  {count:3} restarts at once: {rate:.0f}, {rate / loop:.1f} times the loop")


def loop_dlg(model: nn.Module, sent: federated.Gradient, shape: tuple, classes: int) -> Tensor:
    """DLG as its authors have it: L-BFGS of the framework on image and label, from one beginning."""
    image, logits = torch.randn(1, *shape).requires_grad_(), torch.randn(1, classes).requires_grad_()
    optimiser = torch.optim.LBFGS([image, logits])
    parameters = list(model.parameters())

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = -(logits.softmax(1) * model(image).log_softmax(1)).sum(1).mean()
        found = torch.autograd.grad(loss, parameters, create_graph=True)
        distance = sum((a - sent[name]).square().sum() for a, name in zip(found, sent, strict=True))
        distance.backward()
        return distance

    for _ in range(STEPS):
        distance = optimiser.step(closure).item()
        if not distance > 1e-9:  # done, or not a number any more
            break
    return image.detach()


def dlg(victims: int, looped: int, restarts: int = 16) -> None:
    digits = data.load("digits")
    for init in ("framework", "uniform:0.5"):
        model = models.lenet(
            digits.shape, 10, filters=(12, 12, 12), fc=(), pool="stride", activation="sigmoid", init=init, seed=0
        )
        drawn = digits.sample(victims, 0)
        images = drawn.images[:, None]
        sent = [federated.gradient(model, x, y[None]) for x, y in zip(images, drawn.labels, strict=True)]
        start = time.process_time()
        found = deep_leakage.reconstruct(model, sent, shape=digits.shape, restarts=restarts, iterations=1000)
        ours = time.process_time() - start
        quality = reconstruction.psnr(found.images.clamp(0, 1), images[:, None])[..., 0]
        best = (reconstruction.psnr(found.best(), images) >= 30).double().mean()
        print(f"DLG, weights {init}: {best:.0%} of {victims} victims with {restarts} restarts by own loss,")
        wins = int((quality >= 30).sum())
        print(f"  {wins / quality.numel():.0%} of single restarts, {ours / max(1, wins):.2f} CPU s per success")
        torch.manual_seed(0)
        good, start = 0, time.process_time()
        for number in range(looped):  # one beginning each: the expected cost of a success is total / successes
            guess = loop_dlg(model, sent[number % victims], digits.shape, 10).clamp(0, 1)
            good += int(reconstruction.psnr(guess, images[number % victims]) >= 30)
        loop = (time.process_time() - start) / max(1, good)
        print(f"  plain loop: {good} of {looped} beginnings, {loop:.1f} CPU s per success,", end=" ")
        print(f"{loop / (ours / max(1, wins)):.0f} times as long")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restarts", type=int, default=32)
    parser.add_argument("--victims", type=int, default=16)
    parser.add_argument("--loop", type=int, default=16, help="beginnings of the plain DLG loop")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cosine(arguments.restarts)
    if torch.cuda.is_available():
        cosine(1024, device="cuda")
    dlg(arguments.victims, arguments.loop)


if __name__ == "__main__":
    main()
