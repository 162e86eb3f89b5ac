"""The page of one unit: importance everywhere, its effect, and the examples that move it."""

from typing import Annotated, Any

from anyio.to_thread import run_sync
from fastapi import APIRouter, Path, Query, Request, Response

from unitrank_schemas.result_text import number
from unitrank_service.backend import Backend, backend_of
from unitrank_service.http.parameters import Id
from unitrank_service.results.stored_result import StoredResult
from unitrank_service.results.summary import Selection
from unitrank_service.results.unit import unit_body
from unitrank_service.web.job_view import job_line
from unitrank_service.web.pages import PageRoute, page
from unitrank_service.web.result_examples import class_names, reader

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
    request: Request, id: Id, unit: Annotated[int, Path(ge=0, le=2**53)], cluster: Text = "", ranking: Text = ""
) -> Response:
    """One unit of a result. `cluster`, `ranking`: those whose examples are shown."""
    backend = backend_of(request)

    def render() -> Response:
        return page(request, "unit.html", **_values(id, unit, cluster, ranking, backend))

    return await run_sync(render, limiter=backend.result_threads)


def _values(id: str, unit: int, cluster: str, ranking: str, backend: Backend) -> Json:
    record = backend.jobs.get(id)
    body = unit_body(StoredResult(record, backend.results, backend.jobs.result_ttl), unit, Selection())
    rankings = {each["id"]: each["clusters"] for each in body["rankings"]}
    chosen_ranking = ranking if ranking in rankings else next(iter(rankings))
    clusters = list(rankings[chosen_ranking])
    chosen_cluster = cluster if cluster in clusters else _strongest(rankings[chosen_ranking])
    entry = rankings[chosen_ranking][chosen_cluster]
    digest = body["dataset"]["digest"]
    names, classes = class_names(record, digest, backend)
    lists = {title: entry[kind][side] for (kind, side), title in LISTS.items() if entry[kind] is not None}
    rows = {example["row"] for examples in lists.values() for example in examples}
    views = reader(record, digest, names).read(rows, backend.datasets, backend.blobs)
    lines = [_line(name, place, value) for name, of_clusters in rankings.items() for place, value in of_clusters.items()]
    return {
        "job": job_line(record),
        "unit": unit,
        "name": body["name"] if body["layer"].get("unit_word") else f"unit {unit}",
        "count": body["layer"]["count"],
        "index": ", ".join(map(str, body["index"])),
        "shape": body["layer"]["shape"],
        "units_are": body["layer"]["units"],
        "lines": lines[:MOST_LINES],
        "left_out": max(0, len(lines) - MOST_LINES),
        "has_effects": any(line["effect"] for line in lines),
        "missing": body["missing"],
        "rankings": list(rankings),
        "clusters": clusters,
        "ranking": chosen_ranking,
        "cluster": chosen_cluster,
        "entry": entry,
        "lists": [
            (title, [(views[example["row"]], number(example["value"])) for example in examples])
            for title, examples in lists.items()
        ],
        "rows_missing": views.missing,
        "names": names,
        "classes": classes,
    }


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
