"""The arrays of a result, in full."""

import numpy as np
import torch

from unitrank_engine.ablation.cluster_batches import tested_rows
from unitrank_engine.attribution.examples.extremes import Extremes
from unitrank_engine.job.baselines import baseline_rows
from unitrank_engine.job.context import JobContext
from unitrank_engine.result.heatmaps import heatmaps
from unitrank_engine.result.outcome import JobOutcome, TargetOutcome
from unitrank_engine.result.unit_examples import unit_examples
from unitrank_schemas.checks.size import MOST_LISTED
from unitrank_schemas.methods import CLASS_MARK
from unitrank_schemas.unit_examples import units_with_examples

FIRST_LISTED = 1000
"""Rows of each cluster that the result of a very large job lists, at least."""


def arrays(outcome: JobOutcome) -> dict[str, np.ndarray]:
    """Return the result's arrays by name; clusters are in the summary's order.

    Numbers of units and of rows are int64, all others are float32.
    """
    # The examples of a unit stand at its layer.
    activation = None if outcome.context.joint else outcome.targets[0].attribution.examples.activation
    sizes = {
        "rankings": sum(len(target.entries) for target in outcome.targets),
        "clusters": len(outcome.context.clusters),
        "units": outcome.context.units.count,
        "classes": len(outcome.targets),
    }
    kept = units_with_examples(**sizes) if activation else 0
    full = {name: array for target in outcome.targets for name, array in _of_target(target, activation, kept).items()}
    full = {
        name: np.ascontiguousarray(array, dtype=np.int64 if array.dtype.kind == "i" else np.float32) for name, array in full.items()
    }
    return full | of_whole_job(outcome)


def of_whole_job(outcome: JobOutcome) -> dict[str, np.ndarray]:
    """Return the arrays that are equal for all layers of a job: the numbers of dataset rows."""
    context, listed = outcome.context, listed_rows(outcome.context)
    full = {f"rows/{each.name}": np.ascontiguousarray(each.rows[:listed], dtype=np.int64) for each in context.clusters}
    full |= {name: rows.astype(np.int64) for name, rows in baseline_rows(context).items()}
    if any(target.study for target in outcome.targets):
        full["tests/rows"] = np.concatenate(context.once(tested_rows)).astype(np.int64)
    return full


def listed_rows(context: JobContext) -> int | None:
    """Return the number of rows of each cluster that the result lists, at most; None: all."""
    ranked = sum(len(cluster.rows) for cluster in context.clusters)
    return None if ranked <= MOST_LISTED else max(FIRST_LISTED, context.request.keep_examples)


def _of_target(outcome: TargetOutcome, activation: Extremes | None, with_examples: int) -> dict[str, np.ndarray]:
    """The arrays of one target. `with_examples`: units of each ranking that have examples."""
    context = outcome.context
    full: dict[str, np.ndarray] = {}
    for entry in outcome.entries:
        moments = [outcome.moments(entry, index) for index in range(len(context.clusters))]
        full[f"importance/{entry.id}"] = np.stack([each.importance(entry.statistic) for each in moments])
        full[f"spread/{entry.id}"] = np.stack([each.spread(entry.statistic) for each in moments])
        errors = outcome.scores(entry).standard_errors(entry.statistic)
        if errors is not None:
            full[f"standard_error/{entry.id}"] = errors
        over_baselines = outcome.scores(entry).over_baselines.get(entry.statistic)
        if over_baselines is not None:
            full[f"baseline_spread/{entry.id}"] = over_baselines.spread
        study = outcome.study_of(entry)
        if study:
            for order, curves in study.arrays.items():
                full[f"ablation/{entry.id}/{order}"] = curves
            for order, drops in study.tests.items():
                full[f"tests/{order}/{entry.id}"] = drops
        steps = outcome.removal_steps.get(str(entry.id))
        if steps is not None:
            full[f"least_step/{entry.id}"] = steps
        exact = outcome.exact.get(str(entry.id))
        if exact and exact.pairs is not None:
            full[f"pairs/{entry.id}"] = exact.pairs
        if exact and exact.effects is not None:
            full |= {f"verify/{entry.id}/{name}": array for name, array in exact.effects.items()}
        if activation and with_examples:
            of_units = unit_examples(full[f"importance/{entry.id}"], outcome.scores(entry).extremes, activation, with_examples)
            full |= {f"unit_examples/{entry.id}/{name}": array for name, array in of_units.items()}
        kept = {context.clusters[index].name: torch.stack(rows) for index, rows in outcome.scores(entry).kept.items()}
        for name, rows in kept.items():
            full[f"examples/{entry.id}/{name}"] = rows.reshape(-1, *context.units.shape).float().numpy()
        full |= heatmaps(entry, context.units, full[f"importance/{entry.id}"], {name: rows.numpy() for name, rows in kept.items()})
    if outcome.study:
        number = context.target_class
        mark = "" if number is None else f"{CLASS_MARK}{number}"
        full[f"ablation/random{mark}"] = outcome.study.random
        full[f"tests/all_replaced{mark}"] = outcome.study.all_replaced
    return full
