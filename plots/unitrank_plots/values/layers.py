"""The values of the picture that compares the layers of a job."""

from collections.abc import Mapping, Sequence

from unitrank_plots.choice import Choice, NoPicture, cluster_of, ranking_of
from unitrank_plots.class_names import in_words
from unitrank_schemas.base import Json
from unitrank_schemas.layer_lines import LayerLine, layer_lines
from unitrank_schemas.results import VERDICT_LABELS, LayeredResult, Result


def chosen_lines(result: LayeredResult, choice: Choice) -> tuple[list[LayerLine], str]:
    """Return a line for each layer, and the cluster in words.

    Raises NoPicture for an unknown name, and without an ablation.
    """
    results, chosen = _in_words(result, choice)
    first = next(iter(results.values()))
    cluster = None if chosen.cluster is None else cluster_of(first, chosen)[1].name
    if chosen.ranking is not None:
        ranking_of(first, chosen)
    lines = layer_lines(results, chosen.ranking, cluster)
    if all(line.verdict is None for line in lines):
        raise NoPicture("no_ablation", "the rankings were not tested by ablation; post the job with `ablation`")
    subject = f"over {len(first.clusters)} clusters" if len(first.clusters) > 1 else f"cluster {first.clusters[0].name}"
    return lines, subject if cluster is None else f"cluster {cluster}"


def layers(result: LayeredResult, choice: Choice) -> Json:
    """The area, the selectivity, and the share of units for 90 % of the score, at each layer."""
    lines, subject = chosen_lines(result, choice)
    by_verdict = _bars(lines, "area", [line.area for line in lines])
    by_verdict["groups"] = [VERDICT_LABELS[line.verdict] for line in lines]
    panels = [
        by_verdict,
        _bars(lines, "selectivity", [line.selectivity for line in lines]),
        _bars(lines, "share of units that keep 90 % of the score", [line.share_for_90 for line in lines]),
    ]
    # The names of classes change the name of a ranking.
    ranking = lines[0].ranking if choice.ranking else "the best ranking of each layer"
    return {
        "title": f"Layer by layer: {ranking}, {subject}",
        "panels": [panel for panel in panels if any(value is not None for value in panel["values"])],
    }


def _bars(lines: Sequence[LayerLine], label: str, values: Sequence[float | None]) -> Json:
    return {
        "kind": "bars",
        "labels": [line.layer for line in lines],
        "values": list(values),
        "y": {"label": label},
        "x": {"label": "layer"},
    }


def _in_words(result: LayeredResult, choice: Choice) -> tuple[Mapping[str, Result], Choice]:
    """The results of the layers, and the choice, with the names of classes."""
    named = {name: in_words(result.of_layer(name), {}, choice) for name in result.layers}
    return {name: each for name, (each, _, _) in named.items()}, next(chosen for _, _, chosen in named.values())
