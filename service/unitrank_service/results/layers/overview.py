"""The layers of a job in a table, and the answer where in the network few units decide."""

from collections.abc import Mapping
from typing import Any

from unitrank_schemas.class_names import with_class_names
from unitrank_schemas.layer_answer import layer_answer
from unitrank_schemas.layer_lines import LayerLine, layer_lines
from unitrank_schemas.result_text import number
from unitrank_schemas.results import JOINT, VERDICT_LABELS, LayeredResult

Json = dict[str, Any]

TOGETHER = "all layers together"
"""The units of all layers together, in words."""
IN_SAMPLE = frozenset({"in_sample", "in_sample_unknown"})
"""Codes of warnings that the test used the examples that made the lists."""


def overview(result: LayeredResult, classes: Mapping[str, str], cluster: str | None = None, ranking: str | None = None) -> Json:
    """Return the answer and the rows of the table.

    `classes`: number of a class → its name. `cluster`, `ranking`: as `layer_lines` takes them.
    """
    layers = {name: result.of_layer(name) for name in result.layers}
    worded = {name: with_class_names(each, classes) for name, each in layers.items()}
    lines, first = layer_lines(layers, ranking, cluster), next(iter(layers))
    named = {each.name: own.name for each, own in zip(layers[first].clusters, worded[first].clusters, strict=True)}
    rankings = {each.id: own.id for each, own in zip(layers[first].rankings, worded[first].rankings, strict=True)}
    codes = {warning.code for each in layers.values() for warning in each.warnings}
    together = layer_lines({JOINT: result.of_layer(JOINT)}, ranking, cluster) if result.joint else []
    return {
        "answer": layer_answer(lines, named[cluster] if cluster else None, in_sample=bool(codes & IN_SAMPLE)),
        "lines": [_row(line, rankings) for line in [*lines, *together]],
        "tested": any(line.verdict is not None for line in lines),
        "cluster_words": f"cluster {named[cluster]}" if cluster else "all clusters together",
    }


def _row(line: LayerLine, rankings: Mapping[str, str]) -> dict[str, str]:
    share = "" if line.share_for_90 is None else f" ({100 * line.share_for_90:.3g}\u00a0%)"
    return {
        "layer": line.layer,
        "ranking": rankings.get(line.ranking, line.ranking),
        "verdict": VERDICT_LABELS[line.verdict],
        "strength": "–" if line.robust is None or line.verdict != "better_than_random" else _strength(line.robust),
        "area": number(line.area),
        "selectivity": number(line.selectivity),
        "units": "–" if line.units_for_90 is None else f"{line.units_for_90:,} of {line.count:,}{share}",
    }


def _strength(robust: bool) -> str:
    return "robust" if robust else "fragile"
