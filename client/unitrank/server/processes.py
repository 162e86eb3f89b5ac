"""Which processes `unitrank up` keeps, and what each of them is told."""

import os
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from unitrank.errors import NotPossible
from unitrank.server.supervisor import Command

DEVICE = re.compile(r"cpu|cuda(:\d+)?")
# A process that ends so often soon after its start will not do better the next time.
QUICK_ENDS = 5
# How long a stop waits for running jobs; a second signal does not.
DRAIN_SECONDS = 600.0
# What each room needs and the extra that brings it.
NEEDED = {"fastapi": "service", "uvicorn": "service", "torch": "worker"}


def devices_of(entries: Sequence[str], workers: int | None) -> list[str]:
    """The device of each worker: the given ones in turn. Raises NotPossible."""
    devices = [device for entry in entries for device in entry.replace(",", " ").split()] or ["cpu"]
    for device in devices:
        if not DEVICE.fullmatch(device):
            raise NotPossible(f"device {device!r} is invalid: use cpu or cuda:N")
    count = len(devices) if workers is None else workers
    if count < len(devices):
        raise NotPossible(f"{count} workers cannot serve the {len(devices)} devices {', '.join(devices)}; leave --workers out")
    return [devices[index % len(devices)] for index in range(count)]


def stages(devices: Sequence[str], environment: Mapping[str, str], prefix: str = "") -> list[list[Command]]:
    """Workers end first, so that their last job can still be asked for; then the service."""
    check_installed()
    share = _share(devices)
    names: dict[str, int] = {}
    workers = []
    for device in devices:
        kind = "gpu" if device.startswith("cuda") else "cpu"
        names[kind] = names.get(kind, -1) + 1
        threads = share if kind == "cpu" else {}
        workers.append(_worker(f"{prefix}{kind}-{names[kind]}", "jobs", device, {**environment, **threads}))
    # It has little to do, and must not take the cores from those that have.
    inspector = _worker(f"{prefix}inspector", "inspections", "cpu", {**environment, "OMP_NUM_THREADS": "1"})
    service = Command("service", [sys.executable, "-P", "-m", "unitrank_service"], environment, quick_ends=QUICK_ENDS)
    return [[*workers, inspector], [service]]


def check_installed() -> None:
    """Raises NotPossible where a room lacks what it is built on."""
    missing = sorted({extra for module, extra in NEEDED.items() if find_spec(module) is None})
    if missing:
        raise NotPossible(f"this installation lacks parts: pip install 'unitrank[{','.join(missing)}]'")


def host_prefix() -> str:
    """Tells workers on a shared store apart."""
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname()) + "-"


def _worker(name: str, queue: str, device: str, environment: Mapping[str, str]) -> Command:
    words = [sys.executable, "-P", "-m", "unitrank_worker", "--queue", queue, "--device", device, "--name", name]
    return Command(name, words, environment, drain_seconds=DRAIN_SECONDS, quick_ends=QUICK_ENDS)


def _share(devices: Sequence[str]) -> dict[str, str]:
    """Threads of each worker where several share the processor; they are many times slower when each takes all."""
    sharing = sum(device == "cpu" for device in devices)
    if sharing < 2 or "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // sharing))}
