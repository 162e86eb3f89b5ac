"""Prints the packages that the images install, as lines `name==version`.

pip resolves the versions as if the environment were empty.
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
EXTRAS = ("service", "worker", "s3", "parquet")
# Torch itself pins the CUDA packages of its build. A build for the CPU does not need them.
FOLLOWS_TORCH = re.compile(r"nvidia-|cuda-|triton")
HEADING = """\
# Every package of the two images, with the dependencies. `make lock` writes this file.
# It has no hashes, because the files of torch differ by device. torch pins its CUDA packages.
"""


def requirements() -> list[str]:
    """The requirements of the extras and of the build, except for unitrank itself."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    texts, pending = [*project["build-system"]["requires"], *project["project"]["dependencies"]], list(EXTRAS)
    while pending:
        for text in extras[pending.pop()]:
            requirement = Requirement(text)
            if requirement.name == "unitrank":
                pending += requirement.extras
            else:
                texts.append(text)
    return sorted(set(texts))


def resolved(requirements: list[str]) -> dict[str, str]:
    """The version of each package that pip would install into an empty environment."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    command += ["--constraint", str(ROOT / "constraints.txt"), *requirements]
    report = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    packages = [entry["metadata"] for entry in report["install"]]
    return {canonicalize_name(package["name"]): Version(package["version"]).public for package in packages}


def main() -> None:
    versions = resolved(requirements())
    lines = [f"{name}=={version}\n" for name, version in sorted(versions.items()) if not FOLLOWS_TORCH.match(name)]
    sys.stdout.writelines([HEADING, *lines])


if __name__ == "__main__":
    main()
