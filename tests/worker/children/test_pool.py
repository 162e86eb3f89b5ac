"""The pool of a worker's children: a child gets orders of one tenant only."""

import itertools
from typing import cast

import pytest

from unitrank_store.settings import Settings
from unitrank_tables.sizes import GiB
from unitrank_worker.children.handle import ChildHandle
from unitrank_worker.children.pool import ChildPool, Load, PoolLimits


class StubChild:
    """A child without a process. `resident`: its resident bytes. `events`: calls, in order."""

    def __init__(self, pid: int, events: list[str]) -> None:
        self._number = pid
        self._events = events
        self.pid = 0
        self.resident = 100
        self.models: list[str] = []
        self.unconfined: str | None = None
        self.device_memory = 0

    @property
    def alive(self) -> bool:
        return self.pid > 0

    def start(self) -> None:
        if not self.alive:
            self.pid = self._number
            self._events.append(f"start {self.pid}")

    def open(self) -> None:
        self._events.append(f"open {self.pid}")

    def await_ready(self, seconds: float) -> None:
        assert self.alive

    def memory(self) -> int:
        return self.resident if self.alive else 0

    def end(self) -> int:
        if self.alive:
            self._events.append(f"end {self.pid}")
        self.pid = 0
        return 9


class Bed:
    """A pool of stub children with process ids from 1. `counted`: the reasons of ends."""

    def __init__(self, limits: PoolLimits) -> None:
        self.events: list[str] = []
        self.counted: list[str] = []
        numbers = itertools.count(1)
        self.pool = ChildPool(lambda: cast(ChildHandle, StubChild(next(numbers), self.events)), limits, self.counted.append)
        self.pool.start(1)

    def run(self, tenant: str, resident: int = 100) -> int:
        """Run a job of the tenant, as the worker does. Returns the process id of its child."""
        child = cast(StubChild, self.pool.child_of(tenant))
        self.pool.start_spare()
        child.resident = resident
        pid = child.pid
        self.pool.shrink()
        return pid


def test_tenants_when_they_alternate_then_each_keeps_its_child() -> None:
    bed = Bed(PoolLimits())

    assert [bed.run(tenant) for tenant in ("a", "b", "a", "b")] == [1, 2, 1, 2]
    assert bed.pool.load() == Load(3, 300)


def test_spare_when_it_waits_then_has_not_opened_its_device() -> None:
    bed = Bed(PoolLimits())
    bed.run("a")

    assert bed.events == ["start 1", "open 1", "open 1", "start 2"]


def test_tenants_when_too_many_then_the_least_recently_used_child_ends_first() -> None:
    bed = Bed(PoolLimits(children=2))
    pids = [bed.run(tenant) for tenant in ("a", "b", "a", "c", "a", "b")]

    # The third tenant ends the child of b, which ran before that of a.
    assert pids == [1, 2, 1, 3, 1, 4]
    assert bed.counted == ["evicted", "evicted"]


def test_worker_when_on_a_gpu_then_one_child_ends_before_the_next_opens_the_device() -> None:
    limits = PoolLimits.of(Settings(children=4), "job", "cuda:0")
    bed = Bed(limits)
    bed.run("a")
    del bed.events[:]
    bed.run("b")

    assert limits.children == 1
    assert bed.events == ["end 1", "open 2", "start 3"]
    assert PoolLimits.of(Settings(children=4), "job", "cpu").children == 4


def test_worker_when_it_inspects_then_keeps_one_child() -> None:
    assert PoolLimits.of(Settings(children=4), "inspection", "cpu").children == 1


def test_children_when_their_memory_exceeds_the_total_then_the_last_one_stays() -> None:
    bed = Bed(PoolLimits(total_bytes=500, child_bytes=1000))
    bed.run("a", 200)
    bed.run("b", 300)
    assert bed.counted == []
    bed.run("c", 600)

    assert bed.counted == ["evicted", "evicted"]
    assert bed.run("c") == 3


def test_child_when_it_has_grown_too_large_then_its_tenant_gets_the_spare() -> None:
    bed = Bed(PoolLimits(child_bytes=1000))
    pids = [bed.run("b"), bed.run("a", 1000), bed.run("a", 1001), bed.run("a"), bed.run("b")]

    assert pids == [1, 2, 2, 3, 1]
    assert bed.counted == ["too_large"]


@pytest.mark.parametrize("tenant", ["a", "b"])
def test_child_when_it_was_removed_or_has_ended_then_no_tenant_gets_it_again(tenant: str) -> None:
    bed = Bed(PoolLimits())
    child = bed.pool.child_of("a")
    bed.pool.start_spare()

    assert bed.pool.remove(child) == 9
    assert bed.run(tenant) == 2
    cast(StubChild, bed.pool.child_of("c")).pid = 0
    assert bed.run("c") == 4


def test_models_when_read_then_are_by_tenant() -> None:
    bed = Bed(PoolLimits())
    cast(StubChild, bed.pool.child_of("a")).models = ["net"]
    bed.run("b")

    assert bed.pool.models() == {"a": ["net"]}


def test_pool_when_it_ends_then_no_child_is_left() -> None:
    bed = Bed(PoolLimits())
    bed.run("a")
    bed.run("b")
    bed.pool.end()

    assert bed.pool.load() == Load(0, 0)


def test_spare_when_it_cannot_be_started_then_the_job_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed(PoolLimits())
    bed.pool.child_of("a")

    def fail(child: StubChild) -> None:
        raise BlockingIOError("too many processes")

    monkeypatch.setattr(StubChild, "start", fail)

    bed.pool.start_spare()


def test_child_when_it_cannot_be_started_then_counts_as_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed(PoolLimits())
    bed.pool.child_of("a")

    def fail(child: StubChild) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(StubChild, "start", fail)

    assert not bed.pool.child_of("b").alive


def test_settings_when_a_child_may_hold_more_models_then_it_may_be_larger() -> None:
    assert PoolLimits.of(Settings(warm_models_bytes=5 * GiB), "job", "cpu").child_bytes == 6 * GiB
    assert PoolLimits.of(Settings(idle_child_bytes=7), "job", "cpu").child_bytes == 7
