"""The job template of GitLab: its script runs in a shell, with the variables of the job."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.environments.installations import environment

pytestmark = pytest.mark.integrations
ROOT = Path(__file__).parents[3]
JOB: dict[str, Any] = yaml.safe_load((ROOT / "integrations" / "gitlab" / "unitrank.yml").read_text())[".unitrank"]


@pytest.fixture(scope="module")
def project(files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the files of a job, in which `before_script` has installed the client."""
    folder = tmp_path_factory.mktemp("gitlab")
    for file in files:
        (folder / file.name).symlink_to(file)
    (folder / "job.yaml").write_text("{layer: relu1, methods: [conductance], clusters: {by: label}}")
    done = _run(JOB["before_script"], folder, {"CLIENT": str(ROOT)})
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize(("bounds", "code"), [("--max-gap 0.05", 0), ("--max-gap 0.05 --min-area 1000", 1)])
def test_gitlab_when_the_script_runs_then_its_exit_code_is_that_of_the_gate(
    url: str, project: Path, bounds: str, code: int
) -> None:
    given = {"UNITRANK_URL": url, "JOB_FILE": "job.yaml", "MODEL_FILE": "net.pt2", "DATASET_FILE": "data.npz", "BOUNDS": bounds}
    # The last line of `before_script` puts the client on the path.
    done = _run([JOB["before_script"][-1], *JOB["script"]], project, given)

    assert done.returncode == code, done.stdout + done.stderr
    assert all((project / path).stat().st_size > 0 for path in JOB["artifacts"]["paths"])
    assert "| conductance |" in (project / "unitrank.md").read_text()


def _run(lines: list[str], folder: Path, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the lines as one script of `sh`, as GitLab's runner does."""
    variables = environment() | JOB["variables"] | variables
    return subprocess.run(
        ["sh", "-e", "-c", "\n".join(lines)], cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
