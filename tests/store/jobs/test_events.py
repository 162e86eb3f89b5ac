"""Events: a client waits for a job's end, or follows its changes, without polling."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest
import redis
import redis.asyncio

from unitrank_store.jobs.events import Event, follow, wait_until_ended
from unitrank_store.jobs.job_store import JobStore
from unitrank_store.redis.connection import connect_async

T = TypeVar("T")
Run = Callable[[Callable[[redis.asyncio.Redis], Awaitable[T]]], T]


@pytest.fixture
def jobs(connection: redis.Redis) -> JobStore:
    return JobStore(connection)


@pytest.fixture
def run(redis_url: str) -> Run[T]:
    """Run a coroutine that takes an asyncio client."""

    async def connected(steps: Callable[[redis.asyncio.Redis], Awaitable[T]]) -> T:
        async with connect_async(redis_url) as client:
            return await steps(client)

    return lambda steps: asyncio.run(connected(steps))


def content_of(event: Event | None) -> object:
    assert event is not None
    return event.data.get("status") or event.data


def test_follower_when_the_job_has_ended_then_gets_its_past_and_stops(jobs: JobStore, run: Run[list[object]]) -> None:
    id = jobs.create({}).id
    attempt = jobs.start(id, "a") or 0
    jobs.progress(id, attempt, {"done": 1})
    jobs.finish(id, attempt, "succeeded")

    async def steps(client: redis.asyncio.Redis) -> list[object]:
        return [content_of(event) async for event in follow(client, id)]

    assert run(steps) == ["queued", "running", {"done": 1}, "succeeded"]


def test_follower_when_it_reconnects_then_continues_after_its_last_event(jobs: JobStore, run: Run[list[object]]) -> None:
    id = jobs.create({}).id
    jobs.finish(id, jobs.start(id, "a") or 0, "failed")

    async def steps(client: redis.asyncio.Redis) -> list[object]:
        events = [event async for event in follow(client, id)]
        assert events[0] is not None
        return [content_of(event) async for event in follow(client, id, events[0].id)]

    assert run(steps) == ["running", "failed"]


def test_follower_when_nothing_happens_then_gets_none(jobs: JobStore, run: Run[list[object]]) -> None:
    id = jobs.create({}).id

    async def steps(client: redis.asyncio.Redis) -> list[object]:
        events = follow(client, id, block_seconds=0.01)
        return [await anext(events), await anext(events)]

    assert run(steps)[1] is None


def test_follower_when_the_record_does_not_exist_then_stops(run: Run[list[object]]) -> None:
    async def steps(client: redis.asyncio.Redis) -> list[object]:
        return [event async for event in follow(client, "nothing", block_seconds=0.01)]

    assert run(steps) == []


async def blocked(client: redis.asyncio.Redis) -> None:
    """Wait until a client blocks in a read of events."""
    while not any(client_info["cmd"] == "xread" for client_info in await client.client_list()):
        await asyncio.sleep(0.001)


def test_wait_when_the_job_ends_then_is_true(jobs: JobStore, run: Run[bool]) -> None:
    id = jobs.create({}).id

    async def steps(client: redis.asyncio.Redis) -> bool:
        waiting = asyncio.create_task(wait_until_ended(client, id, 30))
        await blocked(client)
        await asyncio.to_thread(jobs.cancel, id)
        return await waiting

    assert run(steps)


def test_wait_when_the_job_has_ended_before_then_does_not_wait(jobs: JobStore, run: Run[bool]) -> None:
    id = jobs.create({}).id
    jobs.cancel(id)

    assert run(lambda client: wait_until_ended(client, id, 0))
    assert run(lambda client: wait_until_ended(client, id, 30))


@pytest.mark.parametrize("tenant", ["another", ""])
def test_wait_when_the_job_is_another_tenants_then_does_not_wait(jobs: JobStore, run: Run[bool], tenant: str) -> None:
    id = jobs.create({}).id

    assert run(lambda client: wait_until_ended(client, id, 30, tenant=tenant))


def test_wait_when_the_time_is_over_then_is_false(jobs: JobStore, run: Run[bool]) -> None:
    id = jobs.create({}).id

    assert not run(lambda client: wait_until_ended(client, id, 0.05))
