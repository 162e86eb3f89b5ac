"""The installed packages are used in a folder whose files have the same names.

They are also used in the parent folder of a clone.
"""

import signal
import subprocess
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from tests.support.environments.installations import clone, environment, installed, wheel
from tests.support.polling import wait_until
from tests.support.processes import line_with, short_folder, wait_until_gone
from unitrank.addresses import claim_port

pytestmark = [pytest.mark.check, pytest.mark.timeout(300)]
PACKAGES = ["unitrank[service,worker,embedded,plots]", "hatchling"]
RAISES = "raise SystemExit('a file of the user was imported: ' + __file__)\n"
FILES = ("worker.py", "store.py", "service.py", "engine.py", "api_schemas.py", "schemas.py", "tests.py")
FOLDERS = ("plots", "tables", "client", "redis_store")
NETWORK = """
from torch import nn

def make():
    import helper
    return nn.Sequential(nn.Linear(4, helper.WIDTH), nn.ReLU(), nn.Linear(helper.WIDTH, 2))
"""
SCRIPT = """
import numpy as np
import unitrank
from net import make

x = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
result = unitrank.rank(make(), "1", x, methods=["activation", "gradient"])
print(result.best, type(result.plot_ablation()).__name__)
"""


@pytest.fixture(scope="module", params=[pytest.param("editable", marks=pytest.mark.slow), "wheel"])
def python(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with the service, the worker and the plots."""
    folder = tmp_path_factory.mktemp(request.param)
    words = ["--editable", str(clone(folder / "unitrank"))] if request.param == "editable" else [str(wheel(folder))]
    return installed(folder / "environment", words, PACKAGES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A user's folder: a network, a script, and files that must not be imported."""
    for name in FILES:
        (tmp_path / name).write_text(RAISES)
    for name in FOLDERS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(RAISES)
    (tmp_path / "helper.py").write_text("WIDTH = 8\n")
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path


def _run(folder: Path, *words: str | Path) -> str:
    done = subprocess.run(words, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_export_when_files_of_the_user_have_our_names_then_writes_the_archive(python: Path, folder: Path) -> None:
    printed = _run(folder, python.parent / "unitrank", "export", "net.py:make", "net.pt2", "--example", "4")

    assert "1\tReLU\t8\tcut" in printed.splitlines()
    assert (folder / "net.pt2").is_file()


def test_rank_when_files_of_the_user_have_our_names_then_ranks_and_draws(python: Path, folder: Path) -> None:
    assert _run(folder, python, "script.py").split()[-1] == "Figure"


def test_up_when_files_of_the_user_have_our_names_then_is_ready_and_ends(python: Path, folder: Path) -> None:
    with short_folder() as state:
        words = [python.parent / "unitrank", "up", "--port", "0", "--state", state]
        with subprocess.Popen(words, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            try:
                line_with("ready on", iter(process.stderr))
            finally:
                process.send_signal(signal.SIGINT)
                printed = process.stderr.read()

        assert process.returncode == 0, printed
        wait_until_gone(str(state))


def test_service_when_files_of_the_user_have_our_names_then_answers(python: Path, folder: Path, redis_url: str) -> None:
    port = str(claim_port("127.0.0.1", 0))
    words = [python, "-m", "unitrank_service", "--port", port, "--redis-url", redis_url, "--state", folder / "state"]
    with subprocess.Popen(words, cwd=folder, env=environment()) as process:
        try:
            wait_until(lambda: _answers(f"http://127.0.0.1:{port}/healthz"), "the service answers")
        finally:
            process.send_signal(signal.SIGTERM)


def test_package_when_imported_from_the_parent_of_a_clone_then_is_the_installed_one(python: Path, tmp_path: Path) -> None:
    clone(tmp_path / "unitrank")

    assert "function" in _run(tmp_path, python, "-c", "import unitrank; print(type(unitrank.rank))")


def test_wheel_when_built_then_every_name_that_it_installs_begins_with_unitrank(tmp_path: Path) -> None:
    with ZipFile(wheel(tmp_path)) as archive:
        (record,) = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
        names = {line.partition("/")[0] for line in archive.read(record).decode().split()}

    assert {name for name in names if not name.endswith(".dist-info")} == {
        "unitrank",
        "unitrank_engine",
        "unitrank_plots",
        "unitrank_schemas",
        "unitrank_service",
        "unitrank_store",
        "unitrank_tables",
        "unitrank_worker",
    }


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
