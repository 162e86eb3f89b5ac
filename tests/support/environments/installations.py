"""Environments with this project installed. Their dependencies are links to this environment's."""

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

from tests.support.dockerfile import link

ROOT = Path(__file__).parents[3]
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


def wheel(folder: Path, source: Path | None = None) -> Path:
    """Build the wheel from `source`, by default from a copy of the sources; returns its path."""
    source = source or clone(folder / "source")
    build = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    subprocess.run([*PIP, *build], check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    return file


def clone(folder: Path) -> Path:
    """Copy the files that an installation is built from into `folder`; returns `folder`."""
    shutil.copytree(ROOT, folder, ignore=lambda parent, names: [name for name in names if _left_out(Path(parent), name)])
    return folder


def installed(folder: Path, words: Sequence[str], packages: Sequence[str]) -> Path:
    """Create an environment in `folder`, link `packages` and run `pip install` with `words`.

    Returns the path of its Python.
    """
    # The pip of this environment installs into it: a second pip would take longer than everything
    # else.
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    link(python, list(packages))
    subprocess.run([*PIP, "--python", str(python), "install", *QUICK, *words], check=True, capture_output=True)
    return python


def environment() -> dict[str, str]:
    """The variables of this process without those of Python and Unitrank."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "UNITRANK_"))}


def _left_out(parent: Path, name: str) -> bool:
    return (parent == ROOT and name not in NEEDED) or name == "__pycache__"
