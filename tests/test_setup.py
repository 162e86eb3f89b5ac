"""The Makefile, the lock and the hooks install and run the right packages and commands."""

import os
import re
import shutil
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.support.dockerfile import closure

ROOT = Path(__file__).parents[1]
FOLLOWS_TORCH = re.compile(r"nvidia-|cuda-|triton")
IMAGES = ["unitrank[service,s3]", "unitrank[worker,s3,parquet]", "hatchling", "torch"]


def _recipe(target: str) -> list[str]:
    """The commands that make would run on a fresh clone."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    # The tests may run under make, whose variables must not reach this make. `.ci/run` sets EXTRAS.
    hidden = {"MFLAGS", "EXTRAS"}
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE") and name not in hidden}
    command = ["make", "--dry-run", "--always-make", target]
    done = subprocess.run(command, cwd=ROOT, env=outside, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def _pins(name: str) -> dict[str, str]:
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    return dict(line.split("==") for line in lines)


@pytest.mark.parametrize(("target", "extra"), [("demo", "demo"), ("install", "dev"), ("lint", "dev")])
def test_make_when_it_installs_then_uses_the_extra_of_the_target(target: str, extra: str) -> None:
    assert [re.findall(r"'\.\[(.*)\]'", line) for line in _recipe(target) if "--editable" in line] == [[extra]]


def test_demo_when_installed_then_has_no_package_of_tests_docs_or_mlflow() -> None:
    unneeded = {"pytest", "hypothesis", "mypy", "ruff", "mkdocs", "mlflow-skinny", "transformers", "moto", "playwright", "captum"}

    assert unneeded & set(closure(["unitrank[demo]"])) == set()


def test_lock_when_read_then_has_every_package_of_the_images() -> None:
    packages = {name for name in closure(IMAGES) if not FOLLOWS_TORCH.match(name)}

    assert packages - set(_pins("requirements.lock")) == set()


def test_lock_when_read_then_agrees_with_the_constraints() -> None:
    lock, constraints = _pins("requirements.lock"), _pins("constraints.txt")

    assert {name: lock[name] for name in lock.keys() & constraints.keys()} == {
        name: constraints[name] for name in lock.keys() & constraints.keys()
    }


@pytest.mark.parametrize("name", ["constraints.txt", "requirements.lock"])
def test_pins_when_python_is_the_oldest_supported_then_can_be_installed(name: str) -> None:
    requires = {package.name: package.metadata.get("Requires-Python") or "" for package in metadata.distributions()}
    pinned = {canonicalize_name(package): requires[package] for package in requires if canonicalize_name(package) in _pins(name)}

    assert len(pinned) > 40
    assert [package for package, versions in pinned.items() if not SpecifierSet(versions).contains("3.11.0")] == []


def test_lock_when_read_then_fits_every_device() -> None:
    lock = _pins("requirements.lock")

    assert list(lock) == sorted(lock)
    assert not [name for name in lock if FOLLOWS_TORCH.match(name)]
    assert not [version for version in lock.values() if "+" in version]


def test_images_when_they_install_then_each_step_uses_both_constraints() -> None:
    text = (ROOT / "Dockerfile").read_text()
    installs = [line for line in text.splitlines() if "pip install" in line and line.startswith("RUN")]

    assert len(installs) == 4
    assert all("--constraint constraints.txt --constraint requirements.lock" in line for line in installs)


def test_hooks_when_run_before_a_commit_then_run_what_lint_runs() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repository in config["repos"] for hook in repository["hooks"]]

    assert {repository["repo"] for repository in config["repos"]} == {"local"}
    assert {hook["language"] for hook in hooks} == {"system"}
    assert [hook["entry"] for hook in hooks] == _recipe("lint")[-4:]
