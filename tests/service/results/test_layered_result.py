"""Results of jobs with several layers over HTTP, in full and of one layer."""

import csv
import io
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from tests.service.conftest import Served, assert_problem, job
from tests.service.results import layered
from tests.service.results.conftest import succeeded
from tests.service.results.layered import CLUSTERS, COUNTS, METHODS, importance
from unitrank_schemas.layer_arrays import names_of_layer
from unitrank_schemas.results import LayeredResult, Result


@pytest.fixture
def done(client: httpx.Client, served: Served) -> str:
    """The id of a job with two layers that has succeeded."""
    return layered.succeeded(client, served)


def result(client: httpx.Client, id: str, **query: Any) -> Any:
    return client.get(f"/v1/jobs/{id}/result", params=query).raise_for_status().json()


def rows(client: httpx.Client, id: str, **query: Any) -> list[dict[str, str]]:
    answer = client.get(f"/v1/jobs/{id}/result", params=query, headers={"Accept": "text/csv"}).raise_for_status()
    return list(csv.DictReader(io.StringIO(answer.text)))


def test_result_of_several_layers_when_read_in_full_then_is_the_stored_summary(client: httpx.Client, done: str) -> None:
    assert result(client, done) == layered.summary(done)


@pytest.mark.parametrize("layer", list(COUNTS))
def test_result_of_one_layer_when_asked_for_then_is_that_of_the_schema(client: httpx.Client, done: str, layer: str) -> None:
    whole = LayeredResult.model_validate(layered.summary(done))

    assert Result.model_validate(result(client, done, layer=layer)) == whole.of_layer(layer)


def test_result_of_layers_when_the_model_was_not_ready_then_the_layers_of_a_pattern_are_known(
    client: httpx.Client, served: Served
) -> None:
    id = layered.succeeded(client, served, "*c*", ready=False)

    assert client.get(f"/v1/jobs/{id}").json()["request"]["layer"] == "*c*"
    assert result(client, id) == layered.summary(id)
    assert result(client, id, layer="fc")["layer"]["name"] == "fc"
    assert result(client, id, layer="joint", top=1)["layer"]["name"] == "joint"
    assert_problem(client.get(f"/v1/jobs/{id}/result?layer=*c*"), 404, "layer_not_found")


@pytest.mark.parametrize("top", [None, 1, 3, 100])
@pytest.mark.parametrize("layer", list(COUNTS))
def test_narrowed_result_of_layers_when_read_then_each_part_is_that_of_its_layer(
    client: httpx.Client, done: str, layer: str, top: int | None
) -> None:
    query = {"cluster": "a", "ranking": "gradient"} | ({"top": top} if top else {})
    whole = result(client, done, **query)
    of_layer = result(client, done, layer=layer, **query)

    LayeredResult.model_validate(whole)
    part = whole["joint"] if layer == "joint" else whole["layers"][layer]
    assert list(whole["layers"]) == ["conv1", "fc"]
    shared = {name: whole[name] for name in ("job", "model", "dataset", "clusters", "cost", "provenance")}
    assert shared | part | {"warnings": [*whole["warnings"], *part["warnings"]]} == of_layer
    units = of_layer["rankings"][0]["clusters"]["a"]["top"]
    expected = np.argsort(-importance(layer, "gradient")[0])[: top or 2]
    assert [unit["unit"] for unit in units] == expected.tolist()
    assert [each["code"] for each in of_layer["warnings"]] == ["in_sample", "saturated"]


def test_narrowed_result_of_layers_when_joint_lacks_the_ranking_then_its_list_is_empty(client: httpx.Client, done: str) -> None:
    whole = result(client, done, ranking="activation")

    assert whole["joint"]["rankings"] == whole["joint"]["leaderboard"] == []
    assert [each["id"] for each in whole["layers"]["fc"]["rankings"]] == ["activation"]
    assert_problem(client.get(f"/v1/jobs/{done}/result?layer=joint&ranking=activation"), 404, "ranking_not_found")


@pytest.mark.parametrize("accept", ["application/json", "text/csv"])
@pytest.mark.parametrize(
    ("query", "code", "nearest"),
    [
        ({"layer": "conv2"}, "layer_not_found", "conv1"),
        ({"ranking": "gradeint"}, "ranking_not_found", "gradient"),
        ({"ranking": "gradeint", "layer": "fc"}, "ranking_not_found", "gradient"),
        ({"cluster": "=c"}, "cluster_not_found", "=b"),
    ],
)
def test_result_of_layers_when_a_name_is_unknown_then_is_404_with_the_nearest(
    client: httpx.Client, done: str, query: dict[str, str], code: str, nearest: str, accept: str
) -> None:
    answer = client.get(f"/v1/jobs/{done}/result", params=query, headers={"Accept": accept})

    assert nearest in assert_problem(answer, 404, code)["detail"]


def test_result_of_one_layer_when_layer_is_named_then_only_its_own_is_accepted(client: httpx.Client, served: Served) -> None:
    id = succeeded(client, served)

    assert result(client, id, layer="conv1") == result(client, id)
    assert_problem(client.get(f"/v1/jobs/{id}/result?layer=fc"), 404, "layer_not_found")
    assert_problem(client.get(f"/v1/jobs/{id}/plots/importance.json?layer=joint"), 404, "layer_not_found")


def test_csv_of_layers_when_read_then_the_first_column_is_the_layer(client: httpx.Client, done: str) -> None:
    lines = rows(client, done)

    assert list(lines[0]) == ["layer", "cluster", "ranking", "rank", "unit", "index", "importance", "spread", "name"]
    assert len(lines) == sum(COUNTS[layer] * len(CLUSTERS) * len(methods) for layer, methods in METHODS.items())
    for layer, methods in METHODS.items():
        for method in methods:
            own = [line for line in lines if (line["layer"], line["ranking"], line["cluster"]) == (layer, method, "a")]
            values = importance(layer, method)[0]
            assert [int(line["unit"]) for line in own] == np.argsort(-values).tolist()
            assert [np.float32(line["importance"]) for line in own] == sorted(values, reverse=True)
    names = {int(line["unit"]): line["name"] for line in lines if line["layer"] == "joint"}
    assert (names[0], names[15], names[16]) == ("conv1 · 0:0:0", "conv1 · 3:1:1", "fc · head 0")


def test_csv_of_one_layer_when_asked_for_then_has_the_usual_columns(client: httpx.Client, done: str) -> None:
    lines = rows(client, done, layer="fc", top=2, cluster="a")

    assert list(lines[0]) == ["cluster", "ranking", "rank", "unit", "index", "importance", "spread"]
    assert len(lines) == 2 * len(METHODS["fc"])


@pytest.mark.parametrize("query", ["", "?layer=fc"])
def test_arrays_of_layers_when_read_then_all_are_there(client: httpx.Client, done: str, query: str) -> None:
    answer = client.get(f"/v1/jobs/{done}/result{query}", headers={"Accept": "application/x-npz"})

    with np.load(io.BytesIO(answer.content)) as stored:
        assert set(stored) == set(layered.arrays())


@pytest.mark.parametrize("layer", list(COUNTS))
@pytest.mark.parametrize("name", ["importance", "leaderboard", "ablation"])
def test_plots_of_a_layer_when_asked_for_then_have_its_values(client: httpx.Client, done: str, name: str, layer: str) -> None:
    plot = client.get(f"/v1/jobs/{done}/plots/{name}.json", params={"layer": layer, "ranking": "gradient"}).json()
    picture = client.get(f"/v1/jobs/{done}/plots/{name}.png", params={"layer": layer, "ranking": "gradient"})

    assert picture.content.startswith(b"\x89PNG")
    if name == "importance":
        values = np.sort(importance(layer, "gradient")[0].astype(np.float64))[::-1]
        assert plot["panels"][1]["series"][0]["values"] == values.tolist()


def test_parts_of_layers_when_no_layer_is_named_then_are_those_of_the_first(client: httpx.Client, done: str) -> None:
    for path in ("plots/importance.json", "plots/leaderboard.json", "units/2", "plots/heatmap.json"):
        default, first = (client.get(f"/v1/jobs/{done}/{path}{query}") for query in ("", "?layer=conv1"))
        assert default.status_code == 200, default.text
        assert default.json() == first.json()


def test_unit_of_joint_when_read_then_its_name_has_the_layer(client: httpx.Client, done: str) -> None:
    unit = client.get(f"/v1/jobs/{done}/units/17?layer=joint").json()

    assert (unit["name"], unit["layer"]["name"]) == ("fc · head 1", "joint")
    assert unit["rankings"][0]["clusters"]["a"]["importance"] == float(importance("joint", "gradient")[0, 17])
    assert_problem(client.get(f"/v1/jobs/{done}/units/17?layer=fc"), 404, "unit_not_found")


def test_heatmap_of_joint_when_asked_for_then_names_the_layers_to_take(client: httpx.Client, done: str) -> None:
    problem = assert_problem(client.get(f"/v1/jobs/{done}/plots/heatmap.png?layer=joint"), 422, "no_heatmap")

    assert "conv1, fc" in problem["detail"]


def test_etags_when_the_layer_differs_then_differ(client: httpx.Client, done: str) -> None:
    for path in ("result", "plots/importance.png"):
        tags = [client.get(f"/v1/jobs/{done}/{path}{query}").headers["etag"] for query in ("", "?layer=fc", "?layer=joint")]
        assert len(set(tags)) == 3


def test_names_when_one_layer_begins_like_another_then_the_longest_name_owns_the_array() -> None:
    layers = ["a", "a/b", "rows"]
    names = ["a/importance/x", "a/b/importance/x", "rows/importance/x", "rows/0", "tests/rows", "baseline_rows/in"]

    assert names_of_layer("a", layers, names)["importance/x"] == "a/importance/x"
    assert names_of_layer("a/b", layers, names)["importance/x"] == "a/b/importance/x"
    assert names_of_layer("rows", layers, names)["importance/x"] == "rows/importance/x"
    assert all({"rows/0", "tests/rows", "baseline_rows/in"} <= set(names_of_layer(each, layers, names)) for each in layers)


def test_job_with_joint_when_it_has_one_layer_then_is_422(client: httpx.Client, served: Served, done: str) -> None:
    assert_problem(client.post("/v1/jobs", json=job(joint=True)), 422, "joint_needs_layers", "/joint")


@pytest.mark.parametrize("cluster", [None, "a", "=b"])
@pytest.mark.parametrize("ranking", [None, "activation"])
def test_plot_of_layers_when_asked_for_then_has_the_numbers_of_the_result(
    client: httpx.Client, done: str, ranking: str | None, cluster: str | None
) -> None:
    query = {name: value for name, value in (("ranking", ranking), ("cluster", cluster)) if value}
    area, selectivity, share = client.get(f"/v1/jobs/{done}/plots/layers.json", params=query).json()["panels"]
    picture = client.get(f"/v1/jobs/{done}/plots/layers.svg", params=query)

    assert picture.headers["content-type"].startswith("image/svg+xml")
    assert area["labels"] == ["conv1", "fc"]
    assert area["groups"] == (["undecided"] * 2 if ranking else ["better than random"] * 2)
    for place, layer in enumerate(("conv1", "fc")):
        stored = next(each for each in layered.part(layer)["rankings"] if each["id"] == (ranking or "gradient"))
        per_cluster, selected = stored["clusters"], stored["specificity"]["selectivity"]
        if cluster:
            study = per_cluster[cluster]["ablation"]
            expected = (study["most"]["area"], selected[cluster], study["units_for_90"] / COUNTS[layer])
        else:
            needed = max(each["ablation"]["units_for_90"] for each in per_cluster.values())
            expected = (stored["overall"]["area"], sum(selected.values()) / 2, needed / COUNTS[layer])
        assert (area["values"][place], selectivity["values"][place], share["values"][place]) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("query", "code"), [("ranking=x", "ranking_not_found"), ("cluster=x", "cluster_not_found"), ("layer=x", "layer_not_found")]
)
def test_plot_of_layers_when_a_name_is_unknown_then_is_404(client: httpx.Client, done: str, query: str, code: str) -> None:
    assert_problem(client.get(f"/v1/jobs/{done}/plots/layers.json?{query}"), 404, code)


def test_plot_of_layers_when_the_job_has_one_layer_then_says_so(client: httpx.Client, served: Served) -> None:
    assert_problem(client.get(f"/v1/jobs/{succeeded(client, served)}/plots/layers.png"), 422, "one_layer")


@pytest.mark.parametrize("layers", [["conv1", "fc"], "*c*"])
@pytest.mark.parametrize(
    "path", ["result", "result?layer=fc", "result?top=3", "plots/layers.png", "report?layer=joint", "units/1?layer=fc"]
)
def test_result_of_layers_when_it_is_gone_then_is_expired(
    client: httpx.Client, served: Served, layers: str | list[str], path: str
) -> None:
    id = layered.succeeded(client, served, layers, ready=isinstance(layers, list))
    served.backend.results.delete(served.backend.jobs.get(id).result)  # type: ignore[arg-type]

    assert_problem(client.get(f"/v1/jobs/{id}/{path}"), 410, "expired")
    assert client.get(f"/jobs/{id}", headers={"Accept": "text/html"}).status_code == 200


def test_result_of_layers_when_narrowed_then_no_file_stays_open(client: httpx.Client, served: Served, done: str) -> None:
    spool = str(served.backend.blobs.spool)
    for query in ("top=19", "layer=fc&top=3", "layer=joint"):
        for accept in ("application/json", "text/csv", "application/x-npz"):
            client.get(f"/v1/jobs/{done}/result?{query}", headers={"Accept": accept}).raise_for_status()

    assert not [file.path for file in psutil.Process().open_files() if file.path.startswith(spool)]


def test_plot_of_layers_when_an_overlay_is_asked_for_then_is_the_plot(client: httpx.Client, done: str) -> None:
    assert client.get(f"/v1/jobs/{done}/plots/layers.png?overlay=true").status_code == 200
