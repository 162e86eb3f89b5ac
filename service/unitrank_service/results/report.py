"""A job's report: one HTML file without external files. It begins with the verdict in words."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

import unitrank_plots
from unitrank_plots.choice import Arrays
from unitrank_plots.class_names import in_words
from unitrank_schemas.answer import Answer, answer_of
from unitrank_schemas.leading import leading
from unitrank_schemas.result_text import errors_of_no_change, group_warnings, prediction_error, sentence
from unitrank_schemas.results import Result, units_noun
from unitrank_schemas.verdict_text import verdict_in_words
from unitrank_service.results.layers.local_arrays import LocalArrays
from unitrank_service.results.layers.overview import overview
from unitrank_service.results.parsed_result import parsed_layers, parsed_result
from unitrank_service.results.table_rows import cluster_line, comparison_lines, leader_line
from unitrank_store.jobs.record import JobRecord

MOST_CLUSTERS = 30
"""Clusters in the table of clusters."""
ANSWER_CAPTION = (
    "Left: the score while units are replaced in the order of the list, and the band of random orders; lower is better. "
    "Right: the score while only the first units of the list are kept; higher is better."
)
LAYERS_CAPTION = (
    "For each layer: the area of its best ranking, coloured by its verdict, its selectivity, and the share of the units that keep "
    "90 % of the score."
)
MOST_MAPS = 6
"""Clusters with a heatmap."""


@dataclass(frozen=True)
class Picture:
    """An image of the report. `source`: its bytes as a `data:` URL."""

    source: str
    caption: str


def report(summary: bytes, arrays: LocalArrays, record: JobRecord, classes: Mapping[str, str], layers: bytes | None = None) -> str:
    """Return the report as HTML. `summary`: the result as JSON. `arrays`: the file with its arrays.

    `classes`: number of a class → its name. `layers`: the result of all layers, for a report that
    begins with an overview of them.

    The process that draws runs this function.
    """
    with arrays.open() as file:
        named = in_words(parsed_result(summary), file.mapped(), unitrank_plots.Choice(classes=classes))
        return _template().render(_values(*named[:2], record) | _overview(layers, classes))


def _values(result: Result, arrays: Arrays, record: JobRecord) -> dict[str, Any]:
    """The values of the template. Its details are those of the best ranking."""
    ranking = leading(result)
    answer = answer_of(result)
    return {
        "result": result,
        "noun": units_noun(result.layer),
        "finished": datetime.fromtimestamp(record.finished_at, UTC).strftime("%-d %B %Y, %H:%M UTC")
        if record.finished_at
        else None,
        "answer": answer,
        "answer_picture": _answer_picture(answer, result, arrays),
        "sentences": verdict_in_words(result),
        "leaders": [leader_line(leader, result) for leader in result.leaderboard],
        "prediction_error": prediction_error(result),
        "no_change_differs": len(set(errors_of_no_change(result))) > 1,
        "pictures": list(_pictures(result, arrays, ranking.id)),
        "best": ranking.id,
        "comparisons": comparison_lines(result),
        "clusters": [cluster_line(cluster, ranking, result.layer) for cluster in result.clusters[:MOST_CLUSTERS]],
        "cluster_count": len(result.clusters),
        "left_out": max(0, len(result.clusters) - MOST_CLUSTERS),
        "maps": _maps(result, arrays, ranking.id),
        "warnings": group_warnings(result.warnings),
        "origin": origin(result, record),
        "request": json.dumps(_short(record.request), indent=2, ensure_ascii=False),
    }


def _overview(layers: bytes | None, classes: Mapping[str, str]) -> dict[str, Any]:
    """The values of the overview of all layers."""
    from unitrank_plots.figures import draw_layers, rendered

    if layers is None:
        return {"overview": None}
    result = parsed_layers(layers)
    values = overview(result, classes)
    image = rendered(draw_layers("layers", result, unitrank_plots.Choice()), "png") if values["tested"] else None
    return {"overview": values, "overview_picture": None if image is None else _of_png(image, LAYERS_CAPTION)}


def _pictures(result: Result, arrays: Arrays, best: str) -> list[Picture]:
    captions = {
        "leaderboard": "Area of each ranking over all clusters, coloured by its verdict.",
        "comparisons": "Differences between rankings, with intervals; right of 0 the first one is better.",
        "ablation": "Mean score while units are replaced in each ranking's order, and the band of the random orders; beside it, "
        "the mean score where only the first units are kept.",
        "specificity": "The area of each cluster's order on the examples of each cluster.",
        "importance": f"The most important units by {best} in cluster {result.clusters[0].name}, and all units in order.",
        "agreement": "Agreement of the rankings: Spearman's correlation.",
    }
    pictures = (_picture(name, caption, result, arrays, unitrank_plots.Choice()) for name, caption in captions.items())
    return [picture for picture in pictures if picture is not None]


def _answer_picture(answer: Answer, result: Result, arrays: Arrays) -> Picture | None:
    """The removal curves of the ranking that the answer is about."""
    choice = unitrank_plots.Choice(ranking=answer.ranking)
    return _picture("ablation", ANSWER_CAPTION, result, arrays, choice) if answer.ranking else None


def _maps(result: Result, arrays: Arrays, best: str) -> list[Picture]:
    if len(result.layer.shape) < 2 and result.layer.units != "position" and f"heatmap/{best}" not in arrays:
        return []
    names = [cluster.name for cluster in result.clusters[:MOST_MAPS]]
    pictures = (
        _picture("heatmap", f"{best} in cluster {name}", result, arrays, unitrank_plots.Choice(cluster=name, ranking=best))
        for name in names
    )
    return [picture for picture in pictures if picture is not None]


def _picture(name: str, caption: str, result: Result, arrays: Arrays, choice: unitrank_plots.Choice) -> Picture | None:
    """The plot with its caption; None where the result has no such plot."""
    from unitrank_plots.figures import draw, rendered

    try:
        image = rendered(draw(name, result, arrays, choice), "png")
    except unitrank_plots.NoPicture:
        return None
    return _of_png(image, caption)


def _of_png(image: bytes, caption: str) -> Picture:
    return Picture(f"data:image/png;base64,{base64.b64encode(image).decode()}", caption)


def origin(result: Result, record: JobRecord) -> list[tuple[str, str]]:
    """Return the names and values of the table of provenance."""
    return [
        ("model", f"{result.model.name or ''} {result.model.digest}".strip()),
        ("data", f"{result.dataset.name or ''} {result.dataset.digest}".strip()),
        ("layer", f"{result.layer.at} of {result.layer.name}, shape {result.layer.shape}"),
        ("job", f"{result.job}, attempt {record.attempt}"),
        ("seed", str(result.provenance.seed)),
        ("unitrank", result.provenance.version),
        ("torch", result.provenance.torch),
        ("device", result.cost.device),
        (
            "cost",
            f"{result.cost.seconds:.3g} s, {result.cost.forward_rows:,} rows forward, {result.cost.backward_rows:,} rows backward",
        ),
    ]


def _short(request: dict[str, Any]) -> dict[str, Any]:
    """The request without an inline dataset, and without its webhook.

    The webhook's URL may hold secrets, and readers pass reports on.
    """
    public = {name: value for name, value in request.items() if name != "webhook"}
    return public if isinstance(request.get("dataset"), str) else public | {"dataset": "sent with the request"}


@cache
def _template() -> Template:
    loader = PackageLoader("unitrank_service.web", "templates")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["sentence"] = sentence
    return environment.get_template("report.html")
