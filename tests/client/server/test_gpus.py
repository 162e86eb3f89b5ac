"""The GPUs that `unitrank up` finds. A script prints what `nvidia-smi` prints."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.support.processes import short_folder
from unitrank.cli.doctor import Finding, of_gpus
from unitrank.cli.main import app
from unitrank.server import gpus
from unitrank.server.gpus import Gpus, find_gpus
from unitrank.server.supervisor import Command
from unitrank_worker.children import handle

TWO = """\
GPU 0: NVIDIA A100-SXM4-80GB (UUID: GPU-5b1c8a4e-0f0d-4b7e-9a53-6f1d2c3b4a50)
GPU 1: NVIDIA A100 (with, a comma) (UUID: GPU-77d0e1f2-1111-2222-3333-444455556666)
"""
FIRST, SECOND = "GPU-5b1c8a4e-0f0d-4b7e-9a53-6f1d2c3b4a50", "GPU-77d0e1f2-1111-2222-3333-444455556666"
DIVIDED = f"""\
GPU 0: NVIDIA H200 (UUID: {FIRST})
  MIG 1g.18gb     Device  0: (UUID: MIG-aaaa0000-0000-5000-8000-000000000001)
  MIG 2g.35gb     Device  1: (UUID: MIG-bbbb0000-0000-5000-8000-000000000002)
GPU 1: NVIDIA H200 (UUID: {SECOND})
"""
SLICES = ("MIG-aaaa0000-0000-5000-8000-000000000001", "MIG-bbbb0000-0000-5000-8000-000000000002")

Driver = Callable[..., dict[str, str]]


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Driver:
    """A function that installs an `nvidia-smi`, and returns the environment that finds it."""
    monkeypatch.setattr(gpus, "_torch_has_cuda", lambda: True)

    def install(output: str, status: int = 0, **variables: str) -> dict[str, str]:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n[ \"$*\" = -L ] || exit 9\ncat <<'END'\n{output.rstrip()}\nEND\nexit {status}\n")
        program.chmod(0o755)
        return {"PATH": f"{tmp_path}:/usr/bin:/bin", **variables}

    return install


@pytest.mark.parametrize(
    ("listing", "variables", "ids"),
    [
        (TWO, {}, (FIRST, SECOND)),
        ("No devices found.", {}, ()),
        # A process sees one MIG device, and cannot use a divided GPU as a whole.
        (DIVIDED, {}, (*SLICES, SECOND)),
        # As CUDA's programming guide says: the first invalid entry ends the list.
        (TWO, {"CUDA_VISIBLE_DEVICES": ""}, ()),
        (TWO, {"CUDA_VISIBLE_DEVICES": "-1"}, ()),
        (TWO, {"CUDA_VISIBLE_DEVICES": "1"}, ("1",)),
        (TWO, {"CUDA_VISIBLE_DEVICES": "1, 0"}, ("1", "0")),
        (TWO, {"CUDA_VISIBLE_DEVICES": "1,7,0"}, ("1",)),
        (TWO, {"CUDA_VISIBLE_DEVICES": "1,1"}, ("1",)),
        (TWO, {"CUDA_VISIBLE_DEVICES": "GPU-77d0"}, ("GPU-77d0",)),
        (DIVIDED, {"CUDA_VISIBLE_DEVICES": SLICES[1]}, (SLICES[1],)),
    ],
)
def test_gpus_when_the_driver_lists_them_then_those_that_cuda_would_use(
    driver: Driver, listing: str, variables: dict[str, str], ids: tuple[str, ...]
) -> None:
    assert find_gpus(driver(listing, **variables)) == Gpus(ids)


def test_gpus_when_there_is_no_nvidia_smi_then_none(tmp_path: Path) -> None:
    assert find_gpus({"PATH": str(tmp_path)}) == Gpus()


def test_gpus_when_the_variable_names_none_of_them_then_says_so(driver: Driver) -> None:
    environment = driver(TWO, CUDA_VISIBLE_DEVICES="GPU-0")

    assert find_gpus(environment) == Gpus(
        (), "CUDA_VISIBLE_DEVICES=GPU-0 names no GPU of this machine; `nvidia-smi -L` lists the GPUs"
    )


def test_gpus_when_the_driver_is_broken_then_its_reason_is_shown(driver: Driver) -> None:
    reason = "Failed to initialize NVML: Driver/library version mismatch"

    assert find_gpus(driver(reason, status=18)) == Gpus((), f"`nvidia-smi -L` failed, so no GPU is used: {reason}")


def test_gpus_when_the_driver_hangs_then_none_with_a_fault(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "LIST_SECONDS", 0.05)
    environment = driver("")
    (Path(environment["PATH"].split(":")[0]) / "nvidia-smi").write_text("#!/bin/sh\nexec sleep 60\n")

    fault = find_gpus(environment).fault

    assert fault is not None
    assert "timed out after 0.05 seconds" in fault


def test_gpus_when_pytorch_has_no_cuda_then_workers_use_the_cpu(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "_torch_has_cuda", lambda: False)

    assert find_gpus(driver(TWO)) == Gpus(
        (), "2 GPUs are not used, because the installed PyTorch has no CUDA: install its CUDA build"
    )


def test_gpus_when_they_are_found_then_torch_is_not_imported(driver: Driver) -> None:
    code = "import os, sys; from unitrank.server.gpus import find_gpus; find_gpus(os.environ); sys.exit('torch' in sys.modules)"

    subprocess.run([sys.executable, "-c", code], env={**os.environ, **driver(TWO)}, check=True)


def test_up_when_gpus_are_found_then_a_worker_for_each_by_its_id(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    planned: list[Command] = []

    class Planned:
        def __init__(self, stages: list[list[Command]], *others: object) -> None:
            planned.extend(stages[0])

        def run(self) -> int:
            return 0

    monkeypatch.setattr("unitrank.server.up.Supervisor", Planned)
    with short_folder() as state:
        done = CliRunner().invoke(app, ["up", "--state", str(state), "--port", "0"], env=driver(DIVIDED))

    assert done.exit_code == 0, done.output
    assert [command.name for command in planned] == ["gpu-0", "gpu-1", "gpu-2", "inspector"]
    assert [command.command_line[7] for command in planned] == ["cuda:0", "cuda:1", "cuda:2", "cpu"]
    seen = [handle.environment(f"cuda:{number}", planned[number].environment) for number in range(3)]
    assert [variables["CUDA_VISIBLE_DEVICES"] for variables in seen] == [*SLICES, SECOND]


def test_torch_when_it_is_installed_then_its_file_of_versions_tells_of_cuda() -> None:
    import torch

    assert gpus._torch_has_cuda() is (torch.version.cuda is not None)


@pytest.mark.parametrize(
    ("listing", "finding"),
    [
        (TWO, Finding("GPUs", True, f"{FIRST}, {SECOND}", required=False)),
        ("", Finding("GPUs", True, "none found; workers use the CPU", required=False)),
    ],
)
def test_doctor_when_it_runs_then_shows_the_gpus(driver: Driver, listing: str, finding: Finding) -> None:
    assert of_gpus(driver(listing)) == finding
