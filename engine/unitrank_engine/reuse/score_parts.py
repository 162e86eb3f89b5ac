"""Scores as parts and back: a method's sums, the examples that are kept, and the errors of its predictions."""

from collections.abc import Callable

import numpy as np
import torch

from unitrank_engine.attribution.scores import Errors, PerExample, Scored
from unitrank_engine.attribution.statistics import Sums
from unitrank_engine.job.context import JobContext
from unitrank_engine.methods.batch import Notes
from unitrank_schemas.methods import MethodBase
from unitrank_tables.part import Part


def of_examples(examples: PerExample) -> Part:
    arrays = {name: getattr(examples, name) for name in ("f", "f_baseline", "classes", "flat", "at_baseline")}
    return Part(arrays if examples.right is None else arrays | {"right": examples.right})


def examples_from(part: Part) -> PerExample:
    arrays = dict(part.arrays)
    return PerExample(right=arrays.pop("right", None), **arrays)


def of_scored(scored: Scored) -> Part:
    notes = scored.notes
    says = {
        "warnings": [list(warning) for warning in notes.warnings],
        "lists": {name: sorted(values) for name, values in notes.lists.items()},
        "numbers": notes.numbers,
    }
    sums = scored.sums
    return Part({"sums": sums.sums.cpu().numpy(), "counts": sums.counts, "totals": scored.totals}, says)


def scored_from(part: Part, entry: MethodBase, context: JobContext) -> Scored:
    arrays, says = part.arrays, part.metadata
    sums = Sums(clusters=0, units=context.units.count, device=context.device)
    # a copy: what a part holds may not be written to
    sums.sums, sums.counts = torch.tensor(arrays["sums"], device=context.device), arrays["counts"]
    warnings = dict.fromkeys((code, detail) for code, detail in says["warnings"])
    notes = Notes(warnings, {name: set(values) for name, values in says["lists"].items()}, says["numbers"])
    return Scored(entry, sums, arrays["totals"], notes=notes)


def of_kept(scored: Scored) -> Part:
    clusters = [cluster for cluster, rows in scored.kept.items() for _ in rows]
    rows = [row for rows in scored.kept.values() for row in rows]
    return Part({"clusters": np.array(clusters, np.int64), "rows": torch.stack(rows).numpy()})


def kept_from(part: Part) -> dict[int, list[torch.Tensor]]:
    kept: dict[int, list[torch.Tensor]] = {}
    for cluster, row in zip(part.arrays["clusters"].tolist(), torch.tensor(part.arrays["rows"]), strict=True):
        kept.setdefault(cluster, []).append(row)
    return kept


def of_errors(errors: Errors | None) -> Part:
    assert errors is not None
    return Part({"predicted": errors.predicted, "actual": errors.actual})


def errors_from(part: Part) -> Errors:
    return Errors(part.arrays["predicted"], part.arrays["actual"])


MAKERS: dict[str, Callable[[Scored, Errors | None], Part]] = {
    "scores": lambda scored, errors: of_scored(scored),
    "kept": lambda scored, errors: of_kept(scored),
    "errors": lambda scored, errors: of_errors(errors),
}
"""Kind of part → what makes it."""
