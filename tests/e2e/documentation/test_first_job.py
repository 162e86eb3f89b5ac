"""Runs the commands of docs/first-job.md without a change."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from safetensors.numpy import load_file

pytestmark = pytest.mark.check
PAGE = (Path(__file__).parents[3] / "docs" / "first-job.md").read_text()


def test_first_job_when_its_commands_are_run_then_a_result_comes_back(url: str, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    # Another test may have uploaded a model with this name. A job would use that model until the
    # new model is ready.
    for kind in ("models", "datasets"):
        httpx.delete(f"{url}/v1/{kind}/mine", timeout=60, trust_env=False)
    # The commands expect the clone's `.venv` in the working folder.
    (tmp_path / ".venv").symlink_to(sys.prefix)
    _run([sys.executable, "-c", _block("python")], tmp_path)
    _run(["sh", "-euc", _block("sh").replace("http://127.0.0.1:8000", url)], tmp_path)

    result = json.loads((tmp_path / "result.json").read_text())
    assert {leader["ranking"] for leader in result["leaderboard"]} == {"gradient", "gradient.mean_abs", "conductance"}
    assert load_file(tmp_path / "arrays.safetensors")["importance/conductance"].shape == (len(result["clusters"]), 64)


def _block(language: str) -> str:
    (block,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(block)


def _run(words: list[str], folder: Path) -> None:
    done = subprocess.run(words, cwd=folder, env={**os.environ, "no_proxy": "*"}, capture_output=True, text=True, check=False)
    answer = folder / "job.json"
    assert done.returncode == 0, done.stdout + done.stderr + (answer.read_text() if answer.exists() else "")
