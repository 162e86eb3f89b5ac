"""One unit of a result, read from the arrays: importance, effect, and the examples that move it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unitrank_schemas.results import RankedLayer, layer_of_unit, name_of_unit
from unitrank_schemas.unit_examples import KEPT, LISTS
from unitrank_service.errors import HttpProblem
from unitrank_service.results.outline import Outline
from unitrank_service.results.stored_result import StoredResult
from unitrank_service.results.summary import Json, Selection
from unitrank_store.results.array_file import ArrayFile

MOST_RANKED = 2**24
"""Units of all selected rankings and clusters whose order is read for the ranks."""
KEPT_WHERE = (
    "they are kept for the first units of each ranking where clusters × units is at most 65536 "
    "(with the target class `each` clusters × units × classes at most 16384)"
)
MISSING = {
    "rank": "the selected clusters and rankings have too many units to count the ranks; name a cluster or a ranking",
    "effect": "the job did not measure the effect of this unit alone in every cluster; post it with `ablation.verify`, which "
    "measures the first units of each ranking, or with the method `exact_ablation`, which measures all units",
    "score": f"the result has no examples of this unit's scores: {KEPT_WHERE}, and not for given scores without examples; post the "
    "job with `units: channel`, with fewer clusters, or with `keep_examples` of at least the cluster's size",
    "activation": f"the result has no examples of this unit's values: {KEPT_WHERE}; post the job with `units: channel`, with fewer "
    "clusters, or with fewer methods",
}
"""Value of a unit → why it is null."""


def unit_body(stored: StoredResult, unit: int, selection: Selection) -> Json:
    """Return the unit's values; their schema is `unitrank_schemas.results.UnitResult`.

    Raises HttpProblem for a name or a unit that the result does not have.
    """
    with stored.summary_file() as file:
        summary = Outline.of(file).summary
    layer = summary["layer"]
    if unit >= layer["count"]:
        detail = f"unit {unit} not found; the layer {layer['name']!r} has the units 0 to {layer['count'] - 1}"
        raise HttpProblem("unit_not_found", detail)
    with stored.array_file() as arrays:
        rankings = list(UnitReader(summary, selection, arrays, unit).rankings())
    values = [cluster for ranking in rankings for cluster in ranking["clusters"].values()]
    subject = RankedLayer.model_validate(layer, extra="ignore")
    index = [int(place) for place in np.unravel_index(unit, layer["shape"])] if layer["shape"] else []
    return {
        "job": summary["job"],
        "dataset": summary["dataset"],
        "layer": layer,
        "unit": unit,
        "index": index,
        "name": name_of_unit(subject, unit),
        "rankings": rankings,
        "missing": {name: text for name, text in _reasons(subject, unit).items() if any(value[name] is None for value in values)},
    }


def _reasons(layer: RankedLayer, unit: int) -> dict[str, str]:
    """Value of a unit → why it is null."""
    part = layer_of_unit(layer, unit)
    if part is None:
        return MISSING
    own = f"the result of layer {part.layer!r} has it, as that of its unit {unit - part.first}"
    return MISSING | dict.fromkeys(("effect", "score", "activation"), own)


@dataclass(frozen=True)
class UnitReader:
    """Reads the values of one unit in the selected rankings and clusters. `summary`: an outline."""

    summary: Json
    selection: Selection
    arrays: ArrayFile
    unit: int

    def rankings(self) -> Iterator[Json]:
        """Yield each selected ranking. Raises HttpProblem for an unknown name."""
        clusters = self.selection.clusters(self.summary)
        names = self.selection.rankings(self.summary)
        activations = {cluster: self._activation(row) for cluster, row in clusters.items()}
        has_ranks = len(clusters) * len(names) * self.summary["layer"]["count"] <= MOST_RANKED
        for ranking in self.summary["rankings"]:
            if ranking["id"] in names:
                of_clusters = {
                    cluster: {
                        **self._importance(ranking["id"], row, has_ranks),
                        "effect": self._effect(ranking, row),
                        "score": self._score(ranking["id"], cluster, row),
                        "activation": activations[cluster],
                    }
                    for cluster, row in clusters.items()
                }
                yield {"id": ranking["id"], "target_class": ranking.get("target_class"), "clusters": of_clusters}

    def _importance(self, id: str, row: int, has_ranks: bool) -> Json:
        name, count = f"importance/{id}", self.summary["layer"]["count"]
        value = self._number(name, row)
        if not has_ranks:
            return {"importance": _finite(value), "spread": self._spread(id, row), "rank": None}
        values = self.arrays.read(name, row * count, (row + 1) * count)
        # Equal units are in the order of their numbers, and NaN comes last.
        before = (values > value) if math.isfinite(value) else ~np.isnan(values)
        equal = values[: self.unit] == value if math.isfinite(value) else np.isnan(values[: self.unit])
        rank = 1 + int(np.count_nonzero(before)) + int(np.count_nonzero(equal))
        return {"importance": _finite(value), "spread": self._spread(id, row), "rank": rank}

    def _spread(self, id: str, row: int) -> float | None:
        name = f"spread/{id}"
        return _finite(self._number(name, row)) if name in self.arrays.arrays else None

    def _number(self, name: str, row: int) -> float:
        place = row * self.summary["layer"]["count"] + self.unit
        return float(self.arrays.read(name, place, place + 1)[0])

    def _effect(self, ranking: Json, row: int) -> Json | None:
        """The effect that this ranking's test measured, or another ranking of the same class."""
        rivals = [each for each in self.summary["rankings"] if each.get("target_class") == ranking.get("target_class")]
        for each in [ranking, *rivals]:
            place = self._place(f"verify/{each['id']}/units", row)
            if place is not None:
                effect = _finite(float(self._row(f"verify/{each['id']}/effects", row)[place]))
                if effect is not None:
                    return {"value": effect, "source": "verify", "ranking": each["id"]}
        for each in rivals:
            if each["method"].get("name") == "exact_ablation" and each["method"].get("statistic", "mean") == "mean":
                effect = _finite(self._number(f"importance/{each['id']}", row))
                if effect is not None:
                    return {"value": effect, "source": "exact_ablation", "ranking": each["id"]}
        return None

    def _score(self, id: str, cluster: str, row: int) -> Json | None:
        lists = self._lists(id, row)
        if lists is not None and lists["score_largest"]:
            return {"largest": lists["score_largest"], "smallest": lists["score_smallest"]}
        kept, rows = f"examples/{id}/{cluster}", f"rows/{cluster}"
        if kept not in self.arrays.arrays or self.arrays.arrays[kept].shape[0] < self.summary["clusters"][row]["examples"]:
            return None
        mapped = self.arrays.mapped()
        count = len(mapped[kept])
        return extremes_of(mapped[rows][:count], mapped[kept].reshape(count, -1)[:, self.unit])

    def _activation(self, row: int) -> Json | None:
        """The lists of any ranking that has this unit: activations do not depend on the ranking."""
        for ranking in self.summary["rankings"]:
            lists = self._lists(ranking["id"], row)
            if lists is not None and lists["activation_largest"]:
                return {"largest": lists["activation_largest"], "smallest": lists["activation_smallest"]}
        return None

    def _lists(self, id: str, row: int) -> dict[str, list[Json]] | None:
        """The examples of the unit by the names of `LISTS`; None where the result has none."""
        place = self._place(f"unit_examples/{id}/units", row)
        if place is None:
            return None
        rows, values = (self._row(f"unit_examples/{id}/{name}", row)[place] for name in ("rows", "values"))
        return {
            name: [{"row": number, "value": value} for number, value in zip(*pair, strict=True) if number >= 0]
            for name, pair in zip(LISTS, zip(rows.tolist(), values.tolist(), strict=True), strict=True)
        }

    def _place(self, name: str, row: int) -> int | None:
        """The unit's position in a cluster's list of units; None where it is not in the list."""
        if name not in self.arrays.arrays:
            return None
        (places,) = np.nonzero(self._row(name, row) == self.unit)
        return int(places[0]) if len(places) else None

    def _row(self, name: str, row: int) -> NDArray[Any]:
        """The part of an array that belongs to one cluster."""
        shape = self.arrays.arrays[name].shape[1:]
        width = math.prod(shape)
        return self.arrays.read(name, row * width, (row + 1) * width).reshape(shape)


def extremes_of(rows: NDArray[Any], values: NDArray[Any], most: int = KEPT) -> Json:
    """Return the examples with the largest and the smallest of the values."""

    def examples(order: NDArray[Any]) -> list[Json]:
        return [{"row": int(rows[place]), "value": float(values[place])} for place in order[:most]]

    return {"largest": examples(np.argsort(-values, kind="stable")), "smallest": examples(np.argsort(values, kind="stable"))}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
