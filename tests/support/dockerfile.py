"""Runs the steps of a Dockerfile in a folder, without Docker. dockerfile-parse reads the file.

A stage is a folder, and absolute paths of the image are put under it. A base image is an empty
folder, so a stage has only the files of its own steps. `sh` runs the RUN steps, with the stage's
ENV and ARG, and pip reads no index. Packages that pip would download are links to the environment
that runs the tests, which has the same pins. Only the packages that a test allows are linked.
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
# Folders of the image. Other names in a step (`python`, `mkdir`) are those of the machine.
PLACES = re.compile(r"(?<![\w./])/(opt|src|var/lib)(?=/|\b)")


@dataclass
class Stage:
    """The result of a stage.

    `root`: its folder. The other fields are the settings with which a container would start.
    """

    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "root"
    command: list[str] = field(default_factory=list)

    def inside(self, text: str) -> str:
        """The text, with each path of the image replaced by its path under `root`."""
        return PLACES.sub(lambda match: f"{self.root}{match[0]}", text)


class Builder:
    """Builds stages of a Dockerfile under `folder`.

    `packages`: requirements that may be installed, together with their dependencies.
    """

    def __init__(self, dockerfile: Path, folder: Path, packages: Iterable[str]) -> None:
        self.context = dockerfile.parent
        self.steps = _steps(dockerfile)
        # Our .dockerignore excludes everything, and then includes these paths.
        lines = (self.context / ".dockerignore").read_text().splitlines()
        self.included = {line.removeprefix("!") for line in lines if line.startswith("!")}
        self.folder = folder
        self.packages = list(packages)
        self.built: dict[str, Stage] = {}

    def build(self, target: str) -> Stage:
        """Run the steps of the stage, and of the stages that it needs; returns the stage."""
        root = self.folder / "root"
        for name, base, steps in _needed(_stages(self.steps), target):
            stage = self._begin(root, base)
            for word, rest in steps:
                getattr(self, f"_{word.lower()}")(stage, rest)
            if name == target:
                return stage
            # A venv contains its own path: a later stage copies the folder back to `root`.
            self.built[name] = Stage(
                root.rename(self.folder / f"stage-{name}"), dict(stage.environment), stage.workdir, stage.user, stage.command
            )
        raise LookupError(f"no stage {target!r} in the Dockerfile")

    def _begin(self, root: Path, base: str) -> Stage:
        if base not in self.built:
            root.mkdir()
            return Stage(root)
        parent = self.built[base]
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
                _copy(Path(self.built[flags["from"]].root) / source.lstrip("/"), goal)
            else:
                assert source.removeprefix("./").split("/")[0] in self.included, f".dockerignore excludes {source}"
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
    """Each instruction, with the rest of its line."""
    structure = DockerfileParser(str(dockerfile)).structure
    return [(step["instruction"], step["value"]) for step in structure if step["instruction"] != "COMMENT"]


def _stages(steps: list[tuple[str, str]]) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Base and steps of each stage, by its name."""
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
    """The variables of this process, without those that a container would not have."""
    excluded = ("UNITRANK_", "PIP_", "PYTHON", "VIRTUAL_ENV", "REDIS_URL")
    return {name: value for name, value in os.environ.items() if not name.startswith(excluded)}


def link(python: Path, packages: list[str]) -> None:
    """Link the packages and their dependencies into the venv of this Python."""
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
    """All distributions that the requirements need, by name; unitrank itself is not among them."""
    distributions: dict[str, Distribution] = {}
    visited: set[tuple[str, str]] = set()
    waiting = [Requirement(package) for package in packages]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        for extra in ("", *requirement.extras):
            if (name, extra) in visited:
                continue
            visited.add((name, extra))
            if name == "unitrank":
                waiting += _project_requirements(extra)
                continue
            try:
                distributions[name] = distribution(name)
            except PackageNotFoundError:
                continue
            needs = [Requirement(text) for text in distributions[name].requires or []]
            waiting += [need for need in needs if need.marker is None or need.marker.evaluate({"extra": extra})]
    return distributions


def _project_requirements(extra: str) -> list[Requirement]:
    """The requirements in pyproject.toml: the metadata of the installed unitrank may be older."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = project["optional-dependencies"][extra] if extra else project["dependencies"]
    return [Requirement(text) for text in texts]
