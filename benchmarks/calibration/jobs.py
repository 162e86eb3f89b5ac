"""Jobs with scores of the benchmark's own: the stages of a real job without a method."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.calibration import nets
from unitrank_engine.ablation.family import judge_family
from unitrank_engine.ablation.masks.fill_tests import FillTests
from unitrank_engine.ablation.masks.mask_runner import STAGE
from unitrank_engine.ablation.masks.tested import TestedCluster
from unitrank_engine.ablation.study import StudyOutcome
from unitrank_engine.attribution.scores import score_key
from unitrank_engine.job.baselines import find_baselines
from unitrank_engine.job.batch_size import rows_at_once
from unitrank_engine.job.fills import Fills
from unitrank_engine.pipeline import prepare
from unitrank_engine.reuse.main_pass import CachedMainPass
from unitrank_engine.reuse.parts import JobParts, NoPartStore
from unitrank_engine.reuse.study import CachedStudy
from unitrank_engine.reuse.target_pass import CachedTargetPass
from unitrank_schemas.jobs import JobRequest
from unitrank_schemas.methods import with_ids
from unitrank_tables import open_table

METHOD = "gradient_x_activation"
"""The method of fitted and of true scores."""
FRACTIONS = [0.05, 0.2, 0.5]
CONTENT = {"model": {"name": None, "digest": "sha256:model"}, "dataset": {"name": None, "digest": "sha256:dataset"}}
Scores = Mapping[str, list[np.ndarray]]
"""Ranking's id → the score of every unit in each cluster."""


@dataclass(frozen=True)
class Data:
    """The examples of a job.

    `clusters`: number of clusters. `examples`: examples of each cluster; one half tests.
    `factors`: number of groups of neighbouring units with correlated values; 0 for independent
        units. `dead`: share of the units that are 0 on all examples.
    """

    clusters: int = 4
    examples: int = 20
    factors: int = 0
    dead: float = 0.0

    def draw(self, random: np.random.Generator, units: int) -> tuple[np.ndarray, np.ndarray]:
        """Return normal inputs, and each example's cluster as its label."""
        rows = self.clusters * self.examples
        x = random.standard_normal((rows, units))
        if self.factors:
            common = random.standard_normal((rows, self.factors)).repeat(units // self.factors, axis=1)
            x = 0.9**0.5 * common + 0.1**0.5 * x
        x[:, : int(self.dead * units)] = -1.0
        return x.astype(np.float32), np.arange(rows) % self.clusters


@dataclass(frozen=True)
class Setup:
    """The network, the data and the request of a job.

    `rankings`: number of rankings. `request`, `ablation`: changes to the request.
    """

    net: nets.Net = nets.Unequal
    data: Data = field(default_factory=Data)
    rankings: int = 1
    request: Mapping[str, Any] = field(default_factory=dict)
    ablation: Mapping[str, Any] = field(default_factory=dict)

    def ids(self) -> list[str]:
        return [f"ranking-{number}" for number in range(self.rankings)]

    def job(self, seed: int) -> JobRequest:
        ablation = {"fractions": FRACTIONS, "orders": ["most"], "check_fill": None, "specificity": False}
        body = {
            "model": "model",
            "dataset": "dataset",
            "layer": "act",
            "methods": [{"name": METHOD, "id": name} for name in self.ids()],
            "inputs": {"x": "x"},
            "labels": "y",
            "clusters": {"by": "label"},
            "ablation": ablation | dict(self.ablation),
            "fidelity": None,
            "seed": seed,
        }
        request = JobRequest.model_validate(body | dict(self.request))
        return request.model_copy(update={"methods": with_ids(request.methods)})


class Job:
    """One job: `scores` computes scores as a method does, `study` tests any scores."""

    def __init__(self, fills: Fills) -> None:
        assert fills.context.request.ablation is not None
        self.context = fills.context
        self._request = fills.context.request.ablation
        self._fills = fills
        self._parts = JobParts.of(NoPartStore(), fills.context, batch=fills.batch)

    def scores(self) -> list[np.ndarray]:
        """Return the scores of METHOD in each cluster, from the examples that rank."""
        entry = self.context.request.methods[0]
        main_pass = CachedMainPass([CachedTargetPass(self._parts, self._fills, [entry])])
        main_pass.plan()
        (attribution,) = main_pass.run([None])
        sums = attribution.by_key[score_key(entry)].sums
        return [
            sums.of_cluster(index, None if halves.in_sample else 0).importance(entry.statistic)
            for index, halves in enumerate(self.context.halves)
        ]

    def study(self, scores: Scores) -> StudyOutcome:
        """Return the outcome of the study of these rankings."""
        study = CachedStudy(self._parts, self._fills, self._request)
        measured = study.measure(scores)
        return study.conclude(measured, judge_family([study.study], [measured])[0])

    def tested(self, scores: Scores) -> list[TestedCluster]:
        """Return the curves of each cluster."""
        test = FillTests.of(self._request, self._fills).main
        self.context.meter.plan(STAGE, 0, 0)
        return test.run(scores)


@contextmanager
def job(setup: Setup, seed: int) -> Iterator[Job]:
    """Prepare the job of a seed: each seed draws its own examples, halves and random orders."""
    program, request = nets.program(setup.net), setup.job(seed)
    units = nets.SIDE**2 if setup.net is nets.Channels else nets.UNITS
    with TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        x, y = setup.data.draw(np.random.default_rng(seed), units)
        np.savez(path, x=x, y=y)
        with open_table(path) as table:
            context = prepare(request, CONTENT, program, table, lambda progress: None)
            batch = rows_at_once(program)
            yield Job(Fills(context, find_baselines(context, batch), batch))
