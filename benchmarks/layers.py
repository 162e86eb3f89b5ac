"""The time of one job on all layers, compared with one job for each layer.

    python -m benchmarks.layers [--examples 200] [--threads 1] [--repeats 3]

The network has 12 blocks of convolutions with a way around each. Both ways must give equal scores.
The first line has the scores alone, for which the layers share their passes. The second line has
small tests of the rankings, too: each layer runs masks of its own, which no other layer can use.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table as Lines
from torch import Tensor, nn

from benchmarks.attribution.bench import RESOLVED, in_turns
from unitrank_engine.pipeline import run
from unitrank_engine.program import Program
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import with_ids
from unitrank_tables import Table, open_table

BLOCKS, CHANNELS, SIDE, CLASSES = 12, 16, 12, 5
METHODS: list[Any] = ["gradient", {"name": "conductance", "steps": 20, "spacing": "cubic"}]
PARTS: dict[str, Any] = {
    "scores": None,
    "scores, and tests on 20 examples": {"random": 19, "check_fill": None, "examples": 20, "fractions": [0.1, 0.3]},
}
GOALS = {"scores": "at most 0.5"}
WITHIN = 1e-4
"""Largest difference of two scores, as a share of the largest score."""


class Blocks(nn.Module):
    """A residual network of equal blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.ReLU()) for _ in range(BLOCKS))
        self.end = nn.Linear(CHANNELS, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        for block in self.blocks:
            h = h + 0.5 * block(h)
        return self.end(h.mean((2, 3)))


class Jobs:
    """Jobs on the network's blocks, in this process."""

    def __init__(self, folder: Path, examples: int) -> None:
        torch.manual_seed(0)
        batch = torch.export.Dim("batch", min=1)
        exported = torch.export.export(Blocks().eval(), (torch.zeros(2, 3, SIDE, SIDE),), dynamic_shapes=({0: batch},))
        self.program = Program.from_exported(exported)
        self.layers = [f"blocks.{number}" for number in range(BLOCKS)]
        x = np.random.default_rng(0).standard_normal((examples, 3, SIDE, SIDE)).astype(np.float32)
        np.savez(folder / "data.npz", x=x)
        self.table: Table = open_table(folder / "data.npz")

    def run(self, layer: str | list[str], ablation: dict[str, Any] | None) -> dict[str, np.ndarray]:
        """Return the arrays of a job."""
        fields = {"model": "m", "dataset": "d", "layer": layer, "methods": METHODS, "units": "channel"}
        settings = {"inputs": {"x": "x"}, "target": {"class": 1}, "ablation": ablation, "fidelity": None}
        request = JobRequest.model_validate(fields | settings)
        request = request.model_copy(update={"methods": with_ids(request.methods)})
        return run(request, RESOLVED, self.program, self.table, lambda progress: None)[1]

    def agree(self) -> None:
        """Raises SystemExit if the scores of both ways differ."""
        together = self.run(self.layers, None)
        for layer in self.layers:
            for name, alone in self.run(layer, None).items():
                if not name.startswith("importance/"):
                    continue
                difference = np.abs(together[f"{layer}/{name}"] - alone).max() / np.abs(alone).max()
                if difference > WITHIN:
                    raise SystemExit(f"{name} of {layer} differs by {difference:.1e} of the largest score, more than {WITHIN}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=200, help="number of examples")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    parser.add_argument("--repeats", type=int, default=3, help="measured runs; the table has their median")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    lines = Lines("12 layers", "one job, s", "12 jobs, s", "ratio", "goal")
    with tempfile.TemporaryDirectory() as folder:
        jobs = Jobs(Path(folder), arguments.examples)
        jobs.agree()
        for name, ablation in PARTS.items():
            together, alone = in_turns(
                arguments.repeats,
                lambda ablation=ablation: jobs.run(jobs.layers, ablation),
                lambda ablation=ablation: [jobs.run(layer, ablation) for layer in jobs.layers],
            )
            lines.add_row(name, f"{together:.3f}", f"{alone:.3f}", f"{together / alone:.2f}", GOALS.get(name, ""))
    Console(width=130).print(lines)


if __name__ == "__main__":
    main()
