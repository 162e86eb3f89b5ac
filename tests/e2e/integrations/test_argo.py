"""The template of Argo Workflows: its script runs in a shell, and Argo's API has its fields."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.environments.installations import environment
from tests.support.environments.separate import separate

pytestmark = [pytest.mark.integrations, pytest.mark.slow]
FILE = Path(__file__).parents[3] / "integrations" / "argo" / "unitrank.yaml"
TEMPLATE: dict[str, Any] = yaml.safe_load(FILE.read_text())["spec"]["templates"][0]
# Hera makes its models from Argo's schema. They ignore fields that the schema does not have.
VALIDATION = """
import json, sys, yaml
from hera.workflows.models import WorkflowTemplate
template = WorkflowTemplate.model_validate(yaml.safe_load(open(sys.argv[1])))
print(json.dumps(template.model_dump(by_alias=True, exclude_none=True, mode="json")))
"""


def test_argo_when_its_template_is_read_then_all_fields_belong_to_argo() -> None:
    command = [separate("argo") / "python", "-c", VALIDATION, str(FILE)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert _paths(yaml.safe_load(FILE.read_text())) - _paths(json.loads(done.stdout)) == set()


@pytest.mark.parametrize(("bounds", "code"), [("--max-gap 0.05", 0), ("--max-gap 0.05 --min-area 1000", 1)])
def test_argo_when_its_script_runs_then_writes_the_outputs_and_ends_as_the_gate(
    url: str, files: tuple[Path, Path], tmp_path: Path, bounds: str, code: int
) -> None:
    job = "{layer: relu1, methods: [conductance], clusters: {by: label}}"
    inputs = {parameter["name"]: parameter.get("value", "") for parameter in TEMPLATE["inputs"]["parameters"]}
    inputs |= {"url": url, "job": job, "bounds": bounds}
    for artifact, file in zip(TEMPLATE["inputs"]["artifacts"], files, strict=True):
        place = tmp_path / artifact["path"].removeprefix("/tmp/")
        place.parent.mkdir(exist_ok=True)
        shutil.copy(file, place)
    variables = {
        entry["name"]: re.sub(r"{{inputs\.parameters\.(\w+)}}", lambda match: inputs[match[1]], entry["value"])
        for entry in TEMPLATE["script"]["env"]
        if "value" in entry
    }
    script = tmp_path / "script"
    script.write_text(TEMPLATE["script"]["source"].replace("/tmp/", f"{tmp_path}/"))
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        [*TEMPLATE["script"]["command"], str(script)],
        env=environment() | variables | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == code, done.stdout + done.stderr
    outputs = [entry["valueFrom"]["path"] for entry in TEMPLATE["outputs"]["parameters"]]
    outputs += [entry["path"] for entry in TEMPLATE["outputs"]["artifacts"]]
    assert all((tmp_path / output.removeprefix("/tmp/")).stat().st_size > 0 for output in outputs)


def _paths(value: Any, path: str = "") -> set[str]:
    """The path of each field."""
    if isinstance(value, dict):
        return {place for name, inner in value.items() for place in _paths(inner, f"{path}/{name}")}
    if isinstance(value, list):
        return {place for index, inner in enumerate(value) for place in _paths(inner, f"{path}/{index}")}
    return {path}
