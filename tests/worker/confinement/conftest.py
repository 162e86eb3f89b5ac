"""Tests of confined children, on a machine that can confine them."""

import os
import subprocess
import sys

import pytest

CONFINE = (
    "import sys; from pathlib import Path; from unitrank_worker.confinement.confinement import Confinement\n"
    "confinement = Confinement('try'); confinement.limit_files(Path(sys.argv[1]), 'cpu')\n"
    "confinement.limit_calls(); print(confinement.lacks or '', end='')"
)


@pytest.fixture(scope="session")
def confinable(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip the test on a machine that cannot confine a process; fail in CI."""
    command = [sys.executable, "-c", CONFINE, str(tmp_path_factory.mktemp("scratch"))]
    lacks = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if lacks:
        assert not os.environ.get("CI"), lacks
        pytest.skip(lacks)
