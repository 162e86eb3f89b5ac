"""The workers of `unitrank up`, and their devices."""

import pytest

from unitrank.errors import NotPossible
from unitrank.server.gpus import Gpus
from unitrank.server.processes import devices_of, stages


@pytest.mark.parametrize(
    ("given", "workers", "devices"),
    [
        ([], None, ["cpu"]),
        ([], 2, ["cpu", "cpu"]),
        (["cuda"], None, ["cuda"]),
        (["cuda:0,cuda:1"], None, ["cuda:0", "cuda:1"]),
        (["cuda:0", "cuda:1"], 3, ["cuda:0", "cuda:1", "cuda:0"]),
    ],
)
def test_devices_when_fewer_than_workers_then_they_take_turns(given: list[str], workers: int | None, devices: list[str]) -> None:
    assert devices_of(given, workers) == devices


@pytest.mark.parametrize(
    ("given", "workers", "devices"),
    [
        ([], None, ["cuda:0", "cuda:1"]),
        ([], 1, ["cuda:0"]),
        ([], 3, ["cuda:0", "cuda:1", "cuda:0"]),
        (["cpu"], None, ["cpu"]),
    ],
)
def test_devices_when_none_is_named_then_the_gpus_of_the_machine(given: list[str], workers: int | None, devices: list[str]) -> None:
    assert devices_of(given, workers, Gpus(("GPU-a", "GPU-b"))) == devices


@pytest.mark.parametrize(
    ("given", "workers", "message"),
    [
        (["gpu"], None, "device 'gpu' is invalid: use cpu, cuda or cuda:N"),
        (["cuda:x"], None, "device 'cuda:x' is invalid: use cpu, cuda or cuda:N"),
        (["cuda:0", "cuda:1"], 1, "--workers 1 is too few for the 2 devices cuda:0, cuda:1: use at least 2"),
    ],
)
def test_devices_when_they_are_invalid_or_too_many_then_are_refused(given: list[str], workers: int | None, message: str) -> None:
    with pytest.raises(NotPossible, match=message):
        devices_of(given, workers)


def test_stages_when_planned_then_workers_end_before_the_service() -> None:
    planned = stages(["cuda:0", "cpu", "cuda:1"], {}, "here-")

    assert [[command.name for command in stage] for stage in planned] == [
        ["here-gpu-0", "here-cpu-0", "here-gpu-1", "here-inspector"],
        ["service"],
    ]


def test_stages_when_workers_share_the_processor_then_each_gets_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 8)

    threads = [command.environment.get("OMP_NUM_THREADS") for command in stages(["cpu", "cpu"], {})[0]]

    assert threads == ["4", "4", "1"]


def test_stages_when_planned_then_no_command_imports_from_the_current_folder() -> None:
    commands = [command for stage in stages(["cpu"], {}) for command in stage]

    assert [command.command_line[1:3] for command in commands] == [["-P", "-m"]] * 3
