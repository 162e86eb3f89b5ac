"""The composite action in action.yml, run step by step as GitHub's runner does."""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.environments.installations import environment

pytestmark = pytest.mark.integrations
ROOT = Path(__file__).parents[3]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]
EXPRESSION = re.compile(r"\$\{\{\s*([\w.-]+)\s*\}\}")
# GitHub starts `shell: bash` with these words.
BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail"]


@dataclass
class Ended:
    """Exit code, log, step summary and outputs of a run of the action."""

    code: int
    log: str
    summary: str
    outputs: dict[str, str]


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The temporary folder of a runner, with the client that the first step installs."""
    folder = tmp_path_factory.mktemp("runner")
    ended = _run(STEPS[:1], {}, folder, folder)
    assert ended.code == 0, ended.log
    return folder


@pytest.fixture
def workspace(files: tuple[Path, Path], tmp_path: Path) -> Path:
    """A checkout with a network, a dataset and the request of a job."""
    for file in files:
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "job.yaml").write_text("{layer: relu1, methods: [conductance], clusters: {by: label}}")
    return tmp_path


def test_action_when_the_bounds_are_met_then_succeeds_with_the_verdict_as_its_summary(
    url: str, runner: Path, workspace: Path
) -> None:
    inputs = {"url": url, "job": "job.yaml", "model": "net.pt2", "dataset": "data.npz", "max-gap": "0.05"}
    ended = _run(STEPS[1:], inputs, workspace, runner)

    assert ended.code == 0, ended.log
    assert re.fullmatch(r"[0-9a-z]{26}", ended.outputs["job"])
    assert "| conductance |" in ended.summary
    assert re.search(r"^met +completeness gap at most 0.05", ended.summary, re.MULTILINE)


def test_action_when_a_bound_is_not_met_then_fails_and_the_summary_names_the_bound(url: str, runner: Path, workspace: Path) -> None:
    inputs = {"url": url, "job": "job.yaml", "model": "net.pt2", "dataset": "data.npz", "min-area": "1000"}
    ended = _run(STEPS[1:], inputs, workspace, runner)

    assert ended.code == 1, ended.log
    assert re.search(r"^NOT MET +area over all clusters at least 1000", ended.summary, re.MULTILINE)


def test_action_when_no_bound_is_given_then_only_ranks(url: str, runner: Path, workspace: Path) -> None:
    ended = _run(STEPS[1:], {"url": url, "job": "job.yaml", "model": "net.pt2", "dataset": "data.npz"}, workspace, runner)

    assert ended.code == 0, ended.log
    assert "```text" not in ended.summary


def test_action_when_the_request_is_wrong_then_fails_with_the_reason(url: str, runner: Path, workspace: Path) -> None:
    (workspace / "wrong.yaml").write_text("{layer: relu9, methods: [conductance]}")
    inputs = {"url": url, "job": "wrong.yaml", "model": "net.pt2", "dataset": "data.npz", "max-gap": "0.05"}
    ended = _run(STEPS[1:], inputs, workspace, runner)

    assert (ended.code, ended.summary, ended.outputs) == (2, "", {})
    assert "layer 'relu9' not found" in ended.log


def test_action_when_read_then_has_only_what_these_tests_run() -> None:
    """A step with `if`, `uses` or another shell would pass these tests without being run."""
    used = {match for step in STEPS for match in EXPRESSION.findall(str(step.get("env", {})))}

    assert ACTION["runs"]["using"] == "composite"
    assert all({"name", "shell", "run"} <= step.keys() <= {"name", "id", "shell", "env", "run"} for step in STEPS)
    assert {step["shell"] for step in STEPS} == {"bash"}
    assert {name.removeprefix("inputs.") for name in used if name.startswith("inputs.")} == ACTION["inputs"].keys()
    # An expression in a script would be pasted into it, with all characters of an input.
    assert not any(EXPRESSION.search(step["run"]) for step in STEPS)


def _run(steps: list[dict[str, Any]], inputs: dict[str, str], workspace: Path, temporary: Path) -> Ended:
    """Run the steps until one fails."""
    values = {f"inputs.{name}": options.get("default", "") for name, options in ACTION["inputs"].items()}
    values |= {f"inputs.{name}": text for name, text in inputs.items()}
    summary, output = workspace / "summary.md", workspace / "output"
    for file in (summary, output):
        file.write_text("")
    variables = {
        "GITHUB_ACTION_PATH": str(ROOT),
        "GITHUB_OUTPUT": str(output),
        "GITHUB_STEP_SUMMARY": str(summary),
        "RUNNER_TEMP": str(temporary),
        "HOME": str(temporary),
        "PATH": os.environ["PATH"],
    }
    code, log = 0, ""
    for step in steps:
        own = {name: _filled(text, values) for name, text in step.get("env", {}).items()}
        script = workspace / "step.sh"
        script.write_text(step["run"])
        done = subprocess.run(
            [*BASH, str(script)], cwd=workspace, env=environment() | variables | own, capture_output=True, text=True, check=False
        )
        code, log = done.returncode, log + done.stdout + done.stderr
        values |= {f"steps.{step.get('id')}.outputs.{name}": text for name, text in _outputs(output).items()}
        if code:
            break
    return Ended(code, log, summary.read_text(), _outputs(output))


def _filled(text: str, values: dict[str, str]) -> str:
    """The text, with the value in place of each expression."""
    return EXPRESSION.sub(lambda match: values[match[1]], text)


def _outputs(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text().splitlines())
