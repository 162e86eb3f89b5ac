"""Environments in which this project is installed as a user installs it; dependencies are links to those of this one."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from tests.support.dockerfile import link

ROOT = Path(__file__).parents[2]
NEEDED = (
    "api_schemas",
    "client",
    "engine",
    "plots",
    "service",
    "store",
    "tables",
    "worker",
    "pyproject.toml",
    "README.md",
    "LICENSE",
)
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
QUICK = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation"]


def wheel(folder: Path) -> Path:
    """The wheel, built from a copy of the sources."""
    source = clone(folder / "source")
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run([*PIP, *build], check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return file


def clone(folder: Path) -> Path:
    """The folder, with a copy of everything that an installation is built from."""
    shutil.copytree(ROOT, folder, ignore=lambda place, names: [name for name in names if _left_out(Path(place), name)])
    return folder


def installed(folder: Path, words: Sequence[str], packages: Sequence[str]) -> Path:
    """Python of a new environment in `folder` with what `pip install` does with `words`, and with links to `packages`."""
    # Without a pip of its own, which takes longer to install than everything else.
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    link(python, list(packages))
    subprocess.run([*PIP, "--python", str(python), "install", *QUICK, *words], check=True, capture_output=True)
    return python


def environment() -> dict[str, str]:
    """The variables of this process that say nothing about Python or Unitrank."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "UNITRANK_"))}


def _left_out(place: Path, name: str) -> bool:
    return (place == ROOT and name not in NEEDED) or name == "__pycache__"
