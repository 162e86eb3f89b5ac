"""`unitrank up` starts three kinds of processes, and ends all of them."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from httpx import get

from tests.support.processes import command, line_with, run, short_folder, wait_until_gone
from unitrank.errors import NotPossible
from unitrank.server.up import locked, up
from unitrank_store.errors import EmbeddedServerFailed
from unitrank_store.settings import Settings

pytestmark = pytest.mark.check

ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("UNITRANK_") and name != "REDIS_URL"}


def test_up_when_interrupted_then_all_that_it_started_has_ended() -> None:
    with short_folder() as state:
        words = command("up", "--port", "0", "--state", str(state), "--workers", "2")
        with subprocess.Popen(words, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
            assert process.stderr is not None
            url = line_with("ready on", iter(process.stderr)).split()[2]
            workers = {worker["name"] for worker in get(f"{url}/v1/workers", trust_env=False).json()["items"]}
            # The workers' children have no settings of the store in their environment, so they are
            # identified by their parents.
            running = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            second = run("up", "--port", "0", "--state", str(state), environment=ENVIRONMENT)
            process.send_signal(signal.SIGINT)
            output = process.stderr.read()

        assert workers <= {"cpu-0", "cpu-1", "inspector"}
        assert len(running) >= 8
        assert (second.returncode, "is in use" in second.stderr) == (2, True)
        assert process.returncode == 0, output
        wait_until_gone(str(state))
        assert not any(each.is_running() for each in running)


def test_up_when_variables_are_set_then_they_replace_its_options() -> None:
    with short_folder() as state, locked(state):
        environment = {**ENVIRONMENT, "UNITRANK_STATE": str(state), "UNITRANK_DEVICE": "cpu,cpu", "UNITRANK_WORKERS": "3"}
        done = run("up", environment=environment)

    assert done.returncode == 2
    assert str(state) in done.stderr
    assert f"process {os.getpid()}" in done.stderr


def test_up_when_its_port_is_in_use_then_the_error_names_it_and_nothing_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("up", "--port", str(port), "--state", str(tmp_path), environment=ENVIRONMENT)

    assert done.returncode == 2
    assert f"port {port} on 127.0.0.1 is in use; choose another with --port" in done.stderr
    assert not (tmp_path / "appendonlydir").exists()


def test_up_when_there_is_no_server_then_the_error_names_the_next_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_found() -> Path:
        raise EmbeddedServerFailed("no server found: set REDIS_URL")

    monkeypatch.setattr("unitrank_store.redis.embedded.find_server", none_found)

    with pytest.raises(NotPossible, match="no server found: set REDIS_URL"):
        up(Settings(state=tmp_path, port=0, redis_url=None), ["cpu"], lambda event: None)


def test_up_when_the_store_does_not_answer_then_the_shell_sees_that(tmp_path: Path) -> None:
    done = run("up", "--port", "0", "--state", str(tmp_path), environment={**ENVIRONMENT, "REDIS_URL": "redis://127.0.0.1:1"})

    assert done.returncode == 3
    assert "the store at redis://127.0.0.1:1 does not answer" in done.stderr


def test_up_when_others_could_reach_it_without_a_key_then_it_refuses() -> None:
    with short_folder() as state:
        done = run("up", "--host", "0.0.0.0", "--port", "0", "--state", str(state), environment=ENVIRONMENT)

        assert done.returncode == 2
        assert "refusing to listen on 0.0.0.0 without keys" in done.stderr
        wait_until_gone(str(state))


def test_up_when_logs_are_for_machines_then_speaks_as_they_do() -> None:
    program = "from unitrank.cli.commands.up import announcer; announcer('json')('ready on http://127.0.0.1:1')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert json.loads(done.stderr)["event"] == "ready on http://127.0.0.1:1"


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("UNITRANK_WEBHOOK_HOSTS", "10.0.0.0/99", "'10.0.0.0/99' in UNITRANK_WEBHOOK_HOSTS is invalid"),
        ("UNITRANK_SOURCES", "nowhere", "'nowhere' cannot be a source"),
    ],
)
def test_up_when_its_service_cannot_run_as_set_then_it_says_why_and_ends(name: str, value: str, reason: str) -> None:
    with short_folder() as state:
        done = run("up", "--port", "0", "--state", str(state), environment={**ENVIRONMENT, name: value})

    assert done.returncode == 2
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("words", [["-m", "unitrank", "keys", "list"], ["-m", "unitrank_service"], ["-m", "unitrank_worker"]])
def test_program_when_a_setting_is_malformed_then_names_it_and_ends(words: list[str]) -> None:
    environment = {**ENVIRONMENT, "UNITRANK_MAXMEMORY": "much"}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 2
    assert "settings are wrong; UNITRANK_MAXMEMORY: must be a valid integer" in done.stderr
    assert "Traceback" not in done.stderr


def test_up_when_the_store_does_not_answer_then_the_error_hides_its_password(tmp_path: Path) -> None:
    environment = {**ENVIRONMENT, "REDIS_URL": "redis://:sekret@127.0.0.1:1/0"}
    for words in (["up", "--port", "0"], ["keys", "list"]):
        done = run(*words, "--state", str(tmp_path), environment=environment)
        assert (done.returncode, "sekret" in done.stderr, "does not answer" in done.stderr) == (3, False, True)
