"""Given: scores that the client brings, for each example or as the importance itself.

With `field`, the dataset has the scores of each example, and the method reads them. With
`importance` or `scores`, the job brings the importance of each cluster: no example has a score.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unitrank_engine.errors import EngineError
from unitrank_engine.job.context import JobContext
from unitrank_engine.job.units import PlaceUnits
from unitrank_engine.methods.method import ScoringMethod
from unitrank_schemas.methods import NO_ROW, Given, MethodBase
from unitrank_tables import Table


class GivenMethod(ScoringMethod):
    """s = the number in the dataset's field."""

    @classmethod
    def points(cls, entry: MethodBase) -> dict[float, bool]:
        return {}

    def scores(self) -> Float[Tensor, "rows ..."]:
        assert isinstance(self.entry, Given)
        assert self.entry.field is not None
        field, context = self.entry.field, self.batch.context
        values = context.examples.table.read(field, self.batch.rows)
        _refuse_wrong_shape(f"field {field!r}", values.shape[1:], context.units)
        finite = np.isfinite(values).reshape(len(values), -1).all(1)
        if not finite.all():
            row = int(self.batch.rows[np.flatnonzero(~finite)[0]])
            detail = f"field {field!r} is NaN or infinite in row {row}; scores must be finite: correct them, or leave the row out"
            raise EngineError("non_finite", detail)
        # Integers and half precision are widened, so that a sum over a channel does not overflow.
        kept = values if values.dtype in (np.float32, np.float64) else values.astype(np.float64)
        return torch.from_numpy(np.ascontiguousarray(kept)).to(context.device)

    def by_unit(self) -> Float[Tensor, "rows units"]:
        units, scores = self.batch.context.units, self.scores()
        return units.reduce(scores) if _is_by_element(scores.shape[1:], units) else scores


FAMILY: dict[str, type[ScoringMethod]] = {"given": GivenMethod}


def made_on(entries: Sequence[MethodBase]) -> list[str]:
    """The boolean fields of the rows that made given scores, each once."""
    fields = {entry.made_on for entry in entries if isinstance(entry, Given)}
    return sorted(field for field in fields if field not in (None, NO_ROW))


def with_unknown_rows(entries: Sequence[MethodBase]) -> list[Given]:
    """The given entries that do not say which rows made their scores."""
    return [entry for entry in entries if isinstance(entry, Given) and entry.made_on is None]


def brought_importance(context: JobContext, tables: Mapping[str, Table]) -> dict[str, Float[np.ndarray, "clusters units"]]:
    """Ranking's id → its importance, for the rankings that bring their importance with the job.

    `tables`: reference of a dataset → its table, for the entries with `scores`.

    Raises EngineError `cluster_missing`, `cluster_unknown`, `duplicate_cluster`, `wrong_shape` or
    `non_finite`.
    """
    brought = {}
    for entry in context.request.methods:
        if isinstance(entry, Given) and not entry.scores_examples:
            try:
                brought[str(entry.id)] = _importance(context, entry, tables)
            except EngineError as error:
                raise error.for_ranking(str(entry.id), []) from error
    return brought


def _importance(context: JobContext, entry: Given, tables: Mapping[str, Table]) -> np.ndarray:
    names = [cluster.name for cluster in context.clusters]
    if isinstance(entry.importance, list):
        return np.stack([_by_unit(np.array(entry.importance, np.float64), "`importance`", context.units)] * len(names))
    if entry.scores is not None and "cluster" not in tables[entry.scores].fields:
        row = tables[entry.scores].read("importance", [0])[0].astype(np.float64)
        return np.stack([_by_unit(row, "the importance", context.units)] * len(names))
    given, values = _reader_of(tables[entry.scores]) if entry.scores is not None else _reader(entry.importance or {})
    _refuse_other_clusters(given, names)
    return np.stack([_by_unit(values(name), f"the importance of cluster {name!r}", context.units) for name in names])


Reader = tuple[Sequence[str], Callable[[str], np.ndarray]]
"""The clusters that have an importance, and a function from a cluster's name to its importance."""


def _reader(importance: Mapping[str, Sequence[float]]) -> Reader:
    return list(importance), lambda name: np.array(importance[name], np.float64)


def _reader_of(table: Table) -> Reader:
    """Read a dataset whose rows are clusters. Raises EngineError `duplicate_cluster`."""
    labels = table.read("cluster", slice(None)).tolist()
    row_of = {str(int(label)) if isinstance(label, bool) else str(label): row for row, label in enumerate(labels)}
    if len(row_of) < len(labels):
        twice = next(label for label in labels if labels.count(label) > 1)
        detail = f"cluster {str(twice)!r} has several rows in the dataset of the scores; give each cluster one row"
        raise EngineError("duplicate_cluster", detail)
    return list(row_of), lambda name: table.read("importance", [row_of[name]])[0].astype(np.float64)


def _refuse_other_clusters(given: Sequence[str], names: Sequence[str]) -> None:
    missing, unknown = [name for name in names if name not in set(given)], [name for name in given if name not in set(names)]
    clusters = ", ".join(map(repr, names[:20])) + (", …" if len(names) > 20 else "")
    if missing:
        detail = f"cluster {missing[0]!r} has no importance; give one for each cluster of the job: {clusters}"
        raise EngineError("cluster_missing", detail)
    if unknown:
        detail = f"the job has no cluster {unknown[0][:100]!r}; its clusters are {clusters}"
        raise EngineError("cluster_unknown", detail)


def _by_unit(values: np.ndarray, subject: str, units: PlaceUnits) -> Float[np.ndarray, " units"]:
    _refuse_wrong_shape(subject, values.shape, units)
    if not np.isfinite(values).all():
        unit = int(np.flatnonzero(~np.isfinite(values.reshape(-1)))[0])
        raise EngineError("non_finite", f"{subject} is NaN or infinite at position {unit}; it must be finite")
    tensor = torch.from_numpy(np.ascontiguousarray(values))[None]
    return np.asarray((units.reduce(tensor) if _is_by_element(values.shape, units) else tensor)[0].numpy())


def _is_by_element(shape: Sequence[int], units: PlaceUnits) -> bool:
    """Whether the values are those of the place's elements, and not one for each unit."""
    return tuple(shape) == units.place.shape != (units.count,)


def _refuse_wrong_shape(subject: str, shape: Sequence[int], units: PlaceUnits) -> None:
    accepted = {units.place.shape, (units.count,)}
    if tuple(shape) not in accepted:
        place, shapes = units.place, " or ".join(str(list(each)) for each in sorted(accepted, key=len))
        detail = f"{subject} has the shape {list(shape)} at the {place.at} of layer {place.layer!r}; expected {shapes}"
        raise EngineError("wrong_shape", detail)
