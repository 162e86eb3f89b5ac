"""`unitrank demo`, as a new user runs it."""

import os
import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from tests.support.processes import command, line_with, run, short_folder, wait_until_gone
from unitrank_schemas.results import Result

pytestmark = pytest.mark.check

RANKINGS = ["activation", "gradient", "gradient.mean_abs", "gradient_x_delta", "conductance"]


@pytest.mark.timeout(300)
def test_demo_when_run_then_shows_verdicts_saves_the_result_and_leaves_nothing_running(tmp_path: Path) -> None:
    with short_folder() as place:
        # The demo ignores the settings of another service.
        environment = {**os.environ, "TMPDIR": str(place), "REDIS_URL": "redis://127.0.0.1:1", "UNITRANK_PORT": "1"}
        done = run("demo", "--output", str(tmp_path), "--json", environment=environment)

        assert done.returncode == 0, done.stdout + done.stderr
        wait_until_gone(str(place))
        assert list(place.glob("unitrank-*")) == []
    result = Result.model_validate_json((tmp_path / "summary.json").read_text())
    arrays = load_file(tmp_path / "arrays.safetensors")
    assert sorted(leader.ranking for leader in result.leaderboard) == sorted(RANKINGS)
    assert arrays["importance/conductance"].shape == (10, result.layer.count)
    assert Result.model_validate_json(done.stdout) == result
    assert "Yes: the units of layer relu1 that conductance ranks highest matter more" in done.stderr
    assert _verdict(done.stderr, "conductance").startswith("better than random, robust (p = 0.0")
    assert str(tmp_path / "arrays.safetensors") in done.stderr


def test_demo_when_interrupted_then_leaves_nothing_behind(tmp_path: Path) -> None:
    with short_folder() as place:
        environment = {**os.environ, "TMPDIR": str(place), "PYTHONUNBUFFERED": "1"}
        words = command("demo", "--output", str(tmp_path))
        # A shell starts background processes with SIGINT ignored, and their children inherit that.
        hear = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
        with subprocess.Popen(
            words, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=hear
        ) as process:
            assert process.stdout is not None
            # Without --json the demo prints to stdout.
            line_with("trained", iter(process.stdout))
            process.send_signal(signal.SIGINT)
            process.stdout.read()

        assert process.returncode == 130
        wait_until_gone(str(place))
        assert list(place.glob("unitrank-*")) == []


def _verdict(output: str, ranking: str) -> str:
    line = next(line for line in output.splitlines() if f" {ranking} " in line and " than random," in line.partition(ranking)[0])
    return line.partition(ranking)[0].strip()
