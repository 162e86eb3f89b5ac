"""The embedded server: it is private, locks its folder, and loses no acknowledged write."""

import os
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.support.polling import wait_until
from unitrank_store.errors import EmbeddedServerFailed
from unitrank_store.redis import log_repair
from unitrank_store.redis.connection import connect
from unitrank_store.redis.embedded import LONGEST_SOCKET_PATH, EmbeddedServer, find_server, server_version, socket_path


@pytest.fixture(autouse=True)
def _needs_a_binary(server: EmbeddedServer) -> None:
    """Skip the test if no server is installed."""


def test_server_when_entered_then_answers_and_left_then_gone(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server, connect(server.url) as client:
        assert client.ping()
        pid = server.pid

    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_socket_when_listening_then_only_the_owner_reaches_it(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path):
        mode = stat.S_IMODE(socket_path(tmp_path).stat().st_mode)

    assert mode == 0o700


def test_memory_when_full_then_writes_are_refused_and_nothing_is_evicted(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path, maxmemory=123_456_789) as server, connect(server.url) as client:
        settings = client.config_get("maxmemory*")

    assert settings["maxmemory"] == "123456789"
    assert settings["maxmemory-policy"] == "noeviction"


def test_folder_when_held_then_a_second_server_is_refused(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path), pytest.raises(EmbeddedServerFailed, match=f"in use \\(by process {os.getpid()}\\)"):
        EmbeddedServer(tmp_path).start()


def test_writes_when_the_server_is_killed_then_all_are_there_again(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server, connect(server.url) as client:
        for number in range(500):
            client.set(f"key-{number}", number)
        # While an fsync is running, the server buffers writes for up to two seconds.
        wait_until(lambda: not int(client.info("persistence")["aof_buffer_length"]), "the buffer is written")
        os.kill(server.pid, signal.SIGKILL)

    with EmbeddedServer(tmp_path) as server, connect(server.url) as client:
        assert client.dbsize() == 500


def test_server_when_it_has_died_then_is_started_again_with_its_data(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server, connect(server.url) as client:
        assert not server.keep()
        client.set("key", "value")
        os.kill(server.pid, signal.SIGKILL)
        wait_until(lambda: not server.running, "the server has ended")

        assert server.keep()
        assert client.get("key") == b"value"


def test_server_when_its_starter_is_killed_then_ends_and_keeps_the_folder_until_then(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys, time; from unitrank_store.redis.embedded import EmbeddedServer; "
        "server = EmbeddedServer(pathlib.Path(sys.argv[1])); server.start(); print(server.pid, flush=True); time.sleep(600)"
    )
    starter = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    with starter.stdout as output:
        pid = int(output.readline())
        starter.kill()
        starter.wait()

    with EmbeddedServer(tmp_path) as server:
        assert server.pid != pid
        assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_folder_when_its_path_is_too_long_for_a_socket_then_a_short_one_is_used(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)

    with EmbeddedServer(deep) as server, connect(server.url) as client:
        assert client.ping()
    assert len(os.fsencode(socket_path(deep))) <= LONGEST_SOCKET_PATH


def test_socket_when_no_short_path_exists_then_the_message_names_a_solution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("y" * 120)))

    with pytest.raises(EmbeddedServerFailed, match="shorter path"):
        socket_path(tmp_path / ("x" * 120))


def test_socket_when_no_temporary_folder_is_writable_then_the_message_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_folder() -> str:
        raise FileNotFoundError("no usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", no_folder)

    assert socket_path(Path("/short")) == Path("/short/valkey.sock")
    with pytest.raises(EmbeddedServerFailed, match="no temporary folder can be written"):
        socket_path(tmp_path / ("x" * 120))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_folder_when_it_belongs_to_another_user_and_is_writable_then_the_server_answers(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 0)

    with EmbeddedServer(tmp_path) as server, connect(server.url) as client:
        assert client.ping()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to another user")
def test_socket_when_its_short_folder_belongs_to_another_user_then_the_server_does_not_start(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120)
    socket_path(deep).parent.mkdir()
    os.chown(socket_path(deep).parent, 12345, 0)

    with pytest.raises(EmbeddedServerFailed, match="belongs to another user"):
        EmbeddedServer(deep).start()
    socket_path(deep).parent.rmdir()


def test_path_with_spaces_when_used_as_state_then_the_server_answers(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path / "a folder") as server, connect(server.url) as client:
        assert client.ping()


def test_server_when_its_configuration_is_refused_then_the_error_has_the_end_of_its_log(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedServerFailed, match="its log ends"):
        EmbeddedServer(tmp_path, maxmemory=-5).start()

    with EmbeddedServer(tmp_path):  # the folder is unlocked
        pass


def value(name: bytes, value: bytes) -> bytes:
    """The command `SET name value` as the log holds it."""
    return b"*3\r\n$3\r\nSET\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(name), name, len(value), value)


MULTI = b"*1\r\n$5\r\nMULTI\r\n"
ENDS = {
    "zeros": b"\0" * 4096,
    "garbage": bytes(range(255, 0, -1)) * 20,
    "zeros in a command": value(b"late", b"x" * 200)[:-100] + b"\0" * 4096,
    "zeros in a transaction": MULTI + value(b"late", b"x") + b"\0" * 4096,
}


@pytest.mark.parametrize("end", ENDS)
def test_server_when_the_end_of_its_log_is_damaged_then_starts_without_it(tmp_path: Path, end: str) -> None:
    with EmbeddedServer(tmp_path) as server, connect(server.url) as client:
        for number in range(100):
            client.set(f"key-{number}", number)
    log = last_log(tmp_path)
    size = log.stat().st_size
    with log.open("ab") as file:
        file.write(ENDS[end])
    lines: list[str] = []

    with EmbeddedServer(tmp_path, announce=lines.append) as server, connect(server.url) as client:
        assert client.dbsize() == 100
        client.set("later", 1)
    with EmbeddedServer(tmp_path, announce=lines.append) as server, connect(server.url) as client:
        assert client.dbsize() == 101
    (copy,) = tmp_path.glob("*.cut-at-*")
    assert copy.read_bytes() == ENDS[end]
    assert [f"the last {len(ENDS[end])} were cut" in line and str(copy) in line for line in lines] == [True]
    assert copy.name.endswith(f".cut-at-{size}")


def test_server_when_its_log_is_damaged_far_from_the_end_then_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_repair, "MOST_CUT", 1000)
    with EmbeddedServer(tmp_path) as server, connect(server.url) as client:
        for number in range(100):
            client.set(f"key-{number}", number)
    log = last_log(tmp_path)
    content = log.read_bytes()
    damaged = content[:1000] + b"\0" * 100 + content[1100:]
    log.write_bytes(damaged)

    with pytest.raises(EmbeddedServerFailed, match="restore the state folder"):
        EmbeddedServer(tmp_path).start()
    assert log.read_bytes() == damaged


def test_server_when_its_snapshot_is_damaged_then_the_log_is_not_cut(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server, connect(server.url) as client:
        client.set("key", 1)
    log = last_log(tmp_path)
    content = log.read_bytes()
    (base,) = log.parent.glob("*.base.rdb")
    base.write_bytes(b"\0" * 80)

    with pytest.raises(EmbeddedServerFailed, match="its log ends"):
        EmbeddedServer(tmp_path).start()
    assert log.read_bytes() == content


def test_server_when_its_log_ends_with_an_unknown_command_then_names_it_and_cuts_nothing(tmp_path: Path) -> None:
    with EmbeddedServer(tmp_path) as server, connect(server.url) as client:
        client.set("key", value(b"NOTHERE", b"x"))
    log = last_log(tmp_path)
    size = log.stat().st_size
    content = log.read_bytes() + value(b"late", b"x").replace(b"$3\r\nSET", b"$7\r\nNOTHERE") + value(b"later", b"x")
    log.write_bytes(content)

    with pytest.raises(EmbeddedServerFailed, match="'NOTHERE'") as raised:
        EmbeddedServer(tmp_path).start()
    assert f"{log} holds the command 'NOTHERE' at byte {size} of {len(content)}" in str(raised.value)
    assert log.read_bytes() == content
    # The advice works.
    for line in re.findall(r"`(.+?)`", str(raised.value)):
        subprocess.run(line, shell=True, check=True)
    with EmbeddedServer(tmp_path) as server, connect(server.url) as client:
        assert client.keys() == [b"key"]
    assert (tmp_path / log.name).read_bytes() == content


def last_log(state: Path) -> Path:
    """The file to which the server appends."""
    return max((state / "appendonlydir").glob("*.incr.aof"))


def test_binary_when_none_is_installed_then_the_message_names_the_solutions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(EmbeddedServerFailed, match="REDIS_URL"):
        find_server()


def test_version_when_asked_then_at_least_what_the_queue_needs() -> None:
    assert server_version(find_server()) >= (6, 2)
