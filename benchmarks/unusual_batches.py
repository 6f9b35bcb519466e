"""How much recall at s = 0.999 varies from one mini-batch of MNIST to another.

At this s nearly every neuron fires for many images, and the few that isolate one do so for unusual images. Counts
neurons from activations alone, which is the same as extraction but for rounding.
"""

import argparse

import torch

from privlab import data
from privlab.attacks import trap_weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--s", type=float, default=0.999)
    parser.add_argument("--batches", type=int, default=400)
    arguments = parser.parse_args()
    images = data.load(arguments.data)
    inputs = images[:1].images.numel()
    draws = [trap_weights.draw(1000, inputs, seed=seed).weights(arguments.s) for seed in range(4)]
    recalls = []
    for seed in range(arguments.batches):
        batch = images.sample(100, seed).images.flatten(1)
        active = [batch @ weights.T > 0 for weights in draws]
        recalls.append(sum(on[:, on.sum(0) == 1].any(1).float().mean().item() for on in active) / len(draws))
    values = torch.tensor(recalls)
    above = (values >= 0.017).float().mean().item()
    print(f"{len(values)} batches: recall {values.mean():.4f} ± {values.std():.4f}; at least 0.017 in {above:.1%}")


if __name__ == "__main__":
    main()
