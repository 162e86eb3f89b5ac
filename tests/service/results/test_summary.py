"""Parts of a summary, paired with a plain implementation that has the whole summary in memory."""

import io
import json
from itertools import combinations
from typing import Any

import pytest

from tests.service.results.conftest import cluster, summary
from unitrank_service.results import summary as module
from unitrank_service.results.outline import Outline
from unitrank_service.results.summary import Selection, narrowed

CLUSTERS = ["a", "b", "é"]
RANKINGS = ["gradient", "random", "activation"]


def several() -> dict[str, Any]:
    """A summary with three clusters and three rankings."""
    unit = {"unit": 1, "index": [0, 0, 1], "importance": 0.5, "spread": None}
    rankings = [
        {
            "id": id,
            "clusters": {name: {"top": [unit] * (3 + row), "stability": row} for row, name in enumerate(CLUSTERS)},
            "specificity": {
                "matrix": [[10 * row + column for column in range(3)] for row in range(3)],
                "selectivity": dict(zip(CLUSTERS, (0.1, 0.2, 0.3), strict=True)),
                "p_value": dict.fromkeys(CLUSTERS),
                "overall_p_value": None,
            }
            if id != "random"
            else None,
            "seconds": 1,
        }
        for id in RANKINGS
    ]
    warnings = [
        {"code": "x", "detail": "…", "cluster": name, "ranking": id} for name in [None, *CLUSTERS] for id in [None, *RANKINGS]
    ]
    leaders = [{"ranking": id, "of": 3} for id in reversed(RANKINGS)]
    pairs = [{"a": a, "b": b, "difference": 0.1} for a, b in combinations(RANKINGS, 2)]
    lists = {"clusters": [cluster(name) for name in CLUSTERS], "rankings": rankings, "warnings": warnings, "leaderboard": leaders}
    given = [{"ranking": id, "relation": "none"} for id in RANKINGS]
    return summary("x") | lists | {"comparisons": pairs, "agreement": pairs, "given": given}


def specificity_of(whole: dict[str, Any] | None, clusters: list[str]) -> dict[str, Any] | None:
    if whole is None:
        return None
    numbers = [CLUSTERS.index(name) for name in clusters]
    return whole | {
        "matrix": [[10 * row + column for column in numbers] for row in numbers],
        "selectivity": {name: whole["selectivity"][name] for name in clusters},
        "p_value": dict.fromkeys(clusters),
    }


def plainly_narrowed(whole: dict[str, Any], clusters: list[str], rankings: list[str], top: int | None) -> dict[str, Any]:
    return whole | {
        "clusters": [entry for entry in whole["clusters"] if entry["name"] in clusters],
        "rankings": [
            entry
            | {"clusters": {name: entry["clusters"][name] | {"top": entry["clusters"][name]["top"][:top]} for name in clusters}}
            | {"specificity": specificity_of(entry["specificity"], clusters)}
            for entry in whole["rankings"]
            if entry["id"] in rankings
        ],
        "leaderboard": [entry for entry in whole["leaderboard"] if entry["ranking"] in rankings],
        "comparisons": [entry for entry in whole["comparisons"] if entry["a"] in rankings or entry["b"] in rankings],
        "agreement": [entry for entry in whole["agreement"] if entry["a"] in rankings or entry["b"] in rankings],
        "given": [entry for entry in whole["given"] if entry["ranking"] in rankings],
        "warnings": [
            entry for entry in whole["warnings"] if entry["cluster"] in [None, *clusters] and entry["ranking"] in [None, *rankings]
        ],
    }


@pytest.mark.parametrize("cluster", [None, *CLUSTERS])
@pytest.mark.parametrize("ranking", [None, *RANKINGS])
@pytest.mark.parametrize("top", [None, 2])
def test_part_of_a_summary_is_that_of_the_plain_implementation(
    monkeypatch: pytest.MonkeyPatch, cluster: str | None, ranking: str | None, top: int | None
) -> None:
    monkeypatch.setattr(module, "PIECE", 2)
    file = io.BytesIO(json.dumps(several(), separators=(",", ":")).encode())
    selection = Selection(cluster, ranking, top)
    outline = Outline.of(file)

    assert not selection.needs_arrays(outline)
    part = json.loads(b"".join(narrowed(outline, file, selection, None)))
    assert part == plainly_narrowed(several(), [cluster] if cluster else CLUSTERS, [ranking] if ranking else RANKINGS, top)


@pytest.mark.parametrize(("top", "needed"), [(3, False), (4, True), (16, True), (None, False)])
def test_arrays_are_needed_when_a_ranking_in_the_summary_is_too_short(top: int | None, needed: bool) -> None:
    outline = Outline.of(io.BytesIO(json.dumps(several()).encode()))

    assert outline.shortest == 3
    assert Selection(top=top).needs_arrays(outline) == needed
