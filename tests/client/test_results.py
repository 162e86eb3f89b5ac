"""A result in the hand: made once in process, as a notebook makes it."""

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import unitrank
from unitrank.cli.compare import compared
from unitrank.cli.gate import Bounds, checks


@pytest.fixture(scope="module")
def found() -> unitrank.JobResult:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 2))
    x = np.random.default_rng(0).normal(size=(40, 16))
    return unitrank.rank(
        network, "2", x, np.arange(40) % 2, methods=["gradient", "conductance"], ablation={"random": 19}, keep_examples=1
    )


def test_result_when_asked_for_importances_then_gives_arrays_in_the_layers_shape(found: unitrank.JobResult) -> None:
    importances = found.importances("conductance")

    assert {name: values.shape for name, values in importances.items()} == {"0": (3, 2, 2), "1": (3, 2, 2)}
    np.testing.assert_array_equal(importances["1"].ravel(), found.arrays["importance/conductance"][1])
    np.testing.assert_array_equal(found.importances()["0"], found.importances(found.leaderboard[0].ranking)["0"])
    with pytest.raises(unitrank.NotPossible, match="ranking 'x' not found; there are gradient, conductance"):
        found.importances("x")


def test_result_when_asked_for_the_top_then_they_are_the_summarys(found: unitrank.JobResult) -> None:
    for id, ranking in found.rankings.items():
        for cluster, units in found.top(12, id).items():
            theirs = ranking.clusters[cluster].top
            assert [(unit.unit, unit.index) for unit in units] == [(unit.unit, unit.index) for unit in theirs]
            np.testing.assert_allclose([unit.importance for unit in units], [unit.importance for unit in theirs], rtol=1e-5)
    assert [len(units) for units in found.top(2).values()] == [2, 2]


def test_result_when_saved_then_loads_equal(found: unitrank.JobResult, tmp_path: Path) -> None:
    again = unitrank.load(found.save(tmp_path / "result.npz"))

    assert again.summary == found.summary
    assert again.arrays.keys() == found.arrays.keys()
    assert all(
        np.array_equal(again.arrays[name], values, equal_nan=values.dtype.kind == "f") for name, values in found.arrays.items()
    )
    with pytest.raises(unitrank.NotPossible, match=r"none/r\.npz cannot be written"):
        found.save(tmp_path / "none" / "r.npz")
    with np.load(tmp_path / "result.npz", allow_pickle=False) as plain:
        assert {name for name in plain.files if isinstance(plain[name], np.ndarray)} == {*found.arrays, "summary.json"}
    (tmp_path / "other").write_bytes(b"x")
    with pytest.raises(unitrank.NotPossible, match="no result that was saved"):
        unitrank.load(tmp_path / "other")


def test_result_when_made_a_data_frame_then_has_a_row_a_unit(found: unitrank.JobResult) -> None:
    frame = found.to_dataframe()

    assert list(frame.columns) == ["cluster", "ranking", "rank", "unit", "index", "importance", "spread"]
    assert len(frame) == 2 * 2 * 12
    assert len(found.to_dataframe(top=3)) == 2 * 2 * 3
    first = found.top(3)
    for cluster, rows in found.to_dataframe(top=3).query(f"ranking == {found.best!r}").groupby("cluster"):
        assert rows["unit"].tolist() == [unit.unit for unit in first[cluster]]


def test_result_when_made_a_data_frame_then_each_ranking_is_sorted_once(
    found: unitrank.JobResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    top = unitrank.JobResult.top

    def counted(self: unitrank.JobResult, k: int, ranking: str) -> Any:
        asked.append(ranking)
        return top(self, k, ranking)

    monkeypatch.setattr(unitrank.JobResult, "top", counted)
    found.to_dataframe()

    assert asked == ["gradient", "conductance"]


def test_result_when_drawn_then_gives_figures_and_says_what_there_is_not(found: unitrank.JobResult) -> None:
    assert isinstance(found.plot_ablation(), Figure)
    assert isinstance(found.plot_heatmap("conductance", "1", channel=2), Figure)
    assert isinstance(found.plot("agreement"), Figure)
    with pytest.raises(unitrank.NotPossible, match="there is no picture 'x'; there are ablation"):
        found.plot("x")
    with pytest.raises(unitrank.NotPossible) as caught:
        found.plot_heatmap(channel=9)
    assert caught.value.code == "channel_not_found"


def test_result_when_pandas_or_matplotlib_is_missing_then_says_how_to_have_it(
    found: unitrank.JobResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("pandas", "unitrank_plots.figures"):
        monkeypatch.setitem(sys.modules, module, None)

    with pytest.raises(unitrank.NotPossible, match="pip install pandas"):
        found.to_dataframe()
    with pytest.raises(unitrank.NotPossible, match=re.escape("pip install 'unitrank[plots]'")):
        found.plot_ablation()


def test_result_when_shown_in_a_notebook_then_names_are_text(found: unitrank.JobResult) -> None:
    layer = found.layer.model_copy(update={"name": "<script>"})
    shown = unitrank.JobResult(found.summary.model_copy(update={"layer": layer}), found.arrays)._repr_html_()

    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown
    assert all(f"<td>{leader.ranking}</td>" in shown for leader in found.leaderboard)
    assert found.leaderboard[0].ranking in repr(found)
    assert f"| {found.leaderboard[0].ranking} |" in found.to_markdown()


def test_gate_when_bounds_are_set_then_each_is_met_or_not_by_what_was_found(found: unitrank.JobResult) -> None:
    leader = found.leaderboard[0]
    share = leader.better_than_random / leader.of
    met = checks(found.summary, Bounds(min_better_than_random=share, min_area=leader.mean_area, max_p=1.0), leader.ranking)
    missed = checks(found.summary, Bounds(min_better_than_random=share + 0.1, max_p=0.0), leader.ranking)
    gaps = [checks(found.summary, Bounds(max_gap=0.5), ranking)[0] for ranking in ("conductance", "gradient")]

    assert [check.met for check in met] == [True] * 3
    assert [check.met for check in missed] == [False] * 2
    # the gradient is no complete method: what is not known is not met
    assert [(check.met, check.found == "not known") for check in gaps] == [(True, False), (False, True)]
    with pytest.raises(unitrank.NotPossible, match="say what is asked"):
        checks(found.summary, Bounds())


def test_gate_when_a_warning_is_forbidden_then_there_may_be_none_of_the_ranking(found: unitrank.JobResult) -> None:
    code = found.warnings[0].code

    assert [check.met for check in checks(found.summary, Bounds(forbidden=(code, "never")), found.warnings[0].ranking)] == [
        False,
        True,
    ]


def test_results_when_compared_with_themselves_then_correlate_fully(found: unitrank.JobResult) -> None:
    both = compared(found, found)

    assert [each.ranking for each in both] == ["gradient", "conductance"]
    for each in both:
        assert each.verdicts[0] == each.verdicts[1]
        assert each.areas[0] == each.areas[1]
        assert each.correlations == {"0": pytest.approx(1), "1": pytest.approx(1)}


def test_results_when_they_have_nothing_in_common_then_are_not_compared(found: unitrank.JobResult) -> None:
    layer = found.layer.model_copy(update={"count": 3})
    other = unitrank.JobResult(found.summary.model_copy(update={"layer": layer}), found.arrays)
    renamed = [ranking.model_copy(update={"id": ranking.id + "-2"}) for ranking in found.summary.rankings]
    with pytest.raises(unitrank.NotPossible, match="2 has 12 units and 2 3"):
        compared(found, other)
    with pytest.raises(unitrank.NotPossible, match="no ranking in common"):
        compared(found, unitrank.JobResult(found.summary.model_copy(update={"rankings": renamed}), found.arrays))


def test_rank_when_the_request_is_wrong_then_says_where_as_the_service_does() -> None:
    network, x = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), np.zeros((8, 2), np.float32)
    with pytest.raises(unitrank.InvalidRequest) as missing:
        unitrank.rank(network, "9", x, target={"class": 5})
    with pytest.raises(unitrank.InvalidRequest) as malformed:
        unitrank.rank(network, "1", x, methods=[{"name": "conductance", "steps": 0}, "gradent"], clusters={"by": "kmeans"}, sead=1)

    assert [place.pointer for place in missing.value.places] == ["/layer", "/target/class"]
    assert (missing.value.code, missing.value.exit_code) == ("layer_not_found", 2)
    assert {place.pointer: place.code for place in malformed.value.places} == {
        "/methods/0/steps": "invalid_request",
        "/methods/1": "method_not_found",
        "/clusters/k": "missing_field",
        "/clusters/layer": "missing_field",
        "/sead": "unknown_field",
    }
    assert "nearest: 'gradient'" in str(malformed.value)


def test_rank_when_the_data_is_no_table_then_says_what_is_wrong_with_it() -> None:
    network, x = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), np.zeros((20, 2), np.float32)
    with pytest.raises(unitrank.InvalidRequest) as uneven:
        unitrank.rank(network, "1", x, np.zeros(9, int))
    with pytest.raises(unitrank.InvalidRequest) as odd:
        unitrank.rank(network, "1", x, fields={"z": np.zeros(20, complex)})
    with pytest.raises(unitrank.NotPossible, match="mixed or ragged"):
        unitrank.rank(network, "1", [[1.0], [1.0, 2.0]])

    assert (uneven.value.code, odd.value.code) == ("unequal_lengths", "unsupported_dtype")
    assert "20" in str(uneven.value)
    assert "'<c16'" in str(odd.value)


def test_rank_when_the_network_cannot_be_computed_then_the_job_failed_with_its_code() -> None:
    class Rooted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ReLU()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            roots = self.act(x).sqrt().sum(1)
            return torch.stack([roots, -roots], 1)

    with pytest.raises(unitrank.JobFailed) as caught:
        unitrank.rank(Rooted(), "act", np.ones((6, 3), np.float32), methods=["conductance"])

    assert (caught.value.code, caught.value.exit_code) == ("non_finite", 1)


def test_rank_when_pixels_or_ids_are_given_then_the_network_gets_what_it_takes() -> None:
    dense = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 2)).double()
    ids = nn.Sequential(nn.Embedding(6, 3), nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2))
    values = np.random.default_rng(0).integers(6, size=(12, 4))

    pixels = unitrank.rank(dense, "1", values.astype(np.uint8), methods=["gradient"], ablation=None, fidelity=None)
    words = unitrank.rank(ids, "3", values, methods=["gradient"], ablation=None, fidelity=None)

    assert (pixels.layer.count, words.layer.count) == (5, 5)
