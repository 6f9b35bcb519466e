"""Split learning, on one thread: what distance correlation costs, and whether decoders are better trained together.

The peer's way of distance correlation loops over pairs; `cdist` is the obvious one; ours is one matrix product.
Decoders for several noise scales have one shape, so that `torch.func` can train them as one.
"""

import functools
import statistics
import time

import torch
from torch.func import functional_call, grad, stack_module_state, vmap

from privlab import data, models
from privlab.attacks import decoder
from privlab.defences import laplace
from privlab.metrics import distance_correlation as dependence
from privlab.sharing import split
from privlab.studies.splitnn import _paper as splitnn
from privlab.studies.splitnn import table_1

torch.set_num_threads(1)
SCALES = (0.1, 0.5, 1.0, 2.0)


def milliseconds(job, repeats=9):
    """The median CPU time of a job."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        job()
        found.append(1e3 * (time.process_time() - start))
    return statistics.median(found)


def by_cdist(x, y):
    """Distance correlation as it is usually written."""
    a, b = (torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist") for z in (x, y))
    a, b = (z - z.mean(0) - z.mean(1, keepdim=True) + z.mean() for z in (a, b))
    return ((a * b).mean() / ((a * a).mean() * (b * b).mean()).sqrt()).sqrt()


def correlation():
    """Forward and backward, of 784 pixels and 500 activations."""
    random = torch.Generator().manual_seed(0)
    print("distance correlation, forward and backward, CPU ms (784 pixels, 500 activations)")
    for batch in (32, 64, 128, 256, 512, 1024):
        x, mix = torch.rand(batch, 784, generator=random), torch.randn(784, 500, generator=random) / 28

        def job(function, x=x, mix=mix):
            y = (x @ mix).tanh().requires_grad_()
            function(x, y).backward()

        ours, usual = (milliseconds(lambda f=f: job(f)) for f in (dependence.distance_correlation, by_cdist))
        print(
            f"  batch {batch:4}: {ours:6.1f}  {'#' * round(ours)}  cdist {usual:7.1f}, {usual / ours:.0f} times as long"
        )


def together(decoders, pairs, steps):
    """Train all with Adam and SGD alike: one step of each, as one."""
    weights, _ = stack_module_state(decoders)
    base = decoders[0]

    def loss(weights, z, x):
        return torch.nn.functional.mse_loss(functional_call(base, weights, (z,)), x)

    each = vmap(grad(loss))
    adam = torch.optim.Adam([w.requires_grad_() for w in weights.values()], fused=True)
    for step in range(steps):
        at = slice(32 * step % 320, 32 * step % 320 + 32)
        slopes = each(
            {name: w.detach() for name, w in weights.items()},
            torch.stack([z[at] for z, _ in pairs]),
            torch.stack([x[at] for _, x in pairs]),
        )
        for name, w in weights.items():
            w.grad = slopes[name]
        adam.step()


def one_by_one(decoders, pairs, steps):
    """The same, one decoder after the other."""
    for network, (z, x) in zip(decoders, pairs, strict=True):
        adam = torch.optim.Adam(network.parameters(), fused=True)
        for step in range(steps):
            at = slice(32 * step % 320, 32 * step % 320 + 32)
            adam.zero_grad()
            torch.nn.functional.mse_loss(network(z[at]), x[at]).backward()
            adam.step()


def decoders():
    """Four noise scales."""
    images = data.load("digits").sample(352, 0).images
    parts = split.segments(models.split_cnn((1, 28, 28), 10, filters=(8, 16), units=100), "tanh3")
    sent = split.send(parts.owner, images)
    pairs = [(laplace(sent, scale, seed=0), images) for scale in SCALES]
    times = {}
    for name, train in (("one by one", one_by_one), ("together", together)):
        networks = [decoder.mirror(parts.owner, (1, 28, 28), seed=k) for k in range(len(SCALES))]
        times[name] = milliseconds(functools.partial(train, networks, pairs, 20), repeats=3)
    print(f"{len(SCALES)} decoders, 20 steps each: " + ", ".join(f"{n} {t:.0f} ms" for n, t in times.items()))
    print(f"  together takes {times['together'] / times['one by one']:.1f} times as long as one by one")


def the_table():
    """The twelve trainings of the SplitNN paper's Table 1, and (0, 0), on the embedded digits."""
    start = time.process_time()
    for noise, alpha in table_1.PRINTED:
        cell = splitnn.base("digits", noise=noise, noise_in="training", alpha=alpha)
        table_1.run(cell, 0, torch.device("cpu"))
    print(
        f"splitnn/table-1 at the fast profile: {time.process_time() - start:.0f} CPU s for {len(table_1.PRINTED)} cells"
    )


if __name__ == "__main__":
    correlation()
    decoders()
    the_table()
