"""The pins, the table of settings and the CI stages agree with the code."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic.fields import FieldInfo

from unitrank_store.settings import Settings
from unitrank_tables.sizes import GiB, MiB

ROOT = Path(__file__).parent.parent
UNITS = {GiB: "GiB", MiB: "MiB"}


def test_constraints_when_read_then_pin_every_direct_dependency_in_order() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    requirements = [*project["build-system"]["requires"], *project["project"]["dependencies"]]
    requirements += [need for needs in project["project"]["optional-dependencies"].values() for need in needs]
    pins = re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    names = {canonicalize_name(Requirement(need).name) for need in requirements} - {"unitrank"}

    assert [name for name, _ in pins] == sorted(names)
    assert all(
        Requirement(need).specifier.contains(dict(pins).get(Requirement(need).name, "0"))
        for need in requirements
        if "unitrank" not in need
    )


def test_settings_when_documented_then_the_table_agrees_with_the_code() -> None:
    table = "\n".join(["| variable | default | what it is |", "|---|---|---|", *map(_row, Settings.model_fields.items())])

    assert table in (ROOT / "docs" / "operations.md").read_text(), f"docs/operations.md should hold:\n{table}"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_install_when_the_named_python_is_missing_then_uses_no_other(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    words = ["make", "--makefile", str(ROOT / "Makefile"), "install", "PYTHON=/no/python"]
    process = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert process.returncode != 0
    assert "/no/python is not Python 3.11 or newer" in process.stderr
    assert not (tmp_path / ".venv").exists()


def test_ci_when_read_then_runs_each_part_of_make_check_once_within_thirty_minutes() -> None:
    parts = re.findall(r"^check: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
    stages = re.findall(r"^stage (\d+) make (\S+)$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)

    assert [target for _, target in stages] == ["install", *parts]
    assert sum(int(minutes) for minutes, _ in stages) <= 30


def _row(entry: tuple[str, FieldInfo]) -> str:
    name, field = entry
    return f"| `UNITRANK_{name.upper()}` | {_default(field)} | {field.description} |"


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.default_factory is not None:
        return "`~/.local/state/unitrank`"
    if value in (None, (), ""):
        return "none"
    for size, unit in UNITS.items():
        if isinstance(value, int) and value and value % size == 0:
            return f"{value // size} {unit}"
    text = ",".join(value) if isinstance(value, tuple) else str(value).lower()
    return f"`{text}`"
