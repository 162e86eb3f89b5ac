"""How often the interval of a sampled Shapley value covers the exact value.

The runs differ in their seed. The net has 16 units, so all 65 536 sets of units can be replaced.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.calibration.jobs import CONTENT
from benchmarks.calibration.rates import Share
from unitrank_engine.methods.shapley.enumeration import all_sets, shapley_values
from unitrank_engine.pipeline import run
from unitrank_engine.program import Program
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import with_ids
from unitrank_tables import open_table

UNITS = 16


class Dense(nn.Module):
    """16 units between two dense layers, and two dense layers behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle = nn.Linear(6, UNITS), nn.Tanh()
        self.tail = nn.Sequential(nn.Linear(UNITS, 20), nn.ReLU(), nn.Linear(20, 3))

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.tail(self.middle(self.first(x)))
        return output


def shapley(examples: int, runs: int, *, permutations: int = 32) -> dict[str, Share]:
    """Return how often the interval of a unit's importance covers its exact value.

    `examples`: the number of examples of the only cluster.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net, x = Dense().eval(), torch.randn(examples, 6)
    truth = _exact(net, x)
    exported = torch.export.export(net, (torch.zeros(2, 6),), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    entry = {"name": "shapley", "fill": "zero", "permutations": permutations}
    fields = {"model": "m", "dataset": "d", "layer": "middle", "target": {"class": 1}, "inputs": {"x": "x"}}
    program, covered = Program.from_exported(exported), []
    with TemporaryDirectory() as folder:
        np.savez(Path(folder, "data.npz"), x=x.numpy())
        with open_table(Path(folder, "data.npz")) as table:
            for seed in range(runs):
                request = JobRequest.model_validate(
                    {**fields, "methods": [entry], "ablation": None, "fidelity": None, "seed": seed}
                )
                request = request.model_copy(update={"methods": with_ids(request.methods)})
                summary, _ = run(request, CONTENT, program, table, lambda progress: None)
                for unit in summary["rankings"][0]["clusters"]["all"]["top"]:
                    covered.append(unit["importance_low"] <= float(truth[unit["unit"]]) <= unit["importance_high"])
    return {"covers the exact value": Share.of_flags(covered)}


def _exact(net: Dense, x: Tensor) -> np.ndarray:
    """Return the exact importance of each unit, for the fill `zero` and class 1, in float64."""
    sets, double = all_sets(UNITS, torch.device("cpu")), Dense().double()
    double.load_state_dict(net.state_dict())
    with torch.no_grad():
        h = double.middle(double.first(x.double()))
        f = torch.stack([double.tail(torch.where(sets, 0.0, row))[:, 1] for row in h], 1)
    return np.asarray(shapley_values(f, torch.ones(len(x), UNITS, dtype=torch.bool)).mean(0).numpy())
