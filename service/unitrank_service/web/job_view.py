"""The values that the page shows of a job: its state, and the parts of its result."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from unitrank_schemas.answer import answer_of
from unitrank_schemas.class_names import of_classes, with_class_names
from unitrank_schemas.result_text import errors_of_no_change, group_warnings, number, prediction_error
from unitrank_schemas.results import Result, name_of_unit
from unitrank_schemas.verdict_text import tested, verdict_in_words
from unitrank_service.results.parsed_result import parsed_result
from unitrank_service.results.report import ANSWER_CAPTION, MOST_CLUSTERS, origin
from unitrank_service.results.table_rows import cluster_line, comparison_lines, leader_line
from unitrank_store.contents.datasets import DatasetStore
from unitrank_store.errors import RecordNotFound
from unitrank_store.jobs.record import JobRecord

Json = dict[str, Any]

TABS = {
    "verdict": "Verdict",
    "curves": "Curves",
    "units": "Units",
    "heatmaps": "Heatmaps",
    "examples": "Examples",
    "warnings": "Warnings",
    "provenance": "Provenance",
    "request": "Request",
    "downloads": "Downloads",
}
LAYERS_TAB = "layers"
"""The tab that compares the layers of a job."""
LAYERED_TABS = {LAYERS_TAB: "Where in the network", **TABS}
"""The tabs of a job with several layers."""
MOST_MAPS = 12


@dataclass(frozen=True)
class TabChoice:
    """The tab that a request names, with its cluster and its ranking; "" leaves one out.

    `layer`: the layer of a job with several; "" for a job of one layer.
    """

    tab: str
    cluster: str
    ranking: str
    layer: str = ""


def result_values(summary: bytes, record: JobRecord, chosen: TabChoice, names: Mapping[str, str]) -> Json:
    """The values of the chosen tab of a result. `summary`: the result as JSON.

    `names`: number of a class → its name, for texts. The links of the page keep the ids.

    The process that draws runs this function for a large summary.
    """
    result = parsed_result(summary)
    tab = chosen.tab if chosen.tab in TABS else "verdict"
    source = TabSource(result, with_class_names(result, names), record, choice(result, chosen.cluster, chosen.ranking))
    return {
        "tab": tab,
        "tabs": LAYERED_TABS if chosen.layer else TABS,
        "layer": chosen.layer,
        "is_joint": bool(result.layer.parts),
        "dataset_digest": result.dataset.digest,
        "shape": result.layer.shape,
        "count": result.layer.count,
        "cluster_count": len(result.clusters),
        "warning_count": len(group_warnings(result.warnings)),
        **source.choice,
        **tab_values(tab, source),
        "names": names,
        "classes": names if of_classes(result) else {},
    }


def is_image(digest: str, record: JobRecord, datasets: DatasetStore) -> bool:
    """Whether an input can be drawn behind a heatmap. `digest`: that of the job's dataset."""
    try:
        fields = datasets.content(digest).fields or {}
    except RecordNotFound:
        return False
    named = (record.request.get("inputs") or {}).values()
    return any(len(fields[name]["shape"]) in (3, 4) for name in named if name in fields)


def choice(result: Result, cluster: str, ranking: str) -> Json:
    """All clusters and rankings, and the chosen ones; an unknown choice is replaced by the
    first.
    """
    rankings = [leader.ranking for leader in result.leaderboard] or [entry.id for entry in result.rankings]
    clusters = [entry.name for entry in result.clusters]
    return {
        "clusters": clusters,
        "rankings": rankings,
        "cluster": cluster if cluster in clusters else "",
        "ranking": ranking if ranking in rankings else "",
        "first_cluster": cluster if cluster in clusters else clusters[0],
        "first_ranking": ranking if ranking in rankings else rankings[0],
    }


@dataclass(frozen=True)
class TabSource:
    """The sources of a tab's values. `choice`: the values that the function `choice` returns.

    `worded`: the result with the names of classes.
    """

    result: Result
    worded: Result
    record: JobRecord
    choice: Json


def tab_values(tab: str, source: TabSource) -> Json:
    """The values that the template of a tab needs besides the choice."""
    values = TAB_VALUES.get(tab)
    return values(source) if values else {}


def _verdict(source: TabSource) -> Json:
    result = source.worded
    return {
        "answer": answer_of(result),
        "answer_ranking": answer_of(source.result).ranking,
        "answer_caption": ANSWER_CAPTION,
        "has_curves": _has_curves(result),
        "sentences": verdict_in_words(result),
        "leaders": [leader_line(leader, result) for leader in result.leaderboard],
        "comparisons": comparison_lines(result),
        "prediction_error": prediction_error(result),
        "no_change_differs": len(set(errors_of_no_change(result))) > 1,
        "agreement": len(result.rankings) > 1,
        "tested": tested(result),
    }


def _has_curves(result: Result) -> bool:
    """Whether the plot of the ablation can be drawn."""
    return any(cluster.ablation and cluster.ablation.random for each in result.rankings for cluster in each.clusters.values())


def _curves(source: TabSource) -> Json:
    result = source.result
    ranking = next(each for each in result.rankings if each.id == source.choice["first_ranking"])
    lines = [cluster_line(each, ranking, result.layer) for each in result.clusters]
    return {
        "tested": _has_curves(result),
        "specific": ranking.specificity is not None,
        "lines": lines[:MOST_CLUSTERS],
        "left_out": max(0, len(lines) - MOST_CLUSTERS),
    }


def _units(source: TabSource) -> Json:
    result = source.result
    ranking = next(each for each in result.rankings if each.id == source.choice["first_ranking"])
    cluster = ranking.clusters[source.choice["first_cluster"]]
    return {
        "top": [
            {
                "unit": unit.unit,
                "name": name_of_unit(result.layer, unit.unit) if result.layer.unit_word or result.layer.parts else str(unit.unit),
                "index": ", ".join(map(str, unit.index)),
                "importance": number(unit.importance),
                "interval": f"{number(unit.importance_low)} to {number(unit.importance_high)}",
                "spread": number(unit.spread),
                "in_top": "–" if unit.in_top is None else f"{unit.in_top:.0%}",
            }
            for unit in cluster.top
        ],
        "stability": number(cluster.stability),
        "cancellation": number(cluster.cancellation),
        "gap": number(cluster.completeness.relative_gap if cluster.completeness else None),
    }


def _heatmaps(source: TabSource) -> Json:
    result = source.result
    clusters = [source.choice["cluster"]] if source.choice["cluster"] else source.choice["clusters"]
    of_positions = result.layer.units == "position"
    return {
        "drawn": len(result.layer.shape) > 1 or of_positions,
        "maps": clusters[:MOST_MAPS],
        "left_out": max(0, len(clusters) - MOST_MAPS),
        "channels": result.layer.shape[result.layer.channel_axis or 0]
        if len(result.layer.shape) > 2 and not of_positions
        else None,
    }


def _warnings(source: TabSource) -> Json:
    return {"warnings": group_warnings(source.worded.warnings)}


def _provenance(source: TabSource) -> Json:
    result = source.result
    lines = origin(result, source.record)
    if result.cost.reused:
        lines.append(("reused", ", ".join(result.cost.reused)))
    options = {name: json.dumps(value, ensure_ascii=False) for name, value in result.provenance.options.items()}
    return {"lines": lines, "options": options}


TAB_VALUES = {
    "verdict": _verdict,
    "curves": _curves,
    "units": _units,
    "heatmaps": _heatmaps,
    "warnings": _warnings,
    "provenance": _provenance,
}
"""Tab → the function that makes its values; the other tabs need no values."""
