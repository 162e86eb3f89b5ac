"""A job on several layers gives each layer the numbers of a job on this layer alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.job.test_passes import Node, Nodes
from tests.engine.layers.nets import NETS, job, job_on, network, new_network
from tests.engine.reuse.test_reuse import Memory

METHODS = [
    "activation",
    "gradient",
    "deeplift",
    {"name": "conductance", "steps": 4},
    {"name": "integrated_gradients", "steps": 3, "statistic": "rms"},
    "exact_ablation",
    {"name": "shapley", "permutations": 4},
    "random",
]


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("clusters", [{"by": "label"}, {"by": "kmeans", "k": 2, "layer": "end"}, {"by": "label", "limit": 7}])
def test_layers_when_ranked_in_one_job_then_equal_to_jobs_on_one_layer(name: str, clusters: Any, tmp_path: Path) -> None:
    layers = NETS[name][1]

    summary, arrays = job(name, tmp_path, layers, METHODS, clusters=clusters, keep_examples=2)

    assert list(summary["layers"]) == layers
    for layer in layers:
        alone, of_layer = job(name, tmp_path, layer, METHODS, clusters=clusters, keep_examples=2)
        part = summary["layers"][layer]
        assert part["layer"] == alone["layer"]
        assert summary["clusters"] == alone["clusters"]
        for ranking, ranking_alone in zip(part["rankings"], alone["rankings"], strict=True):
            assert ranking["overall"]["p_value"] == ranking_alone["overall"]["p_value"]
            for cluster, expected in ranking_alone["clusters"].items():
                assert [unit["unit"] for unit in ranking["clusters"][cluster]["top"]] == [unit["unit"] for unit in expected["top"]]
                assert ranking["clusters"][cluster]["ablation"]["p_value"] == expected["ablation"]["p_value"]
        assert {name for name in arrays if name.startswith(f"{layer}/")} == {
            f"{layer}/{name}" for name in of_layer if not name.startswith("rows/") and name != "tests/rows"
        }
        for array, values in of_layer.items():
            ours = arrays.get(f"{layer}/{array}", arrays.get(array))
            np.testing.assert_allclose(ours, values, rtol=1e-5, atol=1e-6, err_msg=array)


@pytest.mark.parametrize("name", NETS)
def test_passes_when_layers_share_them_then_their_number_is_that_of_one_layer(name: str, tmp_path: Path) -> None:
    layers, path = NETS[name][1], {"steps": 6, "spacing": "uniform"}
    methods = ["gradient", {"name": "conductance", **path}, {"name": "internal_influence", **path}]

    shared, _ = job(name, tmp_path, layers, methods, ablation=None)
    alone = [job(name, tmp_path, layer, methods, ablation=None)[0]["cost"] for layer in layers]

    # Passes at the common baseline run once a job, so that each layer may have its own.
    allowed = 2 * len(layers) * 3
    for rows in ("forward_rows", "backward_rows"):
        most = max(cost[rows] for cost in alone)
        assert most <= shared["cost"][rows] <= most + allowed
        assert shared["cost"][rows] < 0.75 * sum(cost[rows] for cost in alone)


def test_family_when_there_are_several_layers_then_it_has_the_rankings_of_all(tmp_path: Path) -> None:
    layers, methods, ablation = NETS["residual"][1], ["activation", "gradient", "random"], {"random": 99, "fractions": [0.5]}
    of_family, of_layer = list[float](), list[float]()
    for seed in range(3):
        summary, _ = job("residual", tmp_path, layers, methods, ablation=ablation, seed=seed)
        for layer in layers:
            alone, _ = job("residual", tmp_path, layer, methods, ablation=ablation, seed=seed)
            for p_values, rankings in ((of_family, summary["layers"][layer]["rankings"]), (of_layer, alone["rankings"])):
                p_values += [each["overall"]["p_family"] for each in rankings if each["id"] != "random"]

    assert all(ours >= theirs for ours, theirs in zip(of_family, of_layer, strict=True))
    assert of_family != of_layer


def test_layers_when_every_class_is_explained_then_each_has_a_ranking_of_each_class(tmp_path: Path) -> None:
    layers = NETS["residual"][1]
    request: dict[str, Any] = {"target": {"class": "each"}, "clusters": {"by": "all"}}

    summary, arrays = job("residual", tmp_path, layers, ["gradient"], joint=True, **request)

    for layer in [*layers, "joint"]:
        part = summary["joint"] if layer == "joint" else summary["layers"][layer]
        assert [ranking["id"] for ranking in part["rankings"]] == [f"gradient@{number}" for number in range(3)]
    alone, of_layer = job("residual", tmp_path, "inner", ["gradient"], **request)
    np.testing.assert_array_equal(arrays["inner/importance/gradient@2"], of_layer["importance/gradient@2"])
    np.testing.assert_array_equal(arrays["inner/ablation/random@1"], of_layer["ablation/random@1"])
    assert summary["layers"]["inner"]["rankings"][1]["clusters"] == alone["rankings"][1]["clusters"]


def test_layers_when_two_nodes_compute_then_equal_to_one_process(tmp_path: Path) -> None:
    layers = NETS["residual"][1]
    _, expected = job("residual", tmp_path, layers, METHODS, joint=True)
    # Threads need a network each, because the fake tensors of a network share a mode.
    nets = [new_network("residual") for _ in range(2)]
    folders = [tmp_path / str(number) for number in range(2)]
    for folder in folders:
        folder.mkdir()

    def on_node(node: Node) -> dict[str, np.ndarray]:
        return job_on(nets[node.number], folders[node.number], layers, METHODS, joint=True, runner=node)[1]

    for arrays in Nodes(2).run(on_node):
        assert arrays.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(arrays[name], values, err_msg=name)


def test_layers_when_the_job_is_repeated_then_earlier_results_are_reused(tmp_path: Path) -> None:
    layers, store = NETS["residual"][1], Memory()

    _, first = job("residual", tmp_path, layers, ["gradient"], joint=True, parts=store)
    summary, again = job("residual", tmp_path, layers, ["gradient"], joint=True, parts=store)

    assert set(summary["cost"]["reused"]) >= {"act/gradient", "inner/gradient", "joint/gradient", "joint/controls"}
    for name, values in first.items():
        np.testing.assert_array_equal(again[name], values, err_msg=name)


def test_warnings_when_all_layers_have_one_then_it_stands_once(tmp_path: Path) -> None:
    ablation = {"random": 19, "fractions": [0.5], "split": "none"}

    summary, _ = job("residual", tmp_path, NETS["residual"][1], ["gradient"], ablation=ablation)

    assert [each["code"] for each in summary["warnings"]].count("in_sample") == 1
    assert not any(each["code"] == "in_sample" for part in summary["layers"].values() for each in part["warnings"])


def test_a_list_when_it_has_one_layer_then_the_result_has_layers(tmp_path: Path) -> None:
    summary, arrays = job("residual", tmp_path, ["inner"], ["gradient"])

    assert list(summary["layers"]) == ["inner"]
    assert summary["joint"] is None
    assert arrays["inner/importance/gradient"].shape == (3, 4)
    assert network("residual")[2].shape[0] == sum(cluster["examples"] for cluster in summary["clusters"])
