"""The process that draws: it starts with the first call, and a dead one is replaced."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

import unitrank_plots
from tests.support.polling import wait_until
from unitrank_service.results.drawing import DrawingProcess, DrawingTooSlow

LOST = unitrank_plots.NoPicture("no_ablation", "the job had no ablation")


@pytest.fixture
def drawing() -> Iterator[DrawingProcess]:
    process = DrawingProcess()
    yield process
    process.close()


def fail() -> None:
    raise LOST


def test_function_when_run_then_another_process_runs_it_and_its_exceptions_come_back(drawing: DrawingProcess) -> None:
    async def run() -> tuple[int, int]:
        first = await drawing.run("key", os.getpid)
        with pytest.raises(unitrank_plots.NoPicture) as error:
            await drawing.run("key", fail)
        assert (error.value.code, error.value.detail) == (LOST.code, LOST.detail)
        return first, await drawing.run("key", os.getpid)

    first, second = asyncio.run(run())

    assert first == second != os.getpid()


def test_calls_of_several_keys_when_they_wait_then_take_turns(drawing: DrawingProcess) -> None:
    async def run() -> list[str]:
        ended = list[str]()

        async def call(key: str) -> None:
            await drawing.run(key, os.getpid)
            ended.append(key)

        await asyncio.gather(*map(call, ["a", "a", "a", "b"]))
        return ended

    assert asyncio.run(run()) == ["a", "b", "a", "a"]


def test_process_when_killed_between_two_calls_then_the_next_call_starts_another(drawing: DrawingProcess) -> None:
    async def run() -> tuple[int, int]:
        first = await drawing.run("key", os.getpid)
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: not psutil.pid_exists(first) or psutil.Process(first).status() == "zombie", "the process is dead")
        return first, await drawing.run("key", os.getpid)

    first, second = asyncio.run(run())

    assert first != second


@pytest.mark.check
def test_function_when_it_kills_its_process_then_the_call_fails_and_later_calls_succeed(drawing: DrawingProcess) -> None:
    async def run() -> int:
        with pytest.raises(ChildProcessError):
            await drawing.run("key", os._exit, 1)
        return await drawing.run("key", os.getpid)

    assert asyncio.run(run()) != os.getpid()


def test_function_when_it_takes_too_long_then_its_process_is_killed_and_later_calls_succeed(drawing: DrawingProcess) -> None:
    async def run() -> tuple[int, int]:
        first = await drawing.run("key", os.getpid)
        seconds, drawing.seconds = drawing.seconds, 0.05
        with pytest.raises(DrawingTooSlow):
            await drawing.run("key", signal.pause)
        drawing.seconds = seconds
        return first, await drawing.run("key", os.getpid)

    first, second = asyncio.run(run())

    assert first != second
    assert not psutil.pid_exists(first)


@pytest.mark.check
def test_process_when_the_service_is_killed_then_ends_too() -> None:
    program = f"import asyncio, os, {DrawingProcess.__module__} as drawing; process = drawing.DrawingProcess(); "
    program += "print(asyncio.run(process.run('key', os.getpid)), flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout
        drawing = int(service.stdout.readline())
        assert psutil.pid_exists(drawing)
        service.kill()

        wait_until(lambda: not psutil.pid_exists(drawing), "the process that draws has ended")
