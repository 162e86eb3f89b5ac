"""A result of the client: its numbers, files and plots."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

import unitrank
from unitrank_schemas.results import Warn


def test_result_when_asked_for_importances_then_gives_arrays_in_the_layers_shape(result: unitrank.JobResult) -> None:
    importances = result.importances("conductance")

    assert {name: values.shape for name, values in importances.items()} == {"0": (3, 2, 2), "1": (3, 2, 2)}
    np.testing.assert_array_equal(importances["1"].ravel(), result.arrays["importance/conductance"][1])
    np.testing.assert_array_equal(result.importances()["0"], result.importances(result.leaderboard[0].ranking)["0"])
    with pytest.raises(unitrank.NotPossible, match="ranking 'x' not found; use one of gradient, conductance"):
        result.importances("x")


def test_top_when_asked_for_then_has_the_units_of_the_summary(result: unitrank.JobResult) -> None:
    for id, ranking in result.rankings.items():
        for cluster, units in result.top(12, id).items():
            expected = ranking.clusters[cluster].top
            assert [(unit.unit, unit.index) for unit in units] == [(unit.unit, unit.index) for unit in expected]
            np.testing.assert_allclose([unit.importance for unit in units], [unit.importance for unit in expected], rtol=1e-5)
    assert [len(units) for units in result.top(2).values()] == [2, 2]


def test_result_when_saved_then_loads_equal(result: unitrank.JobResult, tmp_path: Path) -> None:
    again = unitrank.load(result.save(tmp_path / "result.npz"))

    assert again.summary == result.summary
    assert again.arrays.keys() == result.arrays.keys()
    assert all(
        np.array_equal(again.arrays[name], values, equal_nan=values.dtype.kind == "f") for name, values in result.arrays.items()
    )
    with pytest.raises(unitrank.NotPossible, match=r"none/r\.npz cannot be written"):
        result.save(tmp_path / "none" / "r.npz")
    with np.load(tmp_path / "result.npz", allow_pickle=False) as plain:
        assert {name for name in plain.files if isinstance(plain[name], np.ndarray)} == {*result.arrays, "summary.json"}
    np.savez(tmp_path / "data.npz", x=[1.0])
    with pytest.raises(unitrank.NotPossible, match=r"does not hold a result: it has no summary\.json"):
        unitrank.load(tmp_path / "data.npz")
    (tmp_path / "other").write_bytes(b"x")
    with pytest.raises(unitrank.NotPossible, match="does not hold a result"):
        unitrank.load(tmp_path / "other")


def test_result_when_classes_have_names_then_texts_and_plots_have_them_also_from_a_file(
    result: unitrank.JobResult, tmp_path: Path
) -> None:
    provenance = result.summary.provenance.model_copy(update={"options": {"clusters": {"by": "label"}}})
    summary = result.summary.model_copy(
        update={"provenance": provenance, "warnings": [Warn(code="saturated", detail="…", cluster="1", ranking="gradient")]}
    )
    named = unitrank.JobResult(summary, result.arrays, {"0": "cat", "1": "dog"})
    again = unitrank.load(named.save(tmp_path / "named.npz"))

    for each in (named, again):
        assert "in cluster 1 (dog)" in each.to_markdown()
        assert "cluster 1 (dog)" in str(each.plot("importance", cluster="1").get_suptitle())
        assert list(each.importances()) == ["0", "1"]
    assert "dog" not in unitrank.JobResult(summary, result.arrays).to_markdown()
    with pytest.raises(unitrank.NotPossible, match="cluster 'dog' not found; the result has '0', '1'"):
        named.plot("importance", cluster="dog")


def test_data_frame_when_built_then_has_one_row_per_cluster_ranking_and_unit(result: unitrank.JobResult) -> None:
    frame = result.to_dataframe()

    assert list(frame.columns) == ["cluster", "ranking", "rank", "unit", "index", "importance", "spread"]
    assert len(frame) == 2 * 2 * 12
    assert len(result.to_dataframe(top=3)) == 2 * 2 * 3
    first = result.top(3)
    for cluster, rows in result.to_dataframe(top=3).query(f"ranking == {result.best!r}").groupby("cluster"):
        assert rows["unit"].tolist() == [unit.unit for unit in first[cluster]]


def test_data_frame_when_units_have_names_then_has_them_in_a_further_column(result: unitrank.JobResult) -> None:
    layer = result.layer.model_copy(update={"unit_word": "position"})
    named = unitrank.JobResult(result.summary.model_copy(update={"layer": layer}), result.arrays)

    frame = named.to_dataframe()

    assert list(frame.columns)[-2:] == ["spread", "name"]
    assert frame["name"].tolist() == [f"position {','.join(map(str, index))}" for index in frame["index"]]
    assert result.name_of(result.top(1)["0"][0]).count(",") == 2


def test_data_frame_when_built_then_each_ranking_is_sorted_once(
    result: unitrank.JobResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    rankings: list[str] = []
    top = unitrank.JobResult.top

    def counted(self: unitrank.JobResult, k: int, ranking: str) -> Any:
        rankings.append(ranking)
        return top(self, k, ranking)

    monkeypatch.setattr(unitrank.JobResult, "top", counted)
    result.to_dataframe()

    assert rankings == ["gradient", "conductance"]


def test_result_when_plotted_then_gives_figures_or_an_error_that_names_the_choices(result: unitrank.JobResult) -> None:
    assert isinstance(result.plot_ablation(), Figure)
    assert isinstance(result.plot_heatmap("conductance", "1", channel=2), Figure)
    assert isinstance(result.plot("agreement"), Figure)
    with pytest.raises(unitrank.NotPossible, match="plot 'x' not found; use one of ablation"):
        result.plot("x")
    with pytest.raises(unitrank.NotPossible) as caught:
        result.plot_heatmap(channel=9)
    assert caught.value.code == "channel_not_found"


def test_result_when_pandas_or_matplotlib_is_missing_then_the_error_tells_how_to_install_it(
    result: unitrank.JobResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("pandas", "unitrank_plots.figures"):
        monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(unitrank.NotPossible, match="pip install pandas"):
        result.to_dataframe()
    with pytest.raises(unitrank.NotPossible, match=re.escape("pip install 'unitrank[plots]'")):
        result.plot_ablation()


def test_result_when_shown_in_a_notebook_then_names_are_text(result: unitrank.JobResult) -> None:
    layer = result.layer.model_copy(update={"name": "<script>"})
    page = unitrank.JobResult(result.summary.model_copy(update={"layer": layer}), result.arrays)._repr_html_()

    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert all(f"<td>{leader.ranking}</td>" in page for leader in result.leaderboard)
    assert result.leaderboard[0].ranking in repr(result)
    assert f"| {result.leaderboard[0].ranking} |" in result.to_markdown()


def test_result_when_written_as_markdown_then_each_warning_names_its_ranking_and_cluster(result: unitrank.JobResult) -> None:
    warnings = [Warn(code="saturated", detail="d", ranking="gradient", cluster="1"), Warn(code="in_sample", detail="d")]
    text = unitrank.JobResult(result.summary.model_copy(update={"warnings": warnings}), result.arrays).to_markdown()

    assert "- `saturated` of gradient in cluster 1: d\n- `in_sample`: d\n" in text


def test_result_when_written_as_markdown_then_its_first_lines_are_the_verdict(result: unitrank.JobResult) -> None:
    assert result.to_markdown().splitlines()[:2] == result.verdict[:2]
    assert str(result).splitlines()[1:3] == result.verdict[:2]


@pytest.mark.parametrize("method", [{"name": "weight_norm"}, {"name": "random"}, {"name": "given", "importance": [1.0]}])
def test_best_when_a_control_comes_first_then_is_the_next_ranking(result: unitrank.JobResult, method: dict[str, Any]) -> None:
    first, second = (leader.ranking for leader in result.leaderboard)
    rankings = [
        ranking.model_copy(update={"method": method if ranking.id == first else ranking.method})
        for ranking in result.summary.rankings
    ]

    changed = unitrank.JobResult(result.summary.model_copy(update={"rankings": rankings}), result.arrays)

    assert changed.best == second
    np.testing.assert_array_equal(changed.importances()["0"], result.importances(second)["0"])
