"""The Helm chart is the script's output, and Helm makes the objects of kustomize of it.

Without helm on PATH only the files are compared.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy import generate_chart

from tests.support import manifests
from tests.support.manifests import CUSTOM, PROGRAM, VERSIONS, Manifest, composed, title

CHART = generate_chart.CHART
needs_helm = pytest.mark.skipif(shutil.which("helm") is None, reason="helm is not on PATH")
CHOICES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, ["valkey", "gpu-workers", "autoscale-gpu"]),
    ({"workers": {"gpu": {"enabled": False}, "cpu": {"enabled": True}}}, ["valkey", "cpu-workers", "autoscale-cpu"]),
    (
        {"store": {"valkey": False}, "ingress": {"host": "rank.example.org"}},
        ["external-redis", "gpu-workers", "autoscale-gpu", "ingress"],
    ),
    ({"blobs": {"volume": True}}, ["valkey", "gpu-workers", "autoscale-gpu", "shared-volume"]),
    ({"ray": {"enabled": True}}, ["valkey", "gpu-workers", "autoscale-gpu", "ray"]),
    (
        {"blobs": {"volume": True}, "openshift": True},
        ["valkey", "gpu-workers", "autoscale-gpu", "shared-volume", "openshift"],
    ),
]
"""Values of the chart, and the components with the same objects."""


def test_chart_when_committed_then_is_the_output_of_the_script() -> None:
    committed = {str(file.relative_to(CHART)): file.read_text() for file in CHART.rglob("*") if file.is_file()}

    assert committed == generate_chart.chart(), "run python deploy/generate_chart.py"


def test_chart_when_compared_with_the_components_then_has_all_of_their_objects() -> None:
    files = {str(file.relative_to(manifests.KUSTOMIZE)) for file in manifests.KUSTOMIZE.glob("*/**/*.yaml")}
    left_out = {name for name in files if name.endswith("kustomization.yaml")} | {
        "base/namespace.yaml",
        "components/ray/driver.yaml",
    }

    assert files - left_out == {source.file for source in generate_chart.SOURCES}


def test_script_when_a_manifest_lacks_the_text_of_a_rule_then_names_file_and_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(generate_chart.RULES, "base/service.yaml", {"minReplicas: 99": "x"})

    with pytest.raises(ValueError, match=r"base/service\.yaml lacks a text .*minReplicas: 99"):
        generate_chart.chart()


def test_values_when_compared_with_the_schema_then_each_has_a_type() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    assert schema["additionalProperties"] is False
    assert schema["properties"].keys() == {*values, "global"}
    assert values["settings"] | {"UNITRANK_BLOBS": values["blobs"]["url"]} == manifests.settings_map()


@needs_helm
@pytest.mark.skipif(PROGRAM is None, reason="neither kustomize nor kubectl is on PATH")
@pytest.mark.parametrize(("values", "components"), CHOICES)
def test_chart_when_rendered_then_has_the_objects_of_kustomize(
    values: dict[str, Any], components: list[str], tmp_path: Path
) -> None:
    objects = _rendered(values, tmp_path)
    expected = {title(each): _plain(each) for each in composed(tmp_path, *components) if each["kind"] != "Namespace"}

    assert {title(each): _plain(each) for each in objects} == expected


@needs_helm
@pytest.mark.parametrize("values", [{"storageClass": "fast", "workers": {"autoscale": False}}, {"ingress": {"class": "nginx"}}])
def test_chart_when_rendered_with_other_values_then_is_valid(values: dict[str, Any], tmp_path: Path) -> None:
    for each in _rendered(values, tmp_path):
        if each["kind"] not in CUSTOM:
            manifests.check_schema(each, VERSIONS[-1])


@needs_helm
def test_chart_when_a_value_is_misspelt_then_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="replica"):
        _rendered({"service": {"replica": 3}}, tmp_path)


@needs_helm
def test_chart_when_linted_then_has_no_warning() -> None:
    done = subprocess.run(["helm", "lint", "--strict", str(CHART)], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def _rendered(values: dict[str, Any], folder: Path) -> list[Manifest]:
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    words = ["helm", "template", "unitrank", str(CHART), "--namespace", "unitrank", "--values", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [each for each in yaml.safe_load_all(done.stdout) if each]


def _plain(manifest: Manifest) -> Any:
    """The object without its namespace and without the registry of its images."""
    text = json.dumps(manifest | {"metadata": {key: value for key, value in manifest["metadata"].items() if key != "namespace"}})
    return json.loads(text.replace("registry.example.org/", ""))
