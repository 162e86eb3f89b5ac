"""Performs the steps of a Dockerfile, which dockerfile-parse reads, in a folder of this machine, without Docker.

A stage is a folder; absolute paths of the image are put under it. A new base image is an empty folder: what a stage
has, it got from its own steps. RUN steps go to `sh` with the stage's ENV and ARG, and with pip kept from any index.
Packages that pip would download are linked from the environment that runs the tests, where they have the same pins:
those that the tests allow and no other.
"""

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from dockerfile_parse import DockerfileParser
from dockerfile_parse.parser import image_from
from dockerfile_parse.util import get_key_val_dictionary
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
# The image's own folders; everything else that a step names (`python`, `mkdir`) is the machine's.
PLACES = re.compile(r"(?<![\w./])/(opt|src|var/lib)(?=/|\b)")


@dataclass
class Stage:
    """What a stage leaves: its folder, and what a container of it would be started with."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "root"
    command: list[str] = field(default_factory=list)

    def inside(self, text: str) -> str:
        """The text with the image's paths put under the folder."""
        return PLACES.sub(lambda match: f"{self.root}{match[0]}", text)


class Builder:
    """Builds stages of one Dockerfile under `folder`; `packages` may be installed, with what they depend on."""

    def __init__(self, dockerfile: Path, folder: Path, packages: Iterable[str]) -> None:
        self.context = dockerfile.parent
        self.steps = _steps(dockerfile)
        # Ours leaves everything out, and then lets these in.
        lines = (self.context / ".dockerignore").read_text().splitlines()
        self.sent = {line.removeprefix("!") for line in lines if line.startswith("!")}
        self.folder = folder
        self.packages = list(packages)
        self.kept: dict[str, Stage] = {}

    def build(self, target: str) -> Stage:
        """The stage, its steps and those of the stages that it takes from performed."""
        root = self.folder / "root"
        for name, base, steps in _needed(_stages(self.steps), target):
            stage = self._begin(root, base)
            for word, rest in steps:
                getattr(self, f"_{word.lower()}")(stage, rest)
            if name == target:
                return stage
            # Under its own path again when it is copied from: a venv knows where it lies.
            self.kept[name] = Stage(
                root.rename(self.folder / f"stage-{name}"), dict(stage.environment), stage.workdir, stage.user, stage.command
            )
        raise LookupError(f"no stage {target!r} in the Dockerfile")

    def _begin(self, root: Path, base: str) -> Stage:
        if base not in self.kept:
            root.mkdir()
            return Stage(root)
        parent = self.kept[base]
        shutil.copytree(parent.root, root, symlinks=True)
        return Stage(root, dict(parent.environment), parent.workdir, parent.user, list(parent.command))

    def _env(self, stage: Stage, rest: str) -> None:
        variables = {"PATH": os.environ["PATH"], **stage.environment}
        stage.environment |= get_key_val_dictionary(stage.inside(rest), env_replace=True, args={}, envs=variables)

    def _arg(self, stage: Stage, rest: str) -> None:
        name, _, default = rest.partition("=")
        stage.environment.setdefault(name, default)

    def _workdir(self, stage: Stage, rest: str) -> None:
        stage.workdir = rest
        Path(stage.inside(rest)).mkdir(parents=True, exist_ok=True)

    def _user(self, stage: Stage, rest: str) -> None:
        stage.user = rest

    def _cmd(self, stage: Stage, rest: str) -> None:
        stage.command = json.loads(rest)

    def _expose(self, stage: Stage, rest: str) -> None:
        pass

    def _healthcheck(self, stage: Stage, rest: str) -> None:
        pass

    def _copy(self, stage: Stage, rest: str) -> None:
        words = rest.split()
        flags = dict(word.removeprefix("--").split("=", 1) for word in words if word.startswith("--"))
        *sources, target = [word for word in words if not word.startswith("--")]
        goal = Path(stage.inside(os.path.join(stage.workdir, target)))
        for source in sources:
            if "from" in flags:
                _copy(Path(self.kept[flags["from"]].root) / source.lstrip("/"), goal)
            else:
                assert source.removeprefix("./").split("/")[0] in self.sent, f".dockerignore leaves {source} out"
                _copy(self.context / source, goal / source if target.endswith("/") else goal)

    def _run(self, stage: Stage, rest: str) -> None:
        environment = {**_machine(), **stage.environment, "PIP_NO_INDEX": "1"}
        done = subprocess.run(
            ["sh", "-euc", stage.inside(rest)],
            cwd=stage.inside(stage.workdir) if stage.workdir != "/" else stage.root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"RUN {rest}\n{done.stdout}{done.stderr}")
        for python in stage.root.glob("opt/*/bin/python"):
            if not (python.parent.parent / "linked").exists():
                link(python, self.packages)


def _steps(dockerfile: Path) -> list[tuple[str, str]]:
    """Each instruction with the rest of its line."""
    structure = DockerfileParser(str(dockerfile)).structure
    return [(step["instruction"], step["value"]) for step in structure if step["instruction"] != "COMMENT"]


def _stages(steps: list[tuple[str, str]]) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """By name: what the stage is built from, and its steps."""
    stages: dict[str, tuple[str, list[tuple[str, str]]]] = {}
    current: list[tuple[str, str]] = []
    for word, rest in steps:
        if word == "FROM":
            base, name = image_from(rest)
            current = []
            stages[name] = (base, current)
        else:
            current.append((word, rest))
    return stages


def _needed(stages: Mapping[str, tuple[str, list[tuple[str, str]]]], target: str) -> list[tuple[str, str, list[tuple[str, str]]]]:
    base, steps = stages[target]
    sources = [base, *(stage for word, rest in steps if word == "COPY" for stage in re.findall(r"--from=(\S+)", rest))]
    needed: dict[str, tuple[str, str, list[tuple[str, str]]]] = {}
    for source in sources:
        if source in stages:
            needed |= {name: (name, base, steps) for name, base, steps in _needed(stages, source)}
    needed[target] = (target, base, steps)
    return list(needed.values())


def _copy(source: Path, goal: Path) -> None:
    if source.is_dir():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, goal, symlinks=True, dirs_exist_ok=True, ignore=None if "stage-" in str(source) else ignored)
    else:
        goal.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, goal)


def _machine() -> dict[str, str]:
    """What a container would not have, left out: this environment's own paths and settings."""
    gone = ("UNITRANK_", "PIP_", "PYTHON", "VIRTUAL_ENV", "REDIS_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(gone)}


def link(python: Path, packages: list[str]) -> None:
    """Put the packages and all that they need into the venv, as links."""
    site = next(python.parent.parent.glob("lib/python*/site-packages"))
    if (site / "hatchling").exists():
        subprocess.run([python, "-m", "pip", "uninstall", "--yes", "--quiet", "hatchling"], check=True, capture_output=True)
    for package in closure(packages).values():
        for top in {file.parts[0] for file in package.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            original = Path(str(package.locate_file(top)))
            if original.exists() and not (site / top).exists():
                (site / top).symlink_to(original)
    (python.parent.parent / "linked").touch()


def closure(packages: Iterable[str]) -> dict[str, Distribution]:
    """Every distribution that the requirements ask for; our own project is left out, and its requirements are followed."""
    distributions: dict[str, Distribution] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [Requirement(package) for package in packages]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            if name == "unitrank":
                waiting += _own_requirements(extra)
                continue
            try:
                distributions[name] = distribution(name)
            except PackageNotFoundError:
                continue
            needs = [Requirement(text) for text in distributions[name].requires or []]
            waiting += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
    return distributions


def _own_requirements(extra: str) -> list[Requirement]:
    """From pyproject.toml, which may be newer than the installation of this environment."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return [Requirement(text) for text in texts]
