"""Environments of other projects, each with its own packages beside the client of this project.

An environment is made once for each content of its requirements and kept in `.environments`.
"""

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from filelock import FileLock

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / ".environments"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


def separate(name: str, *, beside_tests: bool = False) -> Path:
    """The folder of the programs of an environment with `integrations/<name>/requirements.txt`.

    The environment also has this project without extras, installed from the sources.

    `beside_tests`: instead, the environment sees all packages of the tests' environment. Only
    packages and versions that are missing there are installed, which saves minutes.
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
            if beside_tests:
                _see_packages_of_tests(folder)
            project = [] if beside_tests else ["--editable", str(ROOT)]
            command = ["install", "--quiet", *project, "--requirement", str(requirements)]
            subprocess.run([*PIP, "--python", str(folder / "bin" / "python"), *command], check=True)
            stamp.write_text(digest)
    return folder / "bin"


def _see_packages_of_tests(folder: Path) -> None:
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "packages_of_tests.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")


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
