"""The page of one unit: importance everywhere, its effect, and the examples that move it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query, Request, Response

from unitrank_schemas.result_text import number
from unitrank_schemas.results import RankedLayer, layer_of_unit
from unitrank_service.backend import Backend, backend_of
from unitrank_service.http.parameters import Id
from unitrank_service.results.stored_result import StoredResult
from unitrank_service.results.summary import Selection
from unitrank_service.results.unit import unit_body
from unitrank_service.web.job_line import job_line
from unitrank_service.web.pages import PageRoute, page
from unitrank_service.web.result_examples import class_names, reader
from unitrank_store.jobs.record import JobRecord

router = APIRouter(include_in_schema=False, route_class=PageRoute)

Json = dict[str, Any]
Text = Annotated[str, Query(max_length=300)]
MOST_LINES = 200
"""Rows of the table of importance. The API has all of them."""
LISTS = {
    ("score", "largest"): "Highest scores",
    ("score", "smallest"): "Lowest scores",
    ("activation", "largest"): "Highest activations",
    ("activation", "smallest"): "Lowest activations",
}


@router.get("/jobs/{id}/units/{unit}")
async def show_unit(
    request: Request,
    id: Id,
    unit: Annotated[int, Path(ge=0, le=2**53)],
    cluster: Text = "",
    ranking: Text = "",
    layer: Annotated[str, Query(max_length=512)] = "",
) -> Response:
    """One unit of a result. `cluster`, `ranking`: those whose examples are shown.

    `layer`: that of the unit; "" for the first.
    """
    backend = backend_of(request)

    def render() -> Response:
        return page(request, "unit.html", **_values(id, unit, UnitChoice(cluster, ranking, layer), backend))

    return await run_sync(render, limiter=backend.result_threads)


@dataclass(frozen=True)
class UnitChoice:
    """The cluster, ranking and layer of a unit; "" leaves one out."""

    cluster: str
    ranking: str
    layer: str


def _values(id: str, unit: int, choice: UnitChoice, backend: Backend) -> Json:
    record = backend.jobs.get(id)
    stored = StoredResult(record, backend.results, backend.jobs.result_ttl).of_layer(choice.layer or None)
    body = unit_body(stored, unit, Selection())
    rankings = {each["id"]: each["clusters"] for each in body["rankings"]}
    ranking = choice.ranking if choice.ranking in rankings else next(iter(rankings))
    clusters = rankings[ranking]
    cluster = choice.cluster if choice.cluster in clusters else _strongest(clusters)
    return {
        "job": job_line(record),
        "unit": unit,
        "layer": stored.layer or "",
        **_about(body, unit),
        **_importance(rankings),
        "missing": body["missing"],
        "rankings": list(rankings),
        "clusters": list(clusters),
        "ranking": ranking,
        "cluster": cluster,
        "entry": clusters[cluster],
        **_examples(clusters[cluster], record, body["dataset"]["digest"], backend),
    }


def _about(body: Json, unit: int) -> Json:
    """The name of the unit, its layer and its place there."""
    layer, subject = body["layer"], RankedLayer.model_validate(body["layer"], extra="ignore")
    return {
        "name": body["name"] if subject.unit_word or subject.parts else f"unit {unit}",
        "layer_name": subject.name,
        "own": _in_its_layer(subject, unit),
        "count": layer["count"],
        "index": ", ".join(map(str, body["index"])),
        "shape": layer["shape"],
        "units_are": layer["units"],
    }


def _importance(rankings: Mapping[str, Json]) -> Json:
    """The rows of the table of importance."""
    lines = [_line(name, place, value) for name, of_clusters in rankings.items() for place, value in of_clusters.items()]
    return {
        "lines": lines[:MOST_LINES],
        "left_out": max(0, len(lines) - MOST_LINES),
        "has_effects": any(line["effect"] for line in lines),
    }


def _examples(entry: Json, record: JobRecord, digest: str, backend: Backend) -> Json:
    """The examples that move the unit most. `digest`: that of the dataset."""
    names, classes = class_names(record, digest, backend)
    lists = {title: examples for kind in ("score", "activation") if entry[kind] for title, examples in _extremes(kind, entry[kind])}
    rows = {example["row"] for examples in lists.values() for example in examples}
    views = reader(record, digest, names).read(rows, backend.datasets, backend.blobs)
    return {
        "lists": [
            (title, [(views[example["row"]], number(example["value"])) for example in examples])
            for title, examples in lists.items()
        ],
        "rows_missing": views.missing,
        "names": names,
        "classes": classes,
    }


def _extremes(kind: str, extremes: Json) -> list[tuple[str, list[Json]]]:
    """The title and the examples of each list; one list if all examples have the same value."""
    largest, smallest = extremes["largest"], extremes["smallest"]
    if largest and largest[0]["value"] == smallest[0]["value"]:
        return [(f"All examples have this {kind}", largest)]
    return [(LISTS[kind, side], extremes[side]) for side in ("largest", "smallest")]


def _strongest(clusters: Json) -> str:
    """The cluster in which the unit has the largest importance."""
    return max(clusters, key=lambda name: clusters[name]["importance"] if clusters[name]["importance"] is not None else -1e300)


def _line(ranking: str, cluster: str, value: Json) -> Json:
    effect = value["effect"]
    return {
        "ranking": ranking,
        "cluster": cluster,
        "importance": number(value["importance"]),
        "spread": number(value["spread"]),
        "rank": "–" if value["rank"] is None else f"{value['rank']:,}",
        "effect": effect and f"{number(effect['value'])}",
        "source": effect and {"verify": "test examples", "exact_ablation": "all examples"}[effect["source"]],
    }


def _in_its_layer(layer: RankedLayer, unit: int) -> tuple[str, int] | None:
    """The layer and the number there of a unit of all layers together; None for another unit."""
    part = layer_of_unit(layer, unit)
    return None if part is None else (part.layer, unit - part.first)
