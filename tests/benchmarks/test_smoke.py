"""Every benchmark can be imported, and runs with its smallest arguments."""

import os
import pkgutil
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import benchmarks
import numpy as np
import pytest
import torch
from examples.paper import Net
from safetensors.torch import save_file

ROOT = Path(__file__).parents[2]
MODULES = [module.name for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks.")]
SMALLEST: dict[str, list[str]] = {
    "attribution.__main__": ["--images", "4", "--repeats", "1", "--threads", "1"],
    "attribution.over_http": ["--images", "8", "--repeats", "1"],
    "batches": ["--rows", "16", "--repeats", "1"],
    "calibration.__main__": ["--jobs", "1", "--only", "two-classes", "missed-0.5", "--folder", "."],
    "checks": ["--examples", "20", "--pairs", "1", "--nets", "mlp"],
    "distributed": ["--actors", "2", "--ranges", "4", "--seconds", "0.1"],
    "fuzz": ["--count", "10", "--processes", "1", "--limit", "60"],
    "heads": ["--examples", "2", "--heads", "2", "--width", "8", "--length", "4", "--blocks", "5", "--repeats", "1"],
    "layers": ["--examples", "20", "--repeats", "1"],
    "loading": ["--repeats", "1", "--nets", "mlp", "lenet"],
    "nodes": ["--examples", "64", "--repeats", "1"],
    "operators": ["--count", "40", "--variants", "1", "--limit", "120"],
    "paper": ["--steps", "10"],
    "paths": ["--repeats", "1", "--steps", "4"],
    "reuse": ["--examples", "30"],
    "row_memory": ["--rows", "1000", "--only", "all rows"],
    "scaling": ["--jobs", "2", "--repeats", "1", "--rows", "50", "100", "--idle", "0.1"],
    "service.flood": ["--jobs", "10", "--others", "2"],
    "service.job_list": ["--jobs", "30"],
    "service.latency": ["--jobs", "3"],
    "service.load": ["--jobs", "20", "--clients", "2"],
    "service.results": ["--units", "100", "--clusters", "1"],
    "service.upload": ["--bytes", "1000000"],
    "study": ["--pairs", "1", "--examples", "2", "--random", "40"],
    "workers.growth": ["--jobs", "2"],
    "workers.tenants": ["--jobs", "2", "--pause", "0"],
    "workers.warm": ["--jobs", "4"],
}
"""The arguments with which each benchmark takes the least time."""
MEASURING = {"heads", "loading", "nodes", "service.flood", "service.load", "study"}
"""These benchmarks exit with 1 if a goal is missed. In a run this small a miss has no meaning."""
DEAR = {
    "attribution.__main__",
    "attribution.over_http",
    "checks",
    "distributed",
    "fuzz",
    "heads",
    "layers",
    "loading",
    "nodes",
    "operators",
    "paper",
    "paths",
    "reuse",
    "row_memory",
    "scaling",
    "service.flood",
    "service.job_list",
    "service.latency",
    "service.load",
    "service.results",
    "study",
    "workers.growth",
    "workers.tenants",
    "workers.warm",
}
"""These benchmarks start services or compute for more than 6 s, and run in `make slow`."""
GOAL_MISSED = ("GOAL MISSED: ", "more than 3 times as long as a raw load: ")
ELSEWHERE = {
    "chaos.__main__": "tests/e2e/faults/test_chaos.py",
    "parity.__main__": "tests/benchmarks/test_parity.py",
    "support.plain_worker": "benchmarks/service/load.py",
}
"""Commands that this file does not run, and the file that runs them."""


@pytest.mark.check
@pytest.mark.parametrize("name", MODULES)
def test_benchmark_when_imported_then_its_imports_work(name: str) -> None:
    import_module(name)


def test_every_benchmark_is_run_here_or_elsewhere() -> None:
    commands = {name.removeprefix("benchmarks.") for name in MODULES if hasattr(import_module(name), "main")}

    assert commands == SMALLEST.keys() | ELSEWHERE.keys()
    assert all((ROOT / file).exists() for file in ELSEWHERE.values())


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like the paper's, with random weights and 20 random images."""
    folder = tmp_path_factory.mktemp("mnist")
    torch.manual_seed(0)
    save_file(Net().state_dict(), folder / "allconv.safetensors")
    x = np.random.default_rng(0).integers(256, size=(20, 1, 28, 28), dtype=np.uint8)
    np.savez(folder / "t10k.npz", x=x, y=np.arange(20, dtype=np.uint8) % 10)
    return folder


@pytest.mark.check
@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow if name in DEAR else ()) for name in SMALLEST])
def test_benchmark_when_run_with_its_smallest_arguments_then_prints_its_numbers(name: str, mnist: Path, tmp_path: Path) -> None:
    if name in ("service.results", "service.upload") and shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    if name == "operators" and shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", *SMALLEST[name]],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths, "UNITRANK_MNIST": str(mnist)},
        capture_output=True,
        text=True,
        check=False,
    )

    missed = name in MEASURING and any(words in done.stdout + done.stderr for words in GOAL_MISSED)
    assert done.returncode == (1 if missed else 0), done.stdout + done.stderr
    assert len(done.stdout.splitlines()) >= 2
