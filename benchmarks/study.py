"""Measure the ablation study of the demo's job: `python -m benchmarks.study`.

Each line compares two plans of the same study in turns, and has the median of the ratios of their
times:

- `before`: the plan of today against the plan of version 0.1, which had no relabelled controls, no
  kept units and no orders of other clusters (goal: at most 5 times)
- `random`: 999 random orders and relabelled controls against 99 (goal: at most 10.5 times)
- `specificity`: with and without the orders of other clusters (goal: at most 1.5 times)
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tests.engine.in_process import RESOLVED, program_of

from benchmarks.support.goals import report_missed
from unitrank.server import demo, demo_network
from unitrank_engine.ablation.masks.fill_test import FillTest
from unitrank_engine.ablation.masks.mask_runner import MaskRunner
from unitrank_engine.ablation.masks.orders import Orders
from unitrank_engine.job.baselines import find_baselines
from unitrank_engine.job.batch_size import rows_at_once
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.fills import Fills
from unitrank_engine.pipeline import prepare
from unitrank_schemas.jobs.study_plan import StudyPlan, check_plan, study_plan
from unitrank_schemas.methods import with_ids
from unitrank_tables import open_table

GOALS = {"before": 5.0, "random": 10.5, "specificity": 1.5}
"""Line → the largest ratio."""
RANDOM = 99


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="number of pairs of studies")
    parser.add_argument("--examples", type=int, default=200, help="test examples of each cluster, at most")
    parser.add_argument("--random", type=int, default=10 * RANDOM + 9, help="number of random orders that 99 are compared with")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        context = demo_context(Path(folder), arguments.examples)
        today = plan_of(context, RANDOM)
        old = replace(today, relabelled=0, clusters=0, keep=False)
        pairs = {
            "before": (plans_of(context, today), [old, replace(old, orders=("most",), activity=False)]),
            "random": (plans_of(context, plan_of(context, arguments.random)), plans_of(context, today)),
            "specificity": (plans_of(context, today), plans_of(context, replace(today, clusters=0))),
        }
        missed = []
        for name, (first, second) in pairs.items():
            times = [(seconds(context, first), seconds(context, second)) for _ in range(arguments.pairs + 1)][1:]
            ratio = statistics.median(one / other for one, other in times)
            print(f"{name:12} {min(times)[0]:8.3f} s {ratio:6.2f} times, goal {GOALS[name]:g}", flush=True)
            if ratio > GOALS[name]:
                missed.append(f"{name}: {ratio:.2f} times, not {GOALS[name]:g}")
    report_missed(missed)


def demo_context(folder: Path, examples: int) -> JobContext:
    """The context of the demo's job, with this number of test examples of each cluster, at most."""
    data = demo_network.digits(0)
    network, _ = demo_network.train(data, 0)
    np.savez(folder / "data.npz", x=data.test[0], y=data.test[1])
    request = demo.request(0)
    assert request.ablation is not None
    request = request.model_copy(
        update={
            "methods": with_ids(request.methods),
            "inputs": {"x": "x"},
            "labels": "y",
            "target": request.target.model_copy(update={"class_": "label"}),
            "ablation": request.ablation.model_copy(update={"examples": examples}),
        }
    )
    program = program_of(network, torch.from_numpy(data.test[0][:2]))
    return prepare(request, RESOLVED, program, open_table(folder / "data.npz").__enter__(), lambda progress: None)


def plan_of(context: JobContext, random: int) -> StudyPlan:
    ablation = context.request.ablation
    assert ablation is not None
    ablation = ablation.model_copy(update={"random": random})
    return study_plan(ablation, units=context.units.count, clusters=len(context.clusters), methods=context.request.methods)


def plans_of(context: JobContext, plan: StudyPlan) -> list[StudyPlan]:
    """The plan, and that of the test with `check_fill`."""
    assert context.request.ablation is not None
    check = check_plan(context.request.ablation, plan)
    return [plan, check] if check else [plan]


def seconds(context: JobContext, plans: list[StudyPlan]) -> float:
    """The seconds of CPU of a study with these plans; the importances are noise."""
    ablation = context.request.ablation
    assert ablation is not None
    generator, units = np.random.default_rng(0), context.units.count
    importance = {str(entry.id): list(generator.normal(size=(len(context.clusters), units))) for entry in context.request.methods}
    batch = rows_at_once(context.program)
    began = time.process_time()
    fills = Fills(context, find_baselines(context, batch), batch)
    runner = MaskRunner(context, batch, list(ablation.counts_of(units)))
    context.meter.plan("ablation", 0, 0.0)
    for plan, fill in zip(plans, (ablation.fill, ablation.check_fill), strict=False):
        test = FillTest(plan=plan, fill=fill or ablation.fill, fills=fills, runner=runner, orders=Orders(units, context.streams))
        test.run(importance)
    return time.process_time() - began


if __name__ == "__main__":
    main()
