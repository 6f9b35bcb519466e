"""Speed of extraction and of Table 5, as ratios of two ways of doing the same in one run (CPU seconds, one thread).

python benchmarks/extraction.py [--large] [--data mnist]
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from privlab import data, models, studies
from privlab.attacks import gradient_extraction, trap_weights
from privlab.sharing import federated
from privlab.sharing.federated import Gradient
from privlab.studies._data import dataset
from privlab.studies.curious import _extraction as curious


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The median CPU time of one call."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return sorted(times)[len(times) // 2]


def straightforward(gradient: Gradient) -> torch.Tensor:
    """Divide every row, test every pixel, keep distinct rows: the way one would write it first."""
    weight, bias = gradient.layer("fc1")
    rows = weight[bias != 0] / bias[bias != 0, None]
    steps = rows * 255
    on_grid = (steps - steps.round()).abs().amax(1) < gradient_extraction.GRID_TOLERANCE
    return torch.unique((rows[on_grid] * 255).round(), dim=0)


def stolen_gradient(images: torch.Tensor, neurons: int, s: float) -> Gradient:
    """The gradient that a client sends under trap weights."""
    labels = torch.arange(len(images)) % 10
    model = models.fully_connected(images.shape[1:], 10, widths=(neurons,), seed=0)
    return federated.gradient(trap_weights.plant(model, s, seed=0), images, labels)


def extraction() -> None:
    """1000 neurons x 3072 inputs, a batch of 100, from a gradient in memory to images without copies."""
    images = data.load("patches").sample(100, 0).images
    shared = stolen_gradient(images, 1000, 0.95)
    read = seconds(lambda: shared["fc1.weight"].sum(), 30)
    ours = seconds(lambda: gradient_extraction.extract(shared, shape=(3, 32, 32)), 30)
    first = seconds(lambda: straightforward(shared), 10)
    found = gradient_extraction.extract(shared, shape=(3, 32, 32))
    assert len(found.images) == len(straightforward(shared))
    print(f"extraction, 1000 x 3072, batch 100: {ours * 1e3:.1f} ms, {ours / read:.1f} times reading the gradient once")
    print(f"  the straightforward way: {first * 1e3:.1f} ms, {first / ours:.1f} times as long")


def large() -> None:
    """3000 neurons x 150,528 inputs, a colour photograph of 224 pixels: the gradient made without weights."""
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(100, 3, 14, 14, generator=random)
    images = (torch.nn.functional.interpolate(coarse, size=224, mode="bilinear") * 255).round().flatten(1) / 255
    active = torch.rand(3000, 100, generator=random) < 0.01  # about as sparse as at the best s
    deltas = torch.randn(3000, 100, generator=random) * active
    shared = Gradient({"fc1.weight": deltas @ images, "fc1.bias": deltas.sum(1)}, examples=100)
    read = seconds(lambda: shared["fc1.weight"].sum(), 3)
    ours = seconds(lambda: gradient_extraction.extract(shared, shape=(3, 224, 224)), 3)
    found = gradient_extraction.extract(shared, shape=(3, 224, 224))
    expected = deltas[active.sum(1) == 1].ne(0).any(0).sum()
    assert len(found.images) == expected
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"extraction, 3000 x 150,528: {ours:.2f} s, {ours / read:.1f} times reading the gradient once")
    print(f"  {len(found.images)} images; peak memory of the whole process {peak:.1f} GiB")


def table_5(name: str, seeds: int) -> None:
    """Thirteen values of s: weights from one draw, against drawing them anew for every s."""
    study = studies.get("curious/table-5")
    options = {"profile": "paper", "data": name, "seeds": seeds, "device": "cpu", "progress": False}
    dataset(name)
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        rows = studies.run(study, store=studies.Store(study, Path(folder)), **options)
        ours = time.process_time() - start
    start = time.process_time()
    for s in curious.SCALES:  # one seed, every s from scratch
        curious.trapped.cache_clear()
        curious.run_trapped({"data": name, "s": s, "batch": 100, "neurons": 1000}, 0, torch.device("cpu"))
    anew = time.process_time() - start
    print(f"table 5 on {name}, {len(rows)} cells: {ours:.1f} s")
    print(f"  drawing everything anew for every s: {anew / (ours / seeds):.1f} times as long a seed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--large", action="store_true", help="also 224-pixel photographs (6 GiB of memory)")
    parser.add_argument("--data", default="digits", help="the data of table 5 (digits, or mnist where it is)")
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.large:  # first, so that the peak of memory is its own
        large()
    extraction()
    table_5(arguments.data, arguments.seeds)


if __name__ == "__main__":
    main()
