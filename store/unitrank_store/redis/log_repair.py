"""Repairs the end of the embedded server's log (its append-only file).

After a power failure the log may end with zeros or garbage, and the server then refuses to start.
The server ignores an incomplete last command, but nothing else. It also stops at a whole command
that it does not know, which is named and not cut.

The server's own checker finds the last whole command. The bytes after it are moved to a file.
"""

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from unitrank_store.errors import EmbeddedServerFailed
from unitrank_tables.sizes import MiB

MOST_CUT = 64 * MiB
"""Bytes that are cut without asking: more than the writes of the last seconds.

A power failure does not damage earlier bytes, and whole commands may follow them.
"""
CHECK_SECONDS = 600.0


@dataclass(frozen=True)
class LogRepair:
    """A repair of the log.

    `kept`: bytes that are still in the log. `cut`: bytes that were cut from its end.
    `copy`: the file that holds the cut bytes.
    """

    log: Path
    kept: int
    cut: int
    copy: Path

    def __str__(self) -> str:
        return (
            f"the end of the store's log was damaged, as after a power failure: of {self.kept + self.cut} bytes the last "
            f"{self.cut} were cut from {self.log}; the cut bytes are in {self.copy}"
        )


def repair_log(state: Path, binary: Path) -> LogRepair | None:
    """Cut the damaged end of the log in the folder `state`; return None if its end is whole.

    `binary`: the server's binary, which is also the checker. The server must not run.
    Raises EmbeddedServerFailed if the damage is too large, or if the log cannot be written.
    """
    log = _last_log(state)
    if log is None:
        return None
    size = log.stat().st_size
    kept = _whole_bytes(binary, log)
    if kept is None or kept >= size:
        return None
    if size - kept > MOST_CUT:
        raise EmbeddedServerFailed(
            f"the log {log} is damaged at byte {kept} of {size}, too far from its end for a power failure; "
            f"restore the state folder from a backup, or cut the log there with `truncate -s {kept} {log}`"
        )
    copy = state / f"{log.name}.cut-at-{kept}"
    try:
        _move_end(log, kept, copy)
    except OSError as error:
        raise EmbeddedServerFailed(f"the log {log} is damaged at byte {kept}, and cannot be repaired: {error.strerror}") from error
    return LogRepair(log, kept, size - kept, copy)


def refuse_unknown_command(state: Path, reason: str) -> None:
    """Raise EmbeddedServerFailed if the server ended because it does not know a command of its log.

    This log is whole, and nothing is cut: the commands may be those of a newer server.
    `reason`: the server's own words.
    """
    log = _last_log(state)
    unknown = re.search(r"unknown command '([^']+)'", reason, re.IGNORECASE)
    if log is None or unknown is None or "append only file" not in reason:
        return
    if (at := _place_of(unknown[1].encode(), log)) is None:
        return
    path = quote(str(log))
    raise EmbeddedServerFailed(
        f"the log {log} holds the command {unknown[1]!r} at byte {at} of {log.stat().st_size}, which this server does not know, "
        "as after a change to an older version; start with the server that wrote the log, restore the state folder from a backup, "
        f"or lose all commands from there on: `cp {path} {quote(str(state))}`, then `truncate -s {at} {path}`"
    )


def _place_of(name: bytes, log: Path) -> int | None:
    """The byte at which the first command with this name begins; None if it is not found.

    A command is `*WORDS`, then `$BYTES` and the bytes of each word. Notes begin with `#`.
    """
    with log.open("rb") as file:
        while line := file.readline():
            at = file.tell() - len(line)
            try:
                words = [file.read(int(file.readline()[1:]) + 2)[:-2] for _ in range(int(line[1:]) if line[:1] == b"*" else 0)]
            except ValueError:
                return None
            if words and words[0] == name:
                return at
    return None


def _last_log(state: Path) -> Path | None:
    """The file to which the server appends; None if it does not exist."""
    folder = state / "appendonlydir"
    manifest = folder / "appendonly.aof.manifest"
    if not manifest.is_file():
        # Servers before version 7 have one file.
        log = state / "appendonly.aof"
    else:
        names = re.findall(r"^file (\S+) seq \d+ type i\b", manifest.read_text(), re.MULTILINE)
        if not names:
            return None
        log = folder / names[-1]
    return log if log.is_file() else None


def _whole_bytes(binary: Path, log: Path) -> int | None:
    """The bytes of the log up to the end of its last whole command; None if that is unknown.

    The checker gets this one file, not the manifest: that of Valkey 9.1 does not know the format of
    its own snapshots, and takes the log's first part for damaged.
    """
    # The binary is the checker if it is called by the checker's name.
    version = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    name = "redis-check-aof" if version.startswith("Redis") else "valkey-check-aof"
    try:
        checked = subprocess.run(
            [name, str(log)],
            executable=binary,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=CHECK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None
    match = re.search(r"^AOF analyzed: .*?\bok_up_to=(\d+)", checked.stdout, re.MULTILINE)
    return int(match[1]) if match else None


def _move_end(log: Path, kept: int, copy: Path) -> None:
    """Move the bytes after `kept` to the file `copy`, which is on the disk before they are cut."""
    with log.open("r+b") as source:
        source.seek(kept)
        with open(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as target:
            while piece := source.read(MiB):
                target.write(piece)
            target.flush()
            os.fsync(target.fileno())
        source.truncate(kept)
        os.fsync(source.fileno())
