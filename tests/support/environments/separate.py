"""Environments of other projects, each with its own packages beside the client of this project.

An environment is made once for each content of its requirements and kept in `.environments`.
"""

import hashlib
import shutil
import subprocess
import sys
import venv
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / ".environments"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def separate(name: str, *, extra: str = "") -> Path:
    """The folder of the programs of an environment with `integrations/<name>/requirements.txt`.

    The environment also has this project with the extra `extra`, installed from the sources.
    """
    folder = FOLDER / name
    requirements = ROOT / "integrations" / name / "requirements.txt"
    digest = hashlib.sha256(requirements.read_bytes() + (ROOT / "pyproject.toml").read_bytes()).hexdigest()
    stamp = folder / "installed"
    FOLDER.mkdir(exist_ok=True)
    with FileLock(FOLDER / f"{name}.lock"):
        if not stamp.exists() or stamp.read_text() != digest:
            shutil.rmtree(folder, ignore_errors=True)
            venv.create(folder, with_pip=False)
            project = f"{ROOT}[{extra}]" if extra else str(ROOT)
            command = ["install", "--quiet", "--editable", project, "--requirement", str(requirements)]
            subprocess.run([*PIP, "--python", str(folder / "bin" / "python"), *command], check=True)
            stamp.write_text(digest)
    return folder / "bin"


def packages_of_node(name: str) -> Path:
    """The folder of `integrations/<name>` with the packages of its package.json installed."""
    folder, source = FOLDER / name, ROOT / "integrations" / name
    FOLDER.mkdir(exist_ok=True)
    with FileLock(FOLDER / f"{name}.lock"):
        manifest = (source / "package.json").read_text()
        stamp = folder / "installed"
        if not stamp.exists() or stamp.read_text() != manifest:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            shutil.copy(source / "package.json", folder)
            options = ["--no-package-lock", "--no-audit", "--no-fund", "--silent"]
            subprocess.run(["npm", "install", *options], cwd=folder, check=True)
            stamp.write_text(manifest)
    return folder
