"""Clients that other projects' generators make from docs/openapi.json run a job."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.environments.installations import environment
from tests.support.environments.separate import packages_of_node, separate

pytestmark = pytest.mark.integrations
ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "openapi.json"
VERDICTS = ("better_than_random", "no_better_than_random", "worse_than_random")


def _run(words: list[str | Path], folder: Path, **variables: str) -> str:
    done = subprocess.run(words, cwd=folder, env=environment() | variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def _missing(why: str) -> None:
    """Skip the test, or fail it if CI is set."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def _ran(output: str) -> bool:
    ranking, verdict = output.split()
    return ranking == "conductance" and verdict in VERDICTS


def test_openapi_python_client_when_it_made_a_client_then_the_client_runs_a_job(
    url: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    programs = separate("python-client")
    generator = [programs / "openapi-python-client", "generate", "--path", DOCUMENT, "--meta", "none"]

    output = _run([*generator, "--output-path", tmp_path / "unitrank_client"], tmp_path, PATH=f"{programs}:{os.defpath}")
    program = ROOT / "integrations" / "python-client" / "main_job.py"
    verdict = _run([programs / "python", program, url, *files], tmp_path, PYTHONPATH=str(tmp_path))

    # The generator supports only JSON and text, so it leaves out routes of pictures alone.
    skipped = [line for line in output.splitlines() if line.startswith("WARNING")]
    assert skipped == ["WARNING parsing GET /v1/datasets/{name}/rows/{row}.png within datasets."]
    assert _ran(verdict)


def test_openapi_typescript_when_it_made_types_then_a_program_with_them_runs_a_job(
    url: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    if shutil.which("npm") is None:
        _missing("npm is not on PATH")
    folder = packages_of_node("typescript-client")
    for name in ("main_job.ts", "tsconfig.json"):
        shutil.copy(ROOT / "integrations" / "typescript-client" / name, folder)

    _run(["npx", "openapi-typescript", DOCUMENT, "--default-non-nullable=false", "--output", "unitrank.ts"], folder)
    _run(["npx", "tsc"], folder)

    assert _ran(_run(["node", "build/main_job.js", url, *files], folder))
