"""The use of the processes of one `unitrank up`: commands and bytes of the store, and CPU time."""

from dataclasses import astuple, dataclass
from typing import Any

import psutil
import redis


@dataclass(frozen=True)
class Use:
    """The use of the processes so far. `*_cpu`: seconds of CPU time.

    `commands`: of the store, with those of scripts. `traffic`: bytes that the store received and
    sent. `memory`, `log`: bytes of the store's data and of its log on disk. `parents`: the worker's
    parents. `children`: the processes that compute.
    """

    commands: float
    traffic: float
    memory: float
    log: float
    store_cpu: float
    service_cpu: float
    parents_cpu: float
    children_cpu: float

    def since(self, earlier: "Use", share: float = 1.0) -> "Use":
        """The difference to an earlier reading, times `share`."""
        return Use(*((now - before) * share for now, before in zip(astuple(self), astuple(earlier), strict=True)))


class Meter:
    """Reads what the processes of one `unitrank up` have used."""

    def __init__(self, connection: redis.Redis, up: psutil.Process) -> None:
        self._redis = connection
        self._processes: dict[str, list[psutil.Process]] = {"store": [], "service": [], "parents": [], "children": []}
        for process in up.children(recursive=True):
            words = " ".join(process.cmdline())
            kinds = {
                "unitrank_service": "service",
                "process.child": "children",
                "unitrank_worker ": "parents",
                "appendonly": "store",
            }
            kind = next((kind for word, kind in kinds.items() if word in words), None)
            if kind is not None:
                self._processes[kind].append(process)

    def read(self) -> Use:
        """The use of all processes since their start."""
        info: dict[str, Any] = self._redis.info()
        cpu = {kind: sum(sum(each.cpu_times()[:2]) for each in processes) for kind, processes in self._processes.items()}
        return Use(
            commands=info["total_commands_processed"],
            traffic=info["total_net_input_bytes"] + info["total_net_output_bytes"],
            memory=info["used_memory_dataset"],
            log=info["aof_current_size"],
            store_cpu=info["used_cpu_user"] + info["used_cpu_sys"],
            service_cpu=cpu["service"],
            parents_cpu=cpu["parents"],
            children_cpu=cpu["children"],
        )
