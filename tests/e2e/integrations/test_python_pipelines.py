"""Prefect, Dagster and Kubeflow run their files, each in an environment of its own."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.environments.installations import environment
from tests.support.environments.separate import separate
from unitrank.client.sync import Client

pytestmark = [pytest.mark.integrations, pytest.mark.slow]
SOURCES = Path(__file__).parents[3] / "integrations"
REQUEST = {
    "model": "pipeline-net",
    "layer": "relu1",
    "dataset": "pipeline-data",
    "methods": ["conductance"],
    "clusters": {"by": "label"},
}
MET, NOT_MET = {"max_gap": 0.05}, {"max_gap": 0.05, "min_area": 1000}

PREFECT = """
import json, sys
from unitrank_flow import unitrank_gate
print("job", unitrank_gate(json.loads(sys.argv[1]), json.loads(sys.argv[2])))
"""
DAGSTER = """
import json, sys
import dagster as dg
from unitrank_assets import good_enough, ranked_units
run = {"ranked_units": {"config": {"request": json.loads(sys.argv[1])}}}
check = {"ranked_units_good_enough": {"config": {"bounds": json.loads(sys.argv[2])}}}
result = dg.materialize([ranked_units, good_enough], run_config={"ops": run | check}, raise_on_error=False)
(evaluation,) = result.get_asset_check_evaluations()
assert evaluation.passed, evaluation.metadata
print("job", result.output_for_node("ranked_units"))
"""
KUBEFLOW = """
import json, pathlib, sys
from kfp import compiler, dsl, local
from unitrank_component import rank_units

local.init(runner=local.SubprocessRunner(use_venv=False), raise_on_error=True)
request, bounds = json.loads(sys.argv[1]), json.loads(sys.argv[2])
model, dataset = sys.argv[3:]

@dsl.component
def file(path: str, out: dsl.Output[dsl.Artifact]):
    import shutil
    shutil.copy(path, out.path)

@dsl.pipeline
def pipeline(request: dict, bounds: dict, model: str, dataset: str) -> str:
    network, data = file(path=model), file(path=dataset)
    return rank_units(model=network.outputs["out"], dataset=data.outputs["out"], request=request, bounds=bounds).outputs["Output"]

compiler.Compiler().compile(rank_units, "component.yaml")
print("job", pipeline(request=request, bounds=bounds, model=model, dataset=dataset).output)
"""
PROGRAMS = {"prefect": PREFECT, "dagster": DAGSTER, "kubeflow": KUBEFLOW}


@pytest.fixture(scope="module", autouse=True)
def contents(url: str, files: tuple[Path, Path]) -> None:
    """The service has a network and a dataset."""
    with Client(url) as client:
        client.models.put("pipeline-net", files[0])
        client.datasets.put("pipeline-data", files[1])


@pytest.mark.parametrize(("name", "program"), PROGRAMS.items(), ids=PROGRAMS)
def test_pipeline_when_it_runs_then_succeeds_only_if_the_bounds_are_met(
    url: str, files: tuple[Path, Path], tmp_path: Path, name: str, program: str
) -> None:
    programs = separate(name)
    variables = {
        "UNITRANK_URL": url,
        "PYTHONPATH": str(SOURCES / name),
        "PATH": f"{programs}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        # Prefect starts a server of its own for the length of the run.
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DAGSTER_HOME": str(tmp_path),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
    }
    (tmp_path / "program.py").write_text(program)

    def run(bounds: dict[str, float]) -> subprocess.CompletedProcess[str]:
        command = [programs / "python", "program.py", json.dumps(REQUEST), json.dumps(bounds), *map(str, files)]
        return subprocess.run(command, cwd=tmp_path, env=environment() | variables, capture_output=True, text=True, check=False)

    met, not_met = run(MET), run(NOT_MET)

    assert met.returncode == 0, met.stdout + met.stderr
    job = next(line.split()[1] for line in met.stdout.splitlines() if line.startswith("job "))
    with Client(url) as client:
        assert client.jobs.get(job).status == "succeeded"
    assert not_met.returncode != 0
    assert "area over all clusters at least 1000" in not_met.stdout + not_met.stderr
