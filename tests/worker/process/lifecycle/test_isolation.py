"""A worker's child has the files of its job, and no address or password of the store."""

import socket
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.worker.process.conftest import Bench
from unitrank_store.worker_registry import WorkerRegistry

pytestmark = pytest.mark.check


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_child_when_it_works_then_holds_no_address_of_the_store(bench: Bench) -> None:
    worker = bench.start(BROKER=bench.url, AWS_SECRET_ACCESS_KEY="not for the child")
    bench.summary(bench.submit())
    child = psutil.Process(worker.child())
    parent = psutil.Process(worker.process.pid)

    assert bench.url in parent.environ().values()
    assert secrets_in(child.pid, [bench.url.encode(), b"not for the child"]) == []
    assert secrets_in(parent.pid, [bench.url.encode()]) != []
    assert [(each.family, each.raddr) for each in child.net_connections("all")] == [(socket.AF_UNIX, "")]


@pytest.mark.check
@pytest.mark.skipif(sys.platform != "linux", reason="Landlock and seccomp are parts of Linux")
@pytest.mark.parametrize(("confinement", "reason"), [("require", None), ("off", "UNITRANK_CONFINEMENT is off")])
def test_worker_when_ready_then_its_entry_says_whether_its_children_are_confined(
    bench: Bench, confinement: str, reason: str | None
) -> None:
    bench.start(UNITRANK_CONFINEMENT=confinement)
    bench.summary(bench.submit())

    assert [entry.unconfined for entry in WorkerRegistry(bench.connection).list()] == [reason]


def secrets_in(pid: int, secrets: list[bytes]) -> list[bytes]:
    """The secrets in the environment, the arguments or the writable memory of a process."""
    pieces = [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("environ", "cmdline")]
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            addresses, rights, *_ = line.split()
            start, end = (int(address, 16) for address in addresses.split("-"))
            if rights.startswith("rw"):
                with suppress(OSError):
                    memory.seek(start)
                    pieces.append(memory.read(end - start))
    return [secret for secret in secrets if any(secret in piece for piece in pieces)]


LINES = ["nonsense\n"]
MORE_LINES = [
    '{"end": "queued"}\n',
    '{"span": "x", "since": "y"}\n',
    '{"bytes": 99999999999}\n',
    '{"end": "failed", "problem": 1}\n',
    '{"progress": 1}\n',
    '{"find_parts": 1}\n',
    '{"result": 1, "seconds": 1}\n',
    '{"result": {}, "seconds": 1}\n{"end": "succeeded"}\n',
    '{"result": {}, "progress": null, "seconds": 1' + "0" * 400 + "}\n",
    '{"progress": ' + "[" * 20_000 + "]" * 20_000 + "}\n",
    '{"progress": {"done": 1, "total": 2, "unit": "rows", "stage": "x", "eta": null, "more": 1}}\n',
    '{"keep_part": "../x"}\n',
    '{"end": "failed"}\n',
    '{"warm": 1}\n',
]


@pytest.mark.parametrize("line", [*LINES, *(pytest.param(line, marks=pytest.mark.check) for line in MORE_LINES)])
def test_child_when_it_sends_malformed_messages_then_its_worker_lives_on(bench: Bench, line: str) -> None:
    worker = bench.start()
    record = bench.ended(bench.submit(["send", line]))

    assert (record.status, (record.problem or {})["code"]) == ("failed", "worker_lost")
    assert bench.ended(bench.submit()).status == "succeeded"
    assert worker.process.poll() is None
