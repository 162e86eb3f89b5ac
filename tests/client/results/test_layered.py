"""Results of several layers in the client: each layer as a result of its own, and the table."""

import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

import unitrank
from unitrank.results import parsed_summary
from unitrank_schemas.results import LayeredResult

METHODS = ["gradient", "conductance"]
LAYERS = ["relu", "relu.b"]
"""The name of the first layer begins that of the second."""


class Dotted(nn.Module):
    """A network whose layers are `relu` and `relu.b`."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.end = nn.Linear(4, 6), nn.Linear(5, 3, bias=False)
        self.relu = nn.Sequential(OrderedDict(b=nn.Linear(6, 5), c=nn.ReLU()))
        for weights in self.parameters():
            nn.init.normal_(weights)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.end(self.relu(torch.tanh(self.first(x))))


def rank(layer: str | list[str], **request: Any) -> unitrank.JobResult:
    x = np.random.default_rng(0).normal(size=(120, 4)).astype(np.float32)
    with torch.no_grad():
        y = Dotted()(torch.from_numpy(x)).argmax(1).numpy()
    ablation = {"random": 19, "fractions": [0.4, 0.8]}
    return unitrank.rank(Dotted(), layer, x, y, methods=METHODS, ablation=ablation, **request)


@pytest.fixture(scope="module")
def layered() -> unitrank.JobResult:
    return rank(LAYERS, joint=True)


@pytest.mark.parametrize("layer", LAYERS)
def test_layer_when_taken_from_the_result_then_it_equals_a_job_of_this_layer(layer: str, layered: unitrank.JobResult) -> None:
    alone, part = rank(layer), layered[layer]

    assert part.arrays.keys() == alone.arrays.keys()
    for name, values in alone.arrays.items():
        np.testing.assert_array_equal(part.arrays[name], values, err_msg=name)
    assert (part.layer, part.clusters, part.best) == (alone.layer, alone.clusters, alone.best)
    assert part.importances("gradient")["0"].shape == (5,)
    assert {warn.code for warn in part.warnings} >= {warn.code for warn in layered.warnings}


def test_joint_when_ranked_then_its_units_have_the_names_of_their_layers(layered: unitrank.JobResult) -> None:
    joint = layered.joint
    assert joint is not None
    names = [joint.name_of(unit) for unit in joint.top(10)["0"]]

    assert sorted(names) == sorted(f"{layer} · {unit}" for layer in LAYERS for unit in range(5))
    np.testing.assert_array_equal(joint.importances("gradient")["0"][5:], layered["relu.b"].importances("gradient")["0"])
    assert layered["joint"] is joint
    assert repr(joint).startswith("JobResult of all layers together: 10 units")
    assert "### Units of all layers together: 10, 2 clusters" in joint.to_markdown()
    assert sorted(joint.to_dataframe().query("cluster == '0' and ranking == 'gradient'")["name"]) == sorted(names)
    assert rank(LAYERS).joint is None


def test_result_of_layers_when_a_value_of_one_layer_is_read_then_the_error_names_the_layers(layered: unitrank.JobResult) -> None:
    for read in (
        lambda: layered.rankings,
        lambda: layered.importances(),
        lambda: layered.plot_ablation(),
        lambda: layered.mask(0.4),
    ):
        with pytest.raises(unitrank.NotPossible, match=r"has 2 layers.*use result\['relu'\] or result\['relu\.b'\] …") as caught:
            read()
        assert caught.value.code == "layer_missing"
    with pytest.raises(unitrank.NotPossible, match=r"layer 'x' not found in the result; use one of relu, relu\.b, joint"):
        layered["x"]


def test_texts_when_classes_have_names_then_the_table_has_them_also_from_a_file(tmp_path: Path) -> None:
    result = rank(LAYERS, target={"class": "each"}, metadata={"classes": ["cat", "dog", "bird"]})
    again = unitrank.load(result.save(tmp_path / "named.npz"))

    for each in (result, again):
        assert "@0 (cat)" in each.to_markdown()
        assert "gradient@0 (cat)" in each["relu"].to_markdown()


def test_check_scores_when_it_gets_a_list_of_layers_then_asks_for_one() -> None:
    with pytest.raises(unitrank.NotPossible, match="the scores belong to one layer, got a list of 2 layers"):
        unitrank.check_scores(Dotted(), np.zeros((20, 4), np.float32), LAYERS, np.zeros(5))  # type: ignore[arg-type]


def test_mask_when_asked_of_joint_then_the_error_names_the_layers(layered: unitrank.JobResult) -> None:
    assert layered.joint is not None
    with pytest.raises(unitrank.NotPossible, match=r"a mask belongs to one layer.*use one of relu, relu\.b"):
        layered.joint.mask(0.4)


def test_result_of_layers_when_saved_then_loads_equal(layered: unitrank.JobResult, tmp_path: Path) -> None:
    again = unitrank.load(layered.save(tmp_path / "result.npz"))

    assert isinstance(again, unitrank.LayeredJobResult)
    assert isinstance(layered, unitrank.LayeredJobResult)
    assert again.layered_summary == layered.layered_summary
    assert again.arrays.keys() == layered.arrays.keys()
    np.testing.assert_array_equal(again["relu.b"].importances()["0"], layered["relu.b"].importances()["0"])
    part = unitrank.load(layered["relu"].save(tmp_path / "layer.npz"))
    assert part.summary == layered["relu"].summary


def test_table_when_read_then_each_layer_has_the_numbers_of_its_best_ranking(layered: unitrank.JobResult) -> None:
    lines = layered.table()
    of_cluster = layered.table(cluster="0", ranking="gradient")

    assert [line.layer for line in lines] == [line.layer for line in of_cluster] == [*LAYERS, "joint"]
    assert [line.count for line in lines] == [5, 5, 10]
    for line, in_cluster in zip(lines, of_cluster, strict=True):
        part = layered[line.layer]
        assert line.area == next(leader.area for leader in part.leaderboard if leader.ranking == line.ranking)
        assert in_cluster.units_for_90 == part.ablation["gradient"]["0"].units_for_90
    assert layered["relu"].table() == lines[:1]
    with pytest.raises(unitrank.NotPossible, match="ranking 'x' not found; use one of gradient, conductance"):
        layered.table(ranking="x")
    with pytest.raises(unitrank.NotPossible, match="cluster 'x' not found; use one of 0"):
        layered.table(cluster="x")


def test_plot_when_there_are_several_layers_then_they_stand_side_by_side(layered: unitrank.JobResult) -> None:
    figure = layered.plot_layers()

    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == LAYERS
    assert isinstance(layered["relu"].plot_ablation(), Figure)
    with pytest.raises(unitrank.NotPossible, match="plot 'layers' not found; use one of ablation"):
        layered["relu"].plot_layers()


def test_result_of_layers_when_displayed_then_it_is_the_table_and_every_warning(layered: unitrank.JobResult) -> None:
    text, page = layered.to_markdown(), layered._repr_html_()

    assert repr(layered).startswith("LayeredJobResult of 2 layers, 10 units together: 2 clusters\n  layer | units | best ranking")
    for layer in [*LAYERS, "all layers together"]:
        assert f"| {layer} |" in text
        assert f"- {layer}: " in text
        assert f"<td>{layer}</td>" in page
    for name in [*LAYERS, "joint"]:
        warnings = {(warn.code, warn.ranking): warn.detail for warn in reversed(layered[name].warnings)}
        assert all(detail in text and f"- `{code}`" in text for (code, _), detail in warnings.items())
    assert "units of all layers together" in text
    assert "layer joint" not in text


def test_data_frame_when_there_are_several_layers_then_the_first_column_names_them(layered: unitrank.JobResult) -> None:
    frame = layered.to_dataframe(top=2)

    assert list(frame.columns)[:3] == ["layer", "cluster", "ranking"]
    assert frame["layer"].value_counts().to_dict() == dict.fromkeys(LAYERS, 2 * 2 * 2)


def test_result_of_one_layer_when_read_as_several_then_it_has_this_layer() -> None:
    result = rank("relu")

    assert list(result) == list(result.layers) == ["relu"]
    assert result["relu"] is result
    assert result.joint is None
    assert "relu" in result


def test_pattern_when_given_then_the_layers_that_it_matches_are_ranked() -> None:
    result = rank("relu*")

    assert list(result) == ["relu.b", "relu.c", "relu"]
    with pytest.raises(unitrank.InvalidRequest) as caught:
        rank(["relu", "relu"])
    assert [place.pointer for place in caught.value.places] == ["/layer/1"]


def test_summary_when_a_newer_version_wrote_it_then_unknown_fields_are_ignored(layered: unitrank.JobResult) -> None:
    assert isinstance(layered, unitrank.LayeredJobResult)
    fields = json.loads(layered.layered_summary.model_dump_json())
    fields["new"] = fields["layers"]["relu"]["new"] = 1

    summary = parsed_summary(json.dumps(fields))

    assert isinstance(summary, LayeredResult)
    assert summary == layered.layered_summary


def test_summary_when_a_name_in_it_is_layers_then_it_is_still_that_of_one_layer(layered: unitrank.JobResult) -> None:
    summary = layered["relu"].summary
    named = summary.model_copy(update={"model": summary.model.model_copy(update={"name": "layers"})})

    assert parsed_summary(named.model_dump_json()) == named
    with pytest.raises(ValueError, match="Invalid JSON"):
        parsed_summary(b"no JSON")
