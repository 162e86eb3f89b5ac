"""A driver whose cluster has no node for its job."""

import socket
from collections.abc import Iterator

import pytest

from tests.support.clock import Clock
from tests.worker.distributed.local_nodes import LocalNodes
from unitrank_schemas.base import Json
from unitrank_worker.distributed import driver as driver_module
from unitrank_worker.distributed.driver import START_SECONDS, TAKEN_SECONDS, Driver
from unitrank_worker.distributed.replica import JobHead
from unitrank_worker.process.channel import Channel, Message


class TakenNodes(LocalNodes):
    """A cluster whose nodes all belong to other drivers."""

    none_is_left = True


@pytest.fixture
def ends() -> Iterator[tuple[Channel, Channel]]:
    """The channel's end of the worker, and that of the driver."""
    worker, driver = (Channel(each, payload_bytes=1 << 10) for each in socket.socketpair())
    yield worker, driver
    worker.close()
    driver.close()


def answer(
    ends: tuple[Channel, Channel], cluster: LocalNodes, execution: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> Message | None:
    """The driver's answer about a job that has waited for nodes for `seconds`."""
    monkeypatch.setattr(driver_module, "WAIT_SECONDS", 0.001)
    clock, (worker, here) = Clock(), ends
    driver = Driver(here, cluster, clock)
    request: Json = {"request": {"execution": execution}}
    worker.send({"begin": JobHead("j.1", "tenant", request).to_json()})
    driver.step()
    clock.advance(seconds)
    driver.step()
    return worker.receive(0)


@pytest.mark.parametrize(("execution", "seconds"), [("auto", TAKEN_SECONDS), ("distributed", START_SECONDS)])
def test_job_when_other_jobs_have_all_nodes_then_is_refused_after_its_time(
    ends: tuple[Channel, Channel], execution: str, seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = TakenNodes("none", [])
    assert answer(ends, nodes, execution, seconds - 0.1, monkeypatch) is None
    message = answer(ends, nodes, execution, seconds, monkeypatch)

    assert message is not None
    assert message.content["refused"]["code"] == "ray_without_nodes"


def test_job_when_its_nodes_still_start_then_waits_for_them(ends: tuple[Channel, Channel], monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer(ends, LocalNodes("none", []), "auto", START_SECONDS - 0.1, monkeypatch) is None
