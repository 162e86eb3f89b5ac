"""The processes that `unitrank up` keeps alive, and their command lines and environments."""

import os
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec

from unitrank.errors import NotPossible
from unitrank.server.gpus import Gpus
from unitrank.server.supervisor import Command

DEVICE = re.compile(r"cpu|cuda(:\d+)?")
NO_GPUS = Gpus()
# After this many early ends in a row a further restart would not help.
QUICK_ENDS = 5
# How long a stop waits for running jobs. A second signal ends the wait.
DRAIN_SECONDS = 600.0
# Module that the service or the worker needs → the extra that installs the module.
NEEDED = {"fastapi": "service", "uvicorn": "service", "torch": "worker"}


def devices_of(entries: Sequence[str], workers: int | None, gpus: Gpus = NO_GPUS) -> list[str]:
    """The device of each worker. Several workers take the devices in turn. Raises NotPossible.

    Args:
        entries: devices, each entry with one or more of them, separated by commas or spaces.
        workers: the number of workers; None: one for each device.
        gpus: the GPUs that are used if `entries` names no device; without GPUs it is the CPU.
    """
    devices = [device for entry in entries for device in entry.replace(",", " ").split()]
    if not devices:
        # No option names these GPUs, so fewer workers than GPUs are allowed.
        devices = [f"cuda:{number}" for number in range(len(gpus.ids))][:workers] or ["cpu"]
    for device in devices:
        if not DEVICE.fullmatch(device):
            raise NotPossible(f"device {device!r} is invalid: use cpu, cuda or cuda:N, such as cuda:0")
    count = len(devices) if workers is None else workers
    if count < len(devices):
        raise NotPossible(
            f"--workers {count} is too few for the {len(devices)} devices {', '.join(devices)}: "
            f"use at least {len(devices)}, or leave --workers out"
        )
    return [devices[index % len(devices)] for index in range(count)]


def stages(devices: Sequence[str], environment: Mapping[str, str], prefix: str = "") -> list[list[Command]]:
    """The processes in the order in which they end: the workers, then the service.

    In this order, clients can still fetch a job that ends during the shutdown.

    Args:
        devices: the device of each worker, such as `cpu` or `cuda:0`.
        environment: environment variables of all processes.
        prefix: text before each worker's name.
    """
    check_installed()
    thread_limit = _thread_limit(devices)
    names: dict[str, int] = {}
    workers = []
    for device in devices:
        kind = "gpu" if device.startswith("cuda") else "cpu"
        names[kind] = names.get(kind, -1) + 1
        threads = thread_limit if kind == "cpu" else {}
        workers.append(_worker(f"{prefix}{kind}-{names[kind]}", "jobs", device, {**environment, **threads}))
    # The inspector has little to do, and must not take cores from the workers.
    inspector = _worker(f"{prefix}inspector", "inspections", "cpu", {**environment, "OMP_NUM_THREADS": "1"})
    service = Command("service", [sys.executable, "-P", "-m", "unitrank_service"], environment, quick_ends=QUICK_ENDS)
    return [[*workers, inspector], [service]]


def check_installed() -> None:
    """Raises NotPossible if the service or the worker lacks a package."""
    missing = sorted({extra for module, extra in NEEDED.items() if find_spec(module) is None})
    if missing:
        raise NotPossible(f"packages of the service or the worker are missing: pip install 'unitrank[{','.join(missing)}]'")


def host_prefix() -> str:
    """The host's name as a prefix of worker names, which must be unique in a shared store."""
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname()) + "-"


def _worker(name: str, queue: str, device: str, environment: Mapping[str, str]) -> Command:
    command_line = [sys.executable, "-P", "-m", "unitrank_worker", "--queue", queue, "--device", device, "--name", name]
    return Command(name, command_line, environment, drain_seconds=DRAIN_SECONDS, quick_ends=QUICK_ENDS)


def _thread_limit(devices: Sequence[str]) -> dict[str, str]:
    """The number of threads of each worker, if several share the processor.

    Workers that each use all cores are many times slower.
    """
    sharing = sum(device == "cpu" for device in devices)
    if sharing < 2 or "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // sharing))}
