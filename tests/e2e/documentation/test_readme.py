"""What the README tells a stranger to type, typed."""

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

README = (Path(__file__).parents[3] / "README.md").read_text()


def test_readme_when_its_walk_is_followed_then_a_result_comes_back(url: str, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl here")
    # Another test may have put a model under the name of README; a job would mean that one until the new one is ready.
    for kind in ("models", "datasets"):
        httpx.delete(f"{url}/v1/{kind}/mine", timeout=60, trust_env=False)
    # the walk is a stranger's, who stands in the clone
    (tmp_path / ".venv").symlink_to(sys.prefix)
    _run([sys.executable, "-c", _block("python")], tmp_path)
    _run(["sh", "-euc", _block("sh").replace("http://127.0.0.1:8000", url)], tmp_path)

    result = json.loads((tmp_path / "result.json").read_text())
    assert {leader["ranking"] for leader in result["leaderboard"]} == {"gradient", "gradient.mean_abs", "conductance"}
    assert load_file(tmp_path / "arrays.safetensors")["importance/conductance"].shape == (len(result["clusters"]), 64)


def _block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return str(found)


def _run(words: list[str], folder: Path) -> None:
    done = subprocess.run(words, cwd=folder, env={**os.environ, "no_proxy": "*"}, capture_output=True, text=True, check=False)
    answer = folder / "job.json"
    assert done.returncode == 0, done.stdout + done.stderr + (answer.read_text() if answer.exists() else "")
