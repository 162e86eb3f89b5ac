"""Converts scores to parts and back: a method's sums, its kept examples, and its drops."""

from collections.abc import Callable

import numpy as np
import torch

from unitrank_engine.attribution.baselines.agreement import BaselineSpread
from unitrank_engine.attribution.bootstrap import STATISTICS
from unitrank_engine.attribution.examples.extremes import extremes_arrays, extremes_from
from unitrank_engine.attribution.examples.sampling_errors import SamplingErrors
from unitrank_engine.attribution.examples.sums import ExampleSums, GapSums, TotalSums
from unitrank_engine.attribution.projections import AVERAGED
from unitrank_engine.attribution.scores import Drops, MethodScores
from unitrank_engine.attribution.statistics import Sums
from unitrank_engine.job.context import JobContext
from unitrank_engine.methods.batch import Notes
from unitrank_schemas.methods import MethodBase, PathMethod, Statistic
from unitrank_tables.part import Part
from unitrank_tables.range_result import RangeResult

ROWS = ("classes", "labels", "activation/values", "activation/rows")
"""The arrays of `ExampleSums` that are not added."""


def of_examples(examples: ExampleSums) -> Part:
    """Make a part of the sums that do not depend on the method."""
    result = examples.result()
    return Part({**result.sums, **result.rows})


def examples_from(part: Part) -> ExampleSums:
    """Read the part that `of_examples` made. Raises KeyError for a damaged part."""
    rows = {name: part.arrays[name] for name in ROWS if name in part.arrays}
    return ExampleSums.from_result(RangeResult({name: each for name, each in part.arrays.items() if name not in ROWS}, rows))


def of_scores(scores: MethodScores) -> Part:
    """Make a part of a method's sums, totals and notes, without its kept examples."""
    metadata = scores.notes.to_json()
    sums, totals = scores.sums, scores.totals
    assert totals is not None
    arrays = {"sums": sums.sums.cpu().numpy(), "counts": sums.counts, "total": totals.total, "gap": totals.gap}
    arrays |= {f"in_top/{statistic}": shares for statistic, shares in scores.in_top.items()}
    arrays |= extremes_arrays("extremes", scores.extremes)
    arrays |= {} if scores.errors is None else {"errors": scores.errors.sums.cpu().numpy()}
    for statistic, each in scores.over_baselines.items():
        arrays |= {f"baseline_spread/{statistic}": each.spread, f"baseline_agreement/{statistic}": each.agreement}
    gaps = scores.path_gaps
    return Part(arrays if gaps is None else arrays | {"path_gaps": gaps.sums}, metadata)


def scores_from(part: Part, entry: MethodBase, context: JobContext) -> MethodScores:
    """Read the part that `of_scores` made.

    Raises KeyError, TypeError or ValueError for a damaged part.
    """
    arrays, metadata = part.arrays, part.metadata
    # A copy, because a part's arrays can be read-only.
    sums = Sums.of(np.array(arrays["sums"]), arrays["counts"], device=context.device)
    notes = Notes.from_json(metadata)
    gaps = GapSums(arrays["path_gaps"]) if isinstance(entry, PathMethod) else None
    in_top = {statistic: arrays[f"in_top/{statistic}"] for statistic in STATISTICS if f"in_top/{statistic}" in arrays}
    totals = TotalSums(arrays["total"], arrays["gap"])
    extremes = extremes_from("extremes", arrays)
    errors = SamplingErrors(torch.from_numpy(np.array(arrays["errors"])).to(context.device)) if "errors" in arrays else None
    over_baselines = {
        statistic: BaselineSpread(arrays[f"baseline_spread/{statistic}"], arrays[f"baseline_agreement/{statistic}"])
        for statistic in STATISTICS
        if f"baseline_spread/{statistic}" in arrays
    }
    return MethodScores(
        entry,
        sums,
        totals,
        notes=notes,
        path_gaps=gaps,
        in_top=in_top,
        extremes=extremes,
        errors=errors,
        over_baselines=over_baselines,
    )


def of_kept(scores: MethodScores) -> Part:
    """Make a part of the scores of a method's kept examples."""
    clusters = [cluster for cluster, rows in scores.kept.items() for _ in rows]
    rows = [row for rows in scores.kept.values() for row in rows]
    return Part({"clusters": np.array(clusters, np.int64), "rows": torch.stack(rows).numpy()})


def kept_from(part: Part) -> dict[int, list[torch.Tensor]]:
    """Read the part that `of_kept` made: cluster → scores of its kept examples."""
    kept: dict[int, list[torch.Tensor]] = {}
    for cluster, row in zip(part.arrays["clusters"].tolist(), torch.tensor(part.arrays["rows"]), strict=True):
        kept.setdefault(cluster, []).append(row)
    return kept


def of_projections(scores: MethodScores) -> Part:
    """Make a part of the projections of a method's scores."""
    return Part({str(statistic): rows for statistic, rows in scores.projections.items()})


def projections_from(part: Part) -> dict[Statistic, np.ndarray]:
    """Read the part that `of_projections` made: statistic → projections."""
    return {statistic: part.arrays[statistic] for statistic in AVERAGED if statistic in part.arrays}


def of_drops(drops: Drops | None) -> Part:
    """Make a part of a method's predicted and actual drops."""
    assert drops is not None
    arrays = {"predicted": drops.predicted, "actual": drops.actual}
    return Part(arrays if drops.sums is None else arrays | {"sums": drops.sums})


def drops_from(part: Part) -> Drops:
    """Read the part that `of_drops` made. Raises KeyError for a damaged part."""
    return Drops(part.arrays["predicted"], part.arrays["actual"], part.arrays.get("sums"))


MAKERS: dict[str, Callable[[MethodScores, Drops | None], Part]] = {
    "scores": lambda scores, drops: of_scores(scores),
    "kept": lambda scores, drops: of_kept(scores),
    "projections": lambda scores, drops: of_projections(scores),
    "errors": lambda scores, drops: of_drops(drops),
}
"""Kind of part → the function that makes it. The kinds are in fingerprints of stored parts."""
