"""Measures how often noise gets the verdict "better than random".

Command: `python -m benchmarks.calibration`.

Every job has ten clusters of forty examples and 99 random orders; each seed draws new examples.
A ranking is better than random if its p-value is at most 5 %. Calibrated verdicts therefore call
about 5 % of the noise rankings better, and so do about 5 % of the jobs' overall verdicts.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from unitrank_engine.pipeline import run
from unitrank_engine.program import Program
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import with_ids
from unitrank_tables import open_table

CLUSTERS, EXAMPLES, UNITS = 10, 40, 64


class Equal(nn.Module):
    """A network in which all units have the same effect: F depends only on their sum."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.out = nn.Softplus()

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.act(x).sum(1, keepdim=True) / UNITS**0.5)


class Unequal(nn.Module):
    """A network in which few units have a large effect, as in a trained network."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.act = nn.ReLU()
        self.hidden, self.out = nn.Linear(UNITS, 16), nn.Linear(16, 1)
        with torch.no_grad():
            self.hidden.weight *= torch.rand(UNITS) ** 3 * 8

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.hidden(self.act(x)).tanh())
        return out


@dataclass(frozen=True)
class Case:
    """A ranking on a network.

    `expected`: the share of better verdicts. The share is high if the scores are true, or if the
    scores were fitted to the tested examples.
    """

    title: str
    net: Callable[[], nn.Module]
    method: str
    split: str
    expected: str


CASES = [
    Case("random scores, units unequal, split half", Unequal, "random", "half", "≤ 5 %"),
    Case("scores fitted to noise, units equal, split half", Equal, "gradient_x_activation", "half", "≤ 5 %"),
    Case("scores fitted to noise, units equal, split none", Equal, "gradient_x_activation", "none", "high"),
    Case("true scores, units unequal, split half", Unequal, "gradient_x_activation", "half", "high"),
]


@dataclass(frozen=True)
class Rates:
    """The frequency of each verdict, as shares from 0 to 1.

    `better`, `worse`: shares of all `verdicts`; each cluster of each job has one verdict.
    `overall_better`, `overall_worse`: shares of the overall verdicts; each of the `jobs` has one.
    """

    verdicts: int
    better: float
    worse: float
    jobs: int
    overall_better: float
    overall_worse: float


def rates(case: Case, seeds: int) -> Rates:
    """The rates of this case over `seeds` jobs with ten clusters each."""
    clusters: list[str] = []
    overall: list[str] = []
    for ranking in _rankings(case, seeds):
        clusters += [cluster["ablation"]["verdict"] for cluster in ranking["clusters"].values()]
        overall.append(ranking["overall"]["verdict"])
    return Rates(
        verdicts=len(clusters),
        better=clusters.count("better_than_random") / len(clusters),
        worse=clusters.count("worse_than_random") / len(clusters),
        jobs=len(overall),
        overall_better=overall.count("better_than_random") / len(overall),
        overall_worse=overall.count("worse_than_random") / len(overall),
    )


def _rankings(case: Case, seeds: int) -> Iterator[dict[str, Any]]:
    example = torch.ones(2, UNITS)
    exported = torch.export.export(case.net().eval(), (example,), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    program = Program.from_exported(exported)
    content = {"model": {"name": None, "digest": "sha256:model"}, "dataset": {"name": None, "digest": "sha256:dataset"}}
    with TemporaryDirectory() as folder:
        path = Path(folder) / "noise.npz"
        for seed in range(seeds):
            x = np.random.default_rng(seed).standard_normal((CLUSTERS * EXAMPLES, UNITS), dtype=np.float32)
            np.savez(path, x=x, group=np.arange(len(x)) % CLUSTERS)
            with open_table(path) as table:
                summary, _ = run(_request(case, seed), content, program, table, lambda progress: None)
            yield summary["rankings"][0]


def _request(case: Case, seed: int) -> JobRequest:
    request = JobRequest.model_validate(
        {
            "model": "model",
            "dataset": "dataset",
            "layer": "act",
            "methods": [case.method],
            "inputs": {"x": "x"},
            "clusters": {"by": "field", "field": "group"},
            "target": {"class": None},
            "ablation": {"split": case.split, "check_fill": None, "orders": ["most"]},
            "fidelity": None,
            "seed": seed,
        }
    )
    return request.model_copy(update={"methods": with_ids(request.methods)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="number of jobs for each case; each has ten clusters")
    seeds = parser.parse_args().seeds
    torch.set_num_threads(1)
    print(f"{'case':<50}{'expected':>9}{'verdicts':>10}{'better':>8}{'worse':>8}{'jobs':>6}{'better':>8}{'worse':>8}{'s':>6}")
    for case in CASES:
        began = perf_counter()
        shares = rates(case, seeds)
        clusters = f"{shares.verdicts:>10}{shares.better:>8.1%}{shares.worse:>8.1%}"
        overall = f"{shares.jobs:>6}{shares.overall_better:>8.1%}{shares.overall_worse:>8.1%}"
        print(f"{case.title:<50}{case.expected:>9}{clusters}{overall}{perf_counter() - began:>6.0f}", flush=True)


if __name__ == "__main__":
    main()
