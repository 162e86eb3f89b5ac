"""The leaderboard of a result, and the table over its layers, as rows of text and as Markdown."""

import html
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from unitrank_schemas.class_names import with_class_names
from unitrank_schemas.layer_lines import layer_lines
from unitrank_schemas.results import JOINT, VERDICT_LABELS, LayeredResult, RankedLayer, Result, Warn
from unitrank_schemas.verdict_text import verdict_in_words

LEADER_COLUMNS = ("verdict over all clusters", "strength", "ranking", "p", "clusters better", "area", "prediction error")
MISSING = "–"
TOGETHER = "all layers together"
NO_CLASSES: Mapping[str, str] = MappingProxyType({})
STRENGTHS = {True: "robust", False: "fragile", None: MISSING}


def leader_rows(summary: Result) -> list[tuple[str, ...]]:
    """The rows of the leaderboard as texts, in the order of LEADER_COLUMNS."""
    overall = {ranking.id: ranking.overall for ranking in summary.rankings}
    rows: list[tuple[str, ...]] = []
    for leader in summary.leaderboard:
        verdict = overall.get(leader.ranking)
        p = verdict.deciding_p if verdict else None
        strength = STRENGTHS[leader.robust] if leader.verdict == "better_than_random" else MISSING
        better = f"{leader.better_than_random} of {leader.of}"
        numbers = (MISSING if p is None else f"{p:.2g}", better, _number(leader.area), _number(leader.mae))
        rows.append((VERDICT_LABELS[leader.verdict], strength, leader.ranking, *numbers))
    return rows


LAYER_COLUMNS = (
    "layer",
    "units",
    "best ranking",
    "verdict over all clusters",
    "strength",
    "area",
    "selectivity",
    "units for 90 %",
)


def layer_texts(summary: LayeredResult, classes: Mapping[str, str]) -> list[tuple[str, ...]]:
    """The rows of the table over the layers as texts, in the order of LAYER_COLUMNS."""
    results = {name: with_class_names(summary.of_layer(name), classes) for name in ranked_parts(summary)}
    return [
        (
            title_of(line.layer, summary),
            str(line.count),
            line.ranking,
            VERDICT_LABELS[line.verdict],
            STRENGTHS[line.robust] if line.verdict == "better_than_random" else MISSING,
            _number(line.area),
            _number(line.selectivity),
            MISSING if line.units_for_90 is None else str(line.units_for_90),
        )
        for line in layer_lines(results)
    ]


def ranked_parts(summary: LayeredResult) -> list[str]:
    """The layers, and `joint`, that have a ranking. A selected part of a result may have none."""
    return [name for name, part in summary.parts().items() if part.rankings]


def title_of(name: str, summary: LayeredResult) -> str:
    """The name of a layer, or words for the units of all layers together."""
    return TOGETHER if name == JOINT and summary.joint else name


def summary_table(summary: Result | LayeredResult, classes: Mapping[str, str]) -> tuple[Sequence[str], list[tuple[str, ...]]]:
    """The columns and the rows of the leaderboard, or of the table over the layers."""
    if isinstance(summary, LayeredResult):
        return LAYER_COLUMNS, layer_texts(summary, classes)
    return LEADER_COLUMNS, leader_rows(with_class_names(summary, classes))


def markdown(summary: Result | LayeredResult, classes: Mapping[str, str] = NO_CLASSES) -> str:
    """The verdict in words, the leaderboard or the table over the layers, and the warnings.

    `classes`: number of a class, as text → its name.
    """
    if isinstance(summary, LayeredResult):
        return _layers_markdown(summary, classes)
    return _leader_markdown(with_class_names(summary, classes))


def _leader_markdown(summary: Result) -> str:
    name = TOGETHER if summary.layer.parts else f"`{summary.layer.name}`"
    title = f"### Units of {name}: {summary.layer.count}, {clusters_in_words(summary)}"
    lines = [*verdict_in_words(summary), "", title, ""]
    lines += _table(LEADER_COLUMNS, leader_rows(summary))
    return _text(lines, map(_warning, summary.warnings))


def _layers_markdown(summary: LayeredResult, classes: Mapping[str, str]) -> str:
    parts = {name: with_class_names(summary.of_layer(name), classes) for name in ranked_parts(summary)}
    verdicts = [f"- {title_of(name, summary)}: {' '.join(verdict_in_words(part)[:2])}" for name, part in parts.items()]
    title = f"### {len(summary.layers)} layers, {clusters_in_words(summary)}"
    table = _table(LAYER_COLUMNS, layer_texts(summary, classes))
    # The warnings that hold for every layer come first in each part.
    shared, count = len(summary.warnings), len(summary.clusters)
    warnings = _grouped(next(iter(parts.values())).warnings[:shared], count)
    for name, part in parts.items():
        warnings += _grouped(part.warnings[shared:], count, f", layer {title_of(name, summary)}")
    return _text([*verdicts, "", title, "", *table], warnings)


def _grouped(warnings: Sequence[Warn], clusters: int, layer: str = "") -> list[str]:
    """A line for each code and ranking, with the detail of the first cluster.

    `clusters`: the number of clusters. `layer`: words for the layer.
    """
    groups: dict[tuple[str, str | None], list[Warn]] = {}
    for each in warnings:
        groups.setdefault((each.code, each.ranking), []).append(each)
    lines = []
    for group in groups.values():
        names = [each.cluster for each in group if each.cluster is not None]
        where = f" in {len(names)} of {clusters} clusters, such as {names[0]}" if len(names) > 1 else ""
        first = group[0].model_copy(update={"cluster": None}) if where else group[0]
        lines.append(_warning(first, f"{where}{layer}"))
    return lines


def place_of(layer: RankedLayer) -> str:
    """The name of the layer, or words for the units of all layers together."""
    return TOGETHER if layer.parts else layer.name


def html_table(caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table for a notebook."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>{html.escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def clusters_in_words(summary: Result | LayeredResult) -> str:
    """The number of clusters, such as `3 clusters`."""
    return f"{len(summary.clusters)} cluster{'s' if len(summary.clusters) != 1 else ''}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [_row(columns), _row(["---"] * len(columns)), *map(_row, rows)]


def _warning(warn: Warn, place: str = "") -> str:
    ranking = f" of {warn.ranking}" if warn.ranking else ""
    cluster = f" in cluster {warn.cluster}" if warn.cluster is not None else ""
    return f"- `{warn.code}`{ranking}{cluster}{place}: {warn.detail}"


def _text(lines: Sequence[str], warnings: Iterable[str]) -> str:
    """The lines, and each warning once behind them."""
    once = list(dict.fromkeys(warnings))
    return "\n".join([*lines, *(["", *once] if once else [])]) + "\n"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _number(value: float | None) -> str:
    return MISSING if value is None else f"{value:.3f}"
