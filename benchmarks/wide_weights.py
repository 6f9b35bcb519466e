"""Does a passive server read more under wide Gaussian weights? Paired draws: the same batch, the same weights scaled.

With zero biases the scale changes no sign in the first layer. What changes is behind it: large weights make the
softmax saturate, and an example with a loss of exactly zero sends no gradient.
"""

import argparse
import statistics

import torch

from privlab import runtime
from privlab.studies._data import dataset
from privlab.studies.curious import _extraction as curious
from privlab.studies.curious import table_2


def zero_loss(name: str, draws: int) -> float:
    """The share of images that a network with sigma 2 classifies with a loss of exactly zero."""
    shares = []
    for seed in range(draws):
        batch = dataset(name).sample(100, runtime.derive(seed, "batch"))
        model = curious.network(name, 1000, "gaussian:2", runtime.derive(seed, "network"))
        with torch.no_grad():
            losses = torch.nn.functional.cross_entropy(model(batch.images), batch.labels, reduction="none")
        shares.append((losses == 0).float().mean().item())
    return statistics.fmean(shares)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", default=["mnist", "cifar10"])
    parser.add_argument("--draws", type=int, default=60)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.data:
        gains: dict[str, list[float]] = {"active": [], "precision": [], "recall": []}
        for seed in range(arguments.draws):
            cell = {"data": name, "batch": 100, "neurons": 1000}
            narrow, wide = (
                table_2.run({**cell, "init": init}, seed, torch.device("cpu"))
                for init in ("gaussian:0.01", "gaussian:2")
            )
            for metric, values in gains.items():
                values.append(wide[metric] - narrow[metric])
        print(f"{name}: {zero_loss(name, arguments.draws):.1%} of the images have a loss of exactly zero at sigma 2")
        for metric, values in gains.items():
            error = statistics.stdev(values) / len(values) ** 0.5
            print(f"{name} {metric}: {statistics.fmean(values):+.4f}, standard error {error:.4f}")


if __name__ == "__main__":
    main()
