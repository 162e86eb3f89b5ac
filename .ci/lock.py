"""Prints the packages that the images install, one `name==version` a line, after a resolution that knows no environment."""

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
EXTRAS = ("service", "worker", "s3")
# Torch pins the CUDA packages that belong to its build, and a build for the processor needs none of them.
FOLLOWS_TORCH = re.compile(r"nvidia-|cuda-|triton")
HEADING = """\
# Every package of the two images, also those that other packages ask for. `make lock` writes this file.
# Without hashes, because the files of torch differ by device; its CUDA packages follow torch.
"""


def requirements() -> list[str]:
    """The requirements of `.[service,worker,s3]` and of its build, without our own name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    texts, waiting = [*project["build-system"]["requires"], *project["project"]["dependencies"]], list(EXTRAS)
    while waiting:
        for text in extras[waiting.pop()]:
            requirement = Requirement(text)
            if requirement.name == "unitrank":
                waiting += requirement.extras
            else:
                texts.append(text)
    return sorted(set(texts))


def resolved(texts: list[str]) -> dict[str, str]:
    """The version of each package that pip would install into an empty environment."""
    words = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    done = subprocess.run([*words, "--constraint", ROOT / "constraints.txt", *texts], stdout=subprocess.PIPE, check=True)
    packages = [entry["metadata"] for entry in json.loads(done.stdout)["install"]]
    return {canonicalize_name(package["name"]): Version(package["version"]).public for package in packages}


def main() -> None:
    versions = resolved(requirements())
    lines = [f"{name}=={version}\n" for name, version in sorted(versions.items()) if not FOLLOWS_TORCH.match(name)]
    sys.stdout.writelines([HEADING, *lines])


if __name__ == "__main__":
    main()
