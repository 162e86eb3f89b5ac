"""The children of a worker: one for each tenant of its last orders, and a spare.

    order of a new tenant ──▶ the spare becomes the tenant's child ──▶ a new spare starts
    too many children, or too much memory ──▶ the child of the least recent tenant ends

A child that a model has taken over can read all that the child has read. So a child never gets
orders of two tenants. The spare has loaded the engine, which takes seconds, and has seen no order.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import structlog

from unitrank_store.settings import Settings
from unitrank_tables.sizes import GiB
from unitrank_worker.children.handle import ChildHandle

log = structlog.get_logger()


@dataclass(frozen=True)
class PoolLimits:
    """The limits of a worker's children, besides the spare.

    `children`: maximum number of children.
    `total_bytes`: maximum resident bytes of all children together, while no job runs. The child of
    the last job stays, also if it exceeds this limit.
    `child_bytes`: a child with more resident bytes after a job is ended.
    """

    children: int = 4
    total_bytes: int = 4 << 30
    child_bytes: int = 3 << 30

    @classmethod
    def of(cls, settings: Settings, kind: str, device: str) -> Self:
        """The limits of the operator's settings. `kind`: `job` or `inspection`.

        A GPU has room for one process with loaded models, and an inspection leaves no model loaded.
        """
        return cls(
            children=settings.children if kind == "job" and device == "cpu" else 1,
            total_bytes=settings.idle_children_bytes,
            child_bytes=settings.idle_child_bytes or settings.warm_models_bytes + GiB,
        )


class Load(NamedTuple):
    """The children that run: their number, and their resident bytes together."""

    children: int
    memory: int


class ChildPool:
    """The children of one worker. No child gets orders of two tenants.

    Only the main thread may call these methods, except `load` and `models`: a child gets
    SIGKILL when the thread that started it ends.
    """

    def __init__(self, new_child: Callable[[], ChildHandle], limits: PoolLimits, count_end: Callable[[str], None]) -> None:
        """`new_child`: returns the handle of a child that is not started.

        `count_end`: called with the reason when the pool ends a child.
        """
        self._new_child = new_child
        self._limits = limits
        self._count_end = count_end
        self._children: OrderedDict[str, ChildHandle] = OrderedDict()
        self._spare = new_child()
        self.device_memory = 0
        """Bytes of the GPU's memory; 0 on a CPU, and before `start`."""

    def start(self, seconds: float) -> str | None:
        """Start the first child, and wait at most `seconds` until it can take orders.

        Returns why the children are not confined; None if they are. Raises NotStarted, for example
        if the device cannot be used.
        """
        self._spare.start()
        self._spare.open()
        self._spare.await_ready(seconds)
        self.device_memory = self._spare.device_memory
        return self._spare.unconfined

    def child_of(self, tenant: str) -> ChildHandle:
        """The tenant's child. It may still be starting.

        If the tenant's child has ended, or was never started, the spare becomes its child. On a
        GPU the other child ends first, so that its memory is free.
        """
        child = self._children.get(tenant)
        if child is None or not child.alive:
            if child is not None:
                self.remove(child)
            while len(self._children) >= self._limits.children:
                self._end(next(iter(self._children)), "evicted")
            # A child that could not be started counts as one that has ended: the worker then ends.
            self.start_spare()
            self._spare.open()
            child, self._spare = self._spare, self._new_child()
            self._children[tenant] = child
        self._children.move_to_end(tenant)
        return child

    def start_spare(self) -> None:
        """Start a spare, unless there is one. Does not wait until it is loaded."""
        try:
            self._spare.start()
        except OSError as error:
            log.warning("spare not started", error=str(error))

    def remove(self, child: ChildHandle) -> int:
        """Kill the child, so that its tenant gets another one.

        Returns the child's status, as `ChildHandle.end` does.
        """
        for tenant in [tenant for tenant, each in self._children.items() if each is child]:
            del self._children[tenant]
        return child.end()

    def shrink(self) -> None:
        """End the children whose memory exceeds a limit. Call it between two jobs."""
        resident = {tenant: child.memory() for tenant, child in self._children.items()}
        for tenant, size in list(resident.items()):
            if size > self._limits.child_bytes:
                self._end(tenant, "too_large", resident=resident.pop(tenant))
        total = sum(resident.values())
        for tenant in list(resident)[:-1]:
            if total > self._limits.total_bytes:
                total -= resident[tenant]
                self._end(tenant, "evicted", resident=resident[tenant])

    def end(self) -> None:
        """Kill all children and the spare."""
        for child in [*self._children.values(), self._spare]:
            child.end()
        self._children.clear()

    def load(self) -> Load:
        """The number and the memory of the children that run, with the spare."""
        running = [child for child in [*self._children.copy().values(), self._spare] if child.pid]
        return Load(len(running), sum(child.memory() for child in running))

    def models(self) -> Mapping[str, Sequence[str]]:
        """Tenant → names of the models in the memory of its child."""
        return {tenant: child.models for tenant, child in self._children.copy().items() if child.models}

    def has_warm(self, tenant: str, upload: str) -> bool:
        """Whether the tenant's child has the model in its memory. `upload`: the upload's digest."""
        child = self._children.get(tenant)
        return child is not None and child.has_warm(upload)

    def _end(self, tenant: str, reason: str, **details: int) -> None:
        child = self._children[tenant]
        log.info("child ended", pid=child.pid, tenant=tenant, because=reason, **details)
        self._count_end(reason)
        self.remove(child)
