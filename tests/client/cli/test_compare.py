"""The comparison of two results."""

import pytest

import unitrank
from unitrank.cli.compare import compared


def test_results_when_compared_with_themselves_then_correlate_fully(result: unitrank.JobResult) -> None:
    comparisons = compared(result, result)

    assert [each.ranking for each in comparisons] == ["gradient", "conductance"]
    for each in comparisons:
        assert each.verdicts[0] == each.verdicts[1]
        assert each.areas[0] == each.areas[1]
        assert each.correlations == {"0": pytest.approx(1), "1": pytest.approx(1)}


def test_results_when_they_have_nothing_in_common_then_are_not_compared(result: unitrank.JobResult) -> None:
    layer = result.layer.model_copy(update={"count": 3})
    smaller = unitrank.JobResult(result.summary.model_copy(update={"layer": layer}), result.arrays)
    renamed = [ranking.model_copy(update={"id": ranking.id + "-2"}) for ranking in result.summary.rankings]
    with pytest.raises(unitrank.NotPossible, match="layer 2 has 12 units, and layer 2 has 3"):
        compared(result, smaller)
    with pytest.raises(unitrank.NotPossible, match="no ranking in common"):
        compared(result, unitrank.JobResult(result.summary.model_copy(update={"rankings": renamed}), result.arrays))
