"""Averaged partial derivatives by a hook on a Linear layer, with and without a bug.

Three towers look at one feature each, and the second feature decides between three classes. The
script trains the network, makes scores for the units of `mix` as much code makes them, and writes
towers.npz, first-batch.npz and all-batches.npz. docs/check-scores.md checks these files.
"""

import argparse
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

BATCH = 32


class ThreeTowers(nn.Module):
    """Three towers with one feature each, a layer that mixes them, and three logits."""

    def __init__(self) -> None:
        super().__init__()
        self.towers = nn.ModuleList(nn.Sequential(nn.Linear(1, 8), nn.ReLU()) for _ in range(3))
        self.mix, self.act, self.head = nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 3)

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([tower(x[:, index : index + 1]) for index, tower in enumerate(self.towers)], 1)
        return self.head(self.act(self.mix(joined)))


def data() -> dict[str, np.ndarray]:
    """600 examples, sorted by class, as files in one folder for each class are."""
    x = np.random.default_rng(0).normal(size=(600, 3)).astype(np.float32)
    y = np.digitize(x[:, 1], [-0.43, 0.43])
    order = np.argsort(y, kind="stable")
    return {"x": x[order], "y": y[order]}


@cache
def trained() -> ThreeTowers:
    """The network after 200 steps on all examples."""
    x, y = (torch.from_numpy(values) for values in data().values())
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ThreeTowers()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    return network.eval()


def batches() -> Iterator[tuple[Tensor, Tensor]]:
    """The examples in batches, as a DataLoader gives them without shuffling."""
    x, y = (torch.from_numpy(values) for values in data().values())
    yield from zip(x.split(BATCH), y.split(BATCH), strict=True)


def partial_derivatives(network: nn.Module, layer: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The derivative of each example's own logit by each unit of the layer."""
    outputs: list[Tensor] = []
    handle = layer.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    logits = network(x)
    handle.remove()
    outputs[0].retain_grad()
    logits[torch.arange(len(y)), y].sum().backward()
    assert outputs[0].grad is not None
    return outputs[0].grad


def first_batch() -> Tensor:
    """The bug: `return` stands inside the loop, so the mean is over one batch."""
    network = trained()
    for x, y in batches():
        return partial_derivatives(network, network.mix, x, y).mean(0)
    raise ValueError("there are no batches")


def all_batches() -> Tensor:
    """The mean over all examples."""
    network, total, count = trained(), torch.zeros(24), 0
    for x, y in batches():
        total += partial_derivatives(network, network.mix, x, y).sum(0)
        count += len(x)
    return total / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("."), help="folder of the files")
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "towers.npz", **data())
    np.savez(folder / "first-batch.npz", scores=first_batch().numpy())
    np.savez(folder / "all-batches.npz", scores=all_batches().numpy())


if __name__ == "__main__":
    main()
