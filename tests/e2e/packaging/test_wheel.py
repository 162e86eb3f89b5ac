"""The wheel without PyTorch: the client works, and commands that need PyTorch name it."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import unitrank
from tests.support.environments.installations import environment, installed, wheel

pytestmark = pytest.mark.check

BASE = ["httpx", "numpy", "pydantic", "pyyaml", "rich", "typer"]
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
    raise AssertionError("rank did not raise NotPossible without PyTorch")
assert not {"torch", "redis", "fastapi", "matplotlib"} & set(sys.modules)
print(unitrank.__file__, result.best)
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with only the wheel and its dependencies."""
    folder = tmp_path_factory.mktemp("wheel")
    return installed(folder / "clean", [str(wheel(folder))], BASE)


def test_wheel_when_read_then_depends_on_the_packages_of_this_test(python: Path) -> None:
    program = "from importlib.metadata import requires; print(*[r for r in requires('unitrank') if 'extra' not in r], sep='\\n')"
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)

    assert sorted(line.partition(">")[0] for line in done.stdout.split()) == BASE


def test_wheel_when_installed_without_torch_then_the_client_has_results_as_arrays(url: str, python: Path, tmp_path: Path) -> None:
    unitrank.export(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.zeros(2, 4), tmp_path / "net.pt2")
    np.savez(tmp_path / "data.npz", x=np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32))
    words = [python, "-c", PROGRAM, url, tmp_path / "net.pt2", tmp_path / "data.npz"]
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert str(python.parent.parent) in done.stdout


def test_wheel_when_installed_then_doctor_names_the_missing_packages(url: str, python: Path, tmp_path: Path) -> None:
    program = python.parent / "unitrank"
    words = [program, "doctor", "--url", url]
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "pip install 'unitrank[worker]'" in done.stderr


@pytest.mark.parametrize(
    "words", [["export", "net.py:make", "net.pt2", "--example", "4"], ["put-model", "wheel", "net.py:make", "--example", "4"]]
)
def test_wheel_when_a_command_needs_pytorch_then_names_the_package_to_install(
    python: Path, tmp_path: Path, words: list[str]
) -> None:
    (tmp_path / "net.py").write_text("from torch import nn\n\nmake = nn.ReLU\n")
    done = subprocess.run(
        [python.parent / "unitrank", *words], cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'unitrank[worker]'" in done.stderr
