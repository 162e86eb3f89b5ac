"""The wheel in an environment without PyTorch: the client works there, and what needs the engine says so."""

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import unitrank
from tests.support.dockerfile import link

ROOT = Path(__file__).parents[2]
BASE = ["httpx", "numpy", "pydantic", "pyyaml", "rich", "typer"]
ROOMS = ("api_schemas", "client", "engine", "plots", "service", "store", "tables", "worker")
PROGRAM = """
import sys, unitrank
url, archive, table = sys.argv[1:]
with unitrank.Client(url) as client:
    client.models.put("wheel", archive)
    client.datasets.put("wheel", table)
    result = client.jobs.submit(model="wheel", dataset="wheel", layer="1", methods=["conductance"]).result()
assert result.importances("conductance")["all"].shape == (8,), result
try:
    unitrank.rank(None, "1", [[0.0]])
except unitrank.NotPossible as error:
    assert "pip install 'unitrank[worker]'" in str(error)
else:
    raise AssertionError("it ranked without PyTorch")
assert not {"torch", "redis", "fastapi", "matplotlib"} & set(sys.modules)
print(unitrank.__file__, result.best)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment with the wheel and what it depends on, linked from this one, and nothing else."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(ROOT, folder / "source", ignore=lambda place, names: [name for name in names if _left_out(Path(place), name)])
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "source")]
    subprocess.run([*pip, *build], check=True, capture_output=True)
    # Without a pip of its own, which takes longer to install than all else.
    venv.create(folder / "clean", with_pip=False)
    found = folder / "clean" / "bin" / "python"
    (wheel,) = folder.glob("*.whl")
    install = ["--python", str(found), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run([*pip, *install], check=True, capture_output=True)
    link(found, BASE)
    return found


def _left_out(place: Path, name: str) -> bool:
    return (place == ROOT and name not in (*ROOMS, "pyproject.toml", "README.md", "LICENSE")) or name == "__pycache__"


def test_wheel_when_read_then_depends_on_what_is_tried_here(python: Path) -> None:
    program = "from importlib.metadata import requires; print(*[r for r in requires('unitrank') if 'extra' not in r], sep='\\n')"
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)

    assert sorted(line.partition(">")[0] for line in done.stdout.split()) == BASE


def test_wheel_when_installed_without_torch_then_the_client_has_results_as_arrays(url: str, python: Path, tmp_path: Path) -> None:
    unitrank.export(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.zeros(2, 4), tmp_path / "net.pt2")
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32))
    words = [python, "-c", PROGRAM, url, tmp_path / "net.pt2", tmp_path / "data.npz"]
    done = subprocess.run(words, cwd=tmp_path, env=_environment(), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert str(python.parent.parent) in done.stdout


def test_wheel_when_installed_then_its_command_says_what_is_missing(url: str, python: Path, tmp_path: Path) -> None:
    program = python.parent / "unitrank"
    words = [program, "doctor", "--url", url]
    done = subprocess.run(words, cwd=tmp_path, env=_environment(), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "pip install 'unitrank[worker]'" in done.stderr


@pytest.mark.parametrize(
    "words", [["export", "net.py:make", "net.pt2", "--example", "4"], ["put-model", "wheel", "net.py:make", "--example", "4"]]
)
def test_wheel_when_a_command_needs_pytorch_then_says_what_to_install(python: Path, tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "net.py").write_text("from torch import nn\n\nmake = nn.ReLU\n")
    done = subprocess.run(
        [python.parent / "unitrank", *words], cwd=tmp_path, env=_environment(), capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'unitrank[worker]'" in done.stderr


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "UNITRANK_"))}
